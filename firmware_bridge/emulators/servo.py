"""A microcontroller that turns six servos, as the sketch in docs/hands.md does."""

from __future__ import annotations

from myosem_edge.firmware_bridge.emulators.fingers import ServoHand
from myosem_edge.firmware_bridge.hands.servo import ASK, FULL, JOINTS, read_positions
from myosem_edge.firmware_bridge.hands.servo_wrist import ServoWristHand
from myosem_edge.firmware_bridge.hands.stepped import WRIST
from myosem_edge.firmware_bridge.lines import Lines


class ServoEmulator(ServoHand):
    joints: tuple[str, ...] = JOINTS

    def __init__(self, *, object_width_mm: float | None = None) -> None:
        super().__init__(object_width_mm=object_width_mm)
        self._lines = Lines()

    def _take(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            if line == ASK.strip():
                self.frames_good += 1
                self._outgoing += b"P" + b"".join(b" %d" % round(at * FULL) for at in self.closure) + b"\n"
            elif (angles := read_positions(line, len(self.joints))) is not None:
                self.frames_good += 1
                self._go([angle / FULL for angle in angles])
            else:
                self.frames_bad += 1


class ServoWristEmulator(ServoEmulator):
    """The same with a servo that turns the wrist, which no object in the hand holds up."""

    joints = ServoWristHand.joints
    free_joints = frozenset({WRIST})
