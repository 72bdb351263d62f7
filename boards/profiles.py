"""Board profiles: what a board is, which runtimes and serial ports it has, and how long a hop may take on it.

A profile is one TOML file of this folder; `common.toml` holds what is the same everywhere. Every key is checked, so a
mistyped one is an error that names the nearest valid key.
"""

from __future__ import annotations

import platform
import struct
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from myosem_edge.boards.table import Table, nearest
from myosem_edge.errors import InputError

FOLDER = Path(__file__).parent
COMMON = "common.toml"
SCHEMA = 1
UART_KINDS = ("PL011", "mini UART")
ARCHITECTURES = ("aarch64", "armv7l", "x86_64")


@dataclass(frozen=True)
class Rule:
    """What every board's delay budget is held against; see `common.toml` for where the numbers come from."""

    hop_ms: float
    tick_ms: float
    wearer_best_ms: tuple[float, ...]


@dataclass(frozen=True)
class Runtime:
    """An encoder runtime. `available` maps an architecture to the Python versions that a ready-made package exists for.

    `numpy_below` is the first numpy major version that it cannot work with (0: none); `glibc` the oldest C library that
    its package installs on ("": any).
    """

    name: str
    package: str
    module: str
    member: str
    available: Mapping[str, tuple[str, ...]]
    numpy_below: int = 0
    glibc: str = ""

    def exists_for(self, architecture: str, python: str, glibc: str = "") -> bool:
        """Whether there is a package; `python` as "3.11", `glibc` as "2.36" or "" when it is not known."""
        if self.glibc and glibc and _version(glibc) < _version(self.glibc):
            return False
        return python in self.available.get(architecture, ())


@dataclass(frozen=True)
class Usb:
    """Serial adapters on USB: the names they get, and what makes them slow."""

    patterns: tuple[str, ...]
    stable_names: str
    group: str
    latency_timer: str  # with {name} for "ttyUSB0"
    latency_best_ms: int
    max_baud: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Uart:
    """One UART of the board. `config` are the lines of config.txt that put it on its pins."""

    name: str
    kind: str
    device: str
    pins: str
    by_default: str
    config: tuple[str, ...]
    max_baud: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Cpu:
    """The processor; `part` is what /proc/cpuinfo calls "CPU part", empty where any will do."""

    soc: str
    core: str
    part: str
    cores: int
    clock_mhz: tuple[int, ...]
    omp_threads: int


@dataclass(frozen=True)
class Memory:
    """Sizes the board is sold with, and what the whole decoder may use of it."""

    sizes_mb: tuple[int, ...]
    budget_mb: int


@dataclass(frozen=True)
class Delay:
    """Longest time each stage of one hop may take, in ms; together they fit into one tick of the loop."""

    read_ms: float
    filter_ms: float
    encode_ms: float
    match_and_gate_ms: float
    write_ms: float
    total_ms: float


@dataclass(frozen=True)
class Board:
    """One board, complete with what it shares with the others."""

    name: str
    title: str
    models: tuple[str, ...]
    architectures: tuple[str, ...]
    cpu: Cpu
    memory: Memory
    delay: Delay
    uarts: tuple[Uart, ...]
    notes: tuple[str, ...]
    rule: Rule
    usb: Usb
    runtimes: tuple[Runtime, ...]

    def runtimes_for(self, architecture: str, python: str, glibc: str = "") -> tuple[Runtime, ...]:
        """The runtimes that can be installed here, best first; none on an architecture that the board does not have."""
        if architecture not in self.architectures:
            return ()
        return tuple(runtime for runtime in self.runtimes if runtime.exists_for(architecture, python, glibc))

    def uart(self, device: str) -> Uart | None:
        """The UART behind a device name such as "/dev/ttyAMA0"."""
        return next((uart for uart in self.uarts if uart.device == device), None)


