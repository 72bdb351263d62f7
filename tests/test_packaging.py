"""What an installation holds: one import name with every room, its data, and a board side without training packages."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LEFT_OUT = shutil.ignore_patterns(
    *("__pycache__", "*.egg-info", "build", "dist", ".venv", ".git", ".*_cache", ".hypothesis", ".coverage*", "runs"),
    *("demo-report", "tests", "benchmarks"),
)
ROOMS = ("boards", "calibration", "export", "firmware_bridge", "quantize")
EXTRAS_OF_MESSAGES = ("train", "text", "lsl", "brainflow")
BOARD_PACKAGES = {"numpy", "click", "pyserial", "cobs", "cryptography", "safetensors", "onnxruntime"}
BLOCKED = (
    "torch",
    "scipy",
    "onnx",
    "ai_edge_litert",
    "onnxscript",
    "matplotlib",
    "rich",
    "h5py",
    "tokenizers",
    "sklearn",
)
BOARD_SIDE = ("runtime", "calibration", "signal", "firmware_bridge", "boards", "actions", "bench")

# Stands before the program under test: an installation where the extras were never installed.
BLOCKADE = f"""
import importlib.abc, sys

class Blockade(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blockade())
"""


def build(source: Path, kind: str, out: Path) -> Path:
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(out), str(source)]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr[-2000:]
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def clean_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree as a fresh clone has it; what lies around in this one must not get into a wheel."""
    copy = tmp_path_factory.mktemp("source") / "copy"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=LEFT_OUT)
    return copy


