"""Cues are followed late, early or not at all: borders go where the muscle changed, and doubt is no label."""

from __future__ import annotations

import numpy as np
import pytest

from myosem_edge.learn.corpus.cues import (
    LEAVING_S,
    RELAXED_S,
    SETTLED_S,
    believe_cues,
    change_point,
    follow_cues,
    log_envelope,
)

RATE_HZ = 200.0
CUE_S = 5.0


def stream(lag_s: float, repetitions: int = 3, loud: float = 10.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rest and gesture 2 in turn, five seconds each; the wearer follows `lag_s` after the cue."""
    n = round(CUE_S * RATE_HZ)
    label = np.tile(np.repeat([0, 2], n), repetitions)
    done = np.roll(label, round(lag_s * RATE_HZ))
    done[: max(0, round(lag_s * RATE_HZ))] = 0
    noise = np.random.default_rng(seed).normal(0, 1, (len(label), 4))
    level = np.where(done > 0, 1.0, 0.0)[:, None] * np.array([loud, loud / 2, 0.0, 0.0])
    return noise * (1.0 + level), label


@pytest.mark.parametrize("lag_s", [-0.4, 0.0, 0.3, 1.5])
def test_borders_move_to_where_the_muscle_changed(lag_s: float) -> None:
    filtered, label = stream(lag_s)
    for stretch in follow_cues(filtered, label, RATE_HZ)[1:]:
        assert stretch.start is not None
        assert (stretch.start - stretch.cue) / RATE_HZ == pytest.approx(lag_s, abs=0.06)


def test_nothing_is_placed_where_nothing_happens() -> None:
    filtered, label = stream(0.3, loud=0.0)
    assert [s.start for s in follow_cues(filtered, label, RATE_HZ)[1:]] == [None] * 5
    steady, begun = believe_cues(filtered, label, RATE_HZ)
    assert (begun == -1).all()
    # The cue is all there is: its stretch is believed from its own settling time on.
    assert steady[round((CUE_S + SETTLED_S) * RATE_HZ) + 1]


def test_steady_is_what_was_asked_and_done_and_begun_is_what_leads_to_it() -> None:
    lag_s = 1.5
    filtered, label = stream(lag_s)
    steady, begun = believe_cues(filtered, label, RATE_HZ)
    n = round(CUE_S * RATE_HZ)
    onset = n + round(lag_s * RATE_HZ)
    assert not steady[n : onset + round(SETTLED_S * RATE_HZ) - 12].any()  # after the cue the muscle is still at rest
    assert (begun[onset + 12 : onset + round(SETTLED_S * RATE_HZ) - 12] == 2).all()
    assert steady[onset + round(SETTLED_S * RATE_HZ) + 12 : 2 * n - round(LEAVING_S * RATE_HZ) - 12].all()
    release = 2 * n + round(lag_s * RATE_HZ)
    assert not steady[2 * n : release + round(RELAXED_S * RATE_HZ) - 12].any()
    assert steady[release + round(RELAXED_S * RATE_HZ) + 12 : 3 * n - 50].all()


def test_a_hand_that_begins_early_spoils_the_end_of_its_rest() -> None:
    filtered, label = stream(-0.4)
    steady, begun = believe_cues(filtered, label, RATE_HZ)
    early = slice(round((CUE_S - 0.35) * RATE_HZ), round((CUE_S - 0.05) * RATE_HZ))
    assert not steady[early].any()
    assert (begun[early] == 2).all()


def test_a_change_point_keeps_its_margin() -> None:
    level = np.zeros((100, 2))
    level[3:] = 1.0
    assert change_point(level, 0, 100, 10) in (None, 10)
    assert change_point(level, 0, 15, 10) is None
    level = np.zeros((100, 2))
    level[40:] = 1.0
    assert change_point(level, 0, 100, 10) == 40


def test_the_envelope_of_silence_is_finite() -> None:
    assert np.isfinite(log_envelope(np.zeros((50, 3)), RATE_HZ)).all()
