"""Stop, or lock, by tensing everything at once: an override that needs no free hand (SR-12).

All muscles of the forearm together is what no grip looks like: every electrode is loud, the quietest of them too. How
loud the wearer's own grips make the quietest electrode is known from calibration, and the threshold lies above that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.runtime.decision import REST, Decision
from myosem_edge.runtime.gate import Wearer
from myosem_edge.signal.quality import Baseline

WINDOW_S = 0.1
TENSE = "tense"
HOLD_S = 0.3  # a jolt of 0.15 s looks like 0.25 s in the window
OVER_GRIPS = 1.3  # of the loudest that a calibrated contraction makes its quietest electrode
LEAST = 0.5  # of the loudest contraction of every electrode: a tense arm is not a stop
MOST = 1.0  # beyond, nobody could do it on purpose


class CoContraction:
    """Fed with every chunk; `held` while everything is tense. Without a calibration, or where a grip is too much like
    it, `usable` is false and it is never held.

    `means` is what it does: stops for as long as it is held, or locks (or unlocks) once each time.
    """

    def __init__(self, rate_hz: float, baseline: Baseline | None, means: Literal["stop", "lock"] = "stop") -> None:
        self.means = means
        self.held = False
        self._locking = False
        self.threshold = np.inf
        self._size = max(2, round(WINDOW_S * rate_hz))
        self._wanted = round(HOLD_S * rate_hz)
        self._run = 0
        self._loudest = np.ones(1)
        if baseline is not None and len(baseline.patterns):
            levels = np.sqrt(np.diagonal(baseline.patterns, axis1=1, axis2=2))  # (k, channels)
            self._loudest = np.maximum(levels.max(axis=0), 1e-9)
            grips = float((levels / self._loudest).min(axis=1).max())
            threshold = max(LEAST, OVER_GRIPS * grips)
            self.threshold = threshold if threshold <= MOST else np.inf
        self._recent = np.zeros((self._size, len(self._loudest)))

    @property
    def usable(self) -> bool:
        return bool(np.isfinite(self.threshold))

    def add(self, chunk: Chunk) -> None:
        """Hop by hop as the samples come; what is lost ends a hold."""
        if not self.usable:
            return
        if chunk.lost:
            self._run, self.held = 0, False
        line = np.concatenate((self._recent, np.nan_to_num(chunk.samples.astype(float))))
        self._recent = line[-self._size :]
        power = np.cumsum(np.concatenate((np.zeros((1, line.shape[1])), np.square(line))), axis=0)
        rms = np.sqrt((power[self._size :] - power[: -self._size])[1:] / self._size)  # at each new sample
        for tense in ((rms / self._loudest).min(axis=1) >= self.threshold).tolist():
            self._run = self._run + 1 if tense else 0
            held = self._run >= self._wanted
            self._locking = self._locking or (held and not self.held)
            self.held = held

    def pressed(self, wearer: Wearer) -> Wearer:
        """Keys and buttons, and what the tension means beside them."""
        if self.means == "stop":
            return replace(wearer, stop=True, arm=False) if self.held else wearer
        locking, self._locking = self._locking, False
        return replace(wearer, lock=wearer.lock != locking)

    def vetted(self, decision: Decision) -> Decision:
        """Not accepted from the moment that tension begins: what is held must not open before the lock has closed."""
        if not self._run or not decision.accepted or decision.action == REST:
            return decision
        return replace(decision, accepted=False, reason=TENSE)
