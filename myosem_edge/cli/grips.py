"""`myosem-edge grips`: which grip each action asks for."""

from __future__ import annotations

from pathlib import Path

import click

from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.cli._types import hand_from, presets_option
from myosem_edge.cli.grip_edit import edit
from myosem_edge.cli.grip_trial import trial

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def grips() -> None:
    """Which grip an action takes, and how sure the decoder must be."""


@grips.command()
@click.argument("file", type=_FILE, required=False)
@click.option("--hand", "hand_name", metavar="NAME", help="Show how far each joint of this hand closes, instead.")
@presets_option
@json_option
def show(file: Path | None, hand_name: str | None, presets_path: Path | None, as_json: bool) -> None:
    """Show a grip map, the shipped one when no FILE is given; or with --hand how this hand forms its grips."""
    if hand_name is not None:
        if file is not None:
            raise click.UsageError("FILE is a grip map and --hand shows none; use check to have both")
        _show_hand(hand_name, presets_path, as_json)
        return
    _require_hand(presets_path)
    from myosem_edge.actions.catalogue import load_catalogue
    from myosem_edge.runtime.grips import NONE, default_grips_path, load_grip_map

    catalogue = load_catalogue()
    rules = load_grip_map(file or default_grips_path(), catalogue.ids, catalogue.grips).actions
    if as_json:
        print_json({action: {**vars(rule), "grip": rule.grip or NONE} for action, rule in rules.items()})
        return
    rows = [(action, rule.grip or NONE, f"{rule.threshold:g}", rule.why, rule.note) for action, rule in rules.items()]
    click.echo(table(rows, ("action", "grip", "threshold", "why", "note")))


def _require_hand(presets_path: Path | None) -> None:
    if presets_path is not None:
        raise click.UsageError("--presets needs --hand: joints have other names on every hand")


def _show_hand(hand_name: str, presets_path: Path | None, as_json: bool) -> None:
    from myosem_edge.firmware_bridge.hands import HANDS
    from myosem_edge.firmware_bridge.hands.stepped import SteppedHand

    hand = hand_from(hand_name, presets_path)
    own = HANDS[hand.info.id]()
    if not (isinstance(hand, SteppedHand) and isinstance(own, SteppedHand)):
        if as_json:
            print_json({"hand": hand.info.id, "joints": [], "grips": {grip: {} for grip in hand.info.grips}})
        else:
            click.echo(f"{', '.join(hand.info.grips)}\n{hand.info.name}: it forms them by itself")
        return
    if as_json:
        closures = {grip: dict(zip(hand.joints, hand.postures[grip], strict=True)) for grip in hand.info.grips}
        print_json({"hand": hand.info.id, "joints": list(hand.joints), "grips": closures})
        return
    rows = [(grip, *map(_closure, hand.postures[grip], own.postures[grip])) for grip in hand.info.grips]
    click.echo(table(rows, ("grip", *hand.joints)))


def _closure(at: float | None, before: float | None) -> str:
    """A joint that stays where it is has none; what was tuned shows what it was."""
    if at is None or before is None:
        return "-"
    return f"{at:.2f}" if at == before else f"{at:.2f} ({before:.2f})"


@grips.command()
@click.argument("file", type=_FILE)
@click.option("--hand", "hand_name", metavar="NAME", help="Also check that this hand can form every grip.")
@presets_option
def check(file: Path, hand_name: str | None, presets_path: Path | None) -> None:
    """Check a grip map: every action, grip, threshold and key; and presets of a hand."""
    from myosem_edge.actions.catalogue import load_catalogue
    from myosem_edge.runtime.grips import load_grip_map

    catalogue = load_catalogue()
    known_grips = tuple(catalogue.grips)
    if hand_name is None:
        _require_hand(presets_path)
    else:
        known_grips = hand_from(hand_name, presets_path).info.grips
    grip_map = load_grip_map(file, catalogue.ids, known_grips)
    whom = f", and {hand_name} forms every grip" if hand_name else ""
    click.echo(f"{file}: good, {len(grip_map.actions)} actions, {len(grip_map.grips())} closing grips{whom}")
    if presets_path is not None:
        click.echo(f"{presets_path}: good, for {hand_name}")


@grips.command()
@click.option("--content", is_flag=True, help="Print the file itself, to start one of your own from it.")
def default(content: bool) -> None:
    """Print where the shipped grip map lives."""
    from myosem_edge.runtime.grips import default_grips_path

    path = default_grips_path()
    click.echo(path.read_text(encoding="utf-8") if content else path, nl=not content)


grips.add_command(edit)
grips.add_command(trial)
