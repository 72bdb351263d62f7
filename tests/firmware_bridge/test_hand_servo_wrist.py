"""The servo hand with a wrist: turning leaves the fingers alone, and the fingers leave the wrist alone."""

from __future__ import annotations

import pytest

from myosem_edge.firmware_bridge.emulators.servo import ServoWristEmulator
from myosem_edge.firmware_bridge.hands.base import Hand
from myosem_edge.firmware_bridge.hands.servo_wrist import ServoWristHand
from myosem_edge.firmware_bridge.hands.stepped import FULL_STROKE_S, WRIST
from tests.firmware_bridge.test_hand_servo import ServoSpec


class TestServoWrist(ServoSpec):
    count = 7

    def fresh(self) -> ServoWristHand:
        return ServoWristHand()

    def emulator(self) -> ServoWristEmulator:
        return ServoWristEmulator()

    def replies(self) -> list[bytes]:
        return [b"P 0 0 0 0 0 900 0\n", b"P 1800 0 0 0 0 0 1800\r\n"]

    def formed(self, driver: Hand, name: str) -> bytes:
        """From a wrist half turned, where turning it either way is something to be seen."""
        table = self.table()
        wrist = table.emulator.servos[-1]
        wrist.at = wrist.target = 0.5
        table.say(table.driver.poll())
        table.wait(0.1)
        return table.grip(name, 2.0)[-1]

    def test_the_wrist_turns_both_ways_and_a_held_cup_stays_held(self) -> None:
        table = self.table()
        table.emulator.object_width_mm = 60.0
        table.grip("power", 2.0)
        fingers, forces = table.emulator.closure[:-1], [servo.force_n for servo in table.emulator.servos]
        table.grip("pronate", 1.2 * FULL_STROKE_S)
        assert table.emulator.closure[-1] == pytest.approx(1.0, abs=0.01)
        table.grip("supinate", FULL_STROKE_S / 2)
        assert table.emulator.closure[-1] == pytest.approx(0.5, abs=0.05)
        assert table.emulator.closure[:-1] == pytest.approx(fingers, abs=0.002)
        assert [servo.force_n for servo in table.emulator.servos] == pytest.approx(forces, abs=0.2)
        table.grip("open", 2.0)
        assert max(table.emulator.closure[:-1]) < 0.02
        assert table.emulator.closure[-1] == pytest.approx(0.5, abs=0.05), "opening the hand does not turn it"

    def test_the_wrist_is_reported_in_degrees_of_its_own(self) -> None:
        (feedback,) = ServoWristHand().receive(b"P 0 0 0 0 0 1800 900\n", 0.0)
        assert (feedback.position_deg["little"], feedback.position_deg[WRIST]) == (90.0, 90.0)
        (feedback,) = ServoWristHand().receive(b"P 0 0 0 0 0 0 1800\n", 0.0)
        assert feedback.position_deg[WRIST] == 180.0
