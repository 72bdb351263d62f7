"""`bench` as a user types it: every table, the budget of a board, JSON, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from myosem_edge.bench.live import ALONE
from myosem_edge.bench.subjects import STAGES
from myosem_edge.cli.main import main
from myosem_edge.errors import BundleError, InputError

QUICK = ["--repeats", "2", "--decisions", "20", "--seconds", "1"]
RUN = {"sample to command inside run p99, ms": [2.0, 3.0], ALONE: [60.0, 61.0]}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """`run` takes its seconds in real time: here it is only asked for."""
    asked: list[Any] = []

    def measured(
        bundle: Any, path: Path, stream: Any, backend: str, plan: Any, progress: Any
    ) -> dict[str, list[float]]:
        asked.append((backend, plan.repeats, plan.run_s))
        return RUN

    monkeypatch.setattr("myosem_edge.bench.measure.measure_run", measured)
    return asked


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["bench", *(str(a) for a in arguments)])
    assert "Traceback" not in result.stderr
    return result


def test_every_table_and_the_budget_of_the_board(tiny_bundle: Path, ran: list[Any]) -> None:
    result = call(tiny_bundle, "--backend", "reference", "--board", "pi_4", *QUICK)
    assert result.exit_code == 0, result.stderr
    for words in ("streaming, reference", "decisions/s and core", *STAGES, "budget of pi_4"):
        assert words in result.stdout
    assert "streaming, reference: 2 of 2" in result.stderr
    assert ran == [("reference", 2, 1.0)]


def test_json_has_every_measurement_and_what_was_skipped(tiny_bundle: Path, ran: list[Any]) -> None:
    result = call(tiny_bundle, "--backend", "reference", "--backend", "litert", "--json", *QUICK)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    measured, skipped = found["decoders"]
    assert measured["name"] == "streaming, reference" and len(measured["figures"]["cpu_us"]) == 2
    assert set(measured["stages"]) == set(STAGES)
    assert skipped["name"] == "streaming, litert" and skipped["skipped"]
    assert found["run"]["figures"] == RUN and found["bundle"] == "tiny-0.1.0.myosem"
    assert set(found["machine"]) == {"board", "machine", "cores", "memory_mb", "load_before"}


def test_what_cannot_be_measured_is_refused(tiny_bundle: Path, ran: list[Any], tmp_path: Path) -> None:
    result = call(tiny_bundle, "--backend", "abacus", *QUICK)
    assert result.exit_code == InputError.exit_code and "'abacus' is not a known encoder backend" in result.stderr
    result = call(tiny_bundle, "--backend", "litert", *QUICK)  # the tiny bundle has no such member
    assert result.exit_code == InputError.exit_code and "no encoder runtime runs here" in result.stderr
    (tmp_path / "other.myosem").write_bytes(b"nothing")
    assert call(tmp_path / "other.myosem", *QUICK).exit_code == BundleError.exit_code
    assert ran == []
