"""What faults on the wire may cost, for every front end; the table on its page is made by the same code."""

from __future__ import annotations

from functools import cache

import pytest

from benchmarks.front_end_faults import FAULTS, Cost, cost
from myosem_edge.firmware_bridge.emulators import EMULATED_FRONT_ENDS

SECONDS = 8.0
SAMPLES_IN_FRAME = {"myo": 2, "myosem_wire": 10}
# A lost one does not show in the frames; that it was lost shows by the clock alone.
UNCOUNTED = {"csv", "spikershield"}
FRAMED = sorted(set(EMULATED_FRONT_ENDS) - UNCOUNTED)
# Beside a damaged frame: what a check of four bits, or a Myo's packet length, lets through; see each one's own tests.
REACH = {"bitalino": 1, "csv": 1, "spikershield": 1, "cyton_daisy": 1}
# Ten thousand samples a second are slow to play.
SLOW = {"spikershield": pytest.mark.full}
each = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=SLOW.get(name, ())) for name in sorted(EMULATED_FRONT_ENDS)]
)


@cache
def measured(name: str, fault: str) -> Cost:
    found = cost(name, FAULTS[fault], SECONDS)
    assert found.faulty > 2 or fault in ("a second of silence", "held back for 16 ms"), "the fault happened"
    return found


@pytest.mark.parametrize("name", FRAMED)
def test_every_lost_frame_is_counted(name: str) -> None:
    found = measured(name, "frame lost")
    assert found.counted == found.missing >= found.faulty
    assert found.wrong == found.twice == 0


@each
@pytest.mark.parametrize("fault", ["a byte lost", "a byte changed"])
def test_a_byte_costs_its_frame_and_no_other(name: str, fault: str) -> None:
    found = measured(name, fault)
    most = found.faulty * SAMPLES_IN_FRAME.get(name, 1) * (1 + REACH.get(name, 0))
    assert found.missing <= 1.05 * most + 1  # a good frame between two damaged ones is not believed everywhere


@pytest.mark.parametrize("name", sorted(set(FRAMED) - {"bitalino"}))
@pytest.mark.parametrize("fault", ["1 to 16 random bytes", "a line of text"])
def test_bytes_between_frames_cost_nothing_and_are_no_samples(name: str, fault: str) -> None:
    found = measured(name, fault)
    assert found.missing <= 1  # with a Daisy they may look like the counter of a frame
    assert found.wrong == found.twice == 0
    assert found.rejected_bytes >= found.faulty


@each
def test_frames_that_are_held_back_are_all_there(name: str) -> None:
    found = measured(name, "held back for 16 ms")
    assert (found.missing, found.wrong, found.twice, found.counted) == (0, 0, 0, 0)


def test_a_frame_with_a_real_check_never_delivers_what_was_not_sent() -> None:
    for fault in FAULTS:
        found = cost("myosem_wire", FAULTS[fault], SECONDS)
        assert found.wrong == found.twice == 0, fault


@each
def test_a_second_that_is_lost_is_counted_or_noted(name: str) -> None:
    found = measured(name, "a second of silence")
    assert found.wrong == 0
    assert found.counted > 0.9 * found.missing or "samples missing by the clock" in found.noted, found
