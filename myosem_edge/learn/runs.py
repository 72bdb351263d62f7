"""One training on one split, resumable, with everything a checkpoint must say of itself."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from myosem_edge.actions.catalogue import Catalogue
from myosem_edge.actions.table import DescriptionTable
from myosem_edge.learn.checkpoint import Trained
from myosem_edge.learn.sessions import Session
from myosem_edge.learn.splits import FAMILIES, Split
from myosem_edge.learn.train import Progress, TrainConfig, train

CHECKPOINT = "teacher.safetensors"


def train_split(
    split: Split,
    sessions: Sequence[Session],
    config: TrainConfig,
    catalogue: Catalogue,
    table: DescriptionTable,
    *,
    folder: Path,
    device: str = "cpu",
    progress: Progress = lambda step, numbers: None,
) -> Trained:
    """Train on a split, or go on where an interrupted run in `folder` stopped; the checkpoint is written there.

    Raises:
        InputError: nobody to train on, or `folder` holds another run.
    """
    training = split.training(sessions, catalogue)
    trained = train(
        config,
        training,
        catalogue,
        without(table, held_texts(split, sessions, training, catalogue)),
        family="shipped" if split.family == "shipped" else "research",
        provenance=split.provenance(training),
        run_folder=folder,
        device=device,
        progress=progress,
    )
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
