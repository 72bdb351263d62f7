"""A PSYONIC Ability Hand played in software: its protocol, its API time-out and simple finger motion.

What it does not model: finger collisions, temperature, the switching grips (08, 20) and grips a user programs. Frames
for which the document names no reply (grip, leave API, thumb up-sampling) are obeyed in silence.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from myosem_edge.firmware_bridge.emulators.base import Emulator
from myosem_edge.firmware_bridge.hands import ability as wire
from myosem_edge.firmware_bridge.hands.ppp import Unstuffer, stuff

# Target angles in degrees by grip code: index, middle, ring, pinky, thumb flexor, thumb rotator.
POSTURES_DEG: dict[int, tuple[float, ...]] = {
    0x00: (0, 0, 0, 0, 0, 0),
    0x01: (90, 90, 90, 90, 60, -80),
    0x02: (80, 85, 90, 90, 50, -10),
    0x03: (60, 0, 0, 0, 50, -75),
    0x04: (60, 60, 0, 0, 50, -75),
    0x05: (0, 90, 90, 0, 50, -60),
    0x06: (75, 75, 75, 75, 45, -85),
    0x07: (30, 30, 30, 60, 20, -40),
    0x09: (0, 90, 90, 90, 60, -60),
    0x0A: (90, 0, 90, 90, 60, -60),
    0x0B: (85, 85, 85, 85, 0, 0),
    0x0C: (25, 28, 30, 32, 15, -25),
    0x0D: (5, 5, 5, 5, 60, -90),
    0x0E: (0, 0, 90, 90, 60, -70),
    0x0F: (60, 60, 90, 90, 50, -75),
    0x10: (90, 90, 90, 0, 0, 0),
    0x11: (30, 30, 30, 30, 10, -60),
    0x12: (60, 90, 90, 90, 50, -75),
    0x18: (45, 90, 90, 90, 60, -70),
}
# The longest way in the table. A finger's rate is this over the movement time, whatever its own way, so that a grip
# frame sent again in mid-motion changes nothing.
FULL_STROKE_DEG = 90.0
MAX_RATE_DEG_S = FULL_STROKE_DEG / wire.movement_time_s(255)
WIDEST_OBJECT_MM = 100.0  # an object this wide stops the fingers at once
REACHED_DEG = 1e-9

MOTION_CURRENT_A, STALL_CURRENT_A = 0.2, 0.6
TOUCH_IDLE_COUNTS, TOUCH_CONTACT_COUNTS = 40, 1800
TOUCHING_FINGERS = 5  # the rotator carries no sensors

LAST_GAIN_REGISTER = 60  # ten to a motor; every tenth is its output saturation and cannot be written
UNIQUE_ID_REGISTERS = {61: 0x0A11_0001, 62: 0x0A11_0002}
OUTPUT_SATURATION = 3546

_GRIP_NAMES = {code: name for name, code in wire.GRIP_CODES.items()}
_MOTOR_CONTROL = {
    wire.POSITION: "position",
    wire.VELOCITY: "velocity",
    wire.CURRENT: "current",
    wire.DUTY: "duty",
}


class NormalMode(Enum):
    """What the fingers do once API mode ends."""

    FINISH = "finish"  # a grip under way runs to its end: the vendor's own examples send a grip once and rely on it
    HOLD = "hold"
    OPEN = "open"  # drift open at the slowest speed: the case that a careful host must be ready for


@dataclass(frozen=True)
class AbilityFaults:
    """A dial of faults; probabilities are per frame in either direction, drawn from the emulator's own seed."""

    drop: float = 0.0
    corrupt: float = 0.0  # one bit of the body flips
    silent: bool = False  # obeys but never answers
    stray_zeros: int = 0  # 00 bytes before and after every reply, as RS-485 adapters add them


@dataclass(frozen=True)
class AbilityState:
    """What an observer sees. `grip` is the canonical name, the hex code where it has none, or "" before any grip."""

    time_s: float
    position_deg: Mapping[str, float]
    control: str  # "grip", "position", "velocity", "current", "duty" or "normal" (the hand's own mode)
    grip: str
    grip_code: int | None
    speed_byte: int
    api_mode: bool
    moving: bool
    limited: tuple[str, ...]
    last_command_s: float | None  # newest frame that may move the fingers
    frames_good: int
    frames_bad: int


