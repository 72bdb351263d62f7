"""`ingest` as a user types it, and what train and evaluate make of its result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("h5py", reason="the [train] extra is not installed")
pytest.importorskip("torch", reason="the [train] extra is not installed")

from myosem_edge.cli.main import main
from myosem_edge.learn.datasets import DATASETS

PACK = "myo_kanoga22"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYOSEM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MYOSEM_DATA", raising=False)
    monkeypatch.delenv("MYOSEM_DEBUG", raising=False)


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / PACK).mkdir()
    rng = np.random.default_rng(0)
    for subject in ("sub1", "sub2"):
        label = np.repeat(np.tile([0, 1, 2, 3], 4), 300)
        np.savez(
            folder / PACK / f"{subject}.npz",
            emg=np.clip(rng.normal(0, 100 + 100 * label[:, None], (len(label), 8)), -2047, 2047).astype(np.int16),
            label=label.astype(np.uint8),
            repetition=np.repeat([1, 2, 3, 4], 1200).astype(np.uint8),
            rec_ptr=np.arange(0, len(label) + 1, 300),
            rec_day=np.ones(16, int),
        )
    return folder


def test_a_dry_run_shows_sizes_and_writes_nothing(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, text, _ = run("ingest", "--data", data, "--out", out, "--dry-run")
    assert code == 0 and "sub1" in text and "are free. Nothing was written." in text
    code, text, _ = run("ingest", PACK, "--data", data, "--out", out, "--dry-run", "--json")
    plan = json.loads(text)
    assert code == 0 and not out.exists()
    assert [job["subject"] for job in plan["jobs"]] == ["sub1", "sub2"]
    assert plan["bytes_needed"] == sum(job["bytes_needed"] for job in plan["jobs"]) < plan["bytes_free"]
    assert plan["jobs"][0]["bytes_read"] == (data / PACK / "sub1.npz").stat().st_size


def test_what_was_converted_is_what_the_other_commands_read(data: Path, tmp_path: Path) -> None:
    code, text, progress = run("ingest", "--data", data, "--out", tmp_path / "out", "--json")
    assert code == 0
    assert [(row["subject"], row["skipped"]) for row in json.loads(text)["subjects"]] == [
        ("sub1", False),
        ("sub2", False),
    ]
    assert "convert: 2/2 myo_kanoga22/sub2" in progress
    code, text, _ = run("ingest", "--data", data, "--out", tmp_path / "out")
    assert code == 0 and text.count("finished before") == 2 and f"give {tmp_path / 'out'} to --data" in text
    people = run("train", "--data", tmp_path / "out", "--family", "research", "--dry-run")[2]
    assert "no such data folder" in people  # the other packs of the family are not here
    for name in DATASETS:
        assert (tmp_path / "out" / name).exists() == (name == PACK)


def test_beside_the_recordings_is_the_default(data: Path, tmp_path: Path) -> None:
    (tmp_path / PACK).mkdir()
    (tmp_path / PACK / "sub1.npz").write_bytes((data / PACK / "sub1.npz").read_bytes())
    assert run("ingest", "--data", tmp_path)[0] == 0
    assert (tmp_path / PACK / "store.json").exists() and (tmp_path / PACK / "store" / "sub1.h5").exists()
    assert run("ingest", "--data", tmp_path)[1].count("finished before") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["myo_kanoga"], 3, "Did you mean 'myo_kanoga22'"),
        ([PACK, "--rate", "400"], 3, "higher rate than recorded"),
        ([PACK, "--rate", "100"], 3, "no whole number of samples"),
        ([PACK, "--subject", "sub7"], 3, "no such subject"),
        (["ninapro_db2"], 3, "no such data folder"),
        ([PACK, "--rate", "7"], 2, "not in the range"),
    ],
)
def test_a_mistake_is_one_sentence(data: Path, tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    found, text, error = run("ingest", *arguments, "--data", data, "--out", tmp_path / "out")
    assert (found, text) == (code, "") and message in error and "Traceback" not in error


def test_notes_of_the_loader_reach_the_user(tmp_path: Path) -> None:
    from scipy.io import savemat

    (tmp_path / "ninapro_db5").mkdir()
    label = np.tile(np.repeat([0, 1], 400), 2).reshape(-1, 1)
    values = {"stimulus": label, "repetition": np.repeat([1, 2], 800).reshape(-1, 1)}
    emg = np.random.default_rng(0).normal(0, 9, (1603, 16))
    savemat(tmp_path / "ninapro_db5" / "S1_E1_A1.mat", {"emg": emg, **values})
    code, text, _ = run("ingest", "--data", tmp_path)
    assert code == 0
    assert "note: S1_E1_A1.mat: no restimulus and rerepetition" in text and "trimmed to 1600 samples" in text
