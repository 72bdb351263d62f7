"""A calibration kept for another day: fitted on a person's last early session, judged on every later one.

All rows are judged on the same decisions of the later session, repetitions after the third, so that calibrating anew on
its first ones can stand beside keeping the old one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from myosem_edge.learn.corpus.sessions import Session
from myosem_edge.learn.scoring.embed import Embedded, Encode, embed, worn_shift
from myosem_edge.learn.scoring.fewshot import TEST_AFTER, Calibrated, Collected, average, calibrate, score_heads
from myosem_edge.learn.teacher.checkpoint import Trained

KEPT, KEPT_TURNED = "kept from the last early day", "kept, ring found again from one repetition"
NEW = {"one second of the new day": "1 s", "one new repetition": "1", "three new repetitions": "3"}
ROWS = (KEPT, KEPT_TURNED, *NEW)
OLD_BUDGET = "3"


def across_days(
    early: Sequence[Session],
    later: Sequence[Session],
    trained: Trained,
    encode: Encode,
    ids: tuple[str, ...],
    prototypes: np.ndarray,
) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Percent right: result[row]["window" | "execution"][head][person], later sessions of a person averaged.

    prototypes (catalogue, embedding). People without an earlier session, and sessions without later repetitions, are
    left out.
    """
    last = {}
    for session in sorted(early, key=lambda s: s.name):
        last[session.person] = session
    collected: dict[str, Collected] = {}
    for session in later:
        if session.person not in last:
            continue
        rows = _rows(last[session.person], session, trained, encode, ids, prototypes)
        for row, (fitted, test) in rows.items():
            judged = (test.repetition > TEST_AFTER) & np.isin(test.action, fitted.classes)
            if judged.any():
                posteriors = fitted.posteriors(judged, test)
                score_heads(posteriors, test, judged, fitted.classes, collected.setdefault(row, {}))
    return {row: average(units) for row, units in collected.items()}


def _rows(
    old: Session, new: Session, trained: Trained, encode: Encode, ids: tuple[str, ...], prototypes: np.ndarray
) -> dict[str, tuple[Calibrated, Embedded]]:
    """Per row of the table: the calibration, and the new day as that profile would see it."""
    kept = calibrate(old, trained, encode, ids, prototypes, OLD_BUDGET)
    fit, turned = kept.enrolment.fit, worn_shift(new, trained, ids, {1})
    # An electrode that moved takes its scale along.
    moved = np.roll(fit.scale, turned - fit.shift)
    found = {
        KEPT: (kept, embed(new, encode, scale=fit.scale, shift=fit.shift)),
        KEPT_TURNED: (kept, embed(new, encode, scale=moved, shift=turned)),
    }
    for row, budget in NEW.items():
        fresh = calibrate(new, trained, encode, ids, prototypes, budget)
        found[row] = (fresh, fresh.embedded)
    return found
