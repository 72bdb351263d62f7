"""OpenBCI Cyton, eight channels at 250 Hz, and Cyton with Daisy, sixteen at 125 Hz, through the USB dongle.

Sources of the byte-level facts: the board's and the dongle's published firmware, and BrainFlow's host driver.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import FrontEndInfo
from myosem_edge.firmware_bridge.frontends.counted import CountedFrames
from myosem_edge.firmware_bridge.frontends.recognition import Identity, Recognised
from myosem_edge.firmware_bridge.frontends.streaming import Reader, Step, StreamingFrontEnd
from myosem_edge.firmware_bridge.i24 import unpack_i24

CHANNELS = 8  # of one board
FRAME_BYTES = 33
MARK = b"\xa0"
GAIN = 24.0  # what `d` sets
VREF_UV = 4.5e6
UV_PER_COUNT = VREF_UV / (2**23 - 1) / GAIN  # 0.02235: the ADS1299's data sheet
FULL_SCALE_UV = 2**23 * UV_PER_COUNT
END = b"$$$"  # of every text that the board sends

QUIET_S = 0.2  # a board that still streams from before needs to hear `s` first, and what is on the way to pass
RESET_S = 3.0  # `v` resets the board, which takes half a second and more
ANSWER_S = 1.0

SILENT = "the port is silent: plug the dongle in again, and check that this is its port and its switch is at GPIO 6"
FOREIGN = "bytes arrive but they are not a Cyton's: choose the port of the dongle"
BOARD_OFF = "the dongle answers but the board does not: switch the board to PC, charge it, bring it nearer"
STUCK = "the counter of every frame is the same: the dongle's firmware is older than the board's, update the dongle"

FIRMWARE = re.compile(rb"Firmware:[ \t]*([^\r\n]+)")


def asked_for(*, daisy: bool) -> Identity:
    """`v` resets the board, which then says whether it has a Daisy."""

    def recognise(heard: bytes, seconds: float) -> Recognised | None:
        begin = heard.rfind(b"OpenBCI V3")
        end = heard.find(END, begin)
        if begin < 0 or end < 0 or (b"On Daisy" in heard[begin:end]) != daisy:
            return None
        said = FIRMWARE.search(heard, begin, end)
        return Recognised(facts={"firmware": said[1].decode("latin-1")} if said else {})

    return Identity(recognise, b"v", RESET_S, hush=b"s", quiet_s=QUIET_S)


class Cyton(StreamingFrontEnd):
    """One board of eight channels; a Daisy on it is left off, for twice its rate."""

    clock_tolerance_samples = 128.0  # the counter hides multiples of 256 frames
    silent, foreign = SILENT, FOREIGN
    identity = asked_for(daisy=False)
    info = FrontEndInfo(
        id="cyton",
        name="OpenBCI Cyton",
        channels=CHANNELS,
        rate_hz=250.0,
        unit="uV",
        full_scale=FULL_SCALE_UV,
        layout="sites",
        baud=115200,
        prefiltered="nothing but the converter's own low-pass at a quarter of the rate",
        loss_visible_by="a counter of 256 frames; multiples of 256 by time only",
    )

    def _new_reader(self) -> Reader:
        self._frames = CountedFrames(MARK, FRAME_BYTES, lambda last: 0xC0 <= last <= 0xC6)
        return self._frames

    def _start_steps(self) -> list[Step]:
        off = "the board does not answer any more: charge it and bring it nearer"
        return [
            Step(b"s", QUIET_S),
            Step(b"v", RESET_S, END, off),
            Step(b"d", ANSWER_S, END, off),
            *self._channel_steps(),
            Step(b"b", 0.0),
        ]

    def _channel_steps(self) -> list[Step]:
        return []

    def _stop_bytes(self) -> bytes:
        return b"s"

    def _heard(self, step: Step, answer: bytes) -> str | None:
        text = answer.decode("latin-1")
        if "Communications timeout" in text:
            return BOARD_OFF
        if step.send == b"v":
            for line in text.splitlines():
                if line.startswith("Firmware:"):
                    self.facts["firmware"] = line.partition(":")[2].strip()
            self.facts["daisy"] = "yes" if "On Daisy" in text else "no"
            if self.facts["daisy"] == "yes" and not self._channel_steps():
                self._steps.insert(1, Step(b"c", QUIET_S))  # after `d`, which leaves the Daisy on
        return None

    def _no_frames(self) -> str:
        return STUCK if self._frames.stuck_frames else self.foreign

    def _decode(self, frames: Sequence[bytes]) -> np.ndarray:
        """Samples `(len(frames), 8)` in microvolts."""
        raw = np.frombuffer(b"".join(frames), np.uint8).reshape(-1, FRAME_BYTES)
        return _microvolts(raw[:, 2 : 2 + 3 * CHANNELS])


class CytonDaisy(Cyton):
    """A board and its Daisy. Frames take turns: even counters are channels 9 to 16, odd ones 1 to 8 of one sample."""

    identity = asked_for(daisy=True)
    info = FrontEndInfo(
        id="cyton_daisy",
        name="OpenBCI Cyton with Daisy",
        channels=2 * CHANNELS,
        rate_hz=125.0,
        unit="uV",
        full_scale=FULL_SCALE_UV,
        layout="sites",
        baud=115200,
        prefiltered="every sample is the mean of two conversions",
        loss_visible_by="a counter of 256 frames; multiples of 256 by time only",
    )
    clock_tolerance_samples = 64.0

    def _new_reader(self) -> Reader:
        super()._new_reader()
        return _Pairs(self._frames)

    def _channel_steps(self) -> list[Step]:
        return [Step(b"C", ANSWER_S, END, "the board does not say whether it has a Daisy: bring it nearer")]

    def _heard(self, step: Step, answer: bytes) -> str | None:
        if step.send == b"C" and not answer.endswith(b"16"):
            return (
                "this board has no Daisy: use the front end cyton, or plug the Daisy in and switch the board on again"
            )
        return super()._heard(step, answer)

    def _decode(self, frames: Sequence[bytes]) -> np.ndarray:
        """Samples `(len(frames), 16)` in microvolts; a frame here is a pair."""
        raw = np.frombuffer(b"".join(frames), np.uint8).reshape(-1, 2, FRAME_BYTES)
        daisy, board = raw[:, 0, 2 : 2 + 3 * CHANNELS], raw[:, 1, 2 : 2 + 3 * CHANNELS]
        return _microvolts(np.concatenate([board, daisy], axis=1))


class _Pairs:
    """An even frame and the odd one right after it; a frame without its partner is lost with it, never mixed."""

    def __init__(self, frames: CountedFrames) -> None:
        self._frames = frames
        self._even: bytes | None = None
        self._missing = 0  # frames since the last pair
        self._begun = False

    @property
    def rejected_bytes(self) -> int:
        return self._frames.rejected_bytes

    @property
    def resyncs(self) -> int:
        return self._frames.resyncs

    def forget(self) -> None:
        self._frames.forget()
        self._even, self._missing, self._begun = None, 0, False

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        for frame, missing in self._frames.feed(data):
            self._missing += missing
            if missing and self._even is not None:
                self._missing, self._even = self._missing + 1, None
            if frame[1] % 2 == 0:
                self._even = frame
            elif self._even is None:
                self._missing += 1
            else:
                yield self._even + frame, self._missing // 2 if self._begun else 0
                self._even, self._missing, self._begun = None, 0, True


def _microvolts(data: np.ndarray) -> np.ndarray:
    """Bytes `(n, 3 k)` of counts as microvolts `(n, k)`."""
    return (unpack_i24(data) * UV_PER_COUNT).astype(np.float32)
