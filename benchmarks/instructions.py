"""Instructions of one hop on emulated boards. `python benchmarks/instructions.py BUNDLE`, `--build` the first time.

A profile is not worn: descriptions alone decide. What a calibrated head adds is the same matrix arithmetic again.
"""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.counted import PARTS
from myosem_edge.boards.counter import build_counter, find_counter
from myosem_edge.boards.profiles import board
from myosem_edge.boards.sysroot import TARGETS, cache_folder, prepare
from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.files import user_folder
from myosem_edge.runtime.encoder import BACKENDS

COUNTED = Path(__file__).with_name("counted.py")


@click.command()
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--board", "boards", multiple=True, default=("pi_zero_2w", "pi_4", "pi_5"), show_default=True)
@click.option("--backend", "backends", multiple=True, type=click.Choice(BACKENDS), default=BACKENDS, show_default=True)
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), default=PARTS, show_default=True)
@click.option("--build", is_flag=True, help="Build the counting emulator first, if it is not there (10 to 20 minutes).")
@json_option
def main(
    bundle: Path | None,
    boards: tuple[str, ...],
    backends: tuple[str, ...],
    parts: tuple[str, ...],
    build: bool,
    as_json: bool,
) -> None:
    """Count the instructions of one hop of BUNDLE on emulated 64-bit boards."""
    counter = build_counter(cache_folder()) if build else find_counter(cache_folder())
    if bundle is None:
        click.echo(f"Counts with {counter.folder}")
        return
    sysroot = prepare(TARGETS["aarch64"], cache_folder())
    found = {}
    for name in boards:
        for backend in backends:
            for part in parts:
                click.echo(f"{name}, {backend}: {part}", err=True)
                run = [str(COUNTED), str(bundle), part, backend]
                found[name, backend, part] = counter.per_hop(
                    sysroot, board(name), lambda hops, run=run: [*run, str(hops)], user_folder()
                )
    if as_json:
        print_json([{"board": n, "backend": b, "part": p, "instructions": v} for (n, b, p), v in found.items()])
        return
    rows = [
        (name, board(name).cpu.core, backend, *(f"{found[name, backend, part] / 1e6:.2f} M" for part in parts))
        for name in boards
        for backend in backends
    ]
    click.echo(table(rows, ("board", "core", "backend", *parts)))


if __name__ == "__main__":
    main()
