"""`evaluate`: what a checkpoint is worth on what its split kept apart."""

from __future__ import annotations

import json
from pathlib import Path

import click

from myosem_edge.cli._output import json_option, print_json
from myosem_edge.cli._training import Bar, data_option, one_thread, read_sessions, shipped_teacher
from myosem_edge.errors import InputError
from myosem_edge.files import write_atomic


@click.command()
@click.argument("checkpoints", metavar="[CHECKPOINT]...", type=click.Path(path_type=Path), nargs=-1)
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
    checkpoints: tuple[Path, ...],
    data: Path,
    datasets: tuple[str, ...],
    budgets: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure a checkpoint (default: the shipped teacher) on the people its split kept apart.

    Retrieval in both directions, calibrated accuracy, what a kept calibration is worth on another day, and how soon
    decisions are right after an onset, with LDA on plain features beside it on the same people; means over people with
    95 % bootstrap intervals. Several checkpoints are folds of one split: each judges its own people, who are then
    reported together.
    """
    from myosem_edge.actions.catalogue import load_catalogue
    from myosem_edge.actions.table import load_table
    from myosem_edge.learn.corpus.splits import Split
    from myosem_edge.learn.datasets import data_set
    from myosem_edge.learn.report.pages import to_html, to_markdown
    from myosem_edge.learn.scoring.evaluate import evaluate as run_evaluation
    from myosem_edge.learn.scoring.fewshot import BUDGETS
    from myosem_edge.learn.teacher.checkpoint import Trained

    if wrong := [budget for budget in budgets if budget not in BUDGETS]:
        raise InputError(
            "no such budget", where="--budget", found=repr(wrong[0]), expected=", ".join(map(repr, BUDGETS))
        )
    one_thread()
    folds = [Trained.load(path) for path in checkpoints or (shipped_teacher(),)]
    splits = [Split(**trained.provenance["split"]) for trained in folds]
    if len({(s.family, s.kind) for s in splits}) > 1 or len(set(splits)) < len(splits):
        raise InputError(
            "these checkpoints are no folds of one split",
            found=", ".join(f"{s.family} {s.kind} {s.held_dataset or s.fold}" for s in splits),
            expected="one family and kind, each fold once",
        )
    catalogue = load_catalogue()
    for name in datasets:
        data_set(name)
    bar = Bar()
    with bar.shown():
        sessions = read_sessions(data, splits[0].datasets, catalogue, bar)
        found = [
            run_evaluation(
                trained,
                split,
                sessions,
                catalogue,
                load_table(),
                budgets=budgets,
                datasets=datasets,
                progress=bar.update,
            )
            for trained, split in zip(folds, splits, strict=True)
        ]
    text = to_markdown(*found)
    data_out = found[0].to_dict() if len(found) == 1 else {"folds": [each.to_dict() for each in found]}
    if out is not None:
        write_atomic(out / "evaluation.md", text.encode())
        write_atomic(out / "evaluation.json", json.dumps(data_out, indent=1).encode())
        write_atomic(out / "report.html", to_html(*found).encode())
    if as_json:
        print_json(data_out)
    else:
        click.echo(text)
