"""Each check turns from ok to a warning or a problem exactly where it says so, and says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from myosem_edge.boards.checkup import Check, Host, Port, Status, check_machine, check_ports
from myosem_edge.boards.profiles import board, detect_board

OK, WARNING, PROBLEM = Status.OK, Status.WARNING, Status.PROBLEM
CPUINFO = "".join(f"processor : {i}\nCPU part : 0xd08\n" for i in range(4))
PI_4 = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/cpuinfo": CPUINFO,
    "proc/meminfo": "MemTotal: 3884000 kB\nMemAvailable: 3000000 kB\n",
    "proc/cmdline": "console=tty1 root=PARTUUID=1-02 rootwait\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "arch_sys_counter\n",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
    "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
    "sys/class/thermal/thermal_zone0/temp": "51234\n",
}
GOVERNOR = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"

Make = Callable[..., Host]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A Pi 4 in good order, with files replaced, and anything about it replaced by keyword."""

    def build(
        files: dict[str, str] | None = None, *, machine: str = "aarch64", bits: int = 64, **other: object
    ) -> Host:
        for name, text in (PI_4 | (files or {})).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        detection = detect_board(tmp_path, machine=machine, pointer_bits=bits)
        facts: dict[str, object] = {
            "detection": detection,
            "board": detection.board,
            "root": tmp_path,
            "ports": (),
            "user_folder": tmp_path / "home/myosem",
            "may_open": lambda path: True,
            "group_of": lambda path: "dialout",
            "clock_resolution_s": 1e-9,
            "omp_threads": "1",
            "free_mb": lambda folder: 9000.0,
        }
        return Host(**(facts | other))  # type: ignore[arg-type]

    return build


