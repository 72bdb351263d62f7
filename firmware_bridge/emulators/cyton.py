"""An emulated OpenBCI Cyton, with or without a Daisy, behind its USB dongle.

It answers the commands that host programs use: reset, start and stop, defaults, channels on and off, gains, lead-off,
8 or 16 channels, sample rate, board mode, time stamps, version. Not emulated: the accelerometer's motion (it lies
still), the internal test signals, marker mode, impedance signals, the SD card.
"""

from __future__ import annotations

import struct

import numpy as np

from myosem_edge.firmware_bridge.emulators.base import SampleSource
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.streaming import StreamingEmulator
from myosem_edge.firmware_bridge.frontends.cyton import CHANNELS, END, FULL_SCALE_UV, VREF_UV
from myosem_edge.firmware_bridge.i24 import pack_i24

GAINS = (1, 2, 4, 6, 8, 12, 24)
OFF, ON = "12345678qwertyui", "!@#$%^&*QWERTYUI"
SELECT = "12345678QWERTYUI"  # of `x` and `z`
RATES = ("16000", "8000", "4000", "2000", "1000", "500", "250")
MODES = ("default", "debug", "analog", "digital", "marker", "BLE")
LONGEST_S = 1.0  # for all characters of one command
RESET_S = 0.5
AT_REST_G = (0, 0, 8000)  # counts of 0.002/16 g: lying flat
BANNER = (
    "OpenBCI V3 8-16 channel\r\nOn Board ADS1299 Device ID: 0x3E\r\n{daisy}"
    "LIS3DH Device ID: 0x33\r\nFirmware: v3.1.2\r\n"
)
LENGTHS = {"x": 9, "z": 5, "~": 2, "/": 2, "`": 2}


class CytonEmulator(StreamingEmulator):
    """A Cyton that plays `source` in microvolts: eight channels at 250 Hz, or with `daisy` sixteen at 125 Hz.

    Without a Daisy it may be told to `board_off`: then only the dongle answers.
    """

    full_scale = FULL_SCALE_UV

    def __init__(
        self, source: SampleSource, *, daisy: bool = False, board_off: bool = False, faults: Faults | None = None
    ) -> None:
        self.channels = 2 * CHANNELS if daisy else CHANNELS
        super().__init__(source, faults=faults)
        self.daisy, self.board_off = daisy, board_off
        self._both = daisy  # whether sixteen channels are in use
        self._command = ""
        self._command_s = 0.0
        self._banner_s: float | None = None
        self._defaults()

    def receive(self, data: bytes, now_s: float) -> None:
        for byte in data:
            self._take(chr(byte), now_s)

    def tick(self, now_s: float) -> None:
        if self._command and now_s - self._command_s > LONGEST_S:
            self._command = ""
            self._say("Timeout processing multi byte message - please send all commands at once as of v2")
        if self._banner_s is not None and now_s >= self._banner_s:
            self._banner_s = None
            self._say(BANNER.format(daisy="On Daisy ADS1299 Device ID: 0x3E\r\n" if self.daisy else ""))
        super().tick(now_s)

    def _defaults(self) -> None:
        self._gain = np.full(2 * CHANNELS, 24.0)
        self._on = np.ones(2 * CHANNELS, bool)
        self._stamps = False

    def _say(self, text: str) -> None:
        if not self.streaming:
            self._outgoing += text.encode() + END

    def _take(self, char: str, now_s: float) -> None:
        if self.board_off:
            self._say("Failure: Communications timeout - Device failed to poll Host")
            return
        if not self._command:
            self._command_s = now_s
        self._command += char
        kind = self._command[0]
        if len(self._command) < LENGTHS.get(kind, 1):
            return
        command, self._command = self._command, ""
        self._carry_out(command, now_s)

    def _carry_out(self, command: str, now_s: float) -> None:
        kind = command[0]
        if kind == "b":
            self._begin(now_s)
        elif kind == "s":
            self._end()
        elif kind == "v":
            self._end()
            self._defaults()
            self._both = self.daisy
            self._banner_s = now_s + RESET_S
        elif kind == "d":
            self._defaults()
            self._say("updating channel settings to default")
        elif kind in OFF or kind in ON:
            self._on[(OFF if kind in OFF else ON).index(kind)] = kind in ON
        elif kind in "<>":
            self._stamps = kind == "<"
            self._say(f"Time stamp {'ON' if self._stamps else 'OFF'}")
        else:
            self._say(self._answer(command))

    def _answer(self, command: str) -> str:
        kind = command[0]
        if kind == "x":
            return self._set_channel(command)
        if kind == "z":
            known = command[1] in SELECT and command[4] == "Z"
            return f"Success: Lead off set for {SELECT.index(command[1]) + 1}" if known else "Failure: too few chars"
        if kind in "cC":
            self._both = kind == "C" and self.daisy
            return "16" if self._both else "8"
        if kind == "~":
            return "Success: Sample rate is 250Hz" if command[1] in "~6" else f"Failure: {command[1]} needs Wi-Fi"
        if kind == "/":
            mode = MODES[int(command[1])] if command[1] in "012345" else MODES[0]
            return f"Success: {mode}"
        if kind == "D":
            return "060110"
        if kind == "V":
            return "v3.1.2"
        return ""

    def _set_channel(self, command: str) -> str:
        channel, off, gain, latch = command[1], command[2], command[3], command[8]
        if latch != "X" or channel not in SELECT or off not in "01" or gain not in "0123456":
            return "Failure: Channel set, wrong characters"
        at = SELECT.index(channel)
        self._on[at], self._gain[at] = off == "0", GAINS[int(gain)]
        return f"Success: Channel set for {at + 1}"

    def _frame(self, samples: np.ndarray, counter: int) -> bytes:
        return b"".join(self._packets(samples, counter))

    def _packets(self, samples: np.ndarray, counter: int) -> tuple[bytes, ...]:
        """One sample as one frame, or with a Daisy as the even and the odd frame of a pair."""
        counts = samples[0].astype(float) * (2**23 - 1) / VREF_UV * self._gain[: self.channels]
        counts = np.where(self._on[: self.channels], counts, 0.0)
        if not self.daisy:
            return (_frame(counter, counts),)
        board = counts[:CHANNELS]
        daisy = counts[CHANNELS:] if self._both else board  # alone, it sends every sample of the source twice
        return _frame(2 * counter, daisy), _frame(2 * counter + (not self.faults.stuck_counter), board)


def _frame(counter: int, counts: np.ndarray) -> bytes:
    return bytes((0xA0, counter % 256)) + pack_i24(counts) + struct.pack(">3h", *AT_REST_G) + b"\xc0"
