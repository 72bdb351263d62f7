"""Lines of ASCII out of any cut of a stream."""

from __future__ import annotations


class Lines:
    """Whole lines without their ends; of one that never ends, the last `most_bytes` are kept."""

    def __init__(self, ends: bytes = b"\n", most_bytes: int = 256) -> None:
        self._ends, self._most_bytes = ends, most_bytes
        self._line = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        found = []
        for byte in data:
            if byte in self._ends:
                found.append(bytes(self._line))
                self._line.clear()
                continue
            self._line.append(byte)
            if len(self._line) > self._most_bytes:
                del self._line[0]
        return found
