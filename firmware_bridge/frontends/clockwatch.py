"""Losses that frames cannot show: counted samples beside elapsed time."""

from __future__ import annotations

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import Counters

WINDOW_S = 2.0  # long enough that one window holds a prompt arrival, short enough to blame the right moment


class ClockWatch:
    """Notes in `counters` when samples go missing, or come too many, by at least `tolerance_samples`.

    A link delays samples but never brings them early, so the smallest lateness of a window is its honest one; what
    counts is how far it moved since the window before.
    """

    def __init__(self, rate_hz: float, tolerance_samples: float) -> None:
        self._rate_hz, self._tolerance = rate_hz, tolerance_samples
        self._start_s: float | None = None

    def check(self, next_sample: int, now_s: float, counters: Counters) -> None:
        """`next_sample`: the number that the next sample will have, at the arrival of the one before it."""
        if self._start_s is None:
            self._start_s, self._first = now_s, next_sample
            self._window_end_s, self._least, self._least_before = now_s + WINDOW_S, np.inf, np.nan
        if now_s >= self._window_end_s:
            moved = self._least - self._least_before
            if moved >= self._tolerance:
                counters.note("samples missing by the clock")
            elif moved <= -self._tolerance:
                counters.note("samples too many by the clock")
            self._window_end_s, self._least, self._least_before = now_s + WINDOW_S, np.inf, self._least
        late = (now_s - self._start_s) * self._rate_hz - (next_sample - self._first)
        self._least = min(self._least, late)
