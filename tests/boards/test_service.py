"""The service unit keeps the promises that the safety of the hand rests on."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from myosem_edge.boards.profiles import FOLDER, load_boards
from myosem_edge.errors import BundleError, DeviceError, InputError, MyosemError, ProfileError, RefusedError

Unit = dict[str, dict[str, list[str]]]
SERVICE, DEAD = FOLDER / "myosem-edge.service", FOLDER / "myosem-edge-dead.service"


def parse(path: Path) -> Unit:
    """Sections of a unit file; a key may be given several times."""
    unit: Unit = {}
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = unit.setdefault(line.strip("[]"), {})
        else:
            key, separator, value = line.partition("=")
            assert separator and re.fullmatch("[A-Za-z]+", key), line
            section.setdefault(key, []).append(value)
    return unit


@pytest.fixture(scope="module")
def unit() -> Unit:
    return parse(SERVICE)


@pytest.fixture(scope="module")
def service(unit: Unit) -> dict[str, str]:
    return {key: " ".join(values) for key, values in unit["Service"].items()}


@pytest.mark.sr("SR-15")
def test_the_loop_alone_is_watched_and_heard(service: dict[str, str]) -> None:
    assert (service["Type"], service["NotifyAccess"], service["WatchdogSec"]) == ("notify", "main", "1")


@pytest.mark.sr("SR-13")
def test_the_guard_outlives_a_main_process_that_dies(service: dict[str, str]) -> None:
    # mixed kills it at once, control-group sends it the same signals; SIGKILL of the whole group comes with oom "kill".
    assert (service["KillMode"], service["OOMPolicy"]) == ("process", "stop")
    assert float(service["RestartSec"]) > 2.0, "the guard holds the port for about two seconds"


def test_five_deaths_in_a_minute_are_the_end_and_it_is_said(unit: Unit) -> None:
    assert unit["Unit"]["StartLimitIntervalSec"] == ["60"] and unit["Unit"]["StartLimitBurst"] == ["5"]
    assert unit["Unit"]["OnFailure"] == [DEAD.name]
    restart_s = float(unit["Service"]["RestartSec"][0])
    assert restart_s * 5 < 60 / 2, "five quick deaths have to fall into one interval"
    (say,) = parse(DEAD)["Service"]["ExecStart"]
    command = shlex.split(say)
    assert command[0].endswith("/logger") and "daemon.alert" in command and "not driven" in command[-1]


def test_restarts_are_for_failures_that_may_pass(service: dict[str, str]) -> None:
    assert service["Restart"] == "on-failure"
    never = {int(code) for code in service["RestartPreventExitStatus"].split()}
    wrong_usage = 2
    kinds: tuple[type[MyosemError], ...] = (InputError, BundleError, ProfileError, RefusedError)
    assert never == {wrong_usage, *(kind.exit_code for kind in kinds)}
    assert DeviceError.exit_code not in never, "a cable may come back"


def test_it_runs_as_a_user_of_its_own_who_may_open_serial_ports(service: dict[str, str]) -> None:
    assert (service["User"], service["Group"], service["SupplementaryGroups"]) == ("myosem", "myosem", "dialout")
    assert service["CapabilityBoundingSet"] == "" and service["NoNewPrivileges"] == "yes"


def test_it_can_write_its_state_and_nothing_else(service: dict[str, str]) -> None:
    assert (service["ProtectSystem"], service["ProtectHome"], service["StateDirectory"]) == (
        "strict",
        "yes",
        "myosem-edge",
    )
    assert "MYOSEM_HOME=%S/myosem-edge" in service["Environment"]
    assert "ReadWritePaths" not in service
    assert service["LimitCORE"] == "0", "a core file would hold the wearer's signal"


def test_serial_ports_are_the_only_devices(unit: Unit) -> None:
    assert unit["Service"]["DevicePolicy"] == ["closed"]
    allowed = unit["Service"]["DeviceAllow"]
    assert all(entry.endswith(" rw") and "tty" in entry for entry in allowed)
    # Every port of every board is covered, by its driver's group or by its own name.
    devices = {uart.device for board in load_boards().values() for uart in board.uarts} | {
        "/dev/ttyUSB0",
        "/dev/ttyACM0",
    }
    names = {entry.removesuffix(" rw") for entry in allowed}
    for device in devices:
        assert device in names or f"char-{Path(device).name.rstrip('0123456789')}" in names, device
    # Groups are resolved at start, so the drivers have to be loaded by then.
    for key in ("Wants", "After"):
        assert {"modprobe@usbserial.service", "modprobe@cdc_acm.service"} <= set(unit["Unit"][key][0].split())


def test_runtimes_can_see_the_processor(service: dict[str, str]) -> None:
    assert "ProcSubset" not in service, "onnxruntime crashes without /proc/cpuinfo"
    assert "PrivateDevices" not in service, "that would hide the serial ports"


def test_its_memory_fits_the_smallest_board(service: dict[str, str]) -> None:
    limit_mb = int(service["MemoryMax"].removesuffix("M"))
    smallest = min(load_boards().values(), key=lambda board: min(board.memory.sizes_mb))
    assert smallest.memory.budget_mb <= limit_mb <= min(smallest.memory.sizes_mb) // 2


def test_it_runs_ahead_of_ordinary_programs_on_one_thread(service: dict[str, str]) -> None:
    assert service["CPUSchedulingPolicy"] == "fifo" and 0 < int(service["CPUSchedulingPriority"]) < 50
    assert "CPUSchedulingResetOnFork" not in service, "the guard must not wait for a busy board"
    assert "OMP_NUM_THREADS=1" in service["Environment"]


def test_its_settings_come_from_the_example_file(service: dict[str, str]) -> None:
    assert service["EnvironmentFile"] == "/etc/myosem-edge.env"
    lines = (FOLDER / "myosem-edge.env.example").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    command = shlex.split(service["ExecStart"])
    assert command[1:] == ["run", *(f"${name}" for name in settings)]
    assert "/dev/serial/by-id/" in settings["MYOSEM_RUN_OPTIONS"] and "ttyUSB" not in settings["MYOSEM_RUN_OPTIONS"]


def test_the_rules_file_sets_what_the_profiles_ask_for() -> None:
    lines = (FOLDER / "99-myosem-edge.rules").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    for rule in rules:
        for part in rule.split(", "):
            assert re.fullmatch(r'[A-Z]+(\{\w+\})?(==|=)"[^"]+"', part), part
    best_ms = next(iter(load_boards().values())).usb.latency_best_ms
    assert any(f'ATTR{{latency_timer}}="{best_ms}"' in rule and 'DRIVER=="ftdi_sio"' in rule for rule in rules)
    assert any("ID_MM_PORT_IGNORE" in rule for rule in rules)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("name", [SERVICE.name, DEAD.name])
def test_systemd_understands_every_line(name: str, tmp_path: Path) -> None:
    for path in (SERVICE, DEAD):
        # Programs that are not installed here would be the only complaint.
        text = re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", path.read_text(), flags=re.MULTILINE)
        (tmp_path / path.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / name)], capture_output=True, text=True, timeout=60, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "myosem" in line or str(tmp_path) in line]
    assert ours == []
