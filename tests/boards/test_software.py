"""What is installed is found, what is broken is said, and the runtime that would be used is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from myosem_edge.boards import software as module
from myosem_edge.boards.checkup import Check, Status
from myosem_edge.boards.profiles import board, detect_board
from myosem_edge.boards.software import (
    PACKAGES,
    Software,
    check_packages,
    check_python,
    check_runtimes,
    import_failure,
    installed_version,
)

OK, WARNING, PROBLEM = Status.OK, Status.WARNING, Status.PROBLEM
RUNTIMES = board("pi_4").runtimes
BOTH = ("encoder.onnx", "encoder.tflite", "encoder.safetensors")


def software(*installed: str, python: tuple[int, int, int] = (3, 11, 2), **broken: str) -> Software:
    """`installed` as "package==version"; `broken` maps a module to why its import fails."""
    versions = dict(item.split("==") for item in installed)
    return Software(python, "2.36", versions.get, lambda name: broken.get(name, ""))


def runtimes(
    found: Software, tmp_path: Path, machine: str = "aarch64", members: tuple[str, ...] | None = None
) -> list[Check]:
    return check_runtimes(found, detect_board(tmp_path, machine=machine, pointer_bits=64), RUNTIMES, members)


@pytest.mark.parametrize(
    ("python", "status"), [((3, 10, 14), PROBLEM), ((3, 11, 0), OK), ((3, 13, 5), OK), ((4, 0, 0), OK)]
)
def test_python(python: tuple[int, int, int], status: Status) -> None:
    assert check_python(software(python=python)).status is status


def test_packages() -> None:
    everything = [f"{name}==1.0" for name in PACKAGES]
    assert check_packages(software(*everything)).status is OK
    found = check_packages(software(*everything[:-2]))
    assert found.status is PROBLEM and found.todo.endswith("install cryptography safetensors")
    assert "numpy 1.0" in found.found and "safetensors missing" in found.found


def test_the_best_usable_runtime_is_named(tmp_path: Path) -> None:
    *each, choice = runtimes(software("numpy==2.4.6", "onnxruntime==1.32.0", "ai-edge-litert==2.3.0"), tmp_path)
    assert [(check.name, check.found) for check in each] == [
        ("runtime onnxruntime", "1.32.0"),
        ("runtime LiteRT", "2.3.0"),
        ("runtime numpy reference", "2.4.6"),
    ]
    assert choice == Check("encoder", OK, "onnxruntime would run encoder.onnx")


def test_a_runtime_that_fails_to_import_is_not_used_in_silence(tmp_path: Path) -> None:
    found = software("numpy==2.4.6", "onnxruntime==1.32.0", "ai-edge-litert==2.3.0", onnxruntime="it crashes")
    broken, *_, choice = runtimes(found, tmp_path)
    assert broken.status is WARNING and "it crashes" in broken.found and broken.todo
    assert choice.found == "LiteRT would run encoder.tflite"


@pytest.mark.parametrize(("numpy", "usable"), [("1.26.4", True), ("2.0.0", False), ("10.0", False)])
def test_tflite_runtime_with_numpy_2_imports_and_is_refused_all_the_same(
    tmp_path: Path, numpy: str, usable: bool
) -> None:
    first, *_, choice = runtimes(software(f"numpy=={numpy}", "tflite-runtime==2.14.0"), tmp_path, "armv7l")
    assert first.name == "runtime TFLite runtime"
    assert (first.status, choice.status) == ((OK, OK) if usable else (WARNING, WARNING))
    assert usable or "numpy<2" in first.todo


@pytest.mark.parametrize(
    ("machine", "python", "todo"),
    [
        ("aarch64", (3, 13, 0), "python3 -m pip install onnxruntime"),
        ("armv7l", (3, 11, 2), "python3 -m pip install tflite-runtime"),
        ("armv7l", (3, 13, 0), "There is no faster package for Python 3.13 on armv7l"),
    ],
)
def test_the_reference_alone_is_a_warning(
    tmp_path: Path, machine: str, python: tuple[int, int, int], todo: str
) -> None:
    choice = runtimes(software("numpy==1.26.4", python=python), tmp_path, machine)[-1]
    assert (choice.status, choice.todo) == (WARNING, todo)


def test_nothing_at_all_is_a_problem(tmp_path: Path) -> None:
    (choice,) = runtimes(software(), tmp_path)
    assert (choice.status, choice.todo) == (PROBLEM, "python3 -m pip install onnxruntime")
    (choice,) = runtimes(software(python=(3, 15, 0)), tmp_path)
    assert choice.status is PROBLEM and "no package for Python 3.15 on aarch64" in choice.found


def test_the_bundle_decides_what_is_needed(tmp_path: Path) -> None:
    found = software("numpy==1.26.4", "onnxruntime==1.32.0", "tflite-runtime==2.14.0")
    assert "onnxruntime" in runtimes(found, tmp_path, members=BOTH)[-1].found
    assert runtimes(found, tmp_path, members=BOTH[1:])[-1].found == "TFLite runtime would run encoder.tflite"
    assert runtimes(found, tmp_path, members=BOTH[2:])[-1].status is WARNING
    only_tflite = runtimes(software("numpy==2.0.0", "onnxruntime==1.32.0"), tmp_path, members=("encoder.tflite",))[-1]
    assert (only_tflite.status, only_tflite.todo) == (PROBLEM, "python3 -m pip install ai-edge-litert")


def test_an_old_c_library_is_not_offered_what_it_cannot_install(tmp_path: Path) -> None:
    old = Software((3, 11, 2), "2.31", {"numpy": "1.24.2"}.get, lambda name: "")
    assert "no faster package" in runtimes(old, tmp_path, "armv7l")[-1].todo


class TestThisProcess:
    def test_what_runs_here(self) -> None:
        here = Software.here()
        assert here.python >= (3, 11, 0) and here.python_series.startswith("3.")
        assert installed_version("click") and installed_version("no-such-distribution") is None

    def test_a_module_that_imports(self) -> None:
        assert import_failure("json") == ""

    def test_a_module_that_is_missing(self) -> None:
        assert "No module named 'no_such_module'" in import_failure("no_such_module")

    def test_a_module_that_crashes_does_not_take_the_doctor_with_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "crashes.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
        (tmp_path / "leaves.py").write_text("raise SystemExit(3)\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        assert import_failure("crashes") == "the import crashes (signal 11)"
        assert import_failure("leaves") == "the import fails"

    def test_a_module_that_never_ends(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "hangs.py").write_text("import signal\nsignal.pause()\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(module, "IMPORT_LIMIT_S", 0.5)
        assert "longer than 0.5 s" in import_failure("hangs")
