"""From labelled seconds of one wearer to an enrolment: input scale, ring rotation, discriminants, what is typical.

Everything is closed form. The same function serves the board, the evaluation and the export, so a figure that was
printed is a figure of what the wearer gets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from myosem_edge.calibration.heads import SHRINKAGES, fit_heads, fit_lda
from myosem_edge.calibration.ring import activity_map, best_shift
from myosem_edge.errors import InputError
from myosem_edge.runtime.decision import REST
from myosem_edge.runtime.decoder import Model
from myosem_edge.runtime.encoder import Encoded, Fit
from myosem_edge.runtime.match import HEADS, Enrolment
from myosem_edge.signal.montage import input_scale, ring_order

MIN_HOPS = 20  # half a second of an action is the least a discriminant can be fitted on
NONE = -1
TEXT_WEIGHT = 4.0  # of the descriptions after one repetition; divided by the number of repetitions
# Nobody lets go completely at a prompt. The same rest at half its level is a second picture of rest, or a wearer who
# relaxes further would look like whatever weak action lies in that direction.
RELAXED_LEVEL = 0.5


@dataclass(frozen=True)
class Labelled:
    """A continuous stretch of one wearer's stream as worn.

    samples (n, channels) in the front end's unit; per hop: `action` (hops,) index into `actions` or NONE, `repetition`
    (hops,) numbered from 1.
    """

    samples: np.ndarray
    action: np.ndarray
    repetition: np.ndarray
    actions: tuple[str, ...]


@dataclass(frozen=True)
class EnrolmentReport:
    """What the fit looked like. `separation` is the squared Mahalanobis distance of the closest pair of actions."""

    ring_shift: int
    ring_clarity: float  # lead over the second best rotation, in cosine
    closest: tuple[str, str]
    separation: float
    hops: dict[str, int]


def enrol(
    model: Model, data: Labelled, *, mirrored: bool, backend: str = "onnxruntime"
) -> tuple[Enrolment, EnrolmentReport]:
    """Fit one wearer.

    Raises:
        InputError: an action has too few usable hops, or the samples are not finite.
    """
    fit, clarity = fit_electrodes(model, data, mirrored)
    return enrol_encoded(encode_both(model, data, fit, backend), data, fit, clarity)


def encode_both(model: Model, data: Labelled, fit: Fit, backend: str) -> tuple[Encoded, Encoded]:
    """The stream as it is and at RELAXED_LEVEL of its level."""
    relaxed = replace(fit, scale=fit.scale / RELAXED_LEVEL)
    as_is, half = (model.encoder(f, backend).whole(data.samples) for f in (fit, relaxed))
    return as_is, half


def fit_electrodes(model: Model, data: Labelled, mirrored: bool) -> tuple[Fit, float]:
    """Input scale (every action the same weight) and ring rotation from labelled hops alone.

    Raises:
        InputError: an action has too few usable hops, or the samples are not finite.
    """
    if not np.isfinite(data.samples).all():
        raise InputError("the calibration recording holds values that are not finite")
    counts = _hops(data)
    for name, count in counts.items():
        if count < MIN_HOPS:
            raise InputError(
                f"too little usable signal of '{name}'",
                found=f"{count} hops",
                expected=f"at least {MIN_HOPS}",
                todo="Repeat this action",
            )
    size = model.filter.frame_samples
    worn = data.samples[:, ring_order(data.samples.shape[1], 0, mirrored)]
    filtered = model.filter.whole(worn.astype(np.float64))
    energy = np.square(filtered).reshape(-1, size, filtered.shape[1]).mean(axis=1)[: len(data.action)]
    present = np.unique(data.action[data.action != NONE])
    mean = np.mean([energy[data.action == k].mean(axis=0) for k in present], axis=0)
    scale = input_scale(mean)
    maps = {data.actions[k]: row for k, row in activity_map(energy / scale**2, data.action).items()}
    shared = [name for name in maps if name in model.ring_templates]
    if len(shared) < 2:  # one pattern cannot be told from a channel's own gain
        return Fit(mirrored, 0, scale), 0.0
    index = {name: i for i, name in enumerate(shared)}
    shift, clarity = best_shift(
        {index[name]: maps[name] for name in shared}, {index[name]: model.ring_templates[name] for name in shared}
    )
    return Fit(mirrored, shift, scale), clarity


def enrol_encoded(
    encoded: tuple[Encoded, Encoded], data: Labelled, fit: Fit, clarity: float
) -> tuple[Enrolment, EnrolmentReport]:
    """The second half of `enrol`, for callers that have encoded the stream already with this fit: as `encode_both`."""
    as_is, relaxed = encoded
    hops = min(len(as_is), len(data.action))
    labels, repetition = data.action[:hops], data.repetition[:hops]
    keep = np.flatnonzero(labels != NONE)
    h, rms = as_is.h[keep].astype(np.float64), as_is.rms[keep]
    y, r, classes = labels[keep], repetition[keep], len(data.actions)
    rest = data.actions.index(REST) if REST in data.actions else None
    shown = {name: getattr(as_is, name)[keep] for name in HEADS}
    rows, owners = y, ()
    if rest is not None:
        again = keep[y == rest]
        shown = {name: np.concatenate((x, getattr(relaxed, name)[again])) for name, x in shown.items()}
        rows, owners = np.concatenate((y, np.full(len(again), classes))), (*range(classes), rest)
    heads = fit_heads(shown, rows, owners)
    rest_rms = float(np.median(rms[y == rest])) if rest is not None else 0.0
    active = tuple(float(np.percentile(rms[y == k], 75)) for k in range(classes))
    text_weight = TEXT_WEIGHT / max(1.0, float(np.median([len(np.unique(r[y == k])) for k in range(classes)])))
    typical = _typical_distance(h, y, r, classes, shown["h"][len(y) :], rest)
    enrolment = Enrolment(fit, data.actions, heads, text_weight, typical, rest_rms, active)
    gaps = heads["h"].distances(heads["h"].means[:classes]) + np.diag(np.full(classes, np.inf))
    a, b = np.unravel_index(int(gaps.argmin()), gaps.shape)
    closest = (data.actions[int(a)], data.actions[int(b)])
    return enrolment, EnrolmentReport(fit.shift, clarity, closest, float(gaps[a, b]), _hops(data, hops))


def _hops(data: Labelled, most: int | None = None) -> dict[str, int]:
    """Usable hops of every action."""
    return {name: int((data.action[:most] == k).sum()) for k, name in enumerate(data.actions)}


def _typical_distance(
    h: np.ndarray, y: np.ndarray, r: np.ndarray, classes: int, relaxed: np.ndarray, rest: int | None
) -> float:
    """Median squared distance of hops to their own action under a head that has not seen them; `relaxed`, the hops of
    `rest` at half their level, which such a head is fitted on as the real one is.

    Leaves one repetition out where every action has two, else fits on the first half of each action's hops and judges
    the second: a distance measured on the fitted hops themselves would be far too small.
    """
    by_repetition = all(len(np.unique(r[y == k])) > 1 for k in range(classes))
    folds = []
    if by_repetition:
        folds = [r == number for number in np.unique(r)]
    else:
        order = np.concatenate([np.arange((y == k).sum()) / (y == k).sum() for k in range(classes)])
        position = np.empty(len(y))
        position[np.concatenate([np.flatnonzero(y == k) for k in range(classes)])] = order
        folds = [position >= 0.5]
    found = []
    for held in folds:
        if len(np.unique(y[~held])) == classes and held.any():
            again = relaxed[~held[y == rest]] if rest is not None else relaxed
            features = np.concatenate((h[~held], again))
            rows = np.concatenate((y[~held], np.full(len(again), classes)))
            shrinkage, sphere = SHRINKAGES["h"]
            distance = fit_lda(features, rows, int(rows.max()) + 1, shrinkage, sphere=sphere).distances(h[held])
            found.append(distance[np.arange(held.sum()), y[held]])
    return float(np.median(np.concatenate(found))) if found else float(h.shape[1])
