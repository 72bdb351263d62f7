"""Calibrated accuracy after a few repetitions of a new person, both LDA baselines on exactly the same decisions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from myosem_edge.calibration.heads import fit_lda
from myosem_edge.learn.checkpoint import Trained
from myosem_edge.learn.embed import Embedded, Encode, embed, mean_by_execution, worn_scale, worn_shift
from myosem_edge.learn.metrics import balanced
from myosem_edge.learn.sessions import Session
from myosem_edge.runtime.discriminant import log_softmax

ONE_SECOND_FRAMES = 40
TEST_AFTER = 3  # repetitions beyond this are never calibrated on, so every budget is judged on the same decisions
BUDGETS = ("1 s", "1", "2", "3")
HEADS = ("Hudgins LDA", "log-feature LDA", "LDA on h", "calibrated head")


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


def head_posteriors(
    fit: Embedded, rows: np.ndarray, test: Embedded, judged: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Log posteriors (judged, classes) of every head, with the class ids (classes,)."""
    classes = np.unique(fit.action[rows])
    labels = np.searchsorted(classes, fit.action[rows])
    posterior = {}
    for name, train, new in (
        ("Hudgins LDA", fit.hudgins, test.hudgins),
        ("log-feature LDA", fit.log_features, test.log_features),
        ("LDA on h", fit.h, test.h),
    ):
        posterior[name] = fit_lda(train[rows], labels, len(classes)).log_posteriors(new[judged])
    posterior["calibrated head"] = log_softmax(posterior["LDA on h"] + posterior["log-feature LDA"])
    return {name: (values, classes) for name, values in posterior.items()}


def few_shot(
    sessions: Sequence[Session],
    trained: Trained,
    encode: Encode,
    ids: tuple[str, ...],
    budgets: Sequence[str] = BUDGETS,
) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Percent right: result[budget]["window" | "execution"][head][person], sessions of a person averaged.

    Input scale and ring rotation come from the calibration repetitions alone.
    """
    collected: dict[str, dict[str, dict[str, dict[str, list[float]]]]] = {}
    for session in sessions:
        for budget in budgets:
            repetitions = set(range(1, (1 if budget.endswith("s") else int(budget)) + 1))
            e = embed(
                session,
                encode,
                scale=worn_scale(session, repetitions),
                shift=worn_shift(session, trained, ids, repetitions),
            )
            rows, judged = budget_rows(e, budget), e.repetition > TEST_AFTER
            judged &= np.isin(e.action, np.unique(e.action[rows]))
            if not judged.any():
                continue
            for head, (posterior, classes) in head_posteriors(e, rows, e, judged).items():
                right = classes[posterior.argmax(axis=1)] == e.action[judged]
                mean, truth = mean_by_execution(e.execution[judged], e.action[judged], posterior)
                for unit, value in (
                    ("window", balanced(right, e.action[judged])),
                    ("execution", balanced(classes[mean.argmax(axis=1)] == truth, truth)),
                ):
                    people = collected.setdefault(budget, {}).setdefault(unit, {}).setdefault(head, {})
                    people.setdefault(session.person, []).append(100 * value)
    return {
        budget: {
            unit: {head: {p: float(np.mean(v)) for p, v in people.items()} for head, people in heads.items()}
            for unit, heads in units.items()
        }
        for budget, units in collected.items()
    }
