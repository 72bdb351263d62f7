"""Fingers of an emulated hand: they turn at a rate, stop at an object, and press on what they hold."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from myosem_edge.firmware_bridge.emulators.base import Emulator

WIDEST_OBJECT_MM = 100.0  # leaves no way at all
REACHED = 1e-9  # of the stroke
FORCE_PER_STROKE_N = 60.0  # how hard a finger presses for each stroke that its target lies inside an object
MOST_FORCE_N = 15.0  # then its motor stalls


@dataclass
class Servo:
    """One joint that goes to its target and holds it: closure 0 open to 1 closed."""

    rate: float  # strokes a second
    at: float = 0.0
    target: float = 0.0
    contact: float = math.inf  # closure at which an object stops it

    @property
    def goal(self) -> float:
        return min(self.target, max(self.contact, 0.0)) if self.target > self.at else self.target

    @property
    def moving(self) -> bool:
        return abs(self.goal - self.at) > REACHED

    @property
    def force_n(self) -> float:
        if self.at < self.contact - REACHED:
            return 0.0
        return min(MOST_FORCE_N, max(0.0, self.target - self.at) * FORCE_PER_STROKE_N)

    @property
    def stalled(self) -> bool:
        return self.force_n >= MOST_FORCE_N

    def move(self, seconds: float) -> None:
        way = self.goal - self.at
        step = self.rate * seconds
        self.at = self.goal if abs(way) <= step + REACHED else self.at + math.copysign(step, way)


class ServoHand(Emulator):
    """A hand of joints that hold the last target for ever. `object_width_mm` may be changed while it runs."""

    joints: tuple[str, ...]
    rate: float = 1.5  # strokes a second, where the protocol does not set it
    free_joints: frozenset[str] = frozenset()  # those that an object in the hand does not hold up

    def __init__(self, *, object_width_mm: float | None = None) -> None:
        super().__init__()
        self.servos = [Servo(self.rate) for _ in self.joints]
        self.frames_good = self.frames_bad = 0
        self._now_s: float | None = None
        self.object_width_mm = object_width_mm

    @property
    def object_width_mm(self) -> float | None:
        return self._object_width_mm

    @object_width_mm.setter
    def object_width_mm(self, width_mm: float | None) -> None:
        if width_mm is not None and not 0 < width_mm <= WIDEST_OBJECT_MM:
            raise ValueError(f"object width {width_mm} mm is not in 0..{WIDEST_OBJECT_MM:g}")
        self._object_width_mm = width_mm
        for joint, servo in zip(self.joints, self.servos, strict=True):
            free = width_mm is None or joint in self.free_joints
            servo.contact = math.inf if free or width_mm is None else 1.0 - width_mm / WIDEST_OBJECT_MM

    @property
    def closure(self) -> tuple[float, ...]:
        return tuple(servo.at for servo in self.servos)

    @property
    def moving(self) -> bool:
        return any(servo.moving for servo in self.servos)

    def receive(self, data: bytes, now_s: float) -> None:
        self.tick(now_s)
        self._take(data)

    def tick(self, now_s: float) -> None:
        elapsed_s = 0.0 if self._now_s is None else max(0.0, now_s - self._now_s)
        self._now_s = now_s
        for servo in self.servos:
            servo.move(elapsed_s)

    def status(self) -> str:
        joints = zip(self.joints, self.servos, strict=True)
        return "  ".join(f"{name} {100 * servo.at:3.0f}% {servo.force_n:4.1f} N" for name, servo in joints)

    @abstractmethod
    def _take(self, data: bytes) -> None:
        """Obey whatever of these bytes makes sense."""

    def _go(self, closure: Sequence[float]) -> None:
        for servo, target in zip(self.servos, closure, strict=True):
            servo.target = min(max(target, 0.0), 1.0)
