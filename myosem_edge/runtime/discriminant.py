"""Evaluating linear discriminants, the only ones of the project. Fitting one is `calibration.heads`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Lda:
    """`means` (classes, features), `precision` (features, features): the inverse of the shared covariance."""

    means: np.ndarray
    precision: np.ndarray

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distances `(n, classes)` of features `(n, d)` to every class mean."""
        offset = features[:, None, :] - self.means[None, :, :]
        return np.einsum("nkd,nkd->nk", offset @ self.precision, offset)

    def log_posteriors(self, features: np.ndarray) -> np.ndarray:
        """Log posteriors `(n, classes)` under uniform priors."""
        weights = self.means @ self.precision
        return log_softmax(features @ weights.T - 0.5 * np.einsum("kd,kd->k", weights, self.means))


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Along the last axis, without overflow."""
    top = scores.max(axis=-1, keepdims=True)
    return scores - top - np.log(np.exp(scores - top).sum(axis=-1, keepdims=True))
