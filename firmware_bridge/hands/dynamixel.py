"""A hand of Dynamixel servos, protocol 2.0, with the sixteen joints of a LEAP hand: four fingers of four.

Byte-level facts: the maker's published SDK, which also computes the check sum here.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.hands.base import Feedback, HandInfo, HandLimits
from myosem_edge.firmware_bridge.hands.stepped import KEEP_ALIVE_S, POSTURES, STEPPED_NEUTRALS, SteppedHand

HEAD = b"\xff\xff\xfd\x00"
ALL = 0xFE
READ_ALL, WRITE_ALL, STATUS = 0x82, 0x83, 0x55
GOAL_POSITION, PRESENT_POSITION = 116, 132
MIDDLE, TURN = 2048, 4096  # open is half a turn: 3.14 rad
FLEXED = 1024  # a quarter turn further is closed
FINGERS = ("index", "middle", "ring", "thumb")  # ids 0 to 15, four each: side, base, middle, tip
PARTS = ("side", "base", "middle", "tip")
JOINTS = tuple(f"{finger}_{part}" for finger in FINGERS for part in PARTS)
STATUS_BYTES = 15  # header, id, length, instruction, error, four bytes, check sum


def leap_postures() -> dict[str, tuple[float, ...]]:
    """POSTURES for fingers of four joints: the side joint stays, the others flex together; the thumb's turns it."""
    anatomy = {"thumb": 0, "index": 2, "middle": 3, "ring": 4}
    found = {}
    for name, closure in POSTURES.items():
        joints: list[float] = []
        for finger in FINGERS:
            bend = closure[anatomy[finger]]
            joints += [closure[1] if finger == "thumb" else 0.0, bend, bend, bend]
        found[name] = tuple(joints)
    return found


class DynamixelHand(SteppedHand):
    """Goal positions of all joints in one message.

    Raises:
        InputError: the maker's SDK is not installed.
    """

    joints, postures = JOINTS, leap_postures()
    info = HandInfo(
        id="dynamixel",
        name="Dynamixel hand, LEAP layout",
        baud=4_000_000,
        grips=tuple(POSTURES),
        limits=HandLimits(),
        keep_alive_s=KEEP_ALIVE_S,
        has_force=False,
        neutrals=STEPPED_NEUTRALS,
        notes="Needs pip install 'myosem-edge[dynamixel]'. Torque, operating mode (5, current-limited position) and "
        "current limits have to be set beforehand with the maker's tool. Servos hold their last position for ever, so "
        "they are moved in short steps and stay where the last one brought them when the loop dies or a cable is cut.",
    )

    def __init__(self) -> None:
        super().__init__()
        self._wire = Packets()
        self._incoming = bytearray()
        self._heard: dict[int, float] = {}
        parameters = struct.pack("<HH", PRESENT_POSITION, 4) + bytes(range(len(JOINTS)))
        self._ask = self._wire.packet(ALL, READ_ALL, parameters)

    def start(self) -> bytes:
        return self._ask

    def poll(self) -> bytes:
        return self._ask

    def positions(self, closure: Sequence[float]) -> bytes:
        return self._goals([MIDDLE + round(value * FLEXED) for value in closure])

    def _goals(self, goals: Sequence[int]) -> bytes:
        parameters = struct.pack("<HH", GOAL_POSITION, 4)
        parameters += b"".join(struct.pack("<BI", number, goal) for number, goal in enumerate(goals))
        return self._wire.packet(ALL, WRITE_ALL, parameters)

    def receive(self, data: bytes, now_s: float) -> list[Feedback]:
        """Feedback when every joint has answered."""
        found: list[Feedback] = []
        self._incoming += data
        for identity, instruction, body in self._wire.packets(self._incoming):
            if instruction != STATUS or len(body) != 5 or identity >= len(JOINTS):
                continue
            position = struct.unpack_from("<i", body, 1)[0]
            self._heard[identity] = (position - MIDDLE) / FLEXED
            if len(self._heard) < len(JOINTS):
                continue
            closure = [self._heard[number] for number in range(len(JOINTS))]
            self._heard.clear()
            found.append(self._report(closure, now_s))
        self.frames_bad = self._wire.rejected
        return found

    def may_send(self, frame: bytes) -> bool:
        if frame == self._ask:
            return True
        length = len(HEAD) + 3 + 1 + 4 + 5 * len(JOINTS) + 2
        if len(frame) != length:
            return False
        goals = [struct.unpack_from("<I", frame, 13 + 5 * number)[0] for number in range(len(JOINTS))]
        return all(MIDDLE <= goal <= MIDDLE + FLEXED for goal in goals) and frame == self._goals(goals)


class Packets:
    """Packets of protocol 2.0, packed and found, with the SDK's check sum and stuffing."""

    def __init__(self) -> None:
        try:
            from dynamixel_sdk.protocol2_packet_handler import Protocol2PacketHandler
        except ImportError:
            raise InputError(
                "the Dynamixel SDK is not installed", todo="Install it: pip install 'myosem-edge[dynamixel]'"
            ) from None
        self._handler = Protocol2PacketHandler()
        self.rejected = 0

    def packet(self, identity: int, instruction: int, parameters: bytes) -> bytes:
        """Nothing that is sent here holds the header inside, so nothing needs stuffing."""
        body = HEAD + struct.pack("<BHB", identity, len(parameters) + 3, instruction) + parameters
        return body + struct.pack("<H", self.check(body))

    def check(self, body: bytes) -> int:
        return int(self._handler.updateCRC(0, list(body), len(body)))

    def packets(self, buffer: bytearray) -> list[tuple[int, int, bytes]]:
        """(id, instruction, parameters) of every whole packet, taken out of `buffer`."""
        found: list[tuple[int, int, bytes]] = []
        while (at := buffer.find(HEAD)) >= 0:
            del buffer[:at]
            if len(buffer) < 7 or len(buffer) < 7 + int.from_bytes(buffer[5:7], "little"):
                if len(buffer) >= 7 and int.from_bytes(buffer[5:7], "little") > 256:
                    del buffer[0]
                    continue
                return found
            length = 7 + int.from_bytes(buffer[5:7], "little")
            packet = bytes(buffer[:length])
            if length < 10 or self.check(packet[:-2]) != int.from_bytes(packet[-2:], "little"):
                self.rejected += 1
                del buffer[0]
                continue
            del buffer[:length]
            found.append((packet[4], packet[7], packet[8:-2].replace(b"\xff\xff\xfd\xfd", b"\xff\xff\xfd")))
        del buffer[: max(0, len(buffer) - len(HEAD) + 1)]
        return found
