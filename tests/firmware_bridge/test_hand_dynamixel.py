"""A hand of Dynamixel servos: the maker's SDK drives the emulated bus."""

from __future__ import annotations

import struct
import time
from typing import Any

import pytest

from myosem_edge.firmware_bridge.emulators.dynamixel import DynamixelEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.hands.dynamixel import JOINTS, DynamixelHand, Packets
from tests.firmware_bridge.stepped_spec import SteppedSpec

PING = bytes.fromhex("FF FF FD 00 01 03 00 01 19 4E")


def crc(body: bytes) -> bytes:
    """CRC-16 of polynomial 8005, bit by bit."""
    value = 0
    for byte in body:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ (0x8005 if value & 0x8000 else 0)) & 0xFFFF
    return value.to_bytes(2, "little")


def status(number: int, position: int) -> bytes:
    body = bytes.fromhex("FF FF FD 00") + struct.pack("<BHBBi", number, 8, 0x55, 0, position)
    return body + crc(body)


class TestDynamixel(SteppedSpec):
    resolution = 0.001

    def fresh(self) -> DynamixelHand:
        return DynamixelHand()

    def emulator(self) -> DynamixelEmulator:
        return DynamixelEmulator()

    def asks(self) -> frozenset[bytes]:
        body = bytes.fromhex("FF FF FD 00 FE 17 00 82 84 00 04 00") + bytes(range(16))
        return frozenset({body + crc(body)})

    def closures(self, frame: bytes) -> list[float] | None:
        head = bytes.fromhex("FF FF FD 00 FE 57 00 83 74 00 04 00")
        if len(frame) != 94 or frame[:12] != head or crc(frame[:-2]) != frame[-2:]:
            return None
        pairs = [struct.unpack_from("<BI", frame, 12 + 5 * number) for number in range(16)]
        if any(identity != number or not 2048 <= goal <= 3072 for number, (identity, goal) in enumerate(pairs)):
            return None
        return [(goal - 2048) / 1024 for _, goal in pairs]

    def replies(self) -> list[bytes]:
        return [b"".join(status(n, 2048 + n) for n in range(16)), b"".join(status(n, 3072) for n in range(16))]


def test_a_packet_is_the_makers() -> None:
    assert Packets().packet(1, 0x01, b"") == PING


@pytest.mark.peer
@pytest.mark.timeout(60)
def test_the_makers_sdk_drives_the_emulated_bus() -> None:
    sdk: Any = pytest.importorskip("dynamixel_sdk")
    emulator = DynamixelEmulator()
    with OnPty(emulator) as device:
        port, packets = sdk.PortHandler(device.port), sdk.PacketHandler(2.0)
        assert port.openPort()
        model, result, error = packets.ping(port, 3)
        assert (model, result, error) == (1190, 0, 0)
        goals = sdk.GroupSyncWrite(port, packets, 116, 4)
        for number in range(len(JOINTS)):
            assert goals.addParam(number, list((2048 + 64 * number).to_bytes(4, "little")))
        assert goals.txPacket() == 0
        present = sdk.GroupSyncRead(port, packets, 132, 4)
        for number in range(len(JOINTS)):
            present.addParam(number)
        found: list[int] = []
        hopeless_s = time.monotonic() + 15.0
        while time.monotonic() < hopeless_s:
            assert present.txRxPacket() == 0
            found = [present.getData(number, 132, 4) for number in range(len(JOINTS))]
            if found[-1] == 2048 + 64 * 15:
                break
        port.closePort()
    assert found == [2048 + 64 * number for number in range(16)]
    assert emulator.frames_bad == 0
