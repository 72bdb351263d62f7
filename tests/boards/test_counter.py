"""The emulator that counts: found or said how to get, built whole or not at all; it counts differences."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from myosem_edge.boards import counter as module
from myosem_edge.boards.counter import EMULATORS, PLUGIN, Counter, build_counter, find_counter, source_lists
from myosem_edge.boards.profiles import board
from myosem_edge.boards.sysroot import TARGETS, Sysroot
from myosem_edge.errors import InputError, MyosemError


class Shell:
    """Plays the commands of a build; `broken` is the word in a command that fails."""

    def __init__(self, broken: str = "") -> None:
        self.broken, self.seen = broken, []  # type: ignore[var-annotated]

    def __call__(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        words = [*command]
        self.seen.append(words)
        if self.broken and self.broken in words:
            return subprocess.CompletedProcess(words, 1, "", "first\nthe reason\n")
        if "source" in words:
            (Path(words[2]) / "qemu_7.2.dsc").write_bytes(b"")
        if words[0] == "dpkg-source":
            Path(words[-1]).mkdir()
        if words[0] == "ninja":
            build = Path(words[2])
            for name in (*EMULATORS.values(), PLUGIN):
                (build / name).parent.mkdir(parents=True, exist_ok=True)
                (build / name).write_text(name)
        return subprocess.CompletedProcess(words, 0, "", "")


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name: f"/usr/bin/{name}")


def test_it_is_built_once_and_kept(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no emulator that counts.*--build"):
        find_counter(tmp_path)
    shell = Shell()
    counter = build_counter(tmp_path, shell)
    assert {path.name for path in counter.folder.iterdir()} == {*EMULATORS.values(), Path(PLUGIN).name}
    count = len(shell.seen)
    assert build_counter(tmp_path, shell) == find_counter(tmp_path) == counter and len(shell.seen) == count
    assert [path for path in tmp_path.iterdir() if path != counter.folder] == []


@pytest.mark.parametrize("broken", ["update", "source", "dpkg-source", "pip", "../configure", "ninja"])
def test_a_step_that_fails_is_said_and_leaves_nothing(tmp_path: Path, broken: str) -> None:
    with pytest.raises(InputError, match=r"could not be built.*the reason"):
        build_counter(tmp_path, Shell(broken))
    assert list(tmp_path.iterdir()) == []


def test_the_machines_own_lists_are_asked_for_sources(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "a.sources").write_text(
        "Types: deb\nURIs: http://mirror/debian\nSuites: debian deb\n"
    )
    (tmp_path / "sources.list").write_text("# deb off\ndeb http://mirror/debian bookworm main\n")
    found = source_lists(tmp_path)
    assert found["a.sources"] == "Types: deb-src\nURIs: http://mirror/debian\nSuites: debian deb\n"
    assert found["sources.list"] == "# deb off\ndeb-src http://mirror/debian bookworm main\n"


@pytest.mark.parametrize("tool", ["gcc", "ninja", "pkg-config", "apt-get", "dpkg-source"])
def test_a_missing_tool_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name: None if name == tool else name)
    with pytest.raises(InputError, match=f"{tool} is not installed.*sudo apt install"):
        build_counter(tmp_path, Shell())


def fake_emulator(folder: Path, body: str) -> Counter:
    """An emulator that writes to the file after -D; its last argument is the number of hops."""
    path = folder / EMULATORS["aarch64"]
    path.write_text(f'#!/bin/bash\nwhile [ "$1" != -D ]; do shift; done\nout=$2\nhops=${{@: -1}}\n{body}\n')
    path.chmod(0o755)
    return Counter(folder)


@pytest.fixture
def sysroot(tmp_path: Path) -> Sysroot:
    (tmp_path / "system/usr/bin").mkdir(parents=True)
    (tmp_path / "system/usr/bin/python3.11").write_text("")
    return Sysroot(tmp_path, TARGETS["aarch64"])


def test_the_last_total_is_the_count_and_names_hash_alike_every_time(tmp_path: Path, sysroot: Sysroot) -> None:
    body = 'echo "cpu 0 insns: 1" > $out; echo "total insns: $((5000000 + hops + PYTHONHASHSEED))" >> $out'
    found = fake_emulator(tmp_path, body).instructions(sysroot, board("pi_4"), ["x.py", "1234"], tmp_path)
    assert found == 5001234


@pytest.mark.parametrize("body", ["echo broken >&2; exit 3", "exit 0", 'echo "total insns: 5" > $out; exit 1'])
def test_a_run_that_fails_counts_nothing(tmp_path: Path, sysroot: Sysroot, body: str) -> None:
    with pytest.raises(MyosemError, match="nothing was counted"):
        fake_emulator(tmp_path, body).instructions(sysroot, board("pi_4"), ["x.py", "1"], tmp_path)
