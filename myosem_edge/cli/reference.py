"""The command reference `docs/cli.md`, made from the commands themselves so that it cannot go stale.

`python -m myosem_edge.cli.reference --write` makes it, `--check` fails where it differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from myosem_edge.cli.main import PROGRAM, main
from myosem_edge.errors import InputError, MyosemError
from myosem_edge.files import write_atomic

REFERENCE = Path("docs/cli.md")
WIDTH = 100  # columns, whatever the terminal
HEAD = """# Command reference

Made from the commands by `python -m myosem_edge.cli.reference --write`; a test fails where the two differ.
"""


def reference(root: click.Command = main) -> str:
    """The page, as Markdown.

    Raises:
        InputError: some commands cannot be imported; all of them are named.
    """
    missing: list[str] = []
    parts = [HEAD]
    for path, text in _walk(root, (PROGRAM,), None, missing):
        parts.append(f"{'#' * min(len(path) + 1, 4)} {' '.join(path)}\n\n```text\n{text}\n```\n")
    if missing:
        raise InputError("some commands cannot be imported", found="; ".join(missing), expected="every one of them")
    return "\n".join(parts)


def _walk(
    command: click.Command, path: tuple[str, ...], parent: click.Context | None, missing: list[str]
) -> Iterator[tuple[tuple[str, ...], str]]:
    ctx = click.Context(command, info_name=path[-1], parent=parent, terminal_width=WIDTH, max_content_width=WIDTH)
    ctx.help_option_names = ["-h", "--help"]
    yield path, command.get_help(ctx)
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(ctx):
        try:
            child = command.get_command(ctx, name)
        except MyosemError as error:
            missing.append(f"{name}: {error}")
            continue
        if child is not None and not child.hidden:
            yield from _walk(child, (*path, name), ctx, missing)


@click.command()
@click.option("--write", "mode", flag_value="write", default="check", help="Write the page.")
@click.option("--check", "mode", flag_value="check", help="Fail if the page differs (default).")
@click.option("--file", type=click.Path(path_type=Path), default=REFERENCE, show_default=True)
def generate(mode: str, file: Path) -> None:
    """Make or check the command reference."""
    try:
        text = reference()
        if mode == "write":
            write_atomic(file, text.encode())
        elif not file.exists() or file.read_text(encoding="utf-8") != text:
            raise InputError(
                "differs from the commands",
                where=file,
                todo="Make it again: python -m myosem_edge.cli.reference --write",
            )
    except MyosemError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    generate()
