"""What was recorded here: a folder that `myosem-edge collect` wrote. Any front end, any person, any number of sessions.

Labels are cues; where the muscle followed them is found when sessions are made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from myosem_edge.actions.catalogue import OWN, Label
from myosem_edge.calibration.collection import IGNORED, read_collection
from myosem_edge.learn.datasets.recording import DataSet, Recording, pack_subjects, read_pack
from myosem_edge.signal.montage import MYO

FACTS = ("session", "hand")
REST, LEFT = 0, 1


def read(folder: Path, subject: str) -> Iterator[Recording]:
    collection = read_collection(folder)
    aliases: dict[int, Label] = dict(collection.actions)
    path = folder / f"{subject}.npz"
    for recording in read_pack(path, dataset=OWN, montage=collection.montage, scale=1.0, facts=FACTS):
        ignored = recording.label == IGNORED
        yield replace(
            recording,
            session=str(recording.facts["session"]),
            mirrored=recording.facts["hand"] == LEFT,
            label=np.where(ignored, REST, recording.label),
            usable=~ignored,
            aliases=aliases,
            cued=True,
        )


DATASET = DataSet(OWN, "as agreed with those who were recorded", False, MYO, pack_subjects, read)
