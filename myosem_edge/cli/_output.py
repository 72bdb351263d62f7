"""What every command shares about its output: aligned tables, and JSON where output is data."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import click

json_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON instead of text."
)


def plain(text: str) -> str:
    """One line without control characters: a file's name or contents must not steer the terminal that shows them."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def table(rows: Sequence[Sequence[object]], header: Sequence[str] = ()) -> str:
    """Rows of equal length as left-aligned columns, two spaces apart."""
    lines = [[plain(str(cell)) for cell in row] for row in ([header, *rows] if header else rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def print_json(value: object) -> None:
    """One JSON document on standard output; refuses NaN, which is no JSON."""
    click.echo(json.dumps(value, indent=2, sort_keys=True, allow_nan=False))
