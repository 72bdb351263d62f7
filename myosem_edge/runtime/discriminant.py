"""Evaluating linear discriminants, the only ones of the project. Fitting one is `calibration.heads`."""

from __future__ import annotations

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
        """Squared Mahalanobis distance `(n,)` of features `(n, d)` to the class that is nearest."""
        return np.asarray(np.minimum.reduce(self._row_distances(features), axis=1))

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
        return np.asarray(np.maximum.reduceat(rows[:, order], starts, axis=1))


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Along the last axis, without overflow."""
    below = scores - np.maximum.reduce(scores, axis=-1, keepdims=True)
    return np.asarray(below - np.log(np.add.reduce(np.exp(below), axis=-1, keepdims=True)))
