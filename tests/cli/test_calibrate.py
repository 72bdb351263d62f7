"""`calibrate` and `profile`: an emulated armband and its wearer on one virtual clock, through the command and back."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1] / "calibration"))

import tiny_model

from myosem_edge.bundle import read_bundle
from myosem_edge.calibration.session import Plan, Prompt, Session
from myosem_edge.calibration.store import Store
from myosem_edge.cli import calibrate as module
from myosem_edge.cli.calibrate import JsonScreen, LiveScreen, Screen, run_session
from myosem_edge.cli.main import main
from myosem_edge.clock import VirtualClock
from myosem_edge.errors import DeviceError, RefusedError
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.myo import MyoEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import WearerSource
from myosem_edge.firmware_bridge.frontends.base import FrontEnd, Phase
from myosem_edge.firmware_bridge.frontends.myo import Myo
from myosem_edge.keys import new_key, trusted_keys

THREE = ("--actions", "fist,hand_open,wrist_flexion", "--backend", "reference")


class Bench:
    """A Myo emulator, the wearer behind it and the wire between, all moved by `wait`."""

    def __init__(self, faults: Faults | None = None, seed: int = 0) -> None:
        self.clock = VirtualClock()
        self.muscle = tiny_model.Muscle(seed)
        self.source = WearerSource([self.muscle.play("rest", 20.0)], tiny_model.RATE_HZ, self.clock)
        self.emulator = MyoEmulator(self.source, faults=faults)
        self.closed = self.unplugged = False
        self.obeys = True
        self.interrupt_at: tuple[str, str] | None = None
        self._arrived = bytearray()

    waiting_bytes = 0

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def read_available(self) -> bytes:
        if self.unplugged:
            raise DeviceError("the device has vanished", where="PORT")
        data = bytes(self._arrived)
        self._arrived.clear()
        return data

    def write_some(self, data: bytes = b"") -> int:
        self.emulator.receive(data, self.clock.now_s())
        return len(data)

    def wait(self, seconds: float) -> None:
        for _ in range(10):
            self.clock.advance(seconds / 10)
            self.emulator.tick(self.clock.now_s())
            self._arrived += self.emulator.to_send()

    def hear(self, prompt: Prompt) -> None:
        if self.interrupt_at == (prompt.kind, prompt.action):
            raise KeyboardInterrupt
        if prompt.kind == "hold" and prompt.action != "rest" and self.obeys:
            self.source.perform(self.muscle.play(prompt.action, prompt.seconds), prompt.action)


class Ears(Screen):
    """A screen that the emulated wearer reads."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.lines, self.kinds = bench, list[str](), list[str]()

    def say(self, text: str) -> None:
        self.lines.append(text)

    def prompt(self, prompt: Prompt, now_s: float) -> None:
        self.kinds.append(prompt.kind)
        super().prompt(prompt, now_s)
        self.bench.hear(prompt)


def play(bench: Bench, plan: Plan, device: FrontEnd | None = None) -> tuple[Session, Ears]:
    device, ears = device or Myo(), Ears(bench)
    session = Session(plan, device.info, tiny_model.FRAME, {})
    run_session(session, device, bench, bench.clock, bench.wait, ears, where="PORT")
    return session, ears


# The loop


def test_a_session_through_an_emulated_armband() -> None:
    bench, device = Bench(), Myo()
    session, ears = play(bench, Plan(("fist", "hand_open")), device)
    assert ears.kinds == [*["prepare", "hold", "verdict", "relax"] * 2, "prepare", "hold", "verdict", "done"]
    assert ears.lines[0].startswith("Connected to the Thalmic Myo armband over a BLED112 dongle (")
    assert "battery 87 %" in ears.lines[0]
    assert session.accepted == 3
    assert device.phase is Phase.IDLE
    assert not bench.emulator.connected  # hung up politely


@pytest.mark.parametrize(
    "faults", [Faults(drop_probability=0.003, seed=4), Faults(garbage_probability=0.05), Faults(burst_ms=90)]
)
def test_a_bad_link_is_survived(faults: Faults) -> None:
    session, _ = play(Bench(faults), Plan(("fist",)))
    assert session.accepted == 2


