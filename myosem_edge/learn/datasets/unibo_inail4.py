"""UniBo-INAIL (LGPL-2.1): four prosthesis electrodes, whose samples are envelopes, over days and arm postures.

Labels are onset-corrected, but which code is which gesture is stated nowhere: the catalogue lists 1 to 5 as unverified,
so they are anonymous classes for drift and calibration. Weights that ship are never trained on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from myosem_edge.learn.datasets.recording import DataSet, Recording, pack_subjects, read_pack
from myosem_edge.signal.montage import RecordedMontage

NAME = "unibo_inail4"
MONTAGE = RecordedMontage("Otto Bock 13E200", 4, "sites", 100.0, "counts", "envelope in the electrode", envelope=True)
COUNTS_PER_STEP = 2.0


def read(folder: Path, subject: str) -> Iterator[Recording]:
    path = folder / f"{subject}.npz"
    for recording in read_pack(path, dataset=NAME, montage=MONTAGE, scale=COUNTS_PER_STEP, facts=("day", "posture")):
        yield replace(recording, session=f"day{recording.facts['day']}")


DATASET = DataSet(NAME, "LGPL-2.1", False, MONTAGE, pack_subjects, read)