@dataclass
class _Finger:
    """One motor: it turns towards `target_deg` at `rate_deg_s` until it arrives or is held up."""

    low_deg: float
    high_deg: float
    contact_deg: float = math.inf  # where an object stops it
    position_deg: float = 0.0
    target_deg: float = 0.0
    rate_deg_s: float = 0.0
    limited: bool = False  # its protection refuses to close further until it is sent the other way

    def command(self, target_deg: float, rate_deg_s: float) -> None:
        self.target_deg = min(max(target_deg, self.low_deg), self.high_deg)
        self.rate_deg_s = rate_deg_s
        if self.target_deg < self.position_deg:
            self.limited = False

    def turn(self, rate_deg_s: float) -> None:
        """Keep turning at a signed rate, up to a mechanical stop."""
        end_deg = self.high_deg if rate_deg_s > 0 else self.low_deg
        self.command(end_deg if rate_deg_s else self.position_deg, abs(rate_deg_s))

    def halt(self) -> None:
        self.command(self.position_deg, 0.0)

    @property
    def goal_deg(self) -> float:
        """How far it can get: the target, the object, or where its own protection holds it."""
        if self.target_deg <= self.position_deg:
            return self.target_deg
        return self.position_deg if self.limited else max(min(self.target_deg, self.contact_deg), self.position_deg)

    @property
    def pressing(self) -> bool:
        return self.rate_deg_s > 0 and self.target_deg > self.position_deg and self.goal_deg == self.position_deg

    @property
    def touching(self) -> bool:
        return self.position_deg >= self.contact_deg - REACHED_DEG

    @property
    def velocity_deg_s(self) -> float:
        return math.copysign(self.rate_deg_s, way) if (way := self.goal_deg - self.position_deg) else 0.0

    @property
    def current_a(self) -> float:
        if self.pressing:
            return STALL_CURRENT_A
        return math.copysign(MOTION_CURRENT_A, velocity) if (velocity := self.velocity_deg_s) else 0.0

    def move(self, seconds: float) -> None:
        goal_deg = self.goal_deg
        way_deg = goal_deg - self.position_deg
        step_deg = self.rate_deg_s * seconds
        arrives = abs(way_deg) <= step_deg + REACHED_DEG
        self.position_deg = goal_deg if arrives else self.position_deg + math.copysign(step_deg, way_deg)
        self.limited = self.limited or self.pressing