def test_a_lossy_link_ends_with_a_sentence() -> None:
    bench = Bench(Faults(drop_probability=0.2, seed=1))
    with pytest.raises(
        RefusedError,
        match=r"'rest' could not be recorded in 3 attempts \(lost\).*bring the device near.*[^.]\. What was accepted",
    ):
        play(bench, Plan(("fist",)))
    assert not bench.emulator.connected


def test_a_flat_armband_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"flat.*Electrodes 1, 2, 3, 4, 5, 6, 7, 8 give no signal"):
        play(Bench(Faults(flat=True)), Plan(("fist",)))


def test_a_wearer_who_does_nothing_is_asked_three_times() -> None:
    bench = Bench()
    bench.obeys = False
    with pytest.raises(RefusedError, match="'fist' could not be recorded in 3 attempts"):
        play(bench, Plan(("fist",)))


def test_a_silent_port_is_the_front_ends_failure() -> None:
    with pytest.raises(DeviceError, match="PORT: the port is silent"):
        play(Bench(Faults(silent=True)), Plan(("fist",)))


def test_an_armband_that_is_asleep_is_not_heard() -> None:
    bench = Bench()
    bench.emulator.awake = False
    with pytest.raises(DeviceError, match="no Myo heard"):
        play(bench, Plan(("fist",)))


class Mute(Myo):
    """A front end that never finishes its handshake and never gives up."""

    def tick(self, now_s: float) -> None:
        self.phase = Phase.CONNECTING


def test_a_front_end_that_never_streams_does_not_hang_the_session() -> None:
    bench = Bench(Faults(silent=True))
    with pytest.raises(DeviceError, match="no sample came within 60 s"):
        play(bench, Plan(("fist",)), Mute())


def test_an_unplugged_port_is_said_once() -> None:
    bench = Bench()
    ears = Ears(bench)
    hear = bench.hear

    def pull(prompt: Prompt) -> None:
        hear(prompt)
        bench.unplugged = prompt.kind == "hold"

    bench.hear = pull  # type: ignore[method-assign]
    session = Session(Plan(("fist",)), Myo.info, tiny_model.FRAME, {})
    with pytest.raises(DeviceError, match="the device has vanished"):
        run_session(session, Myo(), bench, bench.clock, bench.wait, ears, where="PORT")


def test_a_device_that_measures_something_else_ends_the_session() -> None:
    class Changed(Myo):
        def tick(self, now_s: float) -> None:
            super().tick(now_s)
            if self.phase is Phase.STREAMING:
                self.info = replace(self.info, rate_hz=500.0)

    with pytest.raises(DeviceError, match=r"differs in rate_hz.*500.*200"):
        play(Bench(), Plan(("fist",)), Changed())


# The screens


def test_json_lines_name_the_moment(capsys: pytest.CaptureFixture[str]) -> None:
    JsonScreen().prompt(Prompt("hold", "fist", 1, "Now: fist", 3.0), 12.5)
    assert json.loads(capsys.readouterr().out) == {
        "event": "prompt",
        "kind": "hold",
        "action": "fist",
        "repetition": 1,
        "text": "Now: fist",
        "seconds": 3.0,
        "time_s": 12.5,
    }


def test_a_terminal_counts_down(capsys: pytest.CaptureFixture[str]) -> None:
    screen = LiveScreen()
    screen.prompt(Prompt("hold", "fist", 1, "Now.", 2.5), 10.0)
    for now_s in np.arange(10.0, 13.0, 0.02):
        screen.tick(float(now_s))
    screen.prompt(Prompt("done", "fist", 1, "Done.", 0.0), 13.0)
    assert capsys.readouterr().out == "Now.\n  3  2  1\nDone.\n\n"


def test_a_countdown_that_is_cut_short_ends_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    screen = LiveScreen()
    screen.prompt(Prompt("hold", "fist", 1, "Now.", 2.0), 10.0)
    screen.prompt(Prompt("relax", "fist", 1, "Relax.", 1.0), 11.9)
    assert capsys.readouterr().out == "Now.\n  2\nRelax.\n  1"


