"""A converter board and a one-motor hand behind it: proportional, and still without a signal."""

from __future__ import annotations

from myosem_edge.firmware_bridge.emulators.fingers import ServoHand
from myosem_edge.firmware_bridge.hands.two_channel import (
    ASK,
    FULL_MV,
    LEAST_MV,
    SILENCE_S,
    levels,
    read_levels,
)
from myosem_edge.firmware_bridge.lines import Lines


class TwoChannelEmulator(ServoHand):
    joints = ("hand",)

    def __init__(self, *, object_width_mm: float | None = None) -> None:
        super().__init__(object_width_mm=object_width_mm)
        self._lines = Lines()
        self._levels = (0, 0)
        self._heard_s = 0.0

    def tick(self, now_s: float) -> None:
        if now_s - self._heard_s > SILENCE_S:
            if any(self._levels):
                super().tick(self._heard_s + SILENCE_S)
            self._set((0, 0))
        super().tick(now_s)

    def _take(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            if line == ASK.strip():
                self._outgoing += levels(*self._levels)
            elif (given := read_levels(line)) is not None:
                self._set(given)
                self._heard_s = self._now_s or 0.0
            else:
                self.frames_bad += 1
                continue
            self.frames_good += 1

    def _set(self, given: tuple[int, int]) -> None:
        self._levels = given
        servo = self.servos[0]
        level_mv = max(given)
        servo.rate = self.rate * (level_mv - LEAST_MV + 1) / (FULL_MV - LEAST_MV + 1) if level_mv else 0.0
        servo.target = servo.at if not level_mv else 0.0 if given[0] else 1.0
