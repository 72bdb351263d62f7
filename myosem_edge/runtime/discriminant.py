"""Evaluating linear discriminants, the only ones of the project. Fitting one is `calibration.heads`."""

from __future__ import annotations

from dataclasses import dataclass

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
        offset = features[:, None, :] - self.means[None, :, :]
        return -self._best(-np.einsum("nkd,nkd->nk", offset @ self.precision, offset))

    def log_posteriors(self, features: np.ndarray) -> np.ndarray:
        """Log posteriors `(n, classes)` under uniform priors."""
        weights = self.means @ self.precision
        return log_softmax(self._best(features @ weights.T - 0.5 * np.einsum("kd,kd->k", weights, self.means)))

    def _best(self, rows: np.ndarray) -> np.ndarray:
        if not self.owners:
            return rows
        owners = np.asarray(self.owners)
        return np.stack([rows[:, owners == k].max(axis=1) for k in range(max(self.owners) + 1)], axis=1)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Along the last axis, without overflow."""
    top = scores.max(axis=-1, keepdims=True)
    return scores - top - np.log(np.exp(scores - top).sum(axis=-1, keepdims=True))
