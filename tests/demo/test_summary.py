"""What the report says, checked on a session small enough to count by hand."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the [train] extra is not installed")

from myosem_edge.demo.play import Performed, Session, read_log
from myosem_edge.demo.report import grip_table, write_report
from myosem_edge.demo.summary import summarise
from myosem_edge.demo.wearer import Clip
from myosem_edge.firmware_bridge.emulators.ability import AbilityState
from myosem_edge.runtime.grips import GripMap, GripRule

GRIPS = GripMap(
    {
        "rest": GripRule(None, 0.6, "meaning"),
        "fist": GripRule("power", 0.75, "meaning"),
        "wrist_flexion": GripRule("lateral", 0.75, "chosen"),
    }
)


def clip(action):
    """A second of rest, a cue of two seconds, a second of letting go; the muscle starts 0.2 s after the cue."""
    return Clip(action, 2, np.zeros((800, 8)), cue=200, onset=240, end=600)


def decision(time_s, action, **changes):
    return {
        "event": "decision",
        "time_s": time_s,
        "action": action,
        "accepted": True,
        "reason": "",
        "asked": "",
    } | changes


def verdict(time_s, kind, grip=None, reasons=()):
    command = {"kind": kind, "grip": grip, "speed": 0.5, "force": 1.0}
    return {"event": "verdict", "time_s": time_s, "command": command, "armed": True, "reasons": list(reasons)}


def hand(time_s, grip, speed):
    return AbilityState(time_s, {}, "grip", grip, 1, speed, True, speed > 0, (), time_s, 0, 0)


@pytest.fixture
def session():
    # the fist is played from 100 s: onset at 101.2, cue ends at 103; the flexion from 110 s: onset 111.2, end 113
    return Session(
        performed=[Performed(clip("fist"), 100.0), Performed(clip("wrist_flexion"), 110.0)],
        hand=[hand(101.4, "power", 90), hand(102.0, "open", 0)],
        events=[
            decision(99.0, "rest"),
            decision(101.5, "fist"),
            decision(102.0, "wrist_flexion", accepted=False, reason="ambiguous"),
            decision(111.5, "fist", asked="threshold"),
            decision(103.5, "fist"),  # letting go: counts neither way
            verdict(101.4, "grip", "power"),
            verdict(101.6, "neutral", reasons=["not-accepted"]),
            verdict(108.0, "grip", "power"),
            verdict(111.4, "grip", "power", reasons=["few-votes"]),
            {"event": "summary", "time_s": 120.0, "late": {"p99_ms": 1.5}, "front_end": {"lost_samples": 0}},
        ],
        begun_s=98.0,
        ended_s=120.0,
    )


def test_delays_count_from_the_onset_and_only_the_right_grip_ends_them(session):
    fist, flexion = summarise(session, GRIPS).outcomes
    assert fist.delay_s == pytest.approx(0.2)
    assert flexion.delay_s is None and flexion.wanted == "lateral"
    assert fist.wrong == ()


def test_confusion_is_of_decisions_inside_executions_and_at_rest(session):
    s = summarise(session, GRIPS)
    assert s.actions == ("rest", "fist", "wrist_flexion")
    assert s.confusion.tolist() == [[1, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]]
    assert s.right_hops == pytest.approx(100 * (1 + 0.5 + 0) / 3)


def test_what_was_not_obeyed_is_counted_with_its_reason(session):
    s = summarise(session, GRIPS)
    assert s.rejected == {"ambiguous": 1, "threshold": 1}
    assert s.held_back == {"not-accepted": 1, "few-votes": 1}


def test_a_grip_commanded_at_rest_is_counted(session):
    s = summarise(session, GRIPS)
    assert s.at_rest == 1  # 108.0 s
    assert s.rest_s == pytest.approx(22 - 2 * 2.8)


def test_the_page_and_the_picture_are_written(session, tmp_path: Path):
    text, picture = write_report(tmp_path, session, summarise(session, GRIPS), GRIPS, "Title", "| a |")
    page = text.read_text()
    assert "| fist | 2 | power | 200 ms | - |" in page
    assert "| wrist_flexion | 2 | lateral | never |" in page
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert grip_table(GRIPS, ("fist",)) == [("fist", "power", "0.75", "meaning")]


def test_a_log_that_is_still_being_written_is_read_to_its_last_whole_line(tmp_path: Path):
    path = tmp_path / "run.jsonl"
    assert read_log(path) == []
    path.write_text('{"event": "a"}\n{"event": "b"}\n{"eve')
    assert [e["event"] for e in read_log(path)] == ["a", "b"]
