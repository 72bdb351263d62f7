"""The log covariance: its definition, any cuts, and what a change of gain or a silent channel does to it."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from myosem_edge.signal.covariance import (
    FLOOR,
    MOST_CHANNELS,
    log_covariance,
    start_products,
    step_log_covariance,
)
from myosem_edge.signal.features import WINDOW_FRAMES

FRAME = 5


def emg(frames, channels=3, seed=0):
    return np.random.default_rng(seed).normal(0, 1, (frames, FRAME, channels))


def unfold(features, channels):
    """The symmetric matrix whose upper triangle the features are."""
    matrix = np.zeros((channels, channels))
    rows, columns = np.triu_indices(channels)
    matrix[rows, columns] = features / np.where(rows == columns, 1.0, np.sqrt(2.0))
    return matrix + np.triu(matrix, 1).T


def test_its_exponential_is_the_covariance_of_the_window():
    frames = emg(30)
    window = frames.reshape(-1, 3)[-WINDOW_FRAMES * FRAME :]
    values, axes = np.linalg.eigh(unfold(log_covariance(frames)[-1], 3))
    found = (axes * np.exp(values)) @ axes.T
    assert np.allclose(found, window.T @ window / len(window) + FLOOR * np.eye(3))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 15), min_size=1, max_size=8))
def test_any_cut_gives_the_same_features(cuts):
    frames = emg(sum(cuts), seed=len(cuts))
    state, parts, at = start_products(3), [], 0
    for cut in cuts:
        part, state = step_log_covariance(frames[at : at + cut], state)
        parts.append(part)
        at += cut
    assert np.allclose(np.concatenate(parts), log_covariance(frames), atol=1e-12)


def test_one_gain_moves_every_matrix_along_the_identity():
    frames = 100 * emg(40)
    moved = log_covariance(3 * frames)[20:] - log_covariance(frames)[20:]
    for row in moved:
        assert np.allclose(unfold(row, 3), 2 * np.log(3) * np.eye(3), atol=1e-6)


def test_the_distance_of_features_is_that_of_matrices():
    one, other = log_covariance(emg(20))[-1], log_covariance(emg(20, seed=1))[-1]
    assert np.isclose(np.linalg.norm(one - other), np.linalg.norm(unfold(one, 3) - unfold(other, 3)))


def test_a_silent_channel_stays_finite():
    frames = emg(20)
    frames[:, :, 1] = 0.0
    assert np.isfinite(log_covariance(frames)).all()
    assert np.isfinite(log_covariance(np.zeros((20, FRAME, 3)))).all()


def test_more_electrodes_than_a_calibration_can_fill_have_none():
    assert log_covariance(emg(4, MOST_CHANNELS)).shape == (4, MOST_CHANNELS * (MOST_CHANNELS + 1) // 2)
    assert log_covariance(emg(4, MOST_CHANNELS + 1)).shape == (4, 0)
