"""`myosem-edge grips edit`: change a grip map, in an editor or by options, and see the change before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.errors import InputError
from myosem_edge.files import write_atomic

if TYPE_CHECKING:
    from myosem_edge.runtime.grips import GripMap, GripRule

FORM = "ACTION=GRIP or ACTION=GRIP@THRESHOLD, such as fist=power@0.85"
CLOSING_THRESHOLD, OTHER_THRESHOLD = 0.8, 0.6  # of a new row, as most of the shipped map has them


@click.command(name="edit")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--set", "changes", multiple=True, metavar="ACTION=GRIP[@P]", help="Give an action a grip; again for more."
)
@click.option("--remove", multiple=True, metavar="ACTION", help="Take an action out: it then asks for nothing.")
@click.option("--from", "source", type=click.Path(path_type=Path), help="Begin with this map, not with FILE.")
@click.option("--hand", "hand_name", metavar="NAME", help="Take only grips that this hand can form.")
@click.option("--dry-run", is_flag=True, help="Show what would change; write nothing.")
@click.option("--yes", is_flag=True, help="Write without asking.")
@json_option
def edit(
    file: Path,
    changes: tuple[str, ...],
    remove: tuple[str, ...],
    source: Path | None,
    hand_name: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Change the grip map FILE; one that is not there yet begins as the shipped one.

    Without --set and --remove your editor opens. Nothing is written before the map is right and you have seen what
    changes. A text that is not right is never lost: it can be edited again, and is kept beside FILE otherwise.
    """
    from myosem_edge.runtime.grips import GripMap, default_grips_path, load_grip_map

    known_actions, known_grips = _known(hand_name)
    begin = source or (file if file.exists() else default_grips_path())
    if changes or remove:
        # Whatever the hand, what stands in the file may stay there until it is checked as a whole.
        rules = dict(load_grip_map(begin, known_actions, _known(None)[1]).actions)
        for text in changes:
            action, rule = _change(text, rules)
            rules[action] = rule
        for action in remove:
            if rules.pop(action, None) is None:
                raise InputError("is not in the map", where=file, found=action, expected=", ".join(sorted(rules)))
        text = GripMap(rules).to_toml()
        load_grip_map(text.encode(), known_actions, known_grips, where=str(file))
    else:
        if as_json:
            raise click.UsageError("--json needs --set or --remove: an editor answers to nobody else")
        text = _typed(file, begin, known_actions, known_grips)
    after = load_grip_map(text.encode(), known_actions, known_grips, where=str(file))
    before = load_grip_map(file, known_actions, _known(None)[1]) if file.exists() else GripMap()
    rows = _differences(before, after)
    if as_json:
        print_json({"changes": [dict(zip(("action", "before", "after"), row, strict=True)) for row in rows]})
    elif rows:
        click.echo(table(rows, ("action", "before", "after")))
    same = file.exists() and file.read_bytes() == text.encode()
    if same or (not rows and file.exists() and (changes or remove)):
        click.echo(f"{file}: nothing changes", err=as_json)
        return
    if dry_run:
        click.echo(f"{file}: not written", err=as_json)
        return
    if file.exists() and (changes or remove) and "#" in file.read_text(encoding="utf-8", errors="replace"):
        click.echo(f"Comments in {file} are not kept; a row's note is.", err=True)
    if not yes and not click.confirm(f"Write {file}?", err=as_json):
        click.echo("Not written.", err=as_json)
        return
    write_atomic(file, text.encode())
    click.echo(f"Wrote {file}", err=as_json)


def _known(hand_name: str | None) -> tuple[Sequence[str], Sequence[str]]:
    """Actions and grips that a map may name. Raises InputError for an unknown hand."""
    from myosem_edge.actions.catalogue import load_catalogue

    catalogue = load_catalogue()
    if hand_name is None:
        return tuple(catalogue.ids), tuple(catalogue.grips)
    from myosem_edge.firmware_bridge.hands import hand

    return tuple(catalogue.ids), hand(hand_name).info.grips


def _change(text: str, rules: dict[str, GripRule]) -> tuple[str, GripRule]:
    """A row as `--set` says it; what it does not say stays as it was."""
    from myosem_edge.runtime.grips import NONE, OPEN, GripRule

    action, _, rest = text.partition("=")
    grip, _, number = rest.partition("@")
    try:
        threshold = float(number) if number else None
    except ValueError:
        threshold = None
        grip = ""
    if not action or not grip:
        raise InputError("a change cannot be read", where="--set", found=text, expected=FORM)
    old = rules.get(action)
    if threshold is None:
        threshold = old.threshold if old else OTHER_THRESHOLD if grip in (NONE, OPEN) else CLOSING_THRESHOLD
        closes = grip not in (NONE, OPEN)
        if closes and (old is None or old.grip in (None, OPEN)):
            threshold = max(threshold, CLOSING_THRESHOLD)  # one that merely opened was asked for with less
    return action, GripRule(None if grip == NONE else grip, threshold, "chosen", old.note if old else "")


def _typed(file: Path, begin: Path, known_actions: Sequence[str], known_grips: Sequence[str]) -> str:
    """What the editor gives back, once it is right.

    Raises:
        InputError: it is not, and nobody wants to edit it again; it is kept in a draft then.
        click.Abort: the editor was left without a change.
    """
    from myosem_edge.runtime.grips import load_grip_map

    draft = file.with_name(f"{file.name}.draft")
    try:
        text = (draft if draft.exists() else begin).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=begin) from error
    if draft.exists():
        click.echo(f"Going on with {draft}, which was kept.")
    while True:
        try:
            edited = click.edit(text, extension=".toml")
        except click.ClickException as error:
            raise InputError(
                f"the editor failed: {error.message}", todo="Name another with EDITOR, or use --set"
            ) from None
        if edited is None and not draft.exists():
            return text
        text = text if edited is None else edited
        try:
            load_grip_map(text.encode(), known_actions, known_grips, where=str(file))
        except InputError as error:
            click.echo(f"error: {error}", err=True)
            write_atomic(draft, text.encode())  # before anybody is asked: a terminal may go away now
            if click.confirm("Edit it again?", default=True):
                continue
            raise InputError("the map is not right: not written", where=file, found=f"kept as {draft}") from error
        draft.unlink(missing_ok=True)
        return text


def _differences(before: GripMap, after: GripMap) -> list[tuple[str, str, str]]:
    actions = sorted({*before.actions, *after.actions})
    rows = [(action, _shown(before.actions.get(action)), _shown(after.actions.get(action))) for action in actions]
    return [row for row in rows if row[1] != row[2]]


def _shown(rule: GripRule | None) -> str:
    from myosem_edge.runtime.grips import NONE

    if rule is None:
        return "-"
    note = f" ({rule.note})" if rule.note else ""
    return f"{rule.grip or NONE} from {rule.threshold:g}, {rule.why}{note}"
