"""An emulated HackEEG: commands in plain text or as lines of JSON, samples in base64, JSON or MessagePack.

It has the registers of its converter; gains, channels that are off and lead-off sensing act, and a register that is
written while samples flow keeps its value, as on the chip. Its rate is its source's and cannot be set. Not emulated:
single samples (`rdata`), test signals, hexadecimal samples, boards on top of each other.
"""

from __future__ import annotations

import binascii
import json
import struct

import numpy as np

from myosem_edge.firmware_bridge.emulators.base import SampleSource
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.streaming import StreamingEmulator
from myosem_edge.firmware_bridge.frontends.hackeeg import (
    ADS1299_ID,
    CH1SET,
    CHANNELS,
    FORMS,
    GAINS,
    ID,
    LOFF_SENSN,
    LOFF_SENSP,
    OFF,
    SHORTED,
    VREF_UV,
    WRAP,
    HackEeg,
)
from myosem_edge.firmware_bridge.i24 import pack_i24

AT_POWER_UP = bytes.fromhex("3E 96 C0 E0 00 6161616161616161 00 00 00 00 00 00 00 00 00 00 00")
KNOWN = (
    *("nop", "micros", "ledon", "ledoff", "boardledon", "boardledoff", "status", "reset", "start", "stop"),
    *("rdatac", "sdatac", "text", "jsonlines", "messagepack", "rreg", "wreg"),
)
MODES = ("text", *FORMS)


class HackEegEmulator(StreamingEmulator):
    """A board that plays `source` in microvolts at the electrodes. `off_p` and `off_n` are inputs whose electrode is
    off; the converter says so of those that it senses, and says anything of the others."""

    channels = CHANNELS

    def __init__(self, source: SampleSource, *, driver: HackEeg | None = None, faults: Faults | None = None) -> None:
        self.full_scale = (driver or HackEeg()).info.full_scale
        super().__init__(source, faults=faults)
        self.off_p = self.off_n = 0
        self.mode = "text"
        self.registers = bytearray(AT_POWER_UP)
        assert self.registers[ID] & 0x1F == ADS1299_ID
        self._continuous, self._converting = False, True
        self._made = self._number = 0  # samples since streaming began, and since the last `start`
        self._line = bytearray()
        self._outgoing += b"Ready\r\n"

    def receive(self, data: bytes, now_s: float) -> None:
        for byte in data:
            if byte != 0x0A:
                self._line.append(byte)
                continue
            line, self._line = bytes(self._line).strip(), bytearray()
            if self.mode == "text":
                self._take_text(line, now_s)
            else:
                self._take_json(line, now_s)

    def _take_text(self, line: bytes, now_s: float) -> None:
        words = line.decode("latin-1").lower().split()
        if not words:
            return
        if words[0] not in KNOWN:
            self._outgoing += b"406 Error\r\n\r\n"
            return
        try:
            parameters = [int(word, 16) for word in words[1:]]
        except ValueError:
            self._outgoing += b"402 Error\r\n"
            return
        self._answer(*self._carry_out(words[0], parameters, now_s))

    def _take_json(self, line: bytes, now_s: float) -> None:
        try:
            told = json.loads(line)
            parameters = [int(each) & 0xFF for each in told.get("PARAMETERS") or ()]
            name = str(told["COMMAND"])
        except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError):
            self._answer(400, "Bad Request", None)
            return
        self._answer(*self._carry_out(name, parameters, now_s))

    def _answer(self, code: int, text: str, data: object) -> None:
        """In the mode that holds by now."""
        if self.mode == "text":
            answer = f"{code} {text}\r\n" + (f"{data:02X}\r\n" if isinstance(data, int) else "")
            if isinstance(data, dict):
                answer += "".join(f"{key.capitalize().replace('_', ' ')}: {each}\r\n" for key, each in data.items())
        else:
            told = {"STATUS_CODE": code, "STATUS_TEXT": text} | ({} if data is None else {"DATA": data})
            answer = json.dumps(told, separators=(",", ":")) + "\r\n"
        self._outgoing += answer.encode()

    def _carry_out(self, name: str, parameters: list[int], now_s: float) -> tuple[int, str, object]:
        """Status code, its text, and data where there are any."""
        value: object = None
        first, second = (*parameters, 0, 0)[:2]
        if name not in KNOWN:
            return 406, "Unrecognized command", None
        if name in MODES:
            self.mode = name
        elif name == "rreg":
            value = self.registers[first] if first < len(self.registers) else 0
        elif name == "wreg" and not self._continuous and ID < first < len(self.registers):
            self.registers[first] = second
        elif name == "micros":
            value = int(now_s * 1e6) % WRAP
        elif name == "status":
            value = {"driver_version": "v0.4.0", "board_name": "HackEEG", "hardware_type": "ADS1299"}
        elif name == "reset":
            self.registers[:] = AT_POWER_UP
            self._continuous = False
        elif name in ("start", "stop"):
            self._converting = name == "start"
            self._number = 0 if self._converting else self._number
        elif name == "sdatac":
            self._continuous = False
        elif name == "rdatac":
            if all(setting & 7 == SHORTED for setting in self._settings):
                return 502, "No Active Channels", None
            self._continuous = True
        self._follow(now_s)
        return 200, "Ok", value

    @property
    def _settings(self) -> bytearray:
        return self.registers[CH1SET : CH1SET + CHANNELS]

    def _follow(self, now_s: float) -> None:
        if not (self._continuous and self._converting):
            self._end()
        elif not self.streaming:
            self._made = 0
            self._begin(now_s)

    def _frame(self, samples: np.ndarray, counter: int) -> bytes:
        gains = {code: gain for gain, code in GAINS.items()}
        gain = np.array([gains.get(setting >> 4 & 7, 0) for setting in self._settings])
        on = np.array([not setting & OFF and not setting & 7 for setting in self._settings])
        counts = np.where(on, samples[0].astype(float) * gain * (2**23 - 1) / VREF_UV, 0.0)
        # What is not sensed says anything: here, that every electrode is off.
        off_p = self.off_p | ~self.registers[LOFF_SENSP] & 0xFF
        off_n = self.off_n | ~self.registers[LOFF_SENSN] & 0xFF
        status = 0xC << 20 | off_p << 12 | off_n << 4
        clock_us = int(((self._begun_s or 0.0) + self._made / self.source.rate_hz) * 1e6) % WRAP
        data = struct.pack("<II", clock_us, self._number) + status.to_bytes(3, "big") + pack_i24(counts)
        self._made += 1
        self._number = (self._number + (not self.faults.stuck_counter)) % WRAP
        if self.mode == "messagepack":
            return FORMS[self.mode].head + data
        text = binascii.b2a_base64(data, newline=False)
        if self.mode == "text":
            return text + b"\r\n"
        form = FORMS[self.mode]
        return form.head + text + form.tail + b"\n"
