"""An emulated board with Chords firmware.

It knows WHORU, START, STOP and STATUS, in small letters too, as newer firmware does. It ends its stream when any byte
arrives, and like older firmware it reads a command only once nothing came for a second. Not emulated: the reset that
opening an Arduino's port causes.
"""

from __future__ import annotations

import numpy as np

from myosem_edge.firmware_bridge.emulators.base import SampleSource
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.streaming import StreamingEmulator
from myosem_edge.firmware_bridge.frontends.chords import END, MARK, THINKS_S, Chords


class ChordsEmulator(StreamingEmulator):
    """The board that `driver` expects, or an Arduino UNO; it plays `source` in the unit of the driver.

    `thinks_s` is how long it waits for more of a command.
    """

    def __init__(
        self,
        source: SampleSource,
        *,
        driver: Chords | None = None,
        thinks_s: float = THINKS_S,
        faults: Faults | None = None,
    ) -> None:
        driver = driver or Chords()
        self.channels, self.full_scale = driver.info.channels, driver.info.full_scale
        super().__init__(source, faults=faults)
        self.board = driver.board
        self._lsb, self._bits = driver.lsb, driver.kind.bits
        self._thinks_s = thinks_s
        self._command = b""
        self._command_s = 0.0

    def receive(self, data: bytes, now_s: float) -> None:
        if data:
            self._end()
            self._command += data
            self._command_s = now_s

    def tick(self, now_s: float) -> None:
        if self._command and now_s - self._command_s >= self._thinks_s:
            command, self._command = self._command.strip().upper(), b""
            self._carry_out(command, now_s)
        super().tick(now_s)

    def _carry_out(self, command: bytes, now_s: float) -> None:
        if command == b"START":
            self._begin(now_s)
        elif command == b"WHORU":
            self._outgoing += self.board.encode() + b"\r\n"
        elif command == b"STATUS":
            self._outgoing += b"STOP\r\n"  # the question has ended the stream

    def _frame(self, samples: np.ndarray, counter: int) -> bytes:
        middle = 2 ** (self._bits - 1)
        counts = np.clip(np.rint(samples[0].astype(float) / self._lsb) + middle, 0, 2 * middle - 1)
        return MARK + bytes((counter % 256,)) + counts.astype(">u2").tobytes() + bytes((END,))
