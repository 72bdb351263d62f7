"""What every emulated device is: a sans-I/O machine like the drivers, on the other end of the wire."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np


class SampleSource(Protocol):
    """Where an emulated front end gets its EMG: consecutive samples `(n, channels)`, for ever."""

    channels: int
    rate_hz: float

    def read(self, n: int) -> np.ndarray: ...


class Emulator(ABC):
    """One emulated device. Bytes from the host and the time go in; bytes for the host come out of `to_send`."""

    def __init__(self) -> None:
        self._outgoing = bytearray()

    @abstractmethod
    def receive(self, data: bytes, now_s: float) -> None:
        """Take any bytes in any cut."""

    @abstractmethod
    def tick(self, now_s: float) -> None:
        """Let time pass: emit the samples that are due, move the fingers, expire the keep-alive."""

    @abstractmethod
    def status(self) -> str:
        """What it does now, in one line for whoever plays it."""

    def to_send(self) -> bytes:
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data
