"""The RoHand over Modbus RTU: pymodbus' client drives the emulated hand, our driver reads pymodbus' own frames."""

from __future__ import annotations

import struct
import time

import pytest

from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.rohand import RoHandEmulator
from myosem_edge.firmware_bridge.hands.rohand import RoHand
from tests.firmware_bridge.stepped_spec import SteppedSpec

CLOSE_FOUR = bytes.fromhex("02 10 04 6F 00 06 0C 00 00 FF FF FF FF FF FF FF FF 00 00 51 BD")
ASK = bytes.fromhex("02 03 04 79 00 06 15 12")


def crc(body: bytes) -> bytes:
    """CRC-16 of Modbus, bit by bit: the specification's own recipe."""
    value = 0xFFFF
    for byte in body:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value.to_bytes(2, "little")


def reply(*positions: int) -> bytes:
    body = bytes((2, 3, 12)) + struct.pack(">6H", *positions)
    return body + crc(body)


class TestRoHand(SteppedSpec):
    resolution = 0.001

    def fresh(self) -> RoHand:
        return RoHand()

    def emulator(self) -> RoHandEmulator:
        return RoHandEmulator()

    def asks(self) -> frozenset[bytes]:
        return frozenset({ASK})

    def closures(self, frame: bytes) -> list[float] | None:
        if len(frame) != 21 or frame[:7] != CLOSE_FOUR[:7] or crc(frame[:-2]) != frame[-2:]:
            return None
        return [value / 65535 for value in struct.unpack(">6H", frame[7:19])]

    def replies(self) -> list[bytes]:
        return [reply(0, 65535, 1, 2, 3, 4), reply(0, 0, 0, 0, 0, 0)]


def test_frames_are_the_makers() -> None:
    hand = RoHand()
    assert hand.positions([0.0, 1.0, 1.0, 1.0, 1.0, 0.0]) == CLOSE_FOUR
    assert hand.poll() == ASK


def test_answers_without_positions_are_passed_over() -> None:
    hand = RoHand()
    exception, written = bytes((2, 0x83, 2)), bytes((2, 16, 4, 0x6F, 0, 6))
    stream = exception + crc(exception) + written + crc(written) + reply(1, 2, 3, 4, 5, 6)
    assert len(hand.receive(stream, 1.0)) == 1
    assert hand.frames_bad == 0


@pytest.mark.peer
@pytest.mark.timeout(30)
def test_pymodbus_client_drives_the_emulated_hand() -> None:
    client_module = pytest.importorskip("pymodbus.client")
    emulator = RoHandEmulator(object_width_mm=None)
    with OnPty(emulator) as device:
        client = client_module.ModbusSerialClient(device.port, baudrate=115200, timeout=3)
        assert client.connect()
        assert not client.write_registers(1135, [0, 65535, 0, 0, 0, 0], device_id=2).isError()
        position: list[int] = []
        hopeless_s = time.monotonic() + 15.0
        while time.monotonic() < hopeless_s:
            position = client.read_holding_registers(1145, count=6, device_id=2).registers
            if position[1] == 65535:
                break
        refused = client.read_holding_registers(4000, count=1, device_id=2)
        client.close()
    assert position == [0, 65535, 0, 0, 0, 0]
    assert refused.isError() and refused.exception_code == 2
