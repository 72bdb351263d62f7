"""Inspire RH56 hand over UART or RS-485: six motors, registers, an 8-bit sum.

Byte-level facts: drivers of the community; the vendor's manual is not public in the places that were searched.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from myosem_edge.firmware_bridge.hands.base import Feedback, HandInfo, HandLimits
from myosem_edge.firmware_bridge.hands.stepped import KEEP_ALIVE_S, STEPPED_NEUTRALS, SteppedHand, postures_of

HEAD, REPLY_HEAD = b"\xeb\x90", b"\x90\xeb"
READ, WRITE = 0x11, 0x12
ANGLE_SET, ANGLE_ACTUAL = 1486, 1546
OPEN = 1000  # 0 is closed
JOINTS = ("little", "ring", "middle", "index", "thumb", "thumb_rotation")
REPLY_BYTES = 5 + 3 + 12  # to a question for six angles: head, id, length, command, register, angles, sum


def frame(hand_id: int, command: int, register: int, data: bytes) -> bytes:
    body = struct.pack("<BBBH", hand_id, 3 + len(data), command, register) + data
    return HEAD + body + bytes((sum(body) & 0xFF,))


class InspireHand(SteppedHand):
    """Angles 1000 open to 0 closed."""

    joints = JOINTS
    postures = postures_of([(joint,) for joint in JOINTS])
    info = HandInfo(
        id="inspire",
        name="Inspire RH56 hand",
        baud=115200,
        grips=tuple(postures),
        limits=HandLimits(),
        keep_alive_s=KEEP_ALIVE_S,
        has_force=False,
        neutrals=STEPPED_NEUTRALS,
        notes="Force thresholds stay as they are set in the hand. It holds its last angles for ever, so it is moved in "
        "short steps and stays where the last one brought it when the loop dies or the cable is cut.",
    )

    def __init__(self, hand_id: int = 1) -> None:
        super().__init__()
        if not 1 <= hand_id <= 254:
            raise ValueError(f"hand id {hand_id} is not in 1..254")
        self.hand_id = hand_id
        self._incoming = bytearray()
        self._ask = frame(hand_id, READ, ANGLE_ACTUAL, b"\x0c")
        self._head = REPLY_HEAD + struct.pack("<BBBH", hand_id, 15, READ, ANGLE_ACTUAL)

    def start(self) -> bytes:
        return self._ask

    def poll(self) -> bytes:
        return self._ask

    def positions(self, closure: Sequence[float]) -> bytes:
        return frame(
            self.hand_id, WRITE, ANGLE_SET, struct.pack("<6h", *(round(OPEN * (1 - value)) for value in closure))
        )

    def receive(self, data: bytes, now_s: float) -> list[Feedback]:
        found: list[Feedback] = []
        self._incoming += data
        while (at := self._incoming.find(self._head)) >= 0:
            del self._incoming[:at]
            if len(self._incoming) < REPLY_BYTES:
                return found
            reply = bytes(self._incoming[:REPLY_BYTES])
            angles = struct.unpack_from("<6h", reply, 7)
            if sum(reply[2:-1]) & 0xFF != reply[-1] or not all(-1 <= angle <= OPEN for angle in angles):
                self.frames_bad += 1
                del self._incoming[0]
                continue
            del self._incoming[:REPLY_BYTES]
            found.append(self._report([1 - max(angle, 0) / OPEN for angle in angles], now_s))
        del self._incoming[: max(0, len(self._incoming) - len(self._head) + 1)]
        return found

    def may_send(self, frame_: bytes) -> bool:
        if frame_ == self._ask:
            return True
        if len(frame_) != len(self._ask) + 11:
            return False
        angles = struct.unpack_from("<6h", frame_, 7)
        return all(0 <= angle <= OPEN for angle in angles) and frame_ == frame(
            self.hand_id, WRITE, ANGLE_SET, struct.pack("<6h", *angles)
        )
