"""Prosthetic hands, one file each. `HANDS` is the list the command line shows."""

from __future__ import annotations

import difflib

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.hands.ability import AbilityHand
from myosem_edge.firmware_bridge.hands.base import Hand
from myosem_edge.firmware_bridge.hands.brunel import BrunelHand
from myosem_edge.firmware_bridge.hands.dynamixel import DynamixelHand
from myosem_edge.firmware_bridge.hands.inspire import InspireHand
from myosem_edge.firmware_bridge.hands.mia import MiaHand
from myosem_edge.firmware_bridge.hands.rohand import RoHand
from myosem_edge.firmware_bridge.hands.servo import ServoHand
from myosem_edge.firmware_bridge.hands.servo_wrist import ServoWristHand
from myosem_edge.firmware_bridge.hands.two_channel import TwoChannelHand

DRIVERS: tuple[type[Hand], ...] = (
    AbilityHand,
    BrunelHand,
    DynamixelHand,
    InspireHand,
    MiaHand,
    RoHand,
    ServoHand,
    ServoWristHand,
    TwoChannelHand,
)
HANDS: dict[str, type[Hand]] = {hand.info.id: hand for hand in DRIVERS}


def hand(name: str) -> Hand:
    """A driver for the named hand.

    Raises:
        InputError: no hand has that name; the nearest one is suggested.
    """
    if name in HANDS:
        return HANDS[name]()
    nearest = difflib.get_close_matches(name.lower(), HANDS, n=1)
    raise InputError(
        "unknown hand",
        found=repr(name),
        expected=" or ".join(HANDS),
        todo=f"Did you mean {nearest[0]!r}?" if nearest else None,
    )
