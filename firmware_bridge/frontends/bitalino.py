"""BITalino (r)evolution: one to six channels at 1000 or 100 Hz over Bluetooth's serial port, UART or USB.

Source of the byte-level facts: the maker's published interface and sensor data sheet. Frames have no mark, only a
sequence of four bits and a check sum of four.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import FrontEndInfo
from myosem_edge.firmware_bridge.frontends.options import require_option
from myosem_edge.firmware_bridge.frontends.recognition import Identity, Recognised
from myosem_edge.firmware_bridge.frontends.streaming import Reader, Step, StreamingFrontEnd

FRAME_BYTES = {1: 3, 2: 4, 3: 6, 4: 7, 5: 8, 6: 8}  # by channels
BITS = (10, 10, 10, 10, 6, 6)
SUPPLY_UV = 3.3e6
RATES = {1: 0, 10: 1, 100: 2, 1000: 3}  # code of the rate command
STOP, VERSION = b"\x00", b"\x07"
SAID = re.compile(rb"BITalino[ _-]*v?([0-9.]+)", re.IGNORECASE)

ROW = 3  # frames; by chance once in a million places
MOST_DAMAGE_BYTES = 64  # behind which the stream is looked for, before the frame ahead of it is given up too

QUIET_S = 0.5  # what is on the way over Bluetooth after a stop
ANSWER_S = 1.0
PAUSE_S = 0.1  # that the maker's program leaves before every command

SILENT = "the port is silent: switch the BITalino on, pair it, and check that this is its port"
FOREIGN = "bytes arrive but they are not a BITalino's: choose its port"


def crc4(frame: bytes | bytearray) -> int:
    """The remainder of all bits of a frame, first bit first, by x^4 + x + 1. It is 0 for a frame with its check sum in
    the last four bits, and is that check sum where they are 0."""
    rest = 0
    for byte in frame:
        rest = _REST[rest << 8 | byte]
    return rest


def _rest_of(bits: int) -> int:
    for place in range(11, 3, -1):
        if bits >> place & 1:
            bits ^= 0b10011 << (place - 4)
    return bits


_REST = bytes(_rest_of(bits) for bits in range(1 << 12))  # of four bits of rest and eight new ones


def _recognised(heard: bytes, seconds: float) -> Recognised | None:
    said = SAID.search(heard)
    return Recognised(facts={"firmware": said[1].decode()}) if said and b"\n" in heard[said.end() :] else None


class Bitalino(StreamingFrontEnd):
    """The first `channels` of its inputs, A1 to A6; the last two have six bits only. `gain` is that of the EMG sensor.

    Raises:
        InputError: a value is wrong.
    """

    info = FrontEndInfo(
        id="bitalino",
        name="BITalino (r)evolution",
        channels=4,
        rate_hz=1000.0,
        unit="uV",
        full_scale=SUPPLY_UV / 2 / 1009,
        layout="sites",
        baud=115200,
        prefiltered="the sensor's own band of 25 to 480 Hz",
        loss_visible_by="a counter of 16 frames; multiples of 16 by time only",
    )
    silent, foreign = SILENT, FOREIGN
    identity = Identity(_recognised, VERSION, ANSWER_S, hush=STOP, quiet_s=QUIET_S)
    clock_tolerance_samples = 8.0  # the counter hides multiples of 16 frames

    def __init__(self, *, channels: int = 4, rate_hz: Literal[100, 1000] = 1000, gain: float = 1009.0) -> None:
        name = self.info.id
        require_option(channels in FRAME_BYTES, name, "channels", channels, "1 to 6")
        require_option(rate_hz in (100, 1000), name, "rate_hz", rate_hz, "100 or 1000")
        require_option(0 < gain <= 1e6, name, "gain", gain, "above 0, at most 1000000")
        self.full_scale_uv = SUPPLY_UV / 2 / gain
        self.info = replace(self.info, channels=channels, rate_hz=float(rate_hz), full_scale=self.full_scale_uv)
        super().__init__()

    def _new_reader(self) -> Reader:
        return CheckedFrames(FRAME_BYTES[self.info.channels])

    def _start_steps(self) -> list[Step]:
        mask = (1 << self.info.channels) - 1
        return [
            Step(STOP, QUIET_S),
            Step(VERSION, ANSWER_S, b"\n", "the BITalino does not tell its version: switch it off and on again"),
            Step(b"", PAUSE_S),
            Step(bytes((RATES[int(self.info.rate_hz)] << 6 | 0x03,)), PAUSE_S),
            Step(bytes((mask << 2 | 0x01,)), 0.0),
        ]

    def _stop_bytes(self) -> bytes:
        return STOP

    def _heard(self, step: Step, answer: bytes) -> str | None:
        said = SAID.search(answer)
        if said is None:
            return FOREIGN
        self.facts["firmware"] = said[1].decode()
        return None

    def _no_frames(self) -> str:
        if "firmware" in self.facts:
            return "the BITalino answers but sends no whole frames: bring it nearer, or switch it off and on again"
        return self.foreign

    def _decode(self, frames: Sequence[bytes]) -> np.ndarray:
        """Samples `(len(frames), channels)` in microvolts."""
        wide = np.zeros((len(frames), 8), np.int32)  # right-aligned: the layout counts from the end
        raw = np.frombuffer(b"".join(frames), np.uint8).reshape(len(frames), -1)
        wide[:, 8 - raw.shape[1] :] = raw
        b = wide.T  # b[-1] is the last byte of every frame
        counts = (
            (b[-2] & 0x0F) << 6 | b[-3] >> 2,
            (b[-3] & 0x03) << 8 | b[-4],
            b[-5] << 2 | b[-6] >> 6,
            (b[-6] & 0x3F) << 4 | b[-7] >> 4,
            (b[-7] & 0x0F) << 2 | b[-8] >> 6,
            b[-8] & 0x3F,
        )
        halves = [2 ** (bits - 1) for bits in BITS]
        scaled = [(count - half) / half for count, half in zip(counts, halves, strict=True)][: self.info.channels]
        return (np.stack(scaled, axis=1) * self.full_scale_uv).astype(np.float32)


class CheckedFrames:
    """Frames of `length` bytes whose last byte is a sequence of four bits and a check sum of four.

    A wrong place passes both once in 256 times. So the stream is taken up only where `ROW` frames follow one another,
    and a frame that continues it is believed once the next one follows, or, where what follows is damaged, once the
    stream is found again behind it with a sequence that fits. Once in 256 damages that is not enough to tell the frame
    before from the one after, and one of them is lost too.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._buffer = bytearray()
        self._expected: int | None = None
        self._lost_sync = False
        self.rejected_bytes = 0
        self.resyncs = 0

    def forget(self) -> None:
        self.rejected_bytes += len(self._buffer)
        self._buffer.clear()
        self._expected = None
        self._lost_sync = False

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        self._buffer += data
        buffer, length = self._buffer, self._length
        at = 0
        while (believed := self._believed(at)) is not None:
            if not believed:
                self._reject()
                at += 1
                continue
            frame, sequence = bytes(buffer[at : at + length]), buffer[at + length - 1] >> 4
            at += length
            missing = 0 if self._expected is None else (sequence - self._expected) % 16
            self._expected, self._lost_sync = (sequence + 1) % 16, False
            yield frame, missing
        del buffer[:at]

    def _believed(self, at: int) -> bool | None:
        """Whether a frame begins here; None: more bytes must tell."""
        buffer, length = self._buffer, self._length
        if len(buffer) - at < 2 * length:
            return None
        sequence = buffer[at + length - 1] >> 4
        if self._lost_sync or sequence != self._expected or not self._is_frame(at, sequence):
            return self._row(at)
        if self._is_frame(at + length, sequence + 1):
            return True
        for place in range(at + 1, at + length + MOST_DAMAGE_BYTES):
            found = self._row(place)
            if found is None:
                return None
            if found:
                if place == at + length:
                    return buffer[at:place] != buffer[place : place + length]  # else it came twice
                # The frame itself found again: bytes came in between, and began like it.
                return place > at + length and buffer[place + length - 1] >> 4 != sequence
        return False

    def _row(self, at: int) -> bool | None:
        if len(self._buffer) - at < ROW * self._length:
            return None
        sequence = self._buffer[at + self._length - 1] >> 4
        return all(self._is_frame(at + i * self._length, sequence + i) for i in range(ROW))

    def _is_frame(self, at: int, sequence: int) -> bool:
        end = at + self._length
        return self._buffer[end - 1] >> 4 == sequence % 16 and crc4(self._buffer[at:end]) == 0

    def _reject(self) -> None:
        self.rejected_bytes += 1
        if not self._lost_sync and self._expected is not None:
            self.resyncs += 1
        self._lost_sync = True
