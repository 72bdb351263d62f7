"""Fitting the calibrated head in closed form: the same discriminant analysis that it is measured against.

One shared covariance, shrunk towards its diagonal, uniform priors (Fisher 1936; shrinkage as in Friedman 1989). Fitting
is a covariance and one inverse: milliseconds on a board, no backpropagation.
"""

from __future__ import annotations

import numpy as np

from myosem_edge.runtime.discriminant import Lda

SHRINKAGE = 0.02
SHRINKAGE_SHORT = 0.05  # with about one second per action the covariance is poorer
SHORT_SAMPLES = 60  # decisions per class (1.5 s of 25 ms hops) below which the stronger shrinkage is used


def fit_lda(features: np.ndarray, labels: np.ndarray, classes: int, shrinkage: float | None = None) -> Lda:
    """features (n, d), labels (n,) in 0..classes-1, each class present.

    Raises:
        ValueError: a class has no sample, or a feature is not finite.
    """
    if not np.isfinite(features).all():
        raise ValueError("features are not finite")
    counts = np.bincount(labels, minlength=classes)
    if len(counts) != classes or (counts == 0).any():
        raise ValueError(f"every class needs samples; found {counts.tolist()} for {classes} classes")
    features = features.astype(np.float64)
    if shrinkage is None:
        shrinkage = SHRINKAGE if np.median(counts) >= SHORT_SAMPLES else SHRINKAGE_SHORT
    means = np.stack([features[labels == k].mean(axis=0) for k in range(classes)])
    # Each class weighs the same, however long it was recorded: rest must not own the covariance.
    residual = (features - means[labels]) / np.sqrt(counts * classes)[labels, None]
    covariance = residual.T @ residual
    diagonal = np.diag(covariance).copy()
    covariance *= 1.0 - shrinkage
    covariance[np.diag_indices_from(covariance)] = diagonal + 1e-6 * diagonal.mean() + 1e-12
    return Lda(means, np.linalg.inv(covariance))
