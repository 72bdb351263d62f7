"""The evaluation table: retrieval in both directions and calibrated accuracy, both LDA baselines beside it.

People are the unit of every mean and interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from myosem_edge.actions.catalogue import Catalogue
from myosem_edge.actions.table import DescriptionTable
from myosem_edge.calibration.heads import fit_lda
from myosem_edge.errors import InputError
from myosem_edge.learn.checkpoint import Trained
from myosem_edge.learn.embed import Embedded, Encode, embed, mean_by_execution, torch_encode, worn_shift
from myosem_edge.learn.fewshot import BUDGETS, HEADS, few_shot
from myosem_edge.learn.metrics import Interval, emg_to_text, error_ratio, over_people, paired, text_to_emg
from myosem_edge.learn.sessions import Session
from myosem_edge.learn.splits import Split
from myosem_edge.learn.train import align_to
from myosem_edge.runtime.discriminant import Lda

RETRIEVERS = ("descriptions", "log-feature LDA", "Hudgins LDA")
PLACEMENTS = {"as worn": False, "ring from one repetition": True}
RETRIEVAL_COLUMNS = (
    "placement",
    "retriever",
    "R@1 hop",
    "R@1 execution",
    "R@5 hop",
    "MRR hop",
    "mAP text→EMG hop",
    "mAP text→EMG execution",
    "R@1 hop minus descriptions",
)
NEVER = -1e6  # log posterior of an action that a discriminant does not know
POPULATION_STRIDE = 4  # every fourth hop is plenty for a population LDA

People = dict[str, float]


@dataclass
class Retrieval:
    """One gallery of one data set. values[placement][retriever][unit][metric][person], in percent."""

    dataset: str
    gallery: tuple[str, ...]
    people: tuple[str, ...]
    judged: tuple[str, ...]
    values: dict[str, dict[str, dict[str, dict[str, People]]]] = field(default_factory=dict)

    @property
    def chance(self) -> float:
        return 100.0 / len(self.gallery)


@dataclass
class Evaluation:
    """Everything `evaluate` measured."""

    split: Split
    trained_people: int
    retrieval: list[Retrieval]
    few_shot: dict[str, dict[str, dict[str, dict[str, People]]]]  # by data set

    def to_dict(self) -> dict[str, Any]:
        return {
            "split": self.split.to_dict(),
            "trained_people": self.trained_people,
            "retrieval": [
                {"dataset": r.dataset, "gallery": r.gallery, "judged": r.judged, "chance": r.chance, "people": r.people}
                | {"values": r.values}
                for r in self.retrieval
            ],
            "few_shot": self.few_shot,
        }


def evaluate(
    trained: Trained,
    split: Split,
    sessions: Sequence[Session],
    catalogue: Catalogue,
    table: DescriptionTable,
    *,
    budgets: Sequence[str] = BUDGETS,
    datasets: Sequence[str] = (),
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Evaluation:
    """Judge on the split's judged people. Input scale: RMS of the session's unlabelled signal for retrieval, of the
    calibration repetitions for few-shot. The population LDAs see exactly the people the encoder was trained on.
    `datasets` narrows who is judged; `sessions` must hold everyone, because folds are counted over all people.

    Raises:
        InputError: nobody to judge or to fit the population baselines on, or a judged person was trained on.
    """
    ids = catalogue.ids
    encode = torch_encode(trained)
    training, judged = split.training(sessions, catalogue), split.judged(sessions)
    if datasets:
        judged = [session for session in judged if session.dataset in datasets]
    if not training or not judged:
        raise InputError(
            "an evaluation needs people who were trained on and people who were not",
            found=f"{len(training)} and {len(judged)} sessions",
            todo="Give the folder with every data set of the training",
        )
    trained_on = {f"{name}/{who}" for name, people in trained.provenance.get("people", {}).items() for who in people}
    both = sorted(trained_on & {session.person for session in judged})
    if both and split.kind != "repetition":
        raise InputError(
            "a judged person was trained on",
            found=", ".join(both[:5]),
            todo="Give the folder of the training: folds are counted over the people in it",
        )
    population = _population(training, trained, catalogue, progress)
    prototypes = trained.prototypes(table).numpy()
    result = Evaluation(split, len({s.person for s in training}), [], {})
    for dataset in sorted({s.dataset for s in judged}):
        mine = [s for s in judged if s.dataset == dataset]
        for gallery, shown in _galleries(_actions(mine), _actions(judged), set(_actions(training))):
            result.retrieval.append(
                _retrieve(mine, dataset, gallery, shown, trained, encode, population, prototypes, ids, progress)
            )
        if budgets and split.kind != "repetition" and not split.held_actions:
            progress(f"few-shot {dataset}", 0, 1)
            result.few_shot[dataset] = few_shot(mine, trained, encode, ids, prototypes, budgets)
    return result


def _retrieve(
    sessions: Sequence[Session],
    dataset: str,
    gallery: list[int],
    judged_actions: list[int],
    trained: Trained,
    encode: Encode,
    population: dict[str, tuple[Lda, np.ndarray]],
    prototypes: np.ndarray,
    ids: tuple[str, ...],
    progress: Callable[[str, int, int], None],
) -> Retrieval:
    judged_people = tuple(sorted({s.person for s in sessions}))
    result = Retrieval(dataset, tuple(ids[a] for a in gallery), judged_people, tuple(ids[a] for a in judged_actions))
    collected: dict[tuple[str, str, str, str], dict[str, list[float]]] = {}
    rows = np.asarray(gallery)
    for number, session in enumerate(sessions):
        progress(f"retrieval {dataset}", number + 1, len(sessions))
        for placement, aligned in PLACEMENTS.items():
            shift = worn_shift(session, trained, ids, {int(min(clip_repetitions(session)))}) if aligned else 0
            e = embed(session, encode, shift=shift)
            keep = np.isin(e.action, judged_actions)
            if not keep.any():
                continue
            for retriever, scores in _scores(e, rows, prototypes, population).items():
                for unit, (similarity, truth) in _units(e, scores, keep).items():
                    truth = np.searchsorted(rows, truth)
                    metrics = emg_to_text(similarity, truth)
                    metrics |= {f"text {name}": value for name, value in text_to_emg(similarity, truth).items()}
                    for metric, value in metrics.items():
                        key = (placement, retriever, unit, metric)
                        collected.setdefault(key, {}).setdefault(session.person, []).append(value)
    for (placement, retriever, unit, metric), people in collected.items():
        place = result.values.setdefault(placement, {}).setdefault(retriever, {}).setdefault(unit, {})
        place[metric] = {person: float(np.mean(values)) for person, values in people.items()}
    return result


def _actions(sessions: Sequence[Session]) -> list[int]:
    return sorted({int(a) for s in sessions for clip in s.clips for a in np.unique(clip.action) if a >= 0})


def _galleries(present: list[int], everything: list[int], seen: set[int]) -> list[tuple[list[int], list[int]]]:
    """(gallery, judged actions) pairs: what a data set shows, what all judged ones show together, and unseen actions.

    Actions that were never trained on are judged in a gallery of their own and in the generalised one, where seen
    actions compete.
    """
    unseen = [a for a in present if a not in seen]
    known = [a for a in present if a in seen]
    pairs = [(present, present)]
    if everything != present:
        pairs.append((everything, present))
    if unseen and known:
        pairs += [(known, known), (present, unseen)]
    if len(unseen) > 1:
        pairs.append((unseen, unseen))
    return pairs


def clip_repetitions(session: Session) -> set[int]:
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
    sessions: Sequence[Session], trained: Trained, catalogue: Catalogue, progress: Callable[[str, int, int], None]
) -> dict[str, tuple[Lda, np.ndarray]]:
    """Both LDAs on the training people, rings aligned and channels scaled exactly as for the encoder."""
    align_to(sessions, trained.ring_templates, catalogue)
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


def to_markdown(e: Evaluation) -> str:
    """The tables as they are committed: mean over people, 95 % bootstrap interval over people, paired differences."""
    held = f", fold {e.split.fold}" if e.split.kind in ("user", "class") else ""
    lines = [f"### {e.split.family} model, {e.split.kind} split{held} (trained on {e.trained_people} people)", ""]
    for r in e.retrieval:
        what = f"gallery {len(r.gallery)}, chance R@1 {r.chance:.1f}"
        if set(r.judged) != set(r.gallery):
            what += f", judged on {len(r.judged)} of them ({', '.join(r.judged)})"
        lines += [f"**{r.dataset}**, {len(r.people)} people, {what}: {', '.join(r.gallery)}", ""]
        lines += [
            "| " + " | ".join(RETRIEVAL_COLUMNS) + " |",
            "|---" * len(RETRIEVAL_COLUMNS) + "|",
        ]
        for placement, retrievers in r.values.items():
            ours = retrievers["descriptions"]["window"]["R@1"]
            for retriever in RETRIEVERS:
                if retriever in retrievers:
                    v = retrievers[retriever]
                    difference = "" if retriever == "descriptions" else str(paired(v["window"]["R@1"], ours))
                    cells = [
                        str(over_people(v["window"]["R@1"])),
                        str(over_people(v["execution"]["R@1"])),
                        f"{over_people(v['window']['R@5']).mean:.1f}",
                        f"{over_people(v['window']['MRR']).mean:.1f}",
                        f"{over_people(v['window']['text mAP']).mean:.1f}",
                        f"{over_people(v['execution']['text mAP']).mean:.1f}",
                        difference,
                    ]
                    lines.append(f"| {placement} | {retriever} | " + " | ".join(cells) + " |")
        lines.append("")
    for dataset, budgets in e.few_shot.items():
        lines += [f"**{dataset}**, calibrated, percent right per hop / per execution", ""]
        lines += [
            "| calibration | " + " | ".join(HEADS) + " | error relative to log-feature LDA |",
            "|---" * (len(HEADS) + 2) + "|",
        ]
        for budget, units in budgets.items():
            cells = [
                f"{over_people(units['window'][h]).mean:.1f} / {over_people(units['execution'][h]).mean:.1f}"
                for h in HEADS
            ]
            ratio = _ratio(error_ratio(units["window"]["calibrated head"], units["window"]["log-feature LDA"]))
            name = budget if budget.endswith("s") else f"{budget} repetition{'s' if budget != '1' else ''}"
            lines.append(f"| {name} | " + " | ".join(cells) + f" | {ratio} |")
        lines.append("")
    return "\n".join(lines)


def _ratio(i: Interval) -> str:
    return f"{i.mean:.2f}" if np.isnan(i.low) else f"{i.mean:.2f} [{i.low:.2f}, {i.high:.2f}]"
