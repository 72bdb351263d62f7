"""`replay --log` as a user types it: logs that are whole, cut, damaged or changed, and EMG where it was asked for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from myosem_edge.bundle import bundle_from
from myosem_edge.calibration.enrol import Labelled, enrol
from myosem_edge.calibration.profile import Profile, montage_of
from myosem_edge.calibration.store import Store
from myosem_edge.cli.main import main
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.firmware_bridge.frontends.myo import Myo
from myosem_edge.runtime.co_contraction import CoContraction
from myosem_edge.runtime.decoder import Decoder, Model
from myosem_edge.runtime.emg_log import emg_events, emg_from_events
from myosem_edge.runtime.gate_replay import Event, logs_at, read_events, replay
from myosem_edge.runtime.telemetry import Log, encode
from tests.calibration.tiny_model import Muscle, build
from tests.runtime import loop_bench
from tests.runtime.loop_bench import ARM, LOCK, OPEN_KEY, STOP, Bench
from tests.runtime.test_loop import inject

pytestmark = pytest.mark.sr("SR-18")


def start(**facts: object) -> Event:
    return {"event": "start", "time_s": 0.0, **facts}


def session(**facts: object) -> list[Event]:
    bench = Bench(log_inputs=True)
    bench.close()
    bench.step(STOP)
    bench.wait(0.5)
    return [start(**facts), *bench.events]


def written(path: Path, *events: Event) -> Path:
    path.write_bytes(b"".join(map(encode, events)))
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return written(tmp_path / "run.log", *session())


def replayed(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["replay", *map(str, arguments)])


def facts_of(*arguments: object) -> dict[str, Any]:
    result = replayed(*arguments, "--json")
    assert result.exit_code == 0, result.output
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


def test_the_command_replays_a_log(log: Path) -> None:
    facts = facts_of("--log", log)
    assert facts["same"] == facts["steps"] > 100 and not facts["different"] and not facts["torn"]
    assert "0 different" in replayed("--log", log).stdout


def test_a_difference_is_named_with_time_input_and_both_sides(log: Path) -> None:
    closing = '"command":{"kind":"grip","grip":"power","speed":0.125'
    assert closing in log.read_text()
    log.write_text(log.read_text().replace(closing, closing + "1", 1))
    result = replayed("--log", log)
    assert result.exit_code == 7 and "does not replay to the same" in result.stderr
    assert '"speed": 0.1251' in result.stdout and '"speed": 0.125,' in result.stdout
    assert "command logged" in result.stdout and "inputs: {" in result.stdout and f"{log} at " in result.stdout
    (difference,) = json.loads(replayed("--log", log, "--json").stdout)["differences"]
    assert difference["what"] == "command" and difference["inputs"]["request"]["grip"] == "power"
    assert difference["time_s"] == pytest.approx(difference["inputs"]["now_s"], abs=1e-5)


def test_an_input_that_was_changed_by_one_bit_is_found(log: Path) -> None:
    """A decision's probability right at the threshold: it no longer makes the request that was logged."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    at = next(i for i, line in enumerate(lines) if line.get("decision", {}).get("action") == "fist")
    lines[at]["decision"]["probability"] = math.nextafter(0.8, 0.0)
    result = replayed("--log", written(log, *lines), "--json")
    assert result.exit_code == 7
    assert json.loads(result.stdout)["differences"][0]["what"] == "request"


