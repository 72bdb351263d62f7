"""Virtual montages: what a real one with those electrodes would have recorded."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

from myosem_edge.errors import InputError
from myosem_edge.learn.montages import virtual
from myosem_edge.signal.montage import MYO, RecordedMontage, electrode_positions
from tests.learn.conftest import made_up_session


def x_of(session):
    return np.concatenate([np.asarray(clip.x) for clip in session.clips])


def test_a_wave_around_the_arm_is_interpolated_exactly():
    wave = lambda turns: 2.0 + np.cos(2 * np.pi * turns) - 3 * np.sin(6 * np.pi * turns)  # noqa: E731
    at = np.linspace(0, 1, 23)
    assert np.allclose(virtual.ring_interpolation(at, 8) @ wave(np.arange(8) / 8), wave(at))
    assert np.allclose(virtual.ring_interpolation(np.arange(8) / 8, 8), np.eye(8))


def test_fewer_electrodes_are_the_same_ones_where_they_were():
    session = made_up_session()
    fewer = virtual.subset(session, [5, 0, 2])
    assert np.array_equal(x_of(fewer), x_of(session)[:, [5, 0, 2]])
    assert (electrode_positions(fewer.montage)[:, 0] * 8).tolist() == [5, 0, 2]
    assert np.allclose(fewer.scale, session.scale[[5, 0, 2]]) and fewer.montage.layout == "sites"
    half = virtual.every(session, 2)
    assert half.montage.layout == "ring" and np.array_equal(x_of(half), x_of(session)[:, ::2])


@pytest.mark.parametrize("wrong", [[], [1, 1], [8], [-1]])
def test_electrodes_that_are_not_there_are_refused(wrong):
    with pytest.raises(InputError, match="no such set of electrodes"):
        virtual.subset(made_up_session(), wrong)


def test_a_dead_electrode_is_silent_and_known_and_can_be_left_out():
    session = made_up_session()
    broken = virtual.dead(session, 3)
    assert not x_of(broken)[:, 3].any() and broken.mask.tolist() == [c != 3 for c in range(8)]
    left = virtual.present(broken)
    assert np.array_equal(x_of(left), x_of(session)[:, [0, 1, 2, 4, 5, 6, 7]]) and left.mask.all()
    assert virtual.present(session) is session


def test_turning_by_whole_electrodes_rolls_and_two_halves_are_a_whole():
    session = made_up_session()
    assert np.allclose(x_of(virtual.shifted(session, 1)), np.roll(x_of(session), -1, axis=1), atol=1e-4)
    # The highest harmonic of an even ring has no phase: half an electrode further on it is lost.
    smooth = virtual.ring_of(virtual.ring_of(session, 7), 8)
    twice = virtual.shifted(virtual.shifted(smooth, 0.5), 0.5)
    assert np.allclose(x_of(twice), np.roll(x_of(smooth), -1, axis=1), atol=1e-3)


def test_gains_and_denser_rings():
    session = made_up_session()
    assert np.allclose(x_of(virtual.gained(session, np.arange(8.0)))[:, 7], 7 * x_of(session)[:, 7], rtol=1e-5)
    dense = virtual.ring_of(session, 16)
    assert np.allclose(x_of(dense)[:, ::2], x_of(session), atol=1e-4) and dense.montage.channels == 16


def test_one_ring_of_a_grid():
    grid = made_up_session(montage=RecordedMontage("grid", 16, "ring", 200.0, "uV", "", rings=2))
    assert np.array_equal(x_of(virtual.one_ring(grid, 1)), x_of(grid)[:, 8:])
    with pytest.raises(InputError, match="no such ring"):
        virtual.one_ring(grid, 2)
    with pytest.raises(InputError, match="only one ring"):
        virtual.shifted(grid, 1)


def test_the_recorded_session_is_not_touched():
    session = made_up_session()
    before = x_of(session).copy()
    virtual.dead(session, 0), virtual.shifted(session, 0.5), virtual.ring_of(session, 4)
    assert np.array_equal(x_of(session), before) and session.montage is MYO
