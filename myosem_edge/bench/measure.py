"""Several decoders in turn, each in a process of its own and all on the same stream, and a real `run` beside them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from myosem_edge.bench.live import memory_mb, observe
from myosem_edge.bench.person import RATE_HZ, Stream
from myosem_edge.bench.service import Child, ChildError
from myosem_edge.bench.timing import HOP_NS, Spread
from myosem_edge.bundle import Bundle
from myosem_edge.errors import InputError
from myosem_edge.runtime.backends import BACKENDS
from myosem_edge.runtime.child import child_command, child_environment

FRAME = round(RATE_HZ * HOP_NS / 1e9)  # samples of a hop
WINDOW = 10 * FRAME  # 250 ms, of decoders that look at a window
WARM_UP = 200  # decisions
DEVICE, CHANNELS = "myo", 8

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How much is measured. Every decoder is measured `repeats` times, in turn with the others."""

    repeats: int = 3
    decisions: int = 4000
    staged: int = 1000
    paced: int = 400  # ten seconds
    run_s: float = 20.0


@dataclass(frozen=True)
class Entry:
    """A decoder to measure: what starts its child (see `service`), and what it is."""

    name: str
    what: str
    command: Sequence[str]
    environment: Mapping[str, str]
    staged: bool = False  # whether its stages can be told apart


@dataclass
class Row:
    """What was found of one decoder, each figure as often as it was measured; or why there is nothing."""

    name: str
    what: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    stages: dict[str, list[float]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    skipped: str = ""

    def median(self, figure: str) -> float:
        return Spread(tuple(self.figures[figure])).median

    def note(self, found: Mapping[str, float], into: dict[str, list[float]] | None = None) -> None:
        for name, value in found.items():
            (self.figures if into is None else into).setdefault(name, []).append(value)


def ours(bundle_path: Path, kinds: Sequence[tuple[str, str]]) -> list[Entry]:
    """Our own decoder, streaming or windowed, on a backend."""
    entries = []
    for kind, backend in kinds:
        command = child_command("myosem_edge.bench.subjects", kind, str(bundle_path), backend)
        what = {
            "streaming": "int8, each frame seen once",
            "windowed": "int8, its whole receptive window anew at every hop",
        }[kind]
        entries.append(Entry(f"{kind}, {backend}", what, command, one_thread(child_environment()), kind == "streaming"))
    return entries


def one_thread(environment: Mapping[str, str]) -> dict[str, str]:
    """Everybody gets one thread, however many this machine has."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return {**environment, **dict.fromkeys(names, "1")}


def measure_decoders(entries: Sequence[Entry], stream: Stream, plan: Plan, progress: Progress) -> list[Row]:
    """All of them, in turn in every repeat, so that a busy moment of the machine hits every row."""
    rows = [Row(entry.name, entry.what) for entry in entries]
    request = stream.request(FRAME, WINDOW)
    with ExitStack() as stack:
        children: list[tuple[Row, Child, bool]] = []
        for row, entry in zip(rows, entries, strict=True):
            progress(f"{row.name}: calibrate")
            try:
                child = stack.enter_context(Child(entry.command, entry.environment))
                row.facts = child.ask("load", **request)
                children.append((row, child, entry.staged))
            except ChildError as error:
                row.skipped = str(error)
        for repeat in range(plan.repeats):
            for row, child, staged in children:
                progress(f"{row.name}: {repeat + 1} of {plan.repeats}")
                row.note(child.ask("cost", decisions=plan.decisions, warm_up=WARM_UP))
                if staged:
                    row.note(child.ask("stages", decisions=plan.staged), row.stages)
                row.note(child.ask("pace", decisions=plan.paced))
        for row, child, _ in children:
            row.note({"rss_mb": memory_mb(child.pid)["RSS, MB"]})
    return rows


def measure_run(
    bundle: Bundle, bundle_path: Path, stream: Stream, backend: str, plan: Plan, progress: Progress
) -> dict[str, list[float]]:
    """A real `run` on emulated devices, as often as there are repeats."""
    found: dict[str, list[float]] = {}
    for repeat in range(plan.repeats):
        progress(f"run on emulated devices: {repeat + 1} of {plan.repeats}")
        for name, value in observe(bundle, bundle_path, stream, backend, plan.run_s).figures().items():
            found.setdefault(name, []).append(value)
    return found


def require_measurable(bundle: Bundle, backends: Sequence[str]) -> None:
    """Raises:
    InputError: the bundle is for other electrodes than the person of the sample wore, or no such backend.
    """
    montage = bundle.manifest.montage
    found = (montage.device, montage.channels, montage.rate_hz, bundle.manifest.filter.frame_samples)
    if found != (DEVICE, CHANNELS, RATE_HZ, FRAME):
        raise InputError(
            "the person of the sample wore other electrodes than this bundle is for",
            where=bundle.manifest.file_name,
            found=f"{montage.device}, {montage.channels} channels, {montage.rate_hz:g} Hz",
            expected=f"{DEVICE}, {CHANNELS} channels, {RATE_HZ:g} Hz",
        )
    for backend in backends:
        if backend not in BACKENDS:
            raise InputError(f"'{backend}' is not a known encoder backend", expected=", ".join(BACKENDS))


def machine() -> dict[str, Any]:
    """In neutral words: what it is, not whose."""
    from myosem_edge.boards.profiles import detect_board

    here = detect_board()
    load = os.getloadavg()[0]
    return {
        "board": here.board.name if here.board else None,
        "machine": here.machine,
        "cores": here.cores,
        "memory_mb": here.memory_mb,
        "load_before": round(load, 2),
    }
