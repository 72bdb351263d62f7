"""`myosem-edge actions`: look actions up, and keep the description table in step with the catalogue."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from myosem_edge.actions.catalogue import KINDS, VIEWS, Action, Catalogue, catalogue_path, load_catalogue

_FILE = click.Path(dir_okay=False, path_type=Path)
_catalogue_option = click.option("--catalogue", type=_FILE, help="Another catalogue than the shipped one.")


@click.group()
def actions() -> None:
    """The actions that can be named, and their descriptions."""


@actions.command("list")
@click.option("--kind", type=click.Choice(KINDS), help="Only actions of this kind.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@_catalogue_option
def list_actions(kind: str | None, as_json: bool, catalogue: Path | None) -> None:
    """List the actions of the catalogue."""
    loaded = load_catalogue(catalogue)
    chosen = [action for action in loaded.actions.values() if kind in (None, action.kind)]
    if as_json:
        click.echo(json.dumps([_as_data(loaded, action) for action in chosen], indent=2, ensure_ascii=False))
        return
    if not chosen:
        click.echo(f"No actions of kind {kind} found")
        return
    width = max(len(action.id) for action in chosen)
    for action in chosen:
        click.echo(f"{action.id:<{width}}  {action.kind:<8}  {action.name}")


@actions.command()
@click.argument("action_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@_catalogue_option
def show(action_id: str, as_json: bool, catalogue: Path | None) -> None:
    """Show everything the catalogue says about one action."""
    loaded = load_catalogue(catalogue)
    data = _as_data(loaded, loaded[action_id])
    if as_json:
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    for key in ("id", "kind", *VIEWS, "antonym", "grip"):
        if data[key]:
            click.echo(f"{key + ':':<13}{data[key]}")
    for key in ("composed_of", "near"):
        if data[key]:
            click.echo(f"{key.replace('_', ' ') + ':':<13}{', '.join(data[key])}")
    for dataset, labels in data["aliases"].items():
        click.echo(f"{'label:':<13}{', '.join(map(str, labels))} in {dataset}")


@actions.command()
def path() -> None:
    """Print where the shipped catalogue lives."""
    click.echo(catalogue_path())


@actions.command()
@click.option("--check", is_flag=True, help="Only verify that the table matches the catalogue; needs no text encoder.")
@click.option("--encoder", type=click.Path(file_okay=False, path_type=Path), help="Folder of the text encoder.")
@click.option("--output", type=_FILE, help="Another table than the shipped one.")
@_catalogue_option
def embed(check: bool, encoder: Path | None, output: Path | None, catalogue: Path | None) -> None:
    """Make the description table anew from the texts of the catalogue."""
    from myosem_edge.actions.table import load_table, read_table, table_path
    from myosem_edge.files import write_atomic

    loaded = load_catalogue(catalogue)
    target = output or table_path()
    if check:
        table = load_table(target, loaded)
        click.echo(f"{target}: up to date, {len(table.ids)} actions, {table.encoder_id}")
        return
    from myosem_edge.learn.text import TextEncoder, changes, embed_catalogue

    previous = read_table(target) if target.exists() else None
    with click.progressbar(length=len(loaded) * len(VIEWS), label="Embedding", file=sys.stderr) as bar:
        table = embed_catalogue(loaded, TextEncoder(encoder), previous, bar.update)
    data = table.to_bytes()
    if previous is not None and data == target.read_bytes():
        click.echo(f"{target}: nothing changed")
        return
    write_atomic(target, data)
    for line in changes(previous, table):
        click.echo(line)
    click.echo(f"{target}: written, {len(table.ids)} actions, {len(data)} bytes")


def _as_data(catalogue: Catalogue, action: Action) -> dict[str, Any]:
    plain = {key: value for key, value in vars(action).items() if key != "aliases"}
    return {**plain, "aliases": dict(action.aliases), "near": catalogue.neighbours(action.id)}
