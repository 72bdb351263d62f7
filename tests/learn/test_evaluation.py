"""Embedding, few-shot and the evaluation table, on made-up people who are easy to decode."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

import torch

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.actions.table import load_table
from myosem_edge.calibration.enrol import enrol_encoded
from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.sessions import NO_ACTION, Session
from myosem_edge.learn.corpus.splits import SHIPPED_HELD_OUT, Split
from myosem_edge.learn.report.pages import to_markdown
from myosem_edge.learn.scoring import fewshot
from myosem_edge.learn.scoring.days import KEPT, KEPT_TURNED, across_days
from myosem_edge.learn.scoring.days import ROWS as DAY_ROWS
from myosem_edge.learn.scoring.embed import (
    SETTLE_FRAMES,
    Embedded,
    embed,
    mean_by_execution,
    torch_encode,
    worn_scale,
    worn_shift,
)
from myosem_edge.learn.scoring.evaluate import FOREIGN_SCALE, PLACEMENTS, RETRIEVERS, STRICT_PLACEMENTS, evaluate
from myosem_edge.learn.scoring.evaluation import Evaluation
from myosem_edge.learn.scoring.fewshot import (
    BASELINES,
    BUDGETS,
    HEADS,
    ONE_SECOND_FRAMES,
    TEST_AFTER,
    budget_rows,
    few_shot,
)
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.learn.teacher.model import ModelConfig
from myosem_edge.learn.teacher.train import TrainConfig, train
from tests.learn.conftest import NAMES, made_up_session

CATALOGUE = load_catalogue()
SPLIT = Split("shipped", "people")
TRAINED_ON = ["p10000", "p10101"]


def people() -> list[Session]:
    who = [*TRAINED_ON, *SHIPPED_HELD_OUT[:2]]
    return [made_up_session(i, repetitions=6, subject=name, dataset="myo_readings8") for i, name in enumerate(who)]


@pytest.fixture(scope="module")
def trained() -> Trained:
    torch.set_num_threads(1)
    config = TrainConfig(model=ModelConfig(width=32, mixtures=12, filters=3), steps=15, episodes=2, ways=4, queries=1)
    return train(
        config,
        people()[:2],
        CATALOGUE,
        load_table(),
        family="shipped",
        provenance={"people": {"myo_readings8": TRAINED_ON}, "split": SPLIT.to_dict()},
    )


@pytest.fixture(scope="module")
def result(trained: Trained) -> Evaluation:
    return evaluate(trained, SPLIT, people(), CATALOGUE, load_table())


def embedded(seed: int = 5) -> Embedded:
    return embed(made_up_session(seed, repetitions=6), None)


def test_only_believed_and_settled_decisions_are_judged() -> None:
    session = made_up_session(repetitions=2)
    session.clips[1].action[:] = NO_ACTION
    e = embed(session, None)
    expected = sum(int((clip.action[SETTLE_FRAMES:] != NO_ACTION).sum()) for clip in session.clips)
    assert len(e.action) == expected == (2 * len(NAMES) - 1) * (40 - SETTLE_FRAMES)
    assert e.h.shape == e.z.shape == (expected, 0)
    assert (e.action != NO_ACTION).all() and (e.execution != NO_ACTION).all()


def test_a_decision_is_the_encoders_at_that_frame(trained: Trained) -> None:
    session = made_up_session(repetitions=1)
    encode = torch_encode(trained)
    e = embed(session, encode)
    h, z = encode(session.canonical(session.clips[2]))
    own = e.execution == session.clips[2].execution[-1]
    assert np.array_equal(e.h[own], h[SETTLE_FRAMES:]) and np.array_equal(e.z[own], z[SETTLE_FRAMES:])
    assert np.allclose(np.linalg.norm(e.z, axis=1), 1.0, atol=1e-5)


def test_executions_are_means() -> None:
    e = embedded()
    mean, action = mean_by_execution(e.execution, e.action, e.log_features)
    assert len(mean) == 6 * len(NAMES) and sorted(set(action)) == sorted(set(e.action))
    assert np.allclose(mean[3], e.log_features[e.execution == np.unique(e.execution)[3]].mean(axis=0))


def test_the_worn_scale_knows_only_the_calibrated_repetitions() -> None:
    session = made_up_session(repetitions=4)
    before = worn_scale(session, {1})
    for clip in session.clips:
        if clip.repetition[0] > 1:
            clip.x *= 100
    assert np.array_equal(worn_scale(session, {1}), before)
    assert np.array_equal(worn_scale(session), session.scale)


@pytest.mark.parametrize("shift", range(8))
def test_the_ring_is_found_from_one_repetition(trained: Trained, shift: int) -> None:
    session = made_up_session(9, shift=shift)
    assert worn_shift(session, trained, CATALOGUE.ids, {1}) == shift


@pytest.mark.parametrize("budget", BUDGETS)
def test_no_budget_touches_what_is_judged(budget: str) -> None:
    e = embedded()
    rows = budget_rows(e, budget)
    assert not (rows & (e.repetition > TEST_AFTER)).any()
    for action in np.unique(e.action):
        own = rows & (e.action == action)
        if budget == "1 s":
            assert 0 < own.sum() <= ONE_SECOND_FRAMES and set(e.repetition[own]) == {1}
        else:
            assert set(e.repetition[own]) == set(range(1, int(budget) + 1))
            assert len(np.unique(e.execution[own])) == int(budget)


def test_budgets_grow() -> None:
    e = embedded()
    counts = [int(budget_rows(e, budget).sum()) for budget in ("1", "2", "3")]
    assert counts == sorted(counts) and counts[0] < counts[2]


def judge_of(trained: Trained) -> tuple[Any, tuple[str, ...], np.ndarray]:
    """Encoder, action ids and prototypes, as the few-shot functions take them."""
    return torch_encode(trained), CATALOGUE.ids, trained.prototypes(load_table()).numpy()


def test_every_head_sees_the_same_rows(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every baseline is fitted on the same labels, and the calibrated head on those very rows."""
    fitted: list[np.ndarray] = []
    real = fewshot.fit_lda

    def spy(features: np.ndarray, labels: np.ndarray, classes: int, *rest: Any, **named: Any) -> Any:
        assert len(features) == len(labels)
        fitted.append(labels)
        return real(features, labels, classes, *rest, **named)

    def enrolled(encoded: Any, data: Any, *rest: Any) -> Any:
        fitted.append(data.action)
        return enrol_encoded(encoded, data, *rest)

    monkeypatch.setattr(fewshot, "fit_lda", spy)
    monkeypatch.setattr(fewshot, "enrol_encoded", enrolled)
    found = few_shot([made_up_session(7, repetitions=6)], trained, *judge_of(trained), ["1"])
    assert len(fitted) == 1 + len(BASELINES) and all(np.array_equal(labels, fitted[0]) for labels in fitted)
    assert list(found["1"]["window"]) == list(HEADS)


