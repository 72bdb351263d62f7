"""What the gate is told about the samples: their age, how many are lost, which channels are no good. Spreads of times.

What makes a channel bad is the business of `signal.quality`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import Chunk, FrontEndInfo
from myosem_edge.runtime.decision import REST, Decision
from myosem_edge.signal.quality import KINDS, Baseline, Quality

NEVER_S = 1e6  # the age of a sample that has not come: a number, far above every limit
LOSS_WINDOW_S = 1.0
SUSPECT = "signal"  # why a decision does not count that was taken on channels which may be about to be bad


class SampleHealth:
    """Fed with every chunk; asked in every cycle. `baseline` is the calibrated wearer's, if there is one.

    Without `checks` no channel is ever bad: what that is worth is measured, and nobody drives a hand so.
    """

    def __init__(self, info: FrontEndInfo, baseline: Baseline | None = None, *, checks: bool = True) -> None:
        self._quality = Quality(info.rate_hz, info.channels, info.full_scale, baseline)
        self._checks = checks
        self._counts: deque[tuple[float, int, int]] = deque()  # (arrival, samples, lost)
        self._came = self._lost = 0  # their sums
        self._newest_s: float | None = None

    def follow(self, info: FrontEndInfo) -> None:
        """The device has another full scale than before, say by another gain; the same channels and rate."""
        self._quality.follow(info.full_scale)

    def add(self, chunk: Chunk) -> None:
        if self._checks:
            self._quality.add(chunk.samples, chunk.lead_off)
        self._counts.append((chunk.arrival_s, len(chunk.samples), chunk.lost))
        self._came, self._lost = self._came + len(chunk.samples), self._lost + chunk.lost
        self._newest_s = chunk.arrival_s

    def age_s(self, now_s: float) -> float:
        """Since the arrival of the newest sample."""
        return NEVER_S if self._newest_s is None else now_s - self._newest_s

    def lost_fraction(self, now_s: float) -> float:
        """Of the samples that should have come in the last second."""
        while self._counts and now_s - self._counts[0][0] > LOSS_WINDOW_S:
            _, came, lost = self._counts.popleft()
            self._came, self._lost = self._came - came, self._lost - lost
        return self._lost / max(1, self._lost + self._came)

    def bad_channels(self) -> int:
        return int(self._quality.bad.any(axis=0).sum())

    def troubles(self) -> dict[str, tuple[int, ...]]:
        """Kinds of trouble and which channels have them, numbered from 1 as on the device."""
        bad = self._quality.bad
        return {
            KINDS[kind]: tuple(int(i) + 1 for i in np.flatnonzero(bad[kind])) for kind in np.flatnonzero(bad.any(1))
        }

    def vetted(self, decision: Decision, most: int) -> Decision:
        """The decision, rejected where at least `most` channels are suspected now: a channel becomes bad only after a
        while, and a hand must not close in it.
        """
        if not decision.accepted or decision.action == REST:
            return decision
        suspected = int(self._quality.suspected.any(axis=0).sum())
        return replace(decision, accepted=False, reason=SUSPECT) if suspected >= most else decision


class Spread:
    """Quantiles of a time, from a histogram of fixed size: an hour costs as much memory as a second."""

    BIN_S, BINS = 0.0001, 2000  # up to 0.2 s; what is longer is counted in the last bin, and `largest_s` tells

    def __init__(self) -> None:
        self.count = 0
        self.largest_s = 0.0
        self._bins = [0] * self.BINS

    def add(self, seconds: float) -> None:
        self.count += 1
        self.largest_s = max(self.largest_s, seconds)
        self._bins[min(self.BINS - 1, max(0, int(seconds / self.BIN_S)))] += 1

    def quantile_ms(self, fraction: float) -> float | None:
        """The upper edge of the bin that holds it, never above the largest; None before the first."""
        wanted, seen = fraction * self.count, 0
        for place, count in enumerate(self._bins):
            seen += count
            if count and seen >= wanted:
                edge_s = (place + 1) * self.BIN_S if place < self.BINS - 1 else self.largest_s
                return round(1000 * min(edge_s, self.largest_s), 3)
        return None

    def summary(self) -> dict[str, float | int | None]:
        return {
            "count": self.count,
            "p50_ms": self.quantile_ms(0.5),
            "p99_ms": self.quantile_ms(0.99),
            "max_ms": round(1000 * self.largest_s, 3),
        }
