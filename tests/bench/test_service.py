"""A decoder in a process of its own: what it answers, what it may print, and how its failures are told."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from myosem_edge.bench.measure import Entry, Plan, measure_decoders
from myosem_edge.bench.person import load_stream
from myosem_edge.bench.service import Child, ChildError, serve
from myosem_edge.bench.timing import Clocks

ROOT = Path(__file__).parents[2]
FAKE = [sys.executable, str(Path(__file__).parent / "fake_peer.py")]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
STREAM = {"emg": [[0] * 8] * 50, "labels": [-1] * 50, "frame": 5, "window": 50}


class Subject:
    def __init__(self) -> None:
        self.asked: list[int] = []

    def load(self, **request: Any) -> dict[str, Any]:
        return {"keys": sorted(request)}

    def decide(self, frame: int) -> None:
        self.asked.append(frame)


def served(subject: Subject, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    out = io.StringIO()
    ticks = iter(range(10**6))
    clock = Clocks(lambda: next(ticks) * 10**9, lambda: next(ticks), lambda s: None)
    serve(subject, out, [json.dumps(each) + "\n" for each in requests], clock)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_every_request_has_one_line_of_answer() -> None:
    subject = Subject()
    load, cost, pace = served(
        subject,
        {"do": "load", **STREAM},
        {"do": "cost", "decisions": 6, "warm_up": 2},
        {"do": "pace", "decisions": 3},
    )
    assert load == {"keys": ["emg", "frame", "labels", "window"]}
    assert cost["decisions"] == 6 and set(cost) == {"cpu_us", "p50_us", "p99_us", "decisions"}
    assert set(pace) == {"p50_ms", "p99_ms"}
    assert subject.asked == [*range(8), 0, 1, 2]


def test_what_cannot_be_done_is_said_and_ends_nothing() -> None:
    first, second, third = served(
        Subject(), {"do": "stages", "decisions": 1}, {"do": "dance"}, {"do": "pace", "decisions": 1}
    )
    assert first == {"error": "ValueError: nothing is known of 'stages'"}
    assert second == {"error": "ValueError: nothing is known of 'dance'"}
    assert "error" not in third


def test_a_child_that_prints_is_understood() -> None:
    with Child(FAKE, ENVIRONMENT) as child:
        assert child.ask("load", **STREAM) == {"frames": 10, "labels": 50, "window": 50}
        assert child.ask("cost", decisions=10, warm_up=1)["decisions"] == 10


def test_a_failure_and_a_death_of_a_child_carry_its_own_words() -> None:
    with Child(FAKE, ENVIRONMENT) as child:
        with pytest.raises(ChildError, match="ValueError: nothing to load"):
            child.ask("load", **{**STREAM, "emg": []})
        with pytest.raises(ChildError, match="out of memory"):
            child.ask("load", **{**STREAM, "emg": [[0] * 8]})
    with (
        Child([sys.executable, "-c", "import no_such_module"], ENVIRONMENT) as child,
        pytest.raises(ChildError, match="No module named 'no_such_module'"),
    ):
        child.ask("load", **STREAM)
    with pytest.raises(ChildError, match="no-such-python: No such file"):
        Child(["no-such-python"], ENVIRONMENT)


def test_decoders_are_measured_in_turn_and_one_that_is_missing_is_skipped_by_name() -> None:
    told: list[str] = []
    missing = [sys.executable, "-c", "import libemg_that_is_not_here"]
    entries = [
        Entry("peer", "a fake", FAKE, ENVIRONMENT),
        Entry("missing", "not installed", missing, ENVIRONMENT),
        Entry("other", "a fake", FAKE, ENVIRONMENT),
    ]
    plan = Plan(repeats=2, decisions=20, staged=2, paced=2)
    peer, gone, other = measure_decoders(entries, load_stream(), plan, told.append)
    assert "No module named" in gone.skipped and gone.figures == {}
    for row in (peer, other):
        assert {name: len(values) for name, values in row.figures.items()} == {
            **dict.fromkeys(("cpu_us", "p50_us", "p99_us", "decisions", "p50_ms", "p99_ms"), 2),
            "rss_mb": 1,
        }
        assert row.facts["frames"] == 6064 and row.stages == {}
    assert told[3:] == ["peer: 1 of 2", "other: 1 of 2", "peer: 2 of 2", "other: 2 of 2"]
