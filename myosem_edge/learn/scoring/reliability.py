"""Whether a probability means what it says: temperature, reliability curve, expected calibration error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BINS = 12
TEMPERATURES = np.geomspace(0.005, 1.0, 80)  # of cosines; far beyond what is found on either side

Curve = list[tuple[float, float, float]]  # (mean confidence, share right, share of all decisions) per bin, 0 to 1


def posterior(similarity: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax (n, gallery) of cosines over the gallery."""
    scaled = similarity / temperature
    p = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def brier_temperature(similarity: np.ndarray, truth: np.ndarray) -> float:
    """The temperature of least Brier score, every action weighing the same; similarity (n, gallery), truth (n,)."""
    weight = (1.0 / np.bincount(truth, minlength=similarity.shape[1]).clip(1))[truth]
    right = np.zeros(similarity.shape)
    right[np.arange(len(truth)), truth] = 1.0

    def score(temperature: float) -> float:
        return float(weight @ np.square(posterior(similarity, temperature) - right).sum(axis=1))

    return float(min(TEMPERATURES, key=score))


class Bins:
    """Confidences of the first choice, gathered so that every person, session and action weighs the same."""

    def __init__(self) -> None:
        self.people: dict[str, list[np.ndarray]] = {}  # rows per bin: weight, weight * confidence, weight * right

    def add(self, p: np.ndarray, truth: np.ndarray, person: str) -> None:
        """Decisions of one session: posterior (n, gallery), truth (n,)."""
        present, counts = np.unique(truth, return_counts=True)
        weight = 1.0 / (len(present) * counts[np.searchsorted(present, truth)])
        confidence = p.max(axis=1)
        place = np.minimum((confidence * BINS).astype(int), BINS - 1)
        parts = (weight, weight * confidence, weight * (p.argmax(axis=1) == truth))
        rows = np.stack([np.bincount(place, part, minlength=BINS) for part in parts], axis=1)
        self.people.setdefault(person, []).append(rows)

    def curve(self) -> Curve:
        """Bins that hold anything, in the order of confidence."""
        total = np.mean([np.mean(rows, axis=0) for rows in self.people.values()], axis=0)
        return [(float(c / w), float(r / w), float(w)) for w, c, r in total if w > 0]


def expected_error(curve: Sequence[Sequence[float]]) -> float:
    """Expected calibration error in percent: mean distance of confidence and share right, by share of decisions."""
    return 100 * sum(share * abs(confidence - right) for confidence, right, share in curve)
