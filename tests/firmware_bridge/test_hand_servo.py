"""The servo hand: lines that an Arduino understands."""

from __future__ import annotations

import re

from myosem_edge.firmware_bridge.emulators.servo import ServoEmulator
from myosem_edge.firmware_bridge.hands.servo import ServoHand
from tests.firmware_bridge.stepped_spec import SteppedSpec


class ServoSpec(SteppedSpec):
    """Lines of so many angles."""

    resolution = 0.001
    count: int

    def asks(self) -> frozenset[bytes]:
        return frozenset({b"?\n"})

    def closures(self, frame: bytes) -> list[float] | None:
        if not re.fullmatch(rb"P( \d+){%d}\n" % self.count, frame):
            return None
        words = frame.split()[1:]
        if any(word != b"%d" % int(word) or int(word) > 1800 for word in words):
            return None
        return [int(word) / 1800 for word in words]


class TestServo(ServoSpec):
    count = 6

    def fresh(self) -> ServoHand:
        return ServoHand()

    def emulator(self) -> ServoEmulator:
        return ServoEmulator()

    def replies(self) -> list[bytes]:
        return [b"P 0 0 0 0 0 900\n", b"P 1800 0 0 0 0 0\r\n"]


def test_a_line_is_what_the_page_says() -> None:
    assert ServoHand().positions([0.0, 0.5, 1.0, 0.0, 0.0, 0.25]) == b"P 0 900 1800 0 0 450\n"
