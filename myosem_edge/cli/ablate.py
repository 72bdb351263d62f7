"""`ablate`: what each part of the recipe is worth."""

from __future__ import annotations

import json
from pathlib import Path

import click

from myosem_edge.cli._output import json_option, print_json
from myosem_edge.cli._training import Bar, data_option, one_thread, pick_device, read_sessions
from myosem_edge.cli._types import LARGEST_SEED, SEED
from myosem_edge.errors import InputError
from myosem_edge.files import write_atomic


@click.command()
@data_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the runs, one a cell and seed; an interrupted grid goes on.",
)
@click.option(
    "--grid",
    type=click.Path(path_type=Path),
    help="TOML file of [[cells]] with name and settings (default: the one of this package).",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Applied to every cell, the base included.")
@click.option(
    "--split",
    "kind",
    type=click.Choice(["user", "class", "action", "dataset"]),
    default="user",
    show_default=True,
)
@click.option("--fold", type=click.IntRange(0, 2), default=0, show_default=True)
@click.option("--held-dataset", default="", help="With --split dataset: the data set that is never trained on.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="The first seed.")
@click.option("--seeds", type=click.IntRange(1, 20), default=1, show_default=True, help="How many, counted up.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--dry-run", is_flag=True, help="Show every cell's settings; train nothing.")
@json_option
def ablate(
    data: Path,
    out: Path,
    grid: Path | None,
    settings: tuple[str, ...],
    kind: str,
    fold: int,
    held_dataset: str,
    seed: int,
    seeds: int,
    device: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a grid of switches on one split and compare each with the base on the same people.

    Writes ablation.md, ablation.json and report.html into --out.
    """
    from myosem_edge.actions.catalogue import load_catalogue
    from myosem_edge.actions.table import load_table
    from myosem_edge.learn.corpus.folders import subjects_of
    from myosem_edge.learn.corpus.splits import Split
    from myosem_edge.learn.protocols.ablation import default_grid, read_grid, run_grid, to_html, to_markdown
    from myosem_edge.learn.teacher.config import configure
    from myosem_edge.learn.teacher.train import TrainConfig

    split = Split("research", kind, fold, held_dataset)
    config = configure(TrainConfig(seed=seed), settings)
    cells = read_grid(grid or default_grid(), config)
    numbers = tuple(range(seed, seed + seeds))
    if numbers[-1] > LARGEST_SEED:
        raise InputError("no such seed", where="--seeds", found=numbers[-1], expected=f"at most {LARGEST_SEED}")
    people = {name: len(subjects_of(data, name)) for name in split.datasets}
    if dry_run:
        print_json(
            {
                "split": split.to_dict(),
                "seeds": numbers,
                "people": people,
                "config": config.to_dict(),
                "cells": [vars(cell) for cell in cells],
                "out": str(out),
            }
        )
        return
    one_thread()
    device = pick_device(device)
    catalogue = load_catalogue()
    bar = Bar()
    with bar.shown():
        sessions = read_sessions(data, split.datasets, catalogue, bar)
        result = run_grid(
            cells,
            split,
            sessions,
            config,
            catalogue,
            load_table(),
            out=out,
            seeds=numbers,
            device=device,
            progress=bar.update,
        )
    text = to_markdown(result)
    write_atomic(out / "ablation.md", text.encode())
    write_atomic(out / "ablation.json", json.dumps(result.to_dict(), indent=1, allow_nan=False).encode())
    write_atomic(out / "report.html", to_html(result).encode())
    if as_json:
        print_json(result.to_dict())
    else:
        click.echo(text)
