"""The Mia hand: sixteen characters a motor, and the stream of its positions."""

from __future__ import annotations

import re

import pytest

from myosem_edge.firmware_bridge.emulators.mia import MiaEmulator
from myosem_edge.firmware_bridge.hands.mia import MiaHand
from tests.firmware_bridge.stepped_spec import SteppedSpec

MOTORS = re.compile(
    rb"@1P\+0(\d\d\d)40\.\.\.\.\.\.\*\r@2P\+0(\d\d\d)40\.\.\.\.\.\.\*\r@3P\+0(\d\d\d)40\.\.\.\.\.\.\*\r"
)


class TestMia(SteppedSpec):
    resolution = 0.001

    def fresh(self) -> MiaHand:
        return MiaHand()

    def emulator(self) -> MiaEmulator:
        return MiaEmulator()

    def asks(self) -> frozenset[bytes]:
        return frozenset({b"@?AreYouPlugged?*\r", b"@ADP1...........*\r"})

    def closures(self, frame: bytes) -> list[float] | None:
        match = MOTORS.fullmatch(frame)
        return [int(text) / 999 for text in match.groups()] if match else None

    def replies(self) -> list[bytes]:
        return [b"e pos +00100   +00200   +00300\n", b"e pos +00000   +00999   +00500\n"]


def test_a_command_is_sixteen_characters_a_motor() -> None:
    frame = MiaHand().positions([1.0, 0.0, 0.5])
    assert frame == b"@1P+099940......*\r@2P+000040......*\r@3P+050040......*\r"
    assert all(len(part) == 16 for part in frame.split(b"*\r")[:-1])


def test_a_named_grasp_closes_the_emulated_hand() -> None:
    hand = MiaEmulator()
    hand.receive(b"@AGCA10050......*\r", 0.0)
    hand.tick(2.0)
    assert min(hand.closure) > 0.7
    hand.receive(b"@AGCa10050......*\r", 2.0)
    hand.tick(4.0)
    assert max(hand.closure) == 0.0


@pytest.mark.parametrize("line", [b"s +00100   +00200   +00300\n", b"<?Plugged\n", b"e pos +01000   +0   +0\n", b"e\n"])
def test_what_is_no_position_is_passed_over(line: bytes) -> None:
    assert MiaHand().receive(line, 1.0) == []
