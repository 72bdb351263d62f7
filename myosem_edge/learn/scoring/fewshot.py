"""Calibrated accuracy after a few repetitions of a new person, every baseline on exactly the same decisions.

The calibrated head is the board's own: the figure is of what a wearer gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from myosem_edge.calibration.enrol import RELAXED_LEVEL, Labelled, enrol_encoded
from myosem_edge.calibration.heads import SHRINKAGES, fit_lda
from myosem_edge.learn.corpus.sessions import NO_ACTION, Session
from myosem_edge.learn.scoring.embed import Embedded, Encode, embed, mean_by_execution, worn_scale, worn_shift
from myosem_edge.learn.scoring.metrics import balanced
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.runtime.decision import REST
from myosem_edge.runtime.discriminant import Lda
from myosem_edge.runtime.encoder import Encoded, Fit
from myosem_edge.runtime.match import Enrolment, head_scores

ONE_SECOND_FRAMES = 40
TEST_AFTER = 3  # repetitions beyond this are never calibrated on, so every budget is judged on the same decisions
BUDGETS = ("1 s", "1", "2", "3")
BASELINES = {"Hudgins LDA": "hudgins", "log-feature LDA": "log_features", "log-covariance LDA": "log_covariance"}
HEAD = "calibrated head"
HEADS = (*BASELINES, HEAD)


@dataclass(frozen=True)
class Calibrated:
    """One session after one calibration: what it was fitted on and everything it can be judged on."""

    embedded: Embedded
    rows: np.ndarray  # (n,) bool: the calibration's
    enrolment: Enrolment
    learnt: np.ndarray  # (enrolled,) bool: descriptions that were trained on
    classes: np.ndarray  # (enrolled,) rows of the catalogue
    prototypes: np.ndarray  # (enrolled, embedding)

    @cached_property
    def baselines(self) -> dict[str, Lda]:
        """The baselines by name, fitted on the calibration's rows: once, however many streams they judge."""
        labels = np.searchsorted(self.classes, self.embedded.action[self.rows])
        found = {}
        for name, attribute in BASELINES.items():
            shrinkage, sphere = SHRINKAGES.get(attribute, (None, 0.0))
            x = getattr(self.embedded, attribute)[self.rows]
            found[name] = fit_lda(x, labels, len(self.classes), shrinkage, sphere=sphere)
        return found

    def posteriors(self, judged: np.ndarray, test: Embedded | None = None) -> dict[str, np.ndarray]:
        """Log scores (judged, enrolled) of every head, on this session or on another one of the same person."""
        test = test or self.embedded
        found = {
            name: lda.log_posteriors(getattr(test, BASELINES[name])[judged]) for name, lda in self.baselines.items()
        }
        encoded = test.encoded(judged)
        found[HEAD] = head_scores(self.enrolment, encoded, encoded.z @ self.prototypes.T, self.learnt)
        return found


def calibrate(
    session: Session, trained: Trained, encode: Encode, ids: tuple[str, ...], prototypes: np.ndarray, budget: str
) -> Calibrated:
    """Calibrate one session as a wearer would: input scale, ring rotation and heads from those seconds alone.

    prototypes (catalogue, embedding).
    """
    repetitions = set(range(1, (1 if budget.endswith("s") else int(budget)) + 1))
    scale, shift = worn_scale(session, repetitions), worn_shift(session, trained, ids, repetitions)
    e = embed(session, encode, scale=scale, shift=shift)
    rows = budget_rows(e, budget)
    return calibrate_rows(e, rows, encode, ids, prototypes, trained, Fit(False, shift, scale))


def calibrate_rows(
    e: Embedded,
    rows: np.ndarray,
    encode: Encode,
    ids: tuple[str, ...],
    prototypes: np.ndarray,
    trained: Trained,
    fit: Fit,
) -> Calibrated:
    """Fit the heads on `rows` (n,) bool of an embedded session; nothing of its other rows is seen."""
    classes = np.unique(e.action[rows])
    labels = np.searchsorted(classes, e.action[rows])
    actions = tuple(ids[k] for k in classes)
    as_is = e.encoded(rows)
    relaxed = _relaxed(e, rows, ids, encode, fit) if REST in actions else as_is
    data = Labelled(np.zeros((0, 1)), labels, e.repetition[rows], actions)
    enrolment, _ = enrol_encoded((as_is, relaxed), data, fit, 0.0)
    learnt = np.array([name in trained.ring_templates for name in actions])
    return Calibrated(e, rows, enrolment, learnt, classes, prototypes[classes])


