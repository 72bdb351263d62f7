"""HackEEG: an ADS1299 on an Arduino Due, eight channels over the Due's own USB port.

Sources of the byte-level facts: the board's published firmware and client, and the ADS1299's data sheet (registers,
status word). Commands and answers are lines of JSON; samples are too, or MessagePack maps, which always have the same
bytes around their data.
"""

from __future__ import annotations

import binascii
import json
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import Chunk, FrontEndInfo
from myosem_edge.firmware_bridge.frontends.options import require_option
from myosem_edge.firmware_bridge.frontends.recognition import Identity, Recognised
from myosem_edge.firmware_bridge.frontends.streaming import Reader, Step, StreamingFrontEnd
from myosem_edge.firmware_bridge.i24 import unpack_i24

CHANNELS = 8
VREF_UV = 4.5e6
SAMPLE_BYTES = 35  # microseconds u32 LE, number u32 LE, status 24 bits BE, channels i24 BE
CHANNELS_AT = 11
WRAP = 2**32

STATUS = b"\nstatus\n"  # in text mode; the first end of line is for what another question has left
OWN_WORDS = re.compile(
    rb'Board name: HackEEG|\{"STATUS_CODE":4\d\d,"STATUS_TEXT":"|\{"C":200,"D":"[A-Za-z0-9+/]{48}"\}'
    rb"|\x82\xa1C\xcc\xc8\xa1D\xc4\x23.{8}[\xc0-\xcf]",
    re.DOTALL,
)

GAINS = {1: 0, 2: 1, 4: 2, 6: 3, 8: 4, 12: 5, 24: 6}  # code in CHnSET
RATES = {250: 6, 500: 5, 1000: 4, 2000: 3, 4000: 2}  # code in CONFIG1; the chip's own 8000 and 16000 are left out
ID, CONFIG1, CONFIG2, CONFIG3, LOFF, CH1SET = range(6)
BIAS_SENSP, BIAS_SENSN, LOFF_SENSP, LOFF_SENSN, LOFF_FLIP = range(0x0D, 0x12)
MISC1, CONFIG4 = 0x15, 0x17
ADS1299_ID = 0x1E  # low five bits of ID: an ADS1299 of eight channels
SHORTED, OFF = 0x01, 0x80  # of CHnSET

QUIET_S = 0.3
ANSWER_S = 1.0
END = b"}\r\n"  # of every answer; samples end their line otherwise

# By the chip's own clock, which is within 2.5 %. A conversion that was missed makes two between two samples.
TWO_CONVERSIONS = 2.1
CLOCK_SHARE = 0.06
MOST_HELD_BYTES = 4096

SILENT = "the port is silent: plug the Due's native USB port in, not its programming port, and check that this is it"
FOREIGN = "bytes arrive but they are not a HackEEG's: choose the port of the Due's native USB"
DEAF = "the board does not answer any more: press its reset button"
NO_SAMPLES = "the board answers but sends no samples that follow one another: press its reset button"
OTHER_CHIP = "the converter says {:#04x} instead of being an ADS1299 of eight channels: check how the shield sits"
REFUSED = "the board refuses {!r} ({}): update its firmware, or press its reset button"
SLIPS = "samples with an impossible status word"
BACK = "times that the sample number or the board's clock went back"
HOLES = "samples that the board left out"


@dataclass(frozen=True)
class Form:
    """How a sample travels: what is around its data, what may be between, and whether the data are base64."""

    head: bytes
    data_bytes: int
    tail: bytes = b""
    between: bytes = b""
    base64: bool = False

    @property
    def length(self) -> int:
        return len(self.head) + self.data_bytes + len(self.tail)


FORMS = {
    "jsonlines": Form(b'{"C":200,"D":"', 48, b'"}', b"\r\n", True),
    "messagepack": Form(bytes.fromhex("82 A1 43 CC C8 A1 44 C4 23"), SAMPLE_BYTES),  # {"C": 200, "D": 35 bytes}
}


