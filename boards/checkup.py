"""What a machine looks like to `myosem-edge doctor`: processor, memory, power, clock, serial ports.

Everything is read from a `Host`, so that a test can hand in any machine; nothing here changes anything.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from myosem_edge.boards.profiles import Board, Detection
from myosem_edge.boards.table import nearest

CLOCK_RESOLUTION_S = 1e-3  # the guard's time-out is 100 ms and a tick is 20 ms: a coarser clock could not tell them
HOT_C = 80.0  # Raspberry Pi boards begin to slow down here
LEAST_FREE_MB, COMFORTABLE_FREE_MB = 50, 500  # a bundle is at most 64 MB, and logs and profiles need room


class Status(Enum):
    """OK; WARNING: it runs, but not as well as it could; PROBLEM: it will not run, or must not."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: what was found, and what to do about it (a hint where all is well)."""

    name: str
    status: Status
    found: str
    todo: str = ""


@dataclass(frozen=True)
class Port:
    """A serial port as the operating system lists it."""

    device: str
    description: str = ""


@dataclass(frozen=True)
class Host:
    """A machine. `board` is its profile, or the one that was asked for; `may_open` tells about permission."""

    detection: Detection
    board: Board | None
    root: Path
    ports: tuple[Port, ...]
    user_folder: Path
    may_open: Callable[[Path], bool]
    group_of: Callable[[Path], str]
    clock_resolution_s: float
    omp_threads: str | None  # $OMP_NUM_THREADS
    free_mb: Callable[[Path], float] = lambda folder: shutil.disk_usage(folder).free / 1e6

    def read(self, path: str) -> str:
        """A small text file of the machine, stripped; "" where there is none. Zero bytes of the device tree go too."""
        try:
            return (
                (self.root / path.lstrip("/")).read_text(encoding="utf-8", errors="replace").replace("\0", "").strip()
            )
        except OSError:
            return ""

    def device_name(self, device: str) -> str:
        """What a name under /dev leads to: "/dev/serial0" to "ttyS0"."""
        return (self.root / device.lstrip("/")).resolve().name


def check_machine(host: Host) -> list[Check]:
    """Everything but the serial ports, in the order in which a reader would ask."""
    checks = [_board(host), _cores(host), _governor(host), _threads(host), _memory(host), _power(host), _heat(host)]
    return [*checks, _clock(host), _folder(host)]


def check_ports(host: Host, wanted: str | None = None) -> list[Check]:
    """One line per serial port, or only the wanted one, which then has to be fit for use."""
    present = {port.device: port for port in (*host.ports, *_uarts_present(host))}
    if wanted is not None:
        if wanted not in present and not (host.root / wanted.lstrip("/")).exists():
            hint = nearest(wanted, present) or "Is it plugged in?"
            return [Check(f"port {wanted}", Status.PROBLEM, "there is no such port", hint)]
        return [_port(host, present.get(wanted, Port(wanted)), in_use=True)]
    if not present:
        return [Check("serial ports", Status.WARNING, "none", "Plug in the front end and the hand")]
    return [_port(host, port, in_use=False) for port in present.values()]


def _board(host: Host) -> Check:
    detection = host.detection
    model = detection.model or "no device tree"
    if host.board is None:
        return Check(
            "board",
            Status.WARNING,
            f"{model}, {detection.architecture}: no profile",
            "Name the nearest one with --board; `docs/boards.md` lists them",
        )
    found = f"{host.board.title} ({host.board.name}), {detection.architecture}"
    if detection.board is not host.board:
        return Check("board", Status.WARNING, f"{found}, as asked; this machine is {model}")
    if detection.architecture == "armv7l" and detection.machine != "armv7l":
        return Check(
            "board",
            Status.WARNING,
            f"{found}: a 32-bit Python on a kernel that says {detection.machine}",
            "pip takes this for a 64-bit machine: install the 64-bit system",
        )
    if detection.architecture not in host.board.architectures:
        return Check("board", Status.PROBLEM, found, f"Supported there: {', '.join(host.board.architectures)}")
    return Check("board", Status.OK, found)