def link(root: Path, name: str, target: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def named(checks: list[Check], name: str) -> Check:
    (found,) = [check for check in checks if check.name == name]
    return found


class TestMachine:
    def test_a_board_in_good_order_has_nothing_to_complain_about(self, make: Make) -> None:
        checks = check_machine(make())
        assert [check.name for check in checks if check.status is not OK] == []
        found = {check.name: check.found for check in checks}
        assert found["board"] == "Raspberry Pi 4 Model B (pi_4), aarch64"
        assert (found["cores"], found["temperature"], found["power"]) == ("4", "51 °C", "supply voltage in order")
        assert found["memory"] == "2929 MB free of 3792 MB"
        assert found["clock"] == "resolution 1e-09 s, arch_sys_counter"

    def test_a_machine_that_tells_nothing_is_no_problem_by_itself(self, tmp_path: Path, make: Make) -> None:
        host = make(root=tmp_path / "empty", board=None, detection=detect_board(tmp_path / "empty", machine="riscv64"))
        checks = check_machine(host)
        assert {check.name for check in checks if check.status is not OK} == {"board"}
        assert "--board" in named(checks, "board").todo

    @pytest.mark.parametrize(
        ("files", "name", "status"),
        [
            ({"proc/cpuinfo": CPUINFO.replace("processor : 3\n", "")}, "cores", WARNING),
            ({"proc/cpuinfo": CPUINFO.replace("0xd08", "0xd03")}, "cores", WARNING),
            ({"proc/meminfo": f"MemTotal: 9 kB\nMemAvailable: {256 * 1024} kB\n"}, "memory", OK),
            ({"proc/meminfo": f"MemTotal: 9 kB\nMemAvailable: {256 * 1024 - 1} kB\n"}, "memory", PROBLEM),
            ({GOVERNOR: "performance\n"}, "clock speed", OK),
            ({GOVERNOR: "powersave\n"}, "clock speed", WARNING),
            ({"sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n"}, "power", WARNING),
            ({"sys/class/thermal/thermal_zone0/temp": "79999\n"}, "temperature", OK),
            ({"sys/class/thermal/thermal_zone0/temp": "80000\n"}, "temperature", WARNING),
            ({"sys/class/thermal/thermal_zone0/temp": "hot\n"}, "temperature", OK),
            ({"proc/device-tree/model": "Raspberry Pi 400 Rev 1.0\0"}, "board", WARNING),
        ],
    )
    def test_what_the_system_files_say(self, make: Make, files: dict[str, str], name: str, status: Status) -> None:
        found = named(check_machine(make(files)), name)
        assert found.status is status
        assert status is OK or found.todo or "profile says" in found.found

    @pytest.mark.parametrize(
        ("other", "name", "status"),
        [
            ({"clock_resolution_s": 1e-3}, "clock", OK),
            ({"clock_resolution_s": 1.1e-3}, "clock", PROBLEM),
            ({"omp_threads": None}, "threads", OK),
            ({"omp_threads": "4"}, "threads", WARNING),
            ({"free_mb": lambda folder: 500.0}, "user folder", OK),
            ({"free_mb": lambda folder: 499.0}, "user folder", WARNING),
            ({"free_mb": lambda folder: 50.0}, "user folder", WARNING),
            ({"free_mb": lambda folder: 49.0}, "user folder", PROBLEM),
            ({"may_open": lambda path: False}, "user folder", PROBLEM),
            ({"board": board("pi_5")}, "board", WARNING),
        ],
    )
    def test_what_the_process_finds(self, make: Make, other: dict[str, object], name: str, status: Status) -> None:
        assert named(check_machine(make(**other)), name).status is status

    def test_a_user_folder_below_a_file_cannot_be_written(self, make: Make, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        found = named(check_machine(make(user_folder=tmp_path / "file" / "myosem")), "user folder")
        assert found.status is PROBLEM and "MYOSEM_HOME" in found.todo

    def test_a_32_bit_python_on_a_64_bit_kernel_is_said(self, make: Make) -> None:
        found = named(check_machine(make(machine="aarch64", bits=32)), "board")
        assert found.status is WARNING and "32-bit Python" in found.found and "pip" in found.todo

    def test_a_real_32_bit_system_is_in_order(self, make: Make) -> None:
        assert named(check_machine(make(machine="armv7l", bits=32)), "board").status is OK

    def test_an_architecture_that_the_board_does_not_have(self, make: Make) -> None:
        found = named(check_machine(make(machine="armv6l", bits=32)), "board")
        assert found.status is PROBLEM and "aarch64, armv7l" in found.todo


class TestPorts:
    FTDI = Port("/dev/ttyUSB0", "FT232R USB UART")
    TIMER = "sys/bus/usb-serial/devices/ttyUSB0/latency_timer"

    def test_no_port_is_a_warning(self, make: Make) -> None:
        (found,) = check_ports(make())
        assert (found.status, found.found) == (WARNING, "none")

    @pytest.mark.parametrize(("timer", "status"), [("1\n", OK), ("2\n", WARNING), ("16\n", WARNING)])
    def test_a_lazy_ftdi_adapter(self, make: Make, timer: str, status: Status) -> None:
        (found,) = check_ports(make({"dev/ttyUSB0": "", self.TIMER: timer}, ports=(self.FTDI,)))
        assert (found.name, found.status) == ("port /dev/ttyUSB0", status)
        assert found.found == f"FT232R USB UART, latency timer {timer.strip()} ms"
        assert status is OK or f"/{self.TIMER}" in found.todo

    def test_the_stable_name_is_shown(self, make: Make, tmp_path: Path) -> None:
        host = make({"dev/ttyUSB0": "", "dev/ttyUSB1": ""}, ports=(self.FTDI,))
        link(tmp_path, "dev/serial/by-id/usb-FTDI_A1-if00-port0", "../../ttyUSB0")
        link(tmp_path, "dev/serial/by-id/usb-FTDI_A2-if00-port0", "../../ttyUSB1")
        assert check_ports(host)[0].found == "FT232R USB UART, /dev/serial/by-id/usb-FTDI_A1-if00-port0"

    def test_a_stable_name_can_be_asked_for(self, make: Make, tmp_path: Path) -> None:
        host = make({"dev/ttyUSB0": "", self.TIMER: "16\n"}, ports=(self.FTDI,))
        link(tmp_path, "dev/serial/by-id/usb-FTDI_A1-if00-port0", "../../ttyUSB0")
        (found,) = check_ports(host, "/dev/serial/by-id/usb-FTDI_A1-if00-port0")
        assert found.status is WARNING and "latency timer 16 ms" in found.found

    def test_permission(self, make: Make) -> None:
        host = make({"dev/ttyUSB0": ""}, ports=(self.FTDI,), may_open=lambda path: False)
        (listed,), (wanted,) = check_ports(host), check_ports(host, "/dev/ttyUSB0")
        assert (listed.status, wanted.status) == (WARNING, PROBLEM)
        assert "usermod -aG dialout" in wanted.todo and "no permission" in wanted.found

    def test_a_port_that_is_not_there(self, make: Make) -> None:
        (found,) = check_ports(make({"dev/ttyUSB0": ""}, ports=(self.FTDI,)), "/dev/ttyUSB1")
        assert found.status is PROBLEM and "'/dev/ttyUSB0'" in found.todo
        (found,) = check_ports(make(), "/dev/anything")
        assert found.status is PROBLEM and found.todo == "Is it plugged in?"

    @pytest.mark.parametrize("console", ["ttyS0", "serial0"])
    def test_a_console_on_the_uart_is_a_problem_only_for_a_device(
        self, make: Make, tmp_path: Path, console: str
    ) -> None:
        host = make({"dev/ttyS0": "", "proc/cmdline": f"console={console},115200 console=tty1\n"})
        link(tmp_path, "dev/serial0", "ttyS0")
        (listed,), (wanted,), (alias,) = (
            check_ports(host),
            check_ports(host, "/dev/ttyS0"),
            check_ports(host, "/dev/serial0"),
        )
        assert (listed.status, wanted.status, alias.status) == (OK, PROBLEM, PROBLEM)
        assert "raspi-config" in wanted.todo and "mini UART" in listed.found

    def test_a_console_elsewhere_does_not_matter(self, make: Make) -> None:
        (found,) = check_ports(make({"dev/ttyS0": ""}), "/dev/ttyS0")
        assert (found.status, found.todo) == (OK, "")

    def test_a_uart_that_bluetooth_has(self, make: Make, tmp_path: Path) -> None:
        host = make({"dev/ttyAMA0": ""})
        assert check_ports(host, "/dev/ttyAMA0")[0].status is OK
        link(tmp_path, "dev/serial1", "ttyAMA0")
        (found,) = check_ports(host, "/dev/ttyAMA0")
        assert found.status is PROBLEM and "dtoverlay=disable-bt" in found.todo

    def test_without_a_profile_a_port_is_still_checked(self, make: Make) -> None:
        host = make({"dev/ttyUSB0": "", self.TIMER: "16\n"}, ports=(self.FTDI,), board=None)
        assert check_ports(host)[0] == Check("port /dev/ttyUSB0", OK, "FT232R USB UART")
