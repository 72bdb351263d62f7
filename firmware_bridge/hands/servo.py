"""A hand of hobby servos behind any microcontroller, over five lines of ASCII: docs/hands.md has the sketch.

`P a a a a a a` sends six servos to angles in tenths of a degree, `?` asks, and `P a a a a a a` answers where they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from myosem_edge.firmware_bridge.hands.base import Feedback, HandInfo, HandLimits
from myosem_edge.firmware_bridge.hands.stepped import ANATOMY, KEEP_ALIVE_S, POSTURES, STEPPED_NEUTRALS, SteppedHand
from myosem_edge.firmware_bridge.lines import Lines

FULL = 1800  # tenths of a degree
JOINTS = ANATOMY
POSITIONS = re.compile(rb"P((?: \d{1,4})+)")
ASK = b"?\n"


class ServoHand(SteppedHand):
    """Six servos in the order of ANATOMY, 0 open, 1800 closed; a hand with fewer ignores what it lacks."""

    joints: tuple[str, ...] = JOINTS
    postures: Mapping[str, tuple[float | None, ...]] = POSTURES
    info = HandInfo(
        id="servo",
        name="Servo hand over ASCII lines",
        baud=115200,
        grips=tuple(POSTURES),
        limits=HandLimits(),
        keep_alive_s=KEEP_ALIVE_S,
        has_force=False,
        neutrals=STEPPED_NEUTRALS,
        notes="Servos hold their last angle for ever, so they are moved in short steps and stay where the last one "
        "brought them when the loop dies or the cable is cut.",
    )

    def __init__(self) -> None:
        super().__init__()
        self._lines = Lines()

    def start(self) -> bytes:
        return ASK

    def poll(self) -> bytes:
        return ASK

    def positions(self, closure: Sequence[float]) -> bytes:
        return b"P" + b"".join(b" %d" % round(value * FULL) for value in closure) + b"\n"

    def receive(self, data: bytes, now_s: float) -> list[Feedback]:
        found = []
        for line in self._lines.feed(data):
            angles = read_positions(line.rstrip(b"\r"), len(self.joints))
            if angles is None:
                self.frames_bad += 1
            else:
                found.append(self._report([angle / FULL for angle in angles], now_s))
        return found

    def may_send(self, frame: bytes) -> bool:
        if frame == ASK:
            return True
        angles = read_positions(frame[:-1], len(self.joints))
        return angles is not None and frame == self.positions([angle / FULL for angle in angles])


def read_positions(line: bytes, count: int) -> list[int] | None:
    """So many angles in tenths of a degree, 0 to FULL, or None."""
    match = POSITIONS.fullmatch(line)
    angles = [int(word) for word in match[1].split()] if match else []
    return angles if len(angles) == count and max(angles) <= FULL else None
