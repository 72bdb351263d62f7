"""`myosem-edge bench`: what a decision costs on this board, and how soon a command follows a sample."""

from __future__ import annotations

from pathlib import Path

import click

from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.cli._types import FiniteRange


@click.command()
@click.argument("bundle_path", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--backend", "backends", multiple=True, help="Encoder runtime; may be repeated (default: all of them).")
@click.option("--board", "board_name", metavar="NAME", help="Board profile instead of the one found.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="How often, for the spread.")
@click.option("--decisions", type=click.IntRange(10), default=4000, show_default=True, help="In each repeat.")
@click.option(
    "--seconds", type=FiniteRange(1), default=20.0, show_default=True, help="Of each run on emulated devices."
)
@json_option
def bench(
    bundle_path: Path,
    backends: tuple[str, ...],
    board_name: str | None,
    repeats: int,
    decisions: int,
    seconds: float,
    as_json: bool,
) -> None:
    """Measure a bundle on this machine: time by stage, memory, lateness, and from sample byte to command byte.

    Nothing is connected: a person of the shipped sample plays through an emulated armband, and an emulated hand obeys.
    Let nothing else run meanwhile. The budget of the board, where it is known, stands beside what was found.
    """
    from myosem_edge.bench.measure import Plan, machine, measure_decoders, measure_run, ours, require_measurable
    from myosem_edge.bench.person import load_stream
    from myosem_edge.bench.tables import DECODER_HEADER, budget_lines, decoder_lines, run_lines, stage_lines
    from myosem_edge.boards.profiles import board, detect_board
    from myosem_edge.bundle import bundle_from
    from myosem_edge.errors import InputError
    from myosem_edge.runtime.backends import BACKENDS

    here = board(board_name) if board_name else detect_board().board
    bundle = bundle_from(bundle_path)
    require_measurable(bundle, backends)

    def progress(text: str) -> None:
        click.echo(text, err=True)

    plan = Plan(repeats, decisions, max(1, decisions // 4), max(1, decisions // 10), seconds)
    before, stream = machine(), load_stream()
    entries = ours(bundle_path, [("streaming", backend) for backend in backends or BACKENDS])
    rows = measure_decoders(entries, stream, plan, progress)
    if not (measured := [row for row in rows if not row.skipped]):
        raise InputError("no encoder runtime runs here", found="; ".join(row.skipped for row in rows))
    first = measured[0]
    backend = first.name.removeprefix("streaming, ")
    figures = measure_run(bundle, bundle_path, stream, backend, plan, progress)
    budget = budget_lines(here, first, figures) if here else []
    if as_json:
        print_json(
            {
                "bundle": bundle.manifest.file_name,
                "bundle_sha256": bundle.sha256,
                "machine": before,
                "decoders": [vars(row) for row in rows],
                "run": {"backend": backend, "figures": figures},
                "budget": [dict(zip(("what", "found", "allowed", "verdict"), line, strict=True)) for line in budget],
            }
        )
        return
    where = f"{before['board'] or 'an unknown board'}, {before['machine']}, {before['cores']} cores"
    click.echo(f"{bundle.manifest.file_name} on {where}")
    click.echo(f"medians of {repeats} [least, most]; load before: {before['load_before']}\n")
    header = [name.format(base=first.name) for name in DECODER_HEADER]
    click.echo(table(decoder_lines(rows, first.name), header))
    click.echo("\n" + table(stage_lines(rows), ("CPU per hop, us", *(row.name for row in measured))))
    click.echo("\n" + table(run_lines(figures), (f"run, {backend}", "")))
    if here:
        click.echo("\n" + table(budget, (f"budget of {here.name}", "found", "allowed", "")))
