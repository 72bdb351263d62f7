"""What the gate is told about the samples: their age, how many are lost, how many channels are dead. Spreads of times.

Counters only. Hum, artefacts and noise are the business of `signal`.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import Chunk, FrontEndInfo

NEVER_S = 1e6  # the age of a sample that has not come: a number, far above every limit
LOSS_WINDOW_S = 1.0
DEAD_S = 0.25  # an electrode that reads exactly zero, or full scale, for so long measures nothing
RAIL = 0.99  # of full scale: a signed byte ends at 127 of 128


class SampleHealth:
    """Fed with every chunk; asked in every cycle."""

    def __init__(self, info: FrontEndInfo) -> None:
        self.follow(info)
        self._zero = np.zeros(info.channels, int)  # newest samples in a row, per channel
        self._railing = np.zeros(info.channels, int)
        self._counts: deque[tuple[float, int, int]] = deque()  # (arrival, samples, lost)
        self._newest_s: float | None = None

    def follow(self, info: FrontEndInfo) -> None:
        """The device has another full scale than before, say by another gain; the same channels and rate."""
        self._dead_samples = DEAD_S * info.rate_hz
        self._rail = RAIL * info.full_scale

    def add(self, chunk: Chunk) -> None:
        samples = chunk.samples
        self._zero = _run(samples == 0, self._zero)
        # A value that is not a number is as good as a railing one; the comparison is written so that it counts.
        self._railing = _run(~(np.abs(samples) < self._rail), self._railing)
        self._counts.append((chunk.arrival_s, len(samples), chunk.lost))
        self._newest_s = chunk.arrival_s

    def age_s(self, now_s: float) -> float:
        """Since the arrival of the newest sample."""
        return NEVER_S if self._newest_s is None else now_s - self._newest_s

    def lost_fraction(self, now_s: float) -> float:
        """Of the samples that should have come in the last second."""
        while self._counts and now_s - self._counts[0][0] > LOSS_WINDOW_S:
            self._counts.popleft()
        lost = sum(count[2] for count in self._counts)
        return lost / max(1, lost + sum(count[1] for count in self._counts))

    def bad_channels(self) -> int:
        return int(((self._zero >= self._dead_samples) | (self._railing >= self._dead_samples)).sum())


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


def _run(bad: np.ndarray, before: np.ndarray) -> np.ndarray:
    """How many samples in a row, up to the newest, are bad: bad (n, channels), before and result (channels,)."""
    if not len(bad):
        return before
    return np.where(bad.all(axis=0), before + len(bad), (~bad[::-1]).argmax(axis=0))