def _recognised(heard: bytes, seconds: float) -> Recognised | None:
    """In text mode the board answers; left in another mode it refuses in its own words, in which it also streams."""
    return Recognised() if OWN_WORDS.search(heard) else None


class HackEeg(StreamingFrontEnd):
    """One board. Every register that matters is written at the start.

    `mode` is how samples travel. Inputs are bipolar, or all against SRB1 where `reference` says so. `lead_off` senses
    which electrodes are off, by a direct current of 6 nA; otherwise nothing is known of them.

    Raises:
        InputError: a value is wrong.
    """

    info = FrontEndInfo(
        id="hackeeg",
        name="HackEEG shield (ADS1299) on an Arduino Due",
        channels=CHANNELS,
        rate_hz=1000.0,
        unit="uV",
        full_scale=VREF_UV / 24,
        layout="sites",
        baud=115200,  # USB CDC: any will do
        prefiltered="nothing but the converter's own low-pass at a quarter of the rate",
        loss_visible_by="a counter of samples, and the board's clock for those that the board left out",
    )
    silent, foreign = SILENT, FOREIGN
    identity = Identity(_recognised, STATUS, ANSWER_S)

    def __init__(
        self,
        *,
        rate_hz: Literal[250, 500, 1000, 2000, 4000] = 1000,
        gain: Literal[1, 2, 4, 6, 8, 12, 24] = 24,
        mode: Literal["jsonlines", "messagepack"] = "jsonlines",
        reference: Literal["bipolar", "srb1"] = "bipolar",
        lead_off: Literal["no", "dc"] = "no",
    ) -> None:
        name = self.info.id
        require_option(rate_hz in RATES, name, "rate_hz", rate_hz, "250, 500, 1000, 2000 or 4000")
        require_option(gain in GAINS, name, "gain", gain, "1, 2, 4, 6, 8, 12 or 24")
        require_option(mode in FORMS, name, "mode", mode, "jsonlines or messagepack")
        require_option(reference in ("bipolar", "srb1"), name, "reference", reference, "bipolar or srb1")
        require_option(lead_off in ("no", "dc"), name, "lead_off", lead_off, "no or dc")
        self.mode, self._gain, self._srb1 = mode, gain, reference == "srb1"
        self._sensed = 0xFF if lead_off == "dc" else 0x00
        self._uv_per_count = VREF_UV / (2**23 - 1) / gain
        self.clock_tolerance_samples = CLOCK_SHARE * rate_hz
        self.info = replace(self.info, rate_hz=float(rate_hz), full_scale=2**23 * self._uv_per_count)
        super().__init__()

    @property
    def registers(self) -> dict[int, int]:
        """What is written, in this order. The bias output is the middle of the supply; no input is fed back to it."""
        channels = {CH1SET + channel: GAINS[self._gain] << 4 for channel in range(CHANNELS)}
        return {
            CONFIG1: 0x90 | RATES[int(self.info.rate_hz)],
            CONFIG2: 0xC0,  # no test signal
            CONFIG3: 0xEC,  # the chip's own reference, and a bias output
            LOFF: 0x00,
            **channels,
            BIAS_SENSP: 0x00,
            BIAS_SENSN: 0x00,
            LOFF_SENSP: self._sensed,
            LOFF_SENSN: 0x00 if self._srb1 else self._sensed,
            LOFF_FLIP: 0x00,
            MISC1: 0x20 if self._srb1 else 0x00,
            CONFIG4: 0x02 if self._sensed else 0x00,  # the comparators
        }

    def _new_reader(self) -> Reader:
        self._samples = NumberedSamples(FORMS[self.mode], self.info.rate_hz)
        return self._samples

    def _start_steps(self) -> list[Step]:
        questions = [
            command(self.mode),
            command("rreg", ID),
            *(command("wreg", register, value) for register, value in self.registers.items()),
            command("start"),
            command("rdatac"),
        ]
        return [
            Step(b"\njsonlines\n", QUIET_S),  # it wakes up with commands in plain text
            Step(self._stop_bytes(), QUIET_S),  # it may be streaming from before
            *(Step(question, ANSWER_S, END, DEAF) for question in questions),
        ]

    def _stop_bytes(self) -> bytes:
        return command("stop") + command("sdatac")

    def _heard(self, step: Step, answer: bytes) -> str | None:
        said = _parsed(answer)
        if said is None:
            return FOREIGN
        if said.get("STATUS_CODE") != 200:
            told = json.loads(step.send)["COMMAND"]
            return REFUSED.format(told, ascii(said.get("STATUS_TEXT", said.get("STATUS_CODE")))[:60])
        if step.send == command("rreg", ID):
            chip = said.get("DATA")
            if not isinstance(chip, int) or chip & 0x1F != ADS1299_ID:
                return OTHER_CHIP.format(chip if isinstance(chip, int) else 0)
            self.facts["converter"] = f"ADS1299, revision {chip >> 5}"
        return None

    def _no_frames(self) -> str:
        return NO_SAMPLES

    def receive(self, data: bytes, now_s: float) -> list[Chunk]:
        chunks = super().receive(data, now_s)
        self.counters.notes.update(self._samples.notes)
        return chunks

    def _decode(self, frames: Sequence[bytes]) -> np.ndarray:
        """Samples `(len(frames), 8)` in microvolts."""
        raw = np.frombuffer(b"".join(frames), np.uint8).reshape(-1, SAMPLE_BYTES)
        return (unpack_i24(raw[:, CHANNELS_AT:]) * self._uv_per_count).astype(np.float32)

    def _lead_off(self, frames: Sequence[bytes]) -> int:
        off, registers = 0, self.registers
        for frame in frames:
            positive, negative = lead_off_bits(frame)
            off |= positive & registers[LOFF_SENSP] | negative & registers[LOFF_SENSN]
        return off


