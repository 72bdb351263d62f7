"""The grip map: which grip each action asks for, and how sure the decoder must be. A small TOML file."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.hands.base import ROTATIONS, HandInfo
from myosem_edge.runtime.decision import REST

OPEN = "open"
NONE = "none"  # in the file only; `GripRule.grip` is None
# Below one half the hand could close while something else is more likely than what closes it.
LEAST_CLOSING_THRESHOLD = 0.5
WHYS = ("meaning", "chosen")
_KEYS = ("grip", "threshold", "why", "note")


@dataclass(frozen=True)
class GripRule:
    """One row. `grip` is a canonical grip name, "open", or None for rest; `threshold` is on the calibrated probability.

    `why` is "meaning" where the action means that grip, "chosen" where somebody picked it for want of a better one.
    """

    grip: str | None
    threshold: float
    why: str
    note: str = ""


@dataclass(frozen=True)
class GripMap:
    """Action id -> rule. An action without a row asks for nothing."""

    actions: Mapping[str, GripRule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "actions", MappingProxyType(dict(self.actions)))

    def grips(self) -> frozenset[str]:
        """Every closing grip that some action asks for."""
        return frozenset(rule.grip for rule in self.actions.values() if rule.grip not in (None, OPEN))

    def to_toml(self) -> str:
        """Deterministic text, actions in alphabetical order; `load_grip_map` reads back an equal map."""
        tables = []
        for action, rule in sorted(self.actions.items()):
            lines = [
                f"[actions.{_quoted(action)}]",
                f"grip = {_quoted(rule.grip or NONE)}",
                f"threshold = {rule.threshold!r}",
                f"why = {_quoted(rule.why)}",
            ]
            if rule.note:
                lines.append(f"note = {_quoted(rule.note)}")
            tables.append("\n".join(lines) + "\n")
        return "\n".join(tables)


def default_grips_path() -> Path:
    """The map that is shipped, for the actions an eight-channel armband can tell apart."""
    return Path(str(resources.files("myosem_edge.runtime") / "grips_default.toml"))


def load_grip_map(
    source: bytes | Path | str,
    known_actions: Collection[str],
    known_grips: Collection[str],
    *,
    where: str | None = None,
) -> GripMap:
    """Read and check a grip map. Bytes are named `where` in errors; a path names itself.

    Raises:
        InputError: the file cannot be read, is not TOML, names what does not exist, has a value out of range, or lets
            rest, or an action that is not the likelier one, close the hand.
    """
    if isinstance(source, bytes):
        where, data = where or "grip map", source
    else:
        where = where or str(source)
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", where=where) from error
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"is not TOML: {error}", where=where) from error

    for key in document:
        if key != "actions":
            raise _unknown("table", key, ["actions"], where)
    tables = document.get("actions")
    if not isinstance(tables, dict) or not tables:
        raise InputError("has no actions", where=where, expected="at least one table [actions.<id>]")
    return GripMap(
        {action: _rule(action, table, known_actions, known_grips, where) for action, table in tables.items()}
    )


def load_hand_map(
    source: bytes | Path | str, known_actions: Collection[str], hand: HandInfo, *, where: str | None = None
) -> tuple[GripMap, tuple[str, ...]]:
    """The map as this hand can follow it, and the actions that ask it for a turn of a wrist that it has not: they have
    no row, so that they ask for nothing. A wearer may change to a hand without a wrist and keep the map.

    Raises:
        InputError: as `load_grip_map`; any other grip that this hand has not is wrong.
    """
    grip_map = load_grip_map(source, known_actions, {*hand.grips, *ROTATIONS}, where=where)
    impossible = () if hand.rotates_wrist else ROTATIONS
    kept = {action: rule for action, rule in grip_map.actions.items() if rule.grip not in impossible}
    return GripMap(kept), tuple(sorted(grip_map.actions.keys() - kept.keys()))


def no_wrist(hand: HandInfo, actions: Collection[str]) -> str:
    """What the wearer is told of actions that ask for a turn of the wrist; empty where none does."""
    if not actions:
        return ""
    return f"the {hand.name} does not turn its wrist: for {', '.join(actions)} nothing is asked of it"


def _rule(
    action: str, table: Any, known_actions: Collection[str], known_grips: Collection[str], where: str
) -> GripRule:
    if action not in known_actions:
        raise _unknown("action", action, known_actions, where)
    place = f"{where}, [actions.{action}]"
    if not isinstance(table, dict):
        raise InputError("is not a table", where=place, found=repr(table), expected="grip, threshold and why")
    for key in table:
        if key not in _KEYS:
            raise _unknown("key", key, _KEYS, place)
    for key in _KEYS[:3]:
        if key not in table:
            raise InputError(f"{key} is missing", where=place, expected=f"{key} = ...")

    grip, threshold, why, note = (table.get(key, "") for key in _KEYS)
    if grip in ROTATIONS and grip not in known_grips:
        raise InputError("this hand does not turn its wrist", where=f"{place}, grip", found=repr(grip))
    if grip not in (OPEN, NONE) and (not isinstance(grip, str) or grip not in known_grips):
        raise _unknown("grip", grip, [*known_grips, OPEN, NONE], f"{place}, grip")
    is_number = isinstance(threshold, (int, float)) and not isinstance(threshold, bool)
    if not is_number or not math.isfinite(threshold) or not 0 < threshold <= 1:
        raise InputError(
            "is out of range",
            where=f"{place}, threshold",
            found=repr(threshold),
            expected="a probability above 0, up to 1",
        )
    if grip not in (OPEN, NONE):
        if action == REST:
            raise InputError(
                "a resting wearer must not close the hand",
                where=f"{place}, grip",
                found=repr(grip),
                expected=f"{NONE} or {OPEN}",
            )
        if threshold < LEAST_CLOSING_THRESHOLD:
            raise InputError(
                "is too low for a grip that closes",
                where=f"{place}, threshold",
                found=repr(threshold),
                expected=f"at least {LEAST_CLOSING_THRESHOLD}",
            )
    if why not in WHYS:
        raise _unknown("reason", why, WHYS, f"{place}, why")
    if not isinstance(note, str):
        raise InputError("is not text", where=f"{place}, note", found=repr(note), expected="a string")
    return GripRule(None if grip == NONE else grip, float(threshold), why, note)


def _unknown(kind: str, found: object, known: Collection[str], where: str) -> InputError:
    nearest = difflib.get_close_matches(str(found), known, n=1, cutoff=0.5)
    expected = f"perhaps {nearest[0]}" if nearest else f"one of {', '.join(sorted(set(known)))}"
    return InputError(f"unknown {kind}", where=where, found=repr(found), expected=expected)


def _quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char >= " " and char != "\x7f" else f"\\u{ord(char):04X}" for char in escaped) + '"'
