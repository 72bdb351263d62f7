"""Timing of decisions, with clocks that are handed in. Standard library only: a peer's own environment runs it, too."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

HOP_NS = 25_000_000  # 40 decisions a second


@dataclass(frozen=True)
class Clocks:
    """`wall_ns` is monotonic, `cpu_ns` what this process has used of a core; `wait_s` lets time pass."""

    wall_ns: Callable[[], int] = time.perf_counter_ns
    cpu_ns: Callable[[], int] = time.process_time_ns
    wait_s: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Cost:
    """Of one decision: CPU time on average, wall time at two quantiles, in us."""

    cpu_us: float
    p50_us: float
    p99_us: float
    decisions: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Spread:
    """Repeated measurements of one quantity."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return quantile(self.values, 0.5)

    def __str__(self) -> str:
        if len(self.values) == 1:
            return rounded(self.median)
        return f"{rounded(self.median)} [{rounded(min(self.values))}, {rounded(max(self.values))}]"


@dataclass
class Pace:
    """How late decisions were that are due every hop, in ms after the samples they need were there."""

    late_ms: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, float]:
        return {"p50_ms": quantile(self.late_ms, 0.5), "p99_ms": quantile(self.late_ms, 0.99)}


def cost(decide: Callable[[int], object], decisions: int, warm_up: int, clocks: Clocks) -> Cost:
    """Call `decide(0)`, `decide(1)`, ... as fast as it goes; the first `warm_up` calls do not count.

    The two clocks are read in rounds of their own: reading that of the CPU is a system call, and no part of a decision.
    """
    for i in range(warm_up):
        decide(i)
    half = max(1, decisions // 2)
    begun_ns = clocks.cpu_ns()
    for i in range(warm_up, warm_up + half):
        decide(i)
    cpu_us = (clocks.cpu_ns() - begun_ns) / half / 1000
    walls_us = []
    for i in range(warm_up + half, warm_up + 2 * half):
        begun_ns = clocks.wall_ns()
        decide(i)
        walls_us.append((clocks.wall_ns() - begun_ns) / 1000)
    return Cost(cpu_us, quantile(walls_us, 0.5), quantile(walls_us, 0.99), 2 * half)


def paced(decide: Callable[[int], object], decisions: int, clocks: Clocks, hop_ns: int = HOP_NS) -> Pace:
    """Call `decide` once a hop; late is how long after its samples were due its decision was there."""
    pace = Pace()
    first_ns = clocks.wall_ns()
    for i in range(decisions):
        due_ns = first_ns + i * hop_ns
        while (left_ns := due_ns - clocks.wall_ns()) > 0:
            clocks.wait_s(left_ns / 1e9)
        decide(i)
        pace.late_ms.append((clocks.wall_ns() - due_ns) / 1e6)
    return pace


def quantile(values: Sequence[float], fraction: float) -> float:
    """The smallest value that at least this fraction of all do not exceed; the mean of the middle two for a half."""
    ordered = sorted(values)
    if fraction == 0.5:
        return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return ordered[min(len(ordered) - 1, max(0, -int(-fraction * len(ordered) // 1) - 1))]


def rounded(value: float) -> str:
    """Three figures."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
