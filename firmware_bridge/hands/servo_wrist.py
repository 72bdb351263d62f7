"""The servo hand with a seventh servo, which turns the wrist: the lines of `servo` with one number more."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from myosem_edge.firmware_bridge.hands.servo import ServoHand
from myosem_edge.firmware_bridge.hands.stepped import POSTURES, TURNED, WRIST

FULL_TURN_DEG = 180.0  # of a hobby servo
FINGERS_STAY = (None,) * len(ServoHand.joints)


class ServoWristHand(ServoHand):
    """Seven servos: those of the servo hand, and the wrist from 0 palm up to 1800 palm down."""

    joints = (*ServoHand.joints, WRIST)
    postures = {name: (*closure, None) for name, closure in POSTURES.items()} | {
        name: (*FINGERS_STAY, turned) for name, turned in TURNED.items()
    }
    ranges_deg: ClassVar[dict[str, float]] = {WRIST: FULL_TURN_DEG}
    info = replace(
        ServoHand.info,
        id="servo_wrist",
        name="Servo hand with a wrist",
        grips=(*POSTURES, *TURNED),
        rotates_wrist=True,
    )
