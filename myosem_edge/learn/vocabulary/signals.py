"""What wordings of actions find in people's EMG: retrieval both ways, antonyms taken for each other, trained beside
untrained actions. A wording is one or more sets of prototypes; where it is several, figures are their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from myosem_edge.actions.catalogue import Catalogue
from myosem_edge.learn.corpus.sessions import Session
from myosem_edge.learn.scoring.embed import SETTLE_FRAMES, embed, mean_by_execution, torch_encode, worn_shift
from myosem_edge.learn.scoring.metrics import balanced, emg_to_text
from myosem_edge.learn.teacher.checkpoint import Trained

AS_WORN, RING = "as worn", "ring from one repetition"
PLACEMENTS = (AS_WORN, RING)

People = dict[str, float]
Wordings = dict[str, list[np.ndarray]]  # name -> one or more sets of prototypes (catalogue, embedding)


@dataclass
class Retrieval:
    """One gallery of one data set. values[placement][wording][unit][metric][person], in percent."""

    dataset: str
    gallery: tuple[str, ...]
    judged: tuple[str, ...]
    values: dict[str, dict[str, dict[str, dict[str, People]]]] = field(default_factory=dict)

    @property
    def chance(self) -> float:
        return 100.0 / len(self.gallery)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "chance": self.chance}


@dataclass
class Confusion:
    """Hops of actions whose antonym competes: values[placement][wording][own | antonym | other][person], percent."""

    dataset: str
    gallery: tuple[str, ...]
    values: dict[str, dict[str, dict[str, People]]] = field(default_factory=dict)
    pairs: dict[str, dict[str, float]] = field(default_factory=dict)  # action -> shares, as worn, one wording


@dataclass
class Generalised:
    """Trained and untrained actions in one gallery, before and after the seen ones were handicapped by a constant.

    values[placement][wording][before | after][trained | untrained | harmonic mean][person], percent per hop.
    """

    dataset: str
    trained: tuple[str, ...]
    untrained: tuple[str, ...]
    values: dict[str, dict[str, dict[str, dict[str, People]]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Worn:
    """A session in one placement: unit z (n, embedding) and catalogue row of every hop, and of every execution."""

    person: str
    placement: str
    hop: tuple[np.ndarray, np.ndarray]
    execution: tuple[np.ndarray, np.ndarray]


def judgeable(sessions: Sequence[Session], ids: tuple[str, ...]) -> list[Session]:
    """Those with a settled hop of an action that has a description."""
    return [s for s in sessions if any(_described(clip.action[SETTLE_FRAMES:], ids).any() for clip in s.clips)]


def can_be_turned(session: Session, trained: Trained, ids: tuple[str, ...]) -> bool:
    """Whether the ring's rotation can be found from the first repetition: not where electrodes have places of their
    own, nor from actions that no template knows.
    """
    first = _first_repetition(session)
    shown = {int(a) for clip in session.clips for a in np.unique(clip.action[clip.repetition == first])}
    return session.montage.layout == "ring" and any(ids.index(action) in shown for action in trained.ring_templates)


def wear(session: Session, trained: Trained, ids: tuple[str, ...], turning: bool) -> list[Worn]:
    """The session as worn and, where it is `turning`, with its ring known; actions without a description left out."""
    shifts = {AS_WORN: 0}
    if turning:
        shifts[RING] = worn_shift(session, trained, ids, {_first_repetition(session)})
    encode = torch_encode(trained)
    by_shift = {shift: embed(session, encode, shift=shift) for shift in sorted(set(shifts.values()))}
    worn = []
    for placement, shift in shifts.items():
        e = by_shift[shift]
        keep = _described(e.action, ids)
        z, action, execution = e.z[keep], e.action[keep], e.execution[keep]
        worn.append(Worn(session.person, placement, (z, action), mean_by_execution(execution, action, z)))
    return worn


def _described(action: np.ndarray, ids: tuple[str, ...]) -> np.ndarray:
    return (action >= 0) & (action < len(ids))


def _first_repetition(session: Session) -> int:
    return min(int(r) for clip in session.clips for r in np.unique(clip.repetition[clip.action >= 0]))


def retrieve(
    dataset: str, worn: Sequence[Worn], gallery: list[int], judged: list[int], ids: tuple[str, ...], wordings: Wordings
) -> Retrieval:
    """EMG to text and text to EMG (metrics that begin with "text") per hop and per execution, as `metrics` has them."""
    result = Retrieval(dataset, tuple(ids[a] for a in gallery), tuple(ids[a] for a in judged))
    rows = np.asarray(gallery)
    collected: dict[tuple[str, ...], dict[str, list[float]]] = {}
    for w in worn:
        for unit, (z, action) in (("hop", w.hop), ("execution", w.execution)):
            there = np.isin(action, gallery)
            keep = np.isin(action[there], judged)
            if not keep.any():
                continue
            truth = np.searchsorted(rows, action[there])
            for wording, sets in wordings.items():
                each = []
                for prototypes in sets:
                    cosines = z[there] @ prototypes[rows].T
                    each.append(emg_to_text(cosines[keep], truth[keep]) | text_ranking(cosines, truth, truth[keep]))
                for metric in each[0]:
                    people = collected.setdefault((w.placement, wording, unit, metric), {})
                    people.setdefault(w.person, []).append(float(np.mean([one[metric] for one in each])))
    for (placement, wording, unit, metric), people in collected.items():
        place = result.values.setdefault(placement, {}).setdefault(wording, {}).setdefault(unit, {})
        place[metric] = {person: float(np.mean(values)) for person, values in people.items()}
    return result


def text_ranking(cosines: np.ndarray, truth: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """R@1 and mean average precision (percent) of the descriptions `wanted`, each ranking all recordings (n, gallery).

    Recordings of actions that are not asked for take part as distractors.
    """
    first, precision = [], []
    for k in np.unique(wanted):
        found = np.flatnonzero(truth[np.argsort(-cosines[:, k], kind="stable")] == k)
        first.append(found[0] == 0)
        precision.append(np.mean(np.arange(1, len(found) + 1) / (found + 1)))
    return {"text R@1": 100 * float(np.mean(first)), "text mAP": 100 * float(np.mean(precision))}


def confuse(
    dataset: str, worn: Sequence[Worn], present: list[int], catalogue: Catalogue, wordings: Wordings, detailed: str
) -> Confusion:
    """Of hops whose action has its antonym in the gallery: how many are taken for themselves, for it, for others.

    Shares of each action are kept for the wording `detailed`.
    """
    result = Confusion(dataset, tuple(catalogue.ids[a] for a in present))
    rows = np.asarray(present)
    opposite = np.full(len(rows), -1)
    for k, row in enumerate(rows):
        antonym = catalogue[catalogue.ids[row]].antonym
        if antonym and catalogue.ids.index(antonym) in present:
            opposite[k] = present.index(catalogue.ids.index(antonym))
    collected: dict[tuple[str, ...], dict[str, list[float]]] = {}
    by_action: dict[str, dict[str, list[float]]] = {}
    for w in worn:
        z, action = w.hop
        truth = np.searchsorted(rows, action)
        keep = opposite[truth] >= 0
        truth = truth[keep]
        if not keep.any():
            continue
        for wording, sets in wordings.items():
            found = [(z[keep] @ prototypes[rows].T).argmax(axis=1) for prototypes in sets]
            own, other = (np.mean([f == x for f in found], axis=0) for x in (truth, opposite[truth]))
            shares = {"own": 100 * balanced(own, truth), "antonym": 100 * balanced(other, truth)}
            shares["other"] = 100 - shares["own"] - shares["antonym"]
            for what, share in shares.items():
                people = collected.setdefault((w.placement, wording, what), {})
                people.setdefault(w.person, []).append(share)
            if wording == detailed and w.placement == AS_WORN:
                for k in np.unique(truth):
                    entry = by_action.setdefault(catalogue.ids[rows[k]], {"own": [], "antonym": []})
                    entry["own"].append(100 * float(own[truth == k].mean()))
                    entry["antonym"].append(100 * float(other[truth == k].mean()))
    for (placement, wording, what), people in collected.items():
        result.values.setdefault(placement, {}).setdefault(wording, {})[what] = {
            person: float(np.mean(values)) for person, values in people.items()
        }
    result.pairs = {a: {what: float(np.mean(v)) for what, v in entry.items()} for a, entry in by_action.items()}
    return result


def generalise(
    dataset: str,
    worn: Sequence[Worn],
    trained: list[int],
    untrained: list[int],
    ids: tuple[str, ...],
    wordings: Wordings,
    constant: float | None,
) -> Generalised:
    """Recall of both kinds of action where they compete, before and after `constant` is taken from the trained ones."""
    result = Generalised(dataset, tuple(ids[a] for a in trained), tuple(ids[a] for a in untrained))
    rows = np.sort([*trained, *untrained])
    unseen = np.isin(rows, untrained)
    steps = {"before": 0.0} | ({} if constant is None else {"after": constant})
    collected: dict[tuple[str, ...], dict[str, list[float]]] = {}
    for w in worn:
        z, action = w.hop
        truth = np.searchsorted(rows, action)
        kinds = unseen[np.unique(truth)]
        if kinds.all() or not kinds.any():
            continue
        for wording, sets in wordings.items():
            for step, handicap in steps.items():
                each = [recalls(z @ prototypes[rows].T, truth, unseen, handicap) for prototypes in sets]
                for what in each[0]:
                    people = collected.setdefault((w.placement, wording, step, what), {})
                    people.setdefault(w.person, []).append(float(np.mean([one[what] for one in each])))
    for (placement, wording, step, what), people in collected.items():
        place = result.values.setdefault(placement, {}).setdefault(wording, {}).setdefault(step, {})
        place[what] = {person: float(np.mean(values)) for person, values in people.items()}
    return result


def recalls(cosines: np.ndarray, truth: np.ndarray, unseen: np.ndarray, handicap: float) -> dict[str, float]:
    """Recall (percent, balanced) of trained and of untrained actions in one gallery; cosines (n, gallery)."""
    right = (cosines - handicap * ~unseen).argmax(axis=1) == truth
    of_unseen = unseen[truth]
    seen = 100 * balanced(right[~of_unseen], truth[~of_unseen])
    new = 100 * balanced(right[of_unseen], truth[of_unseen])
    return {"trained": seen, "untrained": new, "harmonic mean": 2 * seen * new / max(seen + new, 1e-9)}