# The command


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MYOSEM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def bundle(tiny_bundle: Path) -> Path:
    return tiny_bundle


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """The command's port, clock and wearer are the bench's."""
    bench = Bench()

    class Selector:
        def __enter__(self) -> Selector:
            return self

        def __exit__(self, *_: object) -> None: ...

        def register(self, *_: object) -> None: ...

        def select(self, seconds: float) -> None:
            bench.wait(seconds)

    def heard(kind: type[Screen]) -> None:
        prompt = kind.prompt

        def both(self: Screen, shown: Prompt, now_s: float) -> None:
            prompt(self, shown, now_s)
            bench.hear(shown)

        monkeypatch.setattr(kind, "prompt", both)

    heard(Screen)
    heard(JsonScreen)
    monkeypatch.setattr(module, "open_front_end", lambda front_end, port, clock: bench)
    monkeypatch.setattr(module, "MonotonicClock", lambda: bench.clock)
    monkeypatch.setattr(module.selectors, "DefaultSelector", Selector)
    yield bench


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def calibrate(bundle: Path, *more: str) -> Result:
    return call("calibrate", "--bundle", bundle, "--port", "PORT", *THREE, *more)


def test_a_new_wearer(bundle: Path, bench: Bench) -> None:
    result = calibrate(bundle)
    assert result.exit_code == 0, result.stderr
    assert "Now, and hold it comfortably: Close all the fingers and the thumb into a tight fist. (3 s)" in result.stdout
    assert result.stdout.endswith("The new profile is provisional. Use it: myosem-edge profile accept wearer\n")
    assert Store.here().states("wearer") == ("provisional",)
    found = Store.here().load("wearer", "provisional")
    found.require_fits(read_bundle(bundle, trusted_keys()), Myo.info)
    assert found.enrolment.actions == ("rest", "fist", "hand_open", "wrist_flexion")
    assert bench.closed


@pytest.mark.parametrize("more", [("--dry-run",), ("--json",), ()])
def test_a_bundle_for_another_front_end_is_said_and_the_profile_knows(
    bundle: Path, bench: Bench, more: tuple[str, ...]
) -> None:
    tiny_model.bundle_file(bundle, new_key("another"), front_ends=("armada",))
    result = calibrate(bundle, *more)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("arning: the bundle was trained for armada, worn is myo") == 1
    if "--dry-run" not in more:
        found = Store.here().load("wearer", "provisional")
        assert found.front_end == found.montage.device == "myo"
        found.require_fits(read_bundle(bundle, trusted_keys()), Myo.info)


def test_a_bundle_of_its_own_front_end_warns_of_nothing(bundle: Path, bench: Bench) -> None:
    assert "Warning" not in calibrate(bundle, "--dry-run").stdout


def test_accepting_at_once(bundle: Path, bench: Bench) -> None:
    result = calibrate(bundle, "--accept", "--profile", "ada", "--side", "left", "--actions", "fist,wrist_flexion")
    assert result.exit_code == 0, result.stderr
    assert "Take it back: myosem-edge profile undo ada" in result.stdout
    assert Store.here().states("ada") == ("current",)
    assert Store.here().load("ada").side == "left"


def test_json_is_one_object_a_line_for_whoever_plays_the_wearer(bundle: Path, bench: Bench) -> None:
    result = calibrate(bundle, "--json", "--repetitions", "2", "--hold-s", "2", "--prepare-s", "0.5")
    assert result.exit_code == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    holds = [(line["action"], line["repetition"]) for line in lines if line.get("kind") == "hold"]
    actions = ("rest", "fist", "hand_open", "wrist_flexion")
    assert holds == [(action, number) for number in (1, 2) for action in actions]
    verdicts = [line for line in lines if line.get("kind") == "verdict"]
    assert all(line["ok"] and line["faults"] == [] for line in verdicts)
    times = [line["time_s"] for line in lines if line["event"] == "prompt"]
    assert times == sorted(times)
    assert lines[-1]["event"] == "result"
    assert lines[-1]["state"] == "provisional"
    assert Path(lines[-1]["path"]).is_file()
    assert set(lines[-1]["report"]["hops"]) == set(actions)


