"""Can the calibrated actions be told apart at all? Refuses to make a profile in which two actions are one.

Two questions, because either alone can be fooled: the distance of the class means, which is optimistic with few hops
and many features, and how often two actions are mistaken for one another on hops that the fit has not seen.
"""

from __future__ import annotations

import numpy as np

from myosem_edge.calibration.enrol import NONE, EnrolmentReport, Labelled, encode_both, enrol_encoded, fit_electrodes
from myosem_edge.calibration.heads import fit_heads
from myosem_edge.errors import RefusedError
from myosem_edge.runtime.decoder import Model
from myosem_edge.runtime.encoder import Encoded
from myosem_edge.runtime.match import HEADS, Enrolment

# Squared Mahalanobis distance of the closest pair. Halfway between two equal normal clouds at this distance a decision
# is wrong one time in six even on what was fitted.
MIN_SEPARATION = 4.0
# Share of unseen decisions mistaken between two actions; 0.5 is a coin. On 14 people the worst honest pair stayed below
# 0.4 for all but one; the same action recorded under two names exceeded it in 1 of 6 cases with one repetition and in
# half with two, so this finds much, not everything, and finds more with repetitions.
MAX_CONFUSION = 0.4


def enrol_separable(model: Model, data: Labelled, *, mirrored: bool, backend: str) -> tuple[Enrolment, EnrolmentReport]:
    """`enrol`, and refuse what cannot be told apart.

    Raises:
        InputError: an action has too few usable hops, or the samples are not finite.
        RefusedError: two actions cannot be told apart; names them.
    """
    fit, clarity = fit_electrodes(model, data, mirrored)
    encoded = encode_both(model, data, fit, backend)
    enrolment, report = enrol_encoded(encoded, data, fit, clarity)
    require_separable(report, confusion(encoded[0], data), data.actions)
    return enrolment, report


def require_separable(report: EnrolmentReport, confused: np.ndarray, actions: tuple[str, ...]) -> None:
    """confused (actions, actions) as `confusion` returns it.

    Raises:
        RefusedError: the closest or the most confused pair is one action in two names.
    """
    todo = "Make them more different, ask for more --repetitions, or leave one out with --actions"
    first, second = (int(i) for i in np.unravel_index(int(confused.argmax()), confused.shape))
    if report.separation < MIN_SEPARATION:
        raise RefusedError(
            "'{}' and '{}' cannot be told apart".format(*report.closest),
            found=f"distance {report.separation:.1f}",
            expected=f"at least {MIN_SEPARATION:g}",
            todo=todo,
        )
    if confused[first, second] > MAX_CONFUSION:
        raise RefusedError(
            f"'{actions[first]}' and '{actions[second]}' cannot be told apart",
            found=f"{confused[first, second]:.0%} mistaken",
            expected=f"at most {MAX_CONFUSION:.0%}",
            todo=todo,
        )


def confusion(encoded: Encoded, data: Labelled) -> np.ndarray:
    """Share (actions, actions) of unseen hops that are mistaken between two actions, both ways averaged; zero diagonal.

    Every repetition is judged by a head fitted on the others; with one repetition, each half of a hold by the other.
    """
    hops = min(len(encoded), len(data.action))
    keep = np.flatnonzero(data.action[:hops] != NONE)
    y, repetition, classes = data.action[keep], data.repetition[keep], len(data.actions)
    features = {name: getattr(encoded, name)[keep] for name in HEADS}
    counts = np.zeros((classes, classes))
    for held in _folds(y, repetition, classes):
        heads = fit_heads({name: x[~held] for name, x in features.items()}, y[~held])
        scores = sum(head.log_posteriors(features[name][held]) for name, head in heads.items())
        np.add.at(counts, (y[held], np.asarray(scores).argmax(axis=1)), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(share, 0.0)
    both: np.ndarray = (share + share.T) / 2.0
    return both


def _folds(y: np.ndarray, repetition: np.ndarray, classes: int) -> list[np.ndarray]:
    if all(len(np.unique(repetition[y == k])) > 1 for k in range(classes)):
        return [repetition == number for number in np.unique(repetition)]
    late = np.zeros(len(y), dtype=bool)
    for k in range(classes):
        rows = np.flatnonzero(y == k)
        late[rows[len(rows) // 2 :]] = True
    return [late, ~late]
