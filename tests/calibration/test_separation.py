"""A profile in which two actions are one is refused, and the refusal names the two."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from myosem_edge.calibration.enrol import NONE, EnrolmentReport, Labelled, enrol
from myosem_edge.calibration.separation import (
    MAX_CONFUSION,
    MIN_SEPARATION,
    confusion,
    enrol_separable,
    require_separable,
)
from myosem_edge.errors import RefusedError
from myosem_edge.runtime.decoder import Model

ACTIONS = ("rest", "fist", "hand_open")


def report(separation: float) -> EnrolmentReport:
    return EnrolmentReport(0, 0.1, ("fist", "hand_open"), separation, {})


def confused(share: float) -> np.ndarray:
    table = np.zeros((3, 3))
    table[0, 1] = table[1, 0] = share
    return table


@pytest.mark.sr("SR-16")
@pytest.mark.parametrize("repetitions", [1, 2])
def test_one_action_under_two_names_is_refused(model: Model, record: Callable[..., Labelled], repetitions: int) -> None:
    data = record(actions=ACTIONS, played=("rest", "fist", "fist"), repetitions=repetitions)
    with pytest.raises(RefusedError, match="'fist' and 'hand_open' cannot be told apart"):
        enrol_separable(model, data, mirrored=False, backend="reference")


@pytest.mark.parametrize("repetitions", [1, 2])
def test_different_actions_pass_with_the_enrolment_of_enrol(
    model: Model, record: Callable[..., Labelled], repetitions: int
) -> None:
    data = record(actions=ACTIONS, repetitions=repetitions)
    enrolment, found = enrol_separable(model, data, mirrored=False, backend="reference")
    expected, expected_report = enrol(model, data, mirrored=False, backend="reference")
    assert found == expected_report
    assert all(np.array_equal(head.precision, expected.heads[name].precision) for name, head in enrolment.heads.items())


@pytest.mark.sr("SR-16")
def test_the_distance_is_judged_at_its_limit() -> None:
    require_separable(report(MIN_SEPARATION), confused(0.0), ACTIONS)
    with pytest.raises(RefusedError, match=r"'fist' and 'hand_open' cannot be told apart \(found distance 3\.9"):
        require_separable(report(MIN_SEPARATION - 0.1), confused(0.0), ACTIONS)


@pytest.mark.sr("SR-16")
def test_the_confusion_is_judged_at_its_limit() -> None:
    require_separable(report(100.0), confused(MAX_CONFUSION), ACTIONS)
    with pytest.raises(RefusedError, match=r"'rest' and 'fist' cannot be told apart \(found 45% mistaken"):
        require_separable(report(100.0), confused(0.45), ACTIONS)


@pytest.mark.parametrize("repetitions", [1, 3])
def test_confusion_is_a_symmetric_share_of_unseen_hops(
    model: Model, record: Callable[..., Labelled], repetitions: int
) -> None:
    data = record(actions=ACTIONS, played=("rest", "fist", "fist"), repetitions=repetitions)
    enrolment, _ = enrol(model, data, mirrored=False, backend="reference")
    table = confusion(model.encoder(enrolment.fit, "reference").whole(data.samples), data)
    assert np.array_equal(table, table.T)
    assert (np.diag(table) == 0).all()
    assert table[0].max() == 0.0  # rest is mistaken for nothing
    assert 0.3 < table[1, 2] < 0.7  # a coin


def test_hops_without_a_label_do_not_count(model: Model, record: Callable[..., Labelled]) -> None:
    data = record(actions=ACTIONS)
    encoded = model.encoder(None, "reference").whole(data.samples)
    data.action[300:310] = NONE
    assert confusion(encoded, data).max() == 0.0
