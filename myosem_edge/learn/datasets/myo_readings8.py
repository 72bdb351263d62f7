"""myo-readings-dataset (A. Francic, MIT): Myo armband, two sessions of one-minute cued streams per person.

Labels are cues (onset lag 0.24 s median, 0.8 s at the 95th percentile), hence the cut edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from myosem_edge.learn.datasets.recording import (
    FREE_STREAM,
    DataSet,
    Recording,
    drop_after_change,
    pack_subjects,
    read_pack,
)
from myosem_edge.signal.montage import MYO

NAME = "myo_readings8"
FACTS = ("session", "hand", "gesture")
REST = 0
ACTIVE_CUT_S, REST_CUT_S = 0.75, 1.25
FREE_MOVEMENT = 0  # the stream whose own gesture is "hibernation" also holds small free movements


def read(folder: Path, subject: str) -> Iterator[Recording]:
    for recording in read_pack(folder / f"{subject}.npz", dataset=NAME, montage=MYO, scale=1.0, facts=FACTS):
        session = str(recording.facts["session"])
        recording = replace(recording, session=session, mirrored=bool(recording.facts["hand"]), cued=True)
        recording = drop_after_change(recording, REST, ACTIVE_CUT_S, REST_CUT_S)
        if recording.facts["gesture"] == FREE_MOVEMENT:
            recording.attributes["stream"] = FREE_STREAM
            recording.usable[:] = False  # not rest: small free movements, kept for false-activation counts
        yield recording


DATASET = DataSet(NAME, "MIT", True, MYO, pack_subjects, read)