def test_the_older_half_comes_first_and_a_torn_end_is_left_out(log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    half = len(lines) // 2
    log.with_name("run.log.1").write_bytes(b"".join(lines[:half]))
    log.write_bytes(b"".join(lines[half:]) + b'{"event":"step","inp')
    facts = facts_of("--log", log)
    assert facts["same"] == facts["steps"] > 100 and facts["torn"] == 1


@pytest.mark.parametrize("cut", range(0, 2000, 37))
def test_a_power_cut_at_any_byte_costs_at_most_the_last_line(log: Path, cut: int) -> None:
    """And the next run, which goes on in the same file, nothing."""
    data = log.read_bytes()
    whole = data[: len(data) - cut].count(b"\n")
    log.write_bytes(data[: len(data) - cut])
    assert sum(event["event"] != "torn" for event in read_events([log])) == whole
    again = Log(log)
    for event in session():
        again.write(encode(event))
    again.close()
    steps = list(replay(read_events([log])))
    assert len(steps) > 200 and all(step.known and not step.differences for step in steps)


def test_blocks_of_zeros_that_a_power_cut_leaves_are_one_torn_line(log: Path) -> None:
    data = log.read_bytes()
    log.write_bytes(data[:5000] + bytes(4096) + b"\n" + data)
    facts = facts_of("--log", log)
    assert facts["torn"] == 1 and not facts["different"]


def test_a_line_that_no_power_cut_tore_is_a_damage(log: Path) -> None:
    """Behind one that it tore, another run starts or nothing comes."""
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:200], lines[200].replace(b":", b";", 1), *lines[201:]]))
    result = replayed("--log", log)
    assert result.exit_code == 7 and "1 damaged lines" in result.stderr
    assert "line logged" in result.stdout and "  inputs:" not in result.stdout
    (difference,) = json.loads(replayed("--log", log, "--json").stdout)["differences"]
    assert difference["logged"].startswith('b\'{"event";') and difference["inputs"] is None


def test_a_ring_that_lost_its_beginning_replays_from_the_next_state_on(tmp_path: Path) -> None:
    bench = Bench(log_inputs=True)
    bench.close()
    log = Log(tmp_path / "run.log", most_bytes=3 << 20)
    for event in [start(), *bench.events]:
        log.write(encode(event))
    for action in ("rest", "fist", "hand_open", "pinch") * 5:
        bench.events.clear()
        bench.decoder.action = action
        bench.wait(5.0)
        for event in bench.events:
            log.write(encode(event))
    log.close()
    events = list(read_events([tmp_path / "run.log.1", tmp_path / "run.log"]))
    assert not any(event["event"] == "start" for event in events)
    facts = facts_of("--log", tmp_path / "run.log")
    assert 0 < facts["not_replayable"] <= 3000 and facts["same"] > 1000
    assert not facts["torn"] and not facts["different"] and not facts["damaged"]
    assert facts["same"] + facts["not_replayable"] == facts["steps"]


def test_whatever_a_wearer_does_replays(tmp_path: Path) -> None:
    """Keys and buttons, which are the same to the loop; tension, which locks and vetoes; electrodes that fall off."""

    class Tension(CoContraction):
        def add(self, chunk: Chunk) -> None:
            self._run, self._locking = int(tense), bool(tense and not locking.pop())

    tense, locking = False, [True]
    bench = Bench(log_inputs=True, co_contraction=Tension(200.0, None, "lock"))
    for pressed in (LOCK, OPEN_KEY, STOP):
        bench.decoder.action = "rest"
        bench.close()
        bench.step(pressed)
        bench.wait(0.5)
        bench.step(OPEN_KEY)
    bench.decoder.action = "rest"
    bench.close()
    tense, locking = True, [True] * 100 + [False] + [True] * 5
    bench.wait(0.3)
    tense = False
    bench.wait(0.3)
    bench.step(ARM)
    bench.armband.faults = Faults(flat_channels=(1, 4, 6))
    bench.wait(1.0)
    log = written(tmp_path / "run.log", start(), *bench.events)
    text = log.read_text()
    pressed_parts = ('"lock":true', '"open":true', '"stop":true')
    assert all(part in text for part in ('"veto":"tense"', '"veto":"signal"', '"locked"', *pressed_parts))
    facts = facts_of("--log", log)
    assert facts["same"] == facts["steps"] > 1000


def test_a_step_with_a_part_that_no_gate_logs_is_refused(log: Path) -> None:
    """A changed byte in the name of a part must not make it be left out."""
    text = log.read_text()
    assert '"decision":{' in text
    log.write_text(text.replace('"decision":{', '"decisiom":{', 1))
    result = replayed("--log", log)
    assert result.exit_code == 3 and "decisiom" in result.stderr


def test_zeros_at_the_beginning_are_a_torn_line(log: Path) -> None:
    log.write_bytes(bytes(300) + b"\n" + log.read_bytes())
    assert facts_of("--log", log)["torn"] == 1


