"""Constants of the operating point: found where they were put, and what the integers cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the [train] extra is not installed")

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.actions.table import load_table
from myosem_edge.errors import InputError
from myosem_edge.export.measure import (
    COSINE_PERCENTILE,
    KNOWN_PERCENTILE,
    _logistic,
    _temperature,
    _ways_in,
    int8_encode,
    operating_point,
)
from myosem_edge.learn.corpus.sessions import NO_ACTION
from myosem_edge.learn.scoring.embed import embed, torch_encode
from myosem_edge.learn.scoring.fewshot import calibrate
from myosem_edge.quantize.statistics import fold_front, quantise_body
from myosem_edge.runtime.decoder import OperatingPoint
from myosem_edge.runtime.encoder import Fit
from myosem_edge.runtime.match import enrolled_evidence
from tests.learn.conftest import made_up_session

IDS = load_catalogue().ids


def honest(temperature: float, rows: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose softmax at `temperature` is exactly the distribution that the truth was drawn from."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2.0, (rows, 5))
    p = np.exp(scores)
    p /= p.sum(axis=1, keepdims=True)
    truth = (p.cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
    return scores * temperature, truth


@pytest.mark.parametrize("temperature", [0.05, 0.3, 1.0, 5.0])
def test_the_temperature_that_was_put_in_comes_out(temperature: float) -> None:
    found = _temperature([honest(temperature, seed=s) for s in range(3)])
    assert found == pytest.approx(temperature, rel=0.2)  # the grid's step is 15 %


def test_confident_and_wrong_needs_a_higher_temperature() -> None:
    scores, truth = honest(1.0)
    wrong = truth.copy()
    wrong[::3] = (truth[::3] + 1) % 5
    assert _temperature([(scores, wrong)]) > _temperature([(scores, truth)])


def test_evidence_that_separates_gets_its_sign_and_noise_little_weight() -> None:
    rng = np.random.default_rng(0)
    known = rng.random(2000) < 0.2  # rare: both outcomes must weigh the same
    x = np.stack((np.ones(2000), np.where(known, -1.0, 1.0) + rng.normal(0, 0.5, 2000), rng.normal(0, 1, 2000)), 1)
    bias, distance, noise = _logistic(x, known, rng.random(2000) < 0.1)
    assert distance < -1 and abs(noise) < 0.2 and abs(bias) < 0.5
    right = ((x @ [bias, distance, noise]) > 0) == known
    assert right[known].mean() > 0.9 and right[~known].mean() > 0.9


@settings(max_examples=20, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 5))
def test_any_evidence_gives_finite_weights(known: list[bool], seed: int) -> None:
    x = np.random.default_rng(seed).normal(0, 3, (len(known), 3))
    onset = np.random.default_rng(seed + 1).random(len(known)) < 0.3
    assert np.isfinite(_logistic(x, np.array(known), onset)).all()


def test_onsets_weigh_as_much_as_holds_though_they_are_few() -> None:
    """Evidence that tells holds apart and misleads at onsets is not trusted, however many holds there are."""
    rng = np.random.default_rng(0)
    known, onset = rng.random(4000) < 0.5, rng.random(4000) < 0.05
    sign = np.where(known, 1.0, -1.0)
    holds = sign * np.where(onset, -1.0, 1.0) + rng.normal(0, 1, 4000)
    always = sign + rng.normal(0, 1, 4000)
    x = np.stack((np.ones(4000), holds, always), axis=1)
    _, misleading, honest = _logistic(x, known, onset)
    _, trusted, _ = _logistic(x, known, np.zeros(4000, dtype=bool))
    assert abs(misleading) < 0.2 < 1.0 < min(honest, trusted)


@pytest.fixture(scope="module")
def point(teacher: Any, sample: dict[str, list[Any]]) -> OperatingPoint:
    prototypes, gallery = teacher.prototypes(load_table()).numpy(), list(range(8))
    return operating_point(sample["distil"][:3], teacher, torch_encode(teacher), IDS, gallery, prototypes)


def test_the_operating_point_of_real_people_makes_sense(point: OperatingPoint) -> None:
    match = point.match
    assert 0.01 < match.text_temperature < 5 and 0.5 < match.head_temperature < 99
    assert match.enrolled_distance < 0  # farther from every calibrated action is less likely one of them
    assert 1 < point.typical_rms < 60 and -1 < point.min_cosine < 1
    assert OperatingPoint.from_dict(point.to_dict()) == point


def test_the_way_into_a_hold_is_let_through(teacher: Any, sample: dict[str, list[Any]], point: OperatingPoint) -> None:
    """Constants from holds alone call more of it unknown: that was most of the delay behind the gate."""
    prototypes, gallery = teacher.prototypes(load_table()).numpy(), list(range(8))
    people = sample["distil"][:3]
    blind = [replace(s, clips=[replace(c, early=np.full_like(c.early, NO_ACTION)) for c in s.clips]) for s in people]
    encode = torch_encode(teacher)
    old = operating_point(blind, teacher, encode, IDS, gallery, prototypes).match
    rows = np.asarray(gallery)
    passed: dict[str, list[float]] = {"old": [], "new": []}
    for session in people:
        fitted = calibrate(session, teacher, encode, IDS, prototypes, "1")
        (e,) = _ways_in(session, encode, fitted.enrolment.fit, IDS)
        facts = enrolled_evidence(
            fitted.enrolment, np.isin(rows, fitted.classes), e.h.astype(float), e.z @ prototypes[rows].T
        )
        assert len(e.action) > 50 and IDS.index("rest") not in e.action
        for name, match in (("old", old), ("new", point.match)):
            weights = [match.enrolled_bias, match.enrolled_distance, match.enrolled_text]
            passed[name].append(float((facts @ weights > 0).mean()))
    assert np.mean(passed["new"]) > 1 - 3 * KNOWN_PERCENTILE / 100
    assert np.mean(passed["new"]) > np.mean(passed["old"]) + 0.05


def test_sessions_without_cues_have_no_way_in(teacher: Any) -> None:
    assert _ways_in(made_up_session(), torch_encode(teacher), Fit(False, 0, np.ones(8)), IDS) == []


def test_the_cosine_threshold_lets_most_honest_matches_through(
    teacher: Any, sample: dict[str, list[Any]], point: OperatingPoint
) -> None:
    prototypes = teacher.prototypes(load_table()).numpy()
    rows = [embed(s, torch_encode(teacher)) for s in sample["distil"][:3]]
    own = np.concatenate([(e.z * prototypes[e.action]).sum(axis=1) for e in rows])
    passed = (own >= point.min_cosine).mean()
    assert passed == pytest.approx(1 - COSINE_PERCENTILE / 100, abs=0.05)


def test_people_with_too_few_repetitions_are_said(teacher: Any) -> None:
    with pytest.raises(InputError, match="no session has enough repetitions"):
        operating_point(
            [made_up_session(repetitions=3)],
            teacher,
            torch_encode(teacher),
            IDS,
            list(range(8)),
            teacher.prototypes(load_table()).numpy(),
        )


def test_integers_say_what_floats_say(exported: Any, teacher: Any, sample: dict[str, list[Any]]) -> None:
    from myosem_edge.export.distil import DistilConfig, distil

    people = sample["distil"][:2]
    student = distil(teacher, people, load_table(), DistilConfig(size="15k", steps=3, episodes=2))
    session = sample["judge"][0]
    segments = [np.ascontiguousarray(s.canonical(c)[:2000].T)[None] for s in people for c in s.clips[1:]]
    encode = int8_encode(
        fold_front(student.encoder),
        quantise_body(student.encoder, segments),
        student.encoder.view_weights.detach().numpy(),
    )
    x = session.canonical(session.clips[3])
    (h, z), (h8, z8) = torch_encode(student)(x), encode(x)
    assert h.shape == h8.shape and z.shape == z8.shape and z8.dtype == np.float32
    assert np.allclose(np.linalg.norm(z8, axis=1), 1.0, atol=1e-5)
    assert (z * z8).sum(axis=1).mean() > 0.98