def command(name: str, *parameters: int) -> bytes:
    """A command as a line of JSON."""
    return json.dumps({"COMMAND": name, "PARAMETERS": list(parameters)}).encode() + b"\n"


def lead_off_bits(sample: bytes) -> tuple[int, int]:
    """Positive and negative inputs whose electrode is off, one bit a channel: the status word's, sensed or not."""
    status = int.from_bytes(sample[8:CHANNELS_AT], "big")
    return status >> 12 & 0xFF, status >> 4 & 0xFF


def _parsed(answer: bytes) -> dict[str, Any] | None:
    """The object in the last line of an answer, whose closing bracket was its end."""
    try:
        said = json.loads(answer.rpartition(b"\n")[2] + b"}")
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


class NumberedSamples:
    """The 35 bytes of every sample, in one `Form`.

    A sample is believed that has the expected number and comes when it is due by the board's clock; any other one only
    when the next one follows it. Where the number goes on but the clock shows two conversions or more, the board has
    left samples out: it counts what it has read, and reads nothing while the host does not listen.
    """

    def __init__(self, form: Form, rate_hz: float) -> None:
        self._form, self._rate_hz = form, rate_hz
        self._buffer = bytearray()
        self._last: bytes | None = None
        self._begun, self._unseen = False, 0  # whether one was handed on, and how many were not since
        self._lost_sync = False
        self.rejected_bytes = 0
        self.resyncs = 0
        self.notes: dict[str, int] = {}

    def forget(self) -> None:
        self._reject(0, len(self._buffer))
        self._buffer.clear()
        self._last, self._begun, self._unseen, self._lost_sync = None, False, 0, False

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        self._buffer += data
        buffer, form = self._buffer, self._form
        at = 0  # bytes before it are done with
        while True:
            found = buffer.find(form.head, at)
            if found < 0:
                found = max(at, len(buffer) - len(form.head) + 1)  # the end may be the beginning of a head
                self._reject(at, found)
                at = found
                break
            self._reject(at, found)
            at = found
            if len(buffer) - at < form.length:
                break
            sample = self._sample_at(at)
            believed = sample is not None and self._is_believed(at, sample)
            if believed is None:
                break
            if not believed or sample is None:
                self._reject(at, at + 1)
                at += 1
                continue
            if sample == self._last:
                self.rejected_bytes += form.length  # it came twice
            else:
                yield from self._accepted(sample)
            at += form.length
        del buffer[:at]

    def _sample_at(self, at: int) -> bytes | None:
        form, begin = self._form, at + len(self._form.head)
        end = begin + form.data_bytes
        data = bytes(self._buffer[begin:end])
        if not self._buffer.startswith(form.tail, end):
            return None
        if form.base64:
            try:
                data = binascii.a2b_base64(data, strict_mode=True)
            except binascii.Error:
                return None
        return data if len(data) == SAMPLE_BYTES else None

    def _is_believed(self, at: int, sample: bytes) -> bool | None:
        """None: more bytes must tell."""
        whole = self._is_whole(at)
        if not whole:
            return whole
        return sample == self._last or self._is_due(at, sample)

    def _is_whole(self, at: int) -> bool | None:
        """Whether no bytes were lost, in whose place there would be the first ones of what follows."""
        head, end = self._form.head, at + self._form.length
        if self._form.tail:
            return True
        if self._buffer.find(head, at + 1, end + len(head) - 1) >= 0:
            return False
        begun = any(self._buffer.endswith(head[:n], at, end) for n in range(1, len(head)))
        return None if begun and len(self._buffer) < end + len(head) - 1 else True

    def _is_due(self, at: int, sample: bytes) -> bool | None:
        """Whether it follows what came before, or the next one follows it."""
        if self._last is not None and self._missing(self._last, sample) == 0:
            return True
        following = self._buffer.find(self._form.head, at + self._form.length)
        if following < 0 or len(self._buffer) - following < self._form.length:
            return None if len(self._buffer) - at < MOST_HELD_BYTES else False
        after = self._sample_at(following)
        return after is not None and self._missing(sample, after) == 0

    def _missing(self, before: bytes, after: bytes) -> int:
        """Samples between two, by number and by clock; -1 where one of them went back."""
        (clock, number), (next_clock, next_number) = _head(before), _head(after)
        skipped, passed_us = (next_number - number - 1) % WRAP, (next_clock - clock) % WRAP
        if max(skipped, passed_us) >= WRAP // 2:
            return -1
        conversions = passed_us * self._rate_hz / 1e6
        return round(conversions) - 1 if conversions > 1.05 * skipped + TWO_CONVERSIONS else skipped

    def _accepted(self, sample: bytes) -> Iterator[tuple[bytes, int]]:
        if self._last is not None:
            missing = self._missing(self._last, sample)
            if missing < 0:
                self._note(BACK, 1)
            else:
                self._note(HOLES, missing - (_head(sample)[1] - _head(self._last)[1] - 1) % WRAP)
                self._unseen += missing
        self._last, self._lost_sync = sample, False
        if sample[8] >> 4 != 0xC:  # a bit slipped between converter and Arduino
            self._note(SLIPS, 1)
            self.rejected_bytes += self._form.length
            self._unseen += 1
            return
        missing, self._unseen = self._unseen if self._begun else 0, 0
        self._begun = True
        yield sample, missing

    def _note(self, what: str, count: int) -> None:
        if count:
            self.notes[what] = self.notes.get(what, 0) + count

    def _reject(self, begin: int, end: int) -> None:
        count = sum(byte not in self._form.between for byte in self._buffer[begin:end])
        if count:
            self.rejected_bytes += count
            if not self._lost_sync and self._last is not None:
                self.resyncs += 1
            self._lost_sync = True


def _head(sample: bytes) -> tuple[int, int]:
    """Microseconds and number."""
    clock, number = struct.unpack_from("<II", sample)
    return clock, number
