"""Open Bionics Brunel hand, Beetroot firmware: ASCII lines over USB, four motors, no check sum and no acknowledge.

Byte-level facts: the published firmware and the help text that it prints. Every line says a position outright: a bare
finger or grip code toggles, and what it does then depends on what was said before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from myosem_edge.firmware_bridge.hands.base import Feedback, HandInfo, HandLimits
from myosem_edge.firmware_bridge.hands.stepped import KEEP_ALIVE_S, STEPPED_NEUTRALS, SteppedHand, postures_of
from myosem_edge.firmware_bridge.lines import Lines

JOINTS = ("thumb", "index", "middle", "ring_little")  # F0 to F3
ASK = b"A6\n"
LOW, HIGH = 50, 973  # what `A6` reports open and closed
MOST_RAW = 1023
REPORT = re.compile(rb"(\d{1,4}),(\d{1,4}),(\d{1,4}),(\d{1,4}),?")
COMMAND = re.compile(rb"F0 P(\d{1,3})\nF1 P(\d{1,3})\nF2 P(\d{1,3})\nF3 P(\d{1,3})\n")


class BrunelHand(SteppedHand):
    """Positions in percent; what the firmware echoes and explains between its reports is passed over."""

    joints = JOINTS
    postures = postures_of((("thumb", "thumb_rotation"), ("index",), ("middle",), ("ring", "little")))
    info = HandInfo(
        id="brunel",
        name="Open Bionics Brunel hand",
        baud=115200,
        grips=tuple(postures),
        limits=HandLimits(),
        keep_alive_s=KEEP_ALIVE_S,
        has_force=False,
        neutrals=STEPPED_NEUTRALS,
        notes="Needs the Beetroot firmware with its EMG mode off (M0) and CSV mode off. It holds its last position for "
        "ever and knows no stop, so it is moved in short steps and stays where the last one brought it when the loop "
        "dies or the cable is cut.",
    )

    def __init__(self) -> None:
        super().__init__()
        self._lines = Lines(b"\r\n")

    def start(self) -> bytes:
        return ASK

    def poll(self) -> bytes:
        return ASK

    def positions(self, closure: Sequence[float]) -> bytes:
        return b"".join(b"F%d P%d\n" % (finger, round(value * 100)) for finger, value in enumerate(closure))

    def receive(self, data: bytes, now_s: float) -> list[Feedback]:
        found = []
        for line in self._lines.feed(data):
            match = REPORT.fullmatch(line.strip())
            raw = [int(value) for value in match.groups()] if match else []
            if raw and max(raw) <= MOST_RAW:
                found.append(self._report([(value - LOW) / (HIGH - LOW) for value in raw], now_s))
        return found

    def may_send(self, frame: bytes) -> bool:
        if frame == ASK:
            return True
        match = COMMAND.fullmatch(frame)
        percent = [int(value) for value in match.groups()] if match else []
        return bool(percent) and max(percent) <= 100 and frame == self.positions([p / 100 for p in percent])
