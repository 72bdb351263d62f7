"""`evaluate`: what a checkpoint is worth on what its split kept apart."""

from __future__ import annotations

import json
from pathlib import Path

import click

from myosem_edge.cli._output import json_option, print_json
from myosem_edge.cli._training import Bar, data_option, one_thread, shipped_teacher
from myosem_edge.errors import InputError
from myosem_edge.files import write_atomic


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
@data_option
@click.option("--dataset", "datasets", multiple=True, help="Judge on these data sets only (default: all of them).")
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    default=("1 s", "1", "2", "3"),
    show_default=True,
    help="Calibration budgets: '1 s' or repetitions.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for evaluation.md, evaluation.json and report.html."
)
@json_option
def evaluate(
    checkpoint: Path | None,
    data: Path,
    datasets: tuple[str, ...],
    budgets: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure a checkpoint (default: the shipped teacher) on the people its split kept apart.

    Retrieval in both directions and calibrated accuracy, with LDA on Hudgins features and on log features beside it on
    the same people; means over people with 95 % bootstrap intervals.
    """
    from myosem_edge.actions.catalogue import load_catalogue
    from myosem_edge.actions.table import load_table
    from myosem_edge.learn.checkpoint import Trained
    from myosem_edge.learn.datasets import data_set
    from myosem_edge.learn.evaluate import evaluate as run_evaluation
    from myosem_edge.learn.fewshot import BUDGETS
    from myosem_edge.learn.report import to_html, to_markdown
    from myosem_edge.learn.sessions import load_sessions
    from myosem_edge.learn.splits import Split

    if wrong := [budget for budget in budgets if budget not in BUDGETS]:
        raise InputError(
            "no such budget", where="--budget", found=repr(wrong[0]), expected=", ".join(map(repr, BUDGETS))
        )
    one_thread()
    trained = Trained.load(checkpoint or shipped_teacher())
    split = Split(**trained.provenance["split"])
    catalogue = load_catalogue()
    for name in datasets:
        data_set(name)
    bar = Bar()
    with bar.shown():
        sessions = load_sessions(
            data,
            split.datasets,
            catalogue=catalogue,
            progress=lambda who: bar.update("read recordings", 0, 1, who),
        )
        result = run_evaluation(
            trained,
            split,
            sessions,
            catalogue,
            load_table(),
            budgets=budgets,
            datasets=datasets,
            progress=bar.update,
        )
    text = to_markdown(result)
    if out is not None:
        write_atomic(out / "evaluation.md", text.encode())
        write_atomic(out / "evaluation.json", json.dumps(result.to_dict(), indent=1).encode())
        write_atomic(out / "report.html", to_html(result).encode())
    if as_json:
        print_json(result.to_dict())
    else:
        click.echo(text)
