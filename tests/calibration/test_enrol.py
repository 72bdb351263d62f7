"""An enrolment is what a wearer's labelled seconds say, and nothing that amplifiers or rotation add to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from myosem_edge.calibration.enrol import MIN_HOPS, NONE, RELAXED_LEVEL, TEXT_WEIGHT, Labelled, enrol, fit_electrodes
from myosem_edge.errors import InputError
from myosem_edge.runtime.decoder import Model
from myosem_edge.runtime.match import Enrolment, head_scores
from myosem_edge.signal.montage import ring_order

Record = Callable[..., Labelled]
SLOW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def decided(model: Model, enrolment: Enrolment, data: Labelled) -> np.ndarray:
    """Share of labelled hops that the enrolment's head decides rightly."""
    encoded = model.encoder(enrolment.fit, "reference").whole(data.samples)
    keep = data.action != NONE
    nothing = np.zeros((len(encoded), len(enrolment.actions)))  # no word of the descriptions
    found = head_scores(enrolment, encoded, nothing, np.zeros(len(enrolment.actions), bool)).argmax(axis=1)
    return np.asarray((found[keep] == data.action[keep]).mean())


def test_new_repetitions_of_the_same_wearer_are_told_apart(model: Model, record: Record) -> None:
    enrolment, report = enrol(model, record(0), mirrored=False, backend="reference")
    assert decided(model, enrolment, record(1)) > 0.97
    assert report.hops == dict.fromkeys(record().actions, 90)
    assert report.separation > 4.0


@SLOW
@given(gains=st.lists(st.floats(0.2, 20.0), min_size=8, max_size=8))
def test_gain_of_each_channel_is_absorbed_by_the_scale(model: Model, record: Record, gains: list[float]) -> None:
    data = record()
    louder = replace(data, samples=data.samples.astype(np.float64) * gains)
    fit, _ = fit_electrodes(model, replace(data, samples=data.samples.astype(np.float64)), False)
    loud_fit, _ = fit_electrodes(model, louder, False)
    floor = 0.1 * np.sqrt(np.square(loud_fit.scale).mean())
    # Below a tenth of the mean a channel counts as dead and is not blown up.
    alive = loud_fit.scale > 1.01 * floor
    np.testing.assert_allclose((loud_fit.scale / fit.scale)[alive], np.array(gains)[alive], rtol=1e-6)
    assert loud_fit.shift == fit.shift


@SLOW
@given(gain=st.floats(0.1, 50.0))
def test_one_gain_for_all_channels_changes_no_decision(model: Model, record: Record, gain: float) -> None:
    data = replace(record(), samples=record().samples.astype(np.float64))
    plain, report = enrol(model, data, mirrored=False, backend="reference")
    louder, loud_report = enrol(model, replace(data, samples=data.samples * gain), mirrored=False, backend="reference")
    np.testing.assert_allclose(louder.fit.scale, plain.fit.scale * gain, rtol=1e-6)
    # A value on the edge of two integer steps may fall to either side.
    np.testing.assert_allclose(louder.heads["log_features"].means, plain.heads["log_features"].means, atol=1e-4)
    assert loud_report.separation == pytest.approx(report.separation, rel=0.05)


@pytest.mark.parametrize("turn", range(8))
def test_a_turned_band_is_turned_back(model: Model, record: Record, turn: int) -> None:
    data = record()
    straight, _ = fit_electrodes(model, data, False)
    turned, clarity = fit_electrodes(model, replace(data, samples=np.roll(data.samples, turn, axis=1)), False)
    assert (turned.shift - straight.shift) % 8 == turn
    assert clarity > 0.05


def test_a_left_arm_is_mirrored(model: Model, record: Record) -> None:
    data = record()
    left = replace(data, samples=data.samples[:, ring_order(8, 0, True)])
    right_fit, _ = fit_electrodes(model, data, False)
    left_fit, _ = fit_electrodes(model, left, True)
    assert left_fit.mirrored
    assert left_fit.shift == right_fit.shift
    np.testing.assert_allclose(left_fit.scale, right_fit.scale)


def test_one_pattern_turns_no_ring(model: Model, record: Record) -> None:
    fit, clarity = fit_electrodes(model, record(actions=("fist", "made_up"), played=("fist", "hand_open")), False)
    assert (fit.shift, clarity) == (0, 0.0)


def test_a_dead_channel_is_not_blown_up(model: Model, record: Record) -> None:
    data = record()
    data.samples[:, 2] = 0.0
    fit, _ = fit_electrodes(model, data, False)
    assert fit.scale[2] == pytest.approx(0.1 * np.sqrt(np.square(np.delete(fit.scale, 2)).sum() / 8), rel=1e-3)


