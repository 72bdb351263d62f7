"""`myosem-edge actions`: look actions up, and keep the description table in step with the catalogue."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from myosem_edge.actions.catalogue import KINDS, VIEWS, Action, Catalogue, catalogue_path, load_catalogue

if TYPE_CHECKING:
    from myosem_edge.actions.table import SentenceTable
    from myosem_edge.learn.text import TextEncoder

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
@click.option("--check", is_flag=True, help="Only verify that the tables match their texts; needs no text encoder.")
@click.option("--encoder", type=click.Path(file_okay=False, path_type=Path), help="Folder of the text encoder.")
@click.option("--output", type=_FILE, help="Another description table than the shipped one.")
@_catalogue_option
def embed(check: bool, encoder: Path | None, output: Path | None, catalogue: Path | None) -> None:
    """Make the description table anew from the texts of the catalogue.

    The paraphrases belong to the shipped catalogue: without --catalogue and --output their table is made too.
    """
    from myosem_edge.actions.paraphrases import (
        REGISTERS,
        ParaphraseTable,
        load_paraphrase_table,
        load_paraphrases,
        paraphrase_table_path,
    )
    from myosem_edge.actions.table import DescriptionTable, load_table, table_path

    loaded = load_catalogue(catalogue)
    target = output or table_path()
    both = catalogue is None and output is None
    if check:
        _say(target, "up to date", load_table(target, loaded))
        if both:
            _say(paraphrase_table_path(), "up to date", load_paraphrase_table())
        return
    from myosem_edge.learn.text import TextEncoder

    text_encoder = TextEncoder(encoder)
    texts = {action.id: action.texts for action in loaded.actions.values()}
    _embed(DescriptionTable, texts, loaded.texts_sha256, VIEWS, text_encoder, target)
    if both:
        said = load_paraphrases(catalogue=loaded)
        target = paraphrase_table_path()
        _embed(ParaphraseTable, said.sentences, said.texts_sha256, REGISTERS, text_encoder, target)


def _embed(
    kind: type[SentenceTable],
    texts: Mapping[str, Sequence[str]],
    texts_sha256: str,
    names: Sequence[str],
    encoder: TextEncoder,
    target: Path,
) -> None:
    from myosem_edge.actions.table import read_sentences
    from myosem_edge.files import write_atomic
    from myosem_edge.learn.text import changes, embed_sentences

    previous = read_sentences(kind, target) if target.exists() else None
    with click.progressbar(length=len(texts) * len(names), label="Embedding", file=sys.stderr) as bar:
        table = embed_sentences(kind, texts, texts_sha256, encoder, previous, bar.update)
    data = table.to_bytes()
    if previous is not None and data == target.read_bytes():
        click.echo(f"{target}: nothing changed")
        return
    write_atomic(target, data)
    for line in changes(previous, table, names):
        click.echo(line)
    click.echo(f"{target}: written, {len(table.ids)} actions, {len(data)} bytes")


def _say(path: Path, what: str, table: SentenceTable) -> None:
    click.echo(f"{path}: {what}, {len(table.ids)} actions, {table.encoder_id}")


def _as_data(catalogue: Catalogue, action: Action) -> dict[str, Any]:
    plain = {key: value for key, value in vars(action).items() if key != "aliases"}
    return {**plain, "aliases": dict(action.aliases), "near": catalogue.neighbours(action.id)}
