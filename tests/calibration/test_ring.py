"""The rotation of an armband is found from the patterns of a few actions, whatever the force and the contact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge.calibration.ring import (
    PLACEMENT_PRIOR,
    activity_map,
    align_rings,
    best_shift,
    information,
    unlabelled_shift,
)
from myosem_edge.signal.montage import ring_order

CHANNELS = 8
SEEDS = st.integers(0, 2**32 - 1)


def templates(seed: int, actions: int = 4) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {k: rng.normal(size=CHANNELS) for k in range(actions)}


def worn_at(shift: int, maps: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """What a band that is turned by `shift` electrodes measures: canonical[i] = worn[i + shift]."""
    return {k: np.roll(row, shift) for k, row in maps.items()}


@given(SEEDS, st.integers(0, CHANNELS - 1))
def test_rotating_the_input_by_k_gives_shift_k(seed: int, k: int) -> None:
    shift, clarity = best_shift(worn_at(k, templates(seed)), templates(seed))
    assert shift == k
    assert clarity > 0


@given(SEEDS, st.integers(0, CHANNELS - 1))
def test_the_shift_is_the_one_that_ring_order_undoes(seed: int, k: int) -> None:
    maps = templates(seed)
    worn = worn_at(k, maps)
    shift, _ = best_shift(worn, maps)
    for action, row in worn.items():
        np.testing.assert_array_equal(row[ring_order(CHANNELS, shift, False)], maps[action])


@given(SEEDS, st.integers(0, CHANNELS - 1), st.floats(-2.0, 2.0))
def test_gain_of_a_channel_and_force_of_an_action_do_not_matter(seed: int, k: int, force: float) -> None:
    maps = templates(seed)
    contact = np.random.default_rng(seed + 1).normal(size=CHANNELS)
    worn = {a: row + contact + force * a for a, row in worn_at(k, maps).items()}
    assert best_shift(worn, maps)[0] == k


def test_a_prior_prefers_the_band_as_shown() -> None:
    flat = {k: np.zeros(CHANNELS) for k in range(2)}
    # Nothing to see: without the prior any rotation is as good.
    assert best_shift(flat, flat, prior=0.01) == (0, pytest.approx(0.01))


def test_the_prior_counts_electrodes_in_the_shorter_direction() -> None:
    maps = templates(3)
    free, held = best_shift(worn_at(7, maps), maps), best_shift(worn_at(7, maps), maps, prior=0.001)
    assert free[0] == held[0] == 7


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(ValueError, match="no action in common"):
        best_shift({0: np.zeros(8)}, {1: np.zeros(8)})


@given(SEEDS, st.lists(st.integers(0, CHANNELS - 1), min_size=3, max_size=6))
def test_sessions_are_brought_to_one_rotation(seed: int, turns: list[int]) -> None:
    maps = templates(seed)
    found, agreed = align_rings([worn_at(turn, maps) for turn in turns])
    relative = {(turn - shift) % CHANNELS for turn, shift in zip(turns, found, strict=True)}
    # Random patterns may keep two camps apart; whoever is aligned shares one rotation with the templates.
    for turn, shift in zip(turns, found, strict=True):
        assert best_shift(worn_at(turn, maps), agreed)[0] == shift
    if len(set(turns)) == 1:
        assert relative == {turns[0]}  # as worn: nobody is turned without need


def test_an_activity_map_is_the_mean_log_rms_of_an_action() -> None:
    energy = np.array([[1.0, np.e**2], [1.0, np.e**4], [np.e**6, 1.0]])
    maps = activity_map(energy, np.array([0, 0, -1]))
    assert list(maps) == [0]
    np.testing.assert_allclose(maps[0], [0.0, 1.5], atol=1e-9)


@pytest.mark.parametrize("turn", [0, 3, 7])
def test_two_rings_turn_together(turn: int) -> None:
    maps = templates(1)
    two = {k: np.concatenate((row, row[::-1])) for k, row in maps.items()}
    worn = {k: np.concatenate((np.roll(row[:8], turn), np.roll(row[8:], turn))) for k, row in two.items()}
    shift, clarity = best_shift(worn, two, rings=2)
    assert (shift, clarity > 0) == (turn, True)


def test_electrodes_with_places_of_their_own_do_not_turn() -> None:
    maps = templates(1)
    assert best_shift(worn_at(3, maps), maps, rings=0) == (0, 0.0)
    assert align_rings([worn_at(3, maps), maps], rings=0)[0] == [0, 0]


def test_information_is_nothing_for_one_answer_and_most_for_sure_and_different_ones() -> None:
    sure = np.eye(4)[np.arange(40) % 4]
    assert information(np.zeros((40, 4))) == pytest.approx(0.0, abs=1e-9)
    assert information(np.eye(4)[np.zeros(40, dtype=int)]) == pytest.approx(0.0, abs=1e-9)  # sure, and always the same
    assert 0.9 * np.log(4) < information(sure) <= np.log(4)


@pytest.mark.parametrize("k", range(CHANNELS))
def test_a_turned_ring_is_found_without_a_label(k: int) -> None:
    descriptions = np.eye(CHANNELS)[:4]
    hops = np.roll(descriptions[np.arange(64) % 4], k, axis=1)
    assert unlabelled_shift(lambda s: np.roll(hops, -s, axis=1) @ descriptions.T, CHANNELS) == k


def test_what_hardly_tells_more_does_not_turn_the_ring() -> None:
    weak, strong = np.eye(4)[np.arange(40) % 4] * 0.2, np.eye(4)[np.arange(40) % 4]
    gain = information(weak * 1.02) - information(weak)
    assert 0 < gain < PLACEMENT_PRIOR
    assert unlabelled_shift(lambda s: weak * (1.02 if s == 1 else 1.0), CHANNELS) == 0
    assert unlabelled_shift(lambda s: strong if s == 5 else weak, CHANNELS) == 5
    assert unlabelled_shift(lambda s: strong, 0) == 0
