"""An emulated Inspire RH56: reads and writes of the registers that a driver uses; -1 leaves a finger as it is.

Not emulated: force control, errors, saving, the tactile models' Modbus TCP.
"""

from __future__ import annotations

import struct

from myosem_edge.firmware_bridge.emulators.fingers import ServoHand
from myosem_edge.firmware_bridge.hands.inspire import (
    ANGLE_ACTUAL,
    ANGLE_SET,
    HEAD,
    JOINTS,
    OPEN,
    READ,
    REPLY_HEAD,
    WRITE,
)

FORCE_ACTUAL, STATUS = 1582, 1612


class InspireEmulator(ServoHand):
    joints = JOINTS

    def __init__(self, *, hand_id: int = 1, object_width_mm: float | None = None) -> None:
        super().__init__(object_width_mm=object_width_mm)
        self.hand_id = hand_id
        self._incoming = bytearray()

    def _take(self, data: bytes) -> None:
        self._incoming += data
        while (at := self._incoming.find(HEAD)) >= 0:
            del self._incoming[:at]
            if len(self._incoming) < 4 or len(self._incoming) < 5 + self._incoming[3]:
                return
            length = 5 + self._incoming[3]
            body, check = bytes(self._incoming[2 : length - 1]), self._incoming[length - 1]
            if sum(body) & 0xFF != check or length < 8:
                self.frames_bad += 1
                del self._incoming[0]
                continue
            del self._incoming[:length]
            if body[0] == self.hand_id:
                command, register = struct.unpack_from("<BH", body, 2)
                self._obey(command, register, body[5:])
        del self._incoming[: max(0, len(self._incoming) - 1)]

    def _obey(self, command: int, register: int, data: bytes) -> None:
        self.frames_good += 1
        if command == WRITE and register == ANGLE_SET and len(data) == 12:
            for servo, angle in zip(self.servos, struct.unpack("<6h", data), strict=True):
                if 0 <= angle <= OPEN:
                    servo.target = 1 - angle / OPEN
            self._answer(command, register, b"\x01")
        elif command == READ and len(data) == 1:
            self._answer(command, register, self._value(register)[: data[0]])

    def _value(self, register: int) -> bytes:
        if register == ANGLE_ACTUAL:
            return struct.pack("<6h", *(round(OPEN * (1 - at)) for at in self.closure))
        if register == FORCE_ACTUAL:
            return struct.pack("<6h", *(round(servo.force_n * 102) for servo in self.servos))  # grams
        if register == STATUS:
            return bytes(6 if s.stalled else 2 if not s.moving else int(s.target > s.at) for s in self.servos)
        return bytes(12)

    def _answer(self, command: int, register: int, data: bytes) -> None:
        body = struct.pack("<BBBH", self.hand_id, 3 + len(data), command, register) + data
        self._outgoing += REPLY_HEAD + body + bytes((sum(body) & 0xFF,))
