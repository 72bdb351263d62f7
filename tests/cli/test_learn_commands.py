"""`train`, `evaluate` and `query` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="the [train] extra is not installed")

from myosem_edge.cli._training import shipped_teacher
from myosem_edge.cli.main import main
from myosem_edge.learn.corpus.splits import SHIPPED_HELD_OUT
from myosem_edge.learn.sample import PACK, sample_folder

SHIPPED = str(shipped_teacher())
PERSON = str(sample_folder() / PACK / "p78945.npz")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MYOSEM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MYOSEM_DATA", raising=False)
    monkeypatch.delenv("MYOSEM_DEBUG", raising=False)
    return tmp_path / "home"


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_dry_run_of_training_shows_configuration_and_people(data: Path, tmp_path: Path) -> None:
    code, out, err = run(
        "train", "--data", data, "--family", "shipped", "--out", tmp_path / "t", "--dry-run", "--set", "steps=7",
        "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    said = json.loads(out)
    assert said["config"]["steps"] == 7 and said["device"] == "cpu"
    assert said["people"] == {"myo_readings8": ["p10000", "p10101"], "myo_kanoga22": ["sub1"]}
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", "model.widht=96"), "'widht' is no setting"),
        (("--set", "bad.key=1"), "'bad' is no setting"),
        (("--set", "steps"), "a setting is KEY=VALUE"),
        (("--family", "shipped", "--split", "user"), "the shipped model has one split"),
        (("--split", "dataset"), "a data set must be held out"),
        (("--data", "/nowhere"), "no such data folder"),
        (("--set", "queries=9", "--device", "cpu"), "no session has 7 actions with 10 repetitions"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_3(
    data: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    code, out, err = run("train", "--data", data, "--out", tmp_path / "t", *options)
    assert (code, out) == (3, "")
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: ") and message in last and "Traceback" not in err


def test_training_evaluating_and_what_they_leave(data: Path, tmp_path: Path) -> None:
    run_folder = tmp_path / "t"
    settings = [
        part
        for setting in ("steps=4", "ways=4", "queries=1", "episodes=2", "model.width=32", "model.mixtures=12")
        for part in ("--set", setting)
    ]
    code, out, err = run(
        "train", "--data", data, "--family", "shipped", "--out", run_folder, "--device", "cpu", *settings
    )
    assert code == 0, err
    assert "Wrote" in out and "Next: myosem-edge evaluate" in out and "train: 4/4 loss" in err
    assert {p.name for p in run_folder.iterdir()} == {
        "teacher.safetensors", "history.json", "training.png", "resume.safetensors",
    }  # fmt: skip
    assert len(json.loads((run_folder / "history.json").read_text())) == 4

    out_folder = tmp_path / "e"
    code, out, err = run(
        "evaluate", run_folder / "teacher.safetensors", "--data", data, "--dataset", "myo_readings8",
        "--budget", "1", "--out", out_folder,
    )  # fmt: skip
    assert code == 0, err
    assert (out_folder / "evaluation.md").read_text().strip() == out.strip()
    assert "myo_cotelallard7" not in out and "| 1 repetition | " in out
    assert {path.name for path in out_folder.iterdir()} == {"evaluation.md", "evaluation.json", "report.html"}
    assert (out_folder / "report.html").read_text().startswith("<!DOCTYPE html>")
    result = json.loads((out_folder / "evaluation.json").read_text(), parse_constant=pytest.fail)
    assert result["retrieval"][0]["people"] == sorted(f"myo_readings8/{who}" for who in SHIPPED_HELD_OUT[:2])


def test_measuring_the_vocabulary_and_what_it_leaves(data: Path, tmp_path: Path) -> None:
    out_folder = tmp_path / "v"
    code, out, err = run("vocabulary", "--data", data, "--dataset", "myo_readings8", "--out", out_folder)
    assert code == 0, err
    assert (out_folder / "vocabulary.md").read_text().strip() == out.strip()
    assert "**Paraphrase to description**" in out and "myo_cotelallard7" not in out
    result = json.loads((out_folder / "vocabulary.json").read_text(), parse_constant=pytest.fail)
    people = result["retrieval"][0]["values"]["as worn"]["one paraphrase"]["hop"]["R@1"]
    assert sorted(people) == sorted(f"myo_readings8/{who}" for who in SHIPPED_HELD_OUT[:2])
    assert result["stacking"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("absent.safetensors",), "absent.safetensors"),
        (("--dataset", "myo_kanoga"), "myo_kanoga"),
        (("--inner", SHIPPED), "--inner: the constant must be chosen on actions kept from people"),
    ],
)
def test_a_vocabulary_that_cannot_be_measured_is_one_line(data: Path, options: tuple[str, ...], message: str) -> None:
    code, out, err = run("vocabulary", "--data", data, *options)
    assert (code, out) == (3, "")
    assert message in err.strip().splitlines()[-1] and "Traceback" not in err


@pytest.mark.parametrize("options", [("absent.safetensors",), ("--dataset", "myo_kanoga")])
def test_evaluating_what_is_not_there_is_exit_code_3(data: Path, options: tuple[str, ...]) -> None:
    code, _, err = run("evaluate", *options, "--data", data)
    assert code == 3
    assert ("not a readable checkpoint" in err) or ("Did you mean 'myo_kanoga22'" in err)


@pytest.fixture
def bundle(exported: Any, home: Path) -> Path:
    """The exported bundle, its key trusted by this user."""
    from cryptography.hazmat.primitives import serialization

    from myosem_edge import keys
    from tests.conftest import KEY

    public = home / "factory.pub"
    public.parent.mkdir()
    public.write_bytes(
        KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    keys.trust(public, "factory")
    return Path(exported.path)


def test_which_descriptions_fit(bundle: Path) -> None:
    code, out, err = run("query", "--bundle", bundle, "--recording", PERSON, "--top", 2, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [row["recording"] for row in found] == [f"p78945[{i}]" for i in range(8)]
    assert all(len(row["nearest"]) == 2 for row in found)
    code, out, _ = run("query", "--bundle", bundle, "--recording", PERSON, "--top", 2)
    assert code == 0 and out.startswith("p78945[0]\n") and "description" in out


def test_where_an_action_occurs(bundle: Path) -> None:
    options = ("query", "--bundle", bundle, "--recording", PERSON, "--action", "fist", "--top", 3)
    code, out, err = run(*options, "--json")
    assert code == 0, err
    assert [set(row) for row in json.loads(out)] == [{"recording", "start_s", "stop_s", "cosine", "label"}] * 3
    code, out, _ = run(*options)
    assert code == 0 and "labelled as" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--action", "fits"), "'fits' is not in this bundle. Did you mean 'fist'?"),
        (("--action", "zzz"), "See: myosem-edge actions list"),
        (("--action", "fist", "--text", "close the hand"), "a query has one description"),
        (("--recording", "/nowhere.npz"), "/nowhere.npz: cannot be read: No such file"),
    ],
)
def test_a_wrong_query_is_exit_code_3(bundle: Path, options: tuple[str, ...], message: str) -> None:
    code, out, err = run("query", "--bundle", bundle, "--recording", PERSON, *options)
    assert (code, out) == (3, "") and message in err


def test_a_missing_bundle_is_exit_code_4() -> None:
    code, _, err = run("query", "--bundle", "absent.myosem", "--recording", PERSON)
    assert code == 4 and "absent.myosem: no such file" in err


@pytest.mark.parametrize("budget", ["xyz", "-1", "0", "4", "1s", "5 s", ""])
def test_a_budget_is_looked_at_before_anything_is_read(budget: str) -> None:
    code, out, err = run("evaluate", "absent.safetensors", "--data", "/nowhere", "--budget", "1", "--budget", budget)
    assert (code, out) == (3, "")
    assert err == f"error: --budget: no such budget (found {budget!r}, expected '1 s', '1', '2', '3')\n"


@pytest.mark.parametrize("seed", ["-1", str(2**63), "1.5"])
def test_a_seed_that_cannot_be_one_is_wrong_usage(data: Path, seed: str) -> None:
    code, out, err = run("train", "--data", data, "--seed", seed)
    assert (code, out) == (2, "") and "'--seed'" in err


def test_another_fold_does_not_go_on_in_the_same_folder(data: Path, tmp_path: Path) -> None:
    settings = [
        part
        for setting in ("steps=1", "ways=4", "queries=1", "episodes=2", "model.width=32", "model.mixtures=12")
        for part in ("--set", setting)
    ]
    options = ("train", "--data", data, "--split", "user", "--out", tmp_path / "t", "--device", "cpu", *settings)
    assert run(*options, "--fold", 0)[0] == 0
    code, _, err = run(*options, "--fold", 1)
    last = err.strip().splitlines()[-1]
    assert code == 3 and "found different people, recordings, split" in last and "another --out" in last


def test_a_checkpoint_on_other_electrodes(data: Path, tmp_path: Path) -> None:
    settings = [
        part
        for setting in (
            "steps=1", "ways=4", "queries=1", "episodes=2", "model.width=32", "model.mixtures=12",
            'model.spatial="harmonic"', "augment.subset=0.5",
        )
        for part in ("--set", setting)
    ]  # fmt: skip
    code, _, err = run(
        "train", "--data", data, "--family", "shipped", "--out", tmp_path / "t", "--device", "cpu", *settings
    )
    assert code == 0, err
    options = ("montages", tmp_path / "t" / "teacher.safetensors", "--data", data)
    code, out, err = run(*options, "--dataset", "myo_readings8", "--out", tmp_path / "m", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found == json.loads((tmp_path / "m" / "montages.json").read_text()) and found["spatial"] == "harmonic"
    assert [row["electrodes"] for row in found["rows"]] == [8, 6, 4, 7, 8, 8]
    people = sorted(f"myo_readings8/{who}" for who in SHIPPED_HELD_OUT[:2])
    assert all(sorted(row["calibrated"]["1"]["log-feature LDA"]) == people for row in found["rows"])
    page = (tmp_path / "m" / "montages.md").read_text()
    assert page.count("| by place |") == 6
    assert "No rings of another device" in run(*options)[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("absent.safetensors",), "not a readable checkpoint"),
        (("absent.safetensors", "--dataset", "myo_kanoga"), "Did you mean 'myo_kanoga22'"),
    ],
)
def test_other_electrodes_of_what_is_not_there(data: Path, options: tuple[str, ...], message: str) -> None:
    code, out, err = run("montages", *options, "--data", data)
    assert (code, out) == (3, "") and message in err
