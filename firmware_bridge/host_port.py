"""What the ports of front ends have in common whose samples come from this machine: they look like a serial port."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from types import TracebackType

from myosem_edge.firmware_bridge.frontends.hosted import START


class HostPort(ABC):
    """Nothing ever waits to be written, and nothing wakes a selector up: whoever reads looks every 20 ms anyway."""

    waiting_bytes = 0

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __enter__(self) -> HostPort:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def start(self) -> None:
        """Samples are wanted from now on; also while they flow."""

    @abstractmethod
    def stop(self) -> None:
        """No more samples are wanted."""

    @abstractmethod
    def read_available(self) -> bytes:
        """Chunks as `chunk_stream` has them, possibly none. Raises DeviceError when there will be no more."""

    def fileno(self) -> int:
        return self._fd

    def write_some(self, data: bytes = b"") -> int:
        for byte in data:
            if byte == START[0]:
                self.start()
            else:
                self.stop()
        return len(data)

    def close(self) -> None:
        self.stop()
        with contextlib.suppress(OSError):
            os.close(self._fd)
