"""A row from recordings to tables, on made-up people of the right shape: trained in a few steps, pooled over folds."""

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
from myosem_edge.learn.corpus.splits import Split, ninapro_movements
from myosem_edge.learn.datasets import DATASETS
from myosem_edge.learn.protocols import runs
from myosem_edge.learn.protocols.benchmark import Result, part_name, run_row, to_markdown
from myosem_edge.learn.protocols.rows import LEAKY, ROWS, WEAK
from myosem_edge.learn.protocols.runs import CHECKPOINT, held_texts, train_split, without
from myosem_edge.learn.scoring.evaluate import UNSEEN_ALONE, UNSEEN_AMONG_ALL
from myosem_edge.learn.scoring.pooling import pooled
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.learn.teacher.model import DescriptionProjection, ModelConfig
from myosem_edge.learn.teacher.train import TrainConfig
from myosem_edge.signal.montage import Montage
from tests.learn.conftest import made_up_session

CATALOGUE, TABLE = load_catalogue(), load_table()
SITES = Montage("made-up sites", 12, "sites", 200.0, "uV", "none")
MOVEMENTS = ninapro_movements()[:10]  # two of them are unseen in every fold
TINY = TrainConfig(
    model=ModelConfig(channels=12, width=16, mixtures=8, filters=2), steps=2, episodes=2, ways=3, queries=1
)


