"""An emulated Mia hand: positions of its motors, named grasps, the stream of positions, the presence check.

Not emulated: speed and force control, strain gauges, currents, grasp references.
"""

from __future__ import annotations

import re

from myosem_edge.firmware_bridge.emulators.fingers import ServoHand
from myosem_edge.firmware_bridge.hands.mia import END, FULL, JOINTS

STREAM_S = 0.02
LENGTH = 16
MOTOR = re.compile(r"@([123])P\+0(\d{3})(\d\d)\.{6}")
GRASP = re.compile(r"@AG([CPLST])([aA])(\d\d\d)(\d\d)\.{6}")
GRASPS = {
    "C": (0.8, 1.0, 1.0),
    "P": (0.8, 0.0, 0.7),
    "L": (0.5, 1.0, 0.9),
    "S": (0.7, 0.7, 0.7),
    "T": (0.8, 0.7, 0.7),
}


class MiaEmulator(ServoHand):
    joints = JOINTS

    def __init__(self, *, object_width_mm: float | None = None) -> None:
        super().__init__(object_width_mm=object_width_mm)
        self._incoming = bytearray()
        self._streams = False
        self._due_s = 0.0

    def tick(self, now_s: float) -> None:
        super().tick(now_s)
        if self._streams and now_s >= self._due_s:
            self._due_s = now_s + STREAM_S
            fields = "".join(f"+{round(at * FULL):05d}   " for at in self.closure)
            self._outgoing += f"e pos {fields.rstrip()}\n".encode()

    def _take(self, data: bytes) -> None:
        self._incoming += data
        while (end := self._incoming.find(END)) >= 0:
            command, self._incoming = bytes(self._incoming[:end]), self._incoming[end + len(END) :]
            self._obey(command.decode("ascii", "replace"))
        del self._incoming[: max(0, len(self._incoming) - 4 * LENGTH)]

    def _obey(self, command: str) -> None:
        if len(command) == LENGTH and (motor := MOTOR.fullmatch(command)):
            self.servos[int(motor[1]) - 1].target = int(motor[2]) / FULL
        elif len(command) == LENGTH and (grasp := GRASP.fullmatch(command)):
            closed = grasp[2] == "A"
            self._go([part if closed else 0.0 for part in GRASPS[grasp[1]]])
        elif command == "@ADP1" + "." * 11 or command == "@ADP0" + "." * 11:
            self._streams = command[4] == "1"
        elif command == "@?AreYouPlugged?":
            self._outgoing += b"<?Plugged\n"
        else:
            self.frames_bad += 1
            return
        self.frames_good += 1
