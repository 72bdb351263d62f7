"""An emulated Brunel hand: it echoes what it is told, reports in words, and toggles on a bare code like the real one.

Not emulated: grips that roll fingers, EMG modes, CSV mode, settings in EEPROM.
"""

from __future__ import annotations

import re

from myosem_edge.firmware_bridge.emulators.fingers import ServoHand
from myosem_edge.firmware_bridge.hands.brunel import HIGH, JOINTS, LOW
from myosem_edge.firmware_bridge.lines import Lines

LONGEST_LINE = 63
CODE = re.compile(r"([A-Z#?])\s*(\d*)")
GRIPS = {  # closure of the four motors
    0: (1.0, 1.0, 1.0, 1.0),
    1: (0.0, 1.0, 1.0, 1.0),
    2: (1.0, 0.0, 1.0, 1.0),
    3: (1.0, 1.0, 0.0, 0.0),
    4: (1.0, 1.0, 1.0, 0.0),
}


class BrunelEmulator(ServoHand):
    joints = JOINTS

    def __init__(self, *, object_width_mm: float | None = None) -> None:
        super().__init__(object_width_mm=object_width_mm)
        self._lines = Lines(b"\r\n")

    def _take(self, data: bytes) -> None:
        for line in filter(None, self._lines.feed(data)):
            self._obey(line)

    def _obey(self, line: bytes) -> None:
        text = line[:LONGEST_LINE].decode("ascii", "replace")
        codes = dict(CODE.findall(text))
        self._outgoing += line[:LONGEST_LINE] + b"\r\n"
        if codes.get("A") == "6":
            raw = (round(LOW + at * (HIGH - LOW)) for at in self.closure)
            self._outgoing += b"Motor positions\r\n" + b"".join(b"%d," % value for value in raw) + b"\r\n"
        elif "F" in codes and codes["F"] in ("0", "1", "2", "3"):
            self._turn({int(codes["F"]): 1.0}, codes)
        elif "G" in codes and codes["G"].isdigit() and int(codes["G"]) in GRIPS:
            self._turn(dict(enumerate(GRIPS[int(codes["G"])])), codes)
        else:
            self.frames_bad += 1
            return
        self.frames_good += 1

    def _turn(self, closed: dict[int, float], codes: dict[str, str]) -> None:
        """To a percentage, open, closed, or the other way than before."""
        for finger, most in closed.items():
            servo = self.servos[finger]
            if codes.get("P", "").isdigit():
                share = min(int(codes["P"]), 100) / 100
            elif "O" in codes or "C" in codes:
                share = 0.0 if "O" in codes else 1.0
            else:
                share = 0.0 if servo.target > 0.5 else 1.0
            servo.target = share * most
        self._outgoing += b"Moving\r\n"
