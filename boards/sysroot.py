"""A board without the board: its system's Python, its packages and its processor, played by QEMU's user emulation.

The files of the system are downloaded with apt and taken out of their packages; nothing is installed and nothing of it
runs while it is made, so no root is needed. Packages of the registry come by pip, chosen for the other processor.
`python -m myosem_edge.boards.sysroot --board pi_4 verify BUNDLE` runs one command of myosem-edge there.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from myosem_edge.boards.profiles import Board, board, load_boards
from myosem_edge.errors import InputError, MyosemError, StorageError
from myosem_edge.files import user_folder

RECIPE = 1  # counts changes of what `prepare` does that the digest would not see
GLIBC_MINOR = 36  # of Bookworm's glibc 2.36: the newest that a wheel may ask for
MAKING_LIMIT_S = 900.0
# What the profiles' cores can do, in the words of the kernel. QEMU's own default, "max", is never taken: it has
# extensions that no board has, and an encoder runtime has been seen to compute wrong numbers on it.
FEATURES = {
    "Cortex-A53": "fp asimd evtstrm crc32 cpuid",
    "Cortex-A72": "fp asimd evtstrm crc32 cpuid",
    "Cortex-A76": "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
}
FEATURES_32 = "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm crc32"

Call = Callable[[Sequence[str], Mapping[str, str]], "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Target:
    """What one architecture is made of. `wheels` come at the version named, or else that is installed on this machine.

    `processor` is QEMU's name where it cannot play the board's own core. `libraries` are folders of the system that
    only links outside its packages lead to.
    """

    architecture: str  # as the profiles call it
    debian: str
    emulator: str
    packages: tuple[str, ...]
    wheels: tuple[str, ...]
    resolve: bool  # whether pip may add what the wheels ask for
    processor: str = ""
    libraries: tuple[str, ...] = ()


TARGETS = {
    target.architecture: target
    for target in (
        Target(
            "aarch64",
            "arm64",
            "qemu-aarch64-static",
            ("python3-minimal", "libpython3-stdlib", "libstdc++6"),
            ("numpy", "onnxruntime", "ai-edge-litert", "click", "pyserial", "cobs", "cryptography", "safetensors"),
            resolve=True,
        ),
        # numpy and cffi have no wheel for armv7l.
        Target(
            "armv7l",
            "armhf",
            "qemu-arm-static",
            ("python3-minimal", "libpython3-stdlib", "libstdc++6", "python3-numpy", "python3-cffi-backend"),
            ("tflite-runtime==2.14.0", "click", "pyserial", "cobs", "cryptography", "safetensors"),
            resolve=False,
            processor="cortex-a7",
            libraries=("usr/lib/arm-linux-gnueabihf/blas", "usr/lib/arm-linux-gnueabihf/lapack"),
        ),
    )
}


@dataclass(frozen=True)
class Sysroot:
    """A finished sysroot: `system` as apt delivered it, `wheels`, and below `boards` one view of the system a board."""

    folder: Path
    target: Target

    def view(self, which: Board) -> Path:
        return self.folder / "boards" / which.name

    def command(self, which: Board, arguments: Sequence[str]) -> list[str]:
        """The command that gives `arguments` to the board's Python.

        Raises:
            InputError: there is no such board with this architecture, or its core cannot be played.
        """
        if which not in playable(self.target.architecture):
            raise InputError(
                f"{which.name} cannot be played as {self.target.architecture}",
                expected="one of " + ", ".join(each.name for each in playable(self.target.architecture)),
            )
        processor = self.target.processor or which.cpu.core.lower()
        interpreter = python_of(self.folder / "system")
        return [self.target.emulator, "-cpu", processor, "-L", str(self.view(which)), str(interpreter), *arguments]

    def environment(self, which: Board, home: Path) -> dict[str, str]:
        """Everything the board's Python is told: of this machine's own environment nothing but the path goes in."""
        view = self.view(which)
        return {
            "HOME": str(home),
            "MYOSEM_HOME": str(home),
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join((str(self.folder / "wheels"), str(self.folder / "package"))),
            # The system's packages bring no bytecode, and compiling it under emulation takes longer than all the rest.
            "PYTHONPYCACHEPREFIX": str(self.folder / "bytecode"),
            "PYTHONNOUSERSITE": "1",
            "PYTHONSAFEPATH": "1",
            "OMP_NUM_THREADS": str(which.cpu.omp_threads),
            "OPENBLAS_NUM_THREADS": str(which.cpu.omp_threads),
            "LD_LIBRARY_PATH": os.pathsep.join(str(view / name) for name in self.target.libraries),
        }

    def run(
        self, which: Board, arguments: Sequence[str], home: Path, timeout_s: float = 600.0
    ) -> subprocess.CompletedProcess[str]:
        """Run the board's Python to its end; `home` is the user folder of myosem-edge there."""
        return subprocess.run(
            self.command(which, arguments),
            env=self.environment(which, home),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


def cache_folder() -> Path:
    """Where sysroots are kept: `$MYOSEM_ARM_CACHE`, else the XDG cache folder."""
    if chosen := os.environ.get("MYOSEM_ARM_CACHE"):
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "myosem-edge" / "arm"


def playable(architecture: str) -> list[Board]:
    """The boards of that architecture whose core QEMU can play."""
    return [each for each in load_boards().values() if architecture in each.architectures and each.cpu.core in FEATURES]


def python_of(system: Path) -> Path:
    """The interpreter of a system's files.

    Raises:
        InputError: there is none, or more than one.
    """
    found = [path for path in (system / "usr/bin").glob("python3.*") if re.fullmatch(r"python3\.\d+", path.name)]
    if len(found) != 1:
        raise InputError("the system's packages hold no Python", where=system, found=f"{len(found)} interpreters")
    return found[0]


def cpuinfo(which: Board, architecture: str) -> str:
    """What /proc/cpuinfo says on the board. The host's own text crashes libraries that take it for an ARM one."""
    features = FEATURES[which.cpu.core] if architecture == "aarch64" else FEATURES_32
    facts = {
        "Features": features,
        "CPU implementer": "0x41",
        "CPU architecture": "8" if architecture == "aarch64" else "7",
        "CPU variant": "0x0",
        "CPU part": which.cpu.part,
        "CPU revision": "4",
    }
    lines = [f"{name}\t: {value}" for name, value in facts.items()]
    blocks = ["\n".join((f"processor\t: {core}", *lines)) for core in range(which.cpu.cores)]
    return "\n\n".join((*blocks, f"Model\t\t: {which.models[0]}")) + "\n"


def played_files(which: Board, architecture: str) -> dict[str, str]:
    """Path below the root -> text, of what the kernel of the board would show and the host's does not."""
    cores = f"0-{which.cpu.cores - 1}\n"
    return {
        "proc/cpuinfo": cpuinfo(which, architecture),
        "proc/device-tree/model": f"{which.models[0]}\0",
        **{f"sys/devices/system/cpu/{name}": cores for name in ("possible", "present", "online")},
    }


def prepare(target: Target, cache: Path, call: Call | None = None) -> Sysroot:
    """The sysroot of a target from the cache, made on first use: some 55 MB to download, 260 MB to keep.

    It is made beside its place and moved there whole, so a broken attempt is never taken for a finished one.

    Raises:
        InputError: a tool is missing, or apt or pip cannot deliver; the message ends with what they said.
        StorageError: the cache cannot be written, or a package cannot be taken apart.
    """
    for tool, package in ((target.emulator, "qemu-user-static"), ("apt-get", "apt"), ("dpkg-deb", "dpkg")):
        if shutil.which(tool) is None:
            raise InputError(f"{tool} is not installed", todo=f"sudo apt install {package}")
    wheels = [name if "==" in name else f"{name}=={_installed(name)}" for name in target.wheels]
    place = cache / f"{target.debian}-{_digest(target, wheels)}"
    if not place.is_dir():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{target.debian}-", dir=cache) as making:
                _make(Path(making), target, wheels, call or run_tool)
                _move(Path(making) / "done", place)
        except OSError as error:
            raise StorageError(f"cannot be written: {error.strerror}", where=cache) from error
    _link_package(place)
    return Sysroot(place, target)


def _move(done: Path, place: Path) -> None:
    try:
        done.rename(place)
    except OSError:
        if not place.is_dir():  # somebody else was faster: theirs is as good
            raise


def _make(making: Path, target: Target, wheels: Sequence[str], call: Call) -> None:
    done = making / "done"
    system = done / "system"
    system.mkdir(parents=True)
    for archive in _download(making, target, call):
        finished = call(["dpkg-deb", "--extract", str(archive), str(system)], {})
        if finished.returncode:
            raise StorageError("cannot be taken apart", where=archive.name, found=last_line(finished))
    python = python_of(system).name.removeprefix("python")
    platforms = [f"manylinux_2_{minor}_{target.architecture}" for minor in range(GLIBC_MINOR, 16, -1)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-compile", "--only-binary=:all:"]
    for platform in (*platforms, f"manylinux2014_{target.architecture}"):
        pip += ["--platform", platform]
    pip += ["--python-version", python, "--implementation", "cp", "--target", str(done / "wheels")]
    finished = call([*pip, *([] if target.resolve else ["--no-deps"]), *wheels], {"PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    if finished.returncode:
        raise InputError(f"pip has no packages for Python {python} on {target.architecture}", found=last_line(finished))
    for which in playable(target.architecture):
        view = done / "boards" / which.name
        for name, text in played_files(which, target.architecture).items():
            (view / name).parent.mkdir(parents=True, exist_ok=True)
            (view / name).write_text(text)
        for path in system.iterdir():
            (view / path.name).symlink_to(Path("../../system") / path.name)


def _download(making: Path, target: Target, call: Call) -> list[Path]:
    """The target's packages and all that they need, with apt's own state: the machine's is neither read nor changed."""
    state, archives = making / "apt", making / "apt" / "cache" / "archives"
    for folder in (state / "lists" / "partial", archives / "partial"):
        folder.mkdir(parents=True)
    (state / "status").touch()
    options = {
        "APT::Architecture": target.debian,
        "APT::Architectures": target.debian,
        "APT::Install-Recommends": "false",
        "APT::Update::Error-Mode": "any",  # or a network that is not there passes for an empty list
        "APT::Sandbox::User": "",  # as root, apt would download as a user who cannot write here
        "Acquire::Languages": "none",
        "Dir::State": str(state),
        "Dir::State::status": str(state / "status"),
        "Dir::Cache": str(state / "cache"),
    }
    apt = ["apt-get", "--quiet", "--yes", *(f"-o{name}={value}" for name, value in options.items())]
    # A mirror may lack one index of several (seen: the security updates of armhf). What the others list will do.
    updated = call([*apt, "update"], {"LC_ALL": "C.UTF-8"})
    finished = call([*apt, "--download-only", "install", *target.packages], {"LC_ALL": "C.UTF-8"})
    if finished.returncode and updated.returncode:
        raise InputError(f"apt cannot reach packages of {target.debian}", found=last_line(updated))
    if finished.returncode:
        raise InputError(f"apt does not have the packages of {target.debian}", found=last_line(finished))
    return sorted(archives.glob("*.deb"))


def _link_package(place: Path) -> None:
    """Show the board this very package, wherever it is installed, and nothing that lies beside it."""
    package = Path(__file__).resolve().parents[1]
    if package.name != "myosem_edge":  # a source tree, where the rooms are links inside the package
        package = package / "myosem_edge"
    link = place / "package" / "myosem_edge"
    if link.is_symlink() and link.readlink() == package:
        return
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(package)


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"{name} is not installed here", todo="The emulated board gets the version of this machine"
        ) from None


def _digest(target: Target, wheels: Sequence[str]) -> str:
    boards = {each.name: played_files(each, target.architecture) for each in playable(target.architecture)}
    recipe = json.dumps([RECIPE, asdict(target), list(wheels), boards], sort_keys=True)
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def last_line(finished: subprocess.CompletedProcess[str]) -> str:
    """The last thing that a tool said, of its errors if there are any."""
    lines = (finished.stderr or finished.stdout).strip().splitlines()
    return lines[-1] if lines else f"exit code {finished.returncode}"


def run_tool(
    command: Sequence[str], environment: Mapping[str, str], limit_s: float = MAKING_LIMIT_S
) -> subprocess.CompletedProcess[str]:
    """A `Call` for real: what a tool says is kept, and it gets no input.

    Raises:
        InputError: it takes longer than `limit_s`.
    """
    try:
        return subprocess.run(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{command[0]} takes longer than {limit_s:.0f} s") from error


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--board", "name", default="pi_4", show_default=True, help="Profile of the board to play.")
@click.option("--architecture", type=click.Choice(tuple(TARGETS)), default="aarch64", show_default=True)
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED)
def emulate(name: str, architecture: str, arguments: tuple[str, ...]) -> None:
    """Run the myosem-edge command ARGUMENTS on an emulated board, with this user's keys and profiles."""
    try:
        which = board(name)
        sysroot = prepare(TARGETS[architecture], cache_folder())
        command = sysroot.command(which, ["-m", "myosem_edge", *arguments])
        finished = subprocess.run(command, env=sysroot.environment(which, user_folder()), check=False)
    except MyosemError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    sys.exit(finished.returncode)


if __name__ == "__main__":
    emulate()
