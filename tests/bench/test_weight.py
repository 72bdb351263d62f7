"""What a board carries: memory of the whole `run`, time to its first decision, its packages and their import.

The budgets are those of x86-64. Under QEMU's user emulation `run` cannot start its guard, and the memory of an emulated
process is mostly the emulator's.
"""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest

from myosem_edge.bench.live import ALONE, observe
from myosem_edge.bench.person import load_stream
from myosem_edge.bundle import bundle_from
from myosem_edge.runtime.backends import BACKENDS
from tests.arm.test_arm import registry_answers
from tests.bench.test_peers import benchmark
from tests.conftest import trusting

pytestmark = [
    pytest.mark.full,
    pytest.mark.peer,  # in real time
    pytest.mark.timeout(600),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the budgets are those of x86-64"),
]

# `run` with guard and telemetry, all pages of theirs counted once and in full. Measured and 15 % on top, or a goal that
# is reached: 110 for ONNX Runtime. The others' was 60.
MEMORY_MB = {"onnxruntime": 110.0, "litert": 95.0, "reference": 81.0}
FIRST_DECISION_S = 2.0  # from the start of the process
TRIES = 5  # a start on a busy machine says nothing; the least disturbed one does
WHEEL_MB, INSTALLED_MB = 8.0, 215.0
IMPORT_S = {"board package": 0.5, "ONNX Runtime": 0.5}


@pytest.mark.parametrize("backend", BACKENDS)
def test_run_is_light_and_soon_there(
    backend: str,
    shipped_size: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MYOSEM_HOME", str(trusting(tmp_path)))
    bundle, first_s = bundle_from(shipped_size), []
    while len(first_s) < TRIES and (not first_s or min(first_s) > FIRST_DECISION_S):
        seen = observe(bundle, shipped_size, load_stream(), backend, 1.0)
        first_s.append(seen.first_decision_s)
    figures = ", ".join(f"{name}: {value:.1f}" for name, value in seen.memory_mb.items())
    with capsys.disabled():
        print(f"\n{backend}: first decision after {min(first_s):.2f} s; {figures}")
    assert min(first_s) <= FIRST_DECISION_S
    assert seen.memory_mb["PSS with children, MB"] <= seen.memory_mb[ALONE] <= MEMORY_MB[backend]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("installed")
    try:
        found: dict[str, Any] = benchmark("installation").measure_installation(folder / "made", 2)
    except subprocess.CalledProcessError as error:
        if registry_answers(folder):
            pytest.fail(error.stderr)
        pytest.skip("the registry of packages cannot be reached")
    return found


def test_what_is_installed_is_small(installed: dict[str, Any]) -> None:
    assert installed["wheel_mb"] <= WHEEL_MB
    assert sum(installed["installed_mb"].values()) <= INSTALLED_MB, installed["installed_mb"]


@pytest.mark.parametrize("what", IMPORT_S)
def test_its_import_is_quick(what: str, installed: dict[str, Any]) -> None:
    assert min(installed["import_s"][what]) <= IMPORT_S[what]
