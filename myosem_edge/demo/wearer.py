"""A recorded person as clips: what the emulated wearer does when it is asked for an action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.learn.corpus.sessions import design_filter
from myosem_edge.learn.datasets import myo_readings8
from myosem_edge.signal.blockfilter import BlockFilter
from myosem_edge.signal.onset import LATEST_ONSET_S, find_onset

LEAD_S = 1.0  # of real rest before the cue, so that an onset has something to rise from
RELEASE_S = 1.0  # after the cue has ended: people let go late, too
REST_CUT_S = 1.5  # of every pause: the muscle is still letting go


@dataclass(frozen=True)
class Clip:
    """One execution as recorded (n, 8): rest, cue, contraction, release. Sample numbers within the clip."""

    action: str
    repetition: int
    samples: np.ndarray
    cue: int
    onset: int | None  # by the fixed detector, blind to the model
    end: int  # of the cue


@dataclass(frozen=True)
class Person:
    """Everything the wearer can do, and how it rests."""

    subject: str
    mirrored: bool
    clips: Mapping[tuple[str, int], Clip]
    resting: tuple[np.ndarray, ...]

    @property
    def actions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(action for action, _ in self.clips))

    @property
    def repetitions(self) -> int:
        return max(repetition for _, repetition in self.clips)


def load_person(folder: Path, subject: str, session: str | None = None) -> Person:
    """One donning of a person: that of the sample, or `session` of a whole pack, which has two."""
    catalogue = load_catalogue()
    clips: dict[tuple[str, int], Clip] = {}
    resting = []
    mirrored = False
    for recording in myo_readings8.read(folder / myo_readings8.NAME, subject):
        if session not in (None, recording.session):
            continue
        rate_hz, label, emg = recording.montage.rate_hz, recording.label, recording.emg
        mirrored = recording.mirrored
        lead, release, cut = (round(seconds * rate_hz) for seconds in (LEAD_S, RELEASE_S, REST_CUT_S))
        borders = np.concatenate(([0], np.flatnonzero(np.diff(label)) + 1, [len(label)]))
        filtered = BlockFilter(design_filter(rate_hz), 5).whole(emg.astype(np.float64))
        for a, b in pairwise(borders):
            gesture = int(label[a])
            if gesture == myo_readings8.REST:
                if b - a > 2 * cut and recording.facts["gesture"] != myo_readings8.FREE_MOVEMENT:
                    resting.append(emg[a + cut : b])
                continue
            begin, stop = max(0, a - lead), min(len(emg), b + release)
            found = find_onset(filtered[begin:stop], rate_hz, slice(0, a - begin)) if a > begin else None
            if found is not None and found - (a - begin) > LATEST_ONSET_S * rate_hz:
                found = None  # the first contraction was too weak to be told from this rest
            action = catalogue.resolve(myo_readings8.NAME, gesture)
            clip = Clip(action, int(recording.repetition[a]), emg[begin:stop], a - begin, found, b - begin)
            clips[action, clip.repetition] = clip
    return Person(subject, mirrored, clips, tuple(resting))
