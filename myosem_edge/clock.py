"""The one clock. Everything that needs the time is handed one; tests hand in a virtual one and never wait."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds. The origin means nothing; only differences do."""

    def now_s(self) -> float: ...


class MonotonicClock:
    """CLOCK_MONOTONIC: the same origin in every process of one machine, so logs of two processes line up."""

    def now_s(self) -> float:
        return time.monotonic()


class VirtualClock:
    """A clock that only moves when it is told to."""

    def __init__(self, start_s: float = 1000.0) -> None:
        self._now_s = start_s

    def now_s(self) -> float:
        return self._now_s

    def advance(self, seconds: float) -> float:
        if seconds < 0:
            raise ValueError(f"a monotonic clock cannot go back {seconds} s")
        self._now_s += seconds
        return self._now_s
