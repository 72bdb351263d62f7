"""`montages`: what a checkpoint is worth on electrodes that it was not made for."""

from __future__ import annotations

import json
from pathlib import Path

import click

from myosem_edge.cli._output import json_option, print_json
from myosem_edge.cli._training import Bar, data_option, one_thread, read_sessions
from myosem_edge.files import write_atomic


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@data_option
@click.option("--dataset", "datasets", multiple=True, help="Judge on these data sets only (default: all of them).")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for montages.md and montages.json.")
@json_option
def montages(checkpoint: Path, data: Path, datasets: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Measure a checkpoint on other electrodes than it was trained for, log-feature LDA beside it.

    People whom its split kept apart, with electrodes missing, dead or turned; and, where the data folder has flexemg64,
    rings of 4, 8 and 16 electrodes of that device. A model with spatial="harmonic" takes electrodes by their place. For
    any other, missing electrodes are zero and other rings are interpolated to its own.
    """
    from myosem_edge.actions.catalogue import load_catalogue
    from myosem_edge.actions.table import load_table
    from myosem_edge.learn.corpus.splits import Split
    from myosem_edge.learn.datasets import data_set
    from myosem_edge.learn.montages.measurement import GRID, Judge, blocks, grid_sessions, judge_montages, unseen_people
    from myosem_edge.learn.report.document import markdown
    from myosem_edge.learn.teacher.checkpoint import Trained

    for name in datasets:
        data_set(name)
    one_thread()
    trained = Trained.load(checkpoint)
    split, catalogue = Split(**trained.provenance["split"]), load_catalogue()
    bar = Bar()
    with bar.shown():
        sessions = read_sessions(data, split.datasets, catalogue, bar)
        everyone = unseen_people(trained, split, sessions, catalogue)
        people = [s for s in everyone if not datasets or s.dataset in datasets]
        grid = grid_sessions(data, everyone, catalogue) if not datasets or GRID in datasets else []
        rows = judge_montages(Judge(trained, catalogue, load_table()), people, grid, bar.update)
    text = markdown(blocks(trained, rows))
    facts = {"split": split.to_dict(), "spatial": trained.encoder.config.spatial, "rows": [r.to_dict() for r in rows]}
    if out is not None:
        write_atomic(out / "montages.md", text.encode())
        write_atomic(out / "montages.json", json.dumps(facts, indent=1, allow_nan=False).encode())
    if as_json:
        print_json(facts)
    else:
        click.echo(text)
    if not grid and not datasets:
        click.echo(f"No rings of another device: {GRID} is not in {data}, or its rate is too low.", err=True)
