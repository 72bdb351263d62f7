"""The evaluation: retrieval in both directions and calibrated accuracy, both LDA baselines beside it.

People are the unit of every mean and interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from myosem_edge.actions.catalogue import Catalogue
from myosem_edge.actions.table import DescriptionTable
from myosem_edge.calibration.heads import fit_lda
from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.sessions import Session
from myosem_edge.learn.corpus.splits import Split
from myosem_edge.learn.scoring.days import across_days
from myosem_edge.learn.scoring.embed import (
    SETTLE_FRAMES,
    Embedded,
    Encode,
    embed,
    found_shift,
    mean_by_execution,
    torch_encode,
    worn_shift,
)
from myosem_edge.learn.scoring.evaluation import Evaluation, Retrieval
from myosem_edge.learn.scoring.fewshot import BUDGETS, few_shot
from myosem_edge.learn.scoring.landscape import landscape_of
from myosem_edge.learn.scoring.metrics import emg_to_text, merge_groups, text_to_emg
from myosem_edge.learn.scoring.reliability import Bins, brier_temperature, posterior
from myosem_edge.learn.scoring.transitions import transitions
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.learn.teacher.train import align_to
from myosem_edge.runtime.discriminant import Lda

RETRIEVERS = ("descriptions", "log-feature LDA", "Hudgins LDA")
AS_WORN, FOREIGN_SCALE = "as worn", "as worn, scale of the training people"
RING_FOUND, RING_KNOWN = "ring found without labels", "ring from one repetition"
NEVER = -1e6  # log posterior of an action that a discriminant does not know
POPULATION_STRIDE = 4  # every fourth hop is plenty for a population LDA


class Placement(NamedTuple):
    """What is known of a new person besides the signal: how the ring's rotation is found, if it is; whether the input
    scale is their own.
    """

    ring: Literal["", "unlabelled", "labelled"]
    own_scale: bool


PLACEMENTS = {
    AS_WORN: Placement("", True),
    RING_FOUND: Placement("unlabelled", True),
    RING_KNOWN: Placement("labelled", True),
}
STRICT_PLACEMENTS = {**PLACEMENTS, FOREIGN_SCALE: Placement("", False)}


class Gallery(NamedTuple):
    """Which descriptions compete (rows of the catalogue) and on which true actions that is judged."""

    question: str
    rows: list[int]
    judged: list[int]


SHOWN, ALL_JUDGED, TRAINED = "all shown", "all judged together", "trained on"
UNSEEN_AMONG_ALL, UNSEEN_ALONE = "never trained on, among all", "never trained on, alone"


def evaluate(
    trained: Trained,
    split: Split,
    sessions: Sequence[Session],
    catalogue: Catalogue,
    table: DescriptionTable,
    *,
    budgets: Sequence[str] = BUDGETS,
    datasets: Sequence[str] = (),
    placements: Mapping[str, Placement] = PLACEMENTS,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Evaluation:
    """Judge on what the split kept apart. The population LDAs see exactly what the encoder was trained on.

    Input scale: the RMS of the judged session itself for retrieval (every action weighing the same, so it knows the
    session's labels), or the geometric mean of the training sessions where the placement says so; the calibration
    repetitions for few-shot. `datasets` narrows who is judged; `sessions` must hold everyone, because folds are counted
    over all people.

    Raises:
        InputError: nobody to judge or to fit the population baselines on, or a judged person was trained on.
    """
    training = _labelled(split.training(sessions, catalogue))
    judged = _labelled(split.judged(sessions, catalogue))
    if datasets:
        known = sorted({session.dataset for session in judged})
        if foreign := [name for name in datasets if name not in known]:
            raise InputError(
                f"this split keeps nothing of {foreign[0]} apart",
                expected=f"one of: {', '.join(known)}" if known else None,
                todo="Leave --dataset out to judge everything that the checkpoint was not trained on",
            )
        judged = [session for session in judged if session.dataset in datasets]
    if not training or not judged:
        raise InputError(
            "an evaluation needs recordings that were trained on and others that were not",
            found=f"{len(training)} and {len(judged)} sessions",
            todo="Give the folder with every data set of the training",
        )
    trained_on = {f"{name}/{who}" for name, people in trained.provenance.get("people", {}).items() for who in people}
    both = sorted(trained_on & {session.person for session in judged})
    if both and not split.same_people:
        raise InputError(
            "a judged person was trained on",
            found=", ".join(both[:5]),
            todo="Give the folder of the training: folds are counted over the people in it",
        )
    judge = _Judge(trained, training, catalogue, table, placements, progress)
    result = Evaluation(split, len({s.person for s in training}), temperature=judge.temperature)
    seen = set(_actions(training))
    for dataset in sorted({s.dataset for s in judged}):
        mine = [s for s in judged if s.dataset == dataset]
        galleries = _galleries(_actions(mine), _actions(judged), seen)
        result.retrieval += judge.retrieve(mine, dataset, galleries, result)
        if budgets and not split.same_people and not split.held_actions:
            progress(f"few-shot {dataset}", 0, 1)
            result.few_shot[dataset] = few_shot(mine, trained, judge.encode, catalogue.ids, judge.prototypes, budgets)
        early = [s for s in training if s.dataset == dataset] if split.kind == "days" else _first_half(mine)
        later = [s for s in mine if s not in early]
        if budgets and not split.held_actions and (split.kind == "days" or not split.same_people):
            progress(f"across days {dataset}", 0, 1)
            days = across_days(early, later, trained, judge.encode, catalogue.ids, judge.prototypes)
            result.days |= {dataset: days} if days else {}
        if budgets and not split.held_actions and not split.same_people:
            tallies = transitions(
                mine,
                trained,
                judge.encode,
                catalogue.ids,
                judge.prototypes,
                progress=lambda done, total, name=dataset: progress(f"streams {name}", done, total),  # type: ignore[misc]
            )
            counts = {head: {who: t.to_dict() for who, t in people.items()} for head, people in tallies.items()}
            result.transitions |= {dataset: counts} if counts else {}
    return result


class _Judge:
    """What retrieval needs, made once: encoder, prototypes, both population LDAs, temperature, foreign scale."""

    def __init__(
        self,
        trained: Trained,
        training: Sequence[Session],
        catalogue: Catalogue,
        table: DescriptionTable,
        placements: Mapping[str, Placement],
        progress: Callable[[str, int, int], None],
    ) -> None:
        self.trained, self.ids, self.placements, self.progress = trained, catalogue.ids, placements, progress
        self.groups = np.array([_group_number(catalogue, action) for action in catalogue.ids])
        self.encode: Encode = torch_encode(trained)
        self.prototypes = trained.prototypes(table).numpy()
        align_to(training, trained.ring_templates, catalogue)
        self.population = _population(training, progress)
        self.temperature = self._temperature(training)
        self.foreign_scale = np.exp(np.mean([np.log(s.scale) for s in training], axis=0))

    def _temperature(self, training: Sequence[Session]) -> float:
        """Least Brier score on one session of each training person, among the actions that were trained on."""
        rows = np.asarray(_actions(training))
        first = {session.person: session for session in reversed(training)}
        similarities, truths = [], []
        for number, session in enumerate(first.values()):
            self.progress("temperature", number + 1, len(first))
            e = embed(session, self.encode, shift=session.shift)
            similarities.append((e.z @ self.prototypes[rows].T)[::POPULATION_STRIDE])
            truths.append(np.searchsorted(rows, e.action)[::POPULATION_STRIDE])
        return brier_temperature(np.concatenate(similarities), np.concatenate(truths))

    def retrieve(
        self, sessions: Sequence[Session], dataset: str, galleries: Sequence[Gallery], result: Evaluation
    ) -> list[Retrieval]:
        """One table per gallery; the first one's confusion, reliability and map go with it."""
        people = tuple(sorted({s.person for s in sessions}))
        tables = [_Table(dataset, gallery, people, self.ids, self.groups) for gallery in galleries]
        bins = {name: Bins() for name in self.placements}
        means: list[tuple[np.ndarray, np.ndarray]] = []
        turning = all(
            self._can_be_turned(session) for session in sessions
        )  # all or none, so that means are of the same
        for number, session in enumerate(sessions):
            self.progress(f"retrieval {dataset}", number + 1, len(sessions))
            for name, placement in self.placements.items():
                if placement.ring and not turning:
                    continue
                scale = session.scale if placement.own_scale else self.foreign_scale
                e = embed(session, self.encode, scale=scale, shift=self._shift(session, placement, scale))
                for table in tables:
                    table.add(name, session.person, e, self.prototypes, self.population)
                rows = np.asarray(galleries[0].rows)
                p = posterior(e.z @ self.prototypes[rows].T, self.temperature)
                bins[name].add(p, np.searchsorted(rows, e.action), session.person)
                if name == AS_WORN:
                    means.append(mean_by_execution(e.execution, e.action, e.z))
        result.reliability[dataset] = {name: each.curve() for name, each in bins.items() if each.people}
        result.landscape[dataset] = landscape_of(means, self.prototypes, galleries[0].rows, self.ids)
        return [table.retrieval() for table in tables]

    def _shift(self, session: Session, placement: Placement, scale: np.ndarray) -> int:
        if placement.ring == "labelled":
            return worn_shift(session, self.trained, self.ids, {min(_repetitions(session))})
        if placement.ring == "unlabelled":
            return found_shift(session, self.trained, self.ids, self.encode, self.prototypes, scale)
        return 0

    def _can_be_turned(self, session: Session) -> bool:
        """Whether the ring's rotation can be found: not where electrodes have places of their own, nor from actions
        that no template knows.
        """
        first = min(_repetitions(session))
        shown = {
            self.ids[a] for clip in session.clips for a in np.unique(clip.action[clip.repetition == first]) if a >= 0
        }
        return session.montage.layout == "ring" and not shown.isdisjoint(self.trained.ring_templates)


class _Table:
    """Figures of one gallery, collected session by session."""

    def __init__(
        self, dataset: str, gallery: Gallery, people: tuple[str, ...], ids: tuple[str, ...], groups: np.ndarray
    ) -> None:
        self.gallery, self.rows = gallery, np.asarray(gallery.rows)
        self.result = Retrieval(
            dataset,
            gallery.question,
            tuple(ids[a] for a in gallery.rows),
            people,
            tuple(ids[a] for a in gallery.judged),
        )
        _, self.groups = np.unique(groups[self.rows], return_inverse=True)
        sizes = np.bincount(self.groups)
        if len(sizes) < len(self.rows):
            self.result.merged = len(sizes)
            own = sizes[self.groups[np.searchsorted(self.rows, gallery.judged)]]
            self.result.group_chance = float(100 * own.mean() / len(self.rows))
        self.collected: dict[tuple[str, str, str, str], dict[str, list[float]]] = {}
        self.counts: dict[str, dict[str, np.ndarray]] = {}

    def add(
        self,
        placement: str,
        person: str,
        e: Embedded,
        prototypes: np.ndarray,
        population: dict[str, tuple[Lda, np.ndarray]],
    ) -> None:
        keep = np.isin(e.action, self.gallery.judged)
        if not keep.any():
            return
        shown = np.isin(e.action, self.rows)  # what a description is looked for in: not only what it is judged on
        own = np.searchsorted(self.rows, self.gallery.judged)
        for retriever, scores in _scores(e, self.rows, prototypes, population).items():
            searched = _units(e, scores, shown)
            for unit, (similarity, truth) in _units(e, scores, keep).items():
                truth = np.searchsorted(self.rows, truth)
                metrics = emg_to_text(similarity, truth)
                every, whose = searched[unit]
                found = text_to_emg(every, np.searchsorted(self.rows, whose), own)
                metrics |= {f"text {name}": value for name, value in found.items()}
                if self.result.merged:
                    merged = emg_to_text(merge_groups(similarity, self.groups), self.groups[truth], by=truth)
                    metrics["group R@1"] = merged["R@1"]
                for metric, value in metrics.items():
                    key = (placement, retriever, unit, metric)
                    self.collected.setdefault(key, {}).setdefault(person, []).append(value)
            if retriever == RETRIEVERS[0]:
                truth = np.searchsorted(self.rows, e.action[keep])
                counts = self.counts.setdefault(placement, {}).setdefault(person, np.zeros((len(self.rows),) * 2))
                np.add.at(counts, (truth, scores[keep].argmax(axis=1)), 1)

    def retrieval(self) -> Retrieval:
        for (placement, retriever, unit, metric), people in self.collected.items():
            place = self.result.values.setdefault(placement, {}).setdefault(retriever, {}).setdefault(unit, {})
            place[metric] = {person: float(np.mean(values)) for person, values in people.items()}
        judged = np.searchsorted(self.rows, self.gallery.judged)
        for placement, counted in self.counts.items():
            shares = np.stack([counts[judged] for counts in counted.values()])  # (people, judged, gallery)
            hops = shares.sum(axis=2, keepdims=True)
            mean = np.where(hops > 0, 100 * shares / np.maximum(hops, 1), 0).sum(axis=0) / (hops > 0).sum(axis=0)
            self.result.confusion[placement] = np.round(mean, 2).tolist()
        return self.result


def _first_half(sessions: Sequence[Session]) -> list[Session]:
    """The earlier sessions of everybody who has several, by name."""
    of: dict[str, list[Session]] = {}
    for session in sorted(sessions, key=lambda s: s.name):
        of.setdefault(session.person, []).append(session)
    return [s for mine in of.values() if len(mine) > 1 for s in mine[: len(mine) // 2]]


def _labelled(sessions: Sequence[Session]) -> list[Session]:
    """Those with a hop that is judged at all."""
    return [s for s in sessions if any((clip.action[SETTLE_FRAMES:] >= 0).any() for clip in s.clips)]


def _actions(sessions: Sequence[Session]) -> list[int]:
    return sorted({int(a) for s in sessions for clip in s.clips for a in np.unique(clip.action) if a >= 0})


def _group_number(catalogue: Catalogue, action: str) -> int:
    """The first action of a semantic group stands for all of it."""
    return min(catalogue.ids.index(name) for name in (action, *catalogue.neighbours(action)))


def _galleries(present: list[int], everything: list[int], seen: set[int]) -> list[Gallery]:
    """What a data set shows, what all judged ones show together, and unseen actions.

    Actions that were never trained on are judged in a gallery of their own and in the generalised one, where seen
    actions compete.
    """
    unseen = [a for a in present if a not in seen]
    known = [a for a in present if a in seen]
    if not known:
        everything = sorted({*unseen, *seen})
        alone = [Gallery(UNSEEN_ALONE, unseen, unseen)] if len(unseen) > 1 else []  # one alone is always right
        return [*alone, Gallery(UNSEEN_AMONG_ALL, everything, unseen)]
    galleries = [Gallery(SHOWN, present, present)]
    if everything != present:
        galleries.append(Gallery(ALL_JUDGED, everything, present))
    if unseen:
        galleries += [Gallery(TRAINED, known, known), Gallery(UNSEEN_AMONG_ALL, present, unseen)]
    if len(unseen) > 1:
        galleries.append(Gallery(UNSEEN_ALONE, unseen, unseen))
    return galleries


def _repetitions(session: Session) -> set[int]:
    return {int(r) for clip in session.clips for r in np.unique(clip.repetition[clip.action >= 0])}


def _scores(
    e: Embedded, rows: np.ndarray, prototypes: np.ndarray, population: dict[str, tuple[Lda, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Similarity (n, gallery) of every retriever. A discriminant can never name an action it was not fitted on."""
    scores = {"descriptions": e.z @ prototypes[rows].T}
    for name, features in (("log-feature LDA", e.log_features), ("Hudgins LDA", e.hudgins)):
        lda, classes = population[name]
        known = np.isin(rows, classes)
        if known.any():
            posterior = np.full((len(features), len(rows)), NEVER)
            posterior[:, known] = lda.log_posteriors(features)[:, np.searchsorted(classes, rows[known])]
            scores[name] = posterior
    return scores


def _units(e: Embedded, scores: np.ndarray, keep: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {
        "window": (scores[keep], e.action[keep]),
        "execution": mean_by_execution(e.execution[keep], e.action[keep], scores[keep]),
    }


def _population(
    sessions: Sequence[Session], progress: Callable[[str, int, int], None]
) -> dict[str, tuple[Lda, np.ndarray]]:
    """Both LDAs on the training people, rings aligned and channels scaled exactly as for the encoder."""
    logs, huds, labels = [], [], []
    for number, session in enumerate(sessions):
        progress("population LDA", number + 1, len(sessions))
        e = embed(session, None, shift=session.shift)
        logs.append(e.log_features[::POPULATION_STRIDE])
        huds.append(e.hudgins[::POPULATION_STRIDE])
        labels.append(e.action[::POPULATION_STRIDE])
    y = np.concatenate(labels)
    classes = np.unique(y)
    rows = np.searchsorted(classes, y)
    return {
        "log-feature LDA": (fit_lda(np.concatenate(logs), rows, len(classes)), classes),
        "Hudgins LDA": (fit_lda(np.concatenate(huds), rows, len(classes)), classes),
    }
