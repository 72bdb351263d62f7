"""Open vocabulary, measured: what free sentences find, among texts and in the EMG of people who were not trained on.

Paraphrases that nothing ever learnt from stand in for free text. People are the unit of every mean over EMG.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from myosem_edge.actions.catalogue import Catalogue
from myosem_edge.actions.paraphrases import REGISTERS, ParaphraseTable
from myosem_edge.actions.table import DescriptionTable
from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.sessions import Session
from myosem_edge.learn.corpus.splits import Split
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.learn.vocabulary.sentences import (
    AntonymPair,
    SynonymGroup,
    TextRetrieval,
    antonym_pairs,
    placements,
    synonym_groups,
    text_retrieval,
)
from myosem_edge.learn.vocabulary.signals import (
    Confusion,
    Generalised,
    Retrieval,
    Wordings,
    Worn,
    can_be_turned,
    confuse,
    generalise,
    judgeable,
    recalls,
    retrieve,
    wear,
)

CATALOGUE, NAME, ONE, FIVE = "catalogue, four views", "catalogue, name alone", "one paraphrase", "five paraphrases"
COMPOSED = "composed of its parts"
# What a chosen constant is looked for among: cosines differ by less than this grid's end.
STACKING_GRID = np.round(np.arange(0.0, 0.8001, 0.01), 2)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Stacking:
    """The constant taken from the cosine of trained actions, and what it was chosen on."""

    constant: float
    people: int
    hidden: tuple[str, ...]


@dataclass
class Vocabulary:
    """Everything `vocabulary` measured."""

    split: Split
    actions: tuple[str, ...]  # trained on
    placements: dict[str, dict[str, float]]
    text: list[TextRetrieval]
    antonyms: list[AntonymPair]
    groups: list[SynonymGroup]
    retrieval: list[Retrieval] = field(default_factory=list)
    confusion: list[Confusion] = field(default_factory=list)
    composition: list[Retrieval] = field(default_factory=list)
    generalised: list[Generalised] = field(default_factory=list)
    stacking: Stacking | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "split": self.split.to_dict(),
            "actions": self.actions,
            "placements": self.placements,
            "text": [t.to_dict() for t in self.text],
            "antonyms": [a.to_dict() for a in self.antonyms],
            "groups": [g.to_dict() for g in self.groups],
            "retrieval": [r.to_dict() for r in self.retrieval],
            "confusion": [asdict(c) for c in self.confusion],
            "composition": [r.to_dict() for r in self.composition],
            "generalised": [asdict(g) for g in self.generalised],
            "stacking": None if self.stacking is None else asdict(self.stacking),
        }


def measure_vocabulary(
    trained: Trained,
    split: Split,
    sessions: Sequence[Session],
    catalogue: Catalogue,
    table: DescriptionTable,
    paraphrases: ParaphraseTable,
    *,
    inner: Trained | None = None,
    datasets: Sequence[str] = (),
    progress: Progress = lambda stage, done, total: None,
) -> Vocabulary:
    """Judge on the split's judged people; `sessions` must hold everyone, because folds are counted over all people.

    `inner` is a checkpoint that was trained on some of the same people and some of the same actions: the handicap of
    trained actions is chosen on those actions that it has not met, on those people.

    Raises:
        InputError: nobody to judge, a judged person was trained on, or `inner` is of no use here.
    """
    kept = judgeable(split.judged(sessions, catalogue), catalogue.ids)
    judged = [s for s in kept if not datasets or s.dataset in datasets]
    if not judged:
        raise InputError("nobody is left to judge", todo="Give the folder with every data set of the training")
    both = sorted(_people(trained) & {s.person for s in judged})
    if both and not split.same_people:
        raise InputError(
            "a judged person was trained on",
            found=", ".join(both[:5]),
            todo="Give the folder of the training: folds are counted over the people in it",
        )
    seen = tuple(trained.provenance["actions"])
    result = Vocabulary(
        split,
        seen,
        placements(trained, table),
        text_retrieval(trained, catalogue, table, paraphrases, seen),
        antonym_pairs(trained, catalogue, table, seen),
        synonym_groups(trained, catalogue, table),
    )
    if inner is not None:
        result.stacking = choose_stacking(inner, trained, sessions, catalogue, table, progress)
    wordings = _wordings(trained, catalogue, table, paraphrases)
    for dataset in sorted({s.dataset for s in judged}):
        worn = []
        mine = [s for s in judged if s.dataset == dataset]
        turning = all(can_be_turned(s, trained, catalogue.ids) for s in mine)
        for number, session in enumerate(mine):
            progress(f"embed {dataset}", number + 1, len(mine))
            worn += wear(session, trained, catalogue.ids, turning)
        progress(f"measure {dataset}", 1, 1)
        _judge(result, dataset, worn, catalogue, wordings)
    return result


def choose_stacking(
    inner: Trained,
    outer: Trained,
    sessions: Sequence[Session],
    catalogue: Catalogue,
    table: DescriptionTable,
    progress: Progress = lambda stage, done, total: None,
) -> Stacking:
    """The handicap of trained actions (calibrated stacking, Chao et al. 2016) with the best mean over people of the
    harmonic mean of both recalls per hop, ring from one repetition if it can be; the smaller one of equals.

    Only people and actions that `outer` was trained on take part, and of the actions those that `inner` was not.

    Raises:
        InputError: `inner` met every action that `outer` did, or was trained on people that `outer` was not.
    """
    hidden = [a for a in outer.provenance["actions"] if a not in inner.provenance["actions"]]
    known = [a for a in outer.provenance["actions"] if a in inner.provenance["actions"]]
    foreign = sorted(_people(inner) - _people(outer))
    if not hidden or not known or foreign:
        found = f"people that this one was not: {', '.join(foreign[:3])}" if foreign else "every action of this one"
        raise InputError(
            "the constant must be chosen on actions kept from people who were trained on",
            where="--inner",
            found=f"trained on {found}",
            todo="Train it like this one, with --set hidden_actions=...",
        )
    rows = np.sort([catalogue.ids.index(a) for a in (*hidden, *known)])
    unseen = np.isin(rows, [catalogue.ids.index(a) for a in hidden])
    prototypes = inner.prototypes(table).numpy()[rows]
    collected: dict[str, list[np.ndarray]] = {}
    chosen = [s for s in judgeable(sessions, catalogue.ids) if s.person in _people(inner)]
    for number, session in enumerate(chosen):
        progress("choose the constant", number + 1, len(chosen))
        turning = can_be_turned(session, inner, catalogue.ids)
        z, action = wear(session, inner, catalogue.ids, turning)[-1].hop
        keep = np.isin(action, rows)
        truth = np.searchsorted(rows, action[keep])
        if unseen[np.unique(truth)].any() and not unseen[np.unique(truth)].all():
            cosines = z[keep] @ prototypes.T
            curve = [recalls(cosines, truth, unseen, constant)["harmonic mean"] for constant in STACKING_GRID]
            collected.setdefault(session.person, []).append(np.asarray(curve))
    if not collected:
        raise InputError("nobody shows the hidden actions beside others", where="--inner", found=", ".join(hidden))
    curve = np.mean([np.mean(curves, axis=0) for curves in collected.values()], axis=0)
    return Stacking(float(STACKING_GRID[int(curve.argmax())]), len(collected), tuple(hidden))


def compose(prototypes: np.ndarray, catalogue: Catalogue) -> np.ndarray:
    """Prototypes (catalogue, embedding) in which every compound is the normalised sum of its parts."""
    composed = prototypes.copy()
    for row, action in enumerate(catalogue.actions.values()):
        if action.composed_of:
            total = prototypes[[catalogue.ids.index(part) for part in action.composed_of]].sum(axis=0)
            composed[row] = total / np.linalg.norm(total)
    return composed


def _people(trained: Trained) -> set[str]:
    return {f"{name}/{who}" for name, people in trained.provenance.get("people", {}).items() for who in people}


def _wordings(
    trained: Trained, catalogue: Catalogue, table: DescriptionTable, paraphrases: ParaphraseTable
) -> Wordings:
    own = trained.prototypes(table).numpy()
    names = trained.place(torch.from_numpy(table.vectors[:, 0])).numpy()
    rows = [table.ids.index(action) for action in paraphrases.ids]
    said = np.full((len(REGISTERS), *own.shape), np.nan, dtype=own.dtype)
    for r in range(len(REGISTERS)):
        said[r, rows] = trained.place(torch.from_numpy(paraphrases.vectors[:, r])).numpy()
    together = said.mean(axis=0)
    together /= np.linalg.norm(together, axis=-1, keepdims=True)
    return {CATALOGUE: [own], NAME: [names], ONE: list(said), FIVE: [together], COMPOSED: [compose(own, catalogue)]}


def _judge(result: Vocabulary, dataset: str, worn: Sequence[Worn], catalogue: Catalogue, wordings: Wordings) -> None:
    present = sorted({int(a) for w in worn for a in np.unique(w.hop[1])})
    trained = [a for a in present if catalogue.ids[a] in result.actions]
    untrained = [a for a in present if a not in trained]
    spoken = {name: wordings[name] for name in (CATALOGUE, NAME, ONE, FIVE)}
    galleries = [(present, present)]
    # Where untrained actions alone are judged, trained ones compete all the same: a gallery has no borders for a user.
    everything = present if trained else sorted({*present, *map(catalogue.ids.index, result.actions)})
    if trained and untrained:
        galleries += [(trained, trained)]
    if untrained and everything != untrained:
        galleries += [(everything, untrained)]
    if len(untrained) > 1 and untrained != present:
        galleries.append((untrained, untrained))
    result.retrieval += [
        retrieve(dataset, worn, *pair, catalogue.ids, spoken) for pair in galleries if len(pair[0]) > 1
    ]
    if any(catalogue.ids.index(a) in present for k in present if (a := catalogue[catalogue.ids[k]].antonym)):
        result.confusion.append(confuse(dataset, worn, present, catalogue, spoken, CATALOGUE))
    compounds = [
        a
        for a in untrained
        if (parts := catalogue[catalogue.ids[a]].composed_of) and all(part in result.actions for part in parts)
    ]
    if len(compounds) > 1:
        made = _of_untrained(wordings, (CATALOGUE, COMPOSED, ONE), untrained)
        for gallery in (compounds, everything):
            result.composition.append(retrieve(dataset, worn, gallery, compounds, catalogue.ids, made))
    if trained and untrained:
        named = (CATALOGUE, ONE, *((COMPOSED,) if compounds else ()))
        made = _of_untrained(wordings, named, untrained)
        constant = None if result.stacking is None else result.stacking.constant
        result.generalised.append(generalise(dataset, worn, trained, untrained, catalogue.ids, made, constant))


def _of_untrained(wordings: Wordings, names: Sequence[str], untrained: list[int]) -> Wordings:
    """Those wordings for the untrained actions alone: trained ones keep the catalogue's texts they were trained on."""
    (own,) = wordings[CATALOGUE]
    made: Wordings = {}
    for name in names:
        made[name] = [own.copy() for _ in wordings[name]]
        for mixed, prototypes in zip(made[name], wordings[name], strict=True):
            mixed[untrained] = prototypes[untrained]
    return made
