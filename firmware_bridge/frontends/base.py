"""What every EMG front end is: a sans-I/O protocol machine. Bytes and the time go in; chunks and bytes come out.

No driver opens a port, sleeps or reads a clock, so the loop, a test on a virtual clock and a file player all drive the
same object. `firmware_bridge.port` owns the serial port.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

import numpy as np

from myosem_edge.errors import DeviceError
from myosem_edge.firmware_bridge.frontends.recognition import Identity


@dataclass(frozen=True)
class FrontEndInfo:
    """What a device measures. `unit` is "uV" or "counts"; `full_scale` is the largest magnitude in that unit."""

    id: str
    name: str
    channels: int
    rate_hz: float
    unit: str
    full_scale: float
    layout: str  # "ring" (order has a meaning, rotation is possible) or "sites"
    baud: int
    prefiltered: str  # what the device has already done to the signal, in words
    loss_visible_by: str  # how lost samples show, in words; "time only" if they do not

    def require_same(self, found: FrontEndInfo) -> None:
        """Raises:
        DeviceError: a device that says itself what it measures says something else than was checked before.
        """
        for name in ("channels", "layout", "rate_hz", "unit"):
            expected, told = getattr(self, name), getattr(found, name)
            if told != expected:
                todo = "Set the device to what the bundle was made for"
                raise DeviceError(f"the device differs in {name}", found=told, expected=expected, todo=todo)


@dataclass(frozen=True)
class Chunk:
    """Consecutive samples `(n, channels)` float32 in the front end's unit.

    `first_sample` counts samples since streaming began, known losses included; `lost` is how many samples are known to
    be missing right before this chunk; `arrival_s` is when the host read the last byte of it (monotonic).
    """

    samples: np.ndarray
    first_sample: int
    arrival_s: float
    lost: int = 0
    lead_off: int = 0  # one bit per channel, only from devices that measure it


class Phase(Enum):
    """Where a front end is between a closed port and flowing samples."""

    IDLE = "idle"
    CONNECTING = "connecting"
    STREAMING = "streaming"
    FAILED = "failed"


@dataclass
class Counters:
    """What went wrong on the wire since start; every driver counts the same things."""

    frames: int = 0
    samples: int = 0
    lost_samples: int = 0
    rejected_bytes: int = 0
    resyncs: int = 0
    notes: dict[str, int] = field(default_factory=dict)

    def note(self, what: str) -> None:
        self.notes[what] = self.notes.get(what, 0) + 1


class FrontEnd(ABC):
    """One EMG acquisition device. Subclasses live one per file in `firmware_bridge/frontends`."""

    info: FrontEndInfo
    caution: ClassVar[str | None] = None  # what has to be known before it drives a hand
    identity: ClassVar[Identity | None] = None  # how a port is asked for it; None: what has no serial port of its own
    usb_ids: ClassVar[tuple[str, ...]] = ()  # of the device itself, not of a chip that a thousand others have
    takes_all: ClassVar[str | None] = None  # the option that all text after the colon of `NAME:TEXT` is

    def __init__(self) -> None:
        self.phase = Phase.IDLE
        self.failure: str | None = None  # one sentence for a human when phase is FAILED
        self.finished = False  # FAILED, and nothing is wrong: a recording has been played to its end
        self.counters = Counters()
        self.facts: dict[str, str] = {}  # battery, firmware version, name: whatever the device tells of itself
        self._outgoing = bytearray()

    @abstractmethod
    def start(self, now_s: float) -> None:
        """Begin the handshake that ends in streaming. Idempotent."""

    @abstractmethod
    def receive(self, data: bytes, now_s: float) -> list[Chunk]:
        """Take any bytes in any cut, return the samples they complete. Never raises on garbage: it re-synchronises."""

    @abstractmethod
    def tick(self, now_s: float) -> None:
        """Advance time-outs and retries; called at least every 20 ms, bytes or not. May set phase FAILED."""

    @abstractmethod
    def stop(self, now_s: float) -> None:
        """Queue whatever ends streaming politely."""

    def to_send(self) -> bytes:
        """Bytes the wire must carry now; empties the queue."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data
