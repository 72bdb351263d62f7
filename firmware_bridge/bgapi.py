"""BGAPI: what a Bluegiga BLED112 dongle speaks over its serial port. Framing and the few commands a Myo needs.

A message is four header bytes and a payload: bit 7 of byte 0 marks an event (a command or its response has it clear),
byte 1 is the payload length, byte 2 the class, byte 3 the id; numbers are little-endian. There is no sync word, no
counter and no checksum, so a reader can only trust structure.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from myosem_edge.errors import InputError

Key = tuple[int, int]

CONNECTION_STATUS: Key = (3, 0)
DISCONNECT: Key = (3, 0)
DISCONNECTED: Key = (3, 4)
PROCEDURE_COMPLETED: Key = (4, 1)
READ_BY_HANDLE: Key = (4, 4)
ATTRIBUTE_WRITE: Key = (4, 5)
ATTRIBUTE_VALUE: Key = (4, 5)
SCAN_RESPONSE: Key = (6, 0)
DISCOVER: Key = (6, 2)
CONNECT_DIRECT: Key = (6, 3)
END_PROCEDURE: Key = (6, 4)
SYSTEM_BOOT: Key = (0, 0)

RESPONSE, EVENT = 0x00, 0x80
VALUE_READ, VALUE_NOTIFIED, VALUE_INDICATED = 0, 1, 2

# Connection interval 6 x 1.25 ms, supervision time-out 64 x 10 ms, no slave latency: the fastest link BLE allows.
INTERVAL_UNITS, SUPERVISION_UNITS = 6, 64


@dataclass(frozen=True)
class Message:
    """One whole message from the dongle. `key` is (class, id); an event and a response may share one."""

    event: bool
    key: Key
    payload: bytes

    def result(self) -> int:
        """The result code of a response (0 is success), or 0 for a message that carries none.

        Class 6 puts it first, classes 3 and 4 put the connection number before it.
        """
        at = 0 if self.key[0] == 6 else 1
        return int.from_bytes(self.payload[at : at + 2], "little") if not self.event else 0


def encode(first: int, key: Key, payload: bytes = b"") -> bytes:
    return bytes((first, len(payload), *key)) + payload


def end_procedure() -> bytes:
    return encode(RESPONSE, END_PROCEDURE)


def disconnect(connection: int) -> bytes:
    return encode(RESPONSE, DISCONNECT, bytes((connection,)))


def discover() -> bytes:
    return encode(RESPONSE, DISCOVER, b"\x01")


def connect_direct(address: bytes) -> bytes:
    """`address` is six bytes as the dongle reports them, least significant first."""
    link = struct.pack("<BHHHH", 0, INTERVAL_UNITS, INTERVAL_UNITS, SUPERVISION_UNITS, 0)
    return encode(RESPONSE, CONNECT_DIRECT, address + link)


def read_handle(connection: int, handle: int) -> bytes:
    return encode(RESPONSE, READ_BY_HANDLE, struct.pack("<BH", connection, handle))


def write_handle(connection: int, handle: int, value: bytes) -> bytes:
    return encode(RESPONSE, ATTRIBUTE_WRITE, struct.pack("<BHB", connection, handle, len(value)) + value)


def advertised_services(data: bytes) -> list[uuid.UUID]:
    """The 128-bit services that an advertisement lists: structures of length, type and content, low byte first."""
    services = []
    at = 0
    while at + 1 < len(data) and data[at]:
        kind, content = data[at + 1], data[at + 2 : at + 1 + data[at]]
        if kind in (0x06, 0x07):
            whole = range(0, len(content) - 15, 16)
            services += [uuid.UUID(bytes=content[i : i + 16][::-1]) for i in whole]
        at += 1 + data[at]
    return services


def parse_address(text: str) -> bytes:
    """Six bytes, least significant first, from "D1:22:33:44:55:66".

    Raises:
        InputError: it is not six hexadecimal bytes.
    """
    try:
        address = bytes(int(part, 16) for part in text.split(":"))
    except ValueError:
        address = b""
    if len(address) != 6:
        raise InputError("not a Bluetooth address", found=repr(text), expected="six bytes like D1:22:33:44:55:66")
    return address[::-1]


def show_address(address: bytes) -> str:
    return ":".join(f"{byte:02X}" for byte in address[::-1])


@dataclass(frozen=True)
class _Shape:
    """Payload of one message type: `fixed` bytes, the last of which counts up to `array` more if there is an array."""

    fixed: int
    array: int = 0


# 31 bytes is the longest BLE advertisement; 22 the longest value that fits the dongle's 23-byte ATT packets.
_SHAPES: dict[tuple[int, Key], _Shape] = {
    (RESPONSE, DISCONNECT): _Shape(3),
    (RESPONSE, READ_BY_HANDLE): _Shape(3),
    (RESPONSE, ATTRIBUTE_WRITE): _Shape(3),
    (RESPONSE, DISCOVER): _Shape(2),
    (RESPONSE, CONNECT_DIRECT): _Shape(3),
    (RESPONSE, END_PROCEDURE): _Shape(2),
    (EVENT, SYSTEM_BOOT): _Shape(12),
    (EVENT, (0, 6)): _Shape(2),  # protocol error
    (EVENT, CONNECTION_STATUS): _Shape(16),
    (EVENT, (3, 1)): _Shape(6),  # version of the other side
    (EVENT, (3, 2)): _Shape(2, 8),  # features of the other side
    (EVENT, DISCONNECTED): _Shape(3),
    (EVENT, (4, 0)): _Shape(3),  # an indication of ours was confirmed
    (EVENT, PROCEDURE_COMPLETED): _Shape(5),
    (EVENT, ATTRIBUTE_VALUE): _Shape(5, 22),
    (EVENT, SCAN_RESPONSE): _Shape(11, 31),
}


class Reader:
    """Bytes in any cut to messages. What comes out depends on the bytes alone, never on how they were cut.

    A message is handed out with its last byte: waiting for a look at the next one would cost 10 ms of delay. A byte
    lost inside a message therefore lets that message swallow the head of the next one, and it shows only afterwards,
    when no message follows it. So the last message is kept, and the search for the next header goes back into it: a
    message that starts in there and ends beyond it is genuine.
    """

    def __init__(self) -> None:
        self.rejected_bytes = 0
        self.resyncs = 0
        self._held = bytearray()
        self._done = 0  # bytes at the front of `_held` that were already handed out as a message
        self._at = 0  # where the next header is looked for
        self._in_step = True  # whether it was always found where the last message ended

    def forget(self) -> None:
        """Drop half a message: silence where its rest should be is the other sign of a lost byte."""
        self._in_step = self._in_step and len(self._held) == self._done
        self.rejected_bytes += len(self._held) - self._done
        self._held.clear()
        self._done = self._at = 0

    def feed(self, data: bytes) -> Iterator[Message]:
        self._held += data
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> Message | None:
        while (length := _length(self._held, self._at)) is not None:
            if length and self._at + length > self._done:
                return self._take(length)
            self._at = 1 if self._in_step else self._at + 1
            self._in_step = False
        if self._at > self._done:
            self._drop_front()
        return None

    def _take(self, length: int) -> Message:
        self.resyncs += not self._in_step
        self._drop_front()
        self._done = self._at = length
        self._in_step = True
        raw = bytes(self._held[:length])
        return Message(raw[0] == EVENT, (raw[2], raw[3]), raw[4:])

    def _drop_front(self) -> None:
        """Let go of everything before `_at`; what of it was never handed out is rejected."""
        self.rejected_bytes += max(0, self._at - self._done)
        del self._held[: self._at]
        self._done = self._at = 0


def _length(data: bytearray, at: int) -> int | None:
    """Whole length of the message that starts at `at`; 0 if none can start there; None if more bytes must tell."""
    available = len(data) - at
    if available <= 0:
        return None
    if data[at] not in (RESPONSE, EVENT):
        return 0
    if available < 4:
        return None
    shape = _SHAPES.get((data[at], (data[at + 2], data[at + 3])))
    payload = data[at + 1]
    if shape is None or not shape.fixed <= payload <= shape.fixed + shape.array:
        return 0
    if shape.array:
        if available < 4 + shape.fixed:
            return None
        if data[at + 3 + shape.fixed] != payload - shape.fixed:
            return 0
    return 4 + payload if available >= 4 + payload else None
