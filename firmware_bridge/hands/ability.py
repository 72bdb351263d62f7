"""PSYONIC Ability Hand over UART or RS-485: six motors, named grips, byte stuffing, an 8-bit check.

Byte-level facts: the vendor's interface control document v1.8 (psyonicinc/ability-hand-api, MIT).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from myosem_edge.firmware_bridge.hands.base import Feedback, Hand, HandInfo, HandLimits, Neutral
from myosem_edge.firmware_bridge.hands.ppp import Unstuffer, stuff, unescape

DEFAULT_ADDRESS = 0x50
JOINTS = ("index", "middle", "ring", "pinky", "thumb_flexor", "thumb_rotator")  # the motor order of every frame

GRIP = 0x1D
POSITION, VELOCITY, CURRENT, DUTY, READ_ONLY = 0x10, 0x20, 0x30, 0x40, 0xA0  # plus the reply variant less one
LEAVE_API = 0x7C
THUMB_UPSAMPLING_ON, THUMB_UPSAMPLING_OFF = 0xC2, 0xC3
REGISTER_WRITE, REGISTER_READ = 0xDE, 0xDA
REGISTER_SUCCESS, REGISTER_FAILURE = struct.pack("<I", 0x4E11FEA4), struct.pack("<I", 0xFA17FFFF)

COUNTS_PER_DEG = 32767 / 150
COUNTS_PER_DEG_S = 32767 / 3000
COUNTS_PER_A = 620.606079  # depends on the hardware revision; this is the vendor package's constant
COUNTS_PER_DUTY_PERCENT = 3546 / 100
COUNTS_PER_ROTOR_RAD_S = 4  # as the document says; the vendor's package divides differently
GEAR_RATIOS = (649.0, 649.0, 649.0, 649.0, 649.0, 162.45)  # rotor turns per joint turn, in motor order
VOLTS_PER_TOUCH_COUNT = 3.3 / 4096
TOUCH_JOINTS = JOINTS[:5]  # the order of the 30 sensors; the thumb's are told with its flexor
SENSORS_PER_FINGER = 6
# Neither reply has everything: the first of these has velocities and no touch, the second touch and no velocities.
POLL_VARIANTS = (2, 0)

# Fingers and thumb flexor flex with positive angles, the thumb rotator with negative ones.
RANGES_DEG = ((0.0, 100.0),) * 5 + ((-100.0, 0.0),)
MAX_VELOCITY_DEG_S = 3000.0  # what the field can hold
MAX_CURRENT_A = 1.0  # the range the vendor's package documents, far below what the field can hold
MAX_DUTY_PERCENT = 100.0

API_TIMEOUT_S = 0.3  # after this long without a valid frame the hand's own mode takes over
# The slowest full-stroke grip turns a joint at about 45 deg/s, so this is well above a resting sensor and below motion.
MOVING_ABOVE_DEG_S = 2.0
GENTLE_SPEED = 0.3  # of a relax: 1.5 s per movement

# Left out on purpose: 08 (changes with where the thumb was pushed), 0A (rude), 13-17 and 19-1F (whatever a user once
# programmed), 20 (a wave that does not end by itself).
GRIP_CODES = {
    "open": 0x00,
    "power": 0x01,
    "lateral": 0x02,  # the vendor says key
    "pinch": 0x03,
    "tripod_open": 0x04,  # ring and pinky stay extended
    "horns": 0x05,
    "cylinder": 0x06,
    "mouse": 0x07,
    "point": 0x09,
    "hook": 0x0B,
    "relax": 0x0C,
    "sleeve": 0x0D,
    "peace": 0x0E,
    "tripod": 0x0F,  # ring and pinky closed
    "hang_loose": 0x10,
    "handshake": 0x11,
    "fixed_pinch": 0x12,
    "trigger": 0x18,
}
_ALLOWED_CODES = frozenset(GRIP_CODES.values())

_REPLY_BYTES = (72, 72, 39)  # by variant less one, check byte included
_REPLY_HEADERS = frozenset(
    group + variant for group in (POSITION, VELOCITY, CURRENT, DUTY, READ_ONLY) for variant in range(3)
)
_REGISTER_READ_BYTES = 9


@dataclass(frozen=True)
class Reply:
    """One telemetry frame, tuples in `JOINTS` order. None where the reply variant does not carry the field.

    `touch_v` is 30 sensor voltages, six each for index, middle, ring, pinky and thumb.
    """

    header: int
    position_deg: tuple[float, ...]
    current_a: tuple[float, ...] | None
    rotor_rad_s: tuple[float, ...] | None
    touch_v: tuple[float, ...] | None
    limited: tuple[str, ...]

    @property
    def moving(self) -> bool:
        """Whether a joint turns faster than `MOVING_ABOVE_DEG_S`. Variant 1 has no velocity and never says so."""
        return self.rotor_rad_s is not None and any(
            math.degrees(abs(rotor) / ratio) > MOVING_ABOVE_DEG_S
            for rotor, ratio in zip(self.rotor_rad_s, GEAR_RATIOS, strict=True)
        )


@dataclass(frozen=True)
class RegisterReply:
    """The answer to a register read (`value` set) or write."""

    success: bool
    value: int | None = None


def with_check(body: bytes) -> bytes:
    """The body and its check byte, the two's complement of the sum: a good frame sums to 0 modulo 256."""
    return body + bytes([-sum(body) & 0xFF])


