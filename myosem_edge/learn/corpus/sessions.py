"""From recordings to what training and evaluation use: one session a donning, filtered, framed, in catalogue ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from myosem_edge.actions.catalogue import Catalogue, Label
from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.cues import believe_cues
from myosem_edge.learn.corpus.resample import resample
from myosem_edge.learn.datasets.recording import Recording, following_repetition
from myosem_edge.signal.blockfilter import BlockFilter
from myosem_edge.signal.montage import Montage, input_scale, ring_order

FRAME_MS = 25
HIGH_PASS_HZ = 15.0
NO_ACTION = -1
STORE = "store.json"  # beside or instead of the recordings of a data set: `myosem-edge ingest` has converted them
ENERGY_FRAMES = 1024  # read at a time where a clip lies on disk
ANONYMOUS = 100_000  # plus a data set's own label: an action that nobody has named, outside every description table


class Samples(Protocol):
    """Rows of numbers in memory or on disk: what a clip's consumers may ask for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Any: ...

    def __array__(self, dtype: Any = None, /) -> Any: ...


@dataclass
class Clip:
    """One recording after the filter. x: (frames * frame_samples, channels) float32, unscaled, as of a right arm.

    Where the clip lies in a store, x and energy are read from disk when they are sliced.
    """

    x: Samples
    action: np.ndarray  # (frames,) index into the session's action ids, NO_ACTION where the label cannot be believed
    repetition: np.ndarray  # (frames,)
    execution: np.ndarray  # (frames,) number of the execution within the session, NO_ACTION outside
    early: np.ndarray  # (frames,) the action that has begun where `action` does not believe it yet: onsets, releases
    facts: dict[str, int] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    energy: Samples | None = None  # (frames, channels) mean square of x, where it was computed before

    def mean_square(self) -> np.ndarray:
        """(frames, channels): mean square of each frame of x."""
        return frame_energy(self.x, len(self.action)) if self.energy is None else np.asarray(self.energy)


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
    mask: np.ndarray = field(default_factory=lambda: np.ones(0, dtype=bool))  # (channels,) electrodes that are there
    notes: tuple[str, ...] = ()  # what the loader had to put right

    def __post_init__(self) -> None:
        if not len(self.mask):
            self.mask = np.ones(self.montage.channels, dtype=bool)

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
        order = ring_order(x.shape[1], self.shift if shift is None else shift, False, self.montage.turning_rings)
        return x[:, order].astype(np.float32)


def design_filter(rate_hz: float) -> np.ndarray:
    """Second-order sections of the causal high-pass (Butterworth, order 2) that removes motion artefacts and drift."""
    from scipy.signal import butter  # 1.6 s of import, needed once and on the training side only

    return np.asarray(butter(2, HIGH_PASS_HZ, "highpass", fs=rate_hz, output="sos"))


def filter_sections(montage: Montage) -> np.ndarray:
    """What samples go through: the high-pass, or nothing where they are envelopes, whose level is the signal."""
    return np.array([[1.0, 0.0, 0.0, 1.0, 0.0, 0.0]]) if montage.envelope else design_filter(montage.rate_hz)


def frame_samples(rate_hz: float) -> int:
    """Samples a frame: 25 ms, or the nearest whole number of samples (20 ms at 100 Hz)."""
    return round(rate_hz * FRAME_MS / 1000)


def sessions_of(
    recordings: Iterable[Recording], catalogue: Catalogue, *, rate_hz: float | None = None, anonymous: bool = False
) -> list[Session]:
    """Filter, frame and label one subject's recordings, one at a time, and group them by donning."""
    donnings: dict[str, Session] = {}
    powers: dict[str, Power] = {}
    for recording, clip in clips_of(recordings, ActionIds(catalogue, anonymous).number, rate_hz):
        name, montage = recording.session, recording.montage
        nothing = np.zeros(montage.channels)
        session = donnings.setdefault(name, Session(recording.dataset, recording.subject, name, montage, [], nothing))
        session.clips.append(clip)
        session.mask = session.mask & worn_mask(recording)
        session.notes += recording.notes
        powers.setdefault(name, Power()).add(clip.mean_square(), clip.action)
    found = [session for session in donnings.values() if powers[session.name].sums]
    for session in found:
        session.scale = powers[session.name].scale()
    return found


