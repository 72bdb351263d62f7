"""Backyard Brains' SpikerShields of ten bits on an Arduino: one to six channels that share 10 kHz.

Sources of the byte-level facts: the maker's published Arduino code, and its desktop program (messages in the stream).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import FrontEndInfo
from myosem_edge.firmware_bridge.frontends.options import require_option
from myosem_edge.firmware_bridge.frontends.recognition import Identity, Recognised, flows
from myosem_edge.firmware_bridge.frontends.streaming import Reader, Step, StreamingFrontEnd

MOST_CHANNELS = 6
BASE_HZ = 10_000.0  # shared by the channels
MIDDLE = 512
OPEN, CLOSE = b"\xff\xff\x01\x01\x80\xff", b"\xff\xff\x01\x01\x81\xff"  # of a message in the stream
MOST_MESSAGE_BYTES = 128  # the longest known is a tenth of it
BANNER = b"StartUp!\r\n"  # of a board that was reset
FACTS = {"HWT": "hardware", "HWV": "hardware version", "FWV": "firmware"}

QUIET_S = 0.2  # the board reads a command within milliseconds; the rest is what was on the way
LEAST_FRAMES = 256
CLOCK_TOLERANCE_S = 0.02  # more than the 16 ms for which USB-serial chips hold bytes back

SILENT = "the port is silent: plug the board in again, and check that this is its port"
FOREIGN = "bytes arrive but they are not a SpikerShield's of ten bits: check the port and what runs on the board"


def _recognised(heard: bytes, seconds: float) -> Recognised | None:
    """By its stream alone: older firmware answers no question, and a stream of this kind has no other source."""
    for channels in range(1, MOST_CHANNELS + 1):
        if flows(MarkedFrames(channels, lambda text: None), heard, LEAST_FRAMES):
            return Recognised({"channels": channels})
    return None


class SpikerShield(StreamingFrontEnd):
    """A board that streams by itself, told how many channels it shall send. Samples are counts around the middle of the
    converter's range: the gain of the shields is not published.

    Raises:
        InputError: `channels` is not 1 to 6.
    """

    identity = Identity(_recognised)
    info = FrontEndInfo(
        id="spikershield",
        name="Backyard Brains SpikerShield",
        channels=1,
        rate_hz=BASE_HZ,
        unit="counts",
        full_scale=float(MIDDLE),
        layout="sites",
        baud=230400,
        prefiltered="what the shield's amplifier does",
        loss_visible_by="broken frames; whole frames by time only",
    )
    silent, foreign = SILENT, FOREIGN

    def __init__(self, *, channels: int = 1) -> None:
        require_option(1 <= channels <= MOST_CHANNELS, self.info.id, "channels", channels, f"1 to {MOST_CHANNELS}")
        self.info = replace(self.info, channels=channels, rate_hz=BASE_HZ / channels)
        self.clock_tolerance_samples = CLOCK_TOLERANCE_S * self.info.rate_hz
        super().__init__()

    def _new_reader(self) -> Reader:
        return MarkedFrames(self.info.channels, self._take_message)

    def _start_steps(self) -> list[Step]:
        """The rate is the board's own; the maker's program names it all the same."""
        return [Step(f"conf s:{BASE_HZ:.0f};c:{self.info.channels};\n".encode(), QUIET_S)]

    def _take_message(self, text: bytes) -> None:
        if text == BANNER:
            self.counters.note("board restarts")
        for part in text.decode("latin-1").split(";"):
            name, _, value = part.partition(":")
            if name in FACTS:
                self.facts[FACTS[name]] = value

    def _decode(self, frames: Sequence[bytes]) -> np.ndarray:
        """Samples `(len(frames), channels)`."""
        raw = np.frombuffer(b"".join(frames), np.uint8).reshape(len(frames), -1, 2).astype(np.int32)
        return ((raw[:, :, 0] & 0x07) * 128 + raw[:, :, 1] - MIDDLE).astype(np.float32)


class MarkedFrames:
    """Frames of two bytes per channel, of which the very first has its top bit set and no other.

    A frame is what lies between two such bytes, so it is believed when the next one begins, and only if it has the
    right length and no value of more than ten bits. `take` gets messages and banners, which are lifted out beforehand.
    How many frames a broken piece was, its length tells.
    """

    def __init__(self, channels: int, take: Callable[[bytes], None]) -> None:
        self._length, self._take = 2 * channels, take
        self._most = self._length + MOST_MESSAGE_BYTES  # that a piece may have, for a banner to be found in it
        self._pattern = re.compile(rb"[\x80-\x87][\x00-\x7f]" + rb"(?:[\x00-\x07][\x00-\x7f])" * (channels - 1))
        self._raw = bytearray()  # before messages are lifted out
        self._buffer = bytearray()
        self._broken_bytes = 0  # since the last frame
        self._begun = False
        self.rejected_bytes = 0
        self.resyncs = 0

    def forget(self) -> None:
        self.rejected_bytes += len(self._raw) + len(self._buffer)
        self._raw.clear()
        self._buffer.clear()
        self._broken_bytes, self._begun = 0, False

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        self._raw += data
        self._lift_messages()
        buffer = self._buffer
        at = 0
        for mark in _MARKS.finditer(buffer, 1):
            piece = bytes(buffer[at : mark.start()])
            at = mark.start()
            if BANNER in piece[: self._most]:
                piece = piece.replace(BANNER, b"", 1)
                self._take(BANNER)
            if self._pattern.fullmatch(piece):
                missing = max(1, round(self._broken_bytes / self._length)) if self._broken_bytes else 0
                yield piece, missing if self._begun else 0
                self._broken_bytes, self._begun = 0, True
            else:
                self._reject(len(piece))
        del buffer[:at]
        if (excess := len(buffer) - self._most) > 0:  # no frame any more, whatever comes
            del buffer[-excess:]
            self._reject(excess)

    def _lift_messages(self) -> None:
        raw, buffer = self._raw, self._buffer
        while (found := raw.find(0xFF)) >= 0:
            buffer += raw[:found]
            del raw[:found]
            if len(raw) < len(OPEN) and OPEN.startswith(raw):
                return
            if raw.startswith(OPEN):
                end = raw.find(CLOSE, len(OPEN), MOST_MESSAGE_BYTES)
                if end < 0 and len(raw) < MOST_MESSAGE_BYTES:
                    return
                if end >= 0:
                    self._take(bytes(raw[len(OPEN) : end]))
                    del raw[: end + len(CLOSE)]
                    continue
            buffer += raw[:1]
            del raw[:1]
        buffer += raw
        raw.clear()

    def _reject(self, count: int) -> None:
        if count and self._begun and not self._broken_bytes:
            self.resyncs += 1
        self.rejected_bytes += count
        self._broken_bytes += count


_MARKS = re.compile(rb"[\x80-\xff]")
