"""Chunks in, decisions out: the cut of the stream, holes in it and bad numbers change nothing they must not change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the [train] extra is not installed")

from myosem_edge.calibration.enrol import NONE, Labelled, enrol
from myosem_edge.errors import BundleError, ProfileError
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.learn.datasets import myo_readings8
from myosem_edge.learn.sample import PACK, sample_folder
from myosem_edge.runtime.decision import Decision
from myosem_edge.runtime.decoder import (
    AMBIGUOUS,
    MAX_FILL_SAMPLES,
    SETTLING,
    UNKNOWN,
    WEAK,
    Decoder,
    Model,
    OperatingPoint,
)
from myosem_edge.runtime.match import Enrolment

SLOW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = ("rest", "wrist_flexion", "fist")


@pytest.fixture(scope="module")
def model(exported: Any) -> Model:
    return Model.from_bundle(exported.bundle)


@pytest.fixture(scope="module")
def recordings() -> dict[int, np.ndarray]:
    """A person's minute of each gesture, as the armband sent it."""
    return {r.facts["gesture"]: r.emg for r in myo_readings8.read(sample_folder() / PACK, "p78945")}


@pytest.fixture(scope="module")
def enrolment(model: Model, recordings: dict[int, np.ndarray]) -> Enrolment:
    """Calibrated on the first cue of two gestures and the rest before it."""
    parts = [recordings[gesture][start : start + 800] for gesture, start in ((1, 200), (1, 1200), (7, 1200))]
    action = np.repeat([0, 1, 2], 160)
    action[np.arange(480) % 160 < 15] = NONE
    data = Labelled(np.concatenate(parts), action, np.ones(480, int), NAMES)
    return enrol(model, data, mirrored=False, backend="reference")[0]


def chunks(samples: np.ndarray, sizes: Sequence[int]) -> list[Chunk]:
    out, at = [], 0
    for size in [*sizes, len(samples)]:
        part = samples[at : at + size]
        out.append(Chunk(part, at, at / 200.0))
        at += len(part)
    return out


def feed(decoder: Decoder, stream: list[Chunk]) -> list[Decision]:
    return [decision for chunk in stream for decision in decoder.feed(chunk)]


@SLOW
@given(sizes=st.lists(st.integers(0, 90), max_size=12), calibrated=st.booleans(), gesture=st.sampled_from([1, 7]))
def test_any_cut_of_the_stream_gives_the_same_decisions(
    model: Model,
    enrolment: Enrolment,
    recordings: dict[int, np.ndarray],
    sizes: list[int],
    calibrated: bool,
    gesture: int,
) -> None:
    samples = recordings[gesture][900:1500]
    whole, cut = (Decoder(model, enrolment if calibrated else None, backend="reference") for _ in range(2))
    expected, found = feed(whole, chunks(samples, [])), feed(cut, chunks(samples, sizes))
    assert len(found) == len(expected) == 120
    assert [d.index for d in found] == list(range(1, 121))
    assert [d.action for d in found] == [d.action for d in expected]
    assert [d.accepted for d in found] == [d.accepted for d in expected]
    assert np.allclose([d.probability for d in found], [d.probability for d in expected], atol=1e-3)


@SLOW
@given(lost=st.integers(1, MAX_FILL_SAMPLES), at=st.integers(1, 300))
@example(lost=MAX_FILL_SAMPLES, at=200)
def test_a_short_hole_keeps_time(model: Model, recordings: dict[int, np.ndarray], lost: int, at: int) -> None:
    samples = recordings[7][:600]
    decoder = Decoder(model, backend="reference")
    found = feed(decoder, [Chunk(samples[:at], 0, 0.0), Chunk(samples[at + lost :], at + lost, 1.0, lost)])
    assert len(found) == 120 and decoder.restarts == 0
    filled = samples.copy()
    filled[at : at + lost] = 0.0
    expected = feed(Decoder(model, backend="reference"), chunks(filled, []))
    assert [d.action for d in found] == [d.action for d in expected]


@pytest.mark.parametrize("lost", [MAX_FILL_SAMPLES + 1, 100_000])
def test_a_long_hole_restarts_the_encoder_and_nothing_is_accepted_until_it_has_settled(
    model: Model, recordings: dict[int, np.ndarray], lost: int
) -> None:
    decoder = Decoder(eager(model), backend="reference")
    before = feed(decoder, [Chunk(recordings[7][:403], 0, 0.0)])
    after = feed(decoder, [Chunk(recordings[7][600:1000], 403 + lost, 5.0, lost)])
    settle = model.operating_point.settle_hops
    assert before[-1].accepted and decoder.restarts == 1
    assert len(after) == 80  # samples before the hole are not mixed with those after it
    assert [d.reason for d in after[:settle]] == [SETTLING] * settle
    assert after[settle].accepted
    assert [d.index for d in after] == list(range(81, 161))
    fresh = feed(Decoder(eager(model), backend="reference"), [Chunk(recordings[7][600:1000], 0, 5.0)])
    assert [(d.action, d.probability) for d in after] == [(d.action, d.probability) for d in fresh]


def eager(model: Model) -> Model:
    """Accepts whatever has settled."""
    point = replace(model.operating_point, min_margin=0.0, min_cosine=-2.0, min_level=0.0)
    return replace(model, operating_point=point)


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_cold_start_accepts_nothing(
    model: Model, enrolment: Enrolment, recordings: dict[int, np.ndarray], calibrated: bool
) -> None:
    decoder = Decoder(eager(model), enrolment if calibrated else None, backend="reference")
    found = feed(decoder, [Chunk(recordings[7][:300], 0, 0.0)])
    settle = model.operating_point.settle_hops
    assert settle > 0 and not any(d.accepted for d in found[:settle])
    assert {d.reason for d in found[:settle]} == {SETTLING}
    assert SETTLING not in {d.reason for d in found[settle:]}


