"""A child of ours finds this package, from a source tree too, and nothing that merely lies in the current folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from myosem_edge.runtime import child
from myosem_edge.runtime.child import child_command, child_environment

ROOT = str(Path(__file__).parents[2])


def test_the_current_folder_is_not_on_its_import_path(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("open('executed', 'w')\n")
    command = child_command("myosem_edge.runtime.telemetry", "--help")
    done = subprocess.run(command, cwd=tmp_path, env=child_environment(), capture_output=True, timeout=60)
    assert done.returncode == 0 and not (tmp_path / "executed").exists()


def test_without_an_installation_the_source_tree_is_found(tmp_path: Path) -> None:
    # -S: no site-packages, so nothing but PYTHONPATH can lead there.
    code = "import myosem_edge.errors, sys; print(sys.path.count(''))"
    command = [sys.executable, "-S", "-P", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=child_environment({}), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


@pytest.mark.parametrize(("before", "after"), [("", [ROOT]), ("/a", [ROOT, "/a"]), (":/a::", [ROOT, "/a"])])
def test_the_source_tree_comes_first_and_no_entry_means_the_current_folder(before: str, after: list[str]) -> None:
    made = child_environment({"PYTHONPATH": before, "HOME": "/h"})
    assert made == {"PYTHONPATH": os.pathsep.join(after), "HOME": "/h"}


def test_an_installed_package_needs_no_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child.site, "getsitepackages", lambda: [ROOT])
    assert child_environment({"HOME": "/h"}) == {"HOME": "/h"}
