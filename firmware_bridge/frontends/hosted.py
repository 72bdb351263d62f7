"""Front ends whose samples come from this machine: a file, or a library that speaks to the device itself.

Their port is an object that hands over chunks as bytes (`chunk_stream`) and is told to start and to stop.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import Chunk, Phase
from myosem_edge.firmware_bridge.frontends.chunk_stream import ChunkReader
from myosem_edge.firmware_bridge.frontends.streaming import Reader, Step, StreamingFrontEnd

START, STOP = b"+", b"-"
LEAD_OFF = struct.Struct("<Q")


class HostedFrontEnd(StreamingFrontEnd):
    """A frame is one sample: its lead-off bits, then its channels."""

    over = "there are no more samples"  # why the front end ends, in one sentence

    def _new_reader(self) -> Reader:
        self._numbered = _Numbered(self.info.channels)
        self.finished = False
        return self._numbered

    def _start_steps(self) -> list[Step]:
        return [Step(START, 0.0)]

    def _stop_bytes(self) -> bytes:
        return STOP

    def receive(self, data: bytes, now_s: float) -> list[Chunk]:
        chunks = super().receive(data, now_s)
        if self._numbered.ended and self.phase in (Phase.CONNECTING, Phase.STREAMING):
            self._fail(self.over)
            self.finished = True
        return chunks

    def _decode(self, frames: Sequence[bytes]) -> np.ndarray:
        """Samples `(len(frames), channels)`."""
        raw = np.frombuffer(b"".join(frames), np.uint8).reshape(len(frames), -1)
        return raw[:, LEAD_OFF.size :].copy().view("<f4").astype(np.float32)

    def _lead_off(self, frames: Sequence[bytes]) -> int:
        off = 0
        for frame in frames:
            off |= LEAD_OFF.unpack_from(frame)[0]
        return off


class _Numbered:
    """The samples of a stream of chunks, one by one, with how many are missing before each."""

    rejected_bytes = resyncs = 0  # nothing is lost on the way through memory

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self.forget()

    @property
    def ended(self) -> bool:
        return self._chunks.ended

    def forget(self) -> None:
        self._chunks = ChunkReader(self._channels)

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        for chunk in self._chunks.feed(data):
            lost, lead_off = chunk.lost, LEAD_OFF.pack(chunk.lead_off)
            for row in chunk.samples:
                yield lead_off + row.astype("<f4").tobytes(), lost
                lost = 0
