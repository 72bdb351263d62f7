"""The serial port of the loop: never blocks, explains itself, and says once that a device is gone."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import select
import socket
import threading
import tty
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import serial

from myosem_edge.clock import VirtualClock
from myosem_edge.errors import DeviceError
from myosem_edge.firmware_bridge import port as port_module
from myosem_edge.firmware_bridge.emulators.base import Emulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.port import MAX_WAITING_BYTES, PortInfo, SerialPort, list_ports, state_of


class Wire:
    """A pseudo-terminal: `path` is the serial port, `device` the file handle on the device's side."""

    def __init__(self) -> None:
        self.device, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)

    def read(self) -> bytes:
        """What arrives at the device, at least one byte."""
        assert select.select([self.device], [], [], 20)[0], "nothing arrives at the device"
        return os.read(self.device, 65536)

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


def receive(port: SerialPort, count: int) -> bytes:
    """Read until so many bytes have come: the system carries them over in its own time."""
    received = b""
    while len(received) < count:
        assert select.select([port], [], [], 20)[0], f"only {len(received)} of {count} bytes arrive"
        received += port.read_available()
    return received


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
        assert receive(port, 256) == every_byte
        assert port.write_some(every_byte) == 256
        received = b""
        while len(received) < 256:
            received += wire.read()
        assert received == every_byte
        assert os.get_blocking(port.fileno()) is False


def test_long_stream_passes_whole(wire: Wire) -> None:
    os.set_blocking(wire.device, False)
    sent = b"".join(bytes([n]) * 1000 for n in range(40))
    rest, received = sent, b""
    with SerialPort(wire.path, 115200) as port:
        while len(received) < len(sent):
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(wire.device, rest) :] if rest else rest
            received += receive(port, 1)
        assert received == sent
        assert port.read_available() == b""


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
            received += wire.read()
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
            received += wire.read()
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
        taken.clear()
        room[0] = 0
        port.write_some(b"c" * MAX_WAITING_BYTES)
        port.write_some(b"newest")  # nothing of the message before is on the wire: it may go
        room[0] = 10**6
        port.write_some()
        assert b"".join(taken) == b"newest"


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
    monkeypatch.setattr(port_module.pyserial_ports, "comports", list)
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


@pytest.mark.parametrize(
    ("group", "advice"), [("dialout", "usermod -aG dialout"), ("root", "udev rule"), (None, "admin")]
)
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


def test_the_baud_rate_changes_without_closing_the_port(wire: Wire) -> None:
    with SerialPort(wire.path, 115200) as port:
        handle = port.fileno()
        for baud in (230400, 9600, 921600):
            port.set_baud(baud)
            assert (port.baud, port.fileno()) == (baud, handle)
        port.write_some(b"still here")
        assert wire.read() == b"still here"
        with pytest.raises(DeviceError, match="does not accept"):
            port.set_baud(-1)


def test_whether_a_port_could_be_opened_is_told_without_opening_it(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    wire_of_ours = f"(process {os.getpid()})"
    assert wire_of_ours in state_of(wire.path)
    assert state_of("/dev/nothing") == "No such file or directory"
    monkeypatch.setattr(port_module, "_holders", lambda path: [])
    assert state_of(wire.path) == "free"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert state_of(wire.path) == "no permission"


class Talker(Emulator):
    """Says `words` at every tick, and fails at tick number `fails_at`."""

    def __init__(self, words: bytes = b"", fails_at: int | None = None) -> None:
        super().__init__()
        self.words, self.fails_at, self.heard = words, fails_at, bytearray()
        self.ticks: list[float] = []
        self.was_spoken_to = threading.Event()

    def receive(self, data: bytes, now_s: float) -> None:
        self.heard += data
        self.was_spoken_to.set()

    def status(self) -> str:
        return f"{len(self.ticks)} ticks"

    def tick(self, now_s: float) -> None:
        self.ticks.append(now_s)
        if len(self.ticks) == self.fails_at:
            raise RuntimeError("a finger fell off")
        self._outgoing += self.words


class Ticks:
    """Lets a test wait until an emulator's thread has ticked so many times."""

    def __init__(self, count: int) -> None:
        self.times: list[float] = []
        self._count, self._reached = count, threading.Event()

    def __call__(self, now_s: float) -> None:
        self.times.append(now_s)
        if len(self.times) > self._count:
            self._reached.set()

    def wait(self) -> None:
        assert self._reached.wait(20), "the emulator's thread does not tick"


def test_emulator_on_a_pseudo_terminal_lives_by_the_clock_it_is_given() -> None:
    emulator, ticks = Talker(), Ticks(3)
    with (
        OnPty(emulator, clock=VirtualClock(77.0), before_tick=ticks) as device,
        SerialPort(device.port, 115200) as port,
    ):
        port.write_some(b"hello")
        assert emulator.was_spoken_to.wait(20)
        ticks.wait()
    assert set(emulator.ticks) == set(ticks.times) == {77.0}
    assert emulator.heard == b"hello"


def test_emulator_that_fails_does_not_die_in_silence() -> None:
    ticks = Ticks(1)
    with pytest.raises(RuntimeError, match="a finger fell off"), OnPty(Talker(fails_at=2), before_tick=ticks):
        ticks.wait()


def test_emulator_that_fails_does_not_hide_the_error_of_the_block() -> None:
    ticks = Ticks(1)
    with pytest.raises(KeyError), OnPty(Talker(fails_at=2), before_tick=ticks):
        ticks.wait()
        raise KeyError


def test_emulator_that_nobody_reads_drops_what_is_newest() -> None:
    ticks = Ticks(20)
    emulator = Talker(words=bytes(50_000))
    with OnPty(emulator, before_tick=ticks) as device:
        ticks.wait()
    assert 0 < device.dropped_bytes < 50_000 * len(emulator.ticks)


def test_unplugged_emulator_vanishes_for_whoever_has_it_open() -> None:
    with OnPty(Talker()) as device:
        port = SerialPort(device.port, 115200)
        device.unplug()
        device.unplug()
        with pytest.raises(DeviceError, match="vanished"):
            port.read_available()
