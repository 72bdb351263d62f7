"""Damaged inputs: real bytes, changed a little or a lot. The same seed makes the same."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

MOST_BYTES = 1 << 16
WORDS = (
    b"nan", b"inf", b"-1", b"1e999", b"99999999999999999999", b"0", b"null", b"true", b"{}", b"[]", b'"', b"\\u0000",
    b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\r\n", b"=", b",",
    b"\xa0", b"\xc0", b"[" * 3000, b'{"a":' * 3000, b"(" * 300,
)  # fmt: skip


class Damage:
    """A stream of damaged copies of `seeds`."""

    def __init__(self, seeds: Sequence[bytes], seed: int) -> None:
        self._seeds = [each for each in seeds if each] or [b"\x00"]
        self._random = random.Random(seed)

    def next(self) -> bytes:
        """One input: once in sixteen nothing but random bytes, else a seed with one to eight changes."""
        chance = self._random
        if chance.random() < 1 / 16:
            return chance.randbytes(chance.randint(0, 400))
        data = bytearray(chance.choice(self._seeds))
        for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
            self._change(data)
        return bytes(data[:MOST_BYTES])

    def _change(self, data: bytearray) -> None:
        chance = self._random
        at = chance.randint(0, len(data))
        size = min(len(data) - at, chance.choice((1, 1, 2, 4, 8, 64, 512)))
        kind = chance.randrange(9)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = chance.randrange(256)
        elif kind == 2:
            del data[at : at + size]
        elif kind == 3:
            data[at:at] = chance.randbytes(size or 1)
        elif kind == 4:
            data[at:at] = data[at : at + size] * chance.choice((1, 1, 2, 16))
        elif kind == 5:
            data[at : at + chance.choice((0, size))] = chance.choice(WORDS)
        elif kind == 6:
            del data[at:]
        elif kind == 7:
            width, sign = chance.choice(((1, "B"), (2, "H"), (4, "I"), (8, "Q")))
            number = chance.choice((0, 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), chance.getrandbits(8 * width)))
            data[at : at + width] = struct.pack(f"{chance.choice('<>')}{sign}", number)
        else:
            other = chance.choice(self._seeds)
            begin = chance.randint(0, len(other))
            data[at : at + size] = other[begin : begin + chance.choice((size, 64, 1024))]
