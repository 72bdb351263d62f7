"""A probability that means what it says has no calibration error, and the temperature finds it."""

from __future__ import annotations

import numpy as np
import pytest

from myosem_edge.learn.scoring.reliability import TEMPERATURES, Bins, brier_temperature, expected_error, posterior


def drawn(temperature: float, count: int = 6000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Cosines, and truths drawn from their softmax at a temperature: perfectly calibrated there."""
    rng = np.random.default_rng(seed)
    similarity = rng.uniform(-0.3, 0.8, (count, 5))
    p = posterior(similarity, temperature)
    return similarity, (p.cumsum(axis=1) > rng.random(count)[:, None]).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.05, 0.15, 0.4])
def test_the_temperature_is_found(temperature: float) -> None:
    found = brier_temperature(*drawn(temperature))
    assert abs(np.log(found / temperature)) < 0.25
    assert found in TEMPERATURES


def error(temperature: float, people: int = 1) -> float:
    bins = Bins()
    for person in range(people):
        similarity, truth = drawn(0.15, seed=person)
        bins.add(posterior(similarity, temperature), truth, f"p{person}")
    return expected_error(bins.curve())


def test_the_error_is_small_at_the_right_temperature_and_large_at_a_wrong_one() -> None:
    assert error(0.15, 3) < 2.5
    assert error(0.02) > 10 and error(1.0) > 10


def test_people_weigh_the_same_however_much_was_recorded() -> None:
    sure, unsure = np.array([[0.9, 0.1]]), np.array([[0.4, 0.6]])
    bins = Bins()
    bins.add(sure.repeat(1000, axis=0), np.zeros(1000, int), "a")
    bins.add(unsure, np.zeros(1, int), "b")
    assert [share for _, _, share in bins.curve()] == pytest.approx([0.5, 0.5])
    assert [(round(c, 6), r) for c, r, _ in bins.curve()] == [(0.6, 0.0), (0.9, 1.0)]


def test_actions_weigh_the_same_however_often_they_occur() -> None:
    bins = Bins()
    truth = np.array([0] * 99 + [1])
    bins.add(np.where(truth[:, None] == 0, [[0.9, 0.1]], [[0.7, 0.3]]), truth, "a")
    assert [(round(c, 6), r, round(s, 6)) for c, r, s in bins.curve()] == [(0.7, 0.0, 0.5), (0.9, 1.0, 0.5)]


def test_a_probability_of_one_is_counted() -> None:
    bins = Bins()
    bins.add(np.array([[1.0, 0.0]]), np.array([0]), "a")
    assert bins.curve() == [(1.0, 1.0, 1.0)] and expected_error(bins.curve()) == 0