@pytest.fixture(scope="module")
def sdist(clean_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(clean_copy, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(clean_copy: Path, sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    shutil.rmtree(clean_copy / "build", ignore_errors=True)
    return build(clean_copy, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel unpacked as pip would, and nothing of this tree beside it."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}


def python(code: str, folder: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter that sees the installed packages and, before all others, `folder`."""
    environment = {**os.environ, "MYOSEM_HOME": str(home), "OMP_NUM_THREADS": "1"}
    path = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    # An editable installation answers through a finder of its own, which comes before the path.
    path += "sys.meta_path = [each for each in sys.meta_path if 'editable' not in repr(each)]\n"
    command = [sys.executable, "-I", "-c", path + textwrap.dedent(code), *arguments]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=120)


class TestWheel:
    def test_one_import_name(self, wheel: Path) -> None:
        assert {name.partition("/")[0] for name in contents(wheel)} == {"myosem_edge"}

    def test_one_wheel_for_every_machine(self, wheel: Path) -> None:
        assert wheel.name.endswith("-py3-none-any.whl")

    def test_every_module_of_the_tree_and_no_other(self, wheel: Path) -> None:
        folders = [ROOT / "myosem_edge", *(ROOT / "myosem_edge" / room for room in ROOMS)]
        modules = {str(path.relative_to(ROOT)) for folder in folders for path in folder.rglob("*.py")}
        assert {name for name in contents(wheel) if name.endswith(".py")} == modules

    def test_every_data_file_of_the_tree(self, wheel: Path) -> None:
        folders = [ROOT / "myosem_edge", *(ROOT / "myosem_edge" / room for room in ROOMS)]
        kinds = {".toml", ".npz", ".json", ".safetensors", ".service", ".rules", ".example", ".typed"}
        data = {
            str(p.relative_to(ROOT))
            for folder in folders
            for p in folder.rglob("*")
            if p.suffix in kinds or p.name == "py.typed"
        }
        assert data - contents(wheel).keys() == set()

    @pytest.mark.parametrize(
        "name",
        [
            "py.typed",
            "actions/catalogue.toml",
            "actions/descriptions.safetensors",
            "models/shipped.safetensors",
            "runtime/grips_default.toml",
            "sample/README.md",
            "sample/roles.json",
            "sample/myo_readings8/LICENSE",
            "sample/myo_readings8/p12548.npz",
            "boards/pi_4.toml",
            "boards/myosem-edge.service",
            "boards/myosem-edge-dead.service",
            "boards/99-myosem-edge.rules",
            "boards/myosem-edge.env.example",
            "export/cortex_m/myosem.h",
            "export/cortex_m/Makefile",
            "export/cortex_m/LICENSE",
            "export/cortex_m/check/mps2.ld",
            "firmware_bridge/firmware/Makefile",
            "firmware_bridge/firmware/core/wire.c",
            "firmware_bridge/firmware/hal/stm32f405.ld",
        ],
    )
    def test_what_a_program_looks_for_is_there_byte_for_byte(self, wheel: Path, name: str) -> None:
        assert contents(wheel)[f"myosem_edge/{name}"] == (ROOT / "myosem_edge" / name).read_bytes()

    def test_rooms_are_folders_and_not_links(self, installed: Path) -> None:
        rooms = [installed / "myosem_edge" / room for room in ROOMS]
        assert all(room.is_dir() and not room.is_symlink() for room in rooms)

    def test_both_licences_travel_with_it(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist() if "/licenses/" in name}
        assert {"LICENSE", "NOTICE"} <= names

    def test_the_sdist_makes_the_same_wheel(self, wheel: Path, sdist: Path, tmp_path: Path) -> None:
        with tarfile.open(sdist) as archive:
            archive.extractall(tmp_path / "unpacked", filter="data")
        (source,) = (tmp_path / "unpacked").iterdir()
        assert contents(build(source, "wheel", tmp_path / "again")) == contents(wheel)


class TestInstallation:
    def test_the_plain_installation_is_the_board(self) -> None:
        requirements = [Requirement(line) for line in importlib.metadata.requires("myosem-edge") or []]
        plain = {each.name for each in requirements if each.marker is None or "extra" not in str(each.marker)}
        assert plain == BOARD_PACKAGES

    def test_every_pinned_version_satisfies_what_is_asked_for(self) -> None:
        lines = (ROOT / "constraints.txt").read_text().splitlines()
        pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
        for requirement in map(Requirement, importlib.metadata.requires("myosem-edge") or []):
            extra = str(requirement.marker).rpartition("extra == ")[2].strip('"')
            # Two extras that no test environment installs: one is a separate step, one needs an older numpy.
            if extra not in ("text", "tflite"):
                assert requirement.specifier.contains(pins[requirement.name]), requirement

    @pytest.mark.parametrize("extra", EXTRAS_OF_MESSAGES)
    def test_every_extra_that_a_message_names_exists(self, extra: str) -> None:
        from myosem_edge.cli.main import EXTRAS

        assert extra in (importlib.metadata.metadata("myosem-edge").get_all("Provides-Extra") or [])
        assert set(EXTRAS.values()) <= set(EXTRAS_OF_MESSAGES)

    def test_it_imports_from_the_source_tree(self, tmp_path: Path) -> None:
        self.check_place(ROOT, tmp_path)

    def test_it_imports_from_the_wheel(self, installed: Path, tmp_path: Path) -> None:
        self.check_place(installed, tmp_path)

    def check_place(self, folder: Path, home: Path) -> None:
        finished = python(
            f"""
            import importlib
            for room in {ROOMS!r}:
                print(importlib.import_module(f"myosem_edge.{{room}}").__file__)
            """,
            folder,
            home,
        )
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout.split() == [str(folder / "myosem_edge" / room / "__init__.py") for room in ROOMS]


class TestBoardInstallation:
    """The wheel where torch, scipy, onnx and the rest were never installed."""

    def run(self, installed: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        code = BLOCKADE + "from myosem_edge.cli.main import main\nmain()\n"
        return python(code, installed, home, *arguments)

    def test_every_module_of_the_board_side_imports(self, installed: Path, tmp_path: Path) -> None:
        code = f"""
import importlib, pkgutil, myosem_edge
import myosem_edge.bundle
for part in {BOARD_SIDE!r}:
    package = importlib.import_module(f"myosem_edge.{{part}}")
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
        print(module.name)
assert not set({BLOCKED!r}) & set(sys.modules)
"""
        finished = python(BLOCKADE + code, installed, tmp_path)
        assert finished.returncode == 0, finished.stderr
        assert {"myosem_edge.runtime.gate", "myosem_edge.firmware_bridge.hands.ability"} <= set(finished.stdout.split())

    @pytest.mark.parametrize(
        "arguments", [["--help"], ["run", "--help"], ["verify", "--help"], ["calibrate", "--help"], ["--version"]]
    )
    def test_help_needs_no_extra(self, installed: Path, tmp_path: Path, arguments: list[str]) -> None:
        finished = self.run(installed, tmp_path, *arguments)
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout

    @pytest.mark.parametrize(
        "arguments", [["grips", "show"], ["actions", "list"], ["keys", "list"], ["doctor", "--json"]]
    )
    def test_commands_of_the_board_run(self, installed: Path, tmp_path: Path, arguments: list[str]) -> None:
        finished = self.run(installed, tmp_path, *arguments)
        assert finished.returncode in {0, 7} if arguments[0] == "doctor" else finished.returncode == 0, finished.stderr
        assert "Traceback" not in finished.stderr

    def test_a_bundle_is_verified_golden_vectors_included(self, installed: Path, tmp_path: Path) -> None:
        bundle = tmp_path / "board.myosem"
        environment = {**os.environ, "MYOSEM_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
        options = ["--size", "15k", "--steps", "1", "--max-int8-loss", "100", "--out", str(bundle)]
        export = [sys.executable, "-m", "myosem_edge", "export", *options]
        made = subprocess.run(export, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        finished = self.run(installed, tmp_path, "verify", str(bundle))
        assert finished.returncode == 0, finished.stdout + finished.stderr
        assert "golden vectors" in finished.stdout

    @pytest.mark.parametrize("command", ["train", "export", "evaluate"])
    def test_a_training_command_names_the_extra_that_it_needs(
        self, installed: Path, tmp_path: Path, command: str
    ) -> None:
        arguments = {"evaluate": ["--data", str(tmp_path)], "train": ["--data", str(tmp_path)], "export": []}[command]
        finished = self.run(installed, tmp_path, command, *arguments)
        assert finished.returncode == 3
        assert "pip install 'myosem-edge[train]'" in finished.stderr
        assert "Traceback" not in finished.stderr
