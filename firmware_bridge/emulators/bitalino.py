"""An emulated BITalino (r)evolution.

It knows the commands for version, state, battery threshold, rate, start, stop, idle, digital outputs and their pulse
width. What is on its inputs beside the recording is the middle of the range; the battery is full.
"""

from __future__ import annotations

import struct

import numpy as np

from myosem_edge.firmware_bridge.emulators.base import SampleSource
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.streaming import StreamingEmulator
from myosem_edge.firmware_bridge.frontends.bitalino import BITS, FRAME_BYTES, RATES, STOP, Bitalino, crc4

INPUTS = len(BITS)
IDLE, STATE, PULSE = 0xFF, 0x0B, 0xA3
BATTERY = 645  # counts of ten bits


class BitalinoEmulator(StreamingEmulator):
    """A BITalino whose first inputs are the channels of `source`, in microvolts at the sensor behind `driver`'s gain.

    A host that asks for a lower rate than the source's gets every so many-th sample; one that asks for a higher one
    gets the source's. Firmware from 5.2 on tells its state in 17 bytes, before in 16.
    """

    def __init__(
        self,
        source: SampleSource,
        *,
        driver: Bitalino | None = None,
        firmware: str = "5.2",
        faults: Faults | None = None,
    ) -> None:
        driver = driver or Bitalino()
        self.channels, self.full_scale = driver.info.channels, driver.info.full_scale
        super().__init__(source, faults=faults)
        self.firmware = firmware
        self.battery_threshold = 0
        self.outputs = [0, 0]
        self.pulse = 0
        self._inputs: list[int] = []  # that are sent, from 0
        self._awaits_pulse = False

    def receive(self, data: bytes, now_s: float) -> None:
        for byte in data:
            self._take(byte, now_s)

    def _take(self, byte: int, now_s: float) -> None:
        if self._awaits_pulse:
            self._awaits_pulse, self.pulse = False, byte
        elif byte == IDLE:
            self._end()
        elif byte == PULSE:
            self._awaits_pulse = True
        elif byte & 0xF3 == 0xB3:
            self.outputs = [byte >> 2 & 1, byte >> 3 & 1]
        elif self.streaming:
            if byte == STOP[0]:
                self._end()
        elif byte == 0x07:
            self._outgoing += f"BITalino_v{self.firmware}\n".encode()
        elif byte == STATE:
            self._outgoing += self._state()
        elif byte & 0x3F == 0x03:
            rate_hz = next(rate for rate, code in RATES.items() if code == byte >> 6)
            self.samples_per_frame = max(1, round(self.source.rate_hz / rate_hz))
        elif byte & 0x03 == 0x00:
            self.battery_threshold = byte >> 2
        elif byte & 0x03 == 0x01 and byte >> 2:
            self._inputs = [i for i in range(INPUTS) if byte >> (2 + i) & 1]
            self._counter = 0
            self._begin(now_s)

    def _state(self) -> bytes:
        body = struct.pack("<7H", *(2 ** (bits - 1) for bits in BITS), BATTERY) + bytes((self.battery_threshold,))
        body += b"\x00" if float(self.firmware) >= 5.2 else b""
        return _checked(body + bytes((self.outputs[0] << 5 | self.outputs[1] << 4,)))

    def _frame(self, samples: np.ndarray, counter: int) -> bytes:
        counts: list[int] = []
        for i in self._inputs:
            half = 2 ** (BITS[len(counts)] - 1)  # the fifth and the sixth that are sent have six bits
            part = samples[-1, i] / self.full_scale if i < self.channels else 0.0
            counts.append(min(max(round(float(part) * half) + half, 0), 2 * half - 1))
        return frame(counts, counter, (0, 0, *self.outputs))


def frame(counts: list[int], sequence: int, digital: tuple[int, ...] = (0, 0, 0, 0)) -> bytes:
    """One to six values as they are sent, the first four of ten bits and the others of six, and I1 I2 O1 O2.

    Read from its last byte to its first, a frame is one row of bits: sequence, check sum, digital, A1, A2 and so on.
    """
    fields = [(sequence % 16, 4), (0, 4), *((bit, 1) for bit in digital), *zip(counts, BITS, strict=False)]
    row = "".join(f"{value:0{bits}b}" for value, bits in fields)
    length = FRAME_BYTES[len(counts)]
    return _checked(int(row.ljust(8 * length, "0"), 2).to_bytes(length, "little"))


def _checked(body: bytes) -> bytes:
    """`body` with its check sum in the last four bits, which are zero."""
    return body[:-1] + bytes((body[-1] | crc4(body),))
