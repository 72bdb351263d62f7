"""What can be told of a front end, in one word: `NAME:option=value,option=value`.

The options of a driver are the keyword arguments of its constructor, with their names, types and defaults; nothing else
says what they are.
"""

from __future__ import annotations

import difflib
import inspect
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.frontends.base import FrontEnd


@dataclass(frozen=True)
class Option:
    """One keyword argument of a driver's constructor: `choices` are all its values where they can be listed."""

    name: str
    kind: type  # int, float or str
    choices: tuple[Any, ...]
    required: bool

    def read(self, text: str, where: str) -> Any:
        """The value that `text` means.

        Raises:
            InputError: it means none.
        """
        try:
            value = self.kind(text.strip())
        except ValueError:
            value = None
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            expected = {int: "a whole number", float: "a number"}[self.kind]
            raise InputError(f"{self.name} has a wrong value", where=where, found=repr(text), expected=expected)
        if self.choices and value not in self.choices:
            expected = " or ".join(str(choice) for choice in self.choices)
            raise InputError(f"{self.name} has a wrong value", where=where, found=repr(text), expected=expected)
        return value


def options_of(driver: type[FrontEnd]) -> Mapping[str, Option]:
    """What can be told of a front end, by name, in the order of its constructor."""
    hints = get_type_hints(driver.__init__)
    return {
        each.name: _option(each, hints[each.name])
        for each in inspect.signature(driver).parameters.values()
        if each.kind is inspect.Parameter.KEYWORD_ONLY
    }


def read_options(driver: type[FrontEnd], text: str) -> dict[str, Any]:
    """Keyword arguments for `driver` from `option=value,option=value`, or from all of it where it takes that as one.

    Raises:
        InputError: an option that is not known, comes twice, is missing, or has a wrong value; names those it has.
    """
    name, known = driver.info.id, options_of(driver)
    if driver.takes_all is not None and text:
        return {driver.takes_all: text}
    expected = ", ".join(f"{option}=" for option in known) or "no options"
    values: dict[str, Any] = {}
    for part in text.split(",") if text else ():
        option, equals, value = part.partition("=")
        option = option.strip()
        if not equals or option not in known or option in values:
            why = "is told twice" if option in values else "no such option of this front end"
            near = difflib.get_close_matches(option, known, n=1)
            raise InputError(
                why if equals else "an option has no value",
                where=name,
                found=repr(part),
                expected=expected,
                todo=f"Did you mean {near[0]}=?" if near and option not in known else None,
            )
        values[option] = known[option].read(value, name)
    if missing := [option.name for option in known.values() if option.required and option.name not in values]:
        raise InputError(
            "this front end has to be told more",
            where=name,
            found=repr(text) if text else "no options",
            expected=", ".join(f"{option}=" for option in missing),
            todo=f"Write {name}:{(driver.takes_all or '').upper() or ','.join(f'{each}=VALUE' for each in missing)}",
        )
    return values


def require_option(right: bool, front_end: str, option: str, found: object, expected: str) -> None:
    """For the constructors of drivers.

    Raises:
        InputError: the value of an option is not right.
    """
    if not right:
        raise InputError(f"{option} has a wrong value", where=front_end, found=found, expected=expected)


def _option(parameter: inspect.Parameter, hint: Any) -> Option:
    required = parameter.default is inspect.Parameter.empty
    if get_origin(hint) in (Union, types.UnionType):  # of a type and None: not told
        (hint,) = (each for each in get_args(hint) if each is not type(None))
    choices: tuple[Any, ...] = ()
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        hint = type(choices[0])
    assert hint in (int, float, str), f"{parameter.name}: nobody can type a {hint} on a command line"
    return Option(parameter.name, hint, choices, required)
