"""Our RoHand driver drives a Modbus device that we did not write: pymodbus' own server at the other end of a cable."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import threading
import time
import tty
from collections.abc import Iterator
from typing import Any

import pytest

from myosem_edge.firmware_bridge.hands.rohand import ACTUAL, TARGET, RoHand
from myosem_edge.firmware_bridge.port import SerialPort

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]

NODE, REGISTERS = 2, 3000
HOPELESS_S = 30.0


@contextlib.contextmanager
def cable() -> Iterator[tuple[str, str]]:
    """Two serial ports joined to each other."""
    ends = [os.openpty() for _ in range(2)]
    for _, slave in ends:
        tty.setraw(slave)
    masters, over = [master for master, _ in ends], threading.Event()

    def carry() -> None:
        while not over.is_set():
            for ready in select.select(masters, (), (), 0.02)[0]:
                os.write(masters[1 - masters.index(ready)], os.read(ready, 4096))

    carrier = threading.Thread(target=carry)
    carrier.start()
    yield os.ttyname(ends[0][1]), os.ttyname(ends[1][1])
    over.set()
    carrier.join()
    for end in ends:
        for handle in end:
            os.close(handle)


@contextlib.contextmanager
def served(port: str) -> Iterator[list[list[int]]]:
    """A server of holding registers, in which what is written as a target is at once where the hand is."""
    simulator = pytest.importorskip("pymodbus.simulator")
    server_module = pytest.importorskip("pymodbus.server")
    written: list[list[int]] = []

    async def act(code: int, start: int, address: int, count: int, registers: list[int], values: Any) -> None:
        if values is not None:
            written.append(list(values))
            for at, value in enumerate(values):
                registers[address + ACTUAL - TARGET - start + at] = value

    data = simulator.SimData(0, values=[0] * REGISTERS, datatype=simulator.DataType.REGISTERS)
    device = simulator.SimDevice(id=NODE, simdata=[data], action=act)
    loop = asyncio.new_event_loop()
    servers: list[Any] = []
    ready = threading.Event()

    async def serve() -> None:
        server = server_module.ModbusSerialServer(
            device, port=port, baudrate=RoHand.info.baud, trace_connect=lambda connected: ready.set()
        )
        servers.append(server)
        await servers[0].serve_forever()

    def run() -> None:
        asyncio.set_event_loop(loop)
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(serve())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(HOPELESS_S)
    yield written
    asyncio.run_coroutine_threadsafe(servers[0].shutdown(), loop).result(10)
    thread.join(10)


def test_our_driver_closes_and_opens_a_device_of_pymodbus() -> None:
    with cable() as (theirs, ours), served(theirs) as written, SerialPort(ours, RoHand.info.baud) as port:
        hand = RoHand(NODE)
        reports: list[float] = []

        def exchange(frame: bytes, answers: int) -> None:
            """Send one request and wait for its answer, as Modbus wants it."""
            port.write_some(frame)
            hopeless_s = time.monotonic() + HOPELESS_S
            heard = b""
            while len(heard) < answers:
                assert time.monotonic() < hopeless_s, heard.hex(" ")
                select.select((port,), (), (), 0.05)
                data = port.read_available()
                heard += data
                for feedback in hand.receive(data, time.monotonic()):
                    reports.append(max(feedback.position_deg.values()))

        exchange(hand.poll(), 17)
        assert reports == [0.0]
        for name, steps in (("power", 25), ("open", 25)):
            for _ in range(steps):
                exchange(hand.grip(name, 1.0, 0.5), 8)
                exchange(hand.poll(), 17)
        assert max(reports) == 90.0 and reports[-1] == 0.0
        assert hand.frames_bad == 0
        assert len(written) == 50 and all(len(values) == 6 for values in written)
