"""`export` as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="the [train] extra is not installed")
pytest.importorskip("onnx", reason="the [train] extra is not installed")

from myosem_edge import keys
from myosem_edge.bundle import bundle_from
from myosem_edge.cli.main import main
from myosem_edge.learn.sample import PACK, sample_folder
from tests.conftest import KEY, Exported


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MYOSEM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MYOSEM_DEBUG", raising=False)
    return tmp_path / "home"


@pytest.fixture
def two_people(tmp_path: Path) -> Path:
    """A data folder with one person to distil on and one to judge by."""
    folder = tmp_path / "data"
    (folder / PACK).mkdir(parents=True)
    for subject in ("p10101", "p78945"):
        shutil.copy(sample_folder() / PACK / f"{subject}.npz", folder / PACK)
    (folder / "roles.json").write_text('{"distil": ["p10101"], "judge": ["p78945"], "play": []}')
    return folder


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(tmp_path: Path, home: Path) -> None:
    code, out, err = run("export", "--dry-run", "--out", tmp_path / "a.myosem", "--steps", 9)
    assert code == 0, err
    assert "would take shipped as it is, with 6 people for ranges" in out and "sign with 'dev'" in out
    assert not home.exists() and not (tmp_path / "a.myosem").exists()
    code, out, _ = run("export", "--dry-run", "--out", tmp_path / "a.myosem", "--size", "15k", "--steps", 9)
    assert code == 0 and "would distil 15k from shipped in 9 steps, with 6 people" in out


@pytest.mark.parametrize("as_json", [False, True])
def test_an_export_says_what_every_step_cost(two_people: Path, tmp_path: Path, as_json: bool) -> None:
    out_file = tmp_path / "a.myosem"
    code, out, err = run(
        "export", "--data", two_people, "--out", out_file, "--size", "15k", "--steps", 2, "--max-int8-loss", 100,
        *(["--json"] if as_json else []),
    )  # fmt: skip
    assert code == 0, err
    bundle = bundle_from(out_file)  # the development key is trusted where it was made
    assert bundle.is_dev
    assert "distil: 2/2" in err
    if as_json:
        said = json.loads(out)
        assert said["sha256"] == bundle.sha256 and len(said["steps"]) == 4
    else:
        assert "student 15k, int8" in out and bundle.sha256[:16] in out
        assert "A dev key drives emulated hands only" in out


def test_int8_that_costs_too_much_is_exit_code_7(two_people: Path, tmp_path: Path) -> None:
    code, _, err = run(
        "export", "--data", two_people, "--out", tmp_path / "a.myosem", "--size", "15k", "--steps", 1,
        "--max-int8-loss", -100,
    )  # fmt: skip
    assert code == 7 and "int8 costs too much accuracy" in err
    assert not (tmp_path / "a.myosem").exists()


def test_a_role_without_recordings_is_named(two_people: Path, tmp_path: Path) -> None:
    (two_people / "roles.json").write_text('{"distil": ["p10101"], "judge": ["p78945", "p35622"], "play": []}')
    code, _, err = run("export", "--data", two_people, "--out", tmp_path / "a.myosem")
    assert code == 3 and "names people without recordings (found p35622)" in err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--teacher", "absent.safetensors"), 3, "not a readable checkpoint"),
        (("--data", "/nowhere"), 3, "does not say who plays which part"),
        (("--size", "16k"), 2, "'16k' is not one of"),
        (("--steps", "0"), 2, "0 is not in the range"),
        (("--seed", "-1"), 2, "-1 is not in the range"),
        (("--seed", str(2**63)), 2, "is not in the range"),
        (("--max-int8-loss", "nan"), 2, "nan is not a finite number"),
        (("--max-int8-loss", "inf"), 2, "inf is not in the range"),
        (("--name", "Mine/../x"), 3, "not a name for a bundle (found 'Mine/../x'"),
        (("--bundle-version", "1 2"), 3, "not a version for a bundle (found '1 2'"),
        (("--out", "/nowhere/a.myosem"), 3, "/nowhere: no such folder"),
        (("--out", "/proc/a.myosem"), 8, "/proc/a.myosem: cannot be written"),
        (("--out", "/"), 8, "/: is a folder"),
        (("--key", "nobody", "--dry-run"), 3, "nobody"),
        (("--grips", "/nowhere.toml"), 3, "/nowhere.toml"),
    ],
)
def test_a_mistake_is_said_before_any_work(
    options: tuple[str, ...], code: int, message: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, out, err = run("export", *options)
    assert found == code, err
    assert out == "" and message in err and "Traceback" not in err
    assert "read recordings" not in err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [(), ("--dry-run",), ("--key", "mine")])
def test_a_users_folder_that_is_a_file_is_said_before_any_work(
    options: tuple[str, ...], home: Path, tmp_path: Path
) -> None:
    home.write_text("a file where the folder should be")
    code, out, err = run("export", "--out", tmp_path / "a.myosem", *options)
    assert (code, out) == (8, "") and f"{home}: is no folder" in err and "read recordings" not in err


# From a bundle to C


@pytest.fixture
def bundle(exported: Exported, home: Path) -> Path:
    public = home.parent / "factory.pub"
    public.write_text(KEY.public_key().public_bytes_raw().hex())
    keys.trust(public)
    return exported.path


def test_a_bundle_becomes_a_folder_of_c(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ("export", "--target", "cortex-m", "--from", bundle)
    code, out, err = run(*arguments, "--dry-run")
    assert code == 0 and "Would write" in out and not Path("small-1-cortex-m").exists(), err
    code, out, err = run(*arguments)
    assert code == 0 and "files to small-1-cortex-m" in out, err
    assert {"myosem.h", "myosem_body_arrays.h", "README.md", "check"} < {
        p.name for p in Path("small-1-cortex-m").iterdir()
    }
    code, out, err = run(*arguments, "--out", "elsewhere", "--json")
    said = json.loads(out)
    written = {str(p.relative_to("elsewhere")) for p in Path("elsewhere").rglob("*") if p.is_file()}
    assert code == 0 and set(said["files"]) == written and said["written"] and said["state_bytes"] > 4000, err
    code, _, err = run(*arguments)
    assert code == 3 and "small-1-cortex-m: is there already" in err


def test_a_bundle_that_fails_its_golden_vectors_becomes_no_c(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("myosem_edge.runtime.decoder.check_golden", lambda opened, backend: (False, "cosine 0.2"))
    code, _, err = run("export", "--target", "cortex-m", "--from", bundle, "--out", tmp_path / "c")
    assert code == 4 and "golden vectors" in err and "cosine 0.2" in err
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--target", "cortex-m"), 2, "Missing option '--from'"),
        (("--target", "cortex-m", "--from", "absent.myosem"), 4, "no such file"),
        (("--target", "cortex-m", "--from", "a", "--size", "15k", "--seed", "1"), 2, "--seed, --size: of no use"),
        (("--from", "a.myosem"), 2, "--from is for --target cortex-m"),
        (("--target", "cortex-a"), 2, "'cortex-a' is not one of"),
    ],
)
def test_what_does_not_belong_together_is_said(options: tuple[str, ...], code: int, message: str) -> None:
    found, out, err = run("export", *options)
    assert found == code and out == "" and message in err and "Traceback" not in err
