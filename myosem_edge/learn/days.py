"""A calibration kept for another day: fitted on a person's last early session, judged on every later one.

All rows are judged on the same decisions of the later session, repetitions after the third, so that calibrating anew on
its first ones can stand beside keeping the old one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from myosem_edge.learn.checkpoint import Trained
from myosem_edge.learn.embed import Embedded, Encode, embed, mean_by_execution, worn_scale, worn_shift
from myosem_edge.learn.fewshot import TEST_AFTER, budget_rows, head_posteriors
from myosem_edge.learn.metrics import balanced
from myosem_edge.learn.sessions import Session

KEPT, KEPT_TURNED = "kept from the last early day", "kept, ring found again from one repetition"
NEW = {"one new repetition": "1", "three new repetitions": "3"}
ROWS = (KEPT, KEPT_TURNED, *NEW)
ALL_THREE = {1, 2, 3}


def across_days(
    early: Sequence[Session], later: Sequence[Session], trained: Trained, encode: Encode, ids: tuple[str, ...]
) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Percent right: result[row]["window" | "execution"][head][person], later sessions of a person averaged.

    People without an earlier session, and sessions without later repetitions, are left out.
    """
    last = {}
    for session in sorted(early, key=lambda s: s.name):
        last[session.person] = session
    collected: dict[str, dict[str, dict[str, dict[str, list[float]]]]] = {}
    for session in later:
        if session.person not in last:
            continue
        for row, (fit, rows, test) in _rows(last[session.person], session, trained, encode, ids).items():
            judged = (test.repetition > TEST_AFTER) & np.isin(test.action, np.unique(fit.action[rows]))
            if not judged.any():
                continue
            truth = test.action[judged]
            for head, (posterior, classes) in head_posteriors(fit, rows, test, judged).items():
                mean, action = mean_by_execution(test.execution[judged], truth, posterior)
                for unit, value in (
                    ("window", balanced(classes[posterior.argmax(axis=1)] == truth, truth)),
                    ("execution", balanced(classes[mean.argmax(axis=1)] == action, action)),
                ):
                    people = collected.setdefault(row, {}).setdefault(unit, {}).setdefault(head, {})
                    people.setdefault(session.person, []).append(100 * value)
    return {
        row: {
            unit: {head: {p: float(np.mean(v)) for p, v in people.items()} for head, people in heads.items()}
            for unit, heads in units.items()
        }
        for row, units in collected.items()
    }


def _rows(
    old: Session, new: Session, trained: Trained, encode: Encode, ids: tuple[str, ...]
) -> dict[str, tuple[Embedded, np.ndarray, Embedded]]:
    """Per row of the table: what is fitted on, its rows, and the new day as that profile would see it."""
    scale, shift = worn_scale(old, ALL_THREE), worn_shift(old, trained, ids, ALL_THREE)
    fit = embed(old, encode, scale=scale, shift=shift)
    rows = budget_rows(fit, "3")
    turned = worn_shift(new, trained, ids, {1})
    found = {
        KEPT: (fit, rows, embed(new, encode, scale=scale, shift=shift)),
        # An electrode that moved takes its scale along.
        KEPT_TURNED: (fit, rows, embed(new, encode, scale=np.roll(scale, turned - shift), shift=turned)),
    }
    for row, budget in NEW.items():
        repetitions = set(range(1, int(budget) + 1))
        e = embed(new, encode, scale=worn_scale(new, repetitions), shift=worn_shift(new, trained, ids, repetitions))
        found[row] = (e, budget_rows(e, budget), e)
    return found
