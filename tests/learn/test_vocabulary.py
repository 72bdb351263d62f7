"""What free text finds is measured with texts and people that nobody learnt from, by figures that can be worked out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

import torch

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.actions.paraphrases import REGISTERS, load_paraphrase_table
from myosem_edge.actions.table import load_table
from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.sessions import ANONYMOUS, NO_ACTION, Session
from myosem_edge.learn.corpus.splits import SHIPPED_HELD_OUT, Split
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.learn.teacher.hidden import hide_actions
from myosem_edge.learn.teacher.model import ModelConfig
from myosem_edge.learn.teacher.train import TrainConfig, train
from myosem_edge.learn.vocabulary import measurement as vocabulary
from myosem_edge.learn.vocabulary import sentences as vocabulary_text
from myosem_edge.learn.vocabulary.measurement import CATALOGUE, COMPOSED, FIVE, NAME, ONE, choose_stacking, compose
from myosem_edge.learn.vocabulary.measurement import measure_vocabulary as measure
from myosem_edge.learn.vocabulary.signals import (
    AS_WORN,
    PLACEMENTS,
    Worn,
    can_be_turned,
    confuse,
    generalise,
    judgeable,
    recalls,
    retrieve,
    text_ranking,
    wear,
)
from myosem_edge.learn.vocabulary.tables import to_markdown
from tests.learn.conftest import made_up_session

CATALOGUE_OF_ACTIONS = load_catalogue()
SPLIT = Split("shipped", "people")
TRAINED_ON = ["p10000", "p10101"]
SHOWN = ("rest", "wrist_flexion", "wrist_extension", "fist", "fist_with_wrist_flexion", "fist_with_wrist_extension")
COMPOUNDS = SHOWN[4:]


def people() -> list[Session]:
    who = [*TRAINED_ON, *SHIPPED_HELD_OUT[:2]]
    return [
        made_up_session(i, repetitions=4, subject=name, dataset="myo_readings8", actions=SHOWN)
        for i, name in enumerate(who)
    ]


def taught(hidden: str) -> Trained:
    torch.set_num_threads(1)
    config = TrainConfig(
        model=ModelConfig(width=32, mixtures=12, filters=3),
        steps=10,
        episodes=2,
        ways=2,
        queries=1,
        hidden_actions=hidden,
    )
    provenance = {"people": {"myo_readings8": TRAINED_ON}, "split": SPLIT.to_dict()}
    return train(config, people()[:2], CATALOGUE_OF_ACTIONS, load_table(), family="shipped", provenance=provenance)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return taught(", ".join(COMPOUNDS))


@pytest.fixture(scope="module")
def inner() -> Trained:
    return taught(",".join((*COMPOUNDS, "fist")))


@pytest.fixture(scope="module")
def result(trained: Trained, inner: Trained) -> vocabulary.Vocabulary:
    return measure(trained, SPLIT, people(), CATALOGUE_OF_ACTIONS, load_table(), load_paraphrase_table(), inner=inner)


def rows(*actions: str) -> list[int]:
    return [CATALOGUE_OF_ACTIONS.ids.index(action) for action in actions]


def perfect(*actions: str, noise: float = 0.0) -> tuple[list[Worn], np.ndarray]:
    """Hops that lie on their action's prototype, prototypes being unit axes; noise mixes in the next action."""
    prototypes = np.zeros((len(CATALOGUE_OF_ACTIONS), len(actions)))
    places = np.array(rows(*actions))
    prototypes[places] = np.eye(len(actions))
    z = np.repeat((1 - noise) * np.eye(len(actions)) + noise * np.roll(np.eye(len(actions)), 1, axis=1), 3, axis=0)
    action = np.repeat(places, 3)
    return [Worn("p", AS_WORN, (z, action), (z, action))], prototypes


