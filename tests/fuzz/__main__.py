"""`python -m tests.fuzz`: damaged inputs for every decoder and every reader of files, until one does what none may do.

`--target NAME --inputs N --seed S` repeats one; an input that was found is kept as a file and can be fed again with
`--target NAME --feed FILE`.
"""

from __future__ import annotations

import time
from pathlib import Path

import click

from tests.fuzz.target import Found, fuzz
from tests.fuzz.test_fuzz import TARGETS

EACH = 17_000  # sixty targets and more: above a million in all


@click.command(help=__doc__)
@click.option("--target", "names", multiple=True, help="Only this one; may be given again.")
@click.option("--inputs", type=click.IntRange(1), default=EACH, show_default=True, help="How many for each.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--feed", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="One input, from a file.")
@click.option(
    "--keep", type=click.Path(path_type=Path), default=Path("build/fuzz"), help="Where found inputs are kept."
)
@click.option("--list", "listed", is_flag=True, help="The names of all targets.")
def main(names: tuple[str, ...], inputs: int, seed: int, feed: Path | None, keep: Path, listed: bool) -> None:
    if listed:
        click.echo("\n".join(TARGETS))
        return
    if unknown := [name for name in names if name not in TARGETS]:
        raise click.UsageError(f"no such target: {', '.join(unknown)}; --list has all")
    if feed is not None:
        if len(names) != 1:
            raise click.UsageError("--feed needs one --target")
        target = TARGETS[names[0]]()
        target.take(feed.read_bytes())
        target.check()
        return
    found = total = 0
    for name in names or TARGETS:
        target, begun_s = TARGETS[name](), time.monotonic()
        try:
            refused = fuzz(target, inputs, seed)
        except Found as error:
            found += 1
            keep.mkdir(parents=True, exist_ok=True)
            path = keep / f"{name.replace(' ', '-')}-{seed}"
            path.write_bytes(error.data)
            click.echo(f"{error}\n  again: python -m tests.fuzz --target '{name}' --inputs {inputs} --seed {seed}")
            click.echo(f"  alone: python -m tests.fuzz --target '{name}' --feed {path}")
            continue
        total += inputs
        rate = inputs / (time.monotonic() - begun_s)
        click.echo(f"{name:28} {inputs:8} inputs, {100 * refused / inputs:3.0f} % refused, {rate:6.0f} a second")
    click.echo(f"{total} inputs without a finding, {found} findings")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
