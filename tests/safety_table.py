"""Which tests carry the marker of which safety requirement: the page `docs/safety-tests.md`, read from the source.

`python -m tests.safety_table --write` makes it, `--check` fails where it differs. Read, not collected: the page is then
the same on a machine without torch or a data pack. A test function counts once, however many parameters it has and
however many hands or front ends inherit it.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

from myosem_edge.errors import InputError, MyosemError
from myosem_edge.files import write_atomic

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
PAGE = ROOT / "docs" / "safety-tests.md"
REQUIREMENTS = tuple(f"SR-{number:02d}" for number in range(1, 21))
MACHINE = "RuleBasedStateMachine"  # hypothesis runs the whole class as one test
HEAD = """# Which test proves which requirement

Made from the markers `sr(id)` by `python -m tests.safety_table --write`; a test fails where the two differ, and where
a requirement has no test. What each id demands stands in [safety](safety.md). Numbers count test functions: parameters,
and the hands and front ends that inherit a specification, multiply them when they run.

| id | tests | where, and how many there |
|---|---|---|
"""


@dataclass(frozen=True)
class Proof:
    """A test function (or a state machine, which is one test) and the requirement that its marker names."""

    requirement: str
    file: str
    owner: str  # the class, "" for a function of the module


@cache
def proofs(folder: Path = TESTS) -> tuple[Proof, ...]:
    """Every marked test below a folder, once for each requirement that it names.

    Raises:
        InputError: a marker that is not `pytest.mark.sr("SR-nn")` with an id of the requirements.
    """
    found: list[Proof] = []
    for path in sorted(folder.rglob("*.py")):
        found += _of_module(ast.parse(path.read_text(encoding="utf-8")), path.relative_to(folder.parent).as_posix())
    return tuple(found)


def _of_module(module: ast.Module, file: str) -> Iterator[Proof]:
    whole = [
        requirement
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
        for mark in (node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else [node.value])
        for requirement in _marked(mark, file)
    ]
    for node in module.body:
        if isinstance(node, ast.FunctionDef):
            yield from _of_function(node, whole, file, "")
        elif isinstance(node, ast.ClassDef):
            marks = [*whole, *(each for mark in node.decorator_list for each in _marked(mark, file))]
            if MACHINE in map(ast.unparse, node.bases):
                yield from (Proof(each, file, node.name) for each in dict.fromkeys(marks))
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    yield from _of_function(inner, marks, file, node.name)


def _of_function(node: ast.FunctionDef, inherited: list[str], file: str, owner: str) -> Iterator[Proof]:
    marks = [*inherited, *(each for mark in node.decorator_list for each in _marked(mark, file))]
    if node.name.startswith("test_"):
        yield from (Proof(each, file, owner) for each in dict.fromkeys(marks))


def _marked(mark: ast.expr, file: str) -> list[str]:
    """The requirements that a decorator or an entry of `pytestmark` names; none for other marks."""
    if ast.unparse(mark.func if isinstance(mark, ast.Call) else mark) != "pytest.mark.sr":
        return []
    arguments = mark.args if isinstance(mark, ast.Call) else []
    ids = [each.value if isinstance(each, ast.Constant) else None for each in arguments]
    if len(ids) != 1 or ids[0] not in REQUIREMENTS:
        raise InputError(
            "a marker names no safety requirement",
            where=f"{file}:{mark.lineno}",
            found=ast.unparse(mark),
            expected='pytest.mark.sr("SR-01") to "SR-20", one id each',
        )
    return [str(ids[0])]


def page(found: Iterable[Proof]) -> str:
    """The page, as Markdown: a row for every requirement, also for one without a test."""
    rows, found = [], list(found)
    for requirement in REQUIREMENTS:
        places = Counter((proof.file, proof.owner) for proof in found if proof.requirement == requirement)
        where = [f"`{file}`{f' `{owner}`' if owner else ''} {count}" for (file, owner), count in sorted(places.items())]
        rows.append(f"| {requirement} | {places.total()} | {', '.join(where)} |\n")
    return HEAD + "".join(rows)


@click.command()
@click.option("--write", "mode", flag_value="write", default="check", help="Write the page.")
@click.option("--check", "mode", flag_value="check", help="Fail if the page differs (default).")
@click.option("--file", type=click.Path(path_type=Path), default=PAGE, show_default=False)
def generate(mode: str, file: Path) -> None:
    """Make or check the table of safety requirements and their tests."""
    try:
        text = page(proofs())
        if mode == "write":
            write_atomic(file, text.encode())
        elif not file.exists() or file.read_text(encoding="utf-8") != text:
            raise InputError(
                "differs from the markers of the tests",
                where=file,
                todo="Make it again: python -m tests.safety_table --write",
            )
    except MyosemError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    generate()