def check_holds(body: bytes) -> bool:
    return sum(body) & 0xFF == 0


def speed_byte(speed: float) -> int:
    """The grip speed byte of a speed in 0..1: 1 is byte 255, everything below goes linearly down to byte 1.

    Byte 0 means stop, so no speed maps to it. The scale is the hand's own and linear in movement *time*, not in finger
    velocity (see `movement_time_s`); rounding is downwards, never faster than asked.

    Raises:
        ValueError: not above 0 and at most 1, or not a number. Stopping is `stop()`, not a grip at speed 0.
    """
    if not 0 < speed <= 1:
        raise ValueError(f"grip speed {speed} is not in 0..1 (0 excluded)")
    return max(1, int(speed * 255))


def movement_time_s(speed: int) -> float:
    """How long the hand takes for a full movement at a speed byte 1..255: 2.0 s down to 0.29 s at 254, 0.2 s at 255."""
    return 0.2 if speed == 255 else 2.0 - (speed - 1) * (2.0 - 0.29) / 253


def decode_reply(body: bytes) -> Reply | RegisterReply | None:
    """One unstuffed frame from the hand, or None if it is not one.

    Stray 00 bytes on either side are tolerated: no reply starts with 00, and every reply has a fixed length.
    """
    body = body.lstrip(b"\x00")
    if not body:
        return None
    if body[0] in _REPLY_HEADERS:
        length = _REPLY_BYTES[body[0] & 0x0F]
        whole = len(body) >= length and not any(body[length:]) and check_holds(body[:length])
        return _decode_telemetry(body[:length]) if whole else None
    if body[:4] not in (REGISTER_SUCCESS, REGISTER_FAILURE):
        return None
    success = body[:4] == REGISTER_SUCCESS
    read = body[:_REGISTER_READ_BYTES]
    if len(read) == _REGISTER_READ_BYTES and check_holds(read) and not any(body[_REGISTER_READ_BYTES:]):
        return RegisterReply(success, struct.unpack_from("<i", read, 4)[0])
    return None if any(body[4:]) else RegisterReply(success)  # the write reply carries no check byte


def _decode_telemetry(body: bytes) -> Reply:
    variant = body[0] & 0x0F
    pairs = struct.unpack_from("<12h", body, 1)
    second = pairs[1::2]
    current, rotor, touch = None, None, None
    if variant == 1:
        rotor = second
    else:
        current = second
    if variant == 2:
        rotor = struct.unpack_from("<6h", body, 25)
    else:
        touch = unpack_touch(body[25:70])
    return Reply(
        header=body[0],
        position_deg=tuple(count / COUNTS_PER_DEG for count in pairs[0::2]),
        current_a=None if current is None else tuple(count / COUNTS_PER_A for count in current),
        rotor_rad_s=None if rotor is None else tuple(count / COUNTS_PER_ROTOR_RAD_S for count in rotor),
        touch_v=None if touch is None else tuple(count * VOLTS_PER_TOUCH_COUNT for count in touch),
        limited=tuple(joint for bit, joint in enumerate(JOINTS) if body[-2] >> bit & 1),
    )


def _strongest(touch_v: Sequence[float]) -> dict[str, float]:
    """By joint the highest of its finger's six sensors."""
    fingers = zip(*[iter(touch_v)] * SENSORS_PER_FINGER, strict=True)
    return {joint: max(sensors) for joint, sensors in zip(TOUCH_JOINTS, fingers, strict=True)}