def test_every_log_of_a_folder_is_replayed(log: Path) -> None:
    one = facts_of("--log", log)["steps"]
    (log.parent / "notes.txt").write_text("not a log")
    (log.parent / "folder").mkdir()
    written(log.parent / "other.log.1", *session())  # its newer half is gone
    assert facts_of("--log", log.parent)["steps"] == 2 * one
    assert [[file.name for file in files] for files in logs_at(log.parent)] == [["other.log.1"], ["run.log"]]


def test_a_folder_without_a_log_is_said(tmp_path: Path) -> None:
    result = replayed("--log", tmp_path)
    assert result.exit_code == 3 and "holds no log" in result.stderr


@pytest.mark.parametrize("text", ["", "nonsense\n", '{"event":"step"}\n', '{"event":"start","time_s":1}\n', "[1]\n"])
def test_what_is_no_log_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text(text)
    found = replayed("--log", tmp_path / "x.log")
    assert found.exit_code == 3 and "Traceback" not in found.output
    assert found.stderr.count("\n") == 1


def test_a_missing_log_is_named(tmp_path: Path) -> None:
    assert replayed("--log", tmp_path / "absent").exit_code == 3
    with pytest.raises(InputError, match="cannot be read"):
        list(read_events([tmp_path / "absent"]))


def test_a_log_is_replayed_in_place_of_a_recording(log: Path) -> None:
    assert replayed("bundle", "recording", "--log", log).exit_code == 2
    assert replayed("--log", log, "--out", "x").exit_code == 2
    assert replayed().exit_code == 2


def decoder(start: Event | None = None) -> Decoder:
    return Decoder(build(), backend="reference")


def real(faults: Faults | None = None, **logged: bool) -> Bench:
    """A bench whose decoder is a real one; nothing has happened yet."""
    bench = Bench(faults=faults, **(logged or {"log_inputs": True, "log_emg": True}))
    bench.loop.decoder = decoder()
    return bench


def with_emg() -> list[Event]:
    bench = real()
    bench.wait(4.0)
    return bench.events


def wearer(bundle_sha256: str) -> Profile:
    """Somebody who has calibrated with the tiny bundle."""
    actions, muscle = ("rest", "wrist_flexion", "wrist_extension", "fist"), Muscle()
    samples = np.concatenate([muscle.play(action, 3.0) for action in actions])
    labelled = Labelled(samples, np.repeat(np.arange(4), 120), np.ones(480, int), actions)
    enrolment, report = enrol(build(), labelled, mirrored=False, backend="reference")
    created = "2026-01-02T03:04:05+00:00"
    return Profile("myo", montage_of(Myo.info), bundle_sha256, "tiny-0.1.0.myosem", created, enrolment, report)


def event_of(line: bytes) -> Event:
    """As a file's reader has it."""
    try:
        event = json.loads(line)
    except ValueError:
        return {"event": "torn", "line": ascii(line)}
    return event if isinstance(event, dict) else {"event": "torn", "line": ascii(line)}


def read(events: list[Event]) -> list[Event]:
    """As they come back from a file."""
    return [event_of(encode(event)) for event in events]


def broken(line: bytes, where: range, number: int) -> bytes:
    """`line` with one byte changed, in the `number`-th place of `where`, to a byte of the same kind."""
    at = where[number % len(where)]
    digit = line[at : at + 1].isdigit()
    other = b"7" if digit else b"k"
    return line[:at] + (other if line[at : at + 1] != other else b"3" if digit else b"q") + line[at + 1 :]