def _cores(host: Host) -> Check:
    found = host.detection.cores
    expected = host.board.cpu.cores if host.board else 0
    part = host.board.cpu.part if host.board else ""
    if part and host.detection.cpu_part and host.detection.cpu_part != part:
        return Check("cores", Status.WARNING, f"CPU part {host.detection.cpu_part}, the profile says {part}")
    if 0 < found < expected:
        return Check(
            "cores", Status.WARNING, f"{found} of {expected}", "Look for maxcpus= in the kernel's command line"
        )
    return Check("cores", Status.OK, str(found) if found else "not told")


def _governor(host: Host) -> Check:
    governor = host.read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    if governor == "powersave":
        return Check(
            "clock speed",
            Status.WARNING,
            "governor powersave: always slow",
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        )
    hint = "" if governor in ("", "performance") else "performance saves a little delay after every rest"
    return Check("clock speed", Status.OK, f"governor {governor}" if governor else "not told", hint)


def _threads(host: Host) -> Check:
    advised = host.board.cpu.omp_threads if host.board else 1
    if host.omp_threads is None:
        return Check("threads", Status.OK, "OMP_NUM_THREADS is not set", f"The service sets it to {advised}")
    if host.omp_threads == str(advised):
        return Check("threads", Status.OK, f"OMP_NUM_THREADS={advised}")
    return Check("threads", Status.WARNING, f"OMP_NUM_THREADS={host.omp_threads}", f"export OMP_NUM_THREADS={advised}")


