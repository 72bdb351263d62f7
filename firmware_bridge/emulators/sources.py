"""Where emulated front ends get their EMG: a recording, or a wearer who rests until told to do something."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from myosem_edge.clock import Clock, MonotonicClock
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.arrays import checked_samples


class ArraySource:
    """Plays `emg` `(samples, channels)`, again and again or once and then zeros for ever.

    Raises:
        InputError: `emg` is not two-dimensional, is empty, or holds a value that is not a finite number.
    """

    def __init__(self, emg: np.ndarray, rate_hz: float, loop: bool = True) -> None:
        self._emg = checked_samples(emg, "the recording")
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
        self._resting = [checked_samples(clip, f"resting clip {i}") for i, clip in enumerate(resting)]
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
        checked = checked_samples(clip, f"clip {label!r}")
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