class TestHidden:
    def test_the_labels_go_and_the_signal_stays(self) -> None:
        session = people()[0]
        for clip in session.clips:
            clip.early[:2] = clip.action[2]
        hidden = hide_actions([session], " fist , wrist_flexion", CATALOGUE_OF_ACTIONS)[0]
        for before, after in zip(session.clips, hidden.clips, strict=True):
            gone = np.isin(before.action, rows("fist", "wrist_flexion"))
            assert after.x is before.x
            assert (after.action[gone] == NO_ACTION).all() and (after.execution[gone] == NO_ACTION).all()
            np.testing.assert_array_equal(after.action[~gone], before.action[~gone])
            np.testing.assert_array_equal(after.execution[~gone], before.execution[~gone])
            assert not np.isin(after.early, rows("fist", "wrist_flexion")).any()

    def test_nothing_is_hidden_by_default(self) -> None:
        session = people()[0]
        same = hide_actions([session], "", CATALOGUE_OF_ACTIONS)[0]
        assert all((a.action == b.action).all() for a, b in zip(same.clips, session.clips, strict=True))

    def test_an_unknown_action_is_refused(self) -> None:
        with pytest.raises(InputError, match="Did you mean 'fist'"):
            hide_actions(people()[:1], "fists", CATALOGUE_OF_ACTIONS)

    def test_training_never_learns_them(self, trained: Trained, inner: Trained) -> None:
        assert sorted(trained.provenance["actions"]) == sorted(SHOWN[:4])
        assert sorted(inner.provenance["actions"]) == sorted(SHOWN[:3])
        assert "fist" not in inner.ring_templates


class TestSentences:
    def test_a_sentence_takes_every_place(self, trained: Trained) -> None:
        """Its part in view v is the projection of view v, of the sentence minus the mean of the means."""
        sentences = torch.from_numpy(load_table().vectors[:3, 0])
        placed = trained.place(sentences)
        centred = sentences - trained.text_mean.mean(dim=0)
        part = torch.nn.functional.normalize(centred @ trained.projection.matrix[2].T, dim=-1)
        size = part.shape[1]
        weight = torch.softmax(trained.encoder.view_weights, 0)[2].sqrt()
        torch.testing.assert_close(placed[:, 2 * size : 3 * size], part * weight)
        torch.testing.assert_close(placed.norm(dim=-1), torch.ones(3))

    def test_a_paraphrase_that_is_a_copy_is_found_and_another_is_not(self, trained: Trained) -> None:
        """With the catalogue's own names for paraphrases of all but one action, all but that one come first."""
        table, said = load_table(), load_paraphrase_table()
        copies = np.repeat(table.select(said.ids)[:, :1], len(REGISTERS), axis=1)
        copies[said.ids.index("fist")] = table.select(["finger_snap"])[0, 0]
        text = vocabulary_text.text_retrieval(
            trained, CATALOGUE_OF_ACTIONS, table, replace(said, vectors=copies), SHOWN[:4]
        )[2]
        nearest = text.values["raw, nearest view"]["R@1"]
        assert (text.size, text.queries) == (len(table.ids), len(said.ids))
        assert nearest["fist"] == 0.0 and [a for a, v in nearest.items() if v < 100] == ["fist"]
        assert text.values["raw, nearest view"]["nearer than its antonym"]["wrist_flexion"] == 100.0

    def test_a_gallery_of_trained_actions_holds_those_alone(self, result: vocabulary.Vocabulary) -> None:
        first = result.text[0]
        assert (first.size, first.queries) == (4, 4)
        assert set(first.values["projected"]["R@1"]) == set(SHOWN[:4])

    def test_every_pair_of_antonyms_once(self, result: vocabulary.Vocabulary) -> None:
        pairs = {pair.actions: pair for pair in result.antonyms}
        assert len(pairs) == 19 and ("wrist_extension", "wrist_flexion") not in pairs
        pair = pairs["wrist_flexion", "wrist_extension"]
        table = load_table()
        a, b = table.select(pair.actions)
        assert pair.raw == pytest.approx(float((a * b).sum(-1).mean()), abs=1e-6)
        assert pair.centred < pair.raw and pair.trained == 2
        assert pairs["fist", "hand_open"].trained == 1

    def test_groups_are_those_of_the_catalogue(self, result: vocabulary.Vocabulary) -> None:
        groups = {group.group: group for group in result.groups}
        assert groups["pronation"].actions == ("forearm_pronation", "forearm_pronation_little_finger_axis")
        a, b = load_table().select(groups["pronation"].actions)
        assert groups["pronation"].raw == pytest.approx(float((a * b).sum(-1).mean()), abs=1e-6)
        assert all(
            set(g.actions) == {g.actions[0], *CATALOGUE_OF_ACTIONS.neighbours(g.actions[0])} for g in result.groups
        )

    def test_the_place_of_a_sentence_is_measured_without_a_paraphrase(self, trained: Trained) -> None:
        """A catalogue in which all views of an action are one sentence must be found whatever the place."""
        table = load_table()
        same = replace(table, vectors=np.repeat(table.vectors[:, :1], 4, axis=1))
        alike = replace(trained, text_mean=trained.text_mean[:1].expand(4, -1))
        assert all(measured["R@1"] == 100.0 for measured in vocabulary_text.placements(alike, same).values())
        assert all(measured["R@1"] < 50.0 for measured in vocabulary_text.placements(trained, table).values())


