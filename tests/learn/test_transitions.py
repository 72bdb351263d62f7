"""Delays, activations and their bookkeeping, on decisions made up so that the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge.learn.corpus.sessions import Clip, Session
from myosem_edge.learn.datasets.recording import FREE_STREAM
from myosem_edge.learn.scoring.transitions import (
    SEARCH_S,
    Tally,
    _count,
    activations,
    agreed,
    delay_after,
    onsets,
    pool,
)
from myosem_edge.signal.montage import MYO

REST, FIST = 0, 7
NOBODY = -1


def clip(stream: str = "") -> Clip:
    """3 s of rest, then a fist that the detector finds at 3.0 s: believed from 3.3 s on."""
    frames, onset = 240, 120
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (frames * 5, 8)).astype(np.float32)
    x[onset * 5 :] *= 20
    action = np.full(frames, NOBODY)
    action[20:110], action[132:] = REST, FIST
    execution = np.where(action == NOBODY, NOBODY, np.where(action == REST, 0, 1))
    early = np.full(frames, NOBODY)
    early[onset:132] = FIST
    attributes = {"stream": stream} if stream else {}
    return Clip(x, action, np.full(frames, 3), execution, early, {}, attributes)


def session(*clips: Clip) -> Session:
    return Session("made_up", "p1", "0", MYO, list(clips), np.ones(8))


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_three_of_the_last_four(right: list[bool]) -> None:
    found = agreed(np.array(right))
    assert found.tolist() == [sum(right[max(0, i - 3) : i + 1]) >= 3 for i in range(len(right))]


def test_an_onset_is_found_where_the_muscle_begins() -> None:
    c = clip()
    ((action, sample),) = onsets(session(c), c, REST, calibrated=2)
    assert action == FIST
    assert sample == pytest.approx(600, abs=6)
    assert not list(onsets(session(c), c, REST, calibrated=3))  # this repetition was calibrated on


def test_the_delay_ends_when_the_decision_could_be_taken() -> None:
    right = np.zeros(240, dtype=bool)
    right[124:] = True  # the hops that end at 3.125, 3.15 and 3.175 s are the first three
    assert delay_after(right, 600, 200.0) == pytest.approx(175)
    assert delay_after(right, 601, 200.0) == pytest.approx(170)
    late = np.zeros(240, dtype=bool)
    late[round((3 + SEARCH_S) / 0.025) :] = True
    assert delay_after(late, 600, 200.0) is None


def test_what_was_right_before_the_onset_counts_from_the_onset() -> None:
    assert delay_after(np.ones(240, dtype=bool), 600, 200.0) == 0.0


@pytest.mark.parametrize(
    ("wrong", "events"),
    [([], 0), ([30], 0), ([30, 31], 0), ([30, 31, 32], 1), ([30, 32, 33], 1), (list(range(30, 60)), 1)],
)
def test_activations_are_events_and_not_hops(wrong: list[int], events: int) -> None:
    decided = np.full(240, REST)
    decided[wrong] = FIST
    assert activations(decided, REST, clip().action == REST) == events


def test_an_activation_outside_rest_is_none() -> None:
    decided = np.full(240, REST)
    decided[140:] = FIST
    assert activations(decided, REST, clip().action == REST) == 0


def test_a_session_is_counted_whole() -> None:
    tally, c = Tally(), clip()
    decided = np.full(240, REST)
    decided[40:45] = FIST  # one activation at rest
    decided[126:] = FIST
    decided[150] = REST  # a flicker: two changes
    _count(tally, session(c), c, decided, REST, 2)
    assert tally.rest_events == 1 and tally.rest_s == pytest.approx(90 * 0.025)
    assert tally.changes == 2 and tally.hold_s == pytest.approx(108 * 0.025)
    assert tally.missed == 0
    assert tally.delays_ms == [pytest.approx(225, abs=30)]


def test_free_movement_asks_for_nothing() -> None:
    tally, c = Tally(), clip(FREE_STREAM)
    decided = np.full(240, REST)
    decided[100:110] = FIST
    _count(tally, session(c), c, decided, REST, 2)
    assert (tally.free_events, tally.free_s) == (1, 6.0)
    assert (tally.rest_events, tally.rest_s, tally.delays_ms) == (0, 0.0, [])


def test_people_are_pooled() -> None:
    one = Tally([100.0, 200.0], 1, [90.0, 80.0], 4, 2.0, 3, 1800.0)
    other = Tally([300.0], 0, [95.0], 0, 2.0, 1, 1800.0)
    line = pool({"a": one, "b": other})
    assert line["onsets"] == 4 and line["missed_percent"] == 25.0
    assert line["delay_p50_ms"] == 200.0
    assert line["right_in_holds_percent"] == 90.0  # people weigh the same, however many sessions they have
    assert line["changes_per_s"] == 1.0
    assert (line["rest_events"], line["rest_h"], line["free_h"]) == (4.0, 1.0, 0.0)
