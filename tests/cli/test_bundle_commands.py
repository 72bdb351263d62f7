"""`inspect`, `verify` and `keys` as a user meets them."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "attacks"))

import bundle_forge as forge

from myosem_edge import keys
from myosem_edge.cli.main import main
from myosem_edge.errors import DeviceError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MYOSEM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny-1.2.0.myosem"
    path.write_bytes(forge.GOOD)
    return path


@pytest.fixture
def trusted(tmp_path: Path) -> None:
    public = tmp_path / "factory.pub"
    public.write_text(forge.KEY.public_key().public_bytes_raw().hex())
    keys.trust(public)


def decoder(monkeypatch: pytest.MonkeyPatch, ok: bool, detail: str) -> None:
    module = types.ModuleType("myosem_edge.runtime.decoder")
    module.check_golden = lambda bundle, backend: (ok, f"{bundle.manifest.name}: {detail}")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "myosem_edge.runtime.decoder", module)


def run(*args: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    return result.exit_code, result.stdout, result.stderr


def test_inspect_shows_what_matters(file: Path, trusted: None) -> None:
    code, out, _ = run("inspect", file)
    assert code == 0
    assert "NOT TRUSTED" not in out
    for words in (
        "tiny 1.2.0",
        "signed by     factory, key id",
        "myo, 8 channels (ring), 200 Hz, counts",
        "window, hop   400 ms, 25 ms",
        "thresholds.power  0.8",
        "retrieval.r_at_1   0.5",
        f"encoder.onnx              {len(forge.TINY_ONNX)} bytes",
    ):
        assert words in out


def test_inspect_says_loudly_whom_it_does_not_trust(file: Path) -> None:
    code, out, _ = run("inspect", file)
    assert code == 0
    assert out.startswith("NOT TRUSTED (integrity only): no trusted key signed it")
    assert "tiny 1.2.0" in out


def test_inspect_names_a_development_key(file: Path) -> None:
    keys.trust_folder().mkdir(parents=True)
    keys.public_path("dev").write_text(forge.KEY.public_key().public_bytes_raw().hex())
    assert "signed by     dev (development key: emulated hands only)" in run("inspect", file)[1]


def test_inspect_as_json(file: Path, trusted: None) -> None:
    found = json.loads(run("inspect", file, "--json")[1])
    assert (found["trusted"], found["distrust"], found["key_name"], found["dev_key"]) == (True, None, "factory", False)
    assert found["manifest"]["montage"]["channels"] == 8
    assert found["size"] == len(forge.GOOD)


@pytest.mark.parametrize("attack", ["truncated_half", "member_swapped", "appended", "schema_unknown"])
def test_inspect_refuses_damage(attack: str, file: Path, trusted: None) -> None:
    file.write_bytes(forge.ATTACKS[attack][0]())
    code, out, err = run("inspect", file)
    assert (code, out) == (4, "")
    assert err.startswith(f"error: {file}: ")
    assert err.count("\n") == 1


def test_verify_runs_everything(file: Path, trusted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder(monkeypatch, True, "cosine 1.0")
    code, out, _ = run("verify", file)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["ok"] * 7
    assert out.splitlines()[-1] == "ok  golden vectors  tiny: cosine 1.0"


def test_verify_fails_where_the_golden_vectors_fail(file: Path, trusted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder(monkeypatch, False, "cosine 0.9")
    code, out, _ = run("verify", file)
    assert code == 4
    assert out.splitlines()[-1] == "FAILED  golden vectors  tiny: cosine 0.9"


def test_golden_vectors_that_cannot_be_run_are_not_a_pass(
    file: Path, trusted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "myosem_edge.runtime.decoder", None)
    code, out, _ = run("verify", file)
    assert code == 4
    assert "cannot be run here" in out
    assert "--skip-golden" in out


@pytest.mark.parametrize(
    ("error", "words"),
    [(KeyError("samples"), "did not run: KeyError: 'samples'"), (DeviceError("no runtime"), "no runtime")],
)
def test_golden_vectors_that_break_the_decoder_fail_the_check(
    error: Exception, words: str, file: Path, trusted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_golden(bundle: object, backend: str) -> tuple[bool, str]:
        raise error

    module = types.ModuleType("myosem_edge.runtime.decoder")
    module.check_golden = check_golden  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "myosem_edge.runtime.decoder", module)
    code, out, _ = run("verify", file)
    assert code == 4
    assert out.splitlines()[-1] == f"FAILED  golden vectors  {words}"


def test_leaving_the_golden_vectors_out_is_said(file: Path, trusted: None) -> None:
    code, out, _ = run("verify", file, "--skip-golden")
    assert code == 0
    assert "The golden vectors were not run" in out
    assert json.loads(run("verify", file, "--skip-golden", "--json")[1])["golden"] is False


def test_verify_lists_what_passed_before_the_failure(file: Path) -> None:
    code, out, err = run("verify", file)
    assert code == 4
    assert err.startswith(f"error: the check 'signature' failed: {file}: no trusted key") and err.count("\n") == 1
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["ok", "file"],
        ["ok", "layout"],
        ["FAILED", "signature"],
    ]
    code, out, err = run("verify", file, "--json")
    report = json.loads(out)
    assert code == 4 and err.startswith("error: the check 'signature' failed") and report["ok"] is False
    assert [check["ok"] for check in report["checks"]] == [True, True, False]


def test_keys_from_nothing_to_nothing(home: Path, tmp_path: Path) -> None:
    assert "No trusted keys." in run("keys", "list")[1]
    assert json.loads(run("keys", "list", "--json")[1]) == []

    code, out, _ = run("keys", "new", "factory")
    assert code == 0
    assert str(home / "keys.d" / "factory.pub") in out
    assert run("keys", "new", "factory")[0] == 7

    maker = tmp_path / "maker.pub"
    maker.write_text("1a" * 32)
    assert "Trusting dev-maker" in run("keys", "trust", maker, "--name", "dev-maker")[1]
    listed = run("keys", "list")[1].splitlines()
    assert listed[0].split() == ["key", "id", "name", "for", "signs", "here"]
    assert [line.split()[1:] for line in listed[1:]] == [
        ["dev-maker", "emulated", "hands", "only", "no"],
        ["factory", "any", "hand", "yes"],
    ]
    rows = json.loads(run("keys", "list", "--json")[1])
    assert [(row["name"], row["dev"], row["private"]) for row in rows] == [
        ("dev-maker", True, False),
        ("factory", False, True),
    ]

    assert run("keys", "path")[1] == f"{home / 'keys.d'}\n"
    assert run("keys", "forget", "factory")[0] == 0
    assert run("keys", "forget", "factory")[0] == 3
    assert run("keys", "trust", home / "keys" / "factory.pem")[0] == 0


def test_a_bundle_becomes_trusted_and_is_forgotten_again(file: Path, tmp_path: Path) -> None:
    public = tmp_path / "maker.pub"
    public.write_text(forge.KEY.public_key().public_bytes_raw().hex())
    assert run("verify", file, "--skip-golden")[0] == 4
    run("keys", "trust", public)
    assert run("verify", file, "--skip-golden")[0] == 0
    run("keys", "forget", "maker")
    assert run("verify", file, "--skip-golden")[0] == 4


@pytest.mark.parametrize("command", [("keys", "new", "a"), ("keys", "list"), ("inspect", "FILE"), ("profile", "list")])
def test_a_users_folder_that_is_a_file_is_a_storage_error(command: tuple[str, ...], file: Path, home: Path) -> None:
    home.write_text("a file where the folder should be")
    code, out, err = run(*(file if word == "FILE" else word for word in command))
    assert (code, out) == (8, "")
    assert err.startswith(f"error: {home}") and err.count("\n") == 1