class TestEmg:
    def test_recordings_that_lie_on_their_prototype(self) -> None:
        worn, prototypes = perfect("rest", "fist", "hand_open")
        gallery = rows("rest", "fist", "hand_open")
        found = retrieve("d", worn, gallery, gallery, CATALOGUE_OF_ACTIONS.ids, {"w": [prototypes]})
        assert {m: v["p"] for m, v in found.values[AS_WORN]["w"]["hop"].items()} == {
            "R@1": 100.0, "R@5": 100.0, "MRR": 100.0, "text R@1": 100.0, "text mAP": 100.0,
        }  # fmt: skip

    def test_several_sets_of_prototypes_are_averaged(self) -> None:
        worn, prototypes = perfect("rest", "fist")
        gallery = rows("rest", "fist")
        swapped = prototypes[:, ::-1]
        found = retrieve("d", worn, gallery, gallery, CATALOGUE_OF_ACTIONS.ids, {"w": [prototypes, swapped]})
        assert found.values[AS_WORN]["w"]["hop"]["R@1"] == {"p": 50.0}

    def test_actions_that_are_not_judged_distract_a_description(self) -> None:
        """One right recording behind one of another action: precision one half, whether or not that one is judged."""
        cosines, truth = np.array([[0.9, 0.0], [0.8, 0.1]]), np.array([1, 0])
        assert text_ranking(cosines, truth, np.array([0])) == {"text R@1": 0.0, "text mAP": 50.0}

    def test_hops_taken_for_the_opposite_are_counted(self) -> None:
        worn, prototypes = perfect("rest", "fist", "hand_open")
        opposite = prototypes.copy()
        opposite[rows("fist", "hand_open")] = prototypes[rows("hand_open", "fist")]
        wordings = {"right": [prototypes], "wrong": [opposite], "both": [prototypes, opposite]}
        gallery = sorted(rows("rest", "fist", "hand_open"))
        found = confuse("d", worn, gallery, CATALOGUE_OF_ACTIONS, wordings, "wrong")
        shares = {name: {k: v["p"] for k, v in s.items()} for name, s in found.values[AS_WORN].items()}
        assert shares["right"] == {"own": 100.0, "antonym": 0.0, "other": 0.0}
        assert shares["wrong"] == {"own": 0.0, "antonym": 100.0, "other": 0.0}
        assert shares["both"] == {"own": 50.0, "antonym": 50.0, "other": 0.0}
        assert found.pairs == {a: {"own": 0.0, "antonym": 100.0} for a in ("fist", "hand_open")}

    def test_a_handicap_gives_the_untrained_their_turn(self) -> None:
        """Hops that lie between a trained and an untrained action: 0.6 to 0.4 for the trained one."""
        cosines, unseen = np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([False, True])
        truth = np.array([0, 1])
        assert recalls(cosines, truth, unseen, 0.0) == {"trained": 100.0, "untrained": 0.0, "harmonic mean": 0.0}
        assert recalls(cosines, truth, unseen, 0.3) == {"trained": 100.0, "untrained": 100.0, "harmonic mean": 100.0}
        assert recalls(cosines, truth, unseen, 0.9)["trained"] == 0.0

    def test_before_and_after_the_handicap(self) -> None:
        worn, prototypes = perfect("rest", "fist", "hand_open", noise=0.6)
        arguments = ("d", worn, rows("rest", "fist"), rows("hand_open"), CATALOGUE_OF_ACTIONS.ids, {"w": [prototypes]})
        assert set(generalise(*arguments, None).values[AS_WORN]["w"]) == {"before"}
        steps = generalise(*arguments, 0.5).values[AS_WORN]["w"]
        assert steps["before"]["untrained"]["p"] == 0.0  # 0.6 of the hop lies on rest
        assert steps["after"]["untrained"]["p"] == 100.0

    def test_a_compound_is_the_unit_sum_of_its_parts(self) -> None:
        prototypes = np.random.default_rng(0).normal(size=(len(CATALOGUE_OF_ACTIONS), 8))
        composed = compose(prototypes, CATALOGUE_OF_ACTIONS)
        (whole,), (a, b) = rows("fist_with_pronation"), rows("fist", "forearm_pronation")
        total = prototypes[a] + prototypes[b]
        np.testing.assert_allclose(composed[whole], total / np.linalg.norm(total))
        np.testing.assert_array_equal(composed[a], prototypes[a])

    def test_trained_actions_keep_the_texts_they_were_trained_on(self) -> None:
        own, said = np.zeros((3, 2)), np.ones((3, 2))
        wordings = {CATALOGUE: [own], ONE: [said, 2 * said]}
        first, second = vocabulary._of_untrained(wordings, (ONE,), [1])[ONE]
        np.testing.assert_array_equal(first, [[0, 0], [1, 1], [0, 0]])
        np.testing.assert_array_equal(second, [[0, 0], [2, 2], [0, 0]])
        assert (said == 1).all() and (own == 0).all()


