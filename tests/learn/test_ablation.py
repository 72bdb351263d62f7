"""A grid of switches: read strictly, trained on the same people with the same seeds, compared person by person."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

import torch

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.actions.table import load_table
from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.sessions import Session
from myosem_edge.learn.corpus.splits import Split
from myosem_edge.learn.protocols import runs
from myosem_edge.learn.protocols.ablation import (
    BASE,
    METRICS,
    Ablation,
    Cell,
    default_grid,
    read_grid,
    run_grid,
    to_html,
    to_markdown,
)
from myosem_edge.learn.teacher.config import configure
from myosem_edge.learn.teacher.model import ModelConfig
from myosem_edge.learn.teacher.train import TrainConfig
from tests.learn.conftest import made_up_session

SPLIT = Split("research", "user", 0)
TINY = TrainConfig(model=ModelConfig(width=16, mixtures=8, filters=2), steps=2, episodes=2, ways=3, queries=1)
CELLS = (Cell(BASE), Cell("No gate", ("model.activation_aware=false",)), Cell("no gains", ("augment.gain_sigma=0",)))


def people(count: int = 6) -> list[Session]:
    return [made_up_session(i, 5, f"p{i}", "myo_readings8") for i in range(count)]


def run(out: Path, **options: Any) -> Ablation:
    torch.set_num_threads(1)
    return run_grid(CELLS, SPLIT, people(), TINY, load_catalogue(), load_table(), out=out, **options)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ablation, Path]:
    out = tmp_path_factory.mktemp("grid")
    return run(out, seeds=(3, 4)), out


def write(folder: Path, text: str) -> Path:
    (folder / "grid.toml").write_text(text)
    return folder / "grid.toml"


def test_the_grid_of_the_package_fits_the_configuration() -> None:
    cells = read_grid(default_grid(), TrainConfig())
    assert cells[0].name == BASE and cells[0].settings == () and len(cells) > 5
    assert all(cell.why for cell in cells)
    changed = [configure(TrainConfig(), cell.settings) for cell in cells]
    assert len({str(config.to_dict()) for config in changed}) == len(cells)  # no two cells are the same


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cells = 3", "a grid is a list of"),
        ("[[cell]]", "a grid is a list of"),
        ("[[cells]]\nname = 'a'", "cell 1: a cell has name, settings"),
        ("[[cells]]\nname = 'a'\nsettings = []\nseed = 1", "a cell has name, settings"),
        ("[[cells]]\nname = 'a'\nsettings = 'steps=3'", "settings a list of texts"),
        ("[[cells]]\nname = 'a'\nsettings = []", "change nothing"),
        ("[[cells]]\nname = 'a'\nsettings = ['steps=2000']", "change nothing"),
        ("[[cells]]\nname = 'a'\nsettings = ['stepps=3']", "Did you mean 'steps'"),
        ("[[cells]]\nname = 'base'\nsettings = ['steps=3']", "a name of its own"),
        ("[[cells]]\nname = '?'\nsettings = ['steps=3']", "a name of its own"),
        ("[[cells]]\nname='A b'\nsettings=['steps=3']\n[[cells]]\nname='a-B'\nsettings=['steps=4']", "cell 2: a cell"),
        ("[[cells", "is not valid TOML"),
    ],
)  # fmt: skip
def test_a_wrong_grid_is_refused_before_anything_is_trained(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_grid(write(tmp_path, text), TrainConfig())


def test_a_grid_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the grid cannot be read"):
        read_grid(tmp_path / "none.toml", TrainConfig())


def test_every_cell_is_judged_on_the_same_people(done: tuple[Ablation, Path]) -> None:
    result, out = done
    assert list(result.figures) == [cell.name for cell in CELLS]
    judged = {"myo_readings8/p0", "myo_readings8/p3"}
    for figures in result.figures.values():
        assert list(figures) == list(METRICS)
        assert all(set(people) == judged for people in figures.values())
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{name}-seed{seed}" for name in ("base", "no-gate", "no-gains") for seed in (3, 4)
    )


def test_seeds_are_averaged_person_by_person(done: tuple[Ablation, Path]) -> None:
    result, out = done
    once = [run(out, seeds=(seed,)).figures["No gate"]["R@1, as worn"] for seed in (3, 4)]
    for person, value in result.figures["No gate"]["R@1, as worn"].items():
        assert value == pytest.approx(np.mean([figures[person] for figures in once]))


def test_differences_are_paired_with_the_base(done: tuple[Ablation, Path]) -> None:
    for metric in METRICS:
        rows = done[0].differences(metric)
        assert [name for name, *_ in rows] == [cell.name for cell in CELLS]
        assert rows[0][2].mean == 0
        for name, figure, difference in rows:
            base, mine = (done[0].figures[cell][metric] for cell in (BASE, name))
            assert difference.mean == pytest.approx(np.mean([mine[p] - base[p] for p in base]))
            assert figure.mean == pytest.approx(np.mean(list(mine.values())))


def test_an_interrupted_grid_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []
    real = runs.train

    def stop_at_third(config: TrainConfig, *arguments: Any, **options: Any) -> Any:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(options["run_folder"].name)
        return real(config, *arguments, **options)

    monkeypatch.setattr(runs, "train", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    monkeypatch.setattr(runs, "train", real)
    steps: list[str] = []
    result = run(tmp_path, progress=lambda stage, *rest: steps.append(stage))
    assert trained == ["base-seed0", "no-gate-seed0"] and list(result.figures) == [cell.name for cell in CELLS]
    assert steps and all(stage.startswith("3/3 no-gains-seed0: ") for stage in steps)
    with pytest.raises(InputError, match=r"of another kind.*different steps"):
        run_grid(CELLS, SPLIT, people(), replace(TINY, steps=3), load_catalogue(), load_table(), out=tmp_path)


def test_the_page_has_every_cell_with_its_differences(done: tuple[Ablation, Path]) -> None:
    text = to_markdown(done[0])
    assert "2 steps, seeds 3, 4, 2 judged people" in text and "nan" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[1].startswith("| base |") and "(" not in rows[1]
    assert rows[2].startswith("| No gate | model.activation_aware=false |") and rows[2].count("(") == len(METRICS)
    page = to_html(done[0])
    assert page.count("data:image/png") == len(METRICS) and "model.activation_aware=false" in page
    json.dumps(done[0].to_dict(), allow_nan=False)


def test_without_calibration_only_retrieval_is_compared(tmp_path: Path) -> None:
    result = run_grid(
        CELLS[:2], Split("research", "class", 1), people(), TINY, load_catalogue(), load_table(), out=tmp_path
    )
    assert list(result.figures[BASE]) == list(METRICS[:3])
    row = next(line for line in to_markdown(result).splitlines() if line.startswith("| No gate |"))
    assert row.endswith("| - | - |")
    assert to_html(result).count("data:image/png") == 3
