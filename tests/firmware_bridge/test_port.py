"""The serial port of the loop: never blocks, explains itself, and says once that a device is gone."""

from __future__ import annotations

import errno
import grp
import os
import socket
import tty
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import serial

from myosem_edge.errors import DeviceError
from myosem_edge.firmware_bridge import port as port_module
from myosem_edge.firmware_bridge.port import MAX_WAITING_BYTES, PortInfo, SerialPort, list_ports


class Wire:
    """A pseudo-terminal: `path` is the serial port, `device` the file handle on the device's side."""

    def __init__(self) -> None:
        self.device, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.device, False)
        self.path = os.ttyname(self._slave)

    def unplug(self) -> None:
        for handle in (self.device, self._slave):
            if handle >= 0:
                os.close(handle)
        self.device = self._slave = -1


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.unplug()


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two serial ports, whatever this one has."""
    found = [
        SimpleNamespace(device="/dev/ttyUSB0", description="FT232R", vid=0x0403, pid=0x6001),
        SimpleNamespace(device="/dev/ttyACM0", description="Low Energy Dongle", vid=0x2458, pid=0x0001),
        SimpleNamespace(device="/dev/ttyS0", description="n/a", vid=None, pid=None),
    ]
    monkeypatch.setattr(port_module.pyserial_ports, "comports", lambda: found)


def fill(port: SerialPort) -> None:
    """Write until the operating system takes no more."""
    for _ in range(10_000):
        port.write_some(b"x" * 64)
        if port.waiting_bytes:
            return
    raise AssertionError("the port never filled up")


def test_carries_every_byte_both_ways(wire: Wire) -> None:
    every_byte = bytes(range(256))
    with SerialPort(wire.path, 115200) as port:
        assert port.read_available() == b""
        os.write(wire.device, every_byte)
        assert port.read_available() == every_byte
        assert port.write_some(every_byte) == 256
        assert os.read(wire.device, 1000) == every_byte
        assert os.get_blocking(port.fileno()) is False


def test_one_read_takes_everything_that_waits(wire: Wire) -> None:
    with SerialPort(wire.path, 115200) as port:
        sent = b"".join(bytes([n]) * 100 for n in range(30))
        assert os.write(wire.device, sent) == len(sent)
        assert port.read_available() == sent


def test_second_program_is_told_who_has_the_port(wire: Wire) -> None:
    with SerialPort(wire.path, 115200):
        with pytest.raises(DeviceError, match="another program is using it") as caught:
            SerialPort(wire.path, 115200)
        assert f"(process {os.getpid()})" in str(caught.value)
        assert "ModemManager" in str(caught.value)
    SerialPort(wire.path, 115200).close()  # and free again after closing


def test_full_port_keeps_the_rest_in_order_and_never_blocks(wire: Wire) -> None:
    with SerialPort(wire.path, 115200) as port:
        sent = bytearray()
        number = 0
        while not port.waiting_bytes:
            message = number.to_bytes(4, "big") * 16
            port.write_some(message)
            sent += message
            number += 1
        received = bytearray()
        while port.waiting_bytes or len(received) < len(sent):
            received += os.read(wire.device, 4096)
            port.write_some()
        assert received == sent
        assert (port.overflows, port.dropped_bytes) == (0, 0)


def test_overflow_gives_up_stale_messages_and_says_so(wire: Wire) -> None:
    with SerialPort(wire.path, 115200) as port:
        fill(port)
        stale = [bytes([n]) * 512 for n in range(1, 12)]  # more than fits
        for message in stale:
            port.write_some(message)
        port.write_some(b"newest")
        assert port.overflows >= 1
        assert port.dropped_bytes >= 11 * 512 - MAX_WAITING_BYTES
        assert port.dropped_bytes % 512 in (0, 64)  # whole messages only
        assert port.waiting_bytes <= MAX_WAITING_BYTES
        received = bytearray()
        while port.waiting_bytes or not received.endswith(b"newest"):
            received += os.read(wire.device, 4096)
            port.write_some()
        kept = [message for message in stale if message in received]
        assert kept == stale[-len(kept) :]  # what survived are the youngest
        assert len(received.lstrip(b"x")) == len(kept) * 512 + len(b"newest")


def test_begun_message_is_never_cut_short(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bytes] = []
    room = [3]

    def write(handle: int, data: bytes) -> int:
        count = min(room[0], len(data))
        if not count:
            raise BlockingIOError(errno.EAGAIN, "full")
        taken.append(bytes(data[:count]))
        room[0] -= count
        return count

    with SerialPort(wire.path, 115200) as port:
        monkeypatch.setattr(port_module.os, "write", write)
        assert port.write_some(b"first message") == 3
        port.write_some(b"a" * (MAX_WAITING_BYTES - 20))
        port.write_some(b"b" * (MAX_WAITING_BYTES - 20))
        assert (port.overflows, port.dropped_bytes) == (1, MAX_WAITING_BYTES - 20)
        room[0] = 10**6
        port.write_some()
        assert b"".join(taken) == b"first message" + b"b" * (MAX_WAITING_BYTES - 20)


def test_vanished_device_is_said_once(wire: Wire) -> None:
    port = SerialPort(wire.path, 115200)
    wire.unplug()
    with pytest.raises(DeviceError, match="vanished") as caught:
        port.read_available()
    assert "cable" in str(caught.value)
    assert port.vanished
    assert port.read_available() == b""
    assert port.write_some(b"anything") == 0
    port.close()


def test_vanished_device_is_noticed_by_writing_too(wire: Wire) -> None:
    port = SerialPort(wire.path, 115200)
    wire.unplug()
    with pytest.raises(DeviceError, match="vanished"):
        port.write_some(b"grip")
    assert port.write_some(b"grip") == 0
    assert port.waiting_bytes == 0


def test_missing_port_names_the_ports_that_exist(ports: None) -> None:
    with pytest.raises(DeviceError, match="no such port") as caught:
        SerialPort("/dev/ttyUSB7", 115200)
    text = str(caught.value)
    assert "Did you mean /dev/ttyUSB0?" in text
    assert "/dev/ttyACM0, /dev/ttyS0, /dev/ttyUSB0" in text


def test_missing_port_on_a_machine_without_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_module.pyserial_ports, "comports", lambda: [])
    with pytest.raises(DeviceError, match="No serial port exists on this machine"):
        SerialPort("/dev/ttyUSB7/deeper", 115200)


@pytest.mark.parametrize("kind", ["a folder", "an ordinary file", "a pipe", "a socket"])
def test_what_is_not_a_port_is_named(kind: str, tmp_path: Path, ports: None) -> None:
    path = tmp_path / "thing"
    if kind == "a folder":
        path.mkdir()
    elif kind == "an ordinary file":
        path.write_bytes(b"precious")
    elif kind == "a pipe":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    with pytest.raises(DeviceError, match=f"not a serial port .found {kind}"):
        SerialPort(path, 115200)
    if kind == "an ordinary file":
        assert path.read_bytes() == b"precious"


def test_device_that_is_no_terminal() -> None:
    with pytest.raises(DeviceError, match="not a usable serial port"):
        SerialPort("/dev/null", 115200)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (serial.SerialException(errno.ENOENT, "gone since"), "no such port"),
        (serial.SerialException(errno.EIO, "I/O error"), "no device behind it"),
        (serial.SerialException(errno.ENXIO, "no such device"), "no device behind it"),
        (serial.SerialException(errno.EBUSY, "busy"), "another program is using it"),
        (ValueError("Failed to set custom baud rate (12345)"), "does not accept these settings .*expected 12345 baud"),
    ],
)
def test_every_refusal_of_the_system_is_explained(
    error: Exception, sentence: str, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(port_module.serial, "Serial", refuse)
    with pytest.raises(DeviceError, match=sentence):
        SerialPort(wire.path, 12345)


@pytest.mark.parametrize(("group", "advice"), [("dialout", "usermod -aG dialout"), ("root", "udev rule"), (None, "admin")])
def test_missing_permission_says_which_group(
    group: str | None, advice: str, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise serial.SerialException(errno.EACCES, "Permission denied")

    def name(number: int) -> SimpleNamespace:
        if group is None:
            raise KeyError(number)
        return SimpleNamespace(gr_name=group)

    monkeypatch.setattr(port_module.serial, "Serial", refuse)
    monkeypatch.setattr(grp, "getgrgid", name)
    with pytest.raises(DeviceError, match="may not open it") as caught:
        SerialPort(wire.path, 115200)
    assert advice in str(caught.value)


def test_ports_are_listed_with_their_usb_ids(ports: None) -> None:
    assert list_ports() == [
        PortInfo("/dev/ttyACM0", "Low Energy Dongle", "2458:0001"),
        PortInfo("/dev/ttyS0", "n/a", ""),
        PortInfo("/dev/ttyUSB0", "FT232R", "0403:6001"),
    ]
