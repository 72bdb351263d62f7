"""Errors: one tree, one exit code each, and a message of what, where, found, expected and what to do."""

from __future__ import annotations

import re

import pytest

from myosem_edge import errors
from myosem_edge.errors import InputError, MyosemError


def classes() -> list[type[MyosemError]]:
    return [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, MyosemError)]


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    drawn = dict(re.findall(r"(\w+Error) \((\d+)\)", errors.__doc__ or ""))
    assert drawn == {kind.__name__: str(kind.exit_code) for kind in classes()}


def test_exit_codes_are_distinct_and_leave_those_of_click_and_the_shell_alone() -> None:
    codes = [kind.exit_code for kind in classes()]
    assert len(set(codes)) == len(codes)
    assert not {0, 2, 130} & set(codes)
    assert all(code < 126 for code in codes)


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({}, "broken"),
        ({"where": "a.toml"}, "a.toml: broken"),
        ({"found": 3}, "broken (found 3)"),
        ({"expected": 4}, "broken (expected 4)"),
        ({"found": 0, "expected": False}, "broken (found 0, expected False)"),
        ({"todo": "Mend it"}, "broken. Mend it"),
        (
            {"where": "a.toml", "found": 3, "expected": 4, "todo": "Mend it"},
            "a.toml: broken (found 3, expected 4). Mend it",
        ),
    ],
)
def test_the_message_holds_what_is_known(facts: dict[str, object], text: str) -> None:
    error = InputError("broken", **facts)  # type: ignore[arg-type]
    assert str(error) == text
    assert isinstance(error, MyosemError)
    assert [error.what, error.where, error.found, error.expected, error.todo] == [
        "broken",
        *(facts.get(name) for name in ("where", "found", "expected", "todo")),
    ]
