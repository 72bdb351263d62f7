"""Evaluating linear discriminants, the only ones of the project. Fitting one is `calibration.heads`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Lda:
    """`means` (rows, features), `precision` (features, features): the inverse of the shared covariance.

    An action may look like several things: `owners` (rows,) says which class each row of means belongs to, () that
    every row is a class of its own. A class is as near as its nearest row.
    """

    means: np.ndarray
    precision: np.ndarray
    owners: tuple[int, ...] = ()

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distances `(n, classes)` of features `(n, d)` to every class."""
        return -self._best(-self._row_distances(features))

    def nearest(self, features: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distance `(n,)` of features `(n, d)` to the class that is nearest.

        (x - m)' P (x - m) = x'Px - 2 (m'Px - m'Pm / 2): what the scores hold already, with one product for all rows.
        """
        weights, offsets = self._linear
        scores = np.maximum.reduce(features @ weights - offsets, axis=1)
        own = np.einsum("nd,nd->n", features @ self.precision, features)
        return np.asarray(np.maximum(own - 2.0 * scores, 0.0))

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Log posteriors `(n, classes)` under uniform priors, but for a number that all classes of a row share."""
        weights, offsets = self._linear
        return self._best(features @ weights - offsets)

    def log_posteriors(self, features: np.ndarray) -> np.ndarray:
        """Log posteriors `(n, classes)` under uniform priors."""
        return log_softmax(self.scores(features))

    # What does not change from hop to hop is computed once: a hop on a small board costs what numpy calls cost.

    @cached_property
    def _linear(self) -> tuple[np.ndarray, np.ndarray]:
        weights = self.means @ self.precision
        return weights.T, 0.5 * np.einsum("kd,kd->k", weights, self.means)

    @cached_property
    def _grouped(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows ordered by their owner, and where each owner's begin."""
        order = np.argsort(self.owners, kind="stable")
        return order, np.flatnonzero(np.diff(np.asarray(self.owners)[order], prepend=-1))

    def _row_distances(self, features: np.ndarray) -> np.ndarray:
        offset = features[:, None, :] - self.means[None, :, :]
        return np.asarray(np.einsum("nkd,nkd->nk", offset @ self.precision, offset))

    def _best(self, rows: np.ndarray) -> np.ndarray:
        if not self.owners:
            return rows
        order, starts = self._grouped
        return np.asarray(np.maximum.reduceat(rows[..., order], starts, axis=-1))


class Experts:
    """Several discriminants of the same classes, evaluated with one matrix product.

    Raises:
        ValueError: they differ in their number of rows, or in who owns them.
    """

    def __init__(self, heads: Mapping[str, Lda]) -> None:
        first = next(iter(heads.values()))
        if any(len(head.means) != len(first.means) or head.owners != first.owners for head in heads.values()):
            raise ValueError("the discriminants do not distinguish the same classes")
        linear = [head._linear for head in heads.values()]
        self._names = tuple(heads)
        self._first = first
        self._weights = np.zeros((sum(len(w) for w, _ in linear), len(heads) * len(first.means)))
        self._offsets = np.concatenate([offsets for _, offsets in linear])
        row = 0
        for column, (weights, _) in enumerate(linear):
            at = column * len(first.means)
            self._weights[row : row + len(weights), at : at + len(first.means)] = weights
            row += len(weights)

    def scores(self, features: object) -> np.ndarray:
        """Log posteriors `(heads, n, classes)` as `Lda.scores`, of features `(n, d)` that are attributes by name."""
        joint = np.concatenate([getattr(features, name) for name in self._names], axis=1)
        rows = joint @ self._weights - self._offsets
        apart = rows.reshape(len(rows), len(self._names), -1).transpose(1, 0, 2)
        return self._first._best(apart)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Along the last axis, without overflow."""
    below = scores - np.maximum.reduce(scores, axis=-1, keepdims=True)
    return np.asarray(below - np.log(np.add.reduce(np.exp(below), axis=-1, keepdims=True)))
