"""The project's own wire protocol, version 1: frames that show their losses and say what they measure.

A frame is 00, the COBS coding of a body and its CRC-16, 00. All numbers are little-endian. `docs/wire-protocol.md` is
the specification; what is said there and what is done here are compared by a test.
COBS: Cheshire and Baker 1999. CRC: poly 1021, initial FFFF, as ITU-T's V.41 with that start; check value 29B1.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from cobs import cobs

VERSION = 1
MOST_CHANNELS = 32
LONGEST_BODY = 2048  # with its CRC; 32 channels and 16 samples need 1567
LONGEST_TEXT = 32
ALL_CHANNELS = 255  # of `SET_GAIN`
WRAP = 2**16  # of sequence and overflow

_DATA = struct.Struct("<BBHIHBBB")
_INFO = struct.Struct("<BBBBBBII")
_STREAMING, _DRIVE, _RING = 1, 2, 4  # flags of an info frame; a data frame has the drive alone, at bit 0


class Kind(IntEnum):
    """Low half of the first byte; the high half is the version. Bit 3 is set in what a host sends."""

    DATA = 1
    INFO = 2
    ACKNOWLEDGE = 3
    COMMAND = 8


class Order(IntEnum):
    """What a host can ask for."""

    START = 1
    STOP = 2
    GET_INFO = 3
    SET_RATE = 4
    SET_GAIN = 5
    SET_LEAD_OFF = 6
    SET_MODE = 7


class Result(IntEnum):
    """How a command went."""

    DONE = 0
    UNKNOWN = 1  # no such command here
    MALFORMED = 2  # its arguments have another length
    IMPOSSIBLE = 3  # this device has no such value
    OTHER_VERSION = 4


class Mode(IntEnum):
    """What a device speaks."""

    WIRE = 0
    CYTON = 1


class Malformed(ValueError):
    """The check sum is right and the contents are not: a sender that breaks the protocol."""


@dataclass(frozen=True)
class Data:
    """Consecutive samples, `counts` `(n, channels)` int32. Masks have one bit per channel, the first lowest.

    `sequence` numbers the first sample since the start; `overflow` counts samples that were due and that the device
    left out; both wrap at 65536. `clock_us` is the device's, at the first sample, and wraps at 2**32.
    """

    epoch: int
    sequence: int
    clock_us: int
    overflow: int
    counts: np.ndarray
    drive_on: bool = False
    off_p: int = 0
    off_n: int = 0
    saturated: int = 0

    def body(self) -> bytes:
        n, channels = self.counts.shape
        masks = b"".join(_mask(mask, channels) for mask in (self.off_p, self.off_n, self.saturated))
        head = _DATA.pack(
            _first(Kind.DATA),
            self.epoch,
            self.sequence,
            self.clock_us,
            self.overflow,
            n,
            channels,
            self.drive_on,
        )
        return head + masks + np.ascontiguousarray(self.counts, "<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()

    @classmethod
    def from_body(cls, body: bytes) -> Data:
        if len(body) < _DATA.size:
            raise Malformed("a data frame without its head")
        _, epoch, sequence, clock_us, overflow, n, channels, flags = _DATA.unpack_from(body)
        size = _mask_bytes(channels)
        at = _DATA.size + 3 * size
        if not n or len(body) != at + 3 * n * channels:
            raise Malformed("a data frame of another length than its head says")
        wide = np.zeros((n * channels, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(body, np.uint8, 3 * n * channels, at).reshape(-1, 3)
        counts = (wide.view("<i4")[:, 0] >> 8).reshape(n, channels)
        masks = [int.from_bytes(body[_DATA.size + i * size :][:size], "little") for i in range(3)]
        return cls(epoch, sequence, clock_us, overflow, counts, bool(flags & 1), *masks)


@dataclass(frozen=True)
class Info:
    """What a device is and how it is set. `gains` has one entry per channel; `sense_p` and `sense_n` are the inputs
    whose lead-off bits mean something."""

    epoch: int
    rate_hz: float
    vref_uv: int
    gains: Sequence[float]
    bits: int = 24
    samples_per_frame: int = 1
    streaming: bool = False
    drive_on: bool = False
    ring: bool = False
    sense_p: int = 0
    sense_n: int = 0
    name: str = ""
    version: str = ""
    hardware: str = ""

    @property
    def channels(self) -> int:
        return len(self.gains)

    @property
    def uv_per_count(self) -> np.ndarray:
        """Microvolts at the input, `(channels,)`, as the data sheets of the ADS129x define a count."""
        return self.vref_uv / (2 ** (self.bits - 1) - 1) / np.array(self.gains)

    @property
    def full_scale_uv(self) -> float:
        return float(2 ** (self.bits - 1) * self.uv_per_count.max())

    def body(self) -> bytes:
        head = _INFO.pack(
            _first(Kind.INFO),
            self.epoch,
            self.streaming * _STREAMING | self.drive_on * _DRIVE | self.ring * _RING,
            self.channels,
            self.bits,
            self.samples_per_frame,
            round(1000 * self.rate_hz),
            self.vref_uv,
        )
        masks = _mask(self.sense_p, self.channels) + _mask(self.sense_n, self.channels)
        gains = b"".join(struct.pack("<I", round(1000 * gain)) for gain in self.gains)
        return head + masks + gains + b"".join(_text(each) for each in (self.name, self.version, self.hardware))

    @classmethod
    def from_body(cls, body: bytes) -> Info:
        """What follows the last text belongs to later versions."""
        if len(body) < _INFO.size:
            raise Malformed("an info frame without its head")
        _, epoch, flags, channels, bits, per_frame, rate_mhz, vref_uv = _INFO.unpack_from(body)
        size = _mask_bytes(channels)
        at = _INFO.size + 2 * size + 4 * channels
        if len(body) < at:
            raise Malformed("an info frame without its gains")
        sense_p, sense_n = (int.from_bytes(body[_INFO.size + i * size :][:size], "little") for i in range(2))
        gains = struct.unpack_from(f"<{channels}I", body, _INFO.size + 2 * size)
        if not (rate_mhz and vref_uv and per_frame and all(gains) and 2 <= bits <= 24):
            raise Malformed("an info frame that says nothing about microvolts or time")
        texts = []
        for _ in range(3):
            text = body[at + 1 : at + 1 + body[at]] if at < len(body) else b""
            if at >= len(body) or len(text) != body[at]:
                raise Malformed("an info frame with half a text")
            texts.append(text.decode("utf-8", "replace"))
            at += 1 + len(text)
        return cls(
            epoch, rate_mhz / 1000, vref_uv, tuple(gain / 1000 for gain in gains), bits, per_frame,
            bool(flags & _STREAMING), bool(flags & _DRIVE), bool(flags & _RING), sense_p, sense_n, *texts,
        )  # fmt: skip


@dataclass(frozen=True)
class Acknowledge:
    """The answer to one command, and always the last one."""

    request: int
    order: int
    result: int = Result.DONE

    def body(self) -> bytes:
        return bytes((_first(Kind.ACKNOWLEDGE), self.request, self.order, self.result))

    @classmethod
    def from_body(cls, body: bytes) -> Acknowledge:
        if len(body) < 4:
            raise Malformed("half an acknowledge")
        return cls(*body[1:4])


@dataclass(frozen=True)
class Command:
    """What a host asks for; the device repeats `request` in its acknowledge."""

    request: int
    order: int
    arguments: bytes = field(default=b"", repr=False)

    def body(self) -> bytes:
        return bytes((_first(Kind.COMMAND), self.request, self.order)) + self.arguments

    @classmethod
    def from_body(cls, body: bytes) -> Command:
        if len(body) < 3:
            raise Malformed("half a command")
        return cls(body[1], body[2], body[3:])


def set_rate(request: int, rate_hz: float) -> Command:
    return Command(request, Order.SET_RATE, struct.pack("<I", round(1000 * rate_hz)))


def set_gain(request: int, gain: float, channel: int = ALL_CHANNELS) -> Command:
    return Command(request, Order.SET_GAIN, struct.pack("<BI", channel, round(1000 * gain)))


def set_lead_off(request: int, channels: int, *, drive_on: bool, sense_p: int = 0, sense_n: int = 0) -> Command:
    masks = _mask(sense_p, channels) + _mask(sense_n, channels)
    return Command(request, Order.SET_LEAD_OFF, bytes((drive_on,)) + masks)


def set_mode(request: int, mode: Mode) -> Command:
    return Command(request, Order.SET_MODE, bytes((mode,)))


Message = Data | Info | Acknowledge | Command
_PARSERS = {Kind.DATA: Data, Kind.INFO: Info, Kind.ACKNOWLEDGE: Acknowledge, Kind.COMMAND: Command}


def parse(body: bytes) -> Message | None:
    """What a body of this version says; None: a kind that this version does not know.

    Raises:
        Malformed: it breaks the protocol.
    """
    parser = _PARSERS.get(body[0] & 15)  # type: ignore[call-overload]
    return parser.from_body(body) if parser is not None else None


def version_of(body: bytes) -> int:
    return body[0] >> 4


def frame(message: Message) -> bytes:
    """The bytes on the wire."""
    return frame_of(message.body())


def frame_of(body: bytes) -> bytes:
    return b"\0" + cobs.encode(body + struct.pack("<H", binascii.crc_hqx(body, 0xFFFF))) + b"\0"


class Deframer:
    """Bodies whose check sum is right, from any cut of a stream. A damaged byte costs the frame it hit and no other."""

    def __init__(self) -> None:
        self._block = bytearray()  # since the last 00
        self._hopeless = False  # it is longer than any frame
        self._lost = True
        self.rejected_bytes = 0
        self.resyncs = 0

    def forget(self) -> None:
        """The stream begins anew."""
        self.rejected_bytes += len(self._block)
        self._block.clear()
        self._hopeless, self._lost = False, True

    def reject(self, count: int) -> None:
        """So many bytes were of no use."""
        self.rejected_bytes += count
        self.resyncs += not self._lost
        self._lost = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        *ended, rest = data.split(b"\0")
        for part in ended:
            self._add(part)
            block = bytes(self._block)
            self._block.clear()
            self._hopeless = False
            if block:
                body = _checked(block)
                if body is None:
                    self.reject(len(block))
                else:
                    self._lost = False
                    yield body
        self._add(rest)

    def _add(self, part: bytes) -> None:
        self._block += part
        if self._block and (self._hopeless or len(self._block) > LONGEST_BODY + LONGEST_BODY // 254 + 1):
            self._hopeless = True
            self.reject(len(self._block))
            self._block.clear()


def _checked(block: bytes) -> bytes | None:
    try:
        decoded = cobs.decode(block)
    except cobs.DecodeError:
        return None
    body, sent = decoded[:-2], int.from_bytes(decoded[-2:], "little")
    return body if body and binascii.crc_hqx(body, 0xFFFF) == sent else None


def _first(kind: Kind) -> int:
    return VERSION << 4 | kind


def _mask_bytes(channels: int) -> int:
    """Raises:
    Malformed: no device has so many channels.
    """
    if not 0 < channels <= MOST_CHANNELS:
        raise Malformed(f"{channels} channels")
    return (channels + 7) // 8


def _mask(mask: int, channels: int) -> bytes:
    return mask.to_bytes(_mask_bytes(channels), "little")


def _text(text: str) -> bytes:
    data = text.encode()[:LONGEST_TEXT]
    return bytes((len(data),)) + data