def test_without_actions_those_of_the_grip_map_are_asked_for(bundle: Path, bench: Bench) -> None:
    result = call("calibrate", "--bundle", bundle, "--port", "PORT", "--backend", "reference", "--dry-run", "--json")
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)
    assert set(facts["plan"]["actions"]) == set(tiny_model.IDS[:9])
    assert facts["plan"]["actions"][0] == "rest"


def test_a_dry_run_prompts_nobody(bundle: Path, bench: Bench) -> None:
    result = calibrate(bundle, "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "Close all the fingers" in result.stdout
    assert result.stdout.endswith("Each once, 3 s held, about 22 s in all. Nothing was prompted.\n")
    assert bench.emulator.samples_sent == 0
    assert bench.closed
    assert Store.here().names() == ()


@pytest.mark.sr("SR-16")
def test_two_names_for_one_action_make_no_profile(bundle: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    play_action = bench.muscle.play

    def same(action: str, seconds: float, gain: float = 1.0) -> np.ndarray:
        return play_action("fist" if action == "hand_open" else action, seconds)

    monkeypatch.setattr(bench.muscle, "play", same)
    monkeypatch.setattr("myosem_edge.calibration.verdict.SAME_LOG_RMS", 0.0)  # so that the fit has to find it
    result = calibrate(bundle)
    assert result.exit_code == RefusedError.exit_code
    assert "error: 'fist' and 'hand_open' cannot be told apart" in result.stderr
    assert Store.here().names() == ()


@pytest.mark.parametrize(
    "moment", [("prepare", "rest"), ("hold", "fist"), ("relax", "fist"), ("done", "wrist_flexion")]
)
def test_ctrl_c_leaves_everything_as_it_was(bundle: Path, bench: Bench, moment: tuple[str, str]) -> None:
    assert calibrate(bundle, "--accept").exit_code == 0
    before = Store.here().path("wearer", "current").read_bytes()
    bench.interrupt_at = moment
    result = calibrate(bundle, "--accept")
    assert result.exit_code == 130
    assert result.stderr.strip() == "stopped"
    assert Store.here().states("wearer") == ("current",)
    assert Store.here().path("wearer", "current").read_bytes() == before
    assert not bench.emulator.connected


def test_ctrl_c_while_fitting_leaves_everything_as_it_was(
    bundle: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "learn", stop)
    assert calibrate(bundle).exit_code == 130
    assert Store.here().names() == ()


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--actions", "fist,flying"), 3, "'flying' has no description in this bundle"),
        (("--actions", "rest"), 3, "nothing to calibrate besides rest"),
        (("--actions", "fist,fist"), 3, "named twice"),
        (("--hold-s", "1"), 3, "a hold cannot be that long or short"),
        (("--repetitions", "0"), 3, "so many repetitions"),
        (("--profile", "../x"), 3, "not a name for a profile"),
        (("--front-end", "mio"), 3, "Did you mean 'myo'"),
        (("--front-end", "myo:mode=loud"), 3, "expected raw or filtered"),
        (("--cue", "shout"), 2, "'shout' is not one of"),
        (("--bundle", "nowhere.myosem"), 4, "no such file"),
    ],
)
def test_mistakes_have_a_sentence(bundle: Path, bench: Bench, more: tuple[str, ...], code: int, words: str) -> None:
    result = calibrate(bundle, *more)
    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert bench.emulator.samples_sent == 0


def test_a_port_that_is_not_there(bundle: Path) -> None:
    result = call("calibrate", "--bundle", bundle, "--port", "/dev/ttyNOWHERE", *THREE)
    assert result.exit_code == DeviceError.exit_code
    assert "/dev/ttyNOWHERE: no such port" in result.stderr


def test_a_dry_run_opens_the_real_port_and_leaves_it_free(bundle: Path) -> None:
    with OnPty(MyoEmulator(WearerSource([np.zeros((200, 8))], 200.0))) as device:
        for _ in range(2):
            result = call("calibrate", "--bundle", bundle, "--port", device.port, *THREE, "--dry-run")
            assert result.exit_code == 0, result.stderr
    assert device.emulator.samples_sent == 0  # type: ignore[attr-defined]


