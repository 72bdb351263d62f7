"""One training on one split and its evaluation, resumable, with everything a checkpoint must say of itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from myosem_edge import __version__
from myosem_edge.actions.catalogue import OWN, Catalogue
from myosem_edge.actions.table import DescriptionTable
from myosem_edge.files import write_atomic
from myosem_edge.learn.corpus.sessions import Session
from myosem_edge.learn.corpus.splits import FAMILIES, Split
from myosem_edge.learn.scoring.evaluate import PLACEMENTS, Placement, evaluate
from myosem_edge.learn.scoring.evaluation import Evaluation
from myosem_edge.learn.scoring.fewshot import BUDGETS
from myosem_edge.learn.teacher import parallel
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.learn.teacher.train import Progress, TrainConfig, train

CHECKPOINT, EVALUATION = "teacher.safetensors", "evaluation.json"

Bar = Callable[[str, int, int, str], None]  # stage, done, total, note


def train_split(
    split: Split,
    sessions: Sequence[Session],
    config: TrainConfig,
    catalogue: Catalogue,
    table: DescriptionTable,
    *,
    folder: Path,
    start: Trained | None = None,
    device: str = "cpu",
    compiled: bool = False,
    progress: Progress = lambda step, numbers: None,
) -> Trained:
    """Train on a split, from `start` if there is one, or go on where an interrupted run in `folder` stopped; the
    checkpoint is written there, of several processes by the first.

    Raises:
        InputError: nobody to train on, or `folder` holds another run.
    """
    training = split.training(sessions, catalogue)
    trained = train(
        config,
        training,
        catalogue,
        without(table, held_texts(split, sessions, training, catalogue)),
        family=split.family if split.family in ("shipped", OWN) else "research",
        provenance=split.provenance(training),
        run_folder=folder,
        start=start,
        device=device,
        compiled=compiled,
        progress=progress,
    )
    if parallel.is_first():
        trained.save(folder / CHECKPOINT)
    return trained


def held_texts(
    split: Split, sessions: Sequence[Session], training: Sequence[Session], catalogue: Catalogue
) -> tuple[str, ...]:
    """Actions whose very texts are kept out of training, because the split holds the actions out."""
    if not FAMILIES[split.family].official or split.kind not in ("class", "action"):
        return split.held_actions
    trained, judged = (
        {int(a) for s in side for clip in s.clips for a in np.unique(clip.action) if a >= 0}
        for side in (training, split.judged(sessions, catalogue))
    )
    return tuple(catalogue.ids[a] for a in sorted(judged - trained))


def without(table: DescriptionTable, held: Collection[str]) -> DescriptionTable:
    """The table with those actions' vectors replaced by the mean of all others: they then move neither the mean nor the
    principal axes that the description projection starts from.
    """
    if not held:
        return table
    out = np.isin(table.ids, list(held))
    vectors = table.vectors.copy()
    vectors[out] = vectors[~out].mean(axis=0)
    return replace(table, vectors=vectors)


def train_and_judge(
    split: Split,
    sessions: Sequence[Session],
    config: TrainConfig,
    catalogue: Catalogue,
    table: DescriptionTable,
    *,
    folder: Path,
    budgets: Sequence[str] = BUDGETS,
    placements: Mapping[str, Placement] = PLACEMENTS,
    device: str = "cpu",
    progress: Bar = lambda stage, done, total, note: None,
) -> Evaluation:
    """Train on a split, judge what it kept apart, and keep both in `folder`; what is finished there is not done again.

    Raises:
        InputError: nobody to train on or to judge, or `folder` holds another run.
    """

    def step(done: int, numbers: dict[str, float]) -> None:
        progress(f"{folder.name}: train", done, config.steps, f"loss {numbers['loss']:.2f}")

    trained = train_split(split, sessions, config, catalogue, table, folder=folder, device=device, progress=step)
    checkpoint = hashlib.sha256((folder / CHECKPOINT).read_bytes()).hexdigest()
    key = json.dumps([__version__, checkpoint, list(budgets), list(placements)])
    if kept := _kept(folder / EVALUATION, key):
        return kept
    found = evaluate(
        trained,
        split,
        sessions,
        catalogue,
        table,
        budgets=budgets,
        placements=placements,
        progress=lambda stage, done, total: progress(f"{folder.name}: {stage}", done, total, ""),
    )
    text = json.dumps({"key": key, "evaluation": found.to_dict()}, indent=1, allow_nan=False)
    write_atomic(folder / EVALUATION, text.encode())
    return Evaluation.from_dict(json.loads(text)["evaluation"])


def _kept(path: Path, key: str) -> Evaluation | None:
    """The evaluation of exactly this checkpoint, if an earlier run finished it."""
    try:
        document = json.loads(path.read_text())
        return Evaluation.from_dict(document["evaluation"]) if document["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # it is made again
