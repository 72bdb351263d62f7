"""The Inspire hand: registers behind EB 90 and an 8-bit sum."""

from __future__ import annotations

import struct

from myosem_edge.firmware_bridge.emulators.inspire import InspireEmulator
from myosem_edge.firmware_bridge.hands.inspire import InspireHand
from tests.firmware_bridge.stepped_spec import SteppedSpec

CLOSE_ALL = bytes.fromhex("EB 90 01 0F 12 CE 05" + "00" * 12 + "F5")
ASK = bytes.fromhex("EB 90 01 04 11 0A 06 0C 32")


def reply(*angles: int) -> bytes:
    body = bytes.fromhex("01 0F 11 0A 06") + struct.pack("<6h", *angles)
    return b"\x90\xeb" + body + bytes((sum(body) % 256,))


class TestInspire(SteppedSpec):
    resolution = 0.001

    def fresh(self) -> InspireHand:
        return InspireHand()

    def emulator(self) -> InspireEmulator:
        return InspireEmulator()

    def asks(self) -> frozenset[bytes]:
        return frozenset({ASK})

    def closures(self, frame: bytes) -> list[float] | None:
        if len(frame) != 20 or frame[:7] != CLOSE_ALL[:7] or sum(frame[2:19]) % 256 != frame[19]:
            return None
        angles = struct.unpack("<6h", frame[7:19])
        return [1 - angle / 1000 for angle in angles] if all(0 <= angle <= 1000 for angle in angles) else None

    def replies(self) -> list[bytes]:
        return [reply(1000, 500, 0, 10, 20, 30), reply(0, 0, 0, 0, 0, 0)]


def test_frames_are_those_of_the_community() -> None:
    hand = InspireHand()
    assert hand.positions([1.0] * 6) == CLOSE_ALL
    assert hand.poll() == ASK


def test_minus_one_leaves_a_finger_of_the_emulated_hand_as_it_is() -> None:
    hand = InspireEmulator()
    body = bytes.fromhex("01 0F 12 CE 05") + struct.pack("<6h", 500, -1, -1, -1, -1, -1)
    hand.receive(b"\xeb\x90" + body + bytes((sum(body) % 256,)), 0.0)
    hand.tick(2.0)
    assert hand.closure == (0.5, 0.0, 0.0, 0.0, 0.0, 0.0)
    hand.receive(b"\xeb\x90" + body + b"\x00", 2.0)
    assert hand.frames_bad == 1
