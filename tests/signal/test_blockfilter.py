"""The causal filter: equal to scipy's, and the same in any cuts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myosem_edge.signal.blockfilter import BlockFilter

scipy_signal = pytest.importorskip("scipy.signal", reason="the [train] extra is not installed")

DESIGNS = [
    scipy_signal.butter(2, 15, "highpass", fs=200, output="sos"),
    scipy_signal.butter(4, [20, 90], "bandpass", fs=200, output="sos"),
    scipy_signal.cheby1(5, 1, 60, "lowpass", fs=500, output="sos"),
]


@pytest.mark.parametrize("sos", DESIGNS)
@pytest.mark.parametrize("frame", [1, 5, 25])
def test_equals_scipy(sos, frame):
    x = np.random.default_rng(0).normal(0, 40, (frame * 200, 8))
    assert np.abs(BlockFilter(sos, frame).whole(x) - scipy_signal.sosfilt(sos, x, axis=0)).max() < 1e-9


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=12))
def test_any_cut_in_whole_frames_gives_the_same_bits(cuts):
    filter_ = BlockFilter(DESIGNS[0], 5)
    x = np.random.default_rng(len(cuts)).normal(0, 40, (5 * sum(cuts), 8))
    state, parts, at = filter_.start(8), [], 0
    for cut in cuts:
        y, state = filter_.frames(x[at : at + 5 * cut], state)
        parts.append(y)
        at += 5 * cut
    assert np.array_equal(np.concatenate(parts), filter_.whole(x))


def test_a_partial_frame_waits():
    assert BlockFilter(DESIGNS[0], 5).whole(np.ones((13, 2))).shape == (10, 2)


@pytest.mark.parametrize("sos", [np.ones((1, 5)), [[1, 0, 0, 2, 0, 0]], [[1, 0, 0, 1, np.nan, 0]]])
def test_refuses_what_is_no_filter(sos):
    with pytest.raises(ValueError, match="sos"):
        BlockFilter(np.asarray(sos, float), 5)
