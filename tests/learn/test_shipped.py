"""What ships: permissive data only, judges nobody was trained on, small enough, and as good as it is said to be."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.actions.table import load_table
from myosem_edge.cli._training import shipped_teacher
from myosem_edge.errors import InputError
from myosem_edge.export.measure import cost
from myosem_edge.learn.corpus.splits import SHIPPED_HELD_OUT, Split
from myosem_edge.learn.datasets import DATASETS
from myosem_edge.learn.sample import DISTIL, JUDGES, PACK, PLAY, make_sample, sample_folder, sample_roles
from myosem_edge.learn.scoring.embed import found_shift, torch_encode, worn_shift
from tests.conftest import shared_data

EXPECTED = tomllib.loads((Path(__file__).parent / "expected_metrics.toml").read_text())


def test_the_shipped_teacher_was_trained_on_permissive_data_only(teacher: Any) -> None:
    assert teacher.family == "shipped"
    assert all(DATASETS[name].may_ship for name in teacher.provenance["people"])
    assert set(teacher.provenance["licences"]) <= {"MIT", "Apache-2.0"}
    assert Split(**teacher.provenance["split"]) == Split("shipped", "people")


def test_nobody_who_judges_or_plays_was_trained_on(teacher: Any) -> None:
    trained_on = set(teacher.provenance["people"][PACK])
    assert not trained_on & set(SHIPPED_HELD_OUT)
    roles = sample_roles()
    assert not trained_on & {*roles["judge"], *roles["play"]}
    assert set(roles["distil"]) <= trained_on
    assert {*JUDGES, *PLAY} <= set(SHIPPED_HELD_OUT)


def test_roles_are_those_of_the_code_and_share_nobody() -> None:
    roles = sample_roles()
    assert roles == {"distil": list(DISTIL), "judge": list(JUDGES), "play": list(PLAY)}
    everyone = [*DISTIL, *JUDGES, *PLAY]
    assert len(set(everyone)) == len(everyone)
    assert sorted(path.stem for path in (sample_folder() / PACK).glob("*.npz")) == sorted(everyone)


def test_what_ships_is_small_and_carries_its_licence() -> None:
    assert shipped_teacher().stat().st_size <= 10_000_000
    files = [path for path in sample_folder().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 6_000_000
    licence = (sample_folder() / PACK / "LICENSE").read_text()
    assert "MIT License" in licence and "Copyright" in licence


def test_the_sample_is_the_first_session_of_the_pack_unchanged(tmp_path: Path) -> None:
    pack = shared_data(PACK)
    make_sample(pack.parent, tmp_path)
    for path in (sample_folder() / PACK).glob("*.npz"):
        with np.load(path) as shipped, np.load(tmp_path / PACK / path.name) as again, np.load(pack / path.name) as full:
            assert set(shipped.files) == set(again.files) == set(full.files)
            assert all(np.array_equal(shipped[name], again[name]) for name in shipped.files)
            assert len(set(shipped["rec_session"])) == 1
            assert len(shipped["emg"]) == shipped["rec_ptr"][-1] < len(full["emg"])
    assert (tmp_path / "roles.json").read_bytes() == (sample_folder() / "roles.json").read_bytes()


@pytest.mark.parametrize(
    "text", [None, "", "[]", '{"distil": [], "judge": []}', '{"distil": 1, "judge": 1, "play": 1}']
)
def test_a_folder_without_roles_is_one_clear_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "roles.json").write_text(text)
    with pytest.raises(InputError, match="does not say who plays which part"):
        sample_roles(tmp_path)


@pytest.fixture(scope="module")
def found(teacher: Any, sample: dict[str, list[Any]]) -> Any:
    judges = sample["judge"]
    gallery = sorted({int(a) for s in judges for clip in s.clips for a in np.unique(clip.action) if a >= 0})
    prototypes = teacher.prototypes(load_table()).numpy()
    return cost(judges, teacher, torch_encode(teacher), load_catalogue().ids, gallery, prototypes)


@pytest.mark.parametrize("figure", EXPECTED)
def test_the_shipped_teacher_scores_what_is_written_down(found: Any, figure: str) -> None:
    value = getattr(found, figure)
    print(f"{figure} {value:.2f}")
    assert value == pytest.approx(EXPECTED[figure]["value"], abs=EXPECTED[figure]["tolerance"])


def test_descriptions_are_better_than_chance_on_people_never_seen(found: Any) -> None:
    assert found.zero_shot > 2 * 100 / 8
    assert len(found.people) == len(JUDGES)


@pytest.mark.parametrize("turned", [0, 3])
def test_a_turned_band_of_people_never_seen_is_found_without_a_label(
    teacher: Any, sample: dict[str, list[Any]], turned: int
) -> None:
    ids, encode, prototypes = load_catalogue().ids, torch_encode(teacher), teacher.prototypes(load_table()).numpy()
    for session in sample["judge"][:2]:
        clips = [replace(clip, x=np.roll(clip.x, turned, axis=1)) for clip in session.clips]
        worn = replace(session, clips=clips, scale=np.roll(session.scale, turned))
        labelled = worn_shift(worn, teacher, ids, {1})
        assert found_shift(worn, teacher, ids, encode, prototypes, worn.scale) == labelled


def test_prototypes_are_unit_and_apart(teacher: Any) -> None:
    prototypes = teacher.prototypes(load_table()).numpy()
    assert len(prototypes) == len(load_catalogue().ids)
    assert np.allclose(np.linalg.norm(prototypes, axis=1), 1.0, atol=1e-5)
    cosines = prototypes @ prototypes.T - np.eye(len(prototypes))
    assert cosines.max() < 0.999
