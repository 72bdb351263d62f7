"""An emulated Brunel hand: it echoes what it is told, reports in words, and toggles on a bare code like the real one.

Like the firmware it takes a code wherever its letter stands in a line, with the digits right behind it, and keeps `C`,
`O` and `P` for a later line. So words in capitals move it: `D` plays a demonstration, which is emulated as a fist.
Not emulated: grips that roll fingers, speeds, EMG and CSV mode, settings in EEPROM; `altered` lists what would have
changed them.
"""

from __future__ import annotations

import re

from myosem_edge.firmware_bridge.emulators.fingers import ServoHand
from myosem_edge.firmware_bridge.hands.brunel import HIGH, JOINTS, LOW
from myosem_edge.firmware_bridge.lines import Lines

LONGEST_LINE = 63
UNHEARD = re.compile(rb"[^ #,?0-9A-z]")
KEPT = "COP"  # until a finger or a grip takes them
GRIPS = {  # closure of the four motors
    0: (1.0, 1.0, 1.0, 1.0),
    1: (0.0, 1.0, 1.0, 1.0),
    2: (1.0, 0.0, 1.0, 1.0),
    3: (1.0, 1.0, 0.0, 0.0),
    4: (1.0, 1.0, 1.0, 0.0),
}
# Settings that a line changes: `R` by its letter alone, others by a value that they have.
ALTERS = {"A": range(6), "H": range(1, 3), "M": range(4), "T": range(10**5), "U": range(10**5)}


class BrunelEmulator(ServoHand):
    joints = JOINTS

    def __init__(self, *, object_width_mm: float | None = None) -> None:
        super().__init__(object_width_mm=object_width_mm)
        self._lines = Lines(b"\r\n")
        self._kept: dict[str, int | None] = {}
        self._grip = 0
        self.altered: list[str] = []

    def _take(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            if heard := UNHEARD.sub(b"", line)[:LONGEST_LINE]:
                self._obey(heard)

    def _obey(self, line: bytes) -> None:
        text = line.decode("ascii")
        self._outgoing += b"\n" + line + b"\r\n"
        codes: dict[str, int | None] = {}
        for letter in "ACDFGHMOPRTUX":
            if (found := re.search(letter + r"(\d*)", text)) is not None:
                codes[letter] = int(found[1]) if found[1] else None
        self._kept.update((letter, codes[letter]) for letter in KEPT if letter in codes)
        given = {letter: value for letter, value in codes.items() if letter in ALTERS and value is not None}
        self.altered += [f"{letter}{value}" for letter, value in given.items() if value in ALTERS[letter]]
        self.altered += [letter for letter in "RX" if letter in codes]
        if codes.get("A") == 6:
            raw = (round(LOW + at * (HIGH - LOW)) for at in self.closure)
            self._outgoing += b"".join(b"%d," % value for value in raw) + b"\r\n"
        if "D" in codes:
            self._go(GRIPS[0])
        if (finger := codes.get("F")) is not None and finger < len(self.joints):
            self._turn({finger: 1.0})
        if "G" in codes and (grip := self._grip if codes["G"] is None else codes["G"]) in GRIPS:
            self._grip = grip
            self._turn(dict(enumerate(GRIPS[grip])))
        if codes:
            self.frames_good += 1
        else:
            self.frames_bad += 1

    def _turn(self, closed: dict[int, float]) -> None:
        """Closed, open, to a percentage, or the other way than before."""
        kept, percent = self._kept, self._kept.get("P")
        for finger, most in closed.items():
            servo = self.servos[finger]
            if "C" in kept or "O" in kept:
                share = 1.0 if "C" in kept else 0.0
            elif percent is not None:
                share = min(percent, 100) / 100
            else:
                share = 0.0 if servo.target > 0.5 else 1.0
            servo.target = share * most
        kept.pop(next((letter for letter in KEPT if letter in kept), ""), None)
        self._outgoing += b"Moving\r\n"
