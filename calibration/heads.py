"""Fitting the calibrated head in closed form: the same discriminant analysis that it is measured against.

One shared covariance, shrunk towards its diagonal, uniform priors (Fisher 1936; shrinkage as in Friedman 1989). Fitting
is a covariance and one inverse: milliseconds on a board, no backpropagation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from myosem_edge.runtime.discriminant import Lda
from myosem_edge.runtime.match import HEADS

SHRINKAGE = 0.02  # towards the diagonal, of amplitude features
SHRINKAGE_SHORT = 0.05  # with about one second per action the covariance is poorer
SHORT_SAMPLES = 60  # decisions per class (1.5 s of 25 ms hops) below which the stronger shrinkage is used
# Share of the diagonal, then of a sphere. An embedding or a covariance has many dimensions and a few seconds hold few
# independent hops, hence more than for amplitudes. Chosen on development people.
SHRINKAGES: Mapping[str, tuple[float | None, float]] = {
    "h": (0.2, 0.2),
    "z": (0.2, 0.2),
    "log_features": (None, 0.0),
    "log_covariance": (0.2, 0.2),
}


def fit_heads(features: Mapping[str, np.ndarray], labels: np.ndarray, owners: tuple[int, ...] = ()) -> dict[str, Lda]:
    """One discriminant for each of HEADS that has any width; features (n, d) by name, labels (n,) number rows of means.

    `owners` as in `Lda`.
    """
    rows = int(labels.max()) + 1
    heads = {}
    for name in HEADS:
        x = features[name].astype(np.float64)
        if x.shape[1]:
            shrinkage, sphere = SHRINKAGES[name]
            heads[name] = replace(fit_lda(x, labels, rows, shrinkage, sphere=sphere), owners=owners)
    return heads


def fit_lda(
    features: np.ndarray, labels: np.ndarray, classes: int, shrinkage: float | None = None, *, sphere: float = 0.0
) -> Lda:
    """features (n, d), labels (n,) in 0..classes-1, each class present.

    `shrinkage` is the share of the covariance's diagonal, then `sphere` the share of a multiple of the identity.

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
    covariance *= (1.0 - shrinkage) * (1.0 - sphere)
    spread = (1.0 - sphere) * diagonal + sphere * diagonal.mean()
    covariance[np.diag_indices_from(covariance)] = spread + 1e-6 * diagonal.mean() + 1e-12
    return Lda(means, np.linalg.inv(covariance))
