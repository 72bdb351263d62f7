"""Every safety requirement has a test that carries its id, and the page that says which is the one the markers make."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from myosem_edge.errors import InputError
from tests.safety_table import PAGE, REQUIREMENTS, ROOT, Proof, generate, page, proofs


def test_every_requirement_has_a_test() -> None:
    assert {proof.requirement for proof in proofs()} == set(REQUIREMENTS)


def test_the_requirements_are_those_of_the_safety_page() -> None:
    text = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| (SR-\d+) \|", text, re.MULTILINE)) == REQUIREMENTS


def test_the_kept_page_is_up_to_date() -> None:
    done = CliRunner().invoke(generate, ["--check"])
    assert done.exit_code == 0, done.output


def found_in(folder: Path, source: str) -> list[Proof]:
    (folder / "tests").mkdir(exist_ok=True)
    (folder / "tests" / "test_it.py").write_text(source)
    return list(proofs(folder / "tests"))


def test_marks_of_module_class_and_function_are_read_and_count_once(tmp_path: Path) -> None:
    source = (
        'pytestmark = [pytest.mark.peer, pytest.mark.sr("SR-01")]\n'
        "def helper(): ...\n"
        '@pytest.mark.sr("SR-01")\n@pytest.mark.parametrize("a", [1, 2])\ndef test_a(a): ...\n'
        '@pytest.mark.sr("SR-02")\nclass TestB:\n    def helper(self): ...\n'
        '    @pytest.mark.sr("SR-03")\n    def test_c(self): ...\n    def test_d(self): ...\n'
        '@pytest.mark.sr("SR-20")\nclass Machine(RuleBasedStateMachine):\n    def a_rule(self): ...\n'
    )
    file = "tests/test_it.py"
    expected = [("SR-01", ""), ("SR-01", "TestB"), ("SR-02", "TestB"), ("SR-03", "TestB")]
    expected += [("SR-01", "TestB"), ("SR-02", "TestB"), ("SR-01", "Machine"), ("SR-20", "Machine")]
    found = found_in(tmp_path, source)
    assert found == [Proof(requirement, file, owner) for requirement, owner in expected]
    rows = page(found).splitlines()
    assert f"| SR-01 | 4 | `{file}` 1, `{file}` `Machine` 1, `{file}` `TestB` 2 |" in rows
    assert "| SR-04 | 0 |  |" in rows


@pytest.mark.parametrize("mark", ["sr", "sr()", "sr(12)", 'sr("12")', 'sr("SR-21")', 'sr("SR-01", "SR-02")', "sr(ID)"])
def test_a_marker_of_another_form_is_an_error(tmp_path: Path, mark: str) -> None:
    with pytest.raises(InputError, match=r"test_it.py:1.*SR-01"):
        found_in(tmp_path, f"@pytest.mark.{mark}\ndef test_a(): ...\n")


def test_write_then_check_then_drift(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    runner = CliRunner()
    assert "--write" in runner.invoke(generate, ["--file", str(file)]).output
    assert runner.invoke(generate, ["--write", "--file", str(file)]).exit_code == 0
    assert file.read_text() == PAGE.read_text() and runner.invoke(generate, ["--file", str(file)]).exit_code == 0
    file.write_text(file.read_text() + "\n")
    assert runner.invoke(generate, ["--check", "--file", str(file)]).exit_code == 1
