"""A `run` that is watched: what counts as a command's delay, and what is done to arm it and to end it."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import pytest

from myosem_edge.bench.live import ALONE, Seen, StampedMyo, _watch, alone_kib, delays
from myosem_edge.clock import VirtualClock
from myosem_edge.errors import DeviceError
from myosem_edge.firmware_bridge.emulators.ability import AbilityEmulator, AbilityState
from myosem_edge.firmware_bridge.emulators.sources import ArraySource

STATE = AbilityEmulator().state()


def hand(time_s: float, grip: str, speed: int, control: str = "grip") -> AbilityState:
    return AbilityState(**{**vars(STATE), "time_s": time_s, "grip": grip, "speed_byte": speed, "control": control})


def verdict(time_s: float, kind: str, grip: str | None = None, speed: float = 0.0) -> dict[str, Any]:
    return {"time_s": time_s, "command": {"kind": kind, "grip": grip, "speed": speed}}


WRITTEN_S = [0.00, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07]


def test_a_delay_runs_from_the_samples_of_the_verdict_to_the_hand_however_long_it_takes() -> None:
    verdicts = [verdict(0.0, "neutral"), verdict(0.021, "grip", "power", 0.2), verdict(0.033, "grip", "power", 0.3)]
    states = [hand(0.0, "", 0, "normal"), hand(0.022, "power", 50), hand(0.058, "power", 75)]
    assert delays(WRITTEN_S, verdicts, states) == pytest.approx([0.028])  # samples at 0.03, though 0.05 came between


def test_a_new_grip_a_pause_and_a_command_that_never_arrived_do_not_count() -> None:
    verdicts = [
        verdict(0.001, "grip", "power", 0.2),
        verdict(0.011, "grip", "pinch", 0.2),  # another grip: the gate may have let it wait
        verdict(0.021, "grip", "pinch", 0.3),  # lost on the way
        verdict(0.041, "grip", "pinch", 0.4),
        verdict(0.061, "neutral"),
        verdict(0.071, "grip", "pinch", 0.5),
    ]
    states = [hand(0.002, "power", 50), hand(0.012, "pinch", 50), hand(0.043, "pinch", 100), hand(0.0715, "pinch", 125)]
    assert delays(WRITTEN_S, verdicts, states) == pytest.approx([0.003])
    assert delays([], verdicts, states) == delays(WRITTEN_S, [], states) == []


def test_samples_are_stamped_when_they_leave_and_answers_are_not() -> None:
    clock = VirtualClock(0.0)
    armband = StampedMyo(ArraySource(np.ones((100, 8), np.float32), 200.0), clock)
    armband.samples_sent = 2
    armband._outgoing += b"x"
    clock.advance(0.5)
    armband.to_send()
    armband._outgoing += b"an answer"
    armband.to_send()
    assert armband.written_s == [0.5]


FAKE_RUN = """
import json, sys
def tell(**event): print(json.dumps(event), flush=True)
neutral, presses = {"kind": "neutral", "grip": None, "speed": 0.0}, ""
tell(event="start")
while "q" not in presses:
    tell(event="decision")
    if PATIENT:
        presses += sys.stdin.read(1)
    tell(event="verdict", armed="a" in presses, time_s=1.0, command=neutral)
tell(event="summary", counts={"decisions": len(presses)})
sys.exit(CODE)
"""


def fake_run(code: int = 0, patient: bool = True) -> list[str]:
    return [sys.executable, "-c", FAKE_RUN.replace("CODE", str(code)).replace("PATIENT", str(patient))]


def watch(command: list[str], monkeypatch: pytest.MonkeyPatch) -> Seen:
    monkeypatch.setattr("myosem_edge.bench.live.ARM_AGAIN_S", 0.0)
    return _watch(command, dict(os.environ), 0.0)


def test_it_is_armed_watched_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watch(fake_run(), monkeypatch)
    assert seen.first_decision_s > 0
    assert set(seen.memory_mb) == {"RSS, MB", "PSS, MB", "PSS with children, MB", ALONE}
    assert seen.memory_mb["PSS, MB"] < seen.memory_mb[ALONE]  # this very process shows the same libraries
    assert seen.summary["counts"]["decisions"] >= 2  # a, q
    assert [each["armed"] for each in seen.verdicts][-1] is True


def test_a_run_that_fails_or_never_arms_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="run ended early"):
        watch(fake_run(code=7), monkeypatch)
    monkeypatch.setattr("myosem_edge.bench.live.ARM_TIMEOUT_S", 0.0)
    with pytest.raises(DeviceError, match="could not be armed"):
        watch(fake_run(patient=False), monkeypatch)


def mapping(place: str, rss: int, own: int) -> str:
    return f"7f00-7f{rss:02x} r--p {place} /lib/a b: c.so\nRss: {rss} kB\nPss: 1 kB\nAnonymous: {own} kB\nVmFlags: rd\n"


def test_a_page_of_a_library_counts_once_and_in_full_and_own_pages_every_time() -> None:
    library, heap = "00000000 fe:00 77", "00000000 00:00 0"
    first = mapping(library, 50, 0) + mapping("00010000 fe:00 77", 9, 4) + mapping(heap, 30, 30)
    second = mapping(library, 70, 0) + mapping(heap, 20, 20)
    assert alone_kib([first]) == 50 + 9 + 30
    assert alone_kib([first, second]) == 70 + 9 + 30 + 20
    assert alone_kib([]) == 0


def test_without_a_single_command_there_is_no_delay_to_tell() -> None:
    with pytest.raises(DeviceError, match="no command followed"):
        Seen(summary={"counts": {"decisions": 5}}).figures()


def test_figures_name_their_units() -> None:
    spread = {"count": 3, "p50_ms": 1.0, "p99_ms": 2.0, "max_ms": 3.0}
    summary = {"late": spread, "processing": spread, "counts": {"decisions": 9}}
    figures = Seen(0.5, {"RSS, MB": 80.0}, summary, delays_s=[0.001, 0.003]).figures()
    assert figures["sample byte to command byte p50, ms"] == pytest.approx(2.0)
    assert all(", " in name for name in figures if name not in ("commands counted", "decisions"))
