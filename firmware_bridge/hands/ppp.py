"""PPP-style byte stuffing: flags around a body, and the flag and escape bytes hidden inside it."""

from __future__ import annotations

_FLAG = b"\x7e"
_ESCAPE = b"\x7d"
_MASK = 0x20


def stuff(body: bytes) -> bytes:
    """One frame: flag, body with 7E and 7D replaced by 7D and the byte XOR 20, flag."""
    # The escape goes first: the second replacement must not see the escapes that the first one wrote.
    return _FLAG + body.replace(_ESCAPE, b"\x7d\x5d").replace(_FLAG, b"\x7d\x5e") + _FLAG


def unescape(raw: bytes) -> bytes | None:
    """The body between two flags, or None where an escape has nothing to escape."""
    head, *tails = raw.split(_ESCAPE)
    body = bytearray(head)
    for tail in tails:
        if not tail:
            return None
        body.append(tail[0] ^ _MASK)
        body += tail[1:]
    return bytes(body)


class Unstuffer:
    """Bytes in any cut to bodies. A flag ends one frame and begins the next, so a lost flag costs at most two frames.

    Bodies of two bytes or fewer are line noise (RS-485 adapters add 00 around the flags) and vanish. `rejected` counts
    frames longer than `longest` bytes and frames cut off inside an escape.
    """

    def __init__(self, longest: int = 128) -> None:
        self.rejected = 0
        self._longest_raw = 2 * longest  # every byte may be escaped
        self._partial = b""
        self._overlong = False

    def feed(self, data: bytes) -> list[bytes]:
        *ended, self._partial = (self._partial + data).split(_FLAG)
        bodies = []
        for raw in ended:
            body = None if self._overlong or len(raw) > self._longest_raw else unescape(raw)
            self._overlong = False
            if body is None:
                self.rejected += 1
            elif len(body) > 2:
                bodies.append(body)
        if len(self._partial) > self._longest_raw:
            self._overlong, self._partial = True, b""
        return bodies
