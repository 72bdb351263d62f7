"""Presets of a hand: how far each joint closes in a grip, set by whoever fits the hand. A small TOML file.

They change where a grip ends, and nothing else: how fast, how hard, how long and how often the hand moves is bounded by
its limits, whatever its postures are, and opening always opens.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.hands.base import Hand
from myosem_edge.firmware_bridge.hands.stepped import SteppedHand

KEYS = ("hand", "grips")


def load_presets(source: bytes | Path, hand: Hand, *, where: str = "presets") -> dict[str, dict[str, float]]:
    """Read presets and tune the hand with them: closures 0 open to 1 closed, by grip and joint. What the file does not
    name stays as it is. Bytes are named `where` in errors; a path names itself.

    Raises:
        InputError: the file cannot be read, is not TOML or for another hand, names what this hand has not, touches the
            opening, or has a closure outside of 0..1; or this hand forms its grips by itself.
    """
    if isinstance(source, Path):
        where = str(source)
        try:
            source = source.read_bytes()
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", where=where) from error
    try:
        document = tomllib.loads(source.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"is not TOML: {error}", where=where) from error
    if not isinstance(hand, SteppedHand):
        raise InputError(f"the {hand.info.name} forms its grips by itself: nothing of them can be tuned", where=where)
    for key in document:
        if key not in KEYS:
            raise InputError("unknown key", where=where, found=repr(key), expected=" or ".join(KEYS))
    if document.get("hand") != hand.info.id:
        raise InputError(
            "is not for this hand", where=where, found=f"hand = {document.get('hand')!r}", expected=repr(hand.info.id)
        )
    tables = document.get("grips")
    if not isinstance(tables, dict) or not tables:
        raise InputError("has no grips", where=where, expected="at least one table [grips.<name>]")
    return {grip: _tuned(hand, grip, table, f"{where}, [grips.{grip}]") for grip, table in tables.items()}


def _tuned(hand: SteppedHand, grip: str, table: Any, place: str) -> dict[str, float]:
    if not isinstance(table, dict) or not table:
        raise InputError("names no joint", where=place, expected=f"joints, such as {hand.joints[0]} = 0.5")
    closures = {}
    for joint, closure in table.items():
        if isinstance(closure, bool) or not isinstance(closure, int | float):
            raise InputError("is no number", where=f"{place}, {joint}", found=repr(closure), expected="0..1")
        try:
            hand.tune(grip, joint, closure)
        except ValueError as error:
            raise InputError(str(error), where=place) from error
        closures[joint] = float(closure)
    return closures
