"""`benchmark` and `ablate` as a user types them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="the [train] extra is not installed")

from myosem_edge.cli.main import main
from myosem_edge.learn.corpus.splits import DATASETS as DATASETS_OF
from myosem_edge.learn.datasets import DATASETS
from myosem_edge.learn.protocols.ablation import BASE
from myosem_edge.learn.protocols.rows import ROWS, missing_data
from tests.conftest import shared_data

PACKS = os.environ.get("MYOSEM_DATA")
TINY = [
    part
    for setting in ("steps=2", "ways=3", "queries=1", "episodes=2", "model.width=16", "model.mixtures=8")
    for part in ("--set", setting)
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYOSEM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MYOSEM_DATA", raising=False)


def run(*arguments: object, command: str = "benchmark") -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [command, *(str(a) for a in arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_the_list_needs_no_data() -> None:
    code, out, err = run("--list")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(ROWS)
    assert out.count("LEAKY") == 3 and "67.08" in out and "data here?" not in out


def test_the_list_says_which_data_are_here(data: Path) -> None:
    code, out, _ = run("--list", "--data", data, "--json")
    missing = {row["row"]: row["missing"] for row in json.loads(out)}
    assert code == 0 and missing["pack-user"] == [] and missing["np-user"] == ["ninapro_db2"]
    assert "missing: ninapro_db2, ninapro_db3" in run("--list", "--data", data)[1]


def test_a_dry_run_shows_who_would_be_judged(data: Path, tmp_path: Path) -> None:
    code, out, err = run("pack-user", "--data", data, "--dry-run", "--out", tmp_path / "b", "--set", "steps=7")
    assert (code, err) == (0, "")
    shown = json.loads(out)
    assert shown["config"]["steps"] == 7 and [t["fold"] for t in shown["trainings"]] == [0, 1, 2]
    judged = [t["judged_people"].get("myo_readings8", []) for t in shown["trainings"]]
    assert sorted(who for people in judged for who in people) == sorted(shown["people"]["myo_readings8"])
    assert not (tmp_path / "b").exists()


def test_a_row_is_one_command_that_goes_on_where_it_stopped(data: Path, tmp_path: Path) -> None:
    options = ("pack-user", "--data", data, "--out", tmp_path, "--device", "cpu", *TINY)
    code, out, err = run(*options, "--fold", 1)
    assert code == 0, err
    folder = tmp_path / "pack-user"
    assert {path.name for path in folder.iterdir()} == {"user-1", "benchmark.md", "benchmark.json", "report.html"}
    assert "user-1: train: 2/2" in err
    assert "Settings: model.mixtures" not in out and "Settings: steps=2, ways=3" in out
    assert "ONLY 1 OF 3 TRAININGS" in out
    code, out, err = run(*options)
    assert code == 0, err
    assert {path.name for path in folder.iterdir()} >= {"user-0", "user-1", "user-2"}
    assert "user-0: train" in err and "user-1: train" not in err
    assert (
        "TRAININGS" not in out
        and out.startswith("# pack-user: ")
        and (folder / "benchmark.md").read_text().strip() == out.strip()
    )
    document = json.loads((folder / "benchmark.json").read_text(), parse_constant=pytest.fail)
    assert document["config"]["steps"] == 2
    code, out, _ = run(*options, "--json")
    assert code == 0 and json.loads(out)["row"] == "pack-user"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("np-usr", "--data", "x"), 3, "Did you mean 'np-user'?"),
        (("pack-user", "--data", "/nowhere"), 3, "Nothing is downloaded for you. Put "),
        (("np-user", "--data", "/nowhere"), 3, "from https://ninapro.hevs.ch into /nowhere/ninapro_db2"),
        (("pack-user",), 2, "Missing option '--data'"),
        ((), 2, "Name a row: np-rand, "),
        (("pack-user", "--data", "x", "--fold", "-1"), 2, "'--fold'"),
    ],
)
def test_a_wrong_call_says_what_to_do(arguments: tuple[str, ...], code: int, message: str) -> None:
    found, out, err = run(*arguments)
    assert (found, out) == (code, "") and message in err and "Traceback" not in err


def test_a_fold_that_no_row_has(data: Path, tmp_path: Path) -> None:
    code, _, err = run("pack-user", "--data", data, "--out", tmp_path, "--fold", 3, *TINY)
    assert code == 3 and "no such fold of this row (found 3, expected 0 to 2)" in err


def test_a_grid_is_one_command(data: Path, tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text('[[cells]]\nname = "no gate"\nsettings = ["model.activation_aware=false"]\n')
    options = ("--data", data, "--out", tmp_path / "a", "--grid", tmp_path / "grid.toml", "--device", "cpu", *TINY)
    code, out, err = run(*options, command="ablate")
    assert code == 0, err
    folder = tmp_path / "a"
    assert {path.name for path in folder.iterdir()} == {
        "base-seed0", "no-gate-seed0", "ablation.md", "ablation.json", "report.html",
    }  # fmt: skip
    assert "2/2 no-gate-seed0: train: 2/2" in err and "| no gate | model.activation_aware=false |" in out
    assert (folder / "ablation.md").read_text().strip() == out.strip()
    assert list(json.loads((folder / "ablation.json").read_text())["figures"]) == ["base", "no gate"]


def test_a_dry_run_shows_the_cells(data: Path, tmp_path: Path) -> None:
    options = ("--data", data, "--out", tmp_path / "o", "--dry-run", "--seeds", 2, "--seed", 5)
    code, out, err = run(*options, command="ablate")
    assert (code, err) == (0, "") and not (tmp_path / "o").exists()
    shown = json.loads(out)
    assert shown["seeds"] == [5, 6] and shown["cells"][0]["name"] == BASE
    assert shown["people"].keys() == set(DATASETS_OF["research"]) and min(shown["people"].values()) > 0


def test_a_dry_run_without_data_says_so(tmp_path: Path) -> None:
    code, out, err = run("--data", tmp_path, "--out", tmp_path, "--dry-run", command="ablate")
    assert (code, out) == (3, "") and str(tmp_path) in err and "myo_readings8" in err


@pytest.mark.parametrize(
    "settings, more, message",
    [
        ("steps=3", ("--set", "steps=3"), "change nothing"),
        ("seed=1", (), "the same seeds"),
        ("steps=3", ("--seed", 2**63 - 1, "--seeds", 2), "no such seed"),
    ],
)
def test_a_grid_that_compares_nothing_is_refused(
    data: Path, tmp_path: Path, settings: str, more: tuple[object, ...], message: str
) -> None:
    (tmp_path / "grid.toml").write_text(f"[[cells]]\nname = 'short'\nsettings = ['{settings}']")
    options = ("--data", data, "--out", tmp_path / "o", "--grid", tmp_path / "grid.toml", "--dry-run", *more)
    code, out, err = run(*options, command="ablate")
    assert (code, out) == (3, "") and message in err


@pytest.mark.training
@pytest.mark.parametrize("name", [name for name in ROWS if not name.startswith("pack-")])
def test_a_published_row_end_to_end(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs as soon as loader and data are there; three steps, so that only the way is tested."""
    if absent := [dataset for dataset in ROWS[name].datasets if dataset not in DATASETS]:
        pytest.skip(f"no loader for {', '.join(absent)} yet")
    if PACKS:
        monkeypatch.setenv("MYOSEM_DATA", PACKS)
    folder = shared_data("myo_readings8").parent
    if missing := missing_data(ROWS[name], folder):
        pytest.skip(f"not in the folder of packs: {', '.join(missing)}")
    code, out, err = run(name, "--data", folder, "--out", tmp_path, "--fold", 0, *TINY)
    assert code == 0, err
    assert f"# {name}: " in out
