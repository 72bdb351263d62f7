"""Rings: rotation and mirroring."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge.errors import InputError, ProfileError
from myosem_edge.signal.montage import MYO, Montage, RecordedMontage, electrode_positions, ring_order


@given(st.integers(2, 64), st.integers(0, 63), st.booleans())
def test_is_a_permutation(channels, shift, mirrored):
    assert sorted(ring_order(channels, shift % channels, mirrored)) == list(range(channels))


@given(st.integers(0, 7))
def test_a_rotation_is_undone_by_its_shift(shift):
    canonical = np.arange(8) * 10
    worn = np.roll(canonical, shift)
    assert np.array_equal(worn[ring_order(8, shift, False)], canonical)


def test_mirroring_twice_is_nothing():
    order = ring_order(8, 0, True)
    assert np.array_equal(order[order], np.arange(8))
    assert order.tolist() == [0, 7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    "field, value",
    [("channels", 4), ("rate_hz", 250.0), ("unit", "uV"), ("layout", "sites")],
)
def test_another_montage_is_refused_by_name(field, value):
    other = Montage.from_dict({**MYO.to_dict(), field: value})
    with pytest.raises(ProfileError, match=field):
        MYO.require_same(other, where="wearer.profile")
    MYO.require_same(Montage.from_dict(MYO.to_dict()), where="wearer.profile")


@pytest.mark.parametrize("shift, mirrored", [(0, False), (3, False), (2, True)])
def test_rings_turn_together_and_stay_apart(shift, mirrored):
    one, two = ring_order(8, shift, mirrored), ring_order(16, shift, mirrored, 2)
    assert np.array_equal(two, np.concatenate((one, 8 + one)))


def test_without_a_ring_nothing_turns():
    assert np.array_equal(ring_order(12, 5, True, 0), np.arange(12))
    assert Montage("x", 12, "sites", 200.0, "uV", "").turning_rings == 0
    assert (MYO.turning_rings, RecordedMontage("x", 16, "ring", 200.0, "uV", "", rings=2).turning_rings) == (1, 2)


def test_what_a_board_can_be_told_is_written_as_ever():
    """The keys are part of the bundle's and the profile's format."""
    assert list(MYO.to_dict()) == ["device", "channels", "layout", "rate_hz", "unit", "prefiltered"]


@pytest.mark.parametrize("field, value", [("rings", 2), ("envelope", True)])
def test_a_recorded_montage_differs_in_what_no_board_knows(field, value):
    other = RecordedMontage(**MYO.to_dict(), **{field: value})
    assert RecordedMontage.from_dict(other.to_dict()) == other
    with pytest.raises(ProfileError, match=field):
        MYO.require_same(other, where="a data set")


def test_rings_have_places_and_sites_have_those_that_were_given():
    assert np.array_equal(electrode_positions(MYO)[:, 0] * 8, np.arange(8))
    grid = electrode_positions(RecordedMontage("x", 8, "ring", 200.0, "uV", "", rings=2))
    assert np.array_equal(grid[:4, 0], grid[4:, 0]) and set(grid[:, 1]) == {-10.0, 10.0}
    sites = RecordedMontage("x", 2, "sites", 200.0, "uV", "", positions=((0.25, -30.0), (0.75, 30.0)))
    assert electrode_positions(sites).tolist() == [[0.25, -30.0], [0.75, 30.0]]
    assert RecordedMontage.from_dict(json.loads(json.dumps(sites.to_dict()))) == sites


def test_places_that_nobody_gave_are_not_made_up():
    with pytest.raises(InputError, match="nobody has said where"):
        electrode_positions(Montage("x", 12, "sites", 200.0, "uV", ""))
    with pytest.raises(InputError, match="not one position an electrode"):
        RecordedMontage("x", 3, "sites", 200.0, "uV", "", positions=((0.0, 0.0),))


def test_a_store_that_was_written_before_places_is_still_the_same_montage():
    assert "positions" not in RecordedMontage("x", 12, "sites", 200.0, "uV", "").to_dict()