def test_easy_people_are_decoded_after_one_repetition(trained: Trained) -> None:
    found = few_shot([made_up_session(7, repetitions=6)], trained, *judge_of(trained))
    assert list(found) == list(BUDGETS)
    for budget in BUDGETS:
        for head in ("Hudgins LDA", "log-feature LDA", "calibrated head"):
            assert found[budget]["window"][head]["made_up/s1"] > 95
            assert found[budget]["execution"][head]["made_up/s1"] == 100


def test_a_session_without_later_repetitions_is_not_judged(trained: Trained) -> None:
    assert few_shot([made_up_session(7, repetitions=3)], trained, *judge_of(trained), ["1"]) == {}


def test_judged_people_alone_are_in_the_result(result: Evaluation) -> None:
    (retrieval,) = result.retrieval
    assert retrieval.people == tuple(sorted(f"myo_readings8/{who}" for who in SHIPPED_HELD_OUT[:2]))
    assert result.trained_people == 2 and retrieval.chance == 100 / len(NAMES)
    assert set(retrieval.gallery) == set(NAMES)
    for placement in PLACEMENTS:
        assert set(retrieval.values[placement]) == set(RETRIEVERS)
        people_judged = retrieval.values[placement]["descriptions"]["window"]["R@1"]
        assert set(people_judged) == set(retrieval.people)


