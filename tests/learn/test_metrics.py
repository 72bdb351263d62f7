"""Retrieval figures against cases small enough to count by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge.learn.scoring.metrics import (
    balanced,
    emg_to_text,
    error_ratio,
    merge_groups,
    merged_values,
    over_people,
    paired,
    ranks,
    text_to_emg,
)

SIMILARITY = np.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.4], [0.6, 0.3, 0.1], [0.0, 0.1, 0.2]])
TRUTH = np.array([0, 1, 1, 2])


def test_ranks_by_hand():
    assert ranks(SIMILARITY, TRUTH).tolist() == [1, 1, 2, 1]


def test_ties_count_against_us():
    assert ranks(np.ones((1, 4)), np.array([2])).tolist() == [4]


def test_emg_to_text_is_balanced_over_actions():
    assert emg_to_text(SIMILARITY, TRUTH)["R@1"] == pytest.approx(100 * (1 + 0.5 + 1) / 3)
    assert emg_to_text(SIMILARITY, TRUTH)["MRR"] == pytest.approx(100 * (1 + 0.75 + 1) / 3)


def test_a_judged_description_competes_for_every_recording():
    """One judged description of two: alone with its own recordings it would be found without fail."""
    similarity = np.array([[0.1, 0.0], [0.9, 0.0], [0.8, 0.0]])
    truth = np.array([0, 1, 1])
    assert text_to_emg(similarity, truth, np.array([0]))["mAP"] == pytest.approx(100 / 3)
    assert text_to_emg(similarity[:1], truth[:1])["mAP"] == 100


def test_text_to_emg_by_hand():
    # description 1: order by column 1 is rows 1 (0.5), 2 (0.3), then ties 0 and 3: both relevant come first
    found = text_to_emg(SIMILARITY, TRUTH)
    assert found["mAP"] == pytest.approx(100 * (1 + 1 + 0.5) / 3)  # description 2: row 1 (0.4) ranks before row 3
    assert found["R@1"] == pytest.approx(100 * 2 / 3)


@given(st.integers(2, 20), st.integers(0, 100))
def test_chance_is_one_in_the_gallery(gallery, seed):
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(gallery), 200)
    found = emg_to_text(rng.random((len(truth), gallery)), truth)["R@1"]
    assert abs(found - 100 / gallery) < 12


def test_rest_does_not_drown_the_others():
    right = np.array([True] * 98 + [False, False])
    truth = np.array([0] * 98 + [1, 2])
    assert balanced(right, truth) == pytest.approx(1 / 3)


def test_interval_needs_people():
    assert np.isnan(over_people([90.0, 91.0, 92.0]).low)
    i = over_people(list(range(50, 80)))
    assert i.low < i.mean < i.high


def test_paired_difference_is_tighter_than_two_intervals():
    people = {f"p{i}": 50.0 + i for i in range(20)}
    better = {p: v + 1 for p, v in people.items()}
    d = paired(better, people)
    assert (d.mean, d.low, d.high) == (1.0, 1.0, 1.0)


def test_error_ratio():
    ours, base = {f"p{i}": 95.0 for i in range(6)}, {f"p{i}": 90.0 for i in range(6)}
    assert error_ratio(ours, base).mean == pytest.approx(0.5)


def test_a_group_is_as_similar_as_its_best_member() -> None:
    similarity = np.array([[0.1, 0.9, 0.3, 0.2], [0.5, 0.4, 0.6, 0.55]])
    assert np.array_equal(merge_groups(similarity, np.array([0, 1, 0, 1])), [[0.3, 0.9], [0.6, 0.55]])


def test_merged_scores_are_still_balanced_over_actions() -> None:
    """Three actions, two of one group: each counts a third, not the group as one of two."""
    truth = np.array([0, 1, 2, 2, 2])
    groups = np.array([0, 0, 1])
    similarity = np.array([[0, 1, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]], dtype=float)
    merged = emg_to_text(merge_groups(similarity, groups), groups[truth], by=truth)
    assert merged["R@1"] == pytest.approx(200 / 3)
    assert emg_to_text(similarity, truth)["R@1"] == pytest.approx(100 / 3)


def test_a_person_of_several_folds_counts_with_the_mean() -> None:
    assert merged_values([{"a": {"p": 10.0, "q": 1.0}}, {"a": {"p": 20.0}, "b": {"r": 3.0}}]) == {
        "a": {"p": 15.0, "q": 1.0},
        "b": {"r": 3.0},
    }
