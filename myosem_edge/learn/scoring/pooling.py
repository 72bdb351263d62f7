"""Folds as one: people of all folds together, question by question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from myosem_edge.learn.scoring.evaluation import Evaluation, Retrieval
from myosem_edge.learn.scoring.metrics import merged_values


@dataclass(frozen=True)
class Pooled:
    """One question about one data set. Sizes are those of the folds' galleries, chances the means over folds.

    `confusion` by placement, mean over people; None where the folds had different galleries.
    """

    retrieval: Retrieval  # of the first fold, with everybody's values
    sizes: tuple[int, ...]
    chance: float
    group_chance: float
    merged: bool
    confusion: dict[str, list[list[float]]] | None

    @property
    def size(self) -> str:
        return "/".join(map(str, sorted(set(self.sizes))))


def pooled(evaluations: Sequence[Evaluation]) -> list[Pooled]:
    """Joined by data set and question, in the order of the first fold."""
    found: dict[tuple[str, str], list[Retrieval]] = {}
    for e in evaluations:
        for r in e.retrieval:
            found.setdefault((r.dataset, r.question), []).append(r)
    return [_pool(rows) for rows in found.values()]


def _pool(rows: Sequence[Retrieval]) -> Pooled:
    first = rows[0]
    people = tuple(sorted({person for r in rows for person in r.people}))
    same = all((r.gallery, r.judged) == (first.gallery, first.judged) for r in rows)
    return Pooled(
        Retrieval(
            first.dataset,
            first.question,
            first.gallery,
            people,
            first.judged,
            values=merged_values([r.values for r in rows]),
        ),
        tuple(len(r.gallery) for r in rows),
        float(np.mean([r.chance for r in rows])),
        float(np.mean([r.group_chance if r.merged else r.chance for r in rows])),
        all(r.merged for r in rows),
        {name: _mean_confusion(rows, name) for name in first.confusion} if same else None,
    )


def _mean_confusion(rows: Sequence[Retrieval], placement: str) -> list[list[float]]:
    weights = [len(r.people) for r in rows]
    mean = np.average([r.confusion[placement] for r in rows], axis=0, weights=weights)
    return [[round(float(value), 2) for value in row] for row in mean]