def test_a_bundle_for_another_montage_is_refused_before_the_port_is_opened(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "wide-0.1.0.myosem"
    tiny_model.bundle_file(path, new_key("maker"), channels=16)
    result = call("calibrate", "--bundle", path, "--port", "/dev/ttyNOWHERE", *THREE)
    assert result.exit_code == 5
    assert "montage differs in channels" in result.stderr


def test_a_store_that_cannot_be_written_is_explained(bundle: Path, bench: Bench, home: Path) -> None:
    (home / "profiles").write_text("a file in the way")
    result = calibrate(bundle)
    assert result.exit_code == 8
    assert "cannot be written" in result.stderr


# The profiles


@pytest.fixture
def ada(bundle: Path, bench: Bench) -> Iterator[Store]:
    assert calibrate(bundle, "--profile", "ada").exit_code == 0
    yield Store.here()


def test_no_profiles_is_said(home: Path) -> None:
    assert call("profile", "list").stdout == "No profiles. Make one: myosem-edge calibrate\n"
    assert json.loads(call("profile", "list", "--json").stdout) == {}


def test_accept_undo_and_reject(ada: Store, bundle: Path, bench: Bench) -> None:
    first = ada.path("ada", "provisional").read_bytes()
    assert call("profile", "accept", "ada").exit_code == 0
    assert calibrate(bundle, "--profile", "ada").exit_code == 0
    assert json.loads(call("profile", "list", "--json").stdout) == {"ada": ["current", "provisional"]}
    assert call("profile", "accept", "ada").exit_code == 0
    assert ada.path("ada", "current").read_bytes() != first
    assert call("profile", "undo", "ada").exit_code == 0
    assert ada.path("ada", "current").read_bytes() == first
    assert call("profile", "list").stdout == "profile  has\nada      current, previous\n"
    assert calibrate(bundle, "--profile", "ada").exit_code == 0
    assert call("profile", "reject", "ada").exit_code == 0
    assert ada.states("ada") == ("current", "previous")
    again = call("profile", "reject", "ada")
    assert again.exit_code == 5
    assert "there is no provisional profile" in again.stderr


def test_show_says_how_it_turned_out(ada: Store, bundle: Path) -> None:
    result = call("profile", "show", "ada")
    assert result.exit_code == 5
    assert "Accept the new one: myosem-edge profile accept ada" in result.stderr
    text = call("profile", "show", "ada", "--which", "provisional").stdout
    assert "front end      myo\n" in text
    assert "actions        rest, fist, hand_open, wrist_flexion\n" in text
    facts: dict[str, Any] = json.loads(call("profile", "show", "ada", "--which", "provisional", "--json").stdout)
    assert facts["bundle_sha256"] == read_bundle(bundle, trusted_keys()).sha256
    assert facts["hops"].keys() == {"rest", "fist", "hand_open", "wrist_flexion"}
    assert len(facts["scale"]) == 8


def test_paths(home: Path) -> None:
    assert call("profile", "path").stdout == f"{home / 'profiles'}\n"
    assert call("profile", "path", "ada").stdout == f"{home / 'profiles' / 'ada'}\n"


@pytest.mark.parametrize(("answer", "left"), [("n\n", ("ada",)), ("", ("ada",)), ("y\n", ())])
def test_removing_asks(ada: Store, answer: str, left: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, ["profile", "remove", "ada"], input=answer)
    assert ada.names() == left
    assert result.exit_code == (0 if not left else 130)


def test_removing_without_asking(ada: Store) -> None:
    assert call("profile", "remove", "ada", "--yes").exit_code == 0
    assert ada.names() == ()


def test_a_damaged_profile_is_explained(ada: Store) -> None:
    path = ada.path("ada", "provisional")
    path.write_bytes(path.read_bytes()[:-5])
    for arguments in (("accept", "ada"), ("show", "ada", "--which", "provisional")):
        result = call("profile", *arguments)
        assert result.exit_code == 5
        assert "is damaged" in result.stderr
        assert os.fspath(path) in result.stderr


@pytest.mark.parametrize("verb", ["accept", "reject", "undo", "show"])
def test_a_wearer_that_nobody_knows(ada: Store, verb: str) -> None:
    result = call("profile", verb, "bo")
    assert result.exit_code == 5
    assert "there is no profile called bo (found profiles: ada)" in result.stderr
