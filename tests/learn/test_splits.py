"""Nobody and nothing that is judged has been trained on, in every split, for any list of people."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("scipy", reason="the [train] extra is not installed")

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.errors import InputError
from myosem_edge.learn.datasets import data_set
from myosem_edge.learn.sessions import NO_ACTION, Session
from myosem_edge.learn.splits import (
    CLASS_FOLDS,
    DATASETS,
    FOLDS,
    SHIPPED_HELD_OUT,
    SPLITS,
    TRAIN_REPETITIONS,
    Split,
)
from tests.conftest import shared_data
from tests.learn.conftest import made_up_session

CATALOGUE = load_catalogue()
ACTIONS = ("rest", "wrist_extension", "fist", "wrist_ulnar_deviation", "forearm_supination")
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
    if split.kind == "repetition":
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
    if split.kind != "repetition":
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
    ],
)
def test_a_split_that_would_judge_something_else_is_refused(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Split(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMED)
def test_a_split_travels_with_the_checkpoint(name: str) -> None:
    assert Split(**NAMED[name].to_dict()) == NAMED[name]
