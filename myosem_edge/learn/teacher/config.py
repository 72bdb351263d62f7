"""Settings by name onto frozen dataclasses: an unknown key is an error with the nearest valid one."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from myosem_edge.errors import InputError

T = TypeVar("T")


def configure(config: T, settings: Sequence[str]) -> T:
    """Apply `key=value` pairs; nested fields with dots, values as JSON.

    Raises:
        InputError: not key=value, unknown key, or a value of another type.
    """
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise InputError("a setting is KEY=VALUE", found=setting)
        config = _set(config, key.split("."), text, setting)
    return config


def require_between(config: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Check fields of a dataclass against the least and the greatest value they may have.

    Raises:
        InputError: a value is outside, or is not finite.
    """
    for name, (least, most) in ranges.items():
        value = getattr(config, name)
        if not least <= value <= most:
            expected = f"at least {least:g}" if most == math.inf else f"{least:g} to {most:g}"
            raise InputError(f"'{name}' is outside its range", found=value, expected=expected)


def _set(config: T, path: list[str], text: str, setting: str) -> T:
    names = {field.name: getattr(config, field.name) for field in fields(config)}  # type: ignore[arg-type]
    name = path[0]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        raise InputError(
            f"'{name}' is no setting",
            where=setting,
            expected=", ".join(names),
            todo=f"Did you mean '{near[0]}'?" if near else None,
        )
    old = names[name]
    if is_dataclass(old) != (len(path) > 1):
        raise InputError(
            "names a group" if is_dataclass(old) else "names no group", where=setting, todo="Write group.field=value"
        )
    new: Any = _set(old, path[1:], text, setting) if is_dataclass(old) else _value(old, text, setting)
    return replace(config, **{name: new})  # type: ignore[type-var]


def _value(old: Any, text: str, setting: str) -> Any:
    try:
        new = json.loads(text)
    except (ValueError, RecursionError):
        new = text
    if isinstance(old, tuple) and isinstance(new, list):
        new = tuple(new)
    if isinstance(old, float):
        new = _number(new)
    if type(new) is not type(old) or (isinstance(old, tuple) and any(type(x) is not type(old[0]) for x in new)):
        expected = type(old).__name__ if not isinstance(old, tuple) else f"a list of {type(old[0]).__name__}"
        raise InputError("has another type", where=setting, found=type(new).__name__, expected=expected)
    if isinstance(new, float) and not math.isfinite(new):
        raise InputError("is not a finite number", where=setting, found=text)
    return new


def _number(value: Any) -> Any:
    """What reads as a number as a float, so that `nan` is told from a word; anything else as it is."""
    if isinstance(value, bool):
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return value