def test_the_population_baselines_decode_easy_people(result: Evaluation) -> None:
    values = result.retrieval[0].values["as worn"]["log-feature LDA"]["window"]["R@1"]
    assert min(values.values()) > 95


def test_the_table_has_every_row(result: Evaluation) -> None:
    text = to_markdown(result)
    for placement in PLACEMENTS:
        for retriever in RETRIEVERS:
            assert f"\n| {placement} | {retriever} | " in text
    for name in ("1 s", "1 repetition", "2 repetitions", "3 repetitions"):
        assert f"\n| {name} | " in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| as worn") or "placement" in line}
    assert len(widths) == 1
    assert "chance R@1 25.0" in text and "nan" not in text.lower()


def test_the_json_is_strict_and_keeps_every_person(result: Evaluation) -> None:
    again = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert Split(**again["split"]) == SPLIT
    assert set(again["few_shot"]["myo_readings8"]) == set(BUDGETS)
    percent = again["retrieval"][0]["values"]["as worn"]["descriptions"]["window"]["R@1"]
    assert all(0 <= value <= 100 for value in percent.values())


def test_actions_that_were_held_out_are_retrieved_alone_and_among_all(trained: Trained) -> None:
    split = Split("research", "class", 1)  # wrist_extension and fist
    sessions = [made_up_session(i, repetitions=5, subject=f"s{i}", dataset="myo_readings8") for i in range(3)]
    strange = replace(trained, provenance={})
    found = evaluate(strange, split, sessions, CATALOGUE, load_table())
    everything, seen, generalised, alone = found.retrieval
    assert [len(r.gallery) for r in found.retrieval] == [len(NAMES), 2, len(NAMES), 2]
    assert everything.judged == everything.gallery and seen.judged == seen.gallery
    assert generalised.judged == alone.judged == ("wrist_extension", "fist")
    assert found.few_shot == {}
    assert set(alone.values["as worn"]) == {"descriptions"}  # the baselines cannot know a new action
    never = generalised.values["as worn"]["log-feature LDA"]["window"]["R@1"]
    assert set(never.values()) == {0.0}
    to_markdown(found)


def test_an_evaluation_is_read_back_as_it_was_written(result: Evaluation) -> None:
    text = json.dumps(result.to_dict(), allow_nan=False)
    again = Evaluation.from_dict(json.loads(text))
    assert json.dumps(again.to_dict()) == text and to_markdown(again) == to_markdown(result)


def test_confusions_are_shares_of_true_actions(result: Evaluation) -> None:
    (retrieval,) = result.retrieval
    for placement in PLACEMENTS:
        shares = np.array(retrieval.confusion[placement])
        assert shares.shape == (len(retrieval.judged), len(retrieval.gallery))
        assert np.allclose(shares.sum(axis=1), 100, atol=0.1)
        right = retrieval.values[placement]["descriptions"]["window"]["R@1"]
        assert abs(np.diag(shares).mean() - np.mean(list(right.values()))) < 0.5


def test_every_description_and_execution_is_on_the_map(result: Evaluation) -> None:
    found = result.landscape["myo_readings8"]
    assert set(found.landmarks) == set(NAMES) == set(found.actions)
    assert len(found.points) == len(found.actions) == 2 * 6 * len(NAMES)
    assert 1.0 >= sum(found.explained) > 0.3 and found.explained[0] >= found.explained[1] > 0


def test_reliability_covers_every_decision_once(result: Evaluation) -> None:
    assert 0 < result.temperature <= 1
    curves = result.reliability["myo_readings8"]
    assert set(curves) == set(PLACEMENTS)
    for curve in curves.values():
        assert abs(sum(share for _, _, share in curve) - 1) < 1e-9
        assert all(0 <= value <= 1 for row in curve for value in row)


