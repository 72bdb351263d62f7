"""Kinds of option that click lacks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from myosem_edge.errors import InputError
from myosem_edge.runtime.backends import BACKENDS

if TYPE_CHECKING:  # a wrong option must not wait for numpy
    from myosem_edge.firmware_bridge.frontends.base import FrontEnd

backend_option = click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default=BACKENDS[0],
    show_default=True,
    help="Which runtime runs the encoder; no other is taken in its place.",
)
front_end_option = click.option(
    "--front-end",
    "front_end_name",
    default="myo",
    show_default=True,
    metavar="NAME[:OPTION=VALUE,...]",
    help="Which front end, and what it has to be told; file:PATH plays what record has written.",
)
port_option = click.option(
    "--port", metavar="PORT", help="Serial port of the front end; a recording that is played has none."
)
LARGEST_SEED = 2**63 - 1  # what both torch and numpy take
SEED = click.IntRange(0, LARGEST_SEED)


class FiniteRange(click.FloatRange):
    """A number within bounds. click's own lets NaN pass, because NaN is neither below nor above anything."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def require_port(front_end: FrontEnd, port: str | None) -> str:
    """Where the front end is, for whoever reads a message.

    Raises:
        click.UsageError: --port is missing, or is one too many.
    """
    from myosem_edge.firmware_bridge.ports import require_path

    try:
        return require_path(front_end, port)
    except InputError as error:
        raise click.UsageError(str(error)) from None
