"""From recordings to what training and evaluation use: one session a donning, filtered, framed, in catalogue ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from myosem_edge.actions.catalogue import Catalogue, load_catalogue
from myosem_edge.learn.datasets import data_set
from myosem_edge.learn.datasets.recording import Recording
from myosem_edge.signal.blockfilter import BlockFilter
from myosem_edge.signal.montage import Montage, input_scale, ring_order

FRAME_MS = 25
HIGH_PASS_HZ = 15.0
NO_ACTION = -1


@dataclass
class Clip:
    """One recording after the filter. x: (frames * frame_samples, channels) float32, unscaled, as of a right arm."""

    x: np.ndarray
    action: np.ndarray  # (frames,) index into the session's action ids, NO_ACTION where the label cannot be believed
    repetition: np.ndarray  # (frames,)
    execution: np.ndarray  # (frames,) number of the execution within the session, NO_ACTION outside
    facts: dict[str, int] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)  # facts in words, such as the side of an official split


@dataclass
class Session:
    """One donning of the electrodes by one person."""

    dataset: str
    subject: str
    name: str
    montage: Montage
    clips: list[Clip]
    scale: np.ndarray  # (channels,) RMS of the filtered signal, every action weighing the same
    shift: int = 0  # electrodes to rotate towards the canonical ring; 0 until aligned

    @property
    def person(self) -> str:
        return f"{self.dataset}/{self.subject}"

    def canonical(
        self,
        clip: Clip,
        *,
        scale: np.ndarray | None = None,
        shift: int | None = None,
        samples: slice = slice(None),
    ) -> np.ndarray:
        """The clip, or some `samples` of it, as the encoder wants it: scaled per channel, ring rotated."""
        x = clip.x[samples] / (self.scale if scale is None else scale)
        return x[:, ring_order(x.shape[1], self.shift if shift is None else shift, False)].astype(np.float32)


def design_filter(rate_hz: float) -> np.ndarray:
    """Second-order sections of the causal high-pass (Butterworth, order 2) that removes motion artefacts and drift."""
    from scipy.signal import butter  # 1.6 s of import, needed once and on the training side only

    return np.asarray(butter(2, HIGH_PASS_HZ, "highpass", fs=rate_hz, output="sos"))


def frame_samples(rate_hz: float) -> int:
    return round(rate_hz * FRAME_MS / 1000)


def load_sessions(
    folder: Path,
    names: Sequence[str],
    *,
    catalogue: Catalogue | None = None,
    keep: Callable[[str, str], bool] = lambda dataset, subject: True,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Session]:
    """Sessions of every kept subject of the named data sets under `folder`, in a fixed order.

    Raises:
        InputError: a data set or a file is missing or damaged, or a label has no action in the catalogue.
    """
    catalogue = catalogue or load_catalogue()
    sessions: list[Session] = []
    for name in names:
        source = data_set(name)
        for subject in source.subjects(folder / name):
            if keep(name, subject):
                progress(f"{name}/{subject}")
                sessions += sessions_of(source.read(folder / name, subject), catalogue)
    return sessions


def sessions_of(recordings: Iterable[Recording], catalogue: Catalogue) -> list[Session]:
    """Group one subject's recordings by donning; filter, frame and label them."""
    groups: dict[str, list[Recording]] = {}
    for recording in recordings:
        groups.setdefault(recording.session, []).append(recording)
    index = {action: i for i, action in enumerate(catalogue.ids)}
    sessions = []
    for name, group in groups.items():
        first = group[0]
        size = frame_samples(first.montage.rate_hz)
        filter_ = BlockFilter(design_filter(first.montage.rate_hz), size)
        ids: dict[int, int] = {}
        clips, executions = [], 0
        for recording in group:
            if len(recording.emg) < size:
                continue  # not one decision long
            for gesture in np.unique(recording.label):
                if int(gesture) not in ids:
                    ids[int(gesture)] = index[catalogue.resolve(recording.dataset, int(gesture))]
            clip, executions = _clip(recording, filter_, ids, executions)
            clips.append(clip)
        if labelled := [clip for clip in clips if (clip.action >= 0).any()]:
            scale = balanced_scale([(clip.x, clip.action) for clip in labelled])
            sessions.append(Session(first.dataset, first.subject, name, first.montage, clips, scale))
    return sessions


def balanced_scale(parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Per-channel RMS (channels,) with every action weighing the same, from (x, frame labels) pairs."""
    power: dict[int, list[np.ndarray]] = {}
    for x, action in parts:
        frames = x.reshape(len(action), -1, x.shape[1])
        energy = np.square(frames, dtype=np.float64).mean(axis=1)
        for k in np.unique(action[action >= 0]):
            power.setdefault(int(k), []).append(energy[action == k])
    mean = np.mean([np.concatenate(rows).mean(axis=0) for rows in power.values()], axis=0)
    return input_scale(mean)


def _clip(recording: Recording, filter_: BlockFilter, ids: dict[int, int], executions: int) -> tuple[Clip, int]:
    size = filter_.frame_samples
    emg = recording.emg
    if recording.mirrored:
        emg = emg[:, ring_order(emg.shape[1], 0, True)]
    frames = len(emg) // size
    last = np.arange(frames) * size + size - 1  # a causal frame belongs to its newest sample
    label, repetition = recording.label[last], _rest_repetitions(recording)[last]
    usable = recording.usable[: frames * size].reshape(frames, size).all(axis=1)
    same = (recording.label[: frames * size].reshape(frames, size) == label[:, None]).all(axis=1)
    action = np.array([ids[int(k)] for k in label])
    action[~(usable & same)] = NO_ACTION
    border = np.flatnonzero(np.concatenate(([True], (np.diff(label) != 0) | (np.diff(repetition) != 0))))
    execution = np.zeros(frames, dtype=np.int64)
    execution[border] = 1
    execution = executions + np.cumsum(execution) - 1
    after = int(execution[-1]) + 1
    execution[action == NO_ACTION] = NO_ACTION
    x = filter_.whole(emg).astype(np.float32)
    return Clip(x, action, repetition, execution, dict(recording.facts)), after


def _rest_repetitions(recording: Recording) -> np.ndarray:
    """Rest between cues carries repetition 0 in cued streams; it belongs to the repetition that follows it."""
    repetition = recording.repetition.copy()
    if (repetition > 0).any():
        known = np.where(repetition > 0, np.arange(len(repetition)), len(repetition))
        following = np.minimum.accumulate(known[::-1])[::-1]
        last_known = int(np.flatnonzero(repetition > 0)[-1])
        repetition = repetition[np.where(following < len(repetition), following, last_known)]
    return repetition
