"""An emulated SpikerShield on an Arduino UNO.

It streams from the beginning, one channel, after its banner; `conf` changes the number of channels, and `b` makes it
tell its kind, as newer firmware does. Not emulated: the rate that goes with another number of channels than the
recording's (frames keep the recording's rate), and the pin that `p` sets.
"""

from __future__ import annotations

import numpy as np

from myosem_edge.firmware_bridge.emulators.base import SampleSource
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.streaming import StreamingEmulator
from myosem_edge.firmware_bridge.frontends.spikershield import (
    BANNER,
    CLOSE,
    MIDDLE,
    MOST_CHANNELS,
    OPEN,
    SpikerShield,
)

MOST_COMMAND_BYTES = 30  # of the firmware's buffer


class SpikerShieldEmulator(StreamingEmulator):
    """A board whose first inputs are the channels of `source`, in counts around the middle; the others read the middle.
    It has as many channels of recording as `driver` will ask for."""

    full_scale = float(MIDDLE)

    def __init__(
        self, source: SampleSource, *, driver: SpikerShield | None = None, faults: Faults | None = None
    ) -> None:
        self.channels = (driver or SpikerShield()).info.channels
        super().__init__(source, faults=faults)
        self.sent_channels = 1
        self._command = bytearray()

    def receive(self, data: bytes, now_s: float) -> None:
        self._command += data
        while (end := self._command.find(b"\n")) >= 0:
            command = bytes(self._command[: min(end, MOST_COMMAND_BYTES)])
            del self._command[: end + 1]
            for part in command.decode("latin-1").split(";"):
                self._carry_out(part)

    def tick(self, now_s: float) -> None:
        if not self.streaming:
            self._outgoing += BANNER
            self._begin(now_s)
        super().tick(now_s)

    def say(self, text: str) -> None:
        """Put a message into the stream."""
        self._outgoing += OPEN + text.encode() + CLOSE

    def _carry_out(self, part: str) -> None:
        name, _, value = part.partition(":")
        if name == "b":
            self.say("HWT:MUSCLESS;")
        elif name == "c" and value.isascii() and value.isdigit() and 1 <= int(value) <= MOST_CHANNELS:
            self.sent_channels = int(value)

    def _frame(self, samples: np.ndarray, counter: int) -> bytes:
        values = np.full(self.sent_channels, MIDDLE)
        played = np.rint(samples[0][: self.sent_channels]).astype(int) + MIDDLE
        values[: len(played)] = np.clip(played, 0, 2 * MIDDLE - 1)
        frame = bytearray(np.stack([values >> 7, values & 0x7F], axis=1).astype(np.uint8).tobytes())
        frame[0] |= 0x80
        return bytes(frame)
