"""`myosem-edge run`: what it refuses before it opens a port, what it tells, and how it ends with real processes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import myosem_edge.calibration.store
import myosem_edge.firmware_bridge.lsl_port
from myosem_edge.bundle import Bundle, bundle_from
from myosem_edge.calibration.profile import require_montage
from myosem_edge.cli import ports as ports_module
from myosem_edge.cli import run as module
from myosem_edge.cli._limits import hand_limits, tightened
from myosem_edge.cli.main import main
from myosem_edge.errors import ProfileError, RefusedError
from myosem_edge.files import write_atomic
from myosem_edge.firmware_bridge.detect import Detection
from myosem_edge.firmware_bridge.emulators.ability import AbilityEmulator, AbilityState, NormalMode
from myosem_edge.firmware_bridge.emulators.myo import MyoEmulator
from myosem_edge.firmware_bridge.emulators.myosem_wire import MyosemWireEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.base import Chunk, FrontEndInfo
from myosem_edge.firmware_bridge.frontends.myo import Myo
from myosem_edge.firmware_bridge.frontends.myosem_wire import MyosemWire
from myosem_edge.firmware_bridge.frontends.recording import About
from myosem_edge.firmware_bridge.hands.ability import AbilityHand
from myosem_edge.runtime.gate_replay import read_events, replay
from myosem_edge.runtime.recorder import Recorder, finish
from tests.cli.tiny_bundle import DEV_KEY, HAND_KEY, bundle, forge
from tests.runtime.loop_bench import GRIPS, ScriptedDecoder, noise

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0  # a loaded machine is slow, never wrong


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MYOSEM_HOME", str(tmp_path / "home"))
    for name, key in (("maker", HAND_KEY), ("dev", DEV_KEY)):
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        write_atomic(tmp_path / "home" / "keys.d" / f"{name}.pub", pem)
    return tmp_path


@pytest.fixture
def ports() -> Iterator[tuple[str, str]]:
    with OnPty(MyoEmulator(ArraySource(noise(), 200.0))) as armband, OnPty(AbilityEmulator()) as hand:
        yield armband.port, hand.port


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["run", *map(str, arguments)])


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "make_decoder", lambda *arguments: ScriptedDecoder())


class TestRefusals:
    def check(self, result: Result, exit_code: int, *words: str) -> None:
        assert result.exit_code == exit_code, result.output
        assert all(word in result.output for word in words), result.output
        assert "Traceback" not in result.output

    def test_a_bundle_of_a_stranger(self, home: Path) -> None:
        path = bundle(home, forge.STRANGER)
        self.check(run("--bundle", path, "--port", "/x", "--hand-port", "/y"), 4, "no trusted key signed")

    @pytest.mark.sr("SR-17")
    def test_a_damaged_bundle(self, home: Path) -> None:
        path = bundle(home)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        self.check(run("--bundle", path, "--port", "/x", "--hand-port", "/y"), 4, str(path))

    def test_a_bundle_for_another_front_end(self, home: Path) -> None:
        path = bundle(home, front_ends=("armada",))
        self.check(run("--bundle", path, "--port", "/x", "--hand-port", "/y"), 5, "front end", "armada", "calibrate")

    def test_a_bundle_for_another_front_end_and_a_profile(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only the ports are missing then, and the wearer is told. Of another kind it is refused all the same."""

        class Calibrated:
            enrolment, created = None, "2026-01-01T00:00:00+00:00"

            def require_fits(self, bundle: Bundle, info: FrontEndInfo, **named: object) -> None:
                require_montage(bundle, info, calibrated=True)

        monkeypatch.setattr(myosem_edge.calibration.store.Store, "load", lambda self, name: Calibrated())
        path = bundle(home, front_ends=("armada",))
        options = ("--bundle", path, "--port", "/dev/nothing", "--hand-port", "/dev/pts/nothing", "--profile", "kim")
        result = run(*options)
        self.check(result, 6, "/dev/nothing", "warning: the bundle was trained for armada, worn is myo")
        assert result.output.count("warning") == 1
        other_rate = dataclasses.replace(forge.tiny_manifest().montage, rate_hz=1000.0)
        bundle(home, front_ends=("armada",), montage=other_rate)
        self.check(run(*options), 5, "rate_hz")

    def test_a_bundle_for_another_rate(self, home: Path) -> None:
        path = bundle(home, montage=dataclasses.replace(forge.tiny_manifest().montage, rate_hz=1000.0))
        self.check(run("--bundle", path, "--port", "/x", "--hand-port", "/y"), 5, "rate_hz", "1000")

    @pytest.mark.parametrize(
        ("option", "value", "word"),
        [
            ("--front-end", "mio", "myo"),
            ("--front-end", "myo:adress=1", "address"),
            ("--hand", "abilty", "ability"),
            ("--board", "pi_9", "pi_4"),
        ],
    )
    def test_names_that_do_not_exist(self, home: Path, option: str, value: str, word: str) -> None:
        self.check(run("--bundle", bundle(home), "--port", "/x", "--hand-port", "/y", option, value), 3, word)

    def test_a_profile_that_does_not_exist(self, home: Path) -> None:
        result = run("--bundle", bundle(home), "--port", "/x", "--hand-port", "/y", "--profile", "nobody")
        self.check(result, 5, "nobody")

    def test_a_profile_of_another_bundle(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Foreign:
            enrolment = None

            def require_fits(self, *arguments: object, **named: object) -> None:
                raise ProfileError("was made with another bundle")

        monkeypatch.setattr(myosem_edge.calibration.store.Store, "load", lambda self, name: Foreign())
        result = run("--bundle", bundle(home), "--port", "/x", "--hand-port", "/y", "--profile", "kim")
        self.check(result, 5, "another bundle")

    def test_profile_and_no_profile(self, home: Path) -> None:
        arguments = ("--bundle", bundle(home), "--port", "/x", "--hand-port", "/y", "--profile", "kim", "--no-profile")
        self.check(run(*arguments), 2, "contradict")

    def test_emg_without_a_log_to_keep_it_in(self, home: Path) -> None:
        self.check(run("--bundle", bundle(home), "--port", "/x", "--hand-port", "/y", "--record-emg"), 2, "--log")

    def test_a_grip_that_the_hand_cannot_form(self, home: Path) -> None:
        path = bundle(home, members={"grips.toml": GRIPS.to_toml().replace("pinch", "pirouette").encode()})
        self.check(run("--bundle", path, "--port", "/x", "--hand-port", "/y"), 3, "pirouette")

    def test_an_action_that_the_bundle_does_not_describe(self, home: Path) -> None:
        file = home / "grips.toml"
        file.write_text('[actions.fits]\ngrip = "power"\nthreshold = 0.8\nwhy = "meaning"\n')
        result = run("--bundle", bundle(home), "--port", "/x", "--hand-port", "/y", "--grips", file)
        self.check(result, 3, str(file), "fist")

    @pytest.mark.parametrize(("speed", "exit_code"), [("0", 2), ("1.5", 2), ("fast", 2), ("nan", 2)])
    def test_a_speed_that_is_none(self, home: Path, speed: str, exit_code: int) -> None:
        result = run("--bundle", bundle(home), "--port", "/x", "--hand-port", "/y", "--max-speed", speed)
        self.check(result, exit_code, "--max-speed")

    @pytest.mark.sr("SR-16")
    def test_a_limit_wider_than_the_hands(self) -> None:
        narrow = hand_limits(dataclasses.replace(AbilityHand.info.limits, max_speed=0.5))
        assert tightened(narrow, 0.4, None).max_speed == 0.4
        with pytest.raises(RefusedError, match="tighter"):
            tightened(narrow, 0.6, None)

    def test_a_development_key_and_a_real_port(self, home: Path) -> None:
        path = bundle(home, DEV_KEY)
        result = run("--bundle", path, "--port", "/dev/pts/999", "--hand-port", "/dev/ttyUSB0")
        self.check(result, 7, "development key", "--allow-dev-key")
        result = run("--bundle", path, "--port", "/dev/pts/999", "--hand-port", "/dev/pts/../ttyUSB0")
        self.check(result, 7, "development key")
        result = run("--bundle", path, "--port", "/dev/pts/999", "--hand-port", "/dev/ttyUSB0", "--allow-dev-key")
        self.check(result, 6, "/dev/pts/999")

    def test_a_development_key_and_a_name_that_has_come_to_mean_a_real_port(
        self, home: Path, ports: tuple[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The name is looked at before the port is opened; what counts is what was opened, then and at a reopening."""
        monkeypatch.setattr(module.os, "ttyname", lambda fd: "/dev/ttyUSB0")
        for more in ((), ("--dry-run",)):
            result = run("--bundle", bundle(home, DEV_KEY), "--port", ports[0], "--hand-port", ports[1], *more)
            self.check(result, 7, "development key", ports[1])
        tiny = bundle_from(bundle(home, DEV_KEY))
        module.open_hand(tiny, ports[1], 460800, allowed=True).close()
        monkeypatch.undo()
        module.open_hand(tiny, ports[1], 460800, allowed=False).close()

    def test_a_log_in_place_of_something_else(self, home: Path, ports: tuple[str, str]) -> None:
        path = bundle(home)
        before = path.read_bytes()
        result = run("--bundle", path, "--port", ports[0], "--hand-port", ports[1], "--log", path)
        self.check(result, 8, "no log", "--log", str(path))
        assert path.read_bytes() == before

    @pytest.mark.parametrize(
        ("text", "exit_code", "words"),
        [
            ("/dev/gpiochip0:arm=1", 3, ("--gpio", "without a stop")),
            ("/dev/gpiochip0", 3, ("--gpio", "stop=LINE")),
            ("/dev/no-such-chip:stop=1", 6, ("/dev/no-such-chip", "gpiodetect")),
        ],
    )
    def test_buttons_that_cannot_be_had(
        self, home: Path, ports: tuple[str, str], text: str, exit_code: int, words: tuple[str, ...]
    ) -> None:
        if exit_code == 6:
            pytest.importorskip("gpiod", reason="the [gpio] extra is not installed")
        path = bundle(home)
        for more in ((), ("--dry-run",)):
            result = run("--bundle", path, "--port", ports[0], "--hand-port", ports[1], "--gpio", text, *more)
            self.check(result, exit_code, *words)

    def test_ports_that_do_not_exist(self, home: Path, ports: tuple[str, str]) -> None:
        path = bundle(home)
        self.check(run("--bundle", path, "--port", "/dev/nothing", "--hand-port", ports[1]), 6, "/dev/nothing")
        for more in ((), ("--dry-run",)):
            result = run("--bundle", path, "--port", ports[0], "--hand-port", "/dev/nothing", *more)
            self.check(result, 6, "/dev/nothing")

    def test_a_stream_that_anybody_could_send_is_warned_of(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("pylsl")
        monkeypatch.setattr(myosem_edge.firmware_bridge.lsl_port, "FIND_S", 0.1)
        told = "lsl:name=nobody,channels=8,rate_hz=200,unit=counts,layout=ring"
        result = run("--bundle", bundle(home, front_ends=("lsl",)), "--front-end", told, "--hand-port", "/y")
        self.check(result, 6, "warning: anybody on this network", "no such stream")


class TestDryRun:
    def test_it_shows_the_grips_and_sends_nothing(self, home: Path) -> None:
        seen: list[bytes] = []

        class Spy(AbilityEmulator):
            def receive(self, data: bytes, now_s: float) -> None:
                seen.append(data)

        with OnPty(MyoEmulator(ArraySource(noise(), 200.0))) as armband, OnPty(Spy()) as hand:
            result = run(
                "--bundle", bundle(home, DEV_KEY), "--port", armband.port, "--hand-port", hand.port, "--dry-run",
                "--max-speed", "0.5", "--board", "pi_4",
            )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert "fist" in result.output and "power" in result.output and "meaning" in result.output
        assert "development key" in result.output and "speed up to 0.5" in result.output and "pi_4" in result.output
        assert seen == []

    def test_a_grip_map_of_ones_own_is_named(self, home: Path, ports: tuple[str, str]) -> None:
        file = home / "mine.toml"
        file.write_text(GRIPS.to_toml())
        arguments = ("--bundle", bundle(home), "--port", ports[0], "--hand-port", ports[1], "--dry-run")
        assert f"grips from {file} (not signed)" in run(*arguments, "--grips", file).output
        assert json.loads(run(*arguments, "--grips", file, "--json").output)["grips"] == str(file)
        assert "not signed" not in run(*arguments).output
        assert json.loads(run(*arguments, "--json").output)["grips"] is None

    def test_a_wrist_that_cannot_turn_is_told_and_nothing_is_asked_of_it(
        self, home: Path, ports: tuple[str, str]
    ) -> None:
        file = home / "mine.toml"
        file.write_text(GRIPS.to_toml().replace('"pinch"\nthreshold', '"supinate"\nthreshold'))
        arguments = ("--bundle", bundle(home), "--port", ports[0], "--hand-port", ports[1], "--dry-run")
        result = run(*arguments, "--grips", file, "--hand", "brunel")
        assert result.exit_code == 0, result.output
        assert "warning: the Open Bionics Brunel hand does not turn its wrist: for pinch nothing" in result.output
        assert "supinate" not in result.output.split("warning", 1)[1]
        result = run(*arguments, "--grips", file, "--hand", "servo_wrist")
        assert result.exit_code == 0 and "supinate" in result.output and "warning" not in result.output

    def test_presets_of_the_hand_are_named_and_belong_to_one_hand(self, home: Path, ports: tuple[str, str]) -> None:
        file, grips = home / "hand.toml", home / "mine.toml"
        file.write_text('hand = "servo"\n[grips.pinch]\nthumb = 0.5\n')
        grips.write_text(GRIPS.to_toml())
        arguments = ("--bundle", bundle(home), "--port", ports[0], "--hand-port", ports[1], "--dry-run")
        arguments = (*arguments, "--grips", grips, "--presets", file)
        told = run(*arguments, "--hand", "servo").output
        assert f"presets of the hand from {file} (not signed)" in told and f"grips from {grips} (not signed)" in told
        assert json.loads(run(*arguments, "--hand", "servo", "--json").output)["presets"] == str(file)
        refused = run(*arguments, "--hand", "brunel")
        assert refused.exit_code == 3 and "not for this hand" in refused.output

    def test_what_the_front_end_was_told_is_named(self, home: Path, ports: tuple[str, str]) -> None:
        arguments = ("--bundle", bundle(home), "--port", ports[0], "--hand-port", ports[1], "--dry-run")
        told = run(*arguments, "--front-end", "myo:mode=filtered")
        assert "myo:mode=filtered -> " in told.output
        shown = json.loads(run(*arguments, "--front-end", "myo:mode=filtered", "--json").output)
        assert (shown["front_end"], shown["front_end_options"]) == ("myo", "mode=filtered")

    @pytest.mark.parametrize("fits", [True, False])
    def test_a_front_end_that_was_found_has_to_fit_the_bundle(
        self, home: Path, ports: tuple[str, str], monkeypatch: pytest.MonkeyPatch, fits: bool
    ) -> None:
        kind = Myo if fits else MyosemWire
        monkeypatch.setattr(ports_module, "Detection", functools.partial(Detection, kinds=(kind,)))
        with OnPty(MyosemWireEmulator(ArraySource(np.zeros((1000, 8), np.float32), 1000.0))) as other:
            port = ports[0] if fits else other.port
            arguments = ("--bundle", bundle(home), "--port", port, "--hand-port", ports[1], "--dry-run")
            result = run(*arguments, "--front-end", "auto")
        if fits:
            assert result.exit_code == 0 and "--front-end myo\n" in result.output, result.output
        else:
            assert result.exit_code != 0 and "--front-end myosem_wire:channels=8" in result.output
            assert "Traceback" not in result.output and "expected myo" in result.output

    def test_json_is_one_document(self, home: Path, ports: tuple[str, str]) -> None:
        result = run("--bundle", bundle(home), "--port", ports[0], "--hand-port", ports[1], "--dry-run", "--json")
        shown = json.loads(result.output)
        assert shown["key"] == "maker" and shown["profile"] is None and len(shown["bundle_sha256"]) == 64
        assert {row["action"]: row["grip"] for row in shown["actions"]}["rest"] == "none"


class TestRecording:
    def test_a_recording_drives_the_loop_and_ends_it(self, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
        path = home / "kim.npz"
        recorder = Recorder(path, About(Myo.info), 0.0)
        recorder.add([Chunk(noise()[:120], 0, 0.0), Chunk(noise()[:80], 130, 0.0, 10)], 0.0)
        recorder.close()
        finish(path)
        with OnPty(AbilityEmulator()) as hand:
            arguments = ("--bundle", bundle(home, DEV_KEY), "--front-end", f"file:{path}", "--hand-port", hand.port)
            result = run(*arguments, "--json")
            assert result.exit_code == 0, result.output
            events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
            refused = run(*arguments, "--port", "/dev/ttyUSB0")
        assert (refused.exit_code, "has no port" in refused.output) == (2, True)
        assert (events[0]["front_end"], events[0]["front_end_options"]) == ("file", str(path))
        assert events[0]["foreign_front_end"] is None
        counts = events[-1]["front_end"]
        assert (counts["samples"], counts["lost_samples"]) == (200, 10)


class Session:
    """A real `run` with scripted decisions, an emulated armband and an emulated hand on pseudo-terminals."""

    def __init__(
        self,
        home: Path,
        action: str,
        *options: str,
        key: Ed25519PrivateKey = DEV_KEY,
        before: Callable[[], None] | None = None,
    ) -> None:
        self.states: list[AbilityState] = []
        self.events: list[dict[str, Any]] = []
        # Open is what this hand drifts to when nobody talks to it: nothing that was left alone passes for frozen.
        self.emulator = AbilityEmulator(history=self.states.append, normal_mode=NormalMode.OPEN)
        self.armband = OnPty(MyoEmulator(ArraySource(noise(), 200.0)))
        self.hand = OnPty(self.emulator)
        self.armband.__enter__()
        self.hand.__enter__()
        arguments = [
            sys.executable, "-m", "tests.cli.scripted_run", action, "--bundle", str(bundle(home, key)),
            "--port", self.armband.port, "--hand-port", self.hand.port, "--keys-from-stdin", *options,
        ]  # fmt: skip
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True,
            preexec_fn=before,
        )  # fmt: skip

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        self.armband.unplug()
        self.hand.unplug()

    def press(self, keys: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(keys)
        self.process.stdin.flush()

    def read_until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        assert self.process.stdout is not None and self.process.stderr is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if wanted(self.events[-1]):
                return self.events[-1]
        raise AssertionError((self.events[-3:], self.process.stderr.read()))

    def arm(self) -> None:
        """Press a until it is accepted: the key is refused while the signal is too young."""
        streaming = self.read_until(lambda event: event["event"] == "front end" and event["phase"] == "streaming")
        self.read_until(lambda event: event["time_s"] > streaming["time_s"] + 1.5)
        self.press("a")
        self.read_until(lambda event: event["event"] == "verdict" and event["armed"])

    def wait_for_hand(self, wanted: Callable[[AbilityState], bool]) -> AbilityState:
        until_s = time.monotonic() + PATIENCE_S
        while not wanted(state := self.emulator.state()):
            assert time.monotonic() < until_s, state
            os.sched_yield()
        return state


@pytest.mark.peer
@pytest.mark.sr("SR-13")
def test_killed_in_mid_motion_the_guard_freezes_the_hand(home: Path) -> None:
    with Session(home, "fist", "--json", "--max-speed", "0.2") as session:
        session.arm()
        session.wait_for_hand(lambda state: state.grip == "power" and state.moving and state.position_deg["index"] > 5)
        killed_s = time.monotonic()
        session.process.send_signal(signal.SIGKILL)
        session.process.wait()
        stopped = session.wait_for_hand(lambda state: state.speed_byte == 0)
        assert (stopped.grip, stopped.moving, stopped.api_mode) == ("open", False, True)
        assert time.monotonic() - killed_s < PATIENCE_S / 2
        held = dict(stopped.position_deg)
        assert 5 < held["index"] < 90, "frozen on the way"
        # Neutral again and again for two seconds, then the release; the hand then does what it does by itself.
        session.wait_for_hand(lambda state: state.frames_good >= stopped.frames_good + 20)
        session.wait_for_hand(lambda state: not state.api_mode)
        after = [state for state in session.states if state.time_s >= killed_s and state.api_mode]
        assert [state.speed_byte for state in after if state.speed_byte == 0], "the stop is in the story"
        first_stop = next(i for i, state in enumerate(after) if state.speed_byte == 0)
        assert all(state.speed_byte == 0 and not state.moving for state in after[first_stop:]), "nothing after the stop"


@pytest.mark.peer
@pytest.mark.sr("SR-14")
def test_killed_while_locked_the_guard_halts_the_hand_though_its_neutral_is_open(home: Path) -> None:
    """A carried cup is not dropped by a program that dies."""
    with Session(home, "fist", "--json", "--max-speed", "0.2", "--neutral", "open") as session:
        session.arm()
        session.wait_for_hand(lambda state: state.grip == "power" and state.moving and state.position_deg["index"] > 20)
        session.press("l")
        session.read_until(lambda event: event["event"] == "verdict" and event["command"]["kind"] == "hold")
        halted = session.wait_for_hand(lambda state: state.speed_byte == 0)
        session.process.send_signal(signal.SIGKILL)
        session.process.wait()
        session.wait_for_hand(lambda state: state.frames_good >= halted.frames_good + 20)
        session.wait_for_hand(lambda state: not state.api_mode)
        after = [state for state in session.states if state.time_s >= halted.time_s and state.api_mode]
        assert all(state.speed_byte == 0 and not state.moving for state in after), "neither opened nor closed"


@pytest.mark.peer
@pytest.mark.sr("SR-18")
def test_quit_ends_with_neutral_release_and_exit_code_0_and_the_log_replays(home: Path) -> None:
    with Session(home, "fist", "--json", "--log", str(home / "run.log"), "--record-emg") as session:
        session.arm()
        session.wait_for_hand(lambda state: state.grip == "power" and state.moving)
        session.press("q")
        summary = session.read_until(lambda event: event["event"] == "summary")
        assert session.process.wait(PATIENCE_S) == 0
        session.wait_for_hand(lambda state: state.speed_byte == 0 and not state.api_mode)
        assert summary["counts"]["arms"] == 1 and summary["processing"]["count"] > 0
        logged = [json.loads(line) for line in (home / "run.log").read_text().splitlines()]
        assert logged[0]["event"] == "start" and len(logged[0]["bundle_sha256"]) == 64 and logged[0]["key"] == "dev"
        assert sum(event["event"] == "step" for event in logged) >= summary["counts"]["cycles"]
        assert logged[-1] == summary and session.events[0]["event"] == "start"
    assert {"step", "rules", "row", "state", "emg"} & {event["event"] for event in session.events} == set()
    steps = list(replay(read_events([home / "run.log"]), lambda start: ScriptedDecoder("fist")))
    assert all(step.known and not step.differences for step in steps) and sum(step.decided for step in steps) > 50


@pytest.mark.peer
def test_ctrl_c_ends_with_neutral_and_130(home: Path) -> None:
    with Session(home, "fist", "--json") as session:
        session.arm()
        session.wait_for_hand(lambda state: state.grip == "power" and state.moving)
        session.process.send_signal(signal.SIGINT)
        assert session.process.wait(PATIENCE_S) == 130
        session.wait_for_hand(lambda state: state.speed_byte == 0 and not state.api_mode)


@pytest.mark.peer
def test_impatient_ctrl_c_is_still_130(home: Path) -> None:
    with Session(home, "fist", "--json") as session:
        session.read_until(lambda event: event["event"] == "front end" and event["phase"] == "streaming")
        while session.process.poll() is None:
            session.process.send_signal(signal.SIGINT)
            os.sched_yield()
        assert session.process.returncode == 130
        session.wait_for_hand(lambda state: state.speed_byte == 0 and not state.api_mode)


@pytest.mark.peer
@pytest.mark.sr("SR-19")
@pytest.mark.parametrize("how", ["listener killed", "reader gone"])
def test_with_nobody_to_tell_the_status_to_the_hand_is_neutral_and_the_exit_code_says_it(home: Path, how: str) -> None:
    with Session(home, "fist", "--json", "--max-speed", "0.2") as session:
        session.arm()
        session.wait_for_hand(lambda state: state.grip == "power" and state.moving)
        assert session.process.stdout is not None and session.process.stderr is not None
        if how == "listener killed":
            os.kill(listener_of(session.process.pid), signal.SIGKILL)
        else:
            session.process.stdout.close()
        assert session.process.wait(PATIENCE_S) == (1 if how == "listener killed" else 141)
        complaints = session.process.stderr.read().splitlines()
        assert len(complaints) == (1 if how == "listener killed" else 0), complaints
        assert all("shows the status" in line for line in complaints)
        session.wait_for_hand(lambda state: state.speed_byte == 0 and not state.moving and not state.api_mode)


def listener_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return next(int(each) for each in children if b"telemetry" in Path(f"/proc/{each}/cmdline").read_bytes())


@pytest.mark.peer
def test_a_log_that_dies_is_told_at_once_and_the_hand_goes_on_to_the_end(home: Path) -> None:
    def small_card() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    with Session(home, "fist", "--json", "--log", str(home / "run.log"), before=small_card) as session:
        assert session.process.stderr is not None
        session.arm()
        assert "not complete" in session.process.stderr.readline()
        session.wait_for_hand(lambda state: state.grip == "power" and state.moving)
        session.press("q")
        session.read_until(lambda event: event["event"] == "summary")
        assert session.process.wait(PATIENCE_S) == 8
        assert "run.log: the log of this session is not complete" in session.process.stderr.read()
        assert not any(event.get("fault") for event in session.events)


@pytest.mark.peer
@pytest.mark.sr("SR-01")
def test_text_in_a_pipe_that_nobody_asked_for_arms_nothing(home: Path, ports: tuple[str, str]) -> None:
    arguments = ["fist", "--bundle", str(bundle(home)), "--port", ports[0], "--hand-port", ports[1], "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cli.scripted_run", *arguments, "--seconds", "4"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(json.loads(line))
            if process.poll() is None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write("a")
                    process.stdin.flush()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    assert seen[-1]["event"] == "summary" and seen[-1]["counts"]["arms"] == 0
    assert seen[-1]["front_end"]["samples"] > 300, "long enough to have been armed"


@pytest.mark.peer
def test_lines_for_a_pipe_and_an_end_by_itself(home: Path) -> None:
    with Session(home, "rest", "--seconds", "1.0", "--no-profile", key=HAND_KEY) as session:
        shown, complaints = session.process.communicate(timeout=PATIENCE_S)
        assert session.process.returncode == 0, complaints
        lines = shown.splitlines()
        assert "tiny-1.2.0.myosem" in lines[0] and "signed by maker" in lines[0]
        assert any("press a" in line for line in lines) and any("not-armed" in line for line in lines)
        assert lines[-1].startswith("sample to command:") and "Traceback" not in complaints
        assert session.emulator.state().last_command_s is not None, "halted at the end"
        assert not any(state.moving for state in session.states if state.api_mode)


def test_help_costs_no_heavy_import() -> None:
    code = "import sys, myosem_edge.cli.run; print([m for m in ('numpy', 'onnxruntime', 'serial') if m in sys.modules])"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    assert shown.stdout.strip() == "[]"
