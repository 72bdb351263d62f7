"""The command reference is made from the commands, and the page that is kept is the one they make."""

from __future__ import annotations

import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from myosem_edge.cli import reference as module
from myosem_edge.cli.main import Root
from myosem_edge.cli.reference import generate, reference
from myosem_edge.errors import InputError
from myosem_edge.runtime.child import child_command, child_environment

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


@click.group()
def tree() -> None:
    """A tree."""


@tree.group()
def nouns() -> None:
    """Nouns."""


@nouns.command()
@click.option("--count", type=int, help="How many.")
def verb(count: int) -> None:
    """Do it."""


@nouns.command(hidden=True)
def secret() -> None:
    """Not shown."""


def test_the_kept_page_is_up_to_date() -> None:
    # In a process of its own: click remembers the help option of whatever command was called first in this one.
    command = child_command("myosem_edge.cli.reference", "--check", "--file", str(PAGE))
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_command_has_its_section() -> None:
    page = reference(tree)
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "# Command reference",
        "## myosem-edge",
        "### myosem-edge nouns",
        "#### myosem-edge nouns verb",
    ]
    assert "Usage: myosem-edge nouns verb [OPTIONS]" in page
    assert "How many." in page


def test_the_page_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = reference(tree)
    monkeypatch.setenv("COLUMNS", "20")
    assert reference(tree) == wide


def test_every_command_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from myosem_edge.cli import main as cli

    entries = {name: cli.Entry(f"myosem_edge.cli.absent_{name}:x", "X.") for name in ("one", "two")}
    monkeypatch.setattr(cli, "COMMANDS", {"Test": entries})
    with pytest.raises(InputError, match=r"one: the command one is not part.*two: the command two is not part"):
        reference(Root("root"))


def test_write_then_check_then_drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "reference", lambda: reference(tree))
    page = tmp_path / "cli.md"
    runner = CliRunner()
    missing = runner.invoke(generate, ["--check", "--file", str(page)])
    assert missing.exit_code == 1
    assert "--write" in missing.output
    assert runner.invoke(generate, ["--write", "--file", str(page)]).exit_code == 0
    assert page.read_text() == reference(tree)
    assert runner.invoke(generate, ["--file", str(page)]).exit_code == 0
    page.write_text(page.read_text() + "\n")
    assert runner.invoke(generate, ["--check", "--file", str(page)]).exit_code == 1
