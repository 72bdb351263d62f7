"""How many changed gates the tests of the gate notice (SR-20): every mutant that mutmut makes of it, run against them.

A quarter of an hour or more: `make test-long`. Survivors that cannot be told from the gate are in `EQUIVALENT`, each
with its reason on the safety page; any other survivor fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What the tests of the gate import. The rest of the package stays away, so that nothing else can notice a mutant.
GATE = ("myosem_edge/runtime/gate.py", "myosem_edge/runtime/limits.py")
PARTS = (*GATE, "myosem_edge/clock.py", "myosem_edge/errors.py")
TESTS = ("tests/runtime/test_gate.py", "tests/runtime/test_gate_machine.py")
# TestSR20Module reads files and the source of the gate, which mutmut rewrites.
SETTINGS = f"""
[tool.mutmut]
source_paths = ["myosem_edge"]
only_mutate = {list(GATE)}
pytest_add_cli_args_test_selection = ["tests/runtime", "--deselect", "tests/runtime/test_gate.py::TestSR20Module"]
[tool.pytest.ini_options]
pythonpath = ["."]
addopts = "--import-mode=importlib -p no:cacheprovider"
timeout = 60
markers = ["sr(id): the safety requirement that this test proves"]
"""
# The same examples for every mutant. mutmut runs a test function more than once, which hypothesis takes for a mistake.
CONFTEST = """
from hypothesis import HealthCheck, settings
settings.register_profile(
    "mutants", derandomize=True, database=None, suppress_health_check=[HealthCheck.differing_executors]
)
settings.load_profile("mutants")
"""
# (function, the line that stands in the mutant): no command or reason can tell it from the gate.
EQUIVALENT = {
    ("step", "now_s = inputs.now_s if is_number(inputs.now_s) else 1.0"),
    ("step", "healthy_for_s = -2.0 if healthy_since_s is None else now_s - healthy_since_s"),
    ("_troubles", "ages_s = (inputs.sample_age_s, 1.0 if feedback_age_s is None else feedback_age_s)"),
    ("_counted", "votes = () if state.decision_index is not None and index <= state.decision_index else state.votes"),
    ("_counted", 'vote = (request.kind, request.grip) if request.accepted else ("XXrejectedXX", None)'),
    ("_counted", 'vote = (request.kind, request.grip) if request.accepted else ("REJECTED", None)'),
}
AT_IMPORT = "x__limit__mutmut_"  # runs before mutmut puts its change in place


@pytest.mark.long
@pytest.mark.sr("SR-20")
def test_no_changed_gate_passes_for_the_gate(tmp_path: Path) -> None:
    pytest.importorskip("mutmut", reason="mutmut is not installed")
    for part in (*PARTS, *TESTS):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / part, tmp_path / part)
    for package in ("myosem_edge", "myosem_edge/runtime"):
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    (tmp_path / "tests" / "conftest.py").write_text(CONFTEST)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def mutmut(*arguments: str) -> str:
        command = [sys.executable, "-m", "mutmut", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    mutmut("run", "--max-children", "1")
    results = dict(re.findall(r"(\S*mutmut_\d+): ([\w ]+)", mutmut("results", "--all", "true")))
    survivors = [name for name, result in results.items() if result not in ("killed", "timeout")]
    print(f"{len(results)} mutants, {len(survivors)} survive")
    assert len(results) > 400
    unexplained = []
    for name in survivors:
        changed = re.findall(r"^\+(?!\+\+) *(.*)$", mutmut("show", name), re.MULTILINE)
        function = re.sub(r".*\.x_(.*)__mutmut_\d+", r"\1", name)
        if AT_IMPORT not in name and (function, changed[0].strip()) not in EQUIVALENT:
            unexplained.append((name, results[name], changed))
    assert unexplained == []