def test_rest_and_a_comfortable_contraction_are_known(model: Model, record: Record) -> None:
    enrolment, _ = enrol(model, record(), mirrored=False, backend="reference")
    rest = enrolment.actions.index("rest")
    assert enrolment.active_rms[rest] == pytest.approx(enrolment.rest_rms, rel=0.2)
    assert all(level > 3 * enrolment.rest_rms for k, level in enumerate(enrolment.active_rms) if k != rest)


@pytest.mark.parametrize("repetitions", [1, 2])
def test_the_typical_distance_is_one_of_unseen_hops(model: Model, record: Record, repetitions: int) -> None:
    data = record(repetitions=repetitions)
    enrolment, _ = enrol(model, data, mirrored=False, backend="reference")
    encoded = model.encoder(enrolment.fit, "reference").whole(data.samples)
    keep = data.action != NONE
    fitted = enrolment.heads["h"].distances(encoded.h[keep].astype(float))[np.arange(keep.sum()), data.action[keep]]
    assert enrolment.typical_distance > np.median(fitted)


def test_rest_at_half_its_level_is_rest_too(model: Model, record: Record) -> None:
    data = record()
    rest = data.actions.index("rest")
    enrolment, _ = enrol(model, data, mirrored=False, backend="reference")
    quiet = model.encoder(replace(enrolment.fit, scale=enrolment.fit.scale / RELAXED_LEVEL), "reference")
    encoded = quiet.whole(data.samples)
    own = np.flatnonzero(data.action == rest)
    for name, head in enrolment.heads.items():
        assert head.owners == (*range(len(data.actions)), rest)
        np.testing.assert_allclose(head.means[-1], getattr(encoded, name)[own].mean(axis=0), rtol=1e-5, atol=1e-5)


def test_descriptions_weigh_less_the_more_repetitions_there_are(model: Model, record: Record) -> None:
    once, twice = (
        enrol(model, record(repetitions=n), mirrored=False, backend="reference")[0].text_weight for n in (1, 2)
    )
    assert once == TEXT_WEIGHT and twice == TEXT_WEIGHT / 2


def test_too_little_of_an_action_is_refused_by_name(model: Model, record: Record) -> None:
    data = record()
    fist = np.flatnonzero(data.action == 3)
    data.action[fist[MIN_HOPS - 1 :]] = NONE
    with pytest.raises(InputError, match=r"too little usable signal of 'fist' \(found 19 hops, expected at least 20\)"):
        enrol(model, data, mirrored=False, backend="reference")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(model: Model, record: Record, bad: float) -> None:
    data = record()
    data.samples[100, 3] = bad
    with pytest.raises(InputError, match="not finite"):
        enrol(model, data, mirrored=False, backend="reference")


def real(folder: Path, repetitions: range) -> Labelled:
    """Three gestures of one person's first session, and the rest before each, 5 s cues."""
    names = ("rest", "wrist_flexion", "wrist_extension", "fist")
    pack = np.load(folder / "p12345.npz")
    arrays = {name: pack[name] for name in pack.files}
    samples, action, number = [], [], []
    for k, gesture in ((1, 1), (2, 2), (3, 7)):
        rows = (arrays["rec_session"] == arrays["rec_session"].min()) & (arrays["rec_gesture"] == gesture)
        recording = int(np.flatnonzero(rows)[0])
        part = slice(arrays["rec_ptr"][recording], arrays["rec_ptr"][recording + 1])
        label = arrays["label"][part]
        edges = np.flatnonzero(np.diff(label)) + 1
        starts = np.concatenate([[0], edges])
        for what in (0, gesture):
            cues = [start for start in starts if label[start] == what and start + 600 <= len(label)]
            for repetition in repetitions:
                begin = part.start + cues[repetition - 1]
                samples.append(arrays["emg"][begin : begin + 600].astype(np.float32))
                action.append(np.where(np.arange(120) < 50, NONE, k if what else 0))
                number.append(np.full(120, repetition))
    return Labelled(np.concatenate(samples), np.concatenate(action), np.concatenate(number), names)


def test_real_signal_is_told_apart_on_repetitions_that_were_not_fitted(model: Model, readings: Path) -> None:
    enrolment, _ = enrol(model, real(readings, range(1, 3)), mirrored=False, backend="reference")
    # An untrained encoder: the amplitude features of the head carry it. Chance is 0.25.
    assert decided(model, enrolment, real(readings, range(4, 6))) > 0.75