def unpack_touch(packed: bytes) -> list[int]:
    """45 bytes to 30 12-bit counts, two in every three bytes, low bits first."""
    counts = []
    for low, shared, high in zip(packed[0::3], packed[1::3], packed[2::3], strict=True):
        counts += [low | (shared & 0x0F) << 8, shared >> 4 | high << 4]
    return counts


class AbilityHand(Hand):
    """Driver. The product sends grips, polls, stop and release; the other encoders complete the protocol.

    `frames_good` and `frames_bad` count what came back; `last_reply` and `last_register` keep the newest of each kind.
    Per-motor and register frames are never whitelisted: `may_send` refuses them.
    """

    info = HandInfo(
        id="ability",
        name="PSYONIC Ability Hand",
        baud=460800,
        grips=tuple(GRIP_CODES),
        limits=HandLimits(),
        keep_alive_s=0.1,
        has_force=False,
        neutrals=(Neutral.FREEZE, Neutral.RELAX, Neutral.OPEN),
        notes=(
            "The hand ships in I2C mode. Configure it once over its Bluetooth console: We16 (UART), We46 and We47 "
            "(byte stuffing out and in), and We35 for RS-485; each answers 'success'. "
            f"It leaves API mode {API_TIMEOUT_S * 1000:.0f} ms after the last valid frame and falls back to its own "
            "mode, which may move the fingers. When the cable is cut nothing on this side can prevent that; when only "
            "the host program dies, the guard's stop still freezes it until then. Named grips have no force setting: "
            "grip force follows from the hand's own protection."
        ),
    )

    def __init__(self, address: int = DEFAULT_ADDRESS) -> None:
        if not 1 <= address <= 0xFF:
            raise ValueError(f"hand address {address} is not in 1..255")
        self.address = address
        self.frames_good = 0
        self.last_reply: Reply | None = None
        self.last_register: RegisterReply | None = None
        self._unstuffer = Unstuffer()
        self._misread = 0
        self._polls = tuple(self._frame(READ_ONLY + variant) for variant in POLL_VARIANTS)
        self._polled = 0
        self._moving = False  # as the newest reply with velocities had it
        self._touch_v: dict[str, float] = {}  # as the newest reply with touch had it
        self._still = frozenset({*self._polls, self.release()})

    @property
    def frames_bad(self) -> int:
        """Frames with a wrong check byte, length or header, overlong or cut off inside an escape."""
        return self._misread + self._unstuffer.rejected

    def start(self) -> bytes:
        return self.poll()

    def grip(self, name: str, speed: float, force: float) -> bytes:
        """Form a grip; `force` is checked but has no place in the frame (`info.has_force` is False).

        Raises:
            ValueError: unknown grip, speed not in 0..1 or 0, force not in 0..1.
        """
        if name not in GRIP_CODES:
            raise ValueError(f"unknown grip {name!r}; this hand knows {', '.join(GRIP_CODES)}")
        if not 0 <= force <= 1:
            raise ValueError(f"grip force {force} is not in 0..1")
        return self._frame(GRIP, bytes([GRIP_CODES[name], speed_byte(speed)]))

    def open_hand(self, speed: float) -> bytes:
        return self.grip("open", speed, force=0.0)

    def stop(self) -> bytes:
        # Speed 0 halts whatever grip runs. The code beside it is open: of all codes the one that can least close on
        # anything, should a hand read the speed differently.
        return self._frame(GRIP, bytes([GRIP_CODES["open"], 0]))

    def relax(self) -> bytes:
        return self.grip("relax", GENTLE_SPEED, force=0.0)

    def poll(self) -> bytes:
        """Read-only frame: does not enter API mode, but keeps it alive. The two variants take turns."""
        self._polled += 1
        return self._polls[(self._polled - 1) % len(self._polls)]

    def release(self) -> bytes:
        """Leave API mode now: the hand obeys its own inputs again."""
        return self._frame(LEAVE_API)

    def receive(self, data: bytes, now_s: float) -> list[Feedback]:
        feedback = []
        for body in self._unstuffer.feed(data):
            if not any(body):
                continue  # stray zeros between two frames, not a damaged frame
            reply = decode_reply(body)
            if reply is None:
                self._misread += 1
                continue
            self.frames_good += 1
            if isinstance(reply, RegisterReply):
                self.last_register = reply
                continue
            self.last_reply = reply
            if reply.rotor_rad_s is not None:
                self._moving = reply.moving
            if reply.touch_v is not None:
                self._touch_v = _strongest(reply.touch_v)
            feedback.append(
                Feedback(
                    arrival_s=now_s,
                    position_deg=dict(zip(JOINTS, reply.position_deg, strict=True)),
                    current_a=dict(zip(JOINTS, reply.current_a, strict=True)) if reply.current_a else {},
                    touch_v=self._touch_v,
                    moving=self._moving,
                    limited=reply.limited,
                )
            )
        return feedback

    def may_send(self, frame: bytes) -> bool:
        if frame in self._still:
            return True
        body = unescape(frame[1:-1])
        # Encoding the frame anew proves flags, stuffing, address, length and check byte in one comparison.
        return (
            body is not None and len(body) == 5 and body[2] in _ALLOWED_CODES and frame == self._frame(GRIP, body[2:4])
        )

    def positions(self, positions_deg: Sequence[float], variant: int = 3) -> bytes:
        """Move six motors to angles inside `RANGES_DEG`; like its siblings below it asks for reply `variant` 1..3.

        Values are cut towards zero to a count, so that a motor is never asked for more than was meant.

        Raises:
            ValueError: not six values, a value outside its range or not a number, or no such variant.
        """
        return self._motors(POSITION, positions_deg, RANGES_DEG, COUNTS_PER_DEG, variant, "deg")

    def velocities(self, velocities_deg_s: Sequence[float], variant: int = 3) -> bytes:
        """Turn six motors at up to `MAX_VELOCITY_DEG_S` either way."""
        ranges = ((-MAX_VELOCITY_DEG_S, MAX_VELOCITY_DEG_S),) * 6
        return self._motors(VELOCITY, velocities_deg_s, ranges, COUNTS_PER_DEG_S, variant, "deg/s")

    def currents(self, currents_a: Sequence[float], variant: int = 3) -> bytes:
        """Drive six motors with up to `MAX_CURRENT_A` either way."""
        ranges = ((-MAX_CURRENT_A, MAX_CURRENT_A),) * 6
        return self._motors(CURRENT, currents_a, ranges, COUNTS_PER_A, variant, "A")

    def duties(self, duties_percent: Sequence[float], variant: int = 3) -> bytes:
        """Drive six motors with up to `MAX_DUTY_PERCENT` of the supply voltage either way."""
        ranges = ((-MAX_DUTY_PERCENT, MAX_DUTY_PERCENT),) * 6
        return self._motors(DUTY, duties_percent, ranges, COUNTS_PER_DUTY_PERCENT, variant, "%")

    def thumb_upsampling(self, on: bool) -> bytes:
        return self._frame(THUMB_UPSAMPLING_ON if on else THUMB_UPSAMPLING_OFF)

    def register_write(self, register: int, value: int) -> bytes:
        """Raises ValueError where `register` is not 32-bit unsigned or `value` not 32-bit signed."""
        try:
            return self._frame(REGISTER_WRITE, struct.pack("<Ii", register, value))
        except struct.error as error:
            raise ValueError(f"register {register} or value {value} does not fit 32 bits") from error

    def register_read(self, register: int) -> bytes:
        """Raises ValueError where `register` is not 32-bit unsigned."""
        try:
            return self._frame(REGISTER_READ, struct.pack("<I", register))
        except struct.error as error:
            raise ValueError(f"register {register} does not fit 32 bits") from error

    def _frame(self, command: int, payload: bytes = b"") -> bytes:
        return stuff(with_check(bytes([self.address, command]) + payload))

    def _motors(
        self,
        group: int,
        values: Sequence[float],
        ranges: Sequence[tuple[float, float]],
        counts_per_unit: float,
        variant: int,
        unit: str,
    ) -> bytes:
        if variant not in (1, 2, 3):
            raise ValueError(f"reply variant {variant} is not 1, 2 or 3")
        if len(values) != len(JOINTS):
            raise ValueError(f"{len(values)} values for {len(JOINTS)} motors")
        for joint, value, (low, high) in zip(JOINTS, values, ranges, strict=True):
            if not low <= value <= high:
                raise ValueError(f"{joint} {value} {unit} is not in {low:g}..{high:g}")
        counts = (int(value * counts_per_unit) for value in values)
        return self._frame(group + variant - 1, struct.pack("<6h", *counts))
