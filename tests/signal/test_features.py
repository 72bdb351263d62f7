"""Features from running sums: equal to their definitions, and the same in any cuts."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from myosem_edge.signal.features import (
    LOG_FLOOR,
    WINDOW_FRAMES,
    FeatureState,
    hudgins_features,
    log_features,
    step_window_sums,
    window_sums,
)

FRAME = 5


def emg(frames, channels=3, seed=0):
    return np.random.default_rng(seed).normal(0, 1, (frames, FRAME, channels))


def test_equal_their_definitions_on_a_full_window():
    frames = emg(30)
    x = frames.reshape(-1, 3)
    window = x[-WINDOW_FRAMES * FRAME :]
    before = x[: -WINDOW_FRAMES * FRAME]
    steps = np.diff(np.concatenate((before[-1:], window)), axis=0)
    sums = window_sums(frames)[-1]
    mav, wl, rms, zc, ssc = hudgins_features(sums[None].copy(), FRAME).reshape(5, 3)
    n = len(window)
    assert np.allclose(mav, np.abs(window).mean(0))
    assert np.allclose(wl, np.abs(steps).sum(0) / n)
    assert np.allclose(rms, np.sqrt((window**2).mean(0)))
    line = np.concatenate((before[-1:], window))
    assert np.allclose(zc * n, ((line[:-1] * line[1:]) < 0).sum(0))
    slopes = np.diff(np.concatenate((before[-2:], window)), axis=0)
    assert np.allclose(ssc * n, ((slopes[:-1] * slopes[1:]) < 0).sum(0))
    logs = log_features(sums, FRAME).reshape(3, 3)
    assert np.allclose(logs[0], np.log(mav + LOG_FLOOR))
    assert np.allclose(logs[1], np.log(wl + LOG_FLOOR))
    assert np.allclose(logs[2], 0.5 * np.log(rms**2 + LOG_FLOOR**2))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 15), min_size=1, max_size=8))
def test_any_cut_gives_the_same_sums(cuts):
    frames = emg(sum(cuts), seed=len(cuts))
    state, parts, at = FeatureState.start(3), [], 0
    for cut in cuts:
        sums, state = step_window_sums(frames[at : at + cut], state)
        parts.append(sums)
        at += cut
    assert np.allclose(np.concatenate(parts), window_sums(frames), atol=1e-12)


def test_a_long_recording_is_taken_in_stretches_that_do_not_show(monkeypatch):
    frames = emg(57)
    whole = window_sums(frames)
    monkeypatch.setattr("myosem_edge.signal.features.STRETCH_FRAMES", 8)
    assert np.array_equal(window_sums(frames), whole)


def test_gain_becomes_a_shift_well_above_the_floor():
    frames = 50 * emg(40)
    shift = log_features(window_sums(3 * frames), FRAME)[20:] - log_features(window_sums(frames), FRAME)[20:]
    assert np.allclose(shift, np.log(3), atol=1e-3)
