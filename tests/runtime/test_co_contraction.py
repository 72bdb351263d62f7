"""Tensing everything stops or locks the hand; no grip of a real wearer does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.runtime.co_contraction import CoContraction
from myosem_edge.runtime.decision import Decision
from myosem_edge.runtime.gate import Wearer
from myosem_edge.signal.quality import Baseline
from tests.runtime.loop_bench import Bench
from tests.signal.test_quality import baseline, person, rest

RATE_HZ = 200.0
pytestmark = pytest.mark.sr("SR-12")


def tense(share: float, seconds: float, seed: int = 0) -> np.ndarray:
    """Every electrode at a share of its loudest contraction."""
    loudest = np.sqrt(np.diagonal(baseline().patterns, axis1=1, axis2=2)).max(axis=0)
    noise = np.random.default_rng(seed).normal(size=(round(seconds * RATE_HZ), 8))
    return (share * loudest * noise).astype(np.float32)


def fed(samples: np.ndarray, size: int = 5, detector: CoContraction | None = None) -> tuple[CoContraction, int]:
    """The detector after the samples, and at how many pieces it was held."""
    each, held = detector or CoContraction(RATE_HZ, baseline()), 0
    for first in range(0, len(samples), size):
        each.add(Chunk(samples[first : first + size], first, 0.0))
        held += each.held
    return each, held


def test_tensing_everything_is_held_and_letting_go_ends_it() -> None:
    each, held = fed(tense(2.0, 1.0))
    assert each.usable and each.held and held > 0
    each, _ = fed(rest()[:100], detector=each)
    assert not each.held


def test_a_jolt_is_no_stop() -> None:
    jolt = np.concatenate((rest()[:200], tense(3.0, 0.15), rest()[:200]))
    assert fed(jolt)[1] == 0


def test_no_movement_of_a_real_wearer_is_one() -> None:
    samples = [rest(), *(clip.samples for clip in person().clips.values())]
    assert sum(map(len, samples)) > 20_000
    assert sum(fed(each)[1] for each in samples) == 0


def test_it_is_off_without_a_calibration_and_where_a_grip_is_too_much_like_it() -> None:
    assert not CoContraction(RATE_HZ, None).usable
    alike = Baseline(np.ones(8), np.stack([np.eye(8), np.eye(8)]))
    each, held = fed(100 * np.ones((400, 8), np.float32), detector=CoContraction(RATE_HZ, alike))
    assert not each.usable and held == 0


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 60))
def test_the_cuts_of_a_stream_make_no_difference(size: int) -> None:
    samples = np.concatenate((rest()[:100], tense(2.0, 0.6), rest()[:100]))
    for at in (150, 215, 240, len(samples)):
        assert fed(samples[:at], size)[0].held == fed(samples[:at], 1)[0].held


def test_each_tension_locks_once() -> None:
    each = CoContraction(RATE_HZ, baseline(), "lock")
    pressed = []
    for samples in (tense(2.0, 1.0), rest()[:100], tense(2.0, 1.0)):
        for first in range(0, len(samples), 5):
            each.add(Chunk(samples[first : first + 5], first, 0.0))
            pressed.append(each.pressed(Wearer()))
    assert [wearer.lock for wearer in pressed].count(True) == 2
    assert {wearer.stop for wearer in pressed} == {False}


def test_while_it_is_tense_nothing_but_rest_is_accepted() -> None:
    """What is carried must not fall while the wearer tenses to lock it."""
    each, _ = fed(tense(2.0, 0.2), detector=CoContraction(RATE_HZ, baseline(), "lock"))
    assert not each.held
    opening = Decision(1, 0.0, "hand_open", 1.0, 1.0, 1.0, "calibrated", True, "")
    vetted = each.vetted(opening)
    assert (vetted.accepted, vetted.reason) == (False, "tense")
    resting = replace(opening, action="rest")
    assert each.vetted(resting) is resting
    each, _ = fed(rest()[:100], detector=each)
    assert each.vetted(opening) is opening


@pytest.mark.sr("SR-14")
def test_the_loop_locks_the_hand_and_stays_armed() -> None:
    class Held(CoContraction):
        def add(self, chunk: Chunk) -> None:
            self._locking, armed[0] = armed[0], False

    armed = [False]
    bench = Bench(co_contraction=Held(RATE_HZ, None, "lock"))
    bench.close()
    armed[0] = True
    bench.wait(0.1)
    assert bench.loop.armed
    assert "locked" in bench.verdict["reasons"]


def test_the_loop_stops_and_disarms_while_it_is_held() -> None:
    class Held(CoContraction):
        def add(self, chunk: Chunk) -> None:
            self.held = held

    held = False
    bench = Bench(co_contraction=Held(RATE_HZ, None))
    bench.close()
    held = True
    bench.wait(0.1)
    assert not bench.loop.armed
    assert "stopped" in bench.verdict["reasons"]
