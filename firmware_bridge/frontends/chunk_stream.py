"""Chunks as bytes: how samples reach a driver from what is no serial port, and how a recording is kept while it grows.

One record a chunk: a head, then the samples as float32, all little-endian. A check sum tells a record that a power cut
has torn. A record without samples ends the stream.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import Chunk

TAG = b"CHNK"
HEAD = struct.Struct("<4sIQQQ")  # tag, samples, number of the first one, lost before it, lead-off bits
CRC = struct.Struct("<I")  # CRC-32 of head and samples, right after the head
FIRST_BYTE = HEAD.size + CRC.size
MOST_SAMPLES = 1 << 20  # in one record: more is damage
MASK = 2**64 - 1  # more channels than that have no lead-off


def pack_chunk(chunk: Chunk) -> bytes:
    """`arrival_s` is not kept: samples are numbered."""
    samples = np.ascontiguousarray(chunk.samples, "<f4").tobytes()
    head = HEAD.pack(TAG, len(chunk.samples), chunk.first_sample, chunk.lost, chunk.lead_off & MASK)
    return head + CRC.pack(zlib.crc32(samples, zlib.crc32(head))) + samples


END = pack_chunk(Chunk(np.zeros((0, 1), np.float32), 0, 0.0))


class ChunkReader:
    """Chunks of `channels` from any cut of a stream. What cannot be read ends it: `torn` bytes remain."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._buffer = bytearray()
        self._damaged = False
        self.ended = False

    @property
    def torn(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes, arrival_s: float = 0.0) -> Iterator[Chunk]:
        self._buffer += data
        while not (self.ended or self._damaged) and len(self._buffer) >= FIRST_BYTE:
            tag, count, first, lost, lead_off = HEAD.unpack_from(self._buffer)
            end = FIRST_BYTE + 4 * count * self._channels
            if tag != TAG or count > MOST_SAMPLES:
                self._damaged = True
            if self._damaged or len(self._buffer) < end:
                break
            samples = bytes(self._buffer[FIRST_BYTE:end])
            (crc,) = CRC.unpack_from(self._buffer, HEAD.size)
            if crc != zlib.crc32(samples, zlib.crc32(self._buffer[: HEAD.size])):
                self._damaged = True
                break
            del self._buffer[:end]
            if not count:
                self.ended = True
                break
            rows = np.frombuffer(samples, "<f4").reshape(count, self._channels).astype(np.float32)
            yield Chunk(rows, first, arrival_s, lost, lead_off)
