"""`myosem-edge ports` and `--front-end auto`."""

from __future__ import annotations

import errno
import json
import os
import pty
import tty
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import serial
from click.testing import CliRunner, Result

from myosem_edge.cli import ports as module
from myosem_edge.cli.main import main
from myosem_edge.firmware_bridge.detect import Detection, steps
from myosem_edge.firmware_bridge.emulators import EMULATED_HANDS
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.frontends import DRIVERS, FRONT_ENDS
from myosem_edge.firmware_bridge.hands import HANDS
from myosem_edge.firmware_bridge.port import PortInfo
from tests.firmware_bridge.test_detect import front_end


def run(*arguments: object, typed: str = "") -> Result:
    result = CliRunner().invoke(main, [*map(str, arguments)], input=typed)
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Ask no more than some drivers' questions: real time passes."""

    def limit(*names: str) -> None:
        kinds = tuple(kind for kind in DRIVERS if kind.info.id in names)
        monkeypatch.setattr(module, "Detection", partial(Detection, kinds=kinds))
        monkeypatch.setattr(module, "steps", partial(steps, kinds))

    return limit


@pytest.fixture
def three_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        PortInfo("/dev/ttyACM0", "Low Energy Dongle", "2458:0001"),
        PortInfo("/dev/ttyS0", "n/a", ""),
        PortInfo("/dev/ttyUSB0", "CP2102", "10c4:ea60"),
    ]
    monkeypatch.setattr(module, "list_ports", lambda: found)
    monkeypatch.setattr(module, "state_of", lambda path: "in use by minicom (process 7)" if "ACM" in path else "free")


def test_a_list_opens_nothing_and_names_what_the_usb_id_suggests(
    three_ports: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SerialPort", lambda *arguments: pytest.fail("a port was opened"))
    _, dongle, plain, converter, _ = run("ports").output.splitlines()
    assert "minicom" in dongle and dongle.endswith("myo")
    assert plain.split() == ["/dev/ttyS0", "n/a", "free"]
    assert "10c4:ea60" in converter and "CP210x: any front end but myo, or any hand" in converter
    one, other, third = json.loads(run("ports", "--json").output)
    assert one["front_ends"] == ["myo"] and one["hands"] == [] and "minicom" in one["state"]
    assert other["usb_id"] == "" and other["chip"] == ""
    assert set(third["front_ends"]) == set(FRONT_ENDS) - {"myo"} and third["hands"] == list(HANDS)


def test_no_port_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "list_ports", list)
    assert "no serial port" in run("ports").output


def test_whoever_is_asked_first_sees_everything_that_would_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SerialPort", lambda *arguments: pytest.fail("a port was opened"))
    result = run("ports", "--ask", "/dev/ttyUSB0", typed="n\n")
    assert result.exit_code != 0 and "hand" in result.output
    for step in steps():
        assert not step.send or ascii(step.send)[1:] in result.output


def test_a_port_that_is_not_there() -> None:
    result = run("ports", "--ask", "/dev/nothing", "--yes")
    assert result.exit_code == 6 and "/dev/nothing" in result.output


@pytest.fixture
def silent_port() -> Iterator[str]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def test_a_port_that_another_program_has(silent_port: str) -> None:
    with serial.Serial(silent_port, exclusive=True):
        result = run("ports", "--ask", silent_port, "--yes")
    assert result.exit_code == 6 and "another program is using it" in result.output and "process" in result.output


def test_a_port_that_this_user_may_not_open(silent_port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise serial.SerialException(errno.EACCES, "could not open port")

    monkeypatch.setattr(serial, "Serial", refuse)
    result = run("ports", "--ask", silent_port, "--yes")
    assert result.exit_code == 6 and "may not open it" in result.output


def test_ctrl_c_leaves_the_port_free(silent_port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.select, "select", interrupted)
    assert run("ports", "--ask", silent_port, "--yes").exit_code != 0
    serial.Serial(silent_port, exclusive=True).close()


@pytest.mark.peer
def test_a_silent_port_is_unknown_and_the_error_says_what_to_try(silent_port: str, only: Callable[..., None]) -> None:
    only("myosem_wire")
    result = run("ports", "--ask", silent_port, "--yes")
    assert result.exit_code == 6
    assert "no front end was recognised" in result.output and "silence" in result.output
    assert "--front-end NAME" in result.output


@pytest.mark.peer
@pytest.mark.parametrize("name", ["freeeeg32", "myo", "spikershield"])
def test_a_front_end_on_a_port_is_found_among_all(name: str) -> None:
    with OnPty(front_end(name)) as port:
        result = CliRunner().invoke(main, ["ports", "--ask", port.port, "--yes", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["front_end"] == name and found["missing"] is None
    assert "baud" in result.stderr and "up to" in result.stderr, "whoever waits is told for what, and how long"


@pytest.mark.peer
def test_a_hand_that_repeats_what_it_is_told_is_no_front_end(only: Callable[..., None]) -> None:
    only("hackeeg")
    hand = EMULATED_HANDS["brunel"]()
    with OnPty(hand) as port:
        result = run("ports", "--ask", port.port, "--yes")
    assert result.exit_code == 6 and "Brunel" in result.output
    assert hand.closure == (0.0, 0.0, 0.0, 0.0) and hand.altered == []  # type: ignore[attr-defined]


@pytest.mark.peer
def test_auto_finds_it_says_so_and_records(tmp_path: Path, only: Callable[..., None]) -> None:
    only("cyton", "cyton_daisy", "myosem_wire")
    out = tmp_path / "found.npz"
    with OnPty(front_end("cyton")) as port:
        result = run("record", "--front-end", "auto", "--port", port.port, "--seconds", "0.5", "--out", out)
    assert result.exit_code == 0, result.output
    assert "--front-end cyton\n" in result.output and out.exists()


@pytest.mark.peer
def test_auto_does_not_guess_what_numbers_mean(tmp_path: Path, only: Callable[..., None]) -> None:
    only("csv")
    out = tmp_path / "found.npz"
    with OnPty(front_end("csv")) as port:
        result = run("record", "--front-end", "auto", "--port", port.port, "--seconds", "0.5", "--out", out)
    assert result.exit_code == 6 and "csv:channels=4" in result.output and not out.exists()


def test_auto_needs_a_port(tmp_path: Path) -> None:
    result = run("record", "--front-end", "auto", "--seconds", "1", "--out", tmp_path / "x.npz")
    assert result.exit_code == 2 and "--port" in result.output
