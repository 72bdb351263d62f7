"""`myosem-edge grips`: which grip each action asks for."""

from __future__ import annotations

from pathlib import Path

import click

from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.cli.grip_edit import edit
from myosem_edge.cli.grip_trial import trial

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def grips() -> None:
    """Which grip an action takes, and how sure the decoder must be."""


@grips.command()
@click.argument("file", type=_FILE, required=False)
@json_option
def show(file: Path | None, as_json: bool) -> None:
    """Show a grip map; the shipped one when no FILE is given."""
    from myosem_edge.actions.catalogue import load_catalogue
    from myosem_edge.runtime.grips import NONE, default_grips_path, load_grip_map

    catalogue = load_catalogue()
    rules = load_grip_map(file or default_grips_path(), catalogue.ids, catalogue.grips).actions
    if as_json:
        print_json({action: {**vars(rule), "grip": rule.grip or NONE} for action, rule in rules.items()})
        return
    rows = [(action, rule.grip or NONE, f"{rule.threshold:g}", rule.why, rule.note) for action, rule in rules.items()]
    click.echo(table(rows, ("action", "grip", "threshold", "why", "note")))


@grips.command()
@click.argument("file", type=_FILE)
@click.option("--hand", "hand_name", metavar="NAME", help="Also check that this hand can form every grip.")
def check(file: Path, hand_name: str | None) -> None:
    """Check a grip map: every action, grip, threshold and key."""
    from myosem_edge.actions.catalogue import load_catalogue
    from myosem_edge.runtime.grips import load_grip_map

    catalogue = load_catalogue()
    known_grips = tuple(catalogue.grips)
    if hand_name is not None:
        from myosem_edge.firmware_bridge.hands import hand

        known_grips = hand(hand_name).info.grips
    grip_map = load_grip_map(file, catalogue.ids, known_grips)
    whom = f", and {hand_name} forms every grip" if hand_name else ""
    click.echo(f"{file}: good, {len(grip_map.actions)} actions, {len(grip_map.grips())} closing grips{whom}")


@grips.command()
@click.option("--content", is_flag=True, help="Print the file itself, to start one of your own from it.")
def default(content: bool) -> None:
    """Print where the shipped grip map lives."""
    from myosem_edge.runtime.grips import default_grips_path

    path = default_grips_path()
    click.echo(path.read_text(encoding="utf-8") if content else path, nl=not content)


grips.add_command(edit)
grips.add_command(trial)
