"""What is installed: Python, the packages the board side needs, and the encoder runtimes."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass

from myosem_edge.boards.checkup import Check, Status
from myosem_edge.boards.profiles import Detection, Runtime

OLDEST_PYTHON = (3, 11)
PACKAGES = ("numpy", "click", "pyserial", "cobs", "cryptography", "safetensors")
IMPORT_LIMIT_S = 60  # a cold import on the smallest board takes several seconds


def installed_version(package: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def import_failure(module: str) -> str:
    """Import a module in a process of its own; "" when that works, else one line about why not.

    In a process of its own because a runtime built for another processor does not raise: it crashes.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", f"import {module}"],
            capture_output=True,
            text=True,
            timeout=IMPORT_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the import takes longer than {IMPORT_LIMIT_S} s"
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"the import crashes (signal {-done.returncode})"
    return (done.stderr.strip().splitlines() or ["the import fails"])[-1]


@dataclass(frozen=True)
class Software:
    """What is installed. `python` is (major, minor, micro)."""

    python: tuple[int, int, int]
    glibc: str
    version_of: Callable[[str], str | None] = installed_version
    failure_of: Callable[[str], str] = import_failure

    @classmethod
    def here(cls) -> Software:
        library, version = platform.libc_ver()
        return cls((*sys.version_info[:3],), version if library == "glibc" else "")

    @property
    def python_series(self) -> str:
        return f"{self.python[0]}.{self.python[1]}"


def check_python(software: Software) -> Check:
    found = ".".join(map(str, software.python))
    if software.python[:2] < OLDEST_PYTHON:
        return Check("python", Status.PROBLEM, found, "Python 3.11 or later is needed: Raspberry Pi OS Bookworm has it")
    return Check("python", Status.OK, found)


def check_packages(software: Software) -> Check:
    versions = {name: software.version_of(name) for name in PACKAGES}
    missing = [name for name, version in versions.items() if version is None]
    found = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    if missing:
        return Check("packages", Status.PROBLEM, found, f"python3 -m pip install {' '.join(missing)}")
    return Check("packages", Status.OK, found)


def check_runtimes(
    software: Software, detection: Detection, runtimes: Collection[Runtime], members: Collection[str] | None = None
) -> list[Check]:
    """One line per runtime that is installed, then which one a decoder would take.

    `members` are the files of the bundle in question; without one, any encoder will do.
    """
    checks, usable = [], []
    for runtime in runtimes:
        version = software.version_of(runtime.package)
        if version is None:
            continue
        failure = _numpy_clash(software, runtime) or software.failure_of(runtime.module)
        if failure:
            todo = "Install numpy<2, or another runtime" if runtime.numpy_below else f"Install {runtime.package} again"
            checks.append(Check(f"runtime {runtime.name}", Status.WARNING, f"{version}: {failure}", todo))
        else:
            checks.append(Check(f"runtime {runtime.name}", Status.OK, version))
            usable.append(runtime)
    fitting = [runtime for runtime in usable if members is None or runtime.member in members]
    return [*checks, _choice(software, detection, runtimes, fitting, members)]


def _choice(
    software: Software,
    detection: Detection,
    runtimes: Collection[Runtime],
    fitting: list[Runtime],
    members: Collection[str] | None,
) -> Check:
    offered = [
        runtime
        for runtime in runtimes
        if runtime.exists_for(detection.architecture, software.python_series, software.glibc)
        and (members is None or runtime.member in members)
    ]
    place = f"Python {software.python_series} on {detection.architecture}"
    if not fitting:
        if offered:
            return Check("encoder", Status.PROBLEM, "no runtime", f"python3 -m pip install {offered[0].package}")
        return Check(
            "encoder",
            Status.PROBLEM,
            f"no runtime; no package for {place}",
            "docs/boards.md has a table of what exists",
        )
    chosen = fitting[0]
    if chosen.package == "numpy":
        better = [runtime.package for runtime in offered if runtime.package != "numpy"]
        todo = f"python3 -m pip install {better[0]}" if better else f"There is no faster package for {place}"
        return Check("encoder", Status.WARNING, f"{chosen.name} would run {chosen.member}: correct, but slow", todo)
    return Check("encoder", Status.OK, f"{chosen.name} would run {chosen.member}")


def _numpy_clash(software: Software, runtime: Runtime) -> str:
    """Seen with tflite-runtime 2.14 on numpy 2: the import succeeds and the first use fails."""
    numpy = software.version_of("numpy")
    if runtime.numpy_below and numpy and int(numpy.split(".")[0]) >= runtime.numpy_below:
        return f"does not work with numpy {numpy}"
    return ""
