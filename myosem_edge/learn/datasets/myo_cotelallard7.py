"""MyoArmbandDataset (Côté-Allard et al. 2019, GPL-3.0): 7 gestures, clean five-second holds.

Weights that ship are never trained on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from myosem_edge.learn.datasets.recording import DataSet, Recording, pack_subjects, read_pack
from myosem_edge.signal.montage import MYO

NAME = "myo_cotelallard7"
START_CUT_S = 0.5


def read(folder: Path, subject: str) -> Iterator[Recording]:
    for recording in read_pack(folder / f"{subject}.npz", dataset=NAME, montage=MYO, scale=1.0, facts=("set",)):
        if recording.facts["set"] != 0:
            continue  # Test0/Test1 repeat the protocol of the same people; one set per person keeps people balanced
        recording.usable[: round(START_CUT_S * MYO.rate_hz)] = False
        yield recording


DATASET = DataSet(NAME, "GPL-3.0", False, MYO, pack_subjects, read)
