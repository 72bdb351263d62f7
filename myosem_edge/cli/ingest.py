"""`ingest`: convert recordings once, so that training reads from disk what it needs and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.cli._training import Bar
from myosem_edge.cli.learn import data_option


@click.command()
@click.argument("datasets", nargs=-1)
@data_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where the stores go, a folder each (default: into the folders of --data). Give it to --data afterwards.",
)
@click.option("--subject", "subjects", multiple=True, help="Convert these subjects only (default: everybody).")
@click.option(
    "--rate",
    "rate_hz",
    type=click.FloatRange(40.0, 10_000.0),
    help="Bring every recording to this rate in Hz, a multiple of 40 (default: as recorded).",
)
@click.option("--dry-run", is_flag=True, help="Show what would be read and the space it needs; write nothing.")
@json_option
def ingest(
    datasets: tuple[str, ...],
    data: Path,
    out: Path | None,
    subjects: tuple[str, ...],
    rate_hz: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Convert the recordings of DATASETS (default: all that are under --data) into stores.

    A store holds the filtered signal in chunks with checksums; train and evaluate open it where it exists, and their
    memory then no longer depends on how much there is. Ctrl-C loses at most one subject: the same command goes on, and
    skips who is finished from the same files with the same settings.
    """
    from myosem_edge.learn.corpus.ingest import found_here, plan, require_room
    from myosem_edge.learn.corpus.ingest import ingest as run
    from myosem_edge.learn.datasets import data_set

    for name in datasets:
        data_set(name)
    out = out or data
    bar = Bar()
    with bar.shown():
        jobs = plan(data, datasets or found_here(data), subjects, rate_hz, progress=bar.update)
        needed, free = require_room(out, jobs)
        done = [] if dry_run else run(out, jobs, data, rate_hz=rate_hz, progress=bar.update)
    if dry_run:
        rows = [job.to_dict() for job in jobs]
        if as_json:
            print_json({"jobs": rows, "bytes_needed": needed, "bytes_free": free, "out": str(out)})
            return
        click.echo(table([_job_row(row) for row in rows], ("data set", "subject", "files", "to read", "to write")))
        click.echo(f"Needs about {_size(needed)} in {out}, where {_size(free)} are free. Nothing was written.")
        return
    if as_json:
        print_json({"subjects": done, "out": str(out)})
        return
    click.echo(table([_done_row(row) for row in done], ("data set", "subject", "sessions", "clips", "size", "")))
    for note in (note for row in done for note in row["notes"]):
        click.echo(f"note: {note}")
    click.echo(f"Next: give {out} to --data")


def _job_row(row: dict[str, Any]) -> tuple[object, ...]:
    read, needed = _size(row["bytes_read"]), _size(row["bytes_needed"])
    return row["dataset"], row["subject"], row["files"], read, needed


def _done_row(row: dict[str, Any]) -> tuple[object, ...]:
    state = "finished before" if row["skipped"] else ""
    return row["dataset"], row["subject"], row["sessions"], row["clips"], _size(row["size"]), state


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