def test_the_temperature_knows_nothing_of_the_judged(trained: Trained, result: Evaluation) -> None:
    others = people()
    for session in others[2:]:
        for clip in session.clips:
            clip.x[:] = np.random.default_rng(1).normal(0, 1, clip.x.shape)
    spoilt = evaluate(trained, SPLIT, others, CATALOGUE, load_table(), budgets=())
    assert spoilt.temperature == result.temperature
    assert spoilt.reliability != result.reliability


def test_the_scale_of_the_training_people_owes_the_judged_nothing(trained: Trained) -> None:
    """A person whose amplifier is sixteen times stronger is seen as such; their own scale hides it."""

    def judge(gain: float) -> dict[str, Any]:
        sessions = people()
        for session in sessions[2:]:
            session.scale = session.scale * gain
            for clip in session.clips:
                clip.x *= gain
        found = evaluate(trained, SPLIT, sessions, CATALOGUE, load_table(), budgets=(), placements=STRICT_PLACEMENTS)
        assert list(found.retrieval[0].values) == list(STRICT_PLACEMENTS)
        return {name: each["descriptions"]["window"] for name, each in found.retrieval[0].values.items()}

    one, loud = judge(1.0), judge(16.0)  # a power of two: not a bit of the scaled signal changes
    assert one["as worn"] == loud["as worn"] and one[FOREIGN_SCALE] != loud[FOREIGN_SCALE]


def test_near_synonyms_count_as_right_when_merged(trained: Trained) -> None:
    """finger_abduction and hand_open are one semantic group."""
    names = ("rest", "hand_open", "finger_abduction", "fist")
    sessions = people()[:2] + [
        made_up_session(i, repetitions=5, subject=SHIPPED_HELD_OUT[i], dataset="myo_readings8", actions=names)
        for i in range(2)
    ]
    found = evaluate(trained, SPLIT, sessions, CATALOGUE, load_table(), budgets=())
    first = found.retrieval[0]
    assert (first.merged, len(first.gallery)) == (3, 4)
    assert first.group_chance == pytest.approx((25 + 50 + 50 + 25) / 4)
    window = first.values["as worn"]["descriptions"]["window"]
    assert all(window["group R@1"][person] >= window["R@1"][person] for person in window["R@1"])
    merged = np.array(first.confusion["as worn"])
    a, b = (first.gallery.index(name) for name in names[1:3])
    assert merged[[a, b]][:, [a, b]].sum() > 0  # else this test says nothing
    assert np.mean(list(window["group R@1"].values())) == pytest.approx(
        (np.diag(merged).sum() + merged[a, b] + merged[b, a]) / 4, abs=0.5
    )
    assert "near-synonyms merged" in to_markdown(found)


def test_no_group_score_where_no_two_actions_share_a_group(result: Evaluation) -> None:
    assert result.retrieval[0].merged == 0 and "near-synonyms" not in to_markdown(result)


def test_electrodes_without_a_ring_are_never_turned(trained: Trained) -> None:
    sessions = people()
    for session in sessions:
        session.montage = replace(session.montage, layout="sites")
    found = evaluate(trained, SPLIT, sessions, CATALOGUE, load_table(), budgets=())
    assert list(found.retrieval[0].values) == ["as worn"]


def test_a_session_that_is_over_before_it_is_judged_is_left_out(trained: Trained) -> None:
    sessions = people()
    short = sessions[-1]
    for clip in short.clips:
        clip.action[SETTLE_FRAMES:] = NO_ACTION
    found = evaluate(trained, SPLIT, sessions, CATALOGUE, load_table(), budgets=())
    assert found.retrieval[0].people == (sessions[-2].person,)


