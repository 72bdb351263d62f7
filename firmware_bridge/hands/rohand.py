"""OYMotion RoHand (ROH-A) over Modbus RTU: six motors, holding registers.

Byte-level facts: the maker's protocol documents. pymodbus builds and checks the frames.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.hands.base import Feedback, HandInfo, HandLimits
from myosem_edge.firmware_bridge.hands.stepped import KEEP_ALIVE_S, STEPPED_NEUTRALS, SteppedHand, postures_of

JOINTS = ("thumb", "index", "middle", "ring", "little", "thumb_rotation")
FULL = 65535
TARGET, ACTUAL = 1135, 1145  # the first of six registers each
READ, WRITE = 3, 16
READ_REPLY_BYTES, WRITE_REPLY_BYTES, EXCEPTION_BYTES = 17, 8, 5
COMMAND_BYTES = 21


class RoHand(SteppedHand):
    """Positions 0 open to 65535 closed.

    Raises:
        InputError: pymodbus is not installed.
    """

    joints = JOINTS
    postures = postures_of([(joint,) for joint in JOINTS])
    info = HandInfo(
        id="rohand",
        name="OYMotion RoHand over Modbus RTU",
        baud=115200,
        grips=tuple(postures),
        limits=HandLimits(),
        keep_alive_s=KEEP_ALIVE_S,
        has_force=False,
        neutrals=STEPPED_NEUTRALS,
        notes="Needs pip install 'myosem-edge[rohand]'. Speed, current and force limits stay as they are set in the "
        "hand. It holds its last position for ever, so it is moved in short steps and stays where the last one brought "
        "it when the loop dies or the cable is cut.",
    )

    def __init__(self, node: int = 2) -> None:
        super().__init__()
        if not 1 <= node <= 247:
            raise ValueError(f"node {node} is not in 1..247")
        self.node = node
        self._modbus = Modbus(node)
        self._incoming = bytearray()
        self._ask = self._modbus.read(ACTUAL, len(JOINTS))

    def start(self) -> bytes:
        return self._ask

    def poll(self) -> bytes:
        return self._ask

    def positions(self, closure: Sequence[float]) -> bytes:
        return self._modbus.write(TARGET, [round(value * FULL) for value in closure])

    def receive(self, data: bytes, now_s: float) -> list[Feedback]:
        """A frame says nothing of its length but by what it is; whatever its CRC does not vouch for is passed over."""
        found: list[Feedback] = []
        self._incoming += data
        buffer = self._incoming
        while len(buffer) >= EXCEPTION_BYTES:
            length = _length(buffer, self.node)
            if not length:
                del buffer[0]
                continue
            if len(buffer) < length:
                return found
            if not self._modbus.holds(bytes(buffer[:length])):
                self.frames_bad += 1
                del buffer[0]
                continue
            reply = bytes(buffer[:length])
            del buffer[:length]
            if length != READ_REPLY_BYTES:
                continue
            found.append(self._report([value / FULL for value in struct.unpack_from(">6H", reply, 3)], now_s))
        return found

    def may_send(self, frame: bytes) -> bool:
        if frame == self._ask:
            return True
        if len(frame) != COMMAND_BYTES:
            return False
        return frame == self._modbus.write(TARGET, list(struct.unpack_from(">6H", frame, 7)))


def _length(buffer: bytearray, node: int) -> int:
    """Bytes of the reply that begins here, 0 if none does."""
    if buffer[0] != node:
        return 0
    if buffer[1] == READ and buffer[2] == 2 * len(JOINTS):
        return READ_REPLY_BYTES
    return {WRITE: WRITE_REPLY_BYTES, READ | 0x80: EXCEPTION_BYTES, WRITE | 0x80: EXCEPTION_BYTES}.get(buffer[1], 0)


class Modbus:
    """pymodbus' frames, without its ports and clocks."""

    def __init__(self, node: int) -> None:
        try:
            from pymodbus.framer import FramerRTU
            from pymodbus.pdu import DecodePDU, register_message
        except ImportError:
            raise InputError(
                "pymodbus is not installed", todo="Install it: pip install 'myosem-edge[rohand]'"
            ) from None
        self._node, self._framer, self._messages = node, FramerRTU(DecodePDU(False)), register_message

    def read(self, address: int, count: int) -> bytes:
        request: Any = self._messages.ReadHoldingRegistersRequest(address=address, count=count, dev_id=self._node)
        return bytes(self._framer.buildFrame(request))

    def write(self, address: int, values: list[int]) -> bytes:
        request: Any = self._messages.WriteMultipleRegistersRequest(
            address=address, registers=values, dev_id=self._node
        )
        return bytes(self._framer.buildFrame(request))

    def holds(self, frame: bytes) -> bool:
        return len(frame) > 2 and self.check(frame[:-2]) == frame[-2:]

    def check(self, body: bytes) -> bytes:
        """The two bytes that follow a frame."""
        return bytes(self._framer.compute_CRC(body).to_bytes(2, "big"))
