"""The session in which recordings are made to train on: as in calibration, but everything is kept, with its cues."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from myosem_edge.calibration.collection import IGNORED, Recorded
from myosem_edge.calibration.session import MAX_ATTEMPTS, Prompt, Session
from myosem_edge.runtime.decoder import MAX_FILL_SAMPLES


class Cue(NamedTuple):
    """One hold as it was asked for; `good` is its verdict."""

    action: str
    repetition: int
    start_s: float
    end_s: float
    good: bool


class Collecting(Session):
    """A hold that stays bad is left out, instead of ending the session. `recorded()` may be asked for at any time."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.cues: list[Cue] = []
        self.skipped: list[tuple[str, int]] = []

    def _end_hold(self, now_s: float) -> list[Prompt]:
        action, repetition = self.plan.steps[self._step]
        began_s, ends_s, before = self._began_s, self._ends_s, self.accepted
        prompts = super()._end_hold(now_s)
        self.cues.append(Cue(action, repetition, began_s, ends_s, self.accepted > before))
        if self.failure is None:
            return prompts
        self.failure, self.finished = None, False
        self.skipped.append((action, repetition))
        self._step, self._attempt = self._step + 1, 1
        if self._step == len(self.plan.steps):
            return [*prompts[:-1], self._finish(action, repetition, "Done. You can relax.")]
        self._phase, self._ends_s = "relax", now_s + self.plan.relax_s
        text = f"Left out after {MAX_ATTEMPTS} attempts. Relax."
        return [*prompts[:-1], Prompt("relax", action, repetition, text, self.plan.relax_s)]

    def recorded(self) -> Recorded:
        """Everything up to the end of the last hold, cut where more was lost than silence may stand for."""
        samples, times_s = self._recorded()
        names = self.plan.actions
        action, repetition = np.zeros(len(samples), np.int64), np.zeros(len(samples), np.int64)
        for cue in self.cues:
            inside = (times_s >= cue.start_s) & (times_s < cue.end_s)
            action[inside] = names.index(cue.action) if cue.good else IGNORED
            repetition[inside] = cue.repetition
        last_s = self.cues[-1].end_s if self.cues else -np.inf
        keep = int(np.searchsorted(times_s, last_s))
        borders = [cut for cut in self._long_holes(times_s) if 0 < cut < keep]
        edges = [0, *borders, keep] if keep else [0]
        pieces = [slice(a, b) for a, b in pairwise(edges) if b > a]
        finite = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        return Recorded(
            tuple(finite[p] for p in pieces),
            tuple(action[p] for p in pieces),
            tuple(repetition[p] for p in pieces),
            names,
        )

    def _long_holes(self, times_s: np.ndarray) -> list[int]:
        """Samples before which more was lost than is filled with silence."""
        least_s = MAX_FILL_SAMPLES / self.device.rate_hz
        ends = [end_s for start_s, end_s in self._holes if end_s - start_s > least_s]
        return sorted({int(np.searchsorted(times_s, end_s)) for end_s in ends})
