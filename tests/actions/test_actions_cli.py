"""`myosem-edge actions` answers in words and in JSON, and `--check` fails exactly when the table is stale."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from myosem_edge.actions.catalogue import catalogue_path, load_catalogue
from myosem_edge.actions.table import WIDTH, load_table, read_table, table_path
from myosem_edge.cli.actions import actions
from myosem_edge.errors import InputError
from myosem_edge.learn import text

SMALL = """
[actions.{id}]
kind = "rest"
name = "Rest {word}."
kinematics = "Nothing moves {word}."
muscles = "All are silent {word}."
function = "Waiting {word}."
"""


class FakeEncoder:
    """Encodes a text by its own characters: the same text gives the same direction, another text another one."""

    def __init__(self, folder: Path | None = None) -> None: ...

    def encode(self, texts: list[str], progress: Any) -> np.ndarray:
        progress(len(texts))
        rows = [np.random.default_rng(list(each.encode())).normal(size=WIDTH) for each in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], np.float32)


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(actions, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_list_shows_every_action_on_its_own_line() -> None:
    lines = invoke("list").splitlines()
    assert [line.split()[0] for line in lines] == list(load_catalogue().ids)


def test_list_as_json_can_be_narrowed_to_a_kind() -> None:
    data = json.loads(invoke("list", "--kind", "rest", "--json"))
    assert [(entry["id"], entry["kind"]) for entry in data] == [("rest", "rest")]
    assert data[0]["aliases"]["myo_kanoga22"] == [0]


def test_list_of_a_kind_that_is_not_there_says_so(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(SMALL.format(id="rest", word="now"))
    assert invoke("list", "--kind", "grasp", "--catalogue", path) == "No actions of kind grasp found\n"


def test_show_tells_views_relations_and_labels() -> None:
    shown = invoke("show", "fist_with_wrist_flexion")
    action = load_catalogue()["fist_with_wrist_flexion"]
    for fragment in (*action.texts, "fist, wrist_flexion", "fist_with_wrist_extension", "16 in myo_kanoga22"):
        assert fragment in shown
    data = json.loads(invoke("show", "turn_screw", "--json"))
    assert data["near"] == ["prismatic_four_finger_grasp", "stick_grasp"]


def test_show_of_an_unknown_id_is_an_input_error() -> None:
    with pytest.raises(InputError, match="Did you mean 'fist'"):
        invoke("show", "fists")


def test_path_prints_a_file_that_exists() -> None:
    assert Path(invoke("path").strip()) == catalogue_path()
    assert catalogue_path().is_file()


def test_check_of_the_shipped_table() -> None:
    assert f"up to date, {len(load_catalogue())} actions" in invoke("embed", "--check")


def test_check_refuses_a_stale_table_and_leaves_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    path.write_bytes(replace(load_table(), texts_sha256="0" * 64).to_bytes())
    before = path.read_bytes()
    with pytest.raises(InputError, match="stale"):
        invoke("embed", "--check", "--output", path)
    assert path.read_bytes() == before


def test_embed_writes_a_table_that_check_accepts_and_says_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "TextEncoder", FakeEncoder)
    catalogue, table = tmp_path / "c.toml", tmp_path / "t.safetensors"
    common = ("embed", "--catalogue", catalogue, "--output", table)

    catalogue.write_text(SMALL.format(id="one", word="now") + SMALL.format(id="two", word="later"))
    assert "added one\nadded two\n" in invoke(*common)
    assert "up to date, 2 actions" in invoke(*common, "--check")
    assert "nothing changed" in invoke(*common)

    catalogue.write_text(
        SMALL.format(id="two", word="later").replace("Rest", "Sleep") + SMALL.format(id="six", word="so")
    )
    with pytest.raises(InputError, match="stale"):
        invoke(*common, "--check")
    first_two = read_table(table).select(["two"])
    assert invoke(*common).splitlines()[:3] == ["added six", "removed one", "changed two: name"]
    np.testing.assert_array_equal(read_table(table).select(["two"])[:, 1:], first_two[:, 1:])
    assert "up to date, 2 actions" in invoke(*common, "--check")


def test_without_an_encoder_embed_touches_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MYOSEM_TEXT_ENCODER", str(tmp_path))
    before = table_path().read_bytes()
    with pytest.raises(InputError, match=r"\[text\]"):
        invoke("embed")
    assert table_path().read_bytes() == before
