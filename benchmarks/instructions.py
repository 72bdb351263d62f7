"""Instructions of one hop on emulated boards. `python benchmarks/instructions.py BUNDLE`, `--build` the first time.

The person of the shipped sample wears a calibrated profile, rests for two seconds and closes a grip.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from myosem_edge.bench.counted import PARTS
from myosem_edge.bench.instructions import GOAL_BOARD, count, count_lines, counted_parts, goal_lines
from myosem_edge.boards.counter import build_counter, find_counter
from myosem_edge.boards.profiles import board
from myosem_edge.boards.sysroot import TARGETS, cache_folder, prepare
from myosem_edge.bundle import bundle_from
from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.errors import MyosemError
from myosem_edge.files import write_atomic
from myosem_edge.learn.report.document import Heading, Table, Text, markdown
from myosem_edge.runtime.backends import BACKENDS

HEADER = ("board", "core", "backend")
GOAL_HEADER = ("backend", "part", "found", "budget", "goal", "")


@click.command()
@click.argument("bundle_path", metavar="[BUNDLE]", required=False, type=click.Path(path_type=Path))
@click.option("--board", "boards", multiple=True, default=("pi_zero_2w", "pi_4", "pi_5"), show_default=True)
@click.option("--backend", "backends", multiple=True, type=click.Choice(BACKENDS), default=BACKENDS, show_default=True)
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), default=PARTS, show_default=True)
@click.option("--build", is_flag=True, help="Build the counting emulator first, if it is not there (10 to 20 minutes).")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the tables as a page there.")
@json_option
def main(
    bundle_path: Path | None,
    boards: tuple[str, ...],
    backends: tuple[str, ...],
    parts: tuple[str, ...],
    build: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Count the instructions of one hop of BUNDLE on emulated 64-bit boards."""

    def progress(text: str) -> None:
        click.echo(text, err=True)

    try:
        counter = build_counter(cache_folder()) if build else find_counter(cache_folder())
        if bundle_path is None:
            click.echo(f"Counts with {counter.folder}")
            return
        bundle, sysroot = bundle_from(bundle_path), prepare(TARGETS["aarch64"], cache_folder())
        found = count(counter, sysroot, bundle, bundle_path.resolve(), boards, backends, parts, progress)
        header, rows, goals = (*HEADER, *counted_parts(found)), count_lines(found), goal_lines(found)
        if out is not None:
            write_atomic(out, page(bundle.manifest.file_name, bundle.sha256, header, rows, goals).encode())
    except MyosemError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    if as_json:
        print_json([{"board": n, "backend": b, "part": p, "instructions": v} for (n, b, p), v in found.items()])
        return
    click.echo(table(rows, header))
    if goals:
        click.echo("\n" + table(goals, (f"{GOAL_BOARD}, {GOAL_HEADER[0]}", *GOAL_HEADER[1:])))


def page(
    name: str, sha256: str, header: tuple[str, ...], rows: list[tuple[str, ...]], goals: list[tuple[str, ...]]
) -> str:
    blocks = [
        Heading("How many instructions a hop takes", 1),
        Text(
            "Written by `python benchmarks/instructions.py BUNDLE --out docs/results/instructions.md`; `--build` makes "
            f"the counting emulator once. Bundle: {name}, sha256 {sha256[:16]}, as `make bench` exports it. QEMU's "
            "user emulation counts every instruction of the board's own Python and packages: millions (M) a hop of "
            "25 ms, on average over five seconds. The person of the shipped sample, calibrated on one repetition of "
            "eight actions, rests for two of them and then closes a grip, with the gate armed."
        ),
        Table(header, rows),
        Text(
            "The parts contain each other. `body`: the encoder runtime's call. `encoder`: filter, front, features and "
            "covariance as well. `decision`: and the calibrated head, the descriptions and what is chosen. `hop`: and "
            "shaper and gate, all Python included; ports, framing and telemetry are not in it."
        ),
        Heading(f"Goals and budgets, {GOAL_BOARD} ({board(GOAL_BOARD).cpu.core})"),
        Text(
            "The goals are half a million for the encoder runtime's call and two million for a hop. A budget is what "
            "was measured and 15 % on top, or a goal that has been reached; `tests/arm/test_instructions.py` fails "
            "beyond it, for the two backends that a board runs. The numpy reference is there to be read, and right "
            "everywhere. Counts depend on neither machine nor load; three runs of this table differed by at most 0.6 %."
        ),
        Table(GOAL_HEADER, goals),
        Text(
            "Instructions are not time: how many a core completes in a cycle depends on caches and memory, which are "
            "not emulated. What a hop may take on a board stands in [Boards](../boards.md#how-long-a-hop-may-take)."
        ),
    ]
    return markdown(blocks)


if __name__ == "__main__":
    main()
