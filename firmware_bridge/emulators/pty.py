"""Put an emulated device on a pseudo-terminal, so that any program can open it as a serial port."""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
import tty
from collections.abc import Callable
from types import TracebackType

from myosem_edge.clock import Clock, MonotonicClock
from myosem_edge.firmware_bridge.emulators.base import Emulator

TICK_S = 0.002
MAX_WAITING_BYTES = 65536  # nobody reads: like a USB device, drop what no buffer can hold


class OnPty:
    """`with OnPty(emulator) as device: serial.Serial(device.port)`: the emulator runs in a thread until the block ends.

    `before_tick(now_s)` is called in that thread ahead of every tick: the place to switch what an emulated wearer does.
    """

    def __init__(
        self, emulator: Emulator, *, clock: Clock | None = None, before_tick: Callable[[float], None] | None = None
    ) -> None:
        self.emulator = emulator
        self.error: BaseException | None = None  # what stopped the thread, if anything did
        self.dropped_bytes = 0
        self._clock = clock or MonotonicClock()
        self._before_tick = before_tick
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.port = os.ttyname(self._slave)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"emulator {self.port}", daemon=True)

    def __enter__(self) -> OnPty:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()
        if self.error is not None and value is None:
            raise self.error

    def unplug(self) -> None:
        """Close both ends; whoever has the port open sees it vanish."""
        if self._done.is_set():
            return
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        for handle in (self._master, self._slave):
            with contextlib.suppress(OSError):
                os.close(handle)

    def _run(self) -> None:
        waiting = bytearray()
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._master, selectors.EVENT_READ)
                while not self._done.is_set():
                    for _ in selector.select(TICK_S):
                        with contextlib.suppress(BlockingIOError, OSError):
                            self.emulator.receive(os.read(self._master, 4096), self._clock.now_s())
                    now_s = self._clock.now_s()
                    if self._before_tick is not None:
                        self._before_tick(now_s)
                    self.emulator.tick(now_s)
                    data = self.emulator.to_send()
                    if len(waiting) + len(data) <= MAX_WAITING_BYTES:
                        waiting += data
                    else:
                        self.dropped_bytes += len(data)
                    if waiting:
                        with contextlib.suppress(BlockingIOError):
                            del waiting[: os.write(self._master, waiting)]
        except BaseException as error:  # kept for the thread that owns us: a device must not die in silence
            self.error = error