@dataclass(frozen=True)
class Detection:
    """What this machine says of itself. `board` is None when no profile fits; `found_by` says what was believed."""

    board: Board | None
    model: str
    machine: str  # what uname says
    architecture: str  # what packages are installed for
    cpu_part: str
    cores: int
    memory_mb: int
    found_by: str


@cache
def load_boards(folder: Path = FOLDER) -> dict[str, Board]:
    """Every profile of a folder by name.

    Raises:
        InputError: a file is not TOML, has an unknown or missing key, or breaks one of its own rules.
    """
    common = _read(folder / COMMON)
    rule, usb, runtimes = _rule(common.table("rule")), _usb(common.table("usb")), _runtimes(common)
    common.finish()
    boards = {}
    for path in sorted(folder.glob("*.toml")):
        if path.name == COMMON:
            continue
        found = _board(_read(path), rule, usb, runtimes)
        if found.name != path.stem:
            raise InputError(
                "is not named after its file",
                where=f"{path.name}: name",
                found=repr(found.name),
                expected=repr(path.stem),
            )
        boards[found.name] = found
    return boards


def board(name: str) -> Board:
    """One profile by name.

    Raises:
        InputError: there is no such board; says which there are, and the nearest one.
    """
    boards = load_boards()
    if name not in boards:
        raise InputError(
            "is not a known board", where=repr(name), expected="one of " + ", ".join(boards), todo=nearest(name, boards)
        )
    return boards[name]


def detect_board(
    root: Path = Path("/"), *, machine: str | None = None, pointer_bits: int = 8 * struct.calcsize("P")
) -> Detection:
    """Which board this is, from the device tree, else from /proc/cpuinfo, else from the kind of machine.

    `machine` is what uname calls it. A 32-bit Python on a 64-bit kernel is armv7l, whatever uname says: the packages
    that can be installed follow the Python, not the kernel.
    """
    machine = machine or platform.machine()
    architecture = _architecture(machine, pointer_bits)
    cpuinfo = _text(root / "proc/cpuinfo")
    model, found_by = _text(root / "proc/device-tree/model").replace("\0", "").strip(), "device tree"
    if not model:
        model, found_by = _cpuinfo_value(cpuinfo, "Model"), "/proc/cpuinfo"
    known = None
    if model:
        known = next((b for b in load_boards().values() if any(model.startswith(start) for start in b.models)), None)
    else:
        # A machine without a device tree is a computer, if it is one of the kinds that computers are.
        known = next((b for b in load_boards().values() if not b.models and architecture in b.architectures), None)
        found_by = "kind of machine"
    return Detection(
        board=known,
        model=model,
        machine=machine,
        architecture=architecture,
        cpu_part=_cpuinfo_value(cpuinfo, "CPU part"),
        cores=sum(line.partition(":")[0].strip() == "processor" for line in cpuinfo.splitlines()),
        memory_mb=_memory_mb(_text(root / "proc/meminfo")),
        found_by=found_by,
    )


def _architecture(machine: str, pointer_bits: int) -> str:
    if machine in ("aarch64", "arm64", "armv8l") and pointer_bits == 32:
        return "armv7l"
    return {"arm64": "aarch64", "AMD64": "x86_64"}.get(machine, machine)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cpuinfo_value(cpuinfo: str, key: str) -> str:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _memory_mb(meminfo: str) -> int:
    for line in meminfo.splitlines():
        name, _, value = line.partition(":")
        if name == "MemTotal" and value.split():
            number = value.split()[0]
            return int(number) // 1024 if number.isdigit() else 0
    return 0


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _read(path: Path) -> Table:
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path.name) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"is not a TOML file: {error}", where=path.name) from error
    table = Table(path.name, data)
    if (schema := table.whole("schema")) != SCHEMA:
        raise table.wrong("schema", "is of another version", schema, SCHEMA)
    return table


def _rule(table: Table) -> Rule:
    rule = Rule(
        hop_ms=table.number("hop_ms"), tick_ms=table.number("tick_ms"), wearer_best_ms=table.numbers("wearer_best_ms")
    )
    table.finish()
    if rule.tick_ms > rule.hop_ms:
        raise table.wrong("tick_ms", "is longer than a hop", rule.tick_ms, f"at most {rule.hop_ms}")
    return rule


