"""`myosem-edge doctor` finds what is wrong with a machine, says what to do, and ends with the right exit code."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

import myosem_edge.bundle
import myosem_edge.keys
from myosem_edge.boards.checkup import Host, Port, Status
from myosem_edge.boards.profiles import board
from myosem_edge.boards.software import PACKAGES, Software
from myosem_edge.cli import doctor as module
from myosem_edge.errors import BundleError, InputError

MODELS = {
    "pi_zero_2w": "Raspberry Pi Zero 2 W Rev 1.0",
    "pi_3b_plus": "Raspberry Pi 3 Model B Plus Rev 1.3",
    "pi_4": "Raspberry Pi 4 Model B Rev 1.5",
    "pi_5": "Raspberry Pi 5 Model B Rev 1.0",
}
PROBLEM_EXIT = 7


class Bench:
    """A fake machine under the command: a root tree, installed packages, keys, ports."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.versions = dict.fromkeys((*PACKAGES, "onnxruntime"), "1.0")
        self.keys: dict[str, tuple[str, object, bool]] = {"0123456789abcdef": ("maker", object(), False)}
        self.ports: tuple[Port, ...] = ()
        host_here = module.host_here

        def fake_host(board_name: str | None = None) -> Host:
            return host_here(board_name, root)

        monkeypatch.setattr(module, "host_here", fake_host)
        monkeypatch.setattr(module, "_ports", lambda: self.ports)
        monkeypatch.setattr(Software, "here", lambda: Software((3, 11, 2), "2.36", self.versions.get, lambda name: ""))
        monkeypatch.setattr(platform, "machine", lambda: "aarch64")
        monkeypatch.setattr(myosem_edge.keys, "trusted_keys", lambda: self.keys)
        monkeypatch.setenv("MYOSEM_HOME", str(root / "home"))
        monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def become(self, name: str) -> None:
        cpu = board(name).cpu
        self.plant("proc/device-tree/model", MODELS[name] + "\0")
        self.plant("proc/cpuinfo", "".join(f"processor : {i}\nCPU part : {cpu.part}\n" for i in range(cpu.cores)))
        self.plant("proc/meminfo", "MemTotal: 440000 kB\nMemAvailable: 330000 kB\n")

    def plant(self, name: str, text: str = "") -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(module.doctor, arguments)

    def json(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("--json", *arguments).output)
        return found


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(tmp_path, monkeypatch)
    bench.become("pi_4")
    return bench


def status_of(found: dict[str, Any], name: str) -> str:
    (status,) = [check["status"] for check in found["checks"] if check["name"] == name]
    return str(status)


@pytest.mark.parametrize("name", MODELS)
def test_each_board_is_recognised_and_healthy(bench: Bench, name: str) -> None:
    bench.become(name)
    found = bench.json()
    assert found["board"] == {
        "name": name,
        "model": MODELS[name],
        "architecture": "aarch64",
        "found_by": "device tree",
    }
    assert found["verdict"] == "warning", "nothing is plugged in"
    assert [check["name"] for check in found["checks"] if check["status"] != "ok"] == ["serial ports"]
    assert bench.run().exit_code == 0


def test_a_machine_with_everything_is_ok(bench: Bench) -> None:
    bench.plant("dev/ttyACM0")
    bench.ports = (Port("/dev/ttyACM0", "Low Energy Dongle"),)
    assert bench.json()["verdict"] == "ok"
    result = bench.run()
    assert result.exit_code == 0 and result.output.splitlines()[-1] == "no problems, no warnings"


def test_a_missing_runtime_is_a_problem_with_a_remedy(bench: Bench) -> None:
    del bench.versions["onnxruntime"], bench.versions["numpy"]
    result = bench.run()
    assert result.exit_code == PROBLEM_EXIT
    assert "pip install onnxruntime" in result.output and "pip install numpy" in result.output
    assert result.output.splitlines()[-1] == "2 problems, 1 warning"


def test_the_reference_alone_is_a_warning(bench: Bench) -> None:
    del bench.versions["onnxruntime"]
    assert status_of(bench.json(), "encoder") == "warning"
    assert bench.run().exit_code == 0


def test_a_machine_without_a_profile_gets_a_verdict_too(bench: Bench) -> None:
    bench.plant("proc/device-tree/model", "Raspberry Pi 400 Rev 1.0\0")
    found = bench.json()
    assert found["board"]["name"] is None and status_of(found, "board") == "warning"
    assert status_of(found, "encoder") == "ok"
    assert status_of(bench.json("--board", "pi_4"), "board") == "warning"


def test_an_unknown_board_is_an_error_that_names_the_nearest(bench: Bench) -> None:
    result = bench.run("--board", "pi4")
    assert isinstance(result.exception, InputError) and "'pi_4'" in str(result.exception)


def test_a_wanted_port_has_to_be_there(bench: Bench) -> None:
    result = bench.run("--port", "/dev/ttyUSB0")
    assert result.exit_code == PROBLEM_EXIT and "there is no such port" in result.output
    bench.plant("dev/ttyUSB0")
    assert bench.run("--port", "/dev/ttyUSB0").exit_code == 0


