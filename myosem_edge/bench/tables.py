"""What was measured, as rows of text: decoders, stages, `run`, and a board's own budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from myosem_edge.bench.live import ALONE
from myosem_edge.bench.measure import Row
from myosem_edge.bench.subjects import STAGES
from myosem_edge.bench.timing import HOP_NS, Spread, rounded
from myosem_edge.boards.profiles import Board

HALF_HOP_MS = HOP_NS / 2e6
AFTER_DECISION = ("shaper", "gate")
# Stages of a board's budget and the stages measured that they are made of.
BUDGETED = {
    "filter": ("filter",),
    "encode": ("encode", "features and covariance"),
    "match and gate": ("match", "choose", "shaper", "gate"),
}

Lines = list[tuple[str, ...]]

DECODER_HEADER = (
    "decoder",
    "CPU per decision, us",
    "relative to {base}",
    "p50, us",
    "p99, us",
    "decisions/s and core",
    "late at 40/s, p99 ms",
    "RSS, MB",
)


def decoder_lines(rows: Sequence[Row], base: str) -> Lines:
    """One line a decoder; ratios are to the one called `base`, within the same repeat."""
    reference = next((row for row in rows if row.name == base and not row.skipped), None)
    lines: Lines = []
    for row in rows:
        if row.skipped:
            lines.append((row.name, f"skipped: {row.skipped}", *("",) * (len(DECODER_HEADER) - 2)))
            continue
        cpu = row.figures["cpu_us"]
        lines.append(
            (
                row.name,
                str(Spread(tuple(cpu))),
                str(ratio(row, reference)) if reference else "",
                str(Spread(tuple(row.figures["p50_us"]))),
                str(Spread(tuple(row.figures["p99_us"]))),
                rounded(1e6 / row.median("cpu_us")),
                str(Spread(tuple(row.figures["p99_ms"]))),
                rounded(row.median("rss_mb")),
            )
        )
    return lines


def ratio(row: Row, base: Row) -> Spread:
    """CPU time per decision relative to another decoder's, repeat by repeat."""
    return Spread(tuple(a / b for a, b in zip(row.figures["cpu_us"], base.figures["cpu_us"], strict=True)))


def stage_lines(rows: Sequence[Row]) -> Lines:
    """A line a stage, a column for every decoder that has stages, in us of CPU."""
    staged = [row for row in rows if row.stages]
    lines: Lines = [(stage, *(str(Spread(tuple(row.stages[stage]))) for row in staged)) for stage in STAGES]
    total = [[sum(values) for values in zip(*(row.stages[stage] for stage in STAGES), strict=True)] for row in staged]
    return [*lines, ("all", *(str(Spread(tuple(values))) for values in total))]


def run_lines(figures: Mapping[str, Sequence[float]]) -> Lines:
    return [(name, str(Spread(tuple(values)))) for name, values in figures.items()]


def budget_lines(board: Board, row: Row, figures: Mapping[str, Sequence[float]]) -> Lines:
    """Stage, what was measured, what the board's profile allows, and whether that is kept."""
    delay = board.delay
    stages_ms = {
        name: sum(Spread(tuple(row.stages[stage])).median for stage in parts) / 1000 for name, parts in BUDGETED.items()
    }
    allowed_ms = {"filter": delay.filter_ms, "encode": delay.encode_ms, "match and gate": delay.match_and_gate_ms}
    measured = [(f"{name}, ms", stages_ms[name], allowed_ms[name]) for name in BUDGETED]
    inside = Spread(tuple(figures["sample to command inside run p99, ms"])).median
    measured.append(("sample to command inside run p99, ms", inside, delay.total_ms))
    measured.append((ALONE, Spread(tuple(figures[ALONE])).median, board.memory.budget_mb))
    return [
        (name, rounded(found), rounded(most), "kept" if found <= most else "BROKEN") for name, found, most in measured
    ]
