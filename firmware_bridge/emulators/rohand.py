"""An emulated RoHand: the registers that a driver and a Modbus client use, and the exceptions of the others.

Not emulated: self-test, calibration, angles, per-motor protection settings.
"""

from __future__ import annotations

import struct

from myosem_edge.firmware_bridge.emulators.fingers import ServoHand
from myosem_edge.firmware_bridge.hands.rohand import ACTUAL, FULL, JOINTS, READ, TARGET, WRITE, Modbus

STATUS, FORCE = 1085, 1120
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
OPENING, CLOSING, REACHED, FORCE_REACHED = 0, 1, 2, 4


class RoHandEmulator(ServoHand):
    joints = JOINTS

    def __init__(self, *, node: int = 2, object_width_mm: float | None = None) -> None:
        super().__init__(object_width_mm=object_width_mm)
        self.node = node
        self._modbus = Modbus(node)
        self._incoming = bytearray()

    def _take(self, data: bytes) -> None:
        buffer = self._incoming
        buffer += data
        while len(buffer) >= 8:
            length = 9 + buffer[6] if buffer[1] == WRITE else 8
            if buffer[0] != self.node or length > 256:
                del buffer[0]
                continue
            if len(buffer) < length:
                return
            frame = bytes(buffer[:length])
            if not self._modbus.holds(frame):
                self.frames_bad += 1
                del buffer[0]
                continue
            del buffer[:length]
            self.frames_good += 1
            function, address, count = struct.unpack_from(">BHH", frame, 1)
            self._answer(function, address, count, frame[7:-2])

    def _answer(self, function: int, address: int, count: int, data: bytes) -> None:
        if function == READ and 1 <= count <= 125:
            values = [self._register(address + i) for i in range(count)]
            if None in values:
                return self._send(bytes((function | 0x80, ILLEGAL_ADDRESS)))
            return self._send(struct.pack(f">BB{count}H", function, 2 * count, *(value or 0 for value in values)))
        if function != WRITE:
            return self._send(bytes((function | 0x80, ILLEGAL_FUNCTION)))
        if len(data) != 2 * count:
            return self._send(bytes((function | 0x80, ILLEGAL_VALUE)))
        if not TARGET <= address <= address + count <= TARGET + len(JOINTS):
            return self._send(bytes((function | 0x80, ILLEGAL_ADDRESS)))
        for i, value in enumerate(struct.unpack(f">{count}H", data)):
            self.servos[address - TARGET + i].target = value / FULL
        return self._send(struct.pack(">BHH", function, address, count))

    def _register(self, number: int) -> int | None:
        for first, value in ((STATUS, self._status), (FORCE, self._force), (TARGET, self._target), (ACTUAL, self._at)):
            if first <= number < first + len(JOINTS):
                return value(number - first)
        return {1000: 1, 1001: 1, 1005: self.node}.get(number)

    def _status(self, joint: int) -> int:
        servo = self.servos[joint]
        if servo.stalled:
            return FORCE_REACHED
        return REACHED if not servo.moving else CLOSING if servo.target > servo.at else OPENING

    def _force(self, joint: int) -> int:
        return round(1000 * self.servos[joint].force_n) if joint < 5 else 0

    def _target(self, joint: int) -> int:
        return round(FULL * self.servos[joint].target)

    def _at(self, joint: int) -> int:
        return round(FULL * self.servos[joint].at)

    def _send(self, pdu: bytes) -> None:
        body = bytes((self.node,)) + pdu
        self._outgoing += body + self._modbus.check(body)
