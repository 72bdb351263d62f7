"""Boards with Upside Down Labs' Chords firmware: Arduino and its kin, 3 to 16 channels at 250 or 500 Hz.

Sources of the byte-level facts: the firmware, and the maker's own host program (names, channels, rates and bits of the
boards).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import FrontEndInfo
from myosem_edge.firmware_bridge.frontends.counted import CountedFrames
from myosem_edge.firmware_bridge.frontends.options import require_option
from myosem_edge.firmware_bridge.frontends.recognition import Identity, Recognised
from myosem_edge.firmware_bridge.frontends.streaming import Reader, Step, StreamingFrontEnd

MARK, END = b"\xc7\x7c", 0x01
MOST_CHANNELS = 16


@dataclass(frozen=True)
class Kind:
    """What a board's firmware was built for."""

    channels: int
    rate_hz: float
    bits: int


BOARDS = {
    "GENUINO-UNO": Kind(6, 250.0, 10),
    "GIGA-R1": Kind(6, 500.0, 16),
    "MEGA-2560-CLONE": Kind(16, 250.0, 10),
    "MEGA-2560-R3": Kind(16, 250.0, 10),
    "NANO-CLASSIC": Kind(8, 250.0, 10),
    "NANO-CLONE": Kind(8, 250.0, 10),
    "NPG-LITE": Kind(3, 500.0, 12),
    "RPI-PICO-RP2040": Kind(3, 500.0, 12),
    "STM32F4-BLACK-PILL": Kind(8, 500.0, 12),
    "STM32G4-CORE-BOARD": Kind(16, 500.0, 12),
    "UNO-CLONE": Kind(6, 250.0, 10),
    "UNO-R3": Kind(6, 250.0, 10),
    "UNO-R4": Kind(6, 500.0, 14),
}

# The firmware reads until nothing came for one second: two commands within that time are one that it does not know.
THINKS_S = 1.0
QUIET_S = 1.5
ANSWER_S = 3.0  # an Arduino that was reset by opening its port hears nothing for the first two

SILENT = "the port is silent: plug the board in again, and check that this is its port and its baud rate"
FOREIGN = "bytes arrive but they are not a Chords board's: check port, firmware and baud rate"


def _recognised(heard: bytes, seconds: float) -> Recognised | None:
    """By its name. Older firmware knows the question in capitals alone, which would reset a Brunel hand."""
    names = {line.decode("latin-1") for line in heard.split(b"\r\n")[:-1]} & BOARDS.keys()
    return Recognised({"board": names.pop()}) if len(names) == 1 else None


class Chords(StreamingFrontEnd):
    """A board and the analog front end on it. Nothing but the start and the stop is ever said to it: the firmware ends
    its stream when any byte arrives.

    `board` is what it calls itself; firmware that was built otherwise is told by `channels`, `rate_hz` and `bits`, and
    a board that is not known by all three. Samples are counts around the middle of the converter's range, or
    microvolts where its reference `vref_v` and the `gain` of the analog front end are told.

    Raises:
        InputError: a value is wrong, the board is not known, or one of `vref_v` and `gain` is missing.
    """

    info = FrontEndInfo(
        id="chords",
        name="Upside Down Labs Chords firmware",
        channels=6,
        rate_hz=250.0,
        unit="counts",
        full_scale=512.0,
        layout="sites",
        baud=230400,
        prefiltered="what the analog front end does",
        loss_visible_by="a counter of 256 frames; multiples of 256 by time only",
    )
    silent, foreign = SILENT, FOREIGN
    identity = Identity(_recognised, b"\nwhoru\n", ANSWER_S, quiet_s=QUIET_S, bauds=(115200,))
    clock_tolerance_samples = 128.0  # the counter hides multiples of 256 frames

    def __init__(
        self,
        *,
        board: str = "UNO-R3",
        channels: int | None = None,
        rate_hz: float | None = None,
        bits: int | None = None,
        vref_v: float | None = None,
        gain: float | None = None,
        baud: int = 230400,
    ) -> None:
        name = self.info.id
        self.board = board
        self._built: dict[str, Any] = {
            option: value
            for option, value in (("channels", channels), ("rate_hz", rate_hz), ("bits", bits))
            if value is not None
        }
        known = board in BOARDS or len(self._built) == 3
        require_option(known, name, "board", repr(board), f"{', '.join(BOARDS)}, or channels=, rate_hz= and bits=")
        self.kind = kind = replace(BOARDS.get(board, BOARDS["UNO-R3"]), **self._built)
        require_option(1 <= kind.channels <= MOST_CHANNELS, name, "channels", channels, f"1 to {MOST_CHANNELS}")
        require_option(1 <= kind.rate_hz <= 10_000, name, "rate_hz", rate_hz, "1 to 10000")
        require_option(8 <= kind.bits <= 16, name, "bits", bits, "8 to 16")
        both = (vref_v is None) == (gain is None)
        require_option(both, name, "vref_v" if vref_v is None else "gain", "nothing", "vref_v= and gain= together")
        self.lsb = 1.0
        if vref_v is not None and gain is not None:
            require_option(0.5 <= vref_v <= 12, name, "vref_v", vref_v, "0.5 to 12")
            require_option(0 < gain <= 1e6, name, "gain", gain, "above 0, at most 1000000")
            self.lsb = 1e6 * vref_v / 2**kind.bits / gain
        self.info = replace(
            self.info,
            channels=kind.channels,
            rate_hz=kind.rate_hz,
            unit="counts" if gain is None else "uV",
            full_scale=2 ** (kind.bits - 1) * self.lsb,
            baud=baud,
        )
        super().__init__()

    def _new_reader(self) -> Reader:
        largest, channels = 2**self.kind.bits - 1 >> 8, self.kind.channels
        high = slice(3, 3 + 2 * channels, 2)
        return CountedFrames(
            MARK, 4 + 2 * channels, lambda last: last == END, lambda frame: max(frame[high]) <= largest
        )

    def _start_steps(self) -> list[Step]:
        return [
            Step(b"STOP\n", QUIET_S),
            Step(b"WHORU\n", ANSWER_S, b"\r\n", "the board does not say what it is any more: plug it in again"),
            Step(b"START\n", 0.0),
        ]

    def _stop_bytes(self) -> bytes:
        return b"STOP\n"

    def _heard(self, step: Step, answer: bytes) -> str | None:
        said = re.search(rb"[A-Z][A-Z0-9-]{2,31}$", answer)
        if said is None:
            return FOREIGN
        name = said[0].decode()
        self.facts["board"] = name
        if name not in BOARDS and len(self._built) < 3:
            return f"the board calls itself {name}, which is not known here: tell its channels, rate_hz and bits"
        if name in BOARDS and replace(BOARDS[name], **self._built) != self.kind:
            return f"the board calls itself {name}: use --front-end chords:board={name}"
        return None

    def _no_frames(self) -> str:
        if "board" in self.facts:
            return f"the board answers, but sends no frames of {self.kind.channels} channels: tell how it was built"
        return self.foreign

    def _decode(self, frames: Sequence[bytes]) -> np.ndarray:
        """Samples `(len(frames), channels)`."""
        raw = np.frombuffer(b"".join(frames), np.uint8).reshape(len(frames), -1)
        counts = raw[:, 3:-1].copy().view(">u2").astype(np.float32) - 2 ** (self.kind.bits - 1)
        return (counts * np.float32(self.lsb)).astype(np.float32)
