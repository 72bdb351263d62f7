"""The discriminant: closed form, and the same decisions whatever units, order or offset the features have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myosem_edge.calibration.heads import SHORT_SAMPLES, SHRINKAGE, SHRINKAGE_SHORT, fit_lda

SEEDS = st.integers(0, 2**32 - 1)


def clouds(seed: int, classes: int = 3, width: int = 4, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), count)
    features = rng.normal(size=(len(labels), width)) + 2.0 * rng.normal(size=(classes, width))[labels]
    return features, labels


@given(SEEDS)
def test_an_offset_of_the_features_changes_no_posterior(seed: int) -> None:
    x, y = clouds(seed)
    offset = np.random.default_rng(seed).normal(scale=5.0, size=x.shape[1])
    moved = fit_lda(x + offset, y, 3).log_posteriors(x + offset)
    np.testing.assert_allclose(moved, fit_lda(x, y, 3).log_posteriors(x), atol=1e-6)


@given(SEEDS, st.floats(0.01, 100.0))
def test_units_of_the_features_change_no_posterior(seed: int, unit: float) -> None:
    x, y = clouds(seed)
    np.testing.assert_allclose(
        fit_lda(unit * x, y, 3).log_posteriors(unit * x), fit_lda(x, y, 3).log_posteriors(x), atol=1e-6
    )


@given(SEEDS)
def test_shrinking_to_the_diagonal_respects_a_unit_of_each_feature_own(seed: int) -> None:
    x, y = clouds(seed)
    units = np.array([1.0, 3.0, 0.5, 2.0])
    # Only the ridge of 1e-6 of the mean variance knows the units.
    np.testing.assert_allclose(
        fit_lda(units * x, y, 3).log_posteriors(units * x), fit_lda(x, y, 3).log_posteriors(x), rtol=1e-3, atol=1e-3
    )


@given(SEEDS)
def test_the_order_of_samples_and_of_classes_does_not_matter(seed: int) -> None:
    x, y = clouds(seed)
    order, names = np.random.default_rng(seed).permutation(len(y)), np.array([2, 0, 1])
    shuffled = fit_lda(x[order], names[y[order]], 3).log_posteriors(x)
    np.testing.assert_allclose(shuffled[:, names], fit_lda(x, y, 3).log_posteriors(x), atol=1e-8)


@given(SEEDS, st.integers(2, 5))
def test_a_class_that_was_recorded_longer_weighs_no_more(seed: int, times: int) -> None:
    x, y = clouds(seed)
    first = y == 0
    longer = fit_lda(np.concatenate([x, *[x[first]] * times]), np.concatenate([y, *[y[first]] * times]), 3, SHRINKAGE)
    np.testing.assert_allclose(longer.precision, fit_lda(x, y, 3, SHRINKAGE).precision, rtol=1e-8)


def test_log_posteriors_are_those_of_distances_under_uniform_priors() -> None:
    x, y = clouds(7)
    head = fit_lda(x, y, 3)
    scores = -0.5 * head.distances(x)
    expected = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(head.log_posteriors(x), expected, atol=1e-10)
    assert (head.log_posteriors(x).argmax(axis=1) == head.distances(x).argmin(axis=1)).all()


@pytest.mark.parametrize(("count", "used"), [(SHORT_SAMPLES - 1, SHRINKAGE_SHORT), (SHORT_SAMPLES, SHRINKAGE)])
def test_little_data_is_shrunk_more(count: int, used: float) -> None:
    x, y = clouds(1, count=count)
    assert np.array_equal(fit_lda(x, y, 3).precision, fit_lda(x, y, 3, used).precision)
    assert not np.array_equal(fit_lda(x, y, 3).precision, fit_lda(x, y, 3, 0.5).precision)


@settings(max_examples=20)
@given(SEEDS)
def test_a_constant_feature_leaves_distances_finite_and_positive(seed: int) -> None:
    x, y = clouds(seed)
    x[:, 1] = 3.0
    distances = fit_lda(x, y, 3).distances(x)
    assert np.isfinite(distances).all()
    assert (distances >= 0).all()


def test_a_missing_class_is_refused() -> None:
    x, y = clouds(0)
    with pytest.raises(ValueError, match="every class needs samples"):
        fit_lda(x, y, 4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_feature_that_is_not_finite_is_refused(bad: float) -> None:
    x, y = clouds(0)
    x[5, 2] = bad
    with pytest.raises(ValueError, match="not finite"):
        fit_lda(x, y, 3)
