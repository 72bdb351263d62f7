"""What the gate is told about samples and times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.firmware_bridge.frontends.myo import Myo
from myosem_edge.runtime.decision import Decision
from myosem_edge.runtime.health import NEVER_S, SampleHealth, Spread

LIVELY = np.tile(np.array([[1.0], [-2.0]], np.float32), (1, 8))


def chunk(samples: np.ndarray, arrival_s: float = 1.0, lost: int = 0) -> Chunk:
    return Chunk(samples.astype(np.float32), 0, arrival_s, lost)


def health() -> SampleHealth:
    return SampleHealth(Myo.info)


@pytest.mark.sr("SR-02")
def test_age_counts_from_the_arrival_of_the_newest_sample() -> None:
    each = health()
    assert each.age_s(5.0) == NEVER_S
    each.add(chunk(LIVELY, 5.0))
    assert each.age_s(5.25) == 0.25


@pytest.mark.sr("SR-04")
def test_the_lost_share_is_of_the_last_second() -> None:
    each = health()
    assert each.lost_fraction(1.0) == 0.0
    each.add(chunk(np.repeat(LIVELY, 4, axis=0), 1.0, lost=2))
    assert each.lost_fraction(1.0) == pytest.approx(0.2)
    each.add(chunk(np.repeat(LIVELY, 5, axis=0), 1.5))
    assert each.lost_fraction(2.0) == pytest.approx(0.1)
    assert each.lost_fraction(2.01) == 0.0


@pytest.mark.sr("SR-05")
def test_bad_channels_are_counted_and_named_as_on_the_device() -> None:
    each = health()
    samples = np.random.default_rng(0).normal(0.0, 20.0, (400, 8))
    samples[:, 3], samples[:, 5] = 0.0, 127.0
    each.add(chunk(samples))
    assert each.bad_channels() == 2
    assert each.troubles() == {"flat": (4, 6), "railing": (6,)}
    off = SampleHealth(Myo.info, checks=False)
    off.add(chunk(samples))
    assert off.bad_channels() == 0


@pytest.mark.sr("SR-05")
def test_a_decision_on_suspected_channels_is_not_taken_before_they_are_bad() -> None:
    facts = ("fist", 0.9, 0.8, 0.9, "calibrated", True, "", 0.6, (("fist", 0.9),))
    decision = Decision(1, 1.0, *facts)
    each = health()
    good = np.random.default_rng(0).normal(0.0, 20.0, (100, 8))
    each.add(chunk(good))
    assert each.vetted(decision, 2) is decision
    railing = good[:20].copy()
    railing[:, :3] = 127.0
    each.add(chunk(railing))
    assert each.bad_channels() == 0
    vetted = each.vetted(decision, 2)
    assert (vetted.accepted, vetted.reason) == (False, "signal")
    assert each.vetted(replace(decision, action="rest"), 2).accepted, "rest moves nothing"


class TestSpread:
    def test_quantiles_are_upper_edges_and_the_largest_is_exact(self) -> None:
        spread = Spread()
        for milliseconds in range(1, 101):
            spread.add(milliseconds / 1000)
        assert spread.quantile_ms(0.5) == pytest.approx(50.0, abs=0.11)
        assert spread.quantile_ms(0.99) == pytest.approx(99.0, abs=0.11)
        assert spread.summary() == {
            "count": 100,
            "p50_ms": spread.quantile_ms(0.5),
            "p99_ms": spread.quantile_ms(0.99),
            "max_ms": 100.0,
        }

    def test_nothing_has_no_quantile_and_much_too_long_is_told_in_full(self) -> None:
        spread = Spread()
        assert spread.quantile_ms(0.5) is None
        spread.add(3.5)
        spread.add(-0.1)
        assert spread.quantile_ms(1.0) == 3500.0 and spread.largest_s == 3.5
