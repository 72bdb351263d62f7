"""Sixteen emulated Dynamixel servos on one bus: ping, read, write, sync read, sync write, as the SDK speaks them.

Not emulated: operating modes, profiles, bulk and indirect access, hardware errors.
"""

from __future__ import annotations

import struct

from myosem_edge.firmware_bridge.emulators.fingers import ServoHand
from myosem_edge.firmware_bridge.hands.dynamixel import (
    ALL,
    FLEXED,
    GOAL_POSITION,
    JOINTS,
    MIDDLE,
    PRESENT_POSITION,
    READ_ALL,
    STATUS,
    WRITE_ALL,
    Packets,
)

PING, READ, WRITE = 0x01, 0x02, 0x03
MODEL, FIRMWARE = 1190, 46


class DynamixelEmulator(ServoHand):
    joints = JOINTS

    def __init__(self, *, object_width_mm: float | None = None) -> None:
        super().__init__(object_width_mm=object_width_mm)
        self._wire = Packets()
        self._incoming = bytearray()
        self.memory: dict[int, bytearray] = {number: bytearray(256) for number in range(len(JOINTS))}

    def _take(self, data: bytes) -> None:
        self._incoming += data
        for identity, instruction, body in self._wire.packets(self._incoming):
            self.frames_good += 1
            if instruction in (READ_ALL, WRITE_ALL) and identity == ALL and len(body) >= 4:
                self._all(instruction, body)
            elif identity in self.memory and instruction in (PING, READ, WRITE):
                self._one(identity, instruction, body)
        self.frames_bad = self._wire.rejected

    def _all(self, instruction: int, body: bytes) -> None:
        address, length = struct.unpack_from("<HH", body)
        rest = body[4:]
        if instruction == READ_ALL:
            for number in rest:
                if number in self.memory:
                    self._answer(number, self._read(number, address, length))
            return
        for at in range(0, len(rest) - length, length + 1):
            if rest[at] in self.memory:
                self._write(rest[at], address, rest[at + 1 : at + 1 + length])

    def _one(self, number: int, instruction: int, body: bytes) -> None:
        if instruction == PING:
            self._answer(number, struct.pack("<HB", MODEL, FIRMWARE))
        elif instruction == READ and len(body) == 4:
            self._answer(number, self._read(number, *struct.unpack("<HH", body)))
        elif instruction == WRITE and len(body) > 2:
            self._write(number, int.from_bytes(body[:2], "little"), body[2:])
            self._answer(number, b"")

    def _read(self, number: int, address: int, length: int) -> bytes:
        position = MIDDLE + round(self.servos[number].at * FLEXED)
        self.memory[number][PRESENT_POSITION : PRESENT_POSITION + 4] = struct.pack("<i", position)
        return bytes(self.memory[number][address : address + length]).ljust(length, b"\x00")

    def _write(self, number: int, address: int, data: bytes) -> None:
        if address + len(data) > len(self.memory[number]):
            return
        self.memory[number][address : address + len(data)] = data
        if address <= GOAL_POSITION < address + len(data):
            goal = struct.unpack_from("<i", self.memory[number], GOAL_POSITION)[0]
            self.servos[number].target = min(max((goal - MIDDLE) / FLEXED, 0.0), 1.0)

    def _answer(self, number: int, data: bytes) -> None:
        self._outgoing += self._wire.packet(number, STATUS, b"\x00" + data)
