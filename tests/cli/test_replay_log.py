"""`replay --log` as a user types it: logs that are whole, cut, damaged or changed, and EMG where it was asked for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from myosem_edge.bundle import bundle_from
from myosem_edge.cli.main import main
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.runtime.decoder import Decoder
from myosem_edge.runtime.gate_replay import Event, logs_at, read_events, replay
from myosem_edge.runtime.telemetry import Log, encode
from tests.calibration.tiny_model import build
from tests.runtime.loop_bench import STOP, Bench

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


def with_emg(backend: str = "reference") -> list[Event]:
    """A run whose decoder is a real one."""
    bench = Bench(log_inputs=True, log_emg=True)
    bench.loop.decoder = Decoder(build(), backend=backend)
    bench.wait(4.0)
    return bench.events


class TestDecisions:
    """Only where somebody asked for EMG in the log."""

    def test_no_sample_is_logged_unasked(self) -> None:
        assert not any(event["event"] == "emg" or "samples" in event for event in session())

    def test_decisions_are_made_again_to_the_last_bit(self) -> None:
        events = [start(), *with_emg()]
        steps = list(replay(events, lambda _: Decoder(build(), backend="reference")))
        assert sum(step.decided for step in steps) > 100 and not any(step.differences for step in steps)
        other = list(replay(events, lambda _: Decoder(build(seed=1), backend="reference")))
        assert {each.what for step in other for each in step.differences} == {"decision"}

    def test_behind_a_gap_nothing_is_said_of_them_until_the_next_start(self) -> None:
        events = with_emg()
        half = len(events) // 2
        gap = [start(), *events[:half], {"event": "dropped"}, *events[half:]]
        steps = list(replay(gap, lambda _: Decoder(build(), backend="reference")))
        assert 0 < sum(step.decided for step in steps) < 100 and not any(step.differences for step in steps)

    def test_a_decoder_that_fails_ends_it(self) -> None:
        class Failing(Decoder):
            def feed(self, chunk: Chunk) -> Any:
                raise ValueError("injected")

        steps = list(replay([start(), *with_emg()], lambda _: Failing(build(), backend="reference")))
        assert not any(step.decided or step.differences for step in steps)

    def test_the_command_makes_them_again_with_the_bundle_of_the_run(self, tiny_bundle: Path, tmp_path: Path) -> None:
        facts = {"bundle_sha256": bundle_from(tiny_bundle).sha256, "profile_created": None, "backend": "reference"}
        log = written(tmp_path / "run.log", start(**facts), *with_emg())
        found = facts_of(tiny_bundle, "--log", log, "--backend", "reference")
        assert found["decisions"] > 100 and not found["decisions_different"] and not found["different"]
        other = written(tmp_path / "other.log", start(**facts | {"bundle_sha256": "0" * 64}), *with_emg())
        result = replayed(tiny_bundle, "--log", other, "--backend", "reference")
        assert result.exit_code == 7 and "bundle_sha256 0000" in result.stderr
        without = written(tmp_path / "without.log", *session(**facts))
        result = replayed(tiny_bundle, "--log", without, "--backend", "reference")
        assert result.exit_code == 7 and "0 pieces of EMG" in result.stderr
