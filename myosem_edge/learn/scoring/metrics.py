"""Retrieval and classification figures: balanced over actions, averaged over people, bootstrap over people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

DRAWS = 2000


@dataclass(frozen=True)
class Interval:
    """A mean over people with its 95 % bootstrap interval (NaN ends when there are fewer than five people)."""

    mean: float
    low: float
    high: float
    people: int

    def __str__(self) -> str:
        if np.isnan(self.low):
            return f"{self.mean:.1f}"
        return f"{self.mean:.1f} [{self.low:.1f}, {self.high:.1f}]"


def ranks(similarity: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """1-based rank of the true description of every row; similarity (n, gallery), truth (n,). Ties count against us."""
    own = np.take_along_axis(similarity, truth[:, None], axis=1)
    return (similarity >= own).sum(axis=1)


def balanced(values: np.ndarray, truth: np.ndarray) -> float:
    """Mean over actions of the mean within the action."""
    return float(np.mean([values[truth == k].mean() for k in np.unique(truth)]))


def emg_to_text(similarity: np.ndarray, truth: np.ndarray, by: np.ndarray | None = None) -> dict[str, float]:
    """R@1, R@5 and MRR in percent, balanced over the actions present (`by` (n,), where they are not the truth).

    One description is right, so the mean average precision of this direction is its MRR.
    """
    r, by = ranks(similarity, truth), truth if by is None else by
    return {
        "R@1": 100 * balanced(r == 1, by),
        "R@5": 100 * balanced(r <= 5, by),
        "MRR": 100 * balanced(1.0 / r, by),
    }


def merge_groups(similarity: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Similarity (n, groups) of near-synonyms taken together: of the best of each; groups (gallery,) number from 0."""
    merged = np.full((len(similarity), int(groups.max()) + 1), -np.inf)
    for column, group in enumerate(groups):
        merged[:, group] = np.maximum(merged[:, group], similarity[:, column])
    return merged


def text_to_emg(similarity: np.ndarray, truth: np.ndarray, of: np.ndarray | None = None) -> dict[str, float]:
    """For every description with at least one true recording: R@1, R@5, MRR and mean average precision in percent.

    `of` are the descriptions that are judged (default: all); every recording competes for each of them.
    """
    rows: list[tuple[bool, bool, float, float]] = []
    for k in np.unique(truth) if of is None else np.intersect1d(truth, of):
        order = np.argsort(-similarity[:, k], kind="stable")
        relevant = truth[order] == k
        found = np.flatnonzero(relevant)
        precision = np.arange(1, len(found) + 1) / (found + 1)
        rows.append((bool(found[0] == 0), bool(found[0] < 5), 1.0 / (found[0] + 1), float(precision.mean())))
    mean = 100 * np.asarray(rows, dtype=float).mean(axis=0)
    return dict(zip(("R@1", "R@5", "MRR", "mAP"), mean.tolist(), strict=True))


def over_people(values: Mapping[str, float] | Sequence[float], seed: int = 0) -> Interval:
    """Mean and bootstrap interval over people (one value per person)."""
    x = np.asarray(list(values.values()) if isinstance(values, Mapping) else values, dtype=float)
    if len(x) < 5:
        return Interval(float(x.mean()), float("nan"), float("nan"), len(x))
    draws = np.random.default_rng(seed).integers(len(x), size=(DRAWS, len(x)))
    low, high = np.percentile(x[draws].mean(axis=1), [2.5, 97.5])
    return Interval(float(x.mean()), float(low), float(high), len(x))


def paired(ours: Mapping[str, float], baseline: Mapping[str, float]) -> Interval:
    """Difference ours - baseline on the same people, with its interval."""
    return over_people({person: ours[person] - baseline[person] for person in ours})


def error_ratio(ours: Mapping[str, float], baseline: Mapping[str, float], seed: int = 0) -> Interval:
    """Mean error of ours over mean error of the baseline (percent right in, ratio out), bootstrap over people."""
    a = 100 - np.array([ours[p] for p in ours])
    b = 100 - np.array([baseline[p] for p in ours])
    ratio = float(a.mean() / max(b.mean(), 1e-9))
    if len(a) < 5:
        return Interval(ratio, float("nan"), float("nan"), len(a))
    draws = np.random.default_rng(seed).integers(len(a), size=(DRAWS, len(a)))
    low, high = np.percentile(a[draws].mean(axis=1) / np.maximum(b[draws].mean(axis=1), 1e-9), [2.5, 97.5])
    return Interval(ratio, float(low), float(high), len(a))


def merged_values(trees: Sequence[Any]) -> Any:
    """Nested dictionaries that end in a number per person, as one: a person of several folds counts with the mean."""
    if not isinstance(trees[0], Mapping):
        return float(np.mean(trees))
    keys = dict.fromkeys(key for tree in trees for key in tree)
    return {key: merged_values([tree[key] for tree in trees if key in tree]) for key in keys}
