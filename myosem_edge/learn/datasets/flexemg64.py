"""flexemg (GPL-3.0): a flexible array of 16 x 4 electrodes around the forearm at 1 kHz, cued gestures of five seconds.

Weights that ship are never trained on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from myosem_edge.errors import InputError
from myosem_edge.learn.datasets.recording import (
    CUE_ACTIVE_CUT_S,
    CUE_REST_CUT_S,
    UNREADABLE,
    DataSet,
    Recording,
    drop_after_change,
    pack_subjects,
    read_pack,
)
from myosem_edge.signal.montage import RecordedMontage

NAME = "flexemg64"
AROUND, ALONG = 16, 4
MONTAGE = RecordedMontage("flexemg", AROUND * ALONG, "ring", 1000.0, "uV", "nothing; the baseline wanders", rings=ALONG)
UV_PER_COUNT = 3.05176
MAP = "arraymap.npy"
REST = 0
EARLY_CUT_S = 0.25  # before a cue: the order was shown ahead, and the authors cut both sides


def read(folder: Path, subject: str) -> Iterator[Recording]:
    """Channels come ring by ring, each in the order of the electrodes around the arm."""
    order = read_map(folder / MAP)
    path = folder / f"{subject}.npz"
    for recording in read_pack(path, dataset=NAME, montage=MONTAGE, scale=UV_PER_COUNT, facts=("session", "trial")):
        # Every trial holds each gesture once: the trial is the repetition.
        repetition = np.where(recording.repetition > 0, recording.facts["trial"], 0)
        recording = replace(
            recording,
            session=str(recording.facts["session"]),
            emg=np.ascontiguousarray(recording.emg[:, order]),
            repetition=repetition,
        )
        recording = drop_after_change(recording, REST, CUE_ACTIVE_CUT_S, CUE_REST_CUT_S)
        for change in np.flatnonzero(np.diff(recording.label)) + 1:
            recording.usable[max(0, change - round(EARLY_CUT_S * MONTAGE.rate_hz)) : change] = False
        yield recording


def read_map(path: Path) -> np.ndarray:
    """Channel of each place (64,): ring by ring, around the arm.

    Raises:
        InputError: no map, or not one of every channel once.
    """
    try:
        places = np.load(path, allow_pickle=False)
        whole = places.shape == (AROUND, ALONG) and sorted(places.ravel().tolist()) == list(range(1, places.size + 1))
    except UNREADABLE as error:
        raise InputError(f"is not a readable map of electrodes ({error})", where=path) from error
    if not whole:
        raise InputError("does not hold every channel once", where=path, expected="(16, 4) numbers from 1 to 64")
    return np.asarray(places.T.reshape(-1) - 1)


def sources(folder: Path, subject: str) -> list[Path]:
    return [folder / f"{subject}.npz", folder / MAP]


DATASET = DataSet(NAME, "GPL-3.0", False, MONTAGE, pack_subjects, read, sources=sources)
