"""FreeEEG32: 32 channels at 512 Hz, over USB or UART.

Sources of the byte-level facts: the board's published firmware, and BrainFlow's host driver. Channels end at byte 98;
how many bytes follow, the acceleration among them, depends on the firmware.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import FrontEndInfo
from myosem_edge.firmware_bridge.frontends.counted import CountedFrames
from myosem_edge.firmware_bridge.frontends.recognition import Identity, Recognised, flows
from myosem_edge.firmware_bridge.frontends.streaming import Reader, StreamingFrontEnd
from myosem_edge.firmware_bridge.i24 import unpack_i24

CHANNELS = 32
MARK, END = b"\xa0", 0xC0
HEAD_BYTES = 2  # mark and counter
SHORTEST_BYTES = HEAD_BYTES + 3 * CHANNELS + 1
LONGEST_BYTES = 200  # what BrainFlow's driver holds
UV_PER_COUNT = 2.5e6 / (2**23 - 1) / 8  # reference 2.5 V, gain 8: 0.03725

ROW = 4  # frames: by chance in about one of 10^22 places
LEAST_FRAMES = 64  # an eighth of a second

SILENT = "the port is silent: plug the board in again, switch it on, and check that this is its port"
FOREIGN = "bytes arrive but they are not a FreeEEG32's: choose its port, and check that its baud rate is 921600"


def _recognised(heard: bytes, seconds: float) -> Recognised | None:
    return Recognised() if flows(SomeLength(MARK, SHORTEST_BYTES, LONGEST_BYTES), heard, LEAST_FRAMES) else None


class FreeEeg32(StreamingFrontEnd):
    """One board. It streams as soon as it has power, and nothing can be said to it."""

    clock_tolerance_samples = 128.0  # the counter hides multiples of 256 frames
    silent, foreign = SILENT, FOREIGN
    identity = Identity(_recognised)
    info = FrontEndInfo(
        id="freeeeg32",
        name="FreeEEG32",
        channels=CHANNELS,
        rate_hz=512.0,
        unit="uV",
        full_scale=2**23 * UV_PER_COUNT,
        layout="sites",
        baud=921600,
        prefiltered="nothing but the converter's own low-pass",
        loss_visible_by="a counter of 256 frames; multiples of 256 by time only",
    )

    def _new_reader(self) -> Reader:
        return SomeLength(MARK, SHORTEST_BYTES, LONGEST_BYTES)

    def _decode(self, frames: Sequence[bytes]) -> np.ndarray:
        """Samples `(len(frames), 32)` in microvolts."""
        raw = np.frombuffer(b"".join(frames), np.uint8).reshape(len(frames), -1)
        counts = unpack_i24(raw[:, HEAD_BYTES : HEAD_BYTES + 3 * CHANNELS])
        return (counts * UV_PER_COUNT).astype(np.float32)


class SomeLength:
    """`CountedFrames` of a device whose frames are all as long as each other, but nobody knows how long.

    The length is the shortest one at which `ROW` frames follow one another; until then nothing is believed.
    """

    def __init__(self, mark: bytes, shortest: int, longest: int) -> None:
        self._mark, self._shortest, self._longest = mark, shortest, longest
        self._buffer = bytearray()
        self._frames: CountedFrames | None = None
        self._rejected = self._resyncs = 0  # before the length was found

    @property
    def rejected_bytes(self) -> int:
        return self._rejected + (self._frames.rejected_bytes if self._frames is not None else 0)

    @property
    def resyncs(self) -> int:
        return self._resyncs + (self._frames.resyncs if self._frames is not None else 0)

    def forget(self) -> None:
        if self._frames is not None:
            self._frames.forget()
            self._resyncs, self._rejected, self._frames = self.resyncs, self.rejected_bytes, None
        self._rejected += len(self._buffer)
        self._buffer.clear()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        if self._frames is None:
            self._buffer += data
            length = self._find_length()
            if length is None:
                return
            self._frames = CountedFrames(self._mark, length, lambda last: last == END)
            data = bytes(self._buffer)
            self._buffer.clear()
        yield from self._frames.feed(data)

    def _find_length(self) -> int | None:
        """The length of frames, once so many have come; the buffer then begins with one."""
        buffer, at, undecided = self._buffer, 0, len(self._buffer)
        while (at := buffer.find(self._mark, at)) >= 0:
            if (length := self._length_at(at)) is not None:
                self._reject(at)
                return length
            if len(buffer) - at < ROW * self._longest:
                undecided = min(at, undecided)
            at += 1
        self._reject(undecided)
        return None

    def _length_at(self, at: int) -> int | None:
        """The length of the frames of which `ROW` begin here."""
        border, end = self._border(at), at + self._shortest - 1
        while (end := self._buffer.find(border, end, at + self._longest - 1 + len(border))) >= 0:
            length = end + 1 - at
            lasts = (at + i * length - 1 for i in range(1, ROW))
            follow = all(self._buffer.startswith(self._border(at, i + 1), last) for i, last in enumerate(lasts))
            if follow and self._buffer[at + ROW * length - 1 : at + ROW * length] == bytes((END,)):
                return length
            end += 1
        return None

    def _border(self, at: int, following: int = 1) -> bytes:
        """What stands between the frame that begins here, or one of the following, and the next one."""
        counter = self._buffer[at + len(self._mark) : at + len(self._mark) + 1]
        return bytes((END,)) + self._mark + bytes(each + following & 0xFF for each in counter)

    def _reject(self, count: int) -> None:
        self._rejected += count
        del self._buffer[:count]