def _usb(table: Table) -> Usb:
    usb = Usb(
        patterns=table.texts("patterns"),
        stable_names=table.text("stable_names"),
        group=table.text("group"),
        latency_timer=table.text("latency_timer"),
        latency_best_ms=table.whole("latency_best_ms"),
        max_baud=table.whole("max_baud"),
        notes=table.texts("notes"),
    )
    table.finish()
    return usb


def _runtimes(common: Table) -> tuple[Runtime, ...]:
    runtimes = []
    for table in common.tables("runtimes"):
        available = table.table("available")
        runtimes.append(
            Runtime(
                name=table.text("name"),
                package=table.text("package"),
                module=table.text("module"),
                member=table.text("member"),
                available={key: available.texts(key) for key in ARCHITECTURES if available.has(key)},
                numpy_below=table.whole("numpy_below", default=0),
                glibc=table.text("glibc", default=""),
            )
        )
        available.finish(ARCHITECTURES)
        table.finish()
    return tuple(runtimes)


def _board(table: Table, rule: Rule, usb: Usb, runtimes: tuple[Runtime, ...]) -> Board:
    found = Board(
        name=table.text("name"),
        title=table.text("title"),
        models=table.texts("models"),
        architectures=table.texts("architectures", among=ARCHITECTURES),
        cpu=_cpu(table.table("cpu")),
        memory=_memory(table.table("memory")),
        delay=_delay(table.table("delay"), rule),
        uarts=tuple(_uart(uart) for uart in table.tables("uarts", default=())),
        notes=table.texts("notes"),
        rule=rule,
        usb=usb,
        runtimes=runtimes,
    )
    table.finish()
    if len({uart.device for uart in found.uarts}) != len(found.uarts):
        raise table.wrong("uarts", "two share one device name")
    return found


def _cpu(table: Table) -> Cpu:
    cpu = Cpu(
        soc=table.text("soc"),
        core=table.text("core"),
        part=table.text("part", empty=True),
        cores=table.whole("cores"),
        clock_mhz=table.wholes("clock_mhz"),
        omp_threads=table.whole("omp_threads"),
    )
    table.finish()
    return cpu


def _memory(table: Table) -> Memory:
    memory = Memory(sizes_mb=table.wholes("sizes_mb"), budget_mb=table.whole("budget_mb"))
    table.finish()
    if memory.budget_mb > min(memory.sizes_mb) // 2:
        raise table.wrong(
            "budget_mb", "is over half of the smallest board", memory.budget_mb, min(memory.sizes_mb) // 2
        )
    return memory


def _delay(table: Table, rule: Rule) -> Delay:
    delay = Delay(
        read_ms=table.number("read_ms"),
        filter_ms=table.number("filter_ms"),
        encode_ms=table.number("encode_ms"),
        match_and_gate_ms=table.number("match_and_gate_ms"),
        write_ms=table.number("write_ms"),
        total_ms=table.number("total_ms"),
    )
    table.finish()
    total_ms = delay.read_ms + delay.filter_ms + delay.encode_ms + delay.match_and_gate_ms + delay.write_ms
    if abs(total_ms - delay.total_ms) > 1e-9:
        raise table.wrong("total_ms", "is not the sum of the stages", delay.total_ms, total_ms)
    if total_ms > rule.tick_ms:
        raise table.wrong("total_ms", "does not fit into one tick", total_ms, f"at most {rule.tick_ms}")
    return delay


def _uart(table: Table) -> Uart:
    uart = Uart(
        name=table.text("name"),
        kind=table.text("kind", among=UART_KINDS),
        device=table.text("device"),
        pins=table.text("pins"),
        by_default=table.text("by_default"),
        config=table.texts("config"),
        max_baud=table.whole("max_baud"),
        notes=table.texts("notes"),
    )
    table.finish()
    return uart
