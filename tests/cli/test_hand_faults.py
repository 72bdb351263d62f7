"""Killed, hung or cut off in the middle of a motion: every emulated hand stops, and none goes on by itself."""

from __future__ import annotations

import pytest

from myosem_edge.firmware_bridge.emulators import EMULATED_HANDS
from tests.cli.hand_faults import BEGUN, BOTH, FAULTS, FRONT_CABLE, HAND_CABLE, KILLED, PAGE, measured

STEPPED = frozenset(EMULATED_HANDS) - {"ability", "two_channel"}
# Of the stroke. A stepped hand finishes a step; the others move on until the guard speaks, or their line falls silent.
MOST = dict.fromkeys(STEPPED, 0.05) | {"ability": 0.3, "two_channel": 0.3}
# It falls back to its own mode 0.3 s after the last frame, and that may move the fingers: its page says so.
UNCOVERED = {("ability", BOTH), ("ability", HAND_CABLE)}
SHORT = {("brunel", KILLED)}  # one of them in every run of the tests


@pytest.mark.peer
@pytest.mark.sr("SR-13")
@pytest.mark.parametrize(
    ("hand", "fault"),
    [
        pytest.param(hand, fault, marks=() if (hand, fault) in SHORT else pytest.mark.full)
        for fault in (KILLED, BOTH, HAND_CABLE, FRONT_CABLE)
        for hand in sorted(EMULATED_HANDS)
    ],
)
def test_the_hand_stops_and_waits_for_somebody_to_arm(hand: str, fault: str) -> None:
    found = measured(hand, fault)
    assert BEGUN[0] * 0.9 < found.began < BEGUN[1], "in the middle of a motion"
    if (hand, fault) not in UNCOVERED:
        assert found.moved <= MOST[hand], found
    assert not found.after_plug or found.after_plug < 0.01, found


def test_the_page_has_every_hand_under_every_fault() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(fault[1:] in text for fault in FAULTS)
    assert all(text.count(f"| `{hand}` |") == len(FAULTS) for hand in EMULATED_HANDS)
