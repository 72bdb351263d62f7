"""Rings: rotation and mirroring."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge.errors import ProfileError
from myosem_edge.signal.montage import MYO, Montage, ring_order


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


@pytest.mark.parametrize("field, value", [("channels", 4), ("rate_hz", 250.0), ("unit", "uV"), ("layout", "sites")])
def test_another_montage_is_refused_by_name(field, value):
    other = Montage.from_dict({**MYO.to_dict(), field: value})
    with pytest.raises(ProfileError, match=field):
        MYO.require_same(other, where="wearer.profile")
    MYO.require_same(Montage.from_dict(MYO.to_dict()), where="wearer.profile")
