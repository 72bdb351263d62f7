"""Prensilia Mia hand: sixteen ASCII characters a command, three motors, no check sum and no acknowledge.

Byte-level facts: the vendor's ROS driver (BSD-3).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from myosem_edge.firmware_bridge.hands.base import Feedback, HandInfo, HandLimits
from myosem_edge.firmware_bridge.hands.stepped import KEEP_ALIVE_S, STEPPED_NEUTRALS, SteppedHand, postures_of
from myosem_edge.firmware_bridge.lines import Lines

JOINTS = ("thumb", "middle_ring_little", "index")  # motors 1 to 3
FULL = 999
END = b"*\r"
ASK = b"@?AreYouPlugged?" + END
STREAM_POSITIONS = b"@ADP1..........." + END
COMMAND = re.compile(rb"@1P\+0(\d{3})40\.{6}\*\r@2P\+0(\d{3})40\.{6}\*\r@3P\+0(\d{3})40\.{6}\*\r")
POSITIONS = re.compile(rb"e[^+-]*([+-]\d+)[^+-]*([+-]\d+)[^+-]*([+-]\d+)\D*")  # signs lie in fixed columns


class MiaHand(SteppedHand):
    """Positions 0 to 999; the hand streams them once it was told to."""

    joints = JOINTS
    postures = postures_of((("thumb", "thumb_rotation"), ("middle", "ring", "little"), ("index",)))
    info = HandInfo(
        id="mia",
        name="Prensilia Mia hand",
        baud=115200,
        grips=tuple(postures),
        limits=HandLimits(),
        keep_alive_s=KEEP_ALIVE_S,
        has_force=False,
        neutrals=STEPPED_NEUTRALS,
        notes="It holds its last position for ever, so it is moved in short steps and stays where the last one brought "
        "it when the loop dies or the cable is cut.",
    )

    def __init__(self) -> None:
        super().__init__()
        self._lines = Lines()

    def start(self) -> bytes:
        return STREAM_POSITIONS

    def poll(self) -> bytes:
        return ASK

    def positions(self, closure: Sequence[float]) -> bytes:
        return b"".join(b"@%dP+0%03d40......" % (m, round(v * FULL)) + END for m, v in enumerate(closure, 1))

    def receive(self, data: bytes, now_s: float) -> list[Feedback]:
        found = []
        for line in self._lines.feed(data):
            match = POSITIONS.fullmatch(line.strip())
            if match is None:
                continue  # another stream, an answer to the presence check, or damage
            raw = [int(value) for value in match.groups()]
            if max(map(abs, raw)) > FULL:
                self.frames_bad += 1
            else:
                found.append(self._report([abs(value) / FULL for value in raw], now_s))
        return found

    def may_send(self, frame: bytes) -> bool:
        return frame in (ASK, STREAM_POSITIONS) or COMMAND.fullmatch(frame) is not None
