"""The person of the shipped sample whom nothing was trained on, as one stream: seconds to calibrate with, and more."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import myosem_edge
from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.bench.service import NO_LABEL
from myosem_edge.calibration.enrol import Labelled
from myosem_edge.firmware_bridge.arrays import read_arrays

PACK, PERSON = "myo_readings8", "p12548"  # who plays the demo, too
REPETITIONS = 2  # of each action: the first calibrates
EDGE_S = 0.75  # after a cue has changed the muscle follows
REST_S = 3.0  # to calibrate with, as much as of an action
RATE_HZ = 200.0
WEARER = "bench"  # the name of this person's profile


@dataclass(frozen=True)
class Stream:
    """emg (n, 8) int8 counts as worn; labels (n,) of the samples to calibrate with, NO_LABEL on the others."""

    emg: np.ndarray
    labels: np.ndarray
    actions: tuple[str, ...]

    def request(self, frame: int, window: int) -> dict[str, Any]:
        """As a child is told it."""
        return {"emg": self.emg.tolist(), "labels": self.labels.tolist(), "frame": frame, "window": window}

    def labelled(self, frame: int) -> Labelled:
        """For a calibration of ours: a label for each hop of `frame` samples."""
        return labelled(self.emg, self.labels, self.actions, frame)


def labelled(emg: np.ndarray, labels: np.ndarray, actions: tuple[str, ...], frame: int) -> Labelled:
    hops = len(emg) // frame
    per_hop = labels[: hops * frame].reshape(hops, frame)
    whole = np.where((per_hop == per_hop[:, :1]).all(axis=1), per_hop[:, 0], NO_LABEL)
    return Labelled(emg.astype(np.float32), whole, np.ones(hops, int), actions)


def load_stream(repetitions: int = REPETITIONS) -> Stream:
    """The first repetitions of each of the seven actions, with the rest around them."""
    path = Path(myosem_edge.__file__).parent / "sample" / PACK / f"{PERSON}.npz"
    arrays = read_arrays(path, ("emg", "label", "repetition", "rec_ptr"))
    parts, labels, rest_left = [], [], round(REST_S * RATE_HZ)
    for a, b in pairwise(arrays["rec_ptr"]):
        cue, repetition = arrays["label"][a:b].astype(int), arrays["repetition"][a:b].astype(int)
        if not cue.any():  # small free movements
            continue
        end = int(np.flatnonzero(repetition == repetitions)[-1]) + 1
        cue, repetition = cue[:end], repetition[:end]
        edge = round(EDGE_S * RATE_HZ)
        changed = np.where(np.diff(cue, prepend=cue[0]) != 0, np.arange(end), -edge)
        settled = np.arange(end) - np.maximum.accumulate(changed) >= edge  # samples since the cue last changed
        label = np.where(settled & (cue > 0) & (repetition == 1), cue, NO_LABEL)
        resting = np.flatnonzero(settled & (cue == 0))[:rest_left]
        label[resting] = 0
        rest_left -= len(resting)
        parts.append(arrays["emg"][a : a + end])
        labels.append(label)
    catalogue = load_catalogue()
    gestures = sorted(set(np.concatenate(labels).tolist()) - {NO_LABEL})
    actions = tuple(catalogue.resolve(PACK, gesture) for gesture in gestures)
    numbers = np.concatenate(labels)
    return Stream(np.concatenate(parts).astype(np.int8), numbers, actions)
