"""`myosem-edge grips edit`: change a grip map, in an editor or by options, and see the change before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from myosem_edge.cli._output import json_option, plain, print_json, table
from myosem_edge.errors import InputError
from myosem_edge.files import write_atomic

if TYPE_CHECKING:
    from myosem_edge.runtime.grips import GripMap, GripRule

FORM = "ACTION=GRIP or ACTION=GRIP@THRESHOLD, such as fist=power@0.85"
CLOSING_THRESHOLD, OTHER_THRESHOLD = 0.8, 0.6  # of a new row, as most of the shipped map has them
SHIPPED = "shipped"


@click.command(name="edit")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--set", "changes", multiple=True, metavar="ACTION=GRIP[@P]", help="Give an action a grip; again for more."
)
@click.option("--remove", multiple=True, metavar="ACTION", help="Take an action out: it then asks for nothing.")
@click.option("--from", "source", metavar="MAP", help="Begin with this map, not with FILE; shipped is the shipped one.")
@click.option("--hand", "hand_name", metavar="NAME", help="Take only grips that this hand can form.")
@click.option("--dry-run", is_flag=True, help="Show what would change; write nothing.")
@click.option("--yes", is_flag=True, help="Write without asking.")
@json_option
def edit(
    file: Path,
    changes: tuple[str, ...],
    remove: tuple[str, ...],
    source: str | None,
    hand_name: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Change the grip map FILE; one that is not there yet begins as the shipped one.

    Without --set and --remove your editor opens; leaving it without a change changes nothing. Nothing is written before
    the map is right and you have seen what changes. What you typed is kept beside FILE as FILE.draft until it is
    written, and gone on with; what FILE was before is kept as FILE.previous.
    """
    from myosem_edge.runtime.grips import GripMap, default_grips_path, load_grip_map

    known_actions, known_grips = _known(hand_name)
    every_grip = _known(None)[1]  # whatever the hand, what stands in a file may stay until it is checked as a whole
    present = _content(file) if file.exists() else None
    if source is not None:
        begin = default_grips_path() if source == SHIPPED else Path(source)
    else:
        begin = default_grips_path() if present is None else file
    draft = None if changes or remove else file.with_name(f"{file.name}.draft")
    if draft is None:
        rules = dict(load_grip_map(begin, known_actions, every_grip).actions)
        for text in changes:
            action, rule = _change(text, rules)
            rules[action] = rule
        for action in remove:
            if rules.pop(action, None) is None:
                raise InputError("is not in the map", where=file, found=action, expected=", ".join(sorted(rules)))
        content: bytes | None = GripMap(rules).to_toml().encode()
    else:
        if as_json:
            raise click.UsageError("--json needs --set or --remove: an editor answers to nobody else")
        content = _typed(file, draft, begin, known_actions, known_grips)
    rows: list[tuple[str, str, str]] = []
    if content is not None:
        after = load_grip_map(content, known_actions, known_grips, where=str(file))
        rows = _differences(_before(file, present, known_actions, every_grip), after)
    if as_json:
        print_json({"changes": [dict(zip(("action", "before", "after"), row, strict=True)) for row in rows]})
    elif rows:
        click.echo(table(rows, ("action", "before", "after")))
    if content is None or content == present or (draft is None and present is not None and not rows):
        if draft is not None:
            draft.unlink(missing_ok=True)
        click.echo(f"{file}: nothing changes", err=as_json)
        return
    if draft is not None:
        write_atomic(draft, content)  # before anybody is asked: a terminal may go away now
    kept = "" if draft is None else f"; what you typed is kept as {draft}"
    if dry_run:
        click.echo(f"{file}: not written{kept}", err=as_json)
        return
    if draft is None and present is not None and b"#" in present:
        click.echo(f"Comments in {file} are not kept; a row's note is.", err=True)
    if not yes and not click.confirm(f"Write {file}?", err=as_json):
        click.echo(f"Not written{kept}.", err=as_json)
        return
    previous = ""
    if present is not None:
        write_atomic(file.with_name(f"{file.name}.previous"), present)
        previous = f"; what it was before is {file.name}.previous"
    write_atomic(file, content)
    if draft is not None:
        draft.unlink(missing_ok=True)
    click.echo(f"Wrote {file}{previous}", err=as_json)


def _content(path: Path) -> bytes:
    """Raises InputError where a file cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path) from error


def _before(file: Path, present: bytes | None, known_actions: Sequence[str], known_grips: Sequence[str]) -> GripMap:
    """What FILE says now; nothing where it is not there, or is itself what has to be put right."""
    from myosem_edge.runtime.grips import GripMap, load_grip_map

    if present is None:
        return GripMap()
    try:
        return load_grip_map(present, known_actions, known_grips, where=str(file))
    except InputError as error:
        click.echo(f"As it stands, the file is not right: {plain(str(error))}", err=True)
        return GripMap()


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


def _typed(
    file: Path, draft: Path, begin: Path, known_actions: Sequence[str], known_grips: Sequence[str]
) -> bytes | None:
    """What the editor gives back, once it is right; None where it was left without a change.

    Raises:
        InputError: it is not right, and nobody wants to edit it again; it is kept in the draft then.
    """
    from myosem_edge.runtime.grips import load_grip_map

    resumed = draft.exists()
    content = _content(draft if resumed else begin)
    if resumed:
        click.echo(f"Going on with {draft}, which was kept; delete it to begin anew.")
    while True:
        try:
            edited = click.edit(content, extension=".toml")
        except click.ClickException as error:
            raise InputError(
                f"the editor failed: {error.message}", todo="Name another with EDITOR, or use --set"
            ) from None
        if edited is None and not draft.exists():
            return None
        content = content if edited is None else edited
        try:
            load_grip_map(content, known_actions, known_grips, where=str(file))
        except InputError as error:
            click.echo(f"error: {plain(str(error))}", err=True)
            write_atomic(draft, content)  # before anybody is asked: a terminal may go away now
            if click.confirm("Edit it again?", default=True):
                continue
            raise InputError("the map is not right: not written", where=file, found=f"kept as {draft}") from error
        return content


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