class TestStacking:
    def test_it_is_chosen_on_hidden_actions_of_people_who_were_trained_on(self, result: vocabulary.Vocabulary) -> None:
        stacking = result.stacking
        assert stacking is not None
        assert (stacking.people, stacking.hidden) == (2, ("fist",))
        assert stacking.constant in vocabulary.STACKING_GRID

    def test_the_judged_people_change_nothing(
        self, trained: Trained, inner: Trained, result: vocabulary.Vocabulary
    ) -> None:
        alone = choose_stacking(inner, trained, people()[:2], CATALOGUE_OF_ACTIONS, load_table())
        assert alone == result.stacking

    def test_a_checkpoint_that_met_everything_is_refused(self, trained: Trained) -> None:
        with pytest.raises(InputError, match=r"--inner.*every action of this one.*hidden_actions"):
            choose_stacking(trained, trained, people(), CATALOGUE_OF_ACTIONS, load_table())

    def test_a_checkpoint_of_other_people_is_refused(self, trained: Trained, inner: Trained) -> None:
        other = replace(inner, provenance={**inner.provenance, "people": {"myo_readings8": [SHIPPED_HELD_OUT[0]]}})
        with pytest.raises(InputError, match=f"people that this one was not: myo_readings8/{SHIPPED_HELD_OUT[0]}"):
            choose_stacking(other, trained, people(), CATALOGUE_OF_ACTIONS, load_table())

    def test_nobody_who_shows_them_is_refused(self, trained: Trained, inner: Trained) -> None:
        with pytest.raises(InputError, match="nobody shows the hidden actions"):
            choose_stacking(inner, trained, people()[2:], CATALOGUE_OF_ACTIONS, load_table())


