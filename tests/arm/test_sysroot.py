"""The making of an emulated board: what it is told, what it is never told, and what a broken download leaves behind."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from myosem_edge.boards import sysroot as module
from myosem_edge.boards.profiles import board, detect_board
from myosem_edge.boards.sysroot import (
    TARGETS,
    Sysroot,
    cache_folder,
    cpuinfo,
    emulate,
    playable,
    played_files,
    prepare,
)
from myosem_edge.errors import InputError, StorageError

ARM64, ARMHF = TARGETS["aarch64"], TARGETS["armv7l"]
VIEWS = [(architecture, each.name) for architecture in TARGETS for each in playable(architecture)]
CPUINFO_PI_4 = """\
processor\t: 0
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture\t: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 4
"""


class Mirror:
    """apt, dpkg-deb and pip, played: they leave the files that the real ones would, or fail on command."""

    def __init__(self, *failing: str) -> None:
        self.failing, self.calls = set(failing), list[list[str]]()

    def __call__(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        self.calls.append(list(command))
        step = next(word for word in ("update", "--download-only", "--extract", "pip") if word in command)
        if step in self.failing:
            return subprocess.CompletedProcess(command, 1, "", f"noise\nE: {step} went wrong\n")
        if step == "--download-only":
            cache = next(word.partition("=")[2] for word in command if word.startswith("-oDir::Cache="))
            (Path(cache) / "archives" / "python3.deb").touch()
        elif step == "--extract":
            (Path(command[-1]) / "usr" / "bin").mkdir(parents=True, exist_ok=True)
            (Path(command[-1]) / "usr" / "bin" / "python3.11").touch()
        elif step == "pip":
            Path(command[command.index("--target") + 1]).mkdir()
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A search path with the tools by name; none of them is ever run."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("qemu-aarch64-static", "qemu-arm-static", "apt-get", "dpkg-deb"):
        (folder / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


class TestBoard:
    def test_the_processor_is_described_as_its_kernel_does(self) -> None:
        text = cpuinfo(board("pi_4"), "aarch64")
        assert text.startswith(CPUINFO_PI_4)
        assert text.count("processor\t:") == 4
        assert text.endswith("\n\nModel\t\t: Raspberry Pi 4 Model B\n")

    @pytest.mark.parametrize(("architecture", "name"), VIEWS)
    def test_what_is_played_is_detected_as_that_board(self, architecture: str, name: str, tmp_path: Path) -> None:
        for path, text in played_files(board(name), architecture).items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        bits = 64 if architecture == "aarch64" else 32
        found = detect_board(tmp_path, machine=architecture, pointer_bits=bits)
        assert (found.board, found.found_by) == (board(name), "device tree")
        assert (found.cpu_part, found.cores) == (board(name).cpu.part, board(name).cpu.cores)

    @pytest.mark.parametrize(("architecture", "name"), VIEWS)
    def test_the_processor_is_named_and_never_qemus_own(self, architecture: str, name: str, cache: Path) -> None:
        made = prepare(TARGETS[architecture], cache, Mirror())
        command = made.command(board(name), ["-V"])
        assert command[:2] == [TARGETS[architecture].emulator, "-cpu"]
        expected = {"pi_4": "cortex-a72", "pi_5": "cortex-a76"}.get(name, "cortex-a53")
        assert command[2] == (expected if architecture == "aarch64" else "cortex-a7")
        assert command[3:5] == ["-L", str(made.view(board(name)))]
        assert command[5:] == [str(made.folder / "system" / "usr" / "bin" / "python3.11"), "-V"]

    def test_a_board_that_cannot_be_played_is_refused(self, cache: Path) -> None:
        made = prepare(ARM64, cache, Mirror())
        with pytest.raises(InputError, match=r"pc cannot be played as aarch64 \(expected one of pi_3b_plus, pi_4"):
            made.command(board("pc"), ["-V"])

    def test_nothing_of_this_machines_environment_goes_in(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "LD_PRELOAD", "LD_LIBRARY_PATH", "HOME"):
            monkeypatch.setenv(name, "from outside")
        made = prepare(ARMHF, cache, Mirror())
        environment = made.environment(board("pi_4"), Path("home"))
        assert "from outside" not in environment.values()
        assert environment["MYOSEM_HOME"] == environment["HOME"] == "home"
        assert all(path.startswith(str(made.folder)) for path in environment["PYTHONPATH"].split(":"))
        assert all(path.startswith(str(made.folder)) for path in environment["LD_LIBRARY_PATH"].split(":"))

    def test_the_view_of_a_board_holds_the_system_and_what_is_played(self, cache: Path) -> None:
        view = prepare(ARM64, cache, Mirror()).view(board("pi_5"))
        assert (view / "usr" / "bin" / "python3.11").is_file()
        assert "0xd0b" in (view / "proc" / "cpuinfo").read_text()
        assert not (view / "usr").readlink().is_absolute()

    def test_the_package_is_this_one(self, cache: Path) -> None:
        made = prepare(ARM64, cache, Mirror())
        ours = Path(module.__file__)
        assert (made.folder / "package" / "myosem_edge" / "boards" / "sysroot.py").samefile(ours)
        assert [path.name for path in (made.folder / "package").iterdir()] == ["myosem_edge"]


class TestMaking:
    def test_it_is_made_once(self, cache: Path) -> None:
        first, second = Mirror(), Mirror()
        made = prepare(ARM64, cache, first)
        assert len(first.calls) == 4
        assert prepare(ARM64, cache, second) == made
        assert second.calls == []

    def test_the_architectures_have_a_folder_each(self, cache: Path) -> None:
        assert prepare(ARM64, cache, Mirror()).folder != prepare(ARMHF, cache, Mirror()).folder

    def test_another_version_here_makes_another_one(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made, mirror = prepare(ARM64, cache, Mirror()), Mirror()
        monkeypatch.setattr(module.importlib.metadata, "version", lambda name: "9.9")
        assert prepare(ARM64, cache, mirror).folder != made.folder
        assert "numpy==9.9" in mirror.calls[-1]

    @pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
    def test_apt_is_confined_to_the_cache_and_the_other_architecture(self, target: module.Target, cache: Path) -> None:
        mirror = Mirror()
        prepare(target, cache, mirror)
        for call in mirror.calls[:2]:
            options = dict(word[2:].split("=", 1) for word in call if word.startswith("-o"))
            places = {name: value for name, value in options.items() if name.startswith("Dir::")}
            assert set(places) == {"Dir::State", "Dir::State::status", "Dir::Cache"}
            assert all(Path(value).is_relative_to(cache) for value in places.values())
            assert options["APT::Architecture"] == options["APT::Architectures"] == target.debian
        assert "install" not in mirror.calls[0] and "--download-only" in mirror.calls[1]

    @pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
    def test_only_ready_made_packages_of_the_other_architecture(self, target: module.Target, cache: Path) -> None:
        mirror = Mirror()
        prepare(target, cache, mirror)
        pip = mirror.calls[-1]
        platforms = [word for before, word in pairwise(pip) if before == "--platform"]
        assert platforms and all(platform.endswith(f"_{target.architecture}") for platform in platforms)
        assert f"manylinux_2_37_{target.architecture}" not in platforms, "newer than the system's C library"
        assert "--only-binary=:all:" in pip
        assert ("--no-deps" in pip) == (target is ARMHF)

    @pytest.mark.parametrize(
        ("step", "error", "message"),
        [
            ("--download-only", InputError, "apt does not have the packages of arm64.*went wrong"),
            ("--extract", StorageError, "python3.deb: cannot be taken apart.*went wrong"),
            ("pip", InputError, "pip has no packages for Python 3.11 on aarch64.*went wrong"),
        ],
    )
    def test_a_failure_is_said_and_leaves_nothing_behind(
        self, step: str, error: type[Exception], message: str, cache: Path
    ) -> None:
        with pytest.raises(error, match=message):
            prepare(ARM64, cache, Mirror(step))
        assert list(cache.iterdir()) == []
        assert prepare(ARM64, cache, Mirror()).folder.is_dir()

    def test_a_source_that_is_out_of_step_does_no_harm(self, cache: Path) -> None:
        assert prepare(ARM64, cache, Mirror("update")).folder.is_dir()

    def test_without_a_network_the_first_failure_is_told(self, cache: Path) -> None:
        with pytest.raises(InputError, match=r"apt cannot reach packages of arm64.*update went wrong"):
            prepare(ARM64, cache, Mirror("update", "--download-only"))

    def test_two_at_once_end_with_one(self, cache: Path) -> None:
        class Overtaken(Mirror):
            """While this one downloads wheels, another process finishes."""

            def __call__(
                self, command: Sequence[str], environment: Mapping[str, str]
            ) -> subprocess.CompletedProcess[str]:
                if "pip" in command:
                    prepare(ARM64, cache, Mirror())
                return super().__call__(command, environment)

        made = prepare(ARM64, cache, Overtaken())
        assert list(cache.iterdir()) == [made.folder]
        assert (made.folder / "system" / "usr" / "bin" / "python3.11").is_file()

    def test_the_system_has_to_bring_a_python(self, cache: Path) -> None:
        class Empty(Mirror):
            def __call__(
                self, command: Sequence[str], environment: Mapping[str, str]
            ) -> subprocess.CompletedProcess[str]:
                if "--extract" in command:
                    return subprocess.CompletedProcess(command, 0, "", "")
                return super().__call__(command, environment)

        with pytest.raises(InputError, match="hold no Python"):
            prepare(ARM64, cache, Empty())
        assert list(cache.iterdir()) == []

    @pytest.mark.parametrize(
        ("tool", "package"), [("qemu-aarch64-static", "qemu-user-static"), ("apt-get", "apt"), ("dpkg-deb", "dpkg")]
    )
    def test_a_missing_tool_is_named_with_its_package(self, tool: str, package: str, tools: Path, cache: Path) -> None:
        (tools / tool).unlink()
        mirror = Mirror()
        with pytest.raises(InputError, match=rf"{tool} is not installed.*apt install {package}"):
            prepare(ARM64, cache, mirror)
        assert mirror.calls == [] and not cache.exists()

    def test_a_package_that_is_not_here_cannot_be_matched(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def absent(name: str) -> str:
            raise module.importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(module.importlib.metadata, "version", absent)
        with pytest.raises(InputError, match="numpy is not installed here"):
            prepare(ARM64, cache, Mirror())

    def test_a_cache_that_cannot_be_written_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StorageError, match="file: cannot be written"):
            prepare(ARM64, tmp_path / "file", Mirror())

    def test_the_cache_can_be_chosen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MYOSEM_ARM_CACHE", "chosen")
        monkeypatch.setenv("XDG_CACHE_HOME", "xdg")
        assert cache_folder() == Path("chosen")
        monkeypatch.delenv("MYOSEM_ARM_CACHE")
        assert cache_folder() == Path("xdg/myosem-edge/arm")
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", "home")
        assert cache_folder() == Path("home/.cache/myosem-edge/arm")


class TestCommand:
    def test_a_board_that_does_not_exist_is_one_line(self) -> None:
        result = CliRunner().invoke(emulate, ["--board", "pi_44", "verify", "x"])
        assert result.exit_code == InputError.exit_code
        assert result.output.startswith("Error: 'pi_44': is not a known board")

    @pytest.mark.parametrize("code", [0, 4])
    def test_words_go_in_as_they_are_and_the_exit_code_comes_out(
        self, code: int, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = prepare(ARM64, cache, Mirror())
        asked: list[Sequence[str]] = []

        def run(command: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
            asked.append(command)
            return subprocess.CompletedProcess(command, code)

        monkeypatch.setattr(module, "prepare", lambda target, cache: Sysroot(made.folder, target))
        monkeypatch.setattr(module.subprocess, "run", run)
        result = CliRunner().invoke(emulate, ["--board", "pi_5", "verify", "--board", "x", "--json"])
        assert result.exit_code == code
        assert asked == [made.command(board("pi_5"), ["-m", "myosem_edge", "verify", "--board", "x", "--json"])]
