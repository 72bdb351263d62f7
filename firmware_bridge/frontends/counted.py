"""Frames of a fixed length between marks, counted by the device and without a check sum: Cyton, Chords, FreeEEG32.

Marks occur in data too, so a frame is believed for its counter: one that has the expected counter at once, any other
one only when the next frame follows it. What is not believed is searched again from its second byte on, so that a
dropped byte costs the frame it was dropped from and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator


class CountedFrames:
    """Frames of `length` bytes: `mark`, a counter byte, data, and an end that `ends(last byte)` knows.

    `possible` says of a whole frame whether the device can have sent it.
    """

    def __init__(
        self,
        mark: bytes,
        length: int,
        ends: Callable[[int], bool],
        possible: Callable[[bytes | bytearray], bool] = lambda frame: True,
    ) -> None:
        self._mark, self._length, self._ends, self._possible = mark, length, ends, possible
        self._buffer = bytearray()
        self._expected: int | None = None
        self._last = b""
        self._lost_sync = False
        self.rejected_bytes = 0
        self.resyncs = 0
        self.stuck_frames = 0  # frames that were followed by one with the same counter

    def forget(self) -> None:
        self.rejected_bytes += len(self._buffer)
        self._buffer.clear()
        self._expected, self._last = None, b""
        self._lost_sync = False

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        self._buffer += data
        buffer, length = self._buffer, self._length
        at = 0  # bytes before it are done with
        while True:
            found = buffer.find(self._mark, at)
            if found < 0:
                found = max(at, len(buffer) - len(self._mark) + 1)  # the end may be the beginning of a mark
                self._reject(found - at)
                at = found
                break
            self._reject(found - at)
            at = found
            if len(buffer) - at < length:
                break
            if not self._ends(buffer[at + length - 1]) or not self._possible(buffer[at : at + length]):
                self._reject(1)
                at += 1
                continue
            counter = buffer[at + len(self._mark)]
            following = (counter + 1) % 256
            # A frame that lost bytes may end by chance within the next one, whose beginning is then inside.
            swallows = buffer.find(self._mark + bytes((following,)), at + 1, at + length) >= 0
            if counter != self._expected or swallows:
                if len(buffer) - at < 2 * length:
                    break
                if not self._followed(at + length, following):
                    self._reject(1)
                    at += 1
                    continue
            frame = bytes(buffer[at : at + length])
            at += length
            if frame == self._last:
                self.rejected_bytes += length  # it came twice
                continue
            missing = 0 if self._expected is None else (counter - self._expected) % 256
            self._last, self._expected = frame, following
            self._lost_sync = False
            yield frame, missing
        del buffer[:at]

    def _followed(self, at: int, counter: int) -> bool:
        buffer = self._buffer
        if not buffer.startswith(self._mark, at) or not self._ends(buffer[at + self._length - 1]):
            return False
        found = buffer[at + len(self._mark)]
        if found == (counter - 1) % 256:
            self.stuck_frames += 1
        return found == counter

    def _reject(self, count: int) -> None:
        if count:
            self.rejected_bytes += count
            if not self._lost_sync and self._expected is not None:
                self.resyncs += 1
            self._lost_sync = True
