"""An emulated FreeEEG32. It streams from the moment it has power; what it is told goes nowhere.

Not emulated: the motion that its accelerometer shows (it lies still), recording to its memory card.
"""

from __future__ import annotations

import struct

import numpy as np

from myosem_edge.firmware_bridge.emulators.base import SampleSource
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.streaming import StreamingEmulator
from myosem_edge.firmware_bridge.frontends.freeeeg32 import CHANNELS, END, MARK, UV_PER_COUNT
from myosem_edge.firmware_bridge.i24 import pack_i24

ACCELERATION = struct.pack(">3h", 0, 0, 16384)


class FreeEeg32Emulator(StreamingEmulator):
    """A board that plays `source` in microvolts. `trailer` is what its firmware sends after the channels."""

    channels = CHANNELS
    full_scale = 2**23 * UV_PER_COUNT

    def __init__(self, source: SampleSource, *, trailer: bytes = ACCELERATION, faults: Faults | None = None) -> None:
        super().__init__(source, faults=faults)
        self._trailer = trailer

    def receive(self, data: bytes, now_s: float) -> None:
        """Nobody listens."""

    def tick(self, now_s: float) -> None:
        self._begin(now_s)
        super().tick(now_s)

    def _frame(self, samples: np.ndarray, counter: int) -> bytes:
        counts = pack_i24(samples[0].astype(float) / UV_PER_COUNT)
        return MARK + bytes((counter % 256,)) + counts + self._trailer + bytes((END,))
