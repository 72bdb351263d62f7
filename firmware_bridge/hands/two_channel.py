"""Commercial hands that take two analog muscle signals and nothing else: open and close, as strong as the level.

No such hand has a public digital protocol. A small converter board of one's own stands in place of the two electrodes:
it turns a line `A oooo cccc` into two voltages in millivolts, for opening and for closing, and lets both fall to zero
when no line has come for 200 ms. docs/hands.md says how to build it.
"""

from __future__ import annotations

import re

from myosem_edge.firmware_bridge.hands.base import Feedback, Hand, HandInfo, HandLimits, Neutral
from myosem_edge.firmware_bridge.lines import Lines

FULL_MV = 5000
LEAST_MV = 1000  # the hand's own threshold lies below: a level that is meant has to be seen
SILENCE_S = 0.2
ASK = b"L\n"
LEVELS = re.compile(rb"A (\d{4}) (\d{4})")


def levels(open_mv: int, close_mv: int) -> bytes:
    return b"A %04d %04d\n" % (open_mv, close_mv)


class TwoChannelHand(Hand):
    """Speed becomes the level of one of two channels; what the hand makes of it is the hand's own business."""

    info = HandInfo(
        id="two_channel",
        name="Two-channel output for commercial hands",
        baud=115200,
        grips=("open", "power"),
        limits=HandLimits(),
        keep_alive_s=SILENCE_S,
        has_force=False,
        neutrals=(Neutral.FREEZE,),
        notes="Levels of the converter fall to zero after 200 ms of silence, so nothing goes on when the loop dies or "
        "the cable is cut. Which grip a closing level means is chosen on the hand itself.",
    )

    def __init__(self) -> None:
        self.frames_bad = 0
        self._lines = Lines()

    def start(self) -> bytes:
        return ASK

    def poll(self) -> bytes:
        return ASK

    def release(self) -> bytes:
        return self.stop()

    def grip(self, name: str, speed: float, force: float) -> bytes:
        """Raises ValueError for an unknown grip, or a value outside 0..1."""
        if name not in self.info.grips:
            raise ValueError(f"unknown grip {name!r}; this hand knows {', '.join(self.info.grips)}")
        if not 0 < speed <= 1:
            raise ValueError(f"grip speed {speed} is not in 0..1 (0 excluded)")
        if not 0 <= force <= 1:
            raise ValueError(f"grip force {force} is not in 0..1")
        level_mv = LEAST_MV + int(speed * (FULL_MV - LEAST_MV))
        return levels(level_mv, 0) if name == "open" else levels(0, level_mv)

    def open_hand(self, speed: float) -> bytes:
        return self.grip("open", speed, force=0.0)

    def stop(self) -> bytes:
        return levels(0, 0)

    def relax(self) -> bytes:
        """A hand without a signal stays as it is."""
        return self.stop()

    def receive(self, data: bytes, now_s: float) -> list[Feedback]:
        """The converter says which levels it gives; where the fingers are nobody knows."""
        found = []
        for line in self._lines.feed(data):
            given = read_levels(line.rstrip(b"\r"))
            if given is None:
                self.frames_bad += 1
            else:
                found.append(Feedback(now_s, moving=any(given)))
        return found

    def may_send(self, frame: bytes) -> bool:
        given = read_levels(frame[:-1])
        return frame == ASK or (given is not None and frame == levels(*given))


def read_levels(line: bytes) -> tuple[int, int] | None:
    """Millivolts for opening and closing: one of them, or none; None if the line says nothing of the kind."""
    match = LEVELS.fullmatch(line)
    if match is None:
        return None
    open_mv, close_mv = int(match[1]), int(match[2])
    allowed = (0, *range(LEAST_MV, FULL_MV + 1))
    return (open_mv, close_mv) if open_mv in allowed and close_mv in allowed and not (open_mv and close_mv) else None
