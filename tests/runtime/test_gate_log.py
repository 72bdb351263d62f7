"""The gate's memory through JSON and back, and logs that are damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge.cli.main import main
from myosem_edge.errors import InputError
from myosem_edge.runtime.gate import Command, Reason, State
from myosem_edge.runtime.gate_log import Rules, read_events, state_from_dict, state_to_dict
from myosem_edge.runtime.limits import Limits
from myosem_edge.runtime.telemetry import encode
from tests.runtime.loop_bench import GRIPS, STOP, Bench

times = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.sr("SR-18")
@given(
    state=st.builds(
        State,
        now_s=st.none() | times,
        healthy_since_s=st.none() | times,
        armed=st.booleans(),
        latched=st.none() | st.sampled_from(Reason),
        reasons=st.lists(st.sampled_from(Reason), max_size=4).map(tuple),
        votes=st.lists(st.tuples(st.sampled_from(("grip", "open")), st.none() | st.text(max_size=5)), max_size=4).map(
            tuple
        ),
        command=st.builds(Command, speed=times, force=times),
        message_times_s=st.lists(times, max_size=5).map(tuple),
    )
)
def test_a_state_comes_back_to_the_last_bit(state: State) -> None:
    assert state_from_dict(json.loads(json.dumps(state_to_dict(state)))) == state


def test_rules_come_back() -> None:
    rules = Rules(Limits(max_speed=0.3), GRIPS.grips())
    assert Rules.from_dict(json.loads(json.dumps(rules.to_dict()))) == rules


@pytest.fixture
def log(tmp_path: Path) -> Path:
    bench = Bench(log_inputs=True)
    bench.close()
    bench.step(STOP)
    bench.wait(0.5)
    path = tmp_path / "run.log"
    start = {"event": "start", "time_s": 0.0, "gate": bench.loop.steps.rules.to_dict()}
    path.write_bytes(b"".join(encode(event) for event in [start, *bench.events]))
    return path


def replayed(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["replay", *map(str, arguments)])


@pytest.mark.sr("SR-18")
def test_the_command_replays_a_log(log: Path) -> None:
    found = replayed("--log", log, "--json")
    facts = json.loads(found.stdout)
    assert found.exit_code == 0 and facts["same"] == facts["steps"] > 100 and not facts["different"]
    assert "0 different" in replayed("--log", log).stdout


@pytest.mark.sr("SR-18")
def test_a_changed_verdict_is_found_and_named(log: Path) -> None:
    closing = '"command":{"kind":"grip","grip":"power","speed":'
    assert closing in log.read_text()
    log.write_text(log.read_text().replace(closing, closing + "1", 1))
    found = replayed("--log", log)
    assert found.exit_code != 0
    assert "logged: grip power" in found.stdout and "does not say the same again" in found.stderr


def test_the_older_half_comes_first_and_a_torn_end_is_left_out(log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    half = len(lines) // 2
    log.with_name("run.log.1").write_bytes(b"".join(lines[:half]))
    log.write_bytes(b"".join(lines[half:]) + b'{"event":"step","inp')
    facts = json.loads(replayed("--log", log, "--json").stdout)
    assert facts["same"] == facts["steps"] > 100


@pytest.mark.parametrize("text", ["", "nonsense\n", '{"event":"step"}\n', '{"event":"start","time_s":1}\n', "[1]\n"])
def test_what_is_no_log_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text(text)
    found = replayed("--log", tmp_path / "x.log")
    assert found.exit_code == 3 and "Traceback" not in found.output
    assert found.stderr.count("\n") == 1


def test_a_missing_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        list(read_events([tmp_path / "absent"]))


def test_a_log_is_replayed_alone(log: Path) -> None:
    assert replayed("bundle", "recording", "--log", log).exit_code == 2
    assert replayed().exit_code == 2
