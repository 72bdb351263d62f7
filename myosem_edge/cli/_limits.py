"""A hand's limits, and a wearer's, who may only make them tighter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myosem_edge.errors import RefusedError

if TYPE_CHECKING:
    from myosem_edge.firmware_bridge.hands.base import HandLimits
    from myosem_edge.runtime.limits import Limits


def tightened(limits: Limits, max_speed: float | None, max_force: float | None) -> Limits:
    """The hand's limits with the wearer's.

    Raises:
        RefusedError: a wearer's limit is wider than the hand's.
    """
    wearer = {"max_speed": max_speed, "max_force": max_force}
    given = {name: value for name, value in wearer.items() if value is not None}
    for name, value in given.items():
        present = getattr(limits, name)
        if not 0 < value <= present:  # also what is not a number
            option = "--" + name.replace("_", "-")
            raise RefusedError(
                "a wearer's limit can only be tighter than the hand's",
                where=option,
                found=f"{value:g}",
                expected=f"at most {present:g}",
            )
    return limits.tightened(**given)


def hand_limits(hand: HandLimits) -> Limits:
    """The gate's limits for a hand: the hand's own numbers where it has them."""
    from myosem_edge.runtime.limits import Limits

    return Limits(
        max_speed=hand.max_speed,
        max_force=hand.max_force,
        max_commands_per_s=hand.max_commands_per_s,
        max_speed_step=hand.max_speed_step,
        max_close_s=hand.max_close_s,
    )
