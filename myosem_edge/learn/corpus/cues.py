"""Where a cue was really followed: labels of cued streams moved from the cue to the muscle.

People follow a cue late, early, or not at all, so a cue is no label. Each border is moved to the instant that best
splits the multichannel log envelope around it into two levels (a change point by least squares; Truong, Oudre and
Vayatis 2020 review such methods). No model takes part: what is judged and what is trained on cannot lean on what
a model believes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ENVELOPE_S = 0.05
EARLIEST_S, LATEST_S = -1.0, 2.5  # of a muscle's change, counted from the cue
MARGIN_S = 0.3  # of level on either side of a change
MIN_EXPLAINED = 0.25  # of the variance: below this nothing happened that can be placed
REST = 0
NOTHING = -1
# From the muscle's change until its new level is believed to be steady, and before the next change.
SETTLED_S, RELAXED_S, LEAVING_S = 0.25, 0.75, 0.2
RELEASING_S = 0.15  # after the change a released muscle still fades
FLOOR = 0.05  # of the recording's RMS: keeps the logarithm of silence finite


@dataclass(frozen=True)
class Followed:
    """One stretch of one label. Samples; `start` is where the muscle changed, or None where that cannot be said."""

    cue: int
    end_cue: int
    label: int
    start: int | None
    end: int | None


def follow_cues(filtered: np.ndarray, label: np.ndarray, rate_hz: float) -> list[Followed]:
    """filtered (n, channels), label (n,) as cued -> every stretch of one label with its moved borders.

    The first start and the last end are the recording's own.
    """
    borders: list[int] = (np.flatnonzero(np.diff(label) != 0) + 1).tolist()
    level = log_envelope(filtered, rate_hz)
    moved: list[int | None] = []
    for i, cue in enumerate(borders):
        before = borders[i - 1] if i else 0
        after = borders[i + 1] if i + 1 < len(borders) else len(label)
        low = max(cue + round(EARLIEST_S * rate_hz), (before + cue) // 2)
        high = min(cue + round(LATEST_S * rate_hz), (cue + after) // 2 + round(0.2 * rate_hz), len(label))
        moved.append(change_point(level, low, high, round(MARGIN_S * rate_hz)))
    cues = [0, *borders, len(label)]
    edges = [0, *moved, len(label)]
    return [Followed(cues[i], cues[i + 1], int(label[cues[i]]), edges[i], edges[i + 1]) for i in range(len(cues) - 1)]


def believe_cues(filtered: np.ndarray, label: np.ndarray, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """What may be believed of a cued stream.

    Returns steady (n,) bool: the label holds and its level is reached; begun (n,) int: the label that has begun where
    it is not steady yet, -1 elsewhere. A stretch whose start cannot be placed has no begun samples.
    """
    steady, begun = np.zeros(len(label), dtype=bool), np.full(len(label), NOTHING)
    for stretch in follow_cues(filtered, label, rate_hz):
        rest = stretch.label == REST
        start = stretch.cue if stretch.start is None else stretch.start
        end = min(stretch.end_cue, len(label) if stretch.end is None else stretch.end)
        settled = start + round((RELAXED_S if rest else SETTLED_S) * rate_hz)
        leaving = end - round(LEAVING_S * rate_hz) if end < len(label) else end
        if stretch.start is not None and stretch.cue > 0:
            from_ = start + round((RELEASING_S if rest else 0.0) * rate_hz)
            begun[from_ : max(from_, leaving)] = stretch.label
        steady[max(settled, stretch.cue) : max(settled, stretch.cue, leaving)] = True
    return steady, begun


def log_envelope(filtered: np.ndarray, rate_hz: float) -> np.ndarray:
    """Log of the centred 50 ms RMS (n, channels)."""
    n = round(ENVELOPE_S * rate_hz)
    power = np.square(filtered, dtype=np.float64)
    total = np.cumsum(np.concatenate((np.zeros((1, power.shape[1])), power)), axis=0)
    rows = np.arange(len(power))
    first, last = np.maximum(rows - n // 2, 0), np.minimum(rows + n - n // 2, len(power))
    mean = (total[last] - total[first]) / (last - first)[:, None]
    return np.asarray(0.5 * np.log(mean + (FLOOR**2) * power.mean() + 1e-12))


def change_point(level: np.ndarray, low: int, high: int, margin: int) -> int | None:
    """The split of level[low:high] (samples, channels) into two means that leaves the least squared error; None when
    it explains less than MIN_EXPLAINED of the variance or no split keeps `margin` samples on both sides.
    """
    part = level[low:high]
    n = len(part)
    if n < 2 * margin + 1:
        return None
    total = np.cumsum(part, axis=0)
    k = np.arange(margin, n - margin + 1)
    left, right = total[k - 1], total[-1] - total[k - 1]
    # Variance between the two means: what the split explains of the total sum of squares.
    common = np.square(total[-1]) / n
    between = (np.square(left) / k[:, None] + np.square(right) / (n - k)[:, None] - common).sum(axis=1)
    whole = (np.square(part).sum(axis=0) - common).sum()
    best = int(between.argmax())
    return low + int(k[best]) if between[best] >= MIN_EXPLAINED * max(whole, 1e-12) else None
