"""Nobody and nothing that is judged has been trained on, in every split, for any list of people."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("scipy", reason="the [train] extra is not installed")

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.sessions import NO_ACTION, Session
from myosem_edge.learn.corpus.splits import (
    BLOCK_FRAMES,
    CLASS_FOLDS,
    DATASETS,
    FAMILIES,
    FOLDS,
    NINAPRO_CLASS_FOLDS,
    SHIPPED_HELD_OUT,
    SPLITS,
    TRAIN_REPETITIONS,
    Split,
    judged_blocks,
    ninapro_movements,
)
from myosem_edge.learn.datasets import data_set
from tests.conftest import shared_data
from tests.learn.conftest import made_up_session

CATALOGUE = load_catalogue()
ACTIONS = ("rest", "wrist_extension", "fist", "wrist_ulnar_deviation", "forearm_supination")
OTHERS = [
    Split(name, kind, fold, "ninapro_db3" if kind == "dataset" else "")
    for name, family in FAMILIES.items()
    if name not in ("shipped", "research")
    for kind in family.splits
    for fold in range(family.folds(kind))
]
ALL = [Split("shipped", "people")] + [
    Split("research", kind, fold, held)
    for kind in SPLITS
    for fold in range(FOLDS)
    for held in (DATASETS["research"] if kind == "dataset" else ("",))
]
NAMED = {f"{s.family}-{s.kind}-{s.fold}-{s.held_dataset}": s for s in ALL}
PEOPLE = {
    "myo_readings8": (*SHIPPED_HELD_OUT, "p10000", "p10101", "p12345", "p12378", "p14478", "p55555L"),
    "myo_cotelallard7": ("E_Female0", "E_Male0", "E_Male1", "P_Female0", "P_Male11"),
    "myo_kanoga22": ("sub1", "sub2", "sub3"),
}
TEMPLATE = made_up_session(repetitions=5, actions=ACTIONS)


def sessions_for(people: dict[str, list[str]]) -> list[Session]:
    return [
        Session(dataset, who, name, TEMPLATE.montage, TEMPLATE.clips, TEMPLATE.scale)
        for dataset, everyone in people.items()
        for who in everyone
        for name in ("1", "2")
    ]


def present(sessions: list[Session]) -> set[str]:
    return {
        CATALOGUE.ids[a] for s in sessions for clip in s.clips for a in np.unique(clip.action[clip.action != NO_ACTION])
    }


def repetitions(sessions: list[Session]) -> set[int]:
    return {int(r) for s in sessions for clip in s.clips for r in clip.repetition[clip.action != NO_ACTION]}


subjects = st.fixed_dictionaries(
    {name: st.lists(st.sampled_from(who), unique=True, max_size=8) for name, who in PEOPLE.items()}
)


@settings(max_examples=60, deadline=None)
@given(people=subjects, split=st.sampled_from(ALL))
def test_nobody_is_on_both_sides_and_nobody_is_lost(people: dict[str, list[str]], split: Split) -> None:
    sessions = sessions_for(people)
    training = {(s.person, s.name) for s in split.training(sessions, CATALOGUE)}
    judged = {(s.person, s.name) for s in split.judged(sessions)}
    everyone = {(s.person, s.name) for s in sessions}
    assert training | judged == everyone
    assert split.same_people == (split.kind in ("repetition", "random", "days", "action"))
    if split.kind == "days":
        assert not training & judged
    elif split.same_people:
        assert training == judged == everyone
    else:
        assert not {person for person, _ in training} & {person for person, _ in judged}


@pytest.mark.parametrize("name", NAMED)
def test_nobody_of_the_real_packs_is_on_both_sides(name: str) -> None:
    split = NAMED[name]
    people = {pack: data_set(pack).subjects(shared_data(pack)) for pack in PEOPLE}
    sessions = sessions_for(people)
    training = {s.person for s in split.training(sessions, CATALOGUE)}
    judged = {s.person for s in split.judged(sessions)}
    assert training and judged
    if not split.same_people:
        assert not training & judged
        assert len(judged) >= 3  # fewer would be no figure


@pytest.mark.parametrize("kind", ["user", "class"])
def test_folds_judge_everyone_once(kind: str) -> None:
    sessions = sessions_for({name: list(who) for name, who in PEOPLE.items()})
    judged = [{s.person for s in Split("research", kind, fold).judged(sessions)} for fold in range(FOLDS)]
    assert sum(map(len, judged)) == len(set.union(*judged))
    expected = {f"{name}/{who}" for name in ("myo_readings8", "myo_cotelallard7") for who in PEOPLE[name]}
    assert set.union(*judged) == expected


@pytest.mark.parametrize("fold", range(FOLDS))
def test_held_out_actions_are_never_trained_on(fold: int) -> None:
    split = Split("research", "class", fold)
    training = split.training([TEMPLATE, *sessions_for({"myo_kanoga22": ["sub1"]})], CATALOGUE)
    held = set(CLASS_FOLDS[fold])
    assert set(split.held_actions) == held
    assert present(training) == set(ACTIONS) - held
    assert all((clip.execution[clip.action == NO_ACTION] == NO_ACTION).all() for s in training for clip in s.clips)


def test_held_out_actions_differ_between_folds_and_exist() -> None:
    names = [name for fold in CLASS_FOLDS for name in fold]
    assert len(CLASS_FOLDS) == FOLDS and len(set(names)) == len(names) and set(names) <= set(CATALOGUE.ids)


def test_later_repetitions_are_judged_and_never_trained_on() -> None:
    split = Split("research", "repetition")
    training, judged = split.training([TEMPLATE], CATALOGUE), split.judged([TEMPLATE])
    assert repetitions(training) == set(range(1, TRAIN_REPETITIONS + 1))
    assert repetitions(judged) == set(range(TRAIN_REPETITIONS + 1, 6))


def test_a_split_leaves_the_sessions_it_was_given_alone() -> None:
    before = [clip.action.copy() for clip in TEMPLATE.clips]
    Split("research", "repetition").training([TEMPLATE], CATALOGUE)
    Split("research", "class", 1).training([TEMPLATE], CATALOGUE)
    assert all(np.array_equal(a, clip.action) for a, clip in zip(before, TEMPLATE.clips, strict=True))


@pytest.mark.parametrize("kind", [kind for kind in SPLITS if kind != "people"])
def test_the_shipped_model_has_one_split(kind: str) -> None:
    with pytest.raises(InputError, match="the shipped model has one split"):
        Split("shipped", kind, 0, "myo_kanoga22" if kind == "dataset" else "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shiped", "people"), "'shiped' is not a family"),
        (("research", "persons"), "'persons' is not a split"),
        (("research", "user", 3), "no such fold"),
        (("research", "user", -1), "no such fold"),
        (("research", "dataset"), "a data set must be held out"),
        (("research", "dataset", 0, "myo_kanoga"), "a data set must be held out"),
        (("research", "user", 0, "myo_kanoga22"), "only the split 'dataset' holds a data set out"),
        (("ninapro", "user", 4), "no such fold"),
        (("ninapro", "days"), "the family ninapro has no such split"),
        (("emg2pose", "repetition"), "the family emg2pose has no such split"),
        (("amputees", "dataset", 0, "myo_kanoga22"), "a data set must be held out"),
    ],
)
def test_a_split_that_would_judge_something_else_is_refused(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Split(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("split", [*ALL, *OTHERS], ids=str)
def test_a_split_travels_with_the_checkpoint(split: Split) -> None:
    assert Split(**split.to_dict()) == split


DB2 = {"ninapro_db2": [f"s{i:02d}" for i in range(1, 41)]}
FORTY = ninapro_movements()
FORCE = CATALOGUE.resolve("ninapro_db2", 41)
WIDE = made_up_session(repetitions=6, actions=("rest", *FORTY, FORCE))


def wide(people: dict[str, list[str]]) -> list[Session]:
    return [
        Session(dataset, who, "a1", WIDE.montage, WIDE.clips, WIDE.scale)
        for dataset, everyone in people.items()
        for who in everyone
    ]


def test_ninapro_people_are_judged_once_ten_against_thirty() -> None:
    sessions = wide(DB2)
    judged = [{s.subject for s in Split("ninapro", "user", fold).judged(sessions)} for fold in range(4)]
    trained = [{s.subject for s in Split("ninapro", "user", fold).training(sessions, CATALOGUE)} for fold in range(4)]
    assert [len(who) for who in judged] == [10] * 4 and [len(who) for who in trained] == [30] * 4
    assert set.union(*judged) == set(DB2["ninapro_db2"]) and sum(map(len, judged)) == 40


def test_ninapro_repetitions_are_those_of_its_authors() -> None:
    split = Split("ninapro", "repetition")
    assert repetitions(split.training([WIDE], CATALOGUE)) == {1, 3, 4, 6}
    assert repetitions(split.judged([WIDE], CATALOGUE)) == {2, 5}


def test_every_ninapro_movement_is_unseen_once_in_five_folds() -> None:
    folds = [Split("ninapro", "action", fold).held_actions for fold in range(NINAPRO_CLASS_FOLDS)]
    assert [len(held) for held in folds] == [8] * 5
    assert sorted(name for held in folds for name in held) == sorted(FORTY) and len(set(FORTY)) == 40


@pytest.mark.parametrize("kind", ["class", "action"])
@pytest.mark.parametrize("fold", range(NINAPRO_CLASS_FOLDS))
def test_unseen_movements_are_not_trained_on_and_rest_and_force_are_on_no_side(kind: str, fold: int) -> None:
    split, sessions = Split("ninapro", kind, fold), wide({"ninapro_db2": DB2["ninapro_db2"][:10]})
    training, judged = split.training(sessions, CATALOGUE), split.judged(sessions, CATALOGUE)
    held = set(split.held_actions)
    assert present(training) == set(FORTY) - held
    assert present(judged) == (held if kind == "action" else set(FORTY))
    shared = {s.person for s in training} & {s.person for s in judged}
    assert len(shared) == (10 if kind == "action" else 0)


def test_people_with_an_amputation_are_judged_whole_and_never_trained_on() -> None:
    split = Split("amputees", "dataset", 0, "ninapro_db3")
    sessions = wide({"ninapro_db2": ["s01", "s02"], "ninapro_db3": ["s01", "s03"]})
    assert {s.person for s in split.training(sessions, CATALOGUE)} == {"ninapro_db2/s01", "ninapro_db2/s02"}
    assert {s.person for s in split.judged(sessions)} == {"ninapro_db3/s01", "ninapro_db3/s03"}


def official(split: str, axis: str, subject: str) -> Session:
    session = made_up_session(repetitions=1, subject=subject, dataset="emg2pose", actions=ACTIONS)
    for clip in session.clips:
        clip.attributes.update(split=split, generalization=axis)
    return session


@pytest.mark.parametrize(("kind", "axis"), [("user", "user"), ("action", "stage"), ("class", "user_stage")])
def test_emg2pose_is_split_by_its_own_metadata(kind: str, axis: str) -> None:
    sessions = [official("train", "", "a"), official("val", "user", "b")]
    sessions += [official("test", name, f"of {name}") for name in ("user", "stage", "user_stage")]
    split = Split("emg2pose", kind)
    assert [s.subject for s in split.training(sessions, CATALOGUE)] == ["a"]
    assert [s.subject for s in split.judged(sessions, CATALOGUE)] == [f"of {axis}"]


def test_a_session_of_emg2pose_may_hold_files_of_both_sides() -> None:
    session = official("train", "", "a")
    session.clips[1].attributes.update(split="test", generalization="stage")
    split = Split("emg2pose", "action")
    assert [len(s.clips) for s in split.training([session], CATALOGUE)] == [len(session.clips) - 1]
    assert [len(s.clips) for s in split.judged([session], CATALOGUE)] == [1]
    assert len(session.clips) == len(ACTIONS)


def test_random_blocks_share_no_frame_and_lose_none() -> None:
    split, sessions = Split("research", "random"), sessions_for({"myo_kanoga22": ["sub1", "sub2"]})
    sides = split.training(sessions, CATALOGUE), split.judged(sessions)
    for before, trained, judged in zip(sessions, *sides, strict=True):
        for a, b, c in zip(before.clips, trained.clips, judged.clips, strict=True):
            both = np.stack([b.action, c.action])
            assert ((both != NO_ACTION).sum(axis=0) == (a.action != NO_ACTION)).all()
            assert np.array_equal(both.max(axis=0), a.action)
    share = np.mean([judged_blocks(s, n, c)[c.action >= 0].mean() for s in sessions for n, c in enumerate(s.clips)])
    assert 0.12 < share < 0.28


def test_what_is_left_around_a_judged_block_is_no_execution_with_a_hole() -> None:
    (session,) = Split("research", "random").training([WIDE], CATALOGUE)
    numbers = [n for clip in session.clips for n in np.unique(clip.execution[clip.execution != NO_ACTION])]
    assert len(numbers) == len(set(numbers)) > len(WIDE.clips)
    for clip in session.clips:
        assert ((clip.execution == NO_ACTION) == (clip.action == NO_ACTION)).all()
        for number in np.unique(clip.execution[clip.execution != NO_ACTION]):
            frames = np.flatnonzero(clip.execution == number)
            assert np.array_equal(frames, np.arange(frames[0], frames[-1] + 1))


def test_random_blocks_are_whole_and_the_same_in_every_run() -> None:
    clip = WIDE.clips[0]
    first = int(np.flatnonzero(clip.execution >= 0)[0])
    found = [judged_blocks(WIDE, number, clip) for number in range(30)]
    assert all(np.array_equal(judged_blocks(WIDE, n, clip), each) for n, each in enumerate(found))
    assert len({each.tobytes() for each in found}) > 1
    for judged in found:
        assert not judged[:first].any()
        for begin in range(first, len(judged), BLOCK_FRAMES):
            assert len(set(judged[begin : begin + BLOCK_FRAMES])) == 1


def test_later_days_are_judged_and_a_single_day_is_trained_on() -> None:
    def days(subject: str, names: list[str]) -> list[Session]:
        return [
            Session("myo_kanoga22", subject, name, TEMPLATE.montage, TEMPLATE.clips, TEMPLATE.scale) for name in names
        ]

    sessions = [*days("a", ["day10", "day01", "day02"]), *days("b", ["day05"]), *days("c", ["2", "1"])]
    split = Split("research", "days")
    assert {(s.subject, s.name) for s in split.judged(sessions)} == {("a", "day10"), ("c", "2")}
    assert {(s.subject, s.name) for s in split.training(sessions, CATALOGUE)} == {
        ("a", "day01"), ("a", "day02"), ("b", "day05"), ("c", "1"),
    }  # fmt: skip


def test_a_checkpoint_names_people_licences_and_split() -> None:
    split = Split("research", "dataset", 0, "myo_kanoga22")
    found = split.provenance(split.training(sessions_for({"myo_readings8": ["p1", "p2"]}), CATALOGUE))
    assert found == {"people": {"myo_readings8": ["p1", "p2"]}, "licences": ["MIT"], "split": split.to_dict()}
