"""Instructions of a hop on emulated boards, part by part and with a profile worn, beside what they may be.

Counts are alike on every machine and under any load, which times are not; they repeat to 0.6 %. They say
nothing of caches and memory: a budget of instructions keeps code from growing, it does not promise milliseconds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from myosem_edge.bench.counted import HOPS, PARTS
from myosem_edge.bench.live import wear
from myosem_edge.bench.person import load_stream
from myosem_edge.boards.counter import Counter
from myosem_edge.boards.profiles import board
from myosem_edge.boards.sysroot import Sysroot
from myosem_edge.bundle import Bundle
from myosem_edge.runtime.backends import BACKENDS

Found = dict[tuple[str, str, str], float]  # board, backend, part -> instructions of a hop

GOAL_BOARD = "pi_4"  # Cortex-A72
GOALS = {"body": 500_000, "hop": 2_000_000}
# What must not be exceeded there: measured and 15 % on top, but no more than a goal that has been reached.
BUDGETS = {
    ("onnxruntime", "body"): 470_000,
    ("litert", "body"): 280_000,
    ("reference", "body"): 1_660_000,
    ("onnxruntime", "hop"): 2_730_000,
    ("litert", "hop"): 2_530_000,
    ("reference", "hop"): 3_900_000,
}


def count(
    counter: Counter,
    sysroot: Sysroot,
    bundle: Bundle,
    bundle_path: Path,
    boards: Sequence[str],
    backends: Sequence[str] = BACKENDS,
    parts: Sequence[str] = PARTS,
    progress: Callable[[str], None] = lambda text: None,
) -> Found:
    """A wearer is calibrated here; the hops are counted there.

    Raises:
        MyosemError: the bundle does not load, or nothing could be counted.
    """
    found: Found = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        wear(home, bundle, load_stream(), "reference")

        def run(name: str, part: str, backend: str, hops: int) -> int:
            command = ["-m", "myosem_edge.bench.counted", str(bundle_path), part, backend, str(hops)]
            return counter.instructions(sysroot, board(name), command, home)

        for backend in backends:
            for name in boards:
                # The first of all starts also compiles, and any may wait for a lock: none takes less than it needs.
                start = min(run(name, PARTS[0], backend, 0) for _ in range(2))
                for part in parts:
                    progress(f"{name}, {backend}: {part}")
                    found[name, backend, part] = (run(name, part, backend, HOPS) - start) / HOPS
    return found


def over_budget(found: Mapping[tuple[str, str, str], float]) -> list[str]:
    """A sentence for everything that takes more than its budget."""
    return [
        f"{name}, {backend}, {part}: {millions(value)} instructions a hop, {millions(most)} allowed"
        for (name, backend, part), value in found.items()
        if name == GOAL_BOARD and value > (most := BUDGETS.get((backend, part), float("inf")))
    ]


def count_lines(found: Mapping[tuple[str, str, str], float]) -> list[tuple[str, ...]]:
    """Board, core, backend and a column for every part that was counted."""
    parts = counted_parts(found)
    pairs = dict.fromkeys((name, backend) for name, backend, _ in found)
    return [
        (name, board(name).cpu.core, backend, *(millions(found[name, backend, part]) for part in parts))
        for name, backend in pairs
    ]


def counted_parts(found: Mapping[tuple[str, str, str], float]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part for _, _, part in found))


def goal_lines(found: Mapping[tuple[str, str, str], float]) -> list[tuple[str, ...]]:
    """On the goal's board: backend, part, found, budget, goal, and whether that is reached."""
    lines: list[tuple[str, ...]] = []
    for (name, backend, part), value in found.items():
        if name == GOAL_BOARD:
            budget, goal = BUDGETS.get((backend, part)), GOALS.get(part)
            verdict = "-" if goal is None else "met" if value <= goal else f"missed by {millions(value - goal)}"
            lines.append((backend, part, millions(value), _or_none(budget), _or_none(goal), verdict))
    return lines


def millions(value: float) -> str:
    return f"{value / 1e6:.3f} M"


def _or_none(value: float | None) -> str:
    return "-" if value is None else millions(value)
