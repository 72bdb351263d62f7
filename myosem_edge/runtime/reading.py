"""A front end read outside of the loop: to calibrate, to collect, to record. Nothing moves meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Protocol

from myosem_edge.clock import Clock
from myosem_edge.errors import DeviceError
from myosem_edge.firmware_bridge.frontends.base import Chunk, FrontEnd, Phase

TICK_S = 0.02
FIRST_SAMPLE_S = 60.0  # a scan, three attempts to connect and the armband's own start fit in half of it
HANG_UP_TICKS = 25  # half a second for the last bytes to leave


class Wire(Protocol):
    """What is needed of an open port; `SerialPort` is one."""

    @property
    def waiting_bytes(self) -> int: ...

    def read_available(self) -> bytes: ...

    def write_some(self, data: bytes = b"") -> int: ...


def read_chunks(
    front_end: FrontEnd, wire: Wire, clock: Clock, wait: Callable[[float], object], *, where: str
) -> Generator[tuple[float, list[Chunk]]]:
    """Start the front end; then the time and what has arrived, at least every `TICK_S`, until a recording is over.

    `wait(seconds)` returns when that time has passed or bytes have come. Close the iterator: that stops the device.

    Raises:
        DeviceError: the front end fails, or sends no sample.
    """
    began_s, streaming = clock.now_s(), False
    front_end.start(began_s)
    try:
        while True:
            now_s = clock.now_s()
            chunks = front_end.receive(wire.read_available(), now_s)
            front_end.tick(now_s)
            wire.write_some(front_end.to_send())
            if front_end.phase is Phase.FAILED and not front_end.finished:
                raise DeviceError(front_end.failure or "the front end failed", where=where)
            streaming = streaming or bool(chunks)
            if not streaming and now_s - began_s > FIRST_SAMPLE_S:
                raise DeviceError(
                    f"no sample came within {FIRST_SAMPLE_S:.0f} s", where=where, todo="Switch the device off and on"
                )
            yield now_s, chunks
            if front_end.finished:
                return
            wait(TICK_S)
    finally:
        with contextlib.suppress(DeviceError):  # gone already: whatever ended the reading is the news
            front_end.stop(clock.now_s())
            wire.write_some(front_end.to_send())
            for _ in range(HANG_UP_TICKS):
                if not wire.waiting_bytes:
                    break
                wait(TICK_S)
                wire.write_some()


def introduction(front_end: FrontEnd) -> str:
    """What to say when the first samples have come."""
    facts = ", ".join(f"{name} {value}" for name, value in front_end.facts.items())
    return f"Connected to the {front_end.info.name}{f' ({facts})' if facts else ''}."