class AbilityEmulator(Emulator):
    """The hand at the end of the wire. Paced by `tick`; `history` is called with the state at every visible change.

    `faults` and `object_width_mm` may be changed while it runs; an object stops fingers and thumb flexor the earlier
    the wider it is (`WIDEST_OBJECT_MM` leaves no way at all).
    """

    def __init__(
        self,
        *,
        address: int = wire.DEFAULT_ADDRESS,
        normal_mode: NormalMode = NormalMode.FINISH,
        object_width_mm: float | None = None,
        faults: AbilityFaults | None = None,
        history: Callable[[AbilityState], None] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.address = address
        self.normal_mode = normal_mode
        self.faults = faults or AbilityFaults()
        self.history = history
        self.thumb_upsampling = False
        self.registers = dict.fromkeys(range(1, LAST_GAIN_REGISTER + 1), 0) | UNIQUE_ID_REGISTERS
        self.registers |= dict.fromkeys(range(10, LAST_GAIN_REGISTER + 1, 10), OUTPUT_SATURATION)
        self._fingers = [_Finger(low, high) for low, high in wire.RANGES_DEG[:TOUCHING_FINGERS]]
        # The rotator flexes with negative angles; inside it is a finger like the others, mirrored.
        rotator_low, rotator_high = wire.RANGES_DEG[-1]
        self._fingers.append(_Finger(-rotator_high, -rotator_low))
        self._signs = (1.0,) * TOUCHING_FINGERS + (-1.0,)
        self._unstuffer = Unstuffer()
        self._random = random.Random(seed)
        self._now_s: float | None = None
        self._last_valid_s = -math.inf
        self._state = AbilityState(0.0, {}, "normal", "", None, 0, False, False, (), None, 0, 0)
        self._misread = 0
        self.object_width_mm = object_width_mm
        self._seen = self.state()

    @property
    def object_width_mm(self) -> float | None:
        return self._object_width_mm

    @object_width_mm.setter
    def object_width_mm(self, width_mm: float | None) -> None:
        if width_mm is not None and not 0 < width_mm <= WIDEST_OBJECT_MM:
            raise ValueError(f"object width {width_mm} mm is not in 0..{WIDEST_OBJECT_MM:g}")
        self._object_width_mm = width_mm
        contact_deg = math.inf if width_mm is None else FULL_STROKE_DEG * (1 - width_mm / WIDEST_OBJECT_MM)
        for finger in self._fingers[:TOUCHING_FINGERS]:
            finger.contact_deg = contact_deg

    def state(self) -> AbilityState:
        fingers = dict(zip(wire.JOINTS, self._fingers, strict=True))
        return replace(
            self._state,
            time_s=self._now_s or 0.0,
            position_deg={
                joint: sign * finger.position_deg + 0.0  # no negative zero
                for (joint, finger), sign in zip(fingers.items(), self._signs, strict=True)
            },
            moving=any(finger.velocity_deg_s for finger in self._fingers),
            limited=tuple(joint for joint, finger in fingers.items() if finger.limited),
            frames_bad=self._misread + self._unstuffer.rejected,
        )

    def status(self) -> str:
        state = self.state()
        return f"{state.grip or state.control:<10} " + "  ".join(
            f"{j} {p:4.0f}°" for j, p in state.position_deg.items()
        )

    def tick(self, now_s: float) -> None:
        self._advance(now_s)

    def receive(self, data: bytes, now_s: float) -> None:
        self._advance(now_s)
        for raw in self._unstuffer.feed(data):
            if (body := self._through_faults(raw)) is None:
                continue
            self._handle(body.lstrip(b"\x00"), now_s)
            self._notice()

    def _advance(self, now_s: float) -> None:
        """Move the fingers up to `now_s`, changing mode in between at the moment the API time-out falls due."""
        due_s = self._last_valid_s + wire.API_TIMEOUT_S
        if self._state.api_mode and now_s >= due_s:
            self._move_until(due_s)
            self._leave_api()
            self._notice()
        self._move_until(now_s)
        self._notice()

    def _move_until(self, now_s: float) -> None:
        for finger in self._fingers:
            finger.move(0.0 if self._now_s is None else max(0.0, now_s - self._now_s))
        self._now_s = now_s

    def _leave_api(self) -> None:
        if not self._state.api_mode:
            return
        finishing = self.normal_mode is NormalMode.FINISH and self._state.control == "grip"
        self._set(api_mode=False, control="normal")
        for finger in self._fingers:
            if self.normal_mode is NormalMode.OPEN:
                finger.command(0.0, FULL_STROKE_DEG / wire.movement_time_s(1))
            elif not finishing:
                finger.halt()

    def _handle(self, body: bytes, now_s: float) -> None:
        if not body:
            return
        if not wire.check_holds(body) or len(body) < 3:
            self._misread += 1
            return
        if body[0] != self.address:
            return  # a well-formed frame for a neighbour on the same RS-485 bus
        if not self._obey(body[1], body[2:-1], now_s):
            self._misread += 1
            return
        self._last_valid_s = now_s
        self._set(frames_good=self._state.frames_good + 1)

    def _obey(self, command: int, payload: bytes, now_s: float) -> bool:
        """Carry out one frame; False if there is no such command or its length is wrong."""
        group, variant = command & 0xF0, command & 0x0F
        short = len(payload) <= 12  # miscellaneous frames may carry that much, ignored
        if group in _MOTOR_CONTROL and variant < 3 and len(payload) == 12:
            self._drive(group, struct.unpack("<6h", payload))
            self._set(api_mode=True, control=_MOTOR_CONTROL[group], last_command_s=now_s)
            self._telemetry(command)
        elif group == wire.READ_ONLY and variant < 3 and short:
            self._telemetry(command)
        elif command == wire.GRIP and len(payload) == 2:
            self._grip(*payload)
            self._set(api_mode=True, control="grip", last_command_s=now_s)
        elif command == wire.LEAVE_API and short:
            self._leave_api()
        elif command in (wire.THUMB_UPSAMPLING_ON, wire.THUMB_UPSAMPLING_OFF) and short:
            self.thumb_upsampling = command == wire.THUMB_UPSAMPLING_ON
        elif command == wire.REGISTER_WRITE and len(payload) == 8:
            self._send(self._write_register(*struct.unpack("<Ii", payload)))
        elif command == wire.REGISTER_READ and len(payload) == 4:
            value = self.registers.get(struct.unpack("<I", payload)[0])
            result = wire.REGISTER_FAILURE if value is None else wire.REGISTER_SUCCESS
            self._send(wire.with_check(result + struct.pack("<i", value or 0)))
        else:
            return False
        return True

    def _grip(self, code: int, speed: int) -> None:
        self._set(grip_code=code, grip=_GRIP_NAMES.get(code, f"{code:02X}"), speed_byte=speed)
        if speed == 0:
            for finger in self._fingers:
                finger.halt()
        elif code in POSTURES_DEG:  # any other code does nothing, as an unprogrammed user grip does
            rate_deg_s = FULL_STROKE_DEG / wire.movement_time_s(speed)
            for finger, sign, target_deg in zip(self._fingers, self._signs, POSTURES_DEG[code], strict=True):
                finger.command(sign * target_deg, rate_deg_s)

    def _drive(self, group: int, counts: tuple[int, ...]) -> None:
        """Position moves at the hand's full rate; velocity, duty and current all become a rate, full scale at 1 A."""
        for finger, sign, count in zip(self._fingers, self._signs, counts, strict=True):
            if group == wire.POSITION:
                finger.command(sign * count / wire.COUNTS_PER_DEG, MAX_RATE_DEG_S)
                continue
            if group == wire.VELOCITY:
                rate_deg_s = count / wire.COUNTS_PER_DEG_S
            elif group == wire.DUTY:
                rate_deg_s = MAX_RATE_DEG_S * count / wire.COUNTS_PER_DUTY_PERCENT / 100
            else:
                rate_deg_s = MAX_RATE_DEG_S * count / wire.COUNTS_PER_A
            finger.turn(sign * max(-MAX_RATE_DEG_S, min(MAX_RATE_DEG_S, rate_deg_s)))

    def _write_register(self, number: int, value: int) -> bytes:
        if not 1 <= number <= LAST_GAIN_REGISTER or number % 10 == 0:
            return wire.REGISTER_FAILURE
        self.registers[number] = value
        return wire.REGISTER_SUCCESS

    def _telemetry(self, header: int) -> None:
        """Answer with the reply variant that the low digit of the command asks for."""
        variant = header & 0x0F
        positions = [
            round(sign * finger.position_deg * wire.COUNTS_PER_DEG)
            for finger, sign in zip(self._fingers, self._signs, strict=True)
        ]
        currents = [
            round(sign * finger.current_a * wire.COUNTS_PER_A)
            for finger, sign in zip(self._fingers, self._signs, strict=True)
        ]
        rotors = [
            round(sign * math.radians(finger.velocity_deg_s) * ratio * wire.COUNTS_PER_ROTOR_RAD_S)
            for finger, sign, ratio in zip(self._fingers, self._signs, wire.GEAR_RATIOS, strict=True)
        ]
        second = rotors if variant == 1 else currents
        pairs = [count for pair in zip(positions, second, strict=True) for count in pair]
        tail = struct.pack("<6h", *rotors) if variant == 2 else self._touch()
        status = sum(finger.limited << bit for bit, finger in enumerate(self._fingers))
        self._send(wire.with_check(struct.pack("<B12h", header, *pairs) + tail + bytes([status])))

    def _touch(self) -> bytes:
        """30 12-bit counts in 45 bytes, six to a finger."""
        packed = bytearray()
        for finger in self._fingers[:TOUCHING_FINGERS]:
            count = TOUCH_CONTACT_COUNTS if finger.touching else TOUCH_IDLE_COUNTS
            packed += (count | count << 12).to_bytes(3, "little") * 3
        return bytes(packed)

    def _send(self, body: bytes) -> None:
        faulted = None if self.faults.silent else self._through_faults(body)
        if faulted is not None:
            stray = bytes(self.faults.stray_zeros)
            self._outgoing += stray + stuff(faulted) + stray

    def _through_faults(self, body: bytes) -> bytes | None:
        if self._random.random() < self.faults.drop:
            return None
        if self._random.random() < self.faults.corrupt:
            bit = self._random.randrange(8 * len(body))
            body = body[: bit // 8] + bytes([body[bit // 8] ^ 1 << bit % 8]) + body[bit // 8 + 1 :]
        return body

    def _set(self, **changes: Any) -> None:
        self._state = replace(self._state, **changes)

    def _notice(self) -> None:
        if self.history is None:
            return
        state = self.state()
        # Time, angles and counters always change; they are no news by themselves.
        if state != replace(
            self._seen,
            time_s=state.time_s,
            position_deg=state.position_deg,
            last_command_s=state.last_command_s,
            frames_good=state.frames_good,
            frames_bad=state.frames_bad,
        ):
            self._seen = state
            self.history(state)
