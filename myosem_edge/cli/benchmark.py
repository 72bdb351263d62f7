"""`benchmark`: one row of the benchmark as one command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.cli._training import Bar, one_thread, pick_device, read_sessions
from myosem_edge.cli._types import SEED
from myosem_edge.files import write_atomic


@click.command()
@click.argument("row", required=False)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    envvar="MYOSEM_DATA",
    help="Folder that holds the data sets, one folder each (or $MYOSEM_DATA).",
)
@click.option("--list", "list_rows", is_flag=True, help="Show every row: data, protocols, published figure.")
@click.option("--fold", type=click.IntRange(0), help="Only this training of the row, as --dry-run counts.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/benchmark"),
    show_default=True,
    help="A folder per row is made below; an interrupted row goes on.",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any field of the training configuration.")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--dry-run", is_flag=True, help="Show configuration, trainings and people; train nothing.")
@json_option
def benchmark(
    row: str | None,
    data: Path | None,
    list_rows: bool,
    fold: int | None,
    out: Path,
    settings: tuple[str, ...],
    seed: int,
    device: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train and judge one ROW of the benchmark, as docs/benchmark.md lays it down.

    Writes a checkpoint and an evaluation per training, and benchmark.md, benchmark.json and report.html of the row.
    Nothing is downloaded: data that are not there are named, with where to get them.
    """
    from myosem_edge.learn.protocols.rows import ROWS, base_config, find_row, require_data

    if list_rows:
        _list(data, as_json)
        return
    if row is None:
        raise click.UsageError(f"Name a row: {', '.join(ROWS)}; or --list")
    if data is None:
        raise click.UsageError("Missing option '--data' (or $MYOSEM_DATA).")
    from myosem_edge.actions.catalogue import load_catalogue
    from myosem_edge.actions.table import load_table
    from myosem_edge.learn.corpus.folders import subjects_of
    from myosem_edge.learn.protocols.benchmark import run_row, to_html, to_markdown
    from myosem_edge.learn.teacher.config import configure

    chosen = find_row(row)
    chosen.require_fold(fold)
    require_data(chosen, data)
    config = configure(base_config(chosen, seed), settings)
    subjects = {name: subjects_of(data, name) for name in chosen.datasets}
    if dry_run:
        _show(chosen, config, subjects)
        return
    one_thread()
    device = pick_device(device)
    catalogue = load_catalogue()
    bar = Bar()
    with bar.shown():
        sessions = read_sessions(data, chosen.datasets, catalogue, bar)
        result = run_row(
            chosen,
            sessions,
            config,
            catalogue,
            load_table(),
            out=out / chosen.name,
            settings=settings,
            fold=fold,
            device=device,
            progress=bar.update,
        )
    text = to_markdown(result)
    write_atomic(out / chosen.name / "benchmark.md", text.encode())
    write_atomic(out / chosen.name / "benchmark.json", json.dumps(result.to_dict(), indent=1, allow_nan=False).encode())
    write_atomic(out / chosen.name / "report.html", to_html(result).encode())
    if as_json:
        print_json(result.to_dict())
    else:
        click.echo(text)


def _list(data: Path | None, as_json: bool) -> None:
    from myosem_edge.learn.protocols.rows import ROWS, missing_data

    missing = {name: sorted(missing_data(row, data)) if data else None for name, row in ROWS.items()}
    if as_json:
        print_json([row.to_dict() | {"missing": missing[name]} for name, row in ROWS.items()])
        return
    rows = []
    for name, row in ROWS.items():
        here = "" if (lacks := missing[name]) is None else "here" if not lacks else f"missing: {', '.join(lacks)}"
        protocols = "; ".join(f"{p.name}{' (LEAKY)' if p.leaky else ''}" for p in row.protocols)
        published = "-" if row.published is None else f"{row.published:.2f}"
        rows.append((name, published, len(row.splits), ", ".join(row.datasets), protocols, here))
    header = ["row", 'published "Recall"', "trainings", "data", "protocols", "" if data is None else "data here?"]
    click.echo(table(rows, header))


def _show(row: Any, config: Any, subjects: dict[str, list[str]]) -> None:
    from myosem_edge.learn.protocols.benchmark import part_name

    trainings = []
    for number, split in enumerate(row.splits):
        judged = {
            name: [who for who in everyone if split.is_judged(name, who, everyone)]
            for name, everyone in subjects.items()
        }
        trainings.append(
            {
                "fold": number,
                "folder": part_name(split),
                "split": split.to_dict(),
                "same_people": split.same_people,
                "held_actions": split.held_actions,
                "judged_people": {name: who for name, who in judged.items() if who},
            }
        )
    print_json(row.to_dict() | {"config": config.to_dict(), "people": subjects, "trainings": trainings})
