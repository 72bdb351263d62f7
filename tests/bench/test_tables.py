"""What was measured, in rows: ratios within a repeat, what was skipped and why, and a board's budget."""

from __future__ import annotations

from dataclasses import replace

from myosem_edge.bench.live import ALONE
from myosem_edge.bench.measure import Row
from myosem_edge.bench.subjects import STAGES
from myosem_edge.bench.tables import DECODER_HEADER, budget_lines, decoder_lines, ratio, stage_lines
from myosem_edge.boards.profiles import board


def row(name: str, cpu_us: list[float], stages: bool = False) -> Row:
    times = {"cpu_us": cpu_us, "p50_us": cpu_us, "p99_us": cpu_us, "p50_ms": cpu_us, "p99_ms": cpu_us}
    told = {stage: [100.0] * len(cpu_us) for stage in STAGES} if stages else {}
    return Row(name, "a test", {**times, "rss_mb": [80.0]}, told)


def test_a_ratio_is_taken_within_its_repeat() -> None:
    # The machine was half as fast in the second repeat; the ratio does not know.
    assert ratio(row("ours", [100.0, 200.0]), row("theirs", [400.0, 800.0])).values == (0.25, 0.25)


def test_a_line_a_decoder_and_the_reason_for_one_that_is_missing() -> None:
    gone = Row("LibEMG", "theirs", skipped="No module named 'libemg'")
    first, second, third = decoder_lines([row("ours", [500.0]), gone, row("theirs", [250.0])], "theirs")
    assert first[:3] == ("ours", "500", "2") and first[5] == "2000"
    assert second[:2] == ("LibEMG", "skipped: No module named 'libemg'")
    assert len(first) == len(second) == len(third) == len(DECODER_HEADER)
    assert [line[2] for line in decoder_lines([row("ours", [500.0]), gone], "LibEMG")] == ["", ""]


def test_stages_and_their_sum() -> None:
    lines = stage_lines([row("ours", [1.0, 2.0], stages=True), row("theirs", [1.0])])
    assert [line[0] for line in lines] == [*STAGES, "all"]
    assert lines[-1] == ("all", f"{100 * len(STAGES)} [{100 * len(STAGES)}, {100 * len(STAGES)}]")


def test_a_budget_is_kept_or_broken() -> None:
    here = board("pi_4")
    figures = {"sample to command inside run p99, ms": [2.0], ALONE: [70.0]}
    lines = {line[0]: line[1:] for line in budget_lines(here, row("ours", [1.0], stages=True), figures)}
    assert lines["encode, ms"] == ("0.2", "3", "kept") and lines["match and gate, ms"] == ("0.4", "0.5", "kept")
    tight = replace(here, memory=replace(here.memory, budget_mb=64))
    broken = [line[0] for line in budget_lines(tight, row("ours", [1.0], stages=True), figures) if line[3] == "BROKEN"]
    assert broken == [ALONE]
