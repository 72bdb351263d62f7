"""What is counted, and what is made of it: the start cancels, and what exceeds its budget is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from myosem_edge.bench.counted import HOPS, PARTS, Hops
from myosem_edge.bench.instructions import BUDGETS, GOAL_BOARD, GOALS, count, count_lines, goal_lines, over_budget
from myosem_edge.bench.live import wear
from myosem_edge.bench.person import load_stream
from myosem_edge.boards.counter import find_counter
from myosem_edge.bundle import Bundle, bundle_from
from myosem_edge.calibration.store import Store
from myosem_edge.errors import InputError
from myosem_edge.keys import new_key
from myosem_edge.runtime.backends import BACKENDS
from tests.bench.test_peers import benchmark
from tests.calibration import tiny_model


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path]:
    """A tiny one, and a user folder with a profile for it."""
    folder = tmp_path_factory.mktemp("counted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYOSEM_HOME", str(folder))
        path = folder / "tiny-0.1.0.myosem"
        tiny_model.bundle_file(path, new_key("maker"))
        found = bundle_from(path)
    return found, path


HOP = dict(zip(PARTS, (100, 200, 300, 400), strict=True))


class Board:
    """An emulated board on which every start takes 1000, the first one more, and a hop of each part so many."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []

    def instructions(self, sysroot: Any, which: Any, arguments: Sequence[str], home: Path) -> int:
        assert Store(home / "profiles").load("bench").enrolment.actions
        assert list(arguments[:2]) == ["-m", "myosem_edge.bench.counted"]
        self.asked.append(arguments)
        _, part, _, hops = arguments[2:]
        late = 7000 if len(self.asked) == 1 else 0  # to compile
        return 1000 + late + int(hops) * HOP[part]


def test_the_start_cancels_however_long_it_takes(bundle: tuple[Bundle, Path]) -> None:
    there, told = Board(), []  # type: ignore[var-annotated]
    found = count(there, None, *bundle, ["pi_4", "pi_5"], ["reference"], progress=told.append)  # type: ignore[arg-type]
    assert found == {(name, "reference", part): float(HOP[part]) for name in ("pi_4", "pi_5") for part in PARTS}
    assert {int(each[-1]) for each in there.asked} == {0, HOPS} and "pi_5, reference: hop" in told


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_played_from_where_the_gate_is_armed(
    bundle: tuple[Bundle, Path], part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, path = bundle
    monkeypatch.setenv("MYOSEM_HOME", str(path.parent))
    wear(tmp_path, found, load_stream(), "reference")
    hops = Hops(path, "reference", Store(tmp_path / "profiles"))
    assert hops.gate.armed and hops.decoder.enrolment is not None
    fed: list[str] = []
    monkeypatch.setattr(hops.decoder.encoder.body, "step", spy(fed, "body", hops.decoder.encoder.body.step))
    monkeypatch.setattr(hops.decoder.encoder, "filtered", spy(fed, "encoder", hops.decoder.encoder.filtered))
    monkeypatch.setattr(hops.decoder, "decide", spy(fed, "decision", hops.decoder.decide))
    before = hops.gate
    hops.play(part, 3)
    reached = [name for name in PARTS if name in fed] + (["hop"] if hops.gate != before else [])
    assert reached == list(PARTS[: PARTS.index(part) + 1])
    assert all(fed.count(name) == 3 for name in fed)


def spy(fed: list[str], name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def called(*arguments: Any) -> Any:
        fed.append(name)
        return real(*arguments)

    return called


def test_what_exceeds_its_budget_is_said_and_other_boards_have_none() -> None:
    (backend, part), most = next(iter(BUDGETS.items()))
    assert over_budget({(GOAL_BOARD, backend, part): most, ("pi_5", backend, part): 9.0 * most}) == []
    (said,) = over_budget({(GOAL_BOARD, backend, part): most + 1000})
    assert said.startswith(f"{GOAL_BOARD}, {backend}, {part}: ") and said.endswith("allowed")


def test_every_goal_has_a_budget_on_every_backend() -> None:
    assert set(BUDGETS) == {(backend, part) for backend in BACKENDS for part in GOALS}


def test_a_row_a_board_and_backend_and_a_verdict_on_every_goal() -> None:
    found = {
        ("pi_4", "litert", "body"): 400_000.0,
        ("pi_4", "litert", "hop"): 2_500_000.0,
        ("pi_5", "litert", "body"): 1.0,
        ("pi_5", "litert", "hop"): 2.0,
    }
    assert count_lines(found) == [
        ("pi_4", "Cortex-A72", "litert", "0.400 M", "2.500 M"),
        ("pi_5", "Cortex-A76", "litert", "0.000 M", "0.000 M"),
    ]
    body, hop = goal_lines(found)
    assert body[:3] == ("litert", "body", "0.400 M") and body[-1] == "met"
    assert hop[-2:] == ("2.000 M", "missed by 0.500 M")


class TestCommand:
    @pytest.fixture
    def script(self, monkeypatch: pytest.MonkeyPatch, bundle: tuple[Bundle, Path]) -> Any:
        monkeypatch.setenv("MYOSEM_HOME", str(bundle[1].parent))
        script = benchmark("instructions")
        monkeypatch.setattr(script, "find_counter", lambda cache: Board())
        monkeypatch.setattr(script, "prepare", lambda target, cache: None)
        return script

    def test_the_page_names_its_command_bundle_and_verdicts(
        self, script: Any, bundle: tuple[Bundle, Path], tmp_path: Path
    ) -> None:
        out = tmp_path / "instructions.md"
        words = [str(bundle[1]), "--backend", "litert", "--board", "pi_4", "--out", str(out)]
        result = CliRunner().invoke(script.main, words)
        assert result.exit_code == 0, result.output
        page = out.read_text()
        for expected in ("python benchmarks/instructions.py", bundle[0].sha256[:16], "| pi_4 | Cortex-A72 | litert |"):
            assert expected in page
        assert "| litert | body | 0.000 M |" in page and "met" in page

    def test_without_the_emulator_it_says_how_to_get_it(
        self, script: Any, bundle: tuple[Bundle, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(script, "find_counter", find_counter)
        monkeypatch.setenv("MYOSEM_ARM_CACHE", str(tmp_path))
        result = CliRunner().invoke(script.main, [str(bundle[1])])
        assert result.exit_code == InputError.exit_code
        assert "no emulator that counts" in result.output and "--build" in result.output
