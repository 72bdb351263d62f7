"""Read a TOML table strictly: every key is asked for once, by kind, and what nobody asked for is an error."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable
from typing import Any

from myosem_edge.errors import InputError


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """A hint for a mistyped word, or None when nothing is near."""
    close = difflib.get_close_matches(word, list(valid), n=1)
    return f"Did you mean {close[0]!r}?" if close else None


class Table:
    """One table of a file. `where` is shown in errors: file, then the path of tables down to here."""

    def __init__(self, where: str, data: dict[str, Any]) -> None:
        self._where = where
        self._data = data
        self._asked: set[str] = set()

    def has(self, key: str) -> bool:
        self._asked.add(key)
        return key in self._data

    def text(self, key: str, *, default: str | None = None, among: Collection[str] = (), empty: bool = False) -> str:
        value = self._get(key, default)
        return self._checked_text(key, value, among, empty or default == "")

    def texts(self, key: str, *, among: Collection[str] = ()) -> tuple[str, ...]:
        return tuple(self._checked_text(key, value, among, False) for value in self._list(key))

    def number(self, key: str) -> float:
        return self._checked_number(key, self._get(key))

    def numbers(self, key: str) -> tuple[float, ...]:
        return tuple(self._checked_number(key, value) for value in self._list(key, least=1))

    def whole(self, key: str, *, default: int | None = None) -> int:
        return self._checked_whole(key, self._get(key, default), least=0 if default == 0 else 1)

    def wholes(self, key: str) -> tuple[int, ...]:
        return tuple(self._checked_whole(key, value, least=1) for value in self._list(key, least=1))

    def table(self, key: str) -> Table:
        value = self._get(key)
        if not isinstance(value, dict):
            raise self.wrong(key, "is not a table", value, f"[{key}]")
        return Table(f"{self._where}: {key}", value)

    def tables(self, key: str, *, default: tuple[()] | None = None) -> tuple[Table, ...]:
        value = self._get(key, default)
        if not isinstance(value, list | tuple) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(key, "is not a list of tables", value, f"[[{key}]]")
        return tuple(Table(f"{self._where}: {key}[{index}]", item) for index, item in enumerate(value))

    def finish(self, valid: Collection[str] = ()) -> None:
        """Call when everything has been asked for.

        Raises:
            InputError: a key is left over; names the nearest one that would be valid.
        """
        known = sorted(self._asked | set(valid))
        for key in self._data:
            if key not in known:
                raise InputError(
                    "is not a key that belongs here",
                    where=f"{self._where}: {key}",
                    expected="one of " + ", ".join(known),
                    todo=nearest(key, known),
                )

    def wrong(self, key: str, what: str, found: object = None, expected: object = None) -> InputError:
        return InputError(what, where=f"{self._where}: {key}", found=found, expected=expected)

    def _get(self, key: str, default: object = None) -> Any:
        self._asked.add(key)
        if key in self._data:
            return self._data[key]
        if default is None:
            # A mistyped key shows here first, as the missing right one.
            close = difflib.get_close_matches(
                key, [present for present in self._data if present not in self._asked], n=1
            )
            raise InputError(
                "is missing",
                where=f"{self._where}: {key}",
                todo=f"{close[0]!r} is there: is it misspelt?" if close else None,
            )
        return default

    def _list(self, key: str, *, least: int = 0) -> list[Any]:
        value = self._get(key)
        if not isinstance(value, list) or len(value) < least:
            raise self.wrong(key, "is not a list" if least == 0 else "is not a list with an entry", repr(value))
        return value

    def _checked_text(self, key: str, value: object, among: Collection[str], empty: bool) -> str:
        if not isinstance(value, str) or (not value and not empty):
            raise self.wrong(key, "is not a text", repr(value), "words in quotes")
        if among and value not in among:
            raise InputError(
                "is not known",
                where=f"{self._where}: {key}",
                found=repr(value),
                expected="one of " + ", ".join(among),
                todo=nearest(value, among),
            )
        return value

    def _checked_number(self, key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise self.wrong(key, "is not a positive number", repr(value), "more than 0")
        return float(value)

    def _checked_whole(self, key: str, value: object, *, least: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.wrong(key, "is not a whole number", repr(value), f"at least {least}")
        return value