def clips_of(
    recordings: Iterable[Recording], number: Callable[[str, Label], int], rate_hz: float | None = None
) -> Iterator[tuple[Recording, Clip]]:
    """Each recording of one subject, one at a time, with what becomes of it; too short ones are left out.

    `number` gives the action of a data set's label.
    """
    executions: dict[str, int] = {}
    for recording in recordings:
        recording = recording if rate_hz is None else resample(recording, rate_hz)
        montage, name = recording.montage, recording.session
        filter_ = BlockFilter(filter_sections(montage), frame_samples(montage.rate_hz))
        if len(recording.emg) < filter_.frame_samples:
            continue  # not one decision long
        numbers = {
            int(label): number(recording.dataset, recording.aliases.get(int(label), int(label)))
            for label in np.unique(recording.label)
        }
        clip, executions[name] = _clip(recording, filter_, numbers, executions.get(name, 0))
        yield recording, clip


def worn_mask(recording: Recording) -> np.ndarray:
    """(channels,) electrodes that are there, in the order of a right arm."""
    montage = recording.montage
    return recording.mask[ring_order(montage.channels, 0, recording.mirrored, montage.turning_rings)]


class ActionIds:
    """What number an action has: its place in the catalogue, or ANONYMOUS plus the label, or NO_ACTION."""

    def __init__(self, catalogue: Catalogue, anonymous: bool) -> None:
        self._catalogue, self._anonymous = catalogue, anonymous
        self._index = {action: i for i, action in enumerate(catalogue.ids)}

    def number(self, dataset: str, label: Label) -> int:
        """Raises:
        InputError: the catalogue knows neither the data set's label nor that it is unverified.
        """
        known = self._catalogue.datasets.get(dataset)
        if known is not None and label in known.unverified and isinstance(label, int):
            return ANONYMOUS + label if self._anonymous else NO_ACTION
        return self._index[self._catalogue.resolve(dataset, label)]


def require_trainable(sessions: Sequence[Session], channels: int, samples: int, actions: int) -> None:
    """Whether these sessions can train one model of `channels` electrodes and `samples` a frame.

    Raises:
        InputError: raw EMG beside envelopes, different montages, another montage than the model's, or actions without
            a name (from `actions` on), which no description can be aligned with.
    """
    montages = {session.dataset: session.montage for session in sessions}
    kinds = {montage.envelope for montage in montages.values()}
    if len(kinds) > 1:
        raise InputError(
            "raw EMG and envelopes cannot train one model: a sample of one is not a sample of the other",
            found=", ".join(f"{d} ({'envelopes' if m.envelope else 'raw EMG'})" for d, m in montages.items()),
            todo="Choose data sets of one kind",
        )
    shapes = {(m.channels, m.layout, m.rings, m.rate_hz) for m in montages.values()}
    described = ", ".join(f"{d} ({m.channels} channels, {m.layout}, {m.rate_hz:g} Hz)" for d, m in montages.items())
    if len(shapes) > 1:
        raise InputError(
            "these data sets cannot train one model",
            found=described,
            expected="the same channels, layout and rate",
            todo="Choose one rate for all, or fewer data sets",
        )
    montage = next(iter(montages.values()))
    if (montage.channels, frame_samples(montage.rate_hz)) != (channels, samples):
        raise InputError(
            "the model is for another montage",
            found=described,
            expected=f"{channels} channels, {samples} samples a frame",
            todo=f"Set model.channels={montage.channels} and model.frame_samples={frame_samples(montage.rate_hz)}",
        )
    if any((clip.action >= actions).any() for session in sessions for clip in session.clips):
        raise InputError(
            "actions without a name cannot be aligned with descriptions",
            found=", ".join(montages),
            todo="Read the sessions without anonymous classes",
        )


