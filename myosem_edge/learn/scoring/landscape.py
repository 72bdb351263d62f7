"""A map of the shared space for the eye: executions and descriptions on the two principal axes of what was judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_POINTS = 1200  # executions on a map


@dataclass
class Landscape:
    """Two principal axes of z (by singular value decomposition of the judged executions' means), for a picture."""

    points: list[tuple[float, float]]
    actions: list[str]  # of each point
    landmarks: dict[str, tuple[float, float]]  # the descriptions
    explained: tuple[float, float]  # share of the variance on each axis


def landscape_of(
    means: Sequence[tuple[np.ndarray, np.ndarray]], prototypes: np.ndarray, rows: list[int], ids: tuple[str, ...]
) -> Landscape:
    """`means`: z (executions, embedding) and action (executions,) per session; `rows`: the gallery's descriptions."""
    z, action = (np.concatenate(column) for column in zip(*means, strict=True))
    centre = z.mean(axis=0)
    _, size, axes = np.linalg.svd(z - centre, full_matrices=False)
    axes = axes[:2] if len(axes) > 1 else np.vstack((axes, np.zeros_like(axes)))
    share = np.square(size) / max(float(np.square(size).sum()), 1e-12)
    chosen = np.linspace(0, len(z) - 1, min(len(z), MOST_POINTS)).astype(int)
    points, landmarks = ((values - centre) @ axes.T for values in (z[chosen], prototypes[rows]))
    return Landscape(
        [(round(float(x), 4), round(float(y), 4)) for x, y in points],
        [ids[a] for a in action[chosen]],
        {ids[a]: (round(float(x), 4), round(float(y), 4)) for a, (x, y) in zip(rows, landmarks, strict=True)},
        (float(share[0]), float(share[1]) if len(share) > 1 else 0.0),
    )
