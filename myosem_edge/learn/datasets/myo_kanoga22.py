"""Kanoga long-term armband data (Apache-2.0): 22 motions, 15 days in three ring placements, cut 1.5 s segments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from myosem_edge.learn.datasets.recording import DataSet, Recording, pack_subjects, read_pack
from myosem_edge.signal.montage import MYO

NAME = "myo_kanoga22"
COUNTS_PER_STEP = 128.0 / 2048.0  # stored as 1/2048 of full scale; the armband's own step is 1/128


def read(folder: Path, subject: str) -> Iterator[Recording]:
    path = folder / f"{subject}.npz"
    for recording in read_pack(path, dataset=NAME, montage=MYO, scale=COUNTS_PER_STEP, facts=("day",)):
        yield replace(recording, session=f"day{recording.facts['day']:02d}")


DATASET = DataSet(NAME, "Apache-2.0", True, MYO, pack_subjects, read)
