"""Kinds of option that click lacks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from myosem_edge.cli._output import plain
from myosem_edge.errors import DeviceError, InputError
from myosem_edge.runtime.backends import BACKENDS

if TYPE_CHECKING:  # a wrong option must not wait for numpy
    from myosem_edge.firmware_bridge.frontends.base import FrontEnd
    from myosem_edge.firmware_bridge.hands.base import Hand

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
    help="Which front end, and what it has to be told; auto asks the port; file:PATH plays what record has written.",
)
port_option = click.option(
    "--port", metavar="PORT", help="Serial port of the front end; a recording that is played has none."
)
presets_option = click.option(
    "--presets",
    "presets_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Closures of the hand's grips, instead of its own.",
)
AUTO = "auto"
LARGEST_SEED = 2**63 - 1  # what both torch and numpy take
SEED = click.IntRange(0, LARGEST_SEED)


class FiniteRange(click.FloatRange):
    """A number within bounds. click's own lets NaN pass, because NaN is neither below nor above anything."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def front_end_from(text: str, port: str | None) -> tuple[FrontEnd, str]:
    """The driver that `--front-end` names, and its name in full; with `auto`, whichever has its device on the port.

    Raises:
        InputError: there is no such front end, or its options are wrong.
        DeviceError: with `auto`, nothing was recognised there, or something that has to be told more.
    """
    from myosem_edge.firmware_bridge.frontends import make_front_end

    if text != AUTO:
        return make_front_end(text), text
    if port is None:
        raise click.UsageError("--front-end auto needs --port")
    from myosem_edge.cli.ports import find_front_end

    found = find_front_end(port, lambda sentence: click.echo(plain(sentence), err=True))
    click.echo(plain(f"{port}: {found.info.name}, --front-end {found.told}"), err=True)
    if found.missing:
        raise DeviceError(
            f"the {found.info.name.lower()} cannot be used without being told more",
            where=port,
            found=found.told,
            expected=found.missing,
        )
    return make_front_end(found.told), found.told


def hand_from(name: str, presets: Path | None) -> Hand:
    """The driver that `--hand` names, with `--presets`.

    Raises:
        InputError: there is no such hand, or the presets are wrong or for another.
    """
    from myosem_edge.firmware_bridge.hands import hand as hand_named

    hand = hand_named(name)
    if presets is not None:
        from myosem_edge.runtime.presets import load_presets

        load_presets(presets, hand)
    return hand


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
