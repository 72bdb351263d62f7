"""Where emulated front ends get their EMG: a recording, or a wearer who rests until told to do something."""

from __future__ import annotations

import threading
import zipfile
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from myosem_edge.clock import Clock, MonotonicClock
from myosem_edge.errors import InputError

SUFFIXES = (".npz", ".npy", ".csv")
# What damaged files make numpy raise.
UNREADABLE = (ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


class ArraySource:
    """Plays `emg` `(samples, channels)`, again and again or once and then zeros for ever.

    Raises:
        InputError: `emg` is not two-dimensional, is empty, or holds a value that is not a finite number.
    """

    def __init__(self, emg: np.ndarray, rate_hz: float, loop: bool = True) -> None:
        self._emg = _checked(emg, "the recording")
        self.channels = self._emg.shape[1]
        self.rate_hz = rate_hz
        self._loop = loop
        self._at = 0

    @property
    def finished(self) -> bool:
        """Whether a recording that is played once has been handed out to its last sample."""
        return not self._loop and self._at >= len(self._emg)

    def read(self, n: int) -> np.ndarray:
        index = np.arange(self._at, self._at + n)
        self._at += n
        if self._loop:
            self._at %= len(self._emg)
            return self._emg[index % len(self._emg)]
        played = self._emg[index[0] : index[-1] + 1] if n else self._emg[:0]
        return np.concatenate([played, np.zeros((n - len(played), self.channels), self._emg.dtype)])


@dataclass(frozen=True)
class Played:
    """One entry of a wearer's truth log: from this sample on, the signal was that of `label`."""

    sample: int  # counts samples handed out since the source was made
    time_s: float  # when that sample was handed out
    label: str


class WearerSource:
    """An emulated wearer: plays its resting clips in turn, and a clip of an action as soon as it is told to.

    Clips are arrays `(n, channels)`. Every sample is played as it was recorded, with hard edges between clips: a
    cross-fade would be signal that nobody ever produced. Any thread may call any method.

    Raises:
        InputError: there is no resting clip, or one is empty, not finite, or has another channel count.
    """

    def __init__(self, resting: Sequence[np.ndarray], rate_hz: float, clock: Clock | None = None) -> None:
        if not resting:
            raise InputError("an emulated wearer needs at least one resting clip")
        self._resting = [_checked(clip, f"resting clip {i}") for i, clip in enumerate(resting)]
        self.channels = self._resting[0].shape[1]
        self.rate_hz = rate_hz
        for i, clip in enumerate(self._resting):
            self._check_channels(clip, f"resting clip {i}")
        self._clock = clock or MonotonicClock()
        self._lock = threading.Lock()
        self._rest_clip = self._rest_at = 0
        self._waiting: deque[tuple[np.ndarray, str]] = deque()
        self._current: np.ndarray | None = None
        self._current_at = 0
        self._handed_out = 0
        self._resting_logged = False
        self._log: list[Played] = []

    def perform(self, clip: np.ndarray, label: str = "action") -> None:
        """Play `clip` once from the next sample on, or after the clips that were asked for before it.

        Raises:
            InputError: the clip is empty, not finite, or has another channel count.
        """
        checked = _checked(clip, f"clip {label!r}")
        self._check_channels(checked, f"clip {label!r}")
        with self._lock:
            self._waiting.append((checked, label))

    def rest(self) -> None:
        """Forget every clip asked for, the one under way included, and rest from the next sample on."""
        with self._lock:
            self._waiting.clear()
            self._current = None

    @property
    def performing(self) -> bool:
        """Whether a clip is under way or waiting."""
        with self._lock:
            return self._current is not None or bool(self._waiting)

    @property
    def log(self) -> tuple[Played, ...]:
        """The truth so far: every change of what is played; resting is labelled "rest"."""
        with self._lock:
            return tuple(self._log)

    def read(self, n: int) -> np.ndarray:
        now_s = self._clock.now_s()
        out = np.empty((n, self.channels), np.float32)
        filled = 0
        with self._lock:
            while filled < n:
                part = self._next_part(n - filled, now_s)
                out[filled : filled + len(part)] = part
                filled += len(part)
                self._handed_out += len(part)
        return out

    def _next_part(self, most: int, now_s: float) -> np.ndarray:
        if self._current is None and self._waiting:
            self._current, label = self._waiting.popleft()
            self._current_at = 0
            self._resting_logged = False
            self._log.append(Played(self._handed_out, now_s, label))
        if self._current is not None:
            part = self._current[self._current_at : self._current_at + most]
            self._current_at += len(part)
            if self._current_at == len(self._current):
                self._current = None
            return part
        if not self._resting_logged:
            self._resting_logged = True
            self._log.append(Played(self._handed_out, now_s, "rest"))
        clip = self._resting[self._rest_clip]
        part = clip[self._rest_at : self._rest_at + most]
        self._rest_at += len(part)
        if self._rest_at == len(clip):
            self._rest_at, self._rest_clip = 0, (self._rest_clip + 1) % len(self._resting)
        return part

    def _check_channels(self, clip: np.ndarray, name: str) -> None:
        if clip.shape[1] != self.channels:
            raise InputError(
                f"{name} does not fit this wearer", found=f"{clip.shape[1]} channels", expected=self.channels
            )


def read_recording(path: Path | str, *, channels: int, subject: str | None = None) -> np.ndarray:
    """EMG `(samples, channels)` float32 from a file of the kinds that `read_arrays` knows.

    If `path` is a folder of `.npz` packs, `subject` names the file in it.

    Raises:
        InputError: the file is missing, unreadable, empty, has another channel count, or holds values that are not
            finite.
    """
    path = Path(path)
    if path.is_dir():
        path = _subject_file(path, subject)
    elif subject is not None and subject != path.stem:
        raise InputError(
            "this file is one subject's", where=path, found=path.stem, expected=subject, todo="Give the folder instead"
        )
    return checked_emg(read_arrays(path, ("emg",))["emg"], path, channels)


def read_arrays(path: Path, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    """`emg`, and whatever else is wanted and there, from a recording; nothing in it is unpickled.

    `.npz` holds `emg` and, in the pack schema, `label`, `repetition` and `rec_ptr` beside it; `.npy` and `.csv` hold
    the samples alone (a `.csv` may begin with one line of column names).

    Raises:
        InputError: the file is missing, unreadable, or holds no `emg`.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise InputError("not a recording", where=path, found=path.suffix or "no suffix", expected=" ".join(SUFFIXES))
    try:
        if kind == ".npz":
            return _read_npz(path, wanted)
        return {"emg": _read_npy(path) if kind == ".npy" else _read_csv(path)}
    except MemoryError as error:
        raise InputError(f"is not a readable {kind} file: it claims more than fits into memory", where=path) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=path) from error
    except UNREADABLE as error:
        raise InputError(f"is not a readable {kind} file: {error}", where=path) from error


def require_borders(pointers: np.ndarray, samples: int, where: Path) -> None:
    """Raises:
    InputError: recordings do not follow each other from the first sample to the last.
    """
    whole = pointers.ndim == 1 and len(pointers) > 1 and pointers.dtype.kind in "iu"
    if not whole or pointers[0] != 0 or pointers[-1] != samples or (pointers[1:] < pointers[:-1]).any():
        raise InputError(
            "rec_ptr does not cover the samples",
            where=where,
            found=np.array2string(pointers, threshold=6),
            expected=f"0 to {samples}, never falling",
        )


def checked_emg(emg: np.ndarray, where: Path, channels: int) -> np.ndarray:
    """`emg` as float32 `(samples, channels)`.

    Raises:
        InputError: empty, not finite as float32, or of another channel count.
    """
    emg = _checked(emg, str(where))
    if emg.shape[1] != channels:
        raise InputError("wrong number of channels", where=where, found=emg.shape[1], expected=channels)
    return emg


def _subject_file(folder: Path, subject: str | None) -> Path:
    names = sorted(file.stem for file in folder.glob("*.npz"))
    if subject not in names:
        raise InputError(
            "which subject's recording?" if subject is None else "no such subject",
            where=folder,
            found=subject,
            expected=", ".join(names) or "a folder with .npz files",
            todo="Choose one with --subject",
        )
    return folder / f"{subject}.npz"


def _read_npz(path: Path, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise InputError("is a single array, not an .npz file", where=path, todo="Name it .npy")
        if "emg" not in loaded:
            raise InputError("holds no array named emg", where=path, found=", ".join(loaded.files) or "nothing")
        return {name: loaded[name] for name in wanted if name in loaded}


def _read_npy(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.ndarray):
            raise InputError("is an .npz file, not a single array", where=path, todo="Name it .npz")
        return loaded


def _read_csv(path: Path) -> np.ndarray:
    lines = path.read_text().splitlines()
    try:
        [float(word) for word in lines[0].split(",")] if lines else []
    except ValueError:
        del lines[0]  # the names of the columns
    if not lines:
        raise InputError("has no samples", where=path)
    return np.loadtxt(lines, delimiter=",", ndmin=2)


def _checked(emg: np.ndarray, name: str) -> np.ndarray:
    """`emg` as float32, which holds every device's integers exactly, and only if it can be played."""
    if emg.ndim != 2 or not np.issubdtype(emg.dtype, np.number) or np.iscomplexobj(emg):
        raise InputError(
            f"{name} is not EMG", found=f"{emg.dtype} of shape {emg.shape}", expected="numbers (samples, channels)"
        )
    if not emg.size:
        raise InputError(f"{name} is empty", found=f"shape {emg.shape}", expected="(samples, channels)")
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite then, and refused with the rest
        single = emg.astype(np.float32)
    finite = np.isfinite(single)
    if not finite.all():
        sample, channel = np.argwhere(~finite)[0]
        raise InputError(
            f"{name} holds a value that is not a finite number",
            found=f"{emg[sample, channel]} at sample {sample}, channel {channel}",
        )
    return single