class TestDecisions:
    """Only where somebody asked for EMG in the log."""

    def test_a_log_does_not_depend_on_the_emg_unasked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two people whose muscles do other things, and whom the decoder takes for the same: every byte is the same."""

        def log(seed: int, **asked: bool) -> bytes:
            signal = np.random.default_rng(seed).normal(0.0, 12.0, (2000, 8)).astype(np.float32)
            monkeypatch.setattr(loop_bench, "noise", lambda: signal)
            bench = Bench(log_inputs=True, **asked)
            bench.close()
            bench.wait(1.0)
            return b"".join(map(encode, bench.events))

        one = log(1)
        assert one.count(b'"step"') > 400 and log(2) == one
        assert b'"emg"' not in one and b'"samples"' not in one
        assert log(1, log_emg=True) != log(2, log_emg=True)

    def test_decisions_are_made_again_to_the_last_bit(self) -> None:
        events = [start(), *with_emg()]
        steps = list(replay(events, decoder))
        assert sum(step.decided for step in steps) > 100 and not any(step.differences for step in steps)
        other = list(replay(events, lambda _: Decoder(build(seed=1), backend="reference")))
        assert {each.what for step in other for each in step.differences} == {"decision"}

    def test_behind_a_gap_nothing_is_said_of_them_until_the_next_start(self) -> None:
        events = with_emg()
        half = len(events) // 2
        gap = [start(), *events[:half], {"event": "dropped"}, *events[half:]]
        steps = list(replay(gap, decoder))
        assert 0 < sum(step.decided for step in steps) < 100 and not any(step.differences for step in steps)

    def test_a_whole_run_with_lost_packets_and_bad_electrodes_replays(self) -> None:
        """The decoder fills holes, and starts anew after long ones."""
        bench = real(Faults(drop_probability=0.03, seed=3))
        bench.wait(3.0)
        bench.front_cable = False
        bench.wait(0.3)
        bench.front_cable = True
        bench.wait(1.0)
        bench.armband.faults = Faults(flat_channels=(1, 4))
        bench.wait(2.0)
        lines = read([start(), *bench.events])
        assert any(event["lost"] for event in lines if event["event"] == "emg")
        steps = list(replay(lines, decoder))
        assert all(step.known and step.decided == step.weighed and not step.differences for step in steps)
        assert sum(step.decided for step in steps) == bench.loop.counts["decisions"] > 200

    def test_a_chunk_that_only_tells_of_a_loss_counts(self) -> None:
        whole = np.random.default_rng(0).normal(0.0, 20.0, (200, 8)).astype(np.float32)
        chunks = [Chunk(whole[:150], 0, 1.0), Chunk(whole[:0], 152, 1.1, 2), Chunk(whole[150:], 152, 1.2)]
        first, second = decoder(), decoder()
        for chunk in chunks:
            again = emg_from_events(read([{"event": "emg", **piece} for piece in emg_events(chunk)]))
            assert second.feed(again) == first.feed(chunk)

    def test_any_changed_byte_of_emg_is_found(self) -> None:
        """Few of them change a decision: the encoder rounds to eight bits."""
        lines = [encode(event) for event in [start(), *with_emg()]]
        emg = [number for number, line in enumerate(lines) if line.startswith(b'{"event":"emg"')]
        for number in range(60):
            at = emg[(17 * number) % len(emg)]
            samples = lines[at].index(b'"samples":"') + 11
            damaged = broken(lines[at], range(samples, lines[at].index(b'"', samples)), 7 * number)
            events = [json.loads(line) for line in (*lines[:at], damaged, *lines[at + 1 :])]
            found = [each for each in replay(events, decoder) if each.differences]
            assert [(each.inputs, each.differences[0].what) for each in found] == [(None, "emg")]
            assert found[0].time_s == events[at]["time_s"]
            assert any(each.differences for each in replay(events)), "without a bundle, too"

    def test_any_changed_byte_of_a_decision_is_found(self) -> None:
        lines = [encode(event) for event in [start(), *with_emg()]]
        decided = [number for number, line in enumerate(lines) if b'"decision":{' in line]
        for number in range(60):
            at = decided[(7 * number) % len(decided)]
            first = lines[at].index(b'"decision":{')
            places = range(first, lines[at].index(b"}", first))
            damaged = broken(lines[at], places, 11 * number)
            parts = [*lines[:at], damaged, *lines[at + 1 :]]
            try:
                events = [event_of(line) for line in parts]
                found = [each for each in replay(events, decoder) if each.differences]
            except (KeyError, TypeError, ValueError):
                continue  # a name that no gate logs
            assert found and found[0].differences[0].what in ("decision", "line"), damaged

    def test_a_decision_that_was_taken_out_is_found(self) -> None:
        events = read([start(), *with_emg()])
        at = next(number for number, event in enumerate(events) if "decision" in event and event["event"] == "step")
        for name in ("decision", "veto"):
            del events[at][name]
        (found,) = (each for each in replay(events, decoder) if each.differences)
        assert found.differences[0].what == "decision" and found.differences[0].logged is None

    @pytest.mark.parametrize("stage", ["shaper", "gate", "decoder"])
    def test_what_failed_in_the_run_is_not_called_a_difference(
        self, stage: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench = real()
        bench.wait(2.0)
        with monkeypatch.context() as patch:
            inject(bench, stage, patch)
            bench.wait(0.03)
        bench.wait(1.0)
        assert {event["stage"] for event in bench.told("failure")} == {stage}
        steps = list(replay(read([start(), *bench.events]), decoder))
        assert not any(step.differences for step in steps)
        later = [step for step in steps if step.weighed][-20:]
        assert {step.decided for step in later} == {stage != "decoder"}  # nobody knows what it remembered

    @pytest.mark.parametrize("stage", ["shaper", "gate"])
    def test_a_failure_excuses_no_decision_that_is_lacking_later(
        self, stage: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench = real()
        bench.wait(2.0)
        with monkeypatch.context() as patch:
            inject(bench, stage, patch)
            bench.wait(0.03)
        bench.wait(1.0)
        events = read([start(), *bench.events])
        last = [event for event in events if event["event"] == "step" and "decision" in event][-1]
        del last["decision"], last["veto"]
        assert [each.what for step in replay(events, decoder) for each in step.differences] == ["decision"]

    def test_a_decoder_that_fails_ends_it(self) -> None:
        class Failing(Decoder):
            def feed(self, chunk: Chunk) -> Any:
                raise ValueError("injected")

        steps = list(replay([start(), *with_emg()], lambda _: Failing(build(), backend="reference")))
        assert not any(step.decided or step.differences for step in steps)

    def test_the_command_makes_them_again_with_the_profile_that_was_worn(
        self, tiny_bundle: Path, tmp_path: Path
    ) -> None:
        opened = bundle_from(tiny_bundle)
        store, worn = Store.here(), wearer(opened.sha256)
        store.save_provisional("kim", worn)
        store.accept("kim")
        bench = real()
        enrolment = store.load("kim").enrolment
        bench.loop.decoder = Decoder(Model.from_bundle(opened), enrolment, backend="reference")
        bench.wait(4.0)
        facts = {"bundle_sha256": opened.sha256, "profile_created": worn.created, "backend": "reference"}
        log = written(tmp_path / "run.log", start(**facts), *bench.events)
        options = (tiny_bundle, "--log", log, "--backend", "reference")
        found = facts_of(*options, "--profile", "kim")
        assert found["decisions"] == found["decisions_logged"] > 50 and not found["different"]
        assert '"source":"calibrated"' in log.read_text()
        result = replayed(*options)
        assert result.exit_code == 7 and f"profile_created {worn.created}, not None" in result.stderr

    def test_the_command_makes_them_again_with_the_bundle_of_the_run(self, tiny_bundle: Path, tmp_path: Path) -> None:
        facts = {"bundle_sha256": bundle_from(tiny_bundle).sha256, "profile_created": None, "backend": "reference"}
        log = written(tmp_path / "run.log", start(**facts), *with_emg())
        found = facts_of(tiny_bundle, "--log", log, "--backend", "reference")
        assert found["decisions_logged"] == found["decisions"] > 50
        assert not found["decisions_different"] and not found["different"]
        other = written(tmp_path / "other.log", start(**facts | {"bundle_sha256": "0" * 64}), *with_emg())
        result = replayed(tiny_bundle, "--log", other, "--backend", "reference")
        assert result.exit_code == 7 and "bundle_sha256 0000" in result.stderr
        without = written(tmp_path / "without.log", *session(**facts))
        result = replayed(tiny_bundle, "--log", without, "--backend", "reference")
        assert result.exit_code == 7 and "0 pieces of EMG" in result.stderr
