"""A serial port for the loop: it never blocks, nobody else may have it, and every failure is explained.

Drivers are machines of bytes and time; this is the one place that touches a port.
"""

from __future__ import annotations

import difflib
import errno
import grp
import os
import stat
import termios
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import serial
from serial.tools import list_ports as pyserial_ports

from myosem_edge.errors import DeviceError

READ_BYTES = 4096  # what a tty hands out at once
MAX_WAITING_BYTES = 4096  # 0.35 s at 115200 baud: older commands than that are worse than none


@dataclass(frozen=True)
class PortInfo:
    """A serial port that exists. `usb_id` is "2458:0001" for a BLED112; empty for what is not USB."""

    path: str
    description: str
    usb_id: str


def list_ports() -> list[PortInfo]:
    """The serial ports of this machine, by path."""
    ports = []
    for port in sorted(pyserial_ports.comports(), key=lambda each: each.device):
        usb_id = f"{port.vid:04x}:{port.pid:04x}" if port.vid is not None and port.pid is not None else ""
        ports.append(PortInfo(port.device, port.description or "", usb_id))
    return ports


def state_of(path: str) -> str:
    """Whether this user could open it now, in words and without opening it. Programs of other users are not seen."""
    try:
        Path(path).stat()
    except OSError as error:
        return error.strerror or "not there"
    if not os.access(path, os.R_OK | os.W_OK):
        return "no permission"
    holders = ", ".join(_holders(path))
    return f"in use by {holders}" if holders else "free"


class SerialPort:
    """An open serial port, 8N1, without flow control.

    Raises:
        DeviceError: there is no such port, it is not a serial port, this user may not open it, or another program has
            it. Later, from `read_available` and `write_some`: the device has vanished. That is said once; afterwards
            `vanished` is true, reads are empty and writes go nowhere.
    """

    def __init__(self, path: str | Path, baud: int) -> None:
        self.path = str(path)
        self.vanished = False
        self.overflows = 0  # times that waiting messages were given up to make room for a newer one
        self.dropped_bytes = 0
        self._waiting: deque[memoryview] = deque()
        self._head_begun = False  # part of the first waiting message is on the wire: the rest has to follow
        _check_path(self.path)
        try:
            self._serial = serial.Serial(self.path, baud, timeout=0, write_timeout=0, exclusive=True)
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise _explain(self.path, baud, error) from error

    def __enter__(self) -> SerialPort:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def baud(self) -> int:
        return int(self._serial.baudrate)

    def set_baud(self, baud: int) -> None:
        """Go on at another rate, without the restart of a board that opening its port again can cause.

        Raises:
            DeviceError: the port does not accept it, or has vanished.
        """
        if self.vanished or baud == self.baud:
            return
        try:
            self._serial.baudrate = baud
        except (OSError, ValueError, termios.error) as error:
            raise _explain(self.path, baud, error) from error

    def fileno(self) -> int:
        return int(self._serial.fileno())

    @property
    def waiting_bytes(self) -> int:
        """Bytes that were handed to `write_some` and that the port has not taken yet."""
        return sum(len(message) for message in self._waiting)

    def read_available(self) -> bytes:
        """What has arrived, possibly nothing, at most `READ_BYTES`: a device gone mad cannot hold up the loop."""
        if self.vanished:
            return b""
        try:
            return bytes(self._serial.read(READ_BYTES))
        except OSError as error:
            raise self._vanish(error) from error

    def write_some(self, data: bytes = b"") -> int:
        """Send `data` after what is still waiting, as far as the port takes it now; returns how many bytes it took.

        Call it with one whole message, or with nothing to push what is waiting. When more than `MAX_WAITING_BYTES`
        would wait, messages that were not begun are given up, oldest first, and `overflows` says so: the newest
        command must not queue up behind stale ones.
        """
        if self.vanished:
            return 0
        if data:
            self._make_room(len(data))
            self._waiting.append(memoryview(bytes(data)))
        taken = 0
        while self._waiting:
            try:
                # Not pyserial's write: with a full port and no time-out it spins until there is room.
                count = os.write(self.fileno(), self._waiting[0])
            except BlockingIOError:
                break
            except OSError as error:
                raise self._vanish(error) from error
            taken += count
            if count < len(self._waiting[0]):
                self._waiting[0] = self._waiting[0][count:]
                self._head_begun = self._head_begun or count > 0
                break
            self._waiting.popleft()
            self._head_begun = False
        return taken

    def close(self) -> None:
        self._waiting.clear()
        self._head_begun = False
        self._serial.close()

    def _make_room(self, length: int) -> None:
        begun = 1 if self._head_begun else 0
        if len(self._waiting) <= begun or self.waiting_bytes + length <= MAX_WAITING_BYTES:
            return
        self.overflows += 1
        while len(self._waiting) > begun and self.waiting_bytes + length > MAX_WAITING_BYTES:
            self.dropped_bytes += len(self._waiting[begun])
            del self._waiting[begun]

    def _vanish(self, error: Exception) -> DeviceError:
        self.vanished = True
        self.close()
        return DeviceError(
            "the device has vanished", where=self.path, found=str(error), todo="Check the cable, plug it in again"
        )