class TestKeys:
    def test_none(self, bench: Bench) -> None:
        bench.keys = {}
        result = bench.run()
        assert result.exit_code == 0 and "myosem-edge keys new" in result.output

    def test_names_and_dev_keys_are_told_apart(self, bench: Bench) -> None:
        bench.keys["f" * 16] = ("dev", object(), True)
        (check,) = [check for check in bench.json()["checks"] if check["name"] == "trusted keys"]
        assert check["found"] == "dev (dev: emulated hands only), maker"

    def test_a_damaged_key_file_is_a_problem(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        def damaged() -> None:
            raise InputError("is not a public key", where="keys.d/maker.pub")

        monkeypatch.setattr(myosem_edge.keys, "trusted_keys", damaged)
        result = bench.run()
        assert result.exit_code == PROBLEM_EXIT and "keys.d/maker.pub: is not a public key" in result.output


class TestBundle:
    def test_a_good_one_decides_about_the_runtime(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        manifest = SimpleNamespace(name="shipped", version="0.1.0", members={"encoder.tflite": None})
        asked = []

        def read_bundle(path: Path, keys: object) -> SimpleNamespace:
            asked.append((path, keys))
            return SimpleNamespace(manifest=manifest)

        monkeypatch.setattr(myosem_edge.bundle, "read_bundle", read_bundle)
        found = bench.json("--bundle", "shipped-0.1.0.myosem")
        assert (status_of(found, "bundle"), status_of(found, "encoder")) == ("ok", "problem")
        assert asked == [(Path("shipped-0.1.0.myosem"), bench.keys)]
        bench.versions["ai-edge-litert"] = "2.3.0"
        assert status_of(bench.json("--bundle", "shipped-0.1.0.myosem"), "encoder") == "ok"

    def test_a_bad_one_is_a_problem(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        def read_bundle(path: Path, keys: object) -> None:
            raise BundleError("is not signed by a key that is trusted here", where=path)

        monkeypatch.setattr(myosem_edge.bundle, "read_bundle", read_bundle)
        result = bench.run("--bundle", "x.myosem")
        assert result.exit_code == PROBLEM_EXIT and "x.myosem: is not signed" in result.output

    def test_one_that_is_not_there_is_a_problem(self, bench: Bench) -> None:
        result = bench.run("--bundle", str(bench.root / "none.myosem"))
        assert result.exit_code == PROBLEM_EXIT and "none.myosem" in result.output


class TestOutput:
    def test_the_json_has_this_shape(self, bench: Bench) -> None:
        found = bench.json()
        assert set(found) == {"schema", "version", "verdict", "board", "checks"} and found["schema"] == 1
        for check in found["checks"]:
            assert set(check) == {"name", "status", "found", "todo"}
            assert all(isinstance(value, str) for value in check.values())
            assert check["status"] in {status.value for status in Status}
        names = [check["name"] for check in found["checks"]]
        assert len(set(names)) == len(names)

    def test_the_json_comes_with_the_same_exit_code(self, bench: Bench) -> None:
        assert bench.run("--json", "--port", "/dev/none").exit_code == PROBLEM_EXIT

    def test_columns_line_up_and_there_is_no_colour_off_a_terminal(self, bench: Bench) -> None:
        lines = bench.run().output.splitlines()
        assert not any("\x1b" in line for line in lines)
        column = lines[0].index("3.11.2")
        assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines[:-1])
        assert {line[0] for line in lines[:-1]} <= {"✓", "!", "✗", " "}

    def test_colour_on_a_terminal(self, bench: Bench) -> None:
        assert "\x1b[32m" in CliRunner().invoke(module.doctor, color=True).output

    def test_a_terminal_without_these_letters_gets_plain_ones(self, bench: Bench) -> None:
        bench.plant("sys/class/thermal/thermal_zone0/temp", "51000")
        result = CliRunner(charset="ascii").invoke(module.doctor)
        assert result.exit_code == 0
        assert result.stdout_bytes.isascii() and "51 ?C" in result.output and "+ python" in result.output

    def test_a_device_cannot_write_control_codes_to_the_terminal(self, bench: Bench) -> None:
        bench.plant("dev/ttyACM0")
        bench.ports = (Port("/dev/ttyACM0", "evil\x1b[2J\ndevice"),)
        assert "evil?[2J?device" in bench.run().output


def test_missing_packages_are_problems_and_no_tracebacks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("myosem_edge.keys", "myosem_edge.bundle"):
        monkeypatch.setitem(sys.modules, name, None)
    found = bench.json("--bundle", "x.myosem")
    assert (status_of(found, "trusted keys"), status_of(found, "bundle")) == ("problem", "problem")


def test_without_the_serial_library_no_port_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "myosem_edge.firmware_bridge.port", None)
    assert module.host_here(root=tmp_path).ports == ()


def test_the_group_to_join_is_that_of_the_port(tmp_path: Path) -> None:
    (tmp_path / "ttyUSB0").write_text("")
    host = module.host_here(root=tmp_path)
    assert host.group_of(tmp_path / "ttyUSB0") == (tmp_path / "ttyUSB0").group()
    assert host.group_of(tmp_path / "none") == "dialout"
    assert host.may_open(tmp_path / "ttyUSB0") and not host.may_open(tmp_path / "none")


def test_this_very_machine_gets_a_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYOSEM_HOME", str(tmp_path))
    result = CliRunner().invoke(module.doctor, ["--json"])
    assert result.exit_code in (0, PROBLEM_EXIT) and json.loads(result.output)["checks"]
    assert list(tmp_path.iterdir()) == [], "a look changes nothing"