class TestSessions:
    def test_actions_without_a_description_are_left_out(self, trained: Trained) -> None:
        session = people()[3]
        fists = [clip for clip in session.clips if rows("fist")[0] in clip.action]
        for clip in fists:
            clip.action[clip.action >= 0] = ANONYMOUS + 3
        worn = wear(session, trained, CATALOGUE_OF_ACTIONS.ids, True)
        assert [w.placement for w in worn] == list(PLACEMENTS)
        for w in worn:
            assert set(w.hop[1]) == set(w.execution[1]) == set(rows(*SHOWN)) - set(rows("fist"))
            assert len(w.execution[0]) == 4 * (len(SHOWN) - 1) and len(w.hop[0]) == len(w.hop[1])
        only = replace(session, clips=fists)
        assert judgeable([session, only], CATALOGUE_OF_ACTIONS.ids) == [session]

    def test_no_ring_is_looked_for_where_no_template_knows_an_action(self, trained: Trained) -> None:
        session = made_up_session(9, subject="s", actions=COMPOUNDS)
        assert not can_be_turned(session, trained, CATALOGUE_OF_ACTIONS.ids)
        assert can_be_turned(people()[2], trained, CATALOGUE_OF_ACTIONS.ids)
        assert [w.placement for w in wear(session, trained, CATALOGUE_OF_ACTIONS.ids, False)] == [AS_WORN]

    def test_trained_actions_compete_where_untrained_ones_alone_are_judged(self, trained: Trained) -> None:
        alone = [
            made_up_session(i, subject=who, dataset="myo_readings8", actions=COMPOUNDS)
            for i, who in enumerate(SHIPPED_HELD_OUT[:2])
        ]
        found = measure(trained, SPLIT, alone, CATALOGUE_OF_ACTIONS, load_table(), load_paraphrase_table())
        assert [(len(r.gallery), len(r.judged)) for r in found.retrieval] == [(2, 2), (6, 2)]
        assert [len(r.gallery) for r in found.composition] == [2, 6]
        assert list(found.retrieval[0].values) == [AS_WORN]
        assert "nan" not in to_markdown(found)


class TestWhole:
    def test_galleries_and_wordings(self, result: vocabulary.Vocabulary) -> None:
        galleries = [(set(r.gallery), set(r.judged)) for r in result.retrieval]
        everything, known, new = set(SHOWN), set(SHOWN[:4]), set(COMPOUNDS)
        assert galleries == [(everything, everything), (known, known), (everything, new), (new, new)]
        for r in result.retrieval:
            assert set(r.values) == set(PLACEMENTS)
            assert list(r.values[AS_WORN]) == [CATALOGUE, NAME, ONE, FIVE]
            assert set(r.values[AS_WORN][ONE]["hop"]["R@1"]) == {f"myo_readings8/{p}" for p in SHIPPED_HELD_OUT[:2]}
        assert [len(r.gallery) for r in result.composition] == [2, 6]
        assert all(set(r.judged) == new and COMPOSED in r.values[AS_WORN] for r in result.composition)
        (generalised,) = result.generalised
        assert set(generalised.values[AS_WORN][COMPOSED]) == {"before", "after"}

    def test_the_same_twice(self, trained: Trained, inner: Trained, result: vocabulary.Vocabulary) -> None:
        again = measure(
            trained, SPLIT, people(), CATALOGUE_OF_ACTIONS, load_table(), load_paraphrase_table(), inner=inner
        )
        assert json.dumps(again.to_dict()) == json.dumps(result.to_dict(), allow_nan=False)
        assert to_markdown(again) == to_markdown(result)

    def test_the_report_lists_everybody_where_there_are_few(self, result: vocabulary.Vocabulary) -> None:
        text = to_markdown(result)
        values = result.retrieval[0].values[AS_WORN][CATALOGUE]["hop"]["R@1"]
        each = ", ".join(f"{values[p]:.1f}" for p in sorted(values))
        assert f"| {AS_WORN} | {CATALOGUE} | {np.mean(list(values.values())):.1f} ({each}) |" in text
        for part in ("chosen on 2 people who were trained on, with fist hidden", "wrist_flexion / wrist_extension"):
            assert part in text
        columns = {line.count("|") for line in text.splitlines() if line.startswith("| as worn | catalogue")}
        assert 0 not in columns and "nan" not in text

    @pytest.mark.parametrize(
        ("who", "datasets", "message"),
        [(people()[:2], (), "nobody is left to judge"), (people(), ("myo_kanoga22",), "nobody is left to judge")],
    )
    def test_nobody_to_judge(self, trained: Trained, who: Any, datasets: tuple[str, ...], message: str) -> None:
        with pytest.raises(InputError, match=message):
            measure(trained, SPLIT, who, CATALOGUE_OF_ACTIONS, load_table(), load_paraphrase_table(), datasets=datasets)

    def test_a_judge_who_was_trained_on_is_refused(self, trained: Trained) -> None:
        wrong = replace(trained, provenance={**trained.provenance, "people": {"myo_readings8": SHIPPED_HELD_OUT[:1]}})
        with pytest.raises(InputError, match="a judged person was trained on"):
            measure(wrong, SPLIT, people(), CATALOGUE_OF_ACTIONS, load_table(), load_paraphrase_table())