def _relaxed(e: Embedded, rows: np.ndarray, ids: tuple[str, ...], encode: Encode, fit: Fit) -> Encoded:
    """The calibration rows with rest encoded again at RELAXED_LEVEL; the other rows are left as they are."""
    rest = rows & (e.action == ids.index(REST))
    wanted, clips = np.unique(e.execution[rest]), []
    for clip in e.session.clips:
        mine = np.isin(clip.execution, wanted)
        if mine.any():
            clips.append(replace(clip, action=np.where(mine, clip.action, NO_ACTION)))
    quiet = embed(replace(e.session, clips=clips), encode, scale=fit.scale / RELAXED_LEVEL, shift=fit.shift)
    # A budget takes an execution's first rows; both embeddings keep the same rows of it in the same order.
    again = np.concatenate(
        [np.flatnonzero(quiet.execution == n)[: int((e.execution[rest] == n).sum())] for n in wanted]
    )
    where = np.flatnonzero(rest[rows])
    as_is, half = e.encoded(rows), quiet.encoded(again)
    found = {name: getattr(as_is, name).copy() for name in as_is.__dataclass_fields__}
    for name, values in found.items():
        values[where] = getattr(half, name)
    return Encoded(**found)


def budget_rows(e: Embedded, budget: str) -> np.ndarray:
    """Rows a wearer's calibration would hold: one execution per action and repetition, in file order."""
    seconds = budget.endswith("s")
    last = 1 if seconds else int(budget)
    keep = np.zeros(len(e.action), dtype=bool)
    for action in np.unique(e.action):
        for repetition in range(1, last + 1):
            rows = np.flatnonzero((e.action == action) & (e.repetition == repetition))
            if len(rows):
                rows = rows[e.execution[rows] == e.execution[rows[0]]]
                keep[rows[:ONE_SECOND_FRAMES] if seconds else rows] = True
    return keep


def few_shot(
    sessions: Sequence[Session],
    trained: Trained,
    encode: Encode,
    ids: tuple[str, ...],
    prototypes: np.ndarray,
    budgets: Sequence[str] = BUDGETS,
) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Percent right: result[budget]["window" | "execution"][head][person], sessions of a person averaged."""
    collected: dict[str, dict[str, dict[str, dict[str, list[float]]]]] = {}
    for session in sessions:
        for budget in budgets:
            fitted = calibrate(session, trained, encode, ids, prototypes, budget)
            e, classes = fitted.embedded, fitted.classes
            judged = (e.repetition > TEST_AFTER) & np.isin(e.action, classes)
            if judged.any():
                score_heads(fitted.posteriors(judged), e, judged, classes, collected.setdefault(budget, {}))
    return {budget: average(units) for budget, units in collected.items()}


Collected = dict[str, dict[str, dict[str, list[float]]]]  # unit, head, person


def score_heads(
    posteriors: dict[str, np.ndarray], e: Embedded, judged: np.ndarray, classes: np.ndarray, into: Collected
) -> None:
    """Add one session's percent right of every head, per hop and per execution, to `into`."""
    truth = e.action[judged]
    for head, posterior in posteriors.items():
        mean, of_execution = mean_by_execution(e.execution[judged], truth, posterior)
        for unit, scores, labels in (("window", posterior, truth), ("execution", mean, of_execution)):
            right = balanced(classes[scores.argmax(axis=1)] == labels, labels)
            into.setdefault(unit, {}).setdefault(head, {}).setdefault(e.session.person, []).append(100 * right)


def average(units: Collected) -> dict[str, dict[str, dict[str, float]]]:
    """Sessions of a person averaged."""
    return {
        unit: {head: {p: float(np.mean(v)) for p, v in people.items()} for head, people in heads.items()}
        for unit, heads in units.items()
    }
