"""How many instructions a decision takes on a board's core: counted by QEMU, alike on every machine and under any load.

Instructions are not time, but they are what one's own code can be held to. Debian's emulator takes no plugins, so one
that does is built once, from Debian's own sources, and kept: `python benchmarks/instructions.py --build`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from myosem_edge.boards.profiles import Board
from myosem_edge.boards.sysroot import Call, Sysroot, last_line, run_tool
from myosem_edge.errors import InputError, MyosemError, StorageError

RECIPE = 1  # counts changes of how the emulator is built
APT = Path("/etc/apt")
MESON = "meson==0.64.1"  # what QEMU 7.2 was made for; the source package brings none
EMULATORS = {"aarch64": "qemu-aarch64", "armv7l": "qemu-arm"}
PLUGIN = "tests/plugin/libinsn.so"
BUILDING_LIMIT_S = 3600.0
NEEDS = {
    "gcc": "gcc",
    "ninja": "ninja-build",
    "pkg-config": "pkg-config",
    "apt-get": "apt",
    "dpkg-source": "dpkg-dev",
}


@dataclass(frozen=True)
class Counter:
    """A built emulator: `folder` holds the binaries of EMULATORS and the plugin."""

    folder: Path

    def emulator(self, architecture: str) -> Path:
        return self.folder / EMULATORS[architecture]

    def instructions(self, sysroot: Sysroot, which: Board, arguments: Sequence[str], home: Path) -> int:
        """Instructions of one run of the board's Python. Bytecode that it finds missing is compiled, and counted.

        Raises:
            MyosemError: it failed, or nothing was counted.
        """
        command = sysroot.command(which, arguments)
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "count"
            plugin = f"{self.folder / Path(PLUGIN).name},inline=on"
            emulator = str(self.emulator(sysroot.target.architecture))
            command[:1] = [emulator, "-plugin", plugin, "-d", "plugin", "-D", str(log)]
            # How names hash would otherwise be drawn anew, and with it how long looking them up takes.
            environment = {**sysroot.environment(which, home), "PYTHONHASHSEED": "0"}
            finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            text = log.read_text() if log.exists() else ""
        found = re.findall(r"insns: (\d+)", text)
        if finished.returncode or not found:
            raise MyosemError("nothing was counted on the emulated board", found=last_line(finished))
        return int(found[-1])


def find_counter(cache: Path) -> Counter:
    """Raises:
    InputError: it has not been built.
    """
    folder = cache / f"counter-{RECIPE}"
    if not folder.is_dir():
        raise InputError(
            "no emulator that counts",
            where=folder,
            todo="python benchmarks/instructions.py --build makes it, once (10 to 20 minutes)",
        )
    return Counter(folder)


def build_counter(cache: Path, call: Call | None = None) -> Counter:
    """The emulator from the cache, built on first use beside its place and moved there whole.

    Raises:
        InputError: a tool is missing, or a step of the build failed; the message ends with what it said.
        StorageError: the cache cannot be written.
    """
    try:
        return find_counter(cache)
    except InputError:
        pass
    for tool, package in NEEDS.items():
        if shutil.which(tool) is None:
            raise InputError(f"{tool} is not installed", todo=f"sudo apt install {package}")
    call = call or partial(run_tool, limit_s=BUILDING_LIMIT_S)
    if call(["pkg-config", "--exists", "glib-2.0"], {}).returncode:
        raise InputError("glib's headers are not installed", todo="sudo apt install libglib2.0-dev")
    place = cache / f"counter-{RECIPE}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".counter-", dir=cache) as making:
            done = _build(Path(making), call)
            if not place.is_dir():
                done.rename(place)
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=cache) from error
    return Counter(place)


def source_lists(apt: Path) -> dict[str, str]:
    """The machine's lists of packages by file name, each asking for sources instead."""
    found = {}
    wanted = ("sources.list.d/*.sources", "sources.list.d/*.list", "sources.list")
    for path in sorted(path for pattern in wanted for path in apt.glob(pattern)):
        text = path.read_text(encoding="utf-8", errors="replace")
        found[path.name] = re.sub(r"(?m)^(Types:[ \t]*)?deb(?=[ \t]|$)", r"\1deb-src", text)
    return found


def _build(making: Path, call: Call) -> Path:
    def must(step: str, command: Sequence[str], **environment: str) -> None:
        finished = call(command, environment)
        if finished.returncode:
            raise InputError(f"the counting emulator could not be built: {step}", found=last_line(finished))

    lists, parts, source, build = (making / name for name in ("lists", "parts", "source", "source/build"))
    for folder in (lists / "partial", parts):
        folder.mkdir(parents=True)
    for name, text in source_lists(APT).items():
        (parts / name).write_text(text)
    apt = [
        "apt-get", "--quiet", "--yes", "-oDir::Etc::SourceList=/dev/null", f"-oDir::Etc::SourceParts={parts}",
        f"-oDir::State::Lists={lists}", "-oAPT::Sandbox::User=", "-oAPT::Update::Error-Mode=any",
    ]  # fmt: skip
    must("the list of sources", [*apt, "update"])
    must("its sources", ["env", "-C", str(making), *apt, "source", "--download-only", "qemu"])
    described = next(iter(making.glob("qemu_*.dsc")), None)
    if described is None:
        raise InputError("the counting emulator could not be built: no sources came")
    # With Debian's patches: without them the build looks for firmware that its sources lack.
    must("its sources", ["dpkg-source", "--no-check", "--extract", str(described), str(source)])
    build.mkdir()
    must("meson", [sys.executable, "-m", "venv", str(making / "meson")])
    must("meson", [str(making / "meson/bin/python"), "-m", "pip", "install", "--quiet", MESON])
    path = os.pathsep.join((str(making / "meson" / "bin"), os.environ.get("PATH", os.defpath)))
    targets = ",".join(f"{name.removeprefix('qemu-')}-linux-user" for name in EMULATORS.values())
    configure = [
        "../configure", f"--meson={making}/meson/bin/meson", f"--target-list={targets}", "--without-default-features",
        "--enable-plugins", "--enable-linux-user", "--disable-system", "--disable-tools", "--disable-docs",
        "--disable-werror",
    ]  # fmt: skip
    must("configure", ["env", "-C", str(build), *configure], PATH=path)
    must("ninja", ["ninja", "-C", str(build), *EMULATORS.values(), PLUGIN], PATH=path)
    done = making / "done"
    done.mkdir()
    for name in (*EMULATORS.values(), PLUGIN):
        shutil.copy2(build / name, done)
    return done
