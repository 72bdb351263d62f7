"""`myosem-edge ports` and `--front-end auto`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from myosem_edge.cli import ports as module
from myosem_edge.cli.main import main
from myosem_edge.firmware_bridge.emulators.cyton import CytonEmulator
from myosem_edge.firmware_bridge.emulators.myosem_wire import MyosemWireEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.cyton import Cyton, CytonDaisy
from myosem_edge.firmware_bridge.frontends.myosem_wire import MyosemWire
from myosem_edge.firmware_bridge.port import PortInfo
from tests.firmware_bridge.test_detect import front_end


def run(*arguments: object, typed: str = "") -> Result:
    result = CliRunner().invoke(main, [*map(str, arguments)], input=typed)
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def two_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        PortInfo("/dev/ttyACM0", "Low Energy Dongle", "2458:0001"),
        PortInfo("/dev/ttyUSB0", "CP2102", "10c4:ea60"),
    ]
    monkeypatch.setattr(module, "list_ports", lambda: found)


def test_a_list_opens_nothing_and_names_what_the_usb_id_tells(two_ports: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SerialPort", lambda *arguments: pytest.fail("a port was opened"))
    lines = run("ports").output.splitlines()
    assert "/dev/ttyACM0" in lines[1] and lines[1].endswith("myo")
    assert "/dev/ttyUSB0" in lines[2] and lines[2].endswith("10c4:ea60")
    assert json.loads(run("ports", "--json").output)[0]["front_end"] == "myo"


def test_no_port_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "list_ports", list)
    assert "no serial port" in run("ports").output


def test_nothing_is_asked_before_somebody_says_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SerialPort", lambda *arguments: pytest.fail("a port was opened"))
    result = run("ports", "--ask", "/dev/ttyUSB0", typed="n\n")
    assert result.exit_code != 0 and "hand" in result.output


def test_a_port_that_is_not_there() -> None:
    result = run("ports", "--ask", "/dev/nothing", "--yes")
    assert result.exit_code == 6 and "/dev/nothing" in result.output


@pytest.mark.peer
def test_a_front_end_on_a_port_is_found_and_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "candidates", lambda: iter((CytonDaisy(), MyosemWire())))
    device = front_end("myosem_wire")
    assert isinstance(device, MyosemWireEmulator)
    with OnPty(device) as port:
        result = CliRunner().invoke(main, ["ports", "--ask", port.port, "--yes", "--json"])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["front_end"] == "myosem_wire"
        assert "OpenBCI Cyton with Daisy?" in result.stderr, "whoever waits is told for what"


@pytest.mark.peer
def test_auto_finds_it_says_so_and_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "candidates", lambda: iter((Cyton(),)))
    device = front_end("cyton")
    assert isinstance(device, CytonEmulator)
    out = tmp_path / "found.npz"
    with OnPty(device) as port:
        result = run("record", "--front-end", "auto", "--port", port.port, "--seconds", "0.5", "--out", out)
    assert result.exit_code == 0, result.output
    assert "--front-end cyton\n" in result.output and out.exists()
    assert isinstance(device.source, ArraySource)


def test_auto_needs_a_port(tmp_path: Path) -> None:
    result = run("record", "--front-end", "auto", "--seconds", "1", "--out", tmp_path / "x.npz")
    assert result.exit_code == 2 and "--port" in result.output