class Power:
    """Mean square of every channel per action, gathered clip by clip, so that no signal need stay in memory."""

    def __init__(self) -> None:
        self.sums: dict[int, np.ndarray] = {}
        self.frames: dict[int, int] = {}

    def add(self, energy: np.ndarray, action: np.ndarray) -> None:
        """energy (frames, channels) of frames labelled `action` (frames,); frames without an action do not count."""
        for k in np.unique(action[action >= 0]):
            chosen = action == k
            self.add_sum(int(k), energy[chosen].sum(axis=0), int(chosen.sum()))

    def add_sum(self, action: int, total: np.ndarray, frames: int) -> None:
        self.sums[action] = self.sums.get(action, 0.0) + total
        self.frames[action] = self.frames.get(action, 0) + frames

    def scale(self) -> np.ndarray:
        """Per-channel RMS (channels,) with every action weighing the same."""
        return input_scale(np.mean([total / self.frames[k] for k, total in self.sums.items()], axis=0))


def balanced_scale(parts: Iterable[tuple[Samples, np.ndarray]]) -> np.ndarray:
    """Per-channel RMS (channels,) with every action weighing the same, from (x, frame labels) pairs."""
    power = Power()
    for x, action in parts:
        power.add(frame_energy(x, len(action)), action)
    return power.scale()


def frame_energy(x: Samples, frames: int) -> np.ndarray:
    """Mean square (frames, channels) float64 of each frame of x, read a stretch at a time."""
    channels = x.shape[1]
    if not frames:
        return np.zeros((0, channels))
    size = len(x) // frames
    out = np.empty((frames, channels))
    for first in range(0, frames, ENERGY_FRAMES):
        part = x[first * size : (first + ENERGY_FRAMES) * size]
        out[first : first + ENERGY_FRAMES] = np.square(part.reshape(-1, size, channels), dtype=np.float64).mean(axis=1)
    return out


def _clip(recording: Recording, filter_: BlockFilter, ids: dict[int, int], executions: int) -> tuple[Clip, int]:
    size = filter_.frame_samples
    emg = recording.emg
    if recording.mirrored:
        emg = emg[:, ring_order(emg.shape[1], 0, True, recording.montage.turning_rings)]
    frames = len(emg) // size
    last = np.arange(frames) * size + size - 1  # a causal frame belongs to its newest sample
    label, repetition = recording.label[last], following_repetition(recording.repetition)[last]
    usable = recording.usable[: frames * size].reshape(frames, size).all(axis=1)
    same = (recording.label[: frames * size].reshape(frames, size) == label[:, None]).all(axis=1)
    action = np.array([ids[int(k)] for k in label], dtype=np.int32)
    x = filter_.whole(emg).astype(np.float32)
    early = np.full(frames, NO_ACTION, dtype=np.int32)
    if recording.cued:
        steady, begun = believe_cues(x, recording.label[: len(x)], recording.montage.rate_hz)
        usable &= steady.reshape(frames, size).all(axis=1)
        begun = begun[last]
        early[begun >= 0] = [ids[int(k)] for k in begun[begun >= 0]]
    action[~(usable & same)] = NO_ACTION
    early[action != NO_ACTION] = NO_ACTION
    border = np.flatnonzero(np.concatenate(([True], (np.diff(label) != 0) | (np.diff(repetition) != 0))))
    execution = np.zeros(frames, dtype=np.int32)
    execution[border] = 1
    execution = executions + np.cumsum(execution) - 1
    after = int(execution[-1]) + 1
    execution[action == NO_ACTION] = NO_ACTION
    labels = action, repetition.astype(np.int32), execution.astype(np.int32), early
    return Clip(x, *labels, dict(recording.facts), dict(recording.attributes)), after