def _check_path(path: str) -> None:
    """Refuse what is plainly not a serial port before pyserial does something to it."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        raise _no_such_port(path) from None
    except NotADirectoryError:
        raise _no_such_port(path) from None
    except OSError as error:
        raise DeviceError(f"cannot be looked at: {error.strerror}", where=path) from error
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFREG: "an ordinary file",
        stat.S_IFBLK: "a disk",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    if (kind := kinds.get(stat.S_IFMT(mode))) is not None:
        raise DeviceError("is not a serial port", where=path, found=kind, todo=_ports_that_exist(path))


def _explain(path: str, baud: int, error: Exception) -> DeviceError:
    """What pyserial could not do, and what to do about it."""
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        return _no_such_port(path)
    if number in (errno.EACCES, errno.EPERM):
        return DeviceError("this user may not open it", where=path, todo=_how_to_be_allowed(path))
    if number in (errno.EAGAIN, errno.EBUSY):
        holders = ", ".join(_holders(path))
        return DeviceError(
            "another program is using it",
            where=path,
            found=holders or None,
            todo="Close it; if none is known, ModemManager or brltty may be trying the port",
        )
    if isinstance(error, ValueError):
        return DeviceError("does not accept these settings", where=path, found=str(error), expected=f"{baud} baud")
    if number in (errno.ENXIO, errno.ENODEV, errno.EIO):
        return DeviceError("there is no device behind it", where=path, todo=_ports_that_exist(path))
    return DeviceError("is not a usable serial port", where=path, found=str(error), todo=_ports_that_exist(path))


def _no_such_port(path: str) -> DeviceError:
    return DeviceError("no such port", where=path, todo=_ports_that_exist(path))


def _ports_that_exist(path: str) -> str:
    paths = [port.path for port in list_ports()]
    if not paths:
        return "No serial port exists on this machine: plug the device in"
    near = difflib.get_close_matches(path, paths, n=1)
    question = f"Did you mean {near[0]}? " if near else ""
    return f"{question}Ports that exist: {', '.join(paths)}"


def _how_to_be_allowed(path: str) -> str:
    try:
        group = grp.getgrgid(Path(path).stat().st_gid).gr_name
    except (OSError, KeyError):
        return "Ask the administrator for access"
    if group == "root":
        return "It belongs to root alone: add a udev rule that gives it to the group dialout"
    return f"Join the group that owns it (sudo usermod -aG {group} $USER), then log in again"


def _holders(path: str) -> list[str]:
    """Programs that have `path` open, as far as this user may see them: "name (process 123)"."""
    device = os.path.realpath(path)
    found = []
    for folder in sorted(Path("/proc").glob("[0-9]*")):
        try:
            if any(os.path.realpath(link) == device for link in (folder / "fd").iterdir()):
                found.append(f"{(folder / 'comm').read_text().strip()} (process {folder.name})")
        except OSError:
            continue  # it ended meanwhile, or it is not ours to look into
    return found
