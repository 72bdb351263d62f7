"""Lines of numbers, as a sketch of one's own prints them: one sample a line, a number per channel.

Numbers are whole or decimal, apart by comma, semicolon, tab or spaces; a line ends with LF or CR LF. No device says how
many channels these are, how fast, or what a number means, so all of it is told.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import FrontEndInfo
from myosem_edge.firmware_bridge.frontends.options import require_option
from myosem_edge.firmware_bridge.frontends.recognition import Identity, Recognised
from myosem_edge.firmware_bridge.frontends.streaming import Reader, StreamingFrontEnd

MOST_CHANNELS = 64
CLOCK_TOLERANCE_S = 0.02  # more than the 16 ms for which USB-serial chips hold bytes back
LEAST_TOLERANCE_SAMPLES = 2.0
LETTERS_OF_A_TEXT = 3  # fewer are what damage makes of digits

NUMBER = rb"[-+]?(?:\d+\.?\d*|\.\d+)"
APART = rb"(?:[ \t]*[,;][ \t]*|[ \t]+)"
LINE = re.compile(NUMBER + rb"(?:" + APART + NUMBER + rb")*[ \t]*[,;]?")
LEAST_LINES = 16
SAME_SHARE = 0.8  # of all lines; the others are damage, and text

SILENT = "the port is silent: plug the board in again, and check that this is its port and its baud rate"


def _recognised(heard: bytes, seconds: float) -> Recognised | None:
    """By lines that all have the same number of numbers. How fast they come is measured; what they mean is not told."""
    lines = [line.strip() for line in heard.split(b"\n")[1:-1]]
    counts = Counter(len(re.findall(NUMBER, line)) for line in lines if LINE.fullmatch(line))
    channels, alike = counts.most_common(1)[0] if counts else (0, 0)
    if alike < max(LEAST_LINES, SAME_SHARE * len(lines)) or channels > MOST_CHANNELS:
        return None
    rate_hz = round(len(lines) / seconds)
    missing = f"its rate (about {rate_hz} lines a second), and bits or largest: --front-end csv:channels={channels},..."
    return Recognised({"channels": channels}, {"lines a second": f"about {rate_hz}"}, missing)


class Csv(StreamingFrontEnd):
    """Anything that prints `channels` numbers a line, `rate_hz` times a second.

    Either `bits` says that numbers are those of a converter of so many bits, from 0 on, which are then taken around
    the middle; or `largest` says up to which magnitude they go to both sides of zero. They are counts, or microvolts
    where `lsb_uv` says how many a step of one is.

    Raises:
        InputError: a value is wrong, or not exactly one of `bits` and `largest` is told.
    """

    info = FrontEndInfo(  # of an example: channels and rate have to be told
        id="csv",
        name="Lines of numbers",
        channels=1,
        rate_hz=1000.0,
        unit="counts",
        full_scale=512.0,
        layout="sites",
        baud=115200,
        prefiltered="whatever the sensor and the sketch do",
        loss_visible_by="damaged lines; whole lines by time only",
    )
    silent = SILENT
    identity = Identity(_recognised, bauds=(9600,))

    def __init__(
        self,
        *,
        channels: int,
        rate_hz: float,
        bits: int | None = None,
        largest: float | None = None,
        lsb_uv: float | None = None,
        baud: int = 115200,
    ) -> None:
        name = self.info.id
        require_option(1 <= channels <= MOST_CHANNELS, name, "channels", channels, f"1 to {MOST_CHANNELS}")
        require_option(1 <= rate_hz <= 20_000, name, "rate_hz", rate_hz, "1 to 20000")
        one = (bits is None) != (largest is None)
        require_option(one, name, "bits", "none" if bits is None else "largest= too", "one of bits= and largest=")
        require_option(bits is None or 1 <= bits <= 32, name, "bits", bits, "1 to 32")
        require_option(largest is None or 0 < largest <= 1e9, name, "largest", largest, "above 0, at most 1000000000")
        require_option(lsb_uv is None or 0 < lsb_uv <= 1e6, name, "lsb_uv", lsb_uv, "above 0, at most 1000000")
        self.bits, self.lsb = bits, 1.0 if lsb_uv is None else lsb_uv
        self.middle = 0 if bits is None else 2 ** (bits - 1)
        self.range = (0.0, 2.0**bits - 1) if bits is not None else (-float(largest or 0), float(largest or 0))
        self.info = replace(
            self.info,
            channels=channels,
            rate_hz=rate_hz,
            unit="counts" if lsb_uv is None else "uV",
            full_scale=(self.middle or self.range[1]) * self.lsb,
            baud=baud,
        )
        self.clock_tolerance_samples = max(LEAST_TOLERANCE_SAMPLES, CLOCK_TOLERANCE_S * rate_hz)
        self.foreign = f"bytes arrive but no lines of {channels} numbers: check port, baud rate and channels"
        super().__init__()

    def _new_reader(self) -> Reader:
        self._lines = Lines(self.info.channels, *self.range)
        return self._lines

    def _no_frames(self) -> str:
        return self._lines.complaint or self.foreign

    def _decode(self, frames: Sequence[bytes]) -> np.ndarray:
        """Samples `(len(frames), channels)`."""
        values = np.frombuffer(b"".join(frames), "<f8").reshape(len(frames), -1)
        return ((values - self.middle) * self.lsb).astype(np.float32)


class Lines:
    """Lines of `channels` numbers within a range, as frames of so many doubles.

    The first line may have begun before anybody listened, and is left out. Text is skipped; other lines are damage,
    each counted for as many samples as it has numbers for, and `complaint` says what was wrong with the last one.
    """

    def __init__(self, channels: int, smallest: float, largest: float) -> None:
        self._channels, self._smallest, self._largest = channels, smallest, largest
        self._sample = re.compile(rb"[ \t]*" + NUMBER + (APART + NUMBER) * (channels - 1) + rb"[ \t]*[,;]?[ \t]*\r?")
        self._number = re.compile(NUMBER)
        self._packed = f"<{channels}d"
        self._most = 64 + 32 * channels  # bytes of a line, before it is given up
        self._buffer = bytearray()
        self._first, self._begun, self._overlong, self._damaged = True, False, False, False
        self._missing = 0
        self.complaint: str | None = None
        self.rejected_bytes = 0
        self.resyncs = 0

    def forget(self) -> None:
        self.rejected_bytes += len(self._buffer)
        self._buffer.clear()
        self._first, self._begun, self._overlong, self._damaged = True, False, False, False
        self._missing = 0

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        self._buffer += data
        buffer = self._buffer
        at = 0
        while (end := buffer.find(b"\n", at)) >= 0:
            line = bytes(buffer[at:end])
            at = end + 1
            overlong = self._overlong or len(line) > self._most
            self._overlong = False
            if self._first:
                self._first = False
                continue
            values = None if overlong else self._values(line)
            if values is not None:
                yield struct.pack(self._packed, *values), self._missing if self._begun else 0
                self._begun, self._damaged, self._missing = True, False, 0
                continue
            self.rejected_bytes += len(line) + 1
            self._count(line, overlong)
        del buffer[:at]
        if len(buffer) > self._most:
            self.rejected_bytes += 0 if self._first else len(buffer)
            self._overlong = True
            buffer.clear()

    def _values(self, line: bytes) -> list[float] | None:
        if self._sample.fullmatch(line) is None:
            return None
        values = [float(number) for number in self._number.findall(line)]
        if self._smallest <= min(values) and max(values) <= self._largest:
            return values
        beyond = next(value for value in values if not self._smallest <= value <= self._largest)
        self.complaint = f"the number {beyond:g} arrives, which is beyond {self._smallest:g} to {self._largest:g}"
        return None

    def _count(self, line: bytes, overlong: bool) -> None:
        numbers = len(self._number.findall(line))
        if not overlong and (not numbers or len(re.findall(rb"[A-Za-z]", line)) >= LETTERS_OF_A_TEXT):
            return
        if numbers != self._channels:
            self.complaint = f"lines of {numbers} numbers arrive, {self._channels} were told"
        self._missing += 1 if overlong else max(1, round(numbers / self._channels))
        self.resyncs += self._begun and not self._damaged
        self._damaged = True