@pytest.fixture(autouse=True)
def loaders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows ask a data set for its licence; where its loader is absent, a stand-in answers."""
    torch.set_num_threads(1)
    for name in ("ninapro_db2", "ninapro_db3", "emg2pose"):
        if name not in DATASETS:
            monkeypatch.setitem(DATASETS, name, replace(DATASETS["myo_readings8"], name=name, licence="registration"))


def ninapro(people: int, dataset: str = "ninapro_db2", montage: Montage = SITES) -> list[Session]:
    return [
        made_up_session(i, 6, f"s{i + 1:02d}", dataset, ("rest", *MOVEMENTS), name="a1", montage=montage, frames=26)
        for i in range(people)
    ]


def run(name: str, sessions: list[Session], out: Path, config: TrainConfig = TINY, **options: Any) -> Result:
    return run_row(ROWS[name], sessions, config, CATALOGUE, TABLE, out=out, **options)


@pytest.fixture(scope="module")
def by_user(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    with pytest.MonkeyPatch.context() as patch:
        loaders.__wrapped__(patch)  # type: ignore[attr-defined]
        out = tmp_path_factory.mktemp("np-user")
        return run("np-user", ninapro(8), out), out


def test_people_of_all_folds_are_pooled(by_user: tuple[Result, Path]) -> None:
    result, out = by_user
    assert sorted(path.name for path in out.iterdir()) == [f"user-{fold}" for fold in range(4)]
    (evaluations,) = result.evaluations.values()
    judged = [set(e.retrieval[0].people) for e in evaluations]
    assert [len(people) for people in judged] == [2] * 4 and len(set.union(*judged)) == 8
    (found,) = pooled(evaluations)
    assert found.sizes == (11,) * 4 and found.chance == pytest.approx(100 / 11)
    scores = found.retrieval.values["as worn"]["descriptions"]["window"]["R@1"]
    assert set(scores) == set.union(*judged)
    one = evaluations[2].retrieval[0].values["as worn"]["descriptions"]["window"]["R@1"]
    assert all(scores[person] == value for person, value in one.items())


def test_a_checkpoint_carries_its_fold_and_its_people(by_user: tuple[Result, Path]) -> None:
    for fold in range(4):
        trained = Trained.load(by_user[1] / f"user-{fold}" / CHECKPOINT)
        assert Split(**trained.provenance["split"]) == Split("ninapro", "user", fold)
        assert len(trained.provenance["people"]["ninapro_db2"]) == 6
        assert trained.family == "research"


def test_the_page_of_a_row_has_everything_beside_its_figures(by_user: tuple[Result, Path]) -> None:
    text = to_markdown(by_user[0])
    assert "Published figure: 67.08." in text and "k is not stated" in text
    assert "as worn, scale of the training people" in text and "uses the session's own signal and labels" in text
    assert "| 67.08 |" in text and "log-feature LDA" in text and "Hudgins LDA" in text
    assert "gallery 11 (all shown), chance R@1 9.1" in text
    assert "all shown" in text and all(f"| {budget} |" in text for budget in ("1 s", "1 repetition", "3 repetitions"))
    assert "nan" not in text.lower() and "LEAKY" not in text


def test_the_json_of_a_row_is_strict(by_user: tuple[Result, Path]) -> None:
    document = json.loads(json.dumps(by_user[0].to_dict(), allow_nan=False))
    assert document["row"] == "np-user" and document["published"] == 67.08
    assert document["config"]["steps"] == 2 and len(next(iter(document["evaluations"].values()))) == 4


def test_what_is_finished_is_not_done_again(
    by_user: tuple[Result, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result, out = by_user

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("judged again")

    monkeypatch.setattr(runs, "evaluate", refuse)
    steps: list[str] = []
    again = run("np-user", ninapro(8), out, progress=lambda stage, *rest: steps.append(stage))
    assert steps == [] and again.to_dict() == result.to_dict()
    with pytest.raises(AssertionError, match="judged again"):
        run("np-user", ninapro(8), tmp_path)


def test_other_settings_do_not_go_on_in_the_same_folder(by_user: tuple[Result, Path]) -> None:
    with pytest.raises(InputError, match=r"of another kind.*different learning_rate"):
        run("np-user", ninapro(8), by_user[1], replace(TINY, learning_rate=1e-3))


def test_one_fold_alone(tmp_path: Path) -> None:
    result = run("np-user", ninapro(8), tmp_path, fold=3)
    assert [path.name for path in tmp_path.iterdir()] == ["user-3"]
    assert result.evaluations["30 people trained, 10 judged, four folds"][0].split.fold == 3
    with pytest.raises(InputError, match="no such fold of this row"):
        run("np-user", ninapro(8), tmp_path, fold=4)


def test_unseen_actions_are_judged_alone_and_among_all(tmp_path: Path) -> None:
    people = ninapro(5)
    seen = run("np-class", people, tmp_path, fold=0)
    ((evaluation,),) = seen.evaluations.values()
    alone, among = evaluation.retrieval
    assert (alone.question, among.question) == (UNSEEN_ALONE, UNSEEN_AMONG_ALL)
    assert (len(alone.gallery), len(among.gallery), len(alone.people)) == (2, 10, 5)
    assert set(alone.judged) == set(among.judged) == {MOVEMENTS[0], MOVEMENTS[5]}
    unseen = run("np-class", people, tmp_path, fold=5)
    ((evaluation,),) = unseen.evaluations.values()
    assert [r.question for r in evaluation.retrieval][-2:] == [UNSEEN_AMONG_ALL, UNSEEN_ALONE]
    assert evaluation.retrieval[0].people == ("ninapro_db2/s01",)
    assert "cannot" in to_markdown(seen)  # no discriminant names an action it was not fitted on


def test_texts_that_are_held_out_leave_no_trace_in_training() -> None:
    """Other words for a held-out action would give the very same mean, axes and prototypes of all others."""
    held = Split("ninapro", "action", 0).held_actions
    rows = [CATALOGUE.ids.index(name) for name in held]
    other = TABLE.vectors.copy()
    other[rows] = np.random.default_rng(0).permutation(other[rows].reshape(-1, 384)).reshape(len(rows), 4, 384)
    blanked = without(TABLE, held)
    assert np.array_equal(without(replace(TABLE, vectors=other), held).vectors, blanked.vectors)
    rest = np.setdiff1d(np.arange(len(CATALOGUE.ids)), rows)
    assert np.array_equal(blanked.vectors[rest], TABLE.vectors[rest])
    ours, alone = (
        DescriptionProjection(torch.from_numpy(v), 128).matrix for v in (blanked.vectors, TABLE.vectors[rest])
    )
    cosine = torch.einsum("vet,vet->ve", ours, alone).abs()
    assert cosine[:, :16].min() > 0.999  # the same axes as a table that never held them
    assert without(TABLE, ()) is TABLE


def test_training_is_given_the_table_without_held_out_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def spy(config: Any, sessions: Any, catalogue: Any, table: Any, **options: Any) -> Any:
        given.append(table)
        raise InterruptedError

    monkeypatch.setattr(runs, "train", spy)
    split = Split("ninapro", "action", 1)
    with pytest.raises(InterruptedError):
        train_split(split, ninapro(2), TINY, CATALOGUE, TABLE, folder=tmp_path)
    assert np.array_equal(given[0].vectors, without(TABLE, split.held_actions).vectors)
    assert not np.array_equal(given[0].vectors, TABLE.vectors)


def stages(people: int) -> list[Session]:
    names = tuple(a.id for a in CATALOGUE.actions.values() if a.kind == "stage")[:4]
    sessions = []
    for i in range(people):
        session = made_up_session(i, 3, f"u{i}", "emg2pose", names, name="1", montage=SITES, frames=30)
        for clip in session.clips:
            unseen = CATALOGUE.ids[int(clip.action.max())] == names[0]
            test = i == people - 1 or unseen
            axis = {(True, True): "user_stage", (True, False): "user", (False, True): "stage"}.get(
                (i == people - 1, unseen), ""
            )
            clip.attributes.update(split="test" if test else "train", generalization=axis)
        sessions.append(session)
    return sessions


def test_stages_of_an_official_axis_are_held_out_text_and_all() -> None:
    sessions = stages(3)
    split = Split("emg2pose", "action")
    held = held_texts(split, sessions, split.training(sessions, CATALOGUE), CATALOGUE)
    assert len(held) == 1 and CATALOGUE[held[0]].kind == "stage"
    user = Split("emg2pose", "user")
    assert held_texts(user, sessions, user.training(sessions, CATALOGUE), CATALOGUE) == ()


@pytest.mark.parametrize("name", ["e2p-user", "e2p-class", "e2p-rand"])
def test_weak_labels_are_said_beside_every_score(name: str, tmp_path: Path) -> None:
    result = run(name, stages(4), tmp_path)
    text = to_markdown(result)
    tables = text.count("| placement | retriever |")
    assert tables == sum(len(pooled(each)) for each in result.evaluations.values()) > 0
    assert text.count(WEAK) == tables + 1  # beside every table, and once on top
    people = {p for each in result.evaluations.values() for e in each for r in e.retrieval for p in r.people}
    if name == "e2p-user":
        assert people == {"emg2pose/u3"}


def test_random_blocks_are_loudly_leaky_and_the_repetition_split_stands_beside(tmp_path: Path) -> None:
    text = to_markdown(run("np-rand", ninapro(2), tmp_path))
    assert text.count(LEAKY) == 1 and "random blocks (LEAKY), ninapro_db2" in text and f"**{LEAKY}**" in text
    assert "| repetitions 1, 3, 4, 6 trained, 2 and 5 judged, ninapro_db2 |" in text


def test_every_person_with_an_amputation_has_a_line(tmp_path: Path) -> None:
    sessions = [*ninapro(3), *ninapro(2, "ninapro_db3")]
    result = run("db2-db3", sessions, tmp_path)
    text = to_markdown(result)
    assert "\n| s01 | " in text and "\n| s02 | " in text and "\n| s03 | " not in text
    header = next(line for line in text.splitlines() if line.startswith("| person |"))
    assert all(f"{budget}: calibrated head" in header for budget in ("1 repetition", "2 repetitions", "3 repetitions"))
    assert "R@1 hop, as worn, scale of the training people" in header
    assert header.count("|") == text.splitlines()[text.splitlines().index(header) + 2].count("|")


def test_trainings_of_a_row_have_folders_of_their_own() -> None:
    for row in ROWS.values():
        assert len({part_name(split) for split in row.splits}) == len(row.splits)