@SLOW
@given(bad=st.sampled_from([np.nan, np.inf, -np.inf]), where=st.lists(st.integers(0, 2399), min_size=1, max_size=40))
def test_bad_numbers_never_raise_and_are_silence(
    model: Model, enrolment: Enrolment, recordings: dict[int, np.ndarray], bad: float, where: list[int]
) -> None:
    samples, silent = recordings[7][:300].copy(), recordings[7][:300].copy()
    samples.reshape(-1)[where] = bad
    silent.reshape(-1)[where] = 0.0
    found = feed(Decoder(model, enrolment, backend="reference"), chunks(samples, [7, 100]))
    expected = feed(Decoder(model, enrolment, backend="reference"), chunks(silent, [7, 100]))
    assert [(d.action, d.probability, d.level) for d in found] == [(d.action, d.probability, d.level) for d in expected]
    assert all(np.isfinite([d.probability, d.margin, d.similarity, d.level]).all() for d in found)


def test_nothing_but_bad_numbers_is_decided_without_a_complaint(model: Model) -> None:
    found = feed(Decoder(model), [Chunk(np.full((200, 8), np.nan, np.float32), 0, 0.0)])
    assert len(found) == 40 and all(np.isfinite(d.probability) for d in found)


def test_a_decision_says_all_it_must(model: Model, recordings: dict[int, np.ndarray]) -> None:
    (decision, *_) = feed(Decoder(model), [Chunk(recordings[7][:5], 0, 12.5)])
    assert decision.time_s == 12.5 and decision.source == "description" and decision.level == 0.5
    assert decision.action in model.gallery.ids and 0 <= decision.margin <= decision.probability <= 1
    cosines = [c for _, c in decision.nearest]
    assert len(cosines) == 3 and cosines == sorted(cosines, reverse=True)


def test_a_weak_match_is_unknown_and_a_close_one_ambiguous(model: Model, recordings: dict[int, np.ndarray]) -> None:
    settle = model.operating_point.settle_hops

    def reasons(**changes: float) -> set[str]:
        changed = replace(eager(model), operating_point=replace(eager(model).operating_point, **changes))
        return {d.reason for d in feed(Decoder(changed), [Chunk(recordings[7][:400], 0, 0.0)])[settle:]}

    assert reasons() == {""}
    assert reasons(min_cosine=1.1) == {UNKNOWN}
    assert reasons(min_margin=1.1) == {AMBIGUOUS}


def test_a_calibrated_wearer_is_decided_by_the_head(
    model: Model, enrolment: Enrolment, recordings: dict[int, np.ndarray]
) -> None:
    decoder = Decoder(eager(model), enrolment, backend="reference")
    # the second cue of the fist: a repetition that was not calibrated on
    found = feed(decoder, [Chunk(recordings[7][3250:4000], 0, 0.0)])[60:]
    calibrated = [d for d in found if d.source == "calibrated"]
    assert np.mean([d.action == "fist" for d in found]) > 0.6
    assert calibrated and all(d.action in NAMES for d in calibrated)
    assert all(0.0 <= d.level <= 1.0 for d in found) and np.median([d.level for d in calibrated]) > 0.3


def test_a_trembling_muscle_means_no_calibrated_action_but_may_rest(
    model: Model, enrolment: Enrolment, recordings: dict[int, np.ndarray]
) -> None:
    point = replace(eager(model).operating_point, min_level=1.1)
    decoder = Decoder(replace(model, operating_point=point), enrolment, backend="reference")
    found = feed(decoder, [Chunk(recordings[7][2000:4000], 0, 0.0)])[point.settle_hops :]
    reasons = {(d.source, d.action == "rest", d.reason) for d in found}
    assert ("calibrated", False, WEAK) in reasons and ("calibrated", True, "") in reasons
    assert all((d.reason == WEAK) == (d.source == "calibrated" and d.action != "rest") for d in found)


def test_a_profile_of_another_number_of_channels_is_refused(model: Model, enrolment: Enrolment) -> None:
    wrong = replace(enrolment, fit=replace(enrolment.fit, scale=np.ones(4)))
    with pytest.raises(ProfileError, match=r"another number of channels .found 4, expected 8"):
        Decoder(model, wrong)


def test_the_backend_in_use_is_told(model: Model) -> None:
    assert Decoder(model).backend == "onnxruntime"
    assert Decoder(model, backend="reference").backend == "reference"


@pytest.mark.parametrize("name", ["smoothing_hops", "settle_hops", "match"])
def test_an_operating_point_without_a_number_is_a_bundle_error(exported: Any, name: str) -> None:
    point = {key: value for key, value in exported.bundle.manifest.operating_point.items() if key != name}
    manifest = replace(exported.bundle.manifest, operating_point=point)
    with pytest.raises(BundleError, match=f"do not fit together.*{name}"):
        Model.from_bundle(replace(exported.bundle, manifest=manifest))


def test_an_operating_point_comes_back_from_its_numbers(model: Model) -> None:
    assert OperatingPoint.from_dict(model.operating_point.to_dict()) == model.operating_point


@pytest.mark.parametrize("tensor", ["front.kernel", "body.inlet", "view_weights", "ring.actions"])
def test_a_tensor_that_is_not_there_is_one_clear_error(exported: Any, tensor: str) -> None:
    from safetensors.numpy import load, save

    tensors = load(exported.bundle.member("encoder.safetensors"))
    del tensors[tensor]
    bundle = replace(exported.bundle, members={**exported.bundle.members, "encoder.safetensors": save(tensors)})
    with pytest.raises(BundleError, match="do not fit together"):
        Decoder(Model.from_bundle(bundle))