def test_no_ring_is_found_from_actions_that_were_never_trained_on(trained: Trained) -> None:
    """Only unseen actions are judged here, and none of them has a template."""
    sessions = [made_up_session(i, 5, f"s{i}", "myo_readings8", (*NAMES, "forearm_pronation")) for i in range(3)]
    found = evaluate(trained, Split("research", "action", 0), sessions, CATALOGUE, load_table(), budgets=())
    assert [r.judged for r in found.retrieval] == [("forearm_pronation",)]
    assert all(list(r.values) == ["as worn"] for r in found.retrieval)
    assert list(found.reliability["myo_readings8"]) == ["as worn"]
    to_markdown(found)


def test_later_days_are_judged_with_the_old_calibration_and_a_new_one(trained: Trained) -> None:
    split = Split("research", "days")
    sessions = [
        made_up_session(i, repetitions=5, subject="sub1", dataset="myo_kanoga22", name=f"day{i:02d}") for i in range(3)
    ]
    found = evaluate(trained, split, sessions, CATALOGUE, load_table())
    assert list(found.days["myo_kanoga22"]) == list(DAY_ROWS) and found.few_shot == {}
    assert all(
        people == {"myo_kanoga22/sub1": pytest.approx(100, abs=10)}
        for units in found.days["myo_kanoga22"].values()
        for people in (units["window"]["log-feature LDA"], units["window"]["calibrated head"])
    )
    assert f"\n| {DAY_ROWS[0]} | " in to_markdown(found)


def test_a_band_that_was_turned_overnight_is_found_again(trained: Trained) -> None:
    old = made_up_session(1, repetitions=5, subject="sub1", dataset="myo_kanoga22", name="day01")
    gain = np.linspace(0.5, 2.0, 8).astype(np.float32)  # electrodes differ, and take their scale along
    new = made_up_session(2, repetitions=5, subject="sub1", dataset="myo_kanoga22", name="day02")
    for clip in old.clips:
        clip.x *= gain
    for clip in new.clips:
        clip.x[:] = np.roll(clip.x * gain, 3, axis=1)
    rows = across_days([old], [new], trained, *judge_of(trained))
    right = {row: units["window"]["log-feature LDA"]["myo_kanoga22/sub1"] for row, units in rows.items()}
    assert right[KEPT] < 70 and right[KEPT_TURNED] > 95 and right["one new repetition"] > 95


def test_one_data_set_can_be_judged_alone(trained: Trained) -> None:
    other = made_up_session(8, repetitions=6, subject="E_Male0", dataset="myo_cotelallard7")
    both = evaluate(trained, SPLIT, [*people(), other], CATALOGUE, load_table(), budgets=())
    one = evaluate(trained, SPLIT, [*people(), other], CATALOGUE, load_table(), budgets=(), datasets=["myo_readings8"])
    assert [r.dataset for r in both.retrieval] == ["myo_cotelallard7", "myo_readings8"]
    assert [r.dataset for r in one.retrieval] == ["myo_readings8"]
    assert one.retrieval[0].values == both.retrieval[1].values
    with pytest.raises(InputError, match=r"keeps nothing of myo_kanoga22 apart.*myo_cotelallard7, myo_readings8"):
        evaluate(trained, SPLIT, [*people(), other], CATALOGUE, load_table(), budgets=(), datasets=["myo_kanoga22"])


def test_a_judged_person_who_was_trained_on_is_refused(trained: Trained) -> None:
    """Folds are counted over the people of a folder; another folder would shift them."""
    leaky = replace(trained, provenance={"people": {"myo_readings8": [SHIPPED_HELD_OUT[0]]}})
    with pytest.raises(InputError, match=f"a judged person was trained on.*{SHIPPED_HELD_OUT[0]}"):
        evaluate(leaky, SPLIT, people(), CATALOGUE, load_table(), budgets=())


@pytest.mark.parametrize("kept", [slice(0, 2), slice(2, 4)])
def test_one_side_alone_is_no_evaluation(trained: Trained, kept: slice) -> None:
    with pytest.raises(InputError, match="that were trained on and others that were not"):
        evaluate(trained, SPLIT, people()[kept], CATALOGUE, load_table(), budgets=())
