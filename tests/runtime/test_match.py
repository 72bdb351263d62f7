"""One distribution over actions from head and descriptions: it sums to one, and each side decides what is its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myosem_edge.errors import InputError
from myosem_edge.runtime.discriminant import Experts, Lda, log_softmax
from myosem_edge.runtime.encoder import Encoded, Fit
from myosem_edge.runtime.match import (
    Enrolment,
    Gallery,
    MatchConstants,
    Matcher,
    enrolled_evidence,
    head_scores,
    text_scores,
)

CONSTANTS = MatchConstants(0.1, 2.0, 1.0, -1.0, 1.0)
IDS = ("rest", "fist", "wrist_flexion", "wrist_extension", "hand_open")
WIDTH, EMBEDDING, LOGS = 6, 8, 4


def gallery(seed: int = 0) -> Gallery:
    p = np.random.default_rng(seed).normal(size=(len(IDS), EMBEDDING))
    return Gallery(IDS, (p / np.linalg.norm(p, axis=1, keepdims=True)).astype(np.float32))


def enrolment(actions: tuple[str, ...], seed: int = 1) -> Enrolment:
    rng = np.random.default_rng(seed)
    n = len(actions)
    return Enrolment(
        Fit(False, 0, np.ones(8)),
        actions,
        {
            "h": Lda(4 * rng.normal(size=(n, WIDTH)), np.eye(WIDTH)),
            "z": Lda(np.zeros((n, EMBEDDING)), np.eye(EMBEDDING)),
            "log_features": Lda(rng.normal(size=(n, LOGS)), np.eye(LOGS)),
            "log_covariance": Lda(np.zeros((n, LOGS)), np.eye(LOGS)),
        },
        0.0,
        float(WIDTH),
        0.1,
        (1.0,) * n,
    )


def encoded(h: np.ndarray, z: np.ndarray | None = None, seed: int = 2) -> Encoded:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(len(h), EMBEDDING)) if z is None else z
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    logs, covariance = rng.normal(size=(2, len(h), LOGS))
    return Encoded(h.astype(np.float32), z.astype(np.float32), logs, covariance, np.ones(len(h)))


@settings(max_examples=60, deadline=None)
@given(
    enrolled=st.lists(st.sampled_from(IDS), unique=True, max_size=5),
    level=st.sampled_from([0.0, 1.0, 1e3, 1e8]),
    seed=st.integers(0, 50),
)
def test_probabilities_sum_to_one_whoever_is_enrolled(enrolled: list[str], level: float, seed: int) -> None:
    h = level * np.random.default_rng(seed).normal(size=(7, WIDTH))
    matcher = Matcher(gallery(), CONSTANTS, enrolment(tuple(enrolled), seed) if enrolled else None)
    probabilities, cosines = matcher.match(encoded(h, seed=seed))
    assert probabilities.shape == cosines.shape == (7, len(IDS))
    assert np.isfinite(probabilities).all() and (probabilities >= 0).all()
    assert np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)


def test_without_a_wearer_the_nearest_description_wins() -> None:
    g = gallery()
    probabilities, cosines = Matcher(g, CONSTANTS).match(encoded(np.zeros((5, WIDTH)), g.prototypes))
    assert probabilities.argmax(axis=1).tolist() == [0, 1, 2, 3, 4]
    assert np.allclose(np.diag(cosines), 1.0, atol=1e-5)
    assert np.allclose(probabilities, np.exp(log_softmax(cosines / 0.1)))


def test_with_every_action_enrolled_the_head_alone_decides() -> None:
    e = enrolment(IDS[::-1])
    data = encoded(e.heads["h"].means)
    probabilities, cosines = Matcher(gallery(), CONSTANTS, e).match(data)
    scores = head_scores(e, data, cosines[:, ::-1], np.zeros(len(IDS), bool))
    head = np.exp(log_softmax(scores / CONSTANTS.head_temperature))
    assert np.allclose(probabilities, head[:, ::-1], atol=1e-6)


def test_the_head_decides_between_enrolled_actions_whatever_the_descriptions_say() -> None:
    e, g = enrolment(("rest", "fist")), gallery()
    sure = replace(CONSTANTS, enrolled_bias=50.0)
    h, logs = (np.repeat(e.heads[name].means, 2, axis=0) for name in ("h", "log_features"))
    data = replace(encoded(h, g.prototypes[[0, 1, 0, 1]]), log_features=logs)
    probabilities, _ = Matcher(g, sure, e).match(data)
    assert probabilities.argmax(axis=1).tolist() == [0, 0, 1, 1]
    assert probabilities[:, 2:].max() < 1e-6


def test_what_looks_like_nothing_calibrated_goes_to_the_other_descriptions() -> None:
    e, g = enrolment(("rest", "fist")), gallery()
    far = 1e4 * np.ones((1, WIDTH))
    probabilities, _ = Matcher(g, CONSTANTS, e).match(encoded(far, g.prototypes[[3]]))
    assert probabilities[0].argmax() == 3 and probabilities[0, :2].sum() < 0.05


@given(st.floats(0.01, 100.0), st.floats(1.01, 50.0))
def test_a_greater_distance_is_never_more_enrolled(near: float, factor: float) -> None:
    e = enrolment(("rest", "fist"))
    e = replace(e, heads={"h": Lda(np.zeros((2, WIDTH)), np.eye(WIDTH))})
    enrolled = np.array([True, True, False, False, False])
    cosines = np.zeros((2, len(IDS)))
    h = np.array([[near] + [0.0] * (WIDTH - 1), [near * factor] + [0.0] * (WIDTH - 1)])
    evidence = enrolled_evidence(e, enrolled, h, cosines)
    assert evidence[1, 1] > evidence[0, 1]
    assert evidence[:, 0].tolist() == [1.0, 1.0]


def test_the_lead_is_over_the_descriptions_that_were_not_enrolled() -> None:
    e = enrolment(("rest", "fist"))
    cosines = np.array([[0.2, 0.7, 0.9, -0.1, 0.3]])
    some = enrolled_evidence(e, np.array([True, True, False, False, False]), np.zeros((1, WIDTH)), cosines)
    every = enrolled_evidence(e, np.ones(5, bool), np.zeros((1, WIDTH)), cosines)
    assert some[0, 2] == pytest.approx(0.7 - 0.9)
    assert every[0, 2] == pytest.approx(0.9)


@given(st.lists(st.booleans(), min_size=2, max_size=6), st.integers(0, 99))
def test_words_are_a_distribution_in_which_an_unlearnt_action_has_its_even_share(learnt: list[bool], seed: int) -> None:
    known = np.array(learnt)
    cosines = np.random.default_rng(seed).uniform(-1, 1, (4, len(known)))
    p = np.exp(text_scores(cosines, known))
    assert np.allclose(p.sum(axis=1), 1.0)
    assert np.allclose(p[:, ~known], 1 / len(known))
    for row, cosine in zip(p[:, known], cosines[:, known], strict=True):
        assert np.argsort(row).tolist() == np.argsort(cosine).tolist()


def test_words_decide_where_the_calibration_cannot() -> None:
    g = replace(gallery(), learnt=frozenset(IDS))
    flat = {"h": Lda(np.zeros((2, WIDTH)), np.eye(WIDTH))}
    e = replace(enrolment(("rest", "fist")), heads=flat, text_weight=4.0)
    sure = replace(CONSTANTS, enrolled_bias=50.0)
    data = encoded(np.zeros((2, WIDTH)), g.prototypes[:2])
    assert Matcher(g, sure, e).match(data)[0].argmax(axis=1).tolist() == [0, 1]
    deaf, _ = Matcher(g, sure, replace(e, text_weight=0.0)).match(data)
    assert np.allclose(deaf[:, :2], 0.5, atol=1e-6)


def test_a_class_is_as_near_as_its_nearest_picture() -> None:
    lda = Lda(np.array([[0.0], [10.0], [4.0]]), np.eye(1), (0, 1, 0))
    x = np.array([[3.0], [6.5], [8.0]])
    assert lda.distances(x).tolist() == [[1.0, 49.0], [6.25, 12.25], [16.0, 4.0]]
    assert lda.log_posteriors(x).argmax(axis=1).tolist() == [0, 0, 1]


@pytest.mark.parametrize("owners", [(), (0, 1, 2, 0)])
def test_experts_say_what_each_discriminant_says_alone(owners: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    rows = len(owners) or 4

    def head(width: int) -> Lda:
        half = rng.normal(size=(width, width))
        return Lda(rng.normal(size=(rows, width)), half @ half.T, owners)

    heads = {"h": head(WIDTH), "z": head(EMBEDDING), "log_covariance": head(LOGS)}
    data = encoded(rng.normal(size=(7, WIDTH)))
    found = Experts(heads).scores(data)
    for row, (name, lda) in zip(found, heads.items(), strict=True):
        np.testing.assert_allclose(row, lda.scores(getattr(data, name)), rtol=1e-12)
    np.testing.assert_allclose(heads["h"].nearest(data.h), heads["h"].distances(data.h).min(axis=1), rtol=1e-9)


def test_experts_on_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="do not distinguish the same classes"):
        Experts({"h": Lda(np.zeros((2, 3)), np.eye(3)), "z": Lda(np.zeros((3, 3)), np.eye(3))})


def test_a_profile_with_an_action_that_is_not_in_the_bundle_is_refused() -> None:
    with pytest.raises(InputError, match=r"'key_turn' has no description in this bundle .*one of: rest, fist"):
        Matcher(gallery(), CONSTANTS, enrolment(("rest", "key_turn")))