def _memory(host: Host) -> Check:
    available_mb = 0
    for line in host.read("proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable" and value.split()[:1] and value.split()[0].isdigit():
            available_mb = int(value.split()[0]) // 1024
    if not available_mb:
        return Check("memory", Status.OK, "not told")
    found = f"{available_mb} MB free of {host.detection.memory_mb} MB"
    if host.board and available_mb < host.board.memory.budget_mb:
        return Check(
            "memory",
            Status.PROBLEM,
            f"{found}, {host.board.memory.budget_mb} MB needed",
            "End other programs, or run the system without a desktop",
        )
    return Check("memory", Status.OK, found)


def _power(host: Host) -> Check:
    for name in _glob(host, "sys/class/hwmon/*/name"):
        if name.read_text(errors="replace").strip() == "rpi_volt":
            if host.read(str(name.parent.relative_to(host.root) / "in0_lcrit_alarm")) == "1":
                return Check(
                    "power",
                    Status.WARNING,
                    "the supply voltage was too low",
                    "Use the supply made for this board, and a powered hub for USB devices",
                )
            return Check("power", Status.OK, "supply voltage in order")
    return Check("power", Status.OK, "not told")


def _heat(host: Host) -> Check:
    reading = host.read("sys/class/thermal/thermal_zone0/temp")
    if not reading.lstrip("-").isdigit():
        return Check("temperature", Status.OK, "not told")
    temperature_c = int(reading) / 1000
    if temperature_c >= HOT_C:
        return Check("temperature", Status.WARNING, f"{temperature_c:.0f} °C: the clock is lowered", "Add a heat sink")
    return Check("temperature", Status.OK, f"{temperature_c:.0f} °C")


def _clock(host: Host) -> Check:
    source = host.read("sys/devices/system/clocksource/clocksource0/current_clocksource")
    found = f"resolution {host.clock_resolution_s:.0e} s" + (f", {source}" if source else "")
    if host.clock_resolution_s > CLOCK_RESOLUTION_S:
        return Check("clock", Status.PROBLEM, found, f"At most {CLOCK_RESOLUTION_S:.0e} s: time-outs cannot be kept")
    return Check("clock", Status.OK, found)


def _folder(host: Host) -> Check:
    existing = host.user_folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir() or not host.may_open(existing):
        return Check(
            "user folder",
            Status.PROBLEM,
            f"{host.user_folder} cannot be written",
            "Set MYOSEM_HOME to a folder of your own",
        )
    free_mb = host.free_mb(existing)
    found = f"{host.user_folder}, {free_mb:.0f} MB free"
    if free_mb < LEAST_FREE_MB:
        return Check("user folder", Status.PROBLEM, found, "Free some space: nothing could be saved")
    if free_mb < COMFORTABLE_FREE_MB:
        return Check("user folder", Status.WARNING, found, "Free some space")
    return Check("user folder", Status.OK, found)


def _uarts_present(host: Host) -> Iterable[Port]:
    """The board's own UARTs, which the operating system does not always list."""
    for uart in host.board.uarts if host.board else ():
        if (host.root / uart.device.lstrip("/")).exists():
            yield Port(uart.device, f"{uart.name}, {uart.kind}, {uart.pins}")


def _port(host: Host, port: Port, *, in_use: bool) -> Check:
    """`in_use`: the port is meant for a device, so whatever would spoil that is a problem and not a remark."""
    name = f"port {port.device}"
    path, kernel_name = host.root / port.device.lstrip("/"), host.device_name(port.device)
    found = [part for part in (port.description, _stable_name(host, kernel_name)) if part and part != "n/a"]
    grave = Status.PROBLEM if in_use else Status.WARNING
    if not host.may_open(path):
        group = host.group_of(path)
        todo = f"sudo usermod -aG {group} $USER, then log in again"
        return Check(name, grave, ", ".join([*found, f"no permission (group {group})"]), todo)
    remark = Status.PROBLEM if in_use else Status.OK
    if kernel_name in _consoles(host):
        todo = "Take it off the kernel's command line (raspi-config, Interface Options, Serial Port: login shell No)"
        return Check(name, remark, ", ".join([*found, "the Linux console is on it"]), todo)
    uart = host.board.uart(f"/dev/{kernel_name}") if host.board else None
    if uart and (host.root / "dev/serial1").exists() and host.device_name("/dev/serial1") == kernel_name:
        todo = "config.txt: " + ", ".join(uart.config)
        return Check(name, remark, ", ".join([*found, "taken by the Bluetooth chip"]), todo)
    return _with_latency(host, name, kernel_name, found)


def _with_latency(host: Host, name: str, kernel_name: str, found: list[str]) -> Check:
    if host.board is None:
        return Check(name, Status.OK, ", ".join(found))
    timer = host.board.usb.latency_timer.format(name=kernel_name)
    latency = host.read(timer)
    if not latency.isdigit():
        return Check(name, Status.OK, ", ".join(found))
    found = [*found, f"latency timer {latency} ms"]
    if int(latency) > host.board.usb.latency_best_ms:
        todo = f"echo {host.board.usb.latency_best_ms} | sudo tee {timer}, or install the rules file (docs/boards.md)"
        return Check(name, Status.WARNING, ", ".join(found), todo)
    return Check(name, Status.OK, ", ".join(found))


def _stable_name(host: Host, kernel_name: str) -> str:
    folder = host.board.usb.stable_names if host.board else "/dev/serial/by-id"
    for link in _glob(host, f"{folder.lstrip('/')}/*"):
        if link.resolve().name == kernel_name:
            return f"{folder}/{link.name}"
    return ""


def _consoles(host: Host) -> set[str]:
    words = host.read("proc/cmdline").split()
    names = {word.removeprefix("console=").partition(",")[0] for word in words if word.startswith("console=tty")}
    if any(word.startswith("console=serial0") for word in words):
        names.add(host.device_name("/dev/serial0"))
    return names


def _glob(host: Host, pattern: str) -> list[Path]:
    return sorted(host.root.glob(pattern))
