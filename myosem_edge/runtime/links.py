"""A device's port that may go away and come back."""

from __future__ import annotations

import contextlib
import select
import termios
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from myosem_edge.errors import DeviceError

SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0


class Port(Protocol):
    """What a link needs of an open port; `firmware_bridge.port.SerialPort` has it."""

    @property
    def waiting_bytes(self) -> int: ...

    def fileno(self) -> int: ...

    def read_available(self) -> bytes: ...

    def write_some(self, data: bytes = b"") -> int: ...

    def close(self) -> None: ...


class Wait:
    """Time between attempts: doubles from half a second to eight."""

    def __init__(self) -> None:
        self._wait_s = SHORTEST_WAIT_S
        self._next_s: float | None = None

    def due(self, now_s: float) -> bool:
        """Whether to try now; if so, the next wait has begun, twice as long."""
        if self._next_s is None:
            self._next_s = now_s + self._wait_s
        if now_s < self._next_s:
            return False
        self._wait_s = min(LONGEST_WAIT_S, 2 * self._wait_s)
        self._next_s = now_s + self._wait_s
        return True


class Link:
    """One device's port. `open_port` opens it anew and raises DeviceError where it cannot."""

    def __init__(self, device: str, path: str, open_port: Callable[[], Port]) -> None:
        self.device, self.path = device, path
        self._open_port = open_port
        self.port: Port | None = None
        self._wait = Wait()

    def open(self) -> Port:
        """Open the port. Raises DeviceError."""
        self.port = self._open_port()
        self._wait = Wait()
        return self.port

    def reopened(self, now_s: float) -> Port | None:
        """Try to open a port that has vanished, not too often; None while it stays away."""
        # A look at the name costs microseconds, a failing attempt to open it many milliseconds.
        if not self._wait.due(now_s) or not Path(self.path).exists():
            return None
        with contextlib.suppress(DeviceError):
            return self.open()
        return None

    def read(self) -> bytes:
        """What has arrived. Raises DeviceError once when the port has vanished."""
        return b"" if self.port is None else self.port.read_available()

    def write(self, frames: Sequence[bytes], *, newest_only: bool) -> None:
        """Hand over whole frames without waiting. Raises DeviceError once when the port has vanished.

        With `newest_only`, a port that does not take them has its queue emptied first: what waited there would be old
        when it moves the hand, and so would be what waits behind it.
        """
        if self.port is None:
            return
        for frame in frames:
            self.port.write_some(frame)
        if self.port.waiting_bytes:
            if newest_only:
                self._flush()
            self.port.write_some()

    def drain(self, seconds: float) -> bool:
        """Wait a moment for the last frames to leave; whether they did."""
        if self.port is None:
            return False
        with contextlib.suppress(DeviceError, OSError, ValueError):
            if self.port.waiting_bytes and select.select((), (self.port,), (), seconds)[1]:
                self.port.write_some()
            return self.port.waiting_bytes == 0
        return False

    def close(self) -> None:
        if self.port is not None:
            self.port.close()
            self.port = None

    def _flush(self) -> None:
        assert self.port is not None
        with contextlib.suppress(OSError, termios.error):
            termios.tcflush(self.port.fileno(), termios.TCOFLUSH)
