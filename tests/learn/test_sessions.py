"""From recordings to sessions: frames stay inside their recording, doubtful labels vanish, actions weigh the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("scipy", reason="the [train] extra is not installed")

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.folders import load_sessions
from myosem_edge.learn.corpus.resample import resample
from myosem_edge.learn.corpus.sessions import (
    ANONYMOUS,
    NO_ACTION,
    balanced_scale,
    design_filter,
    require_trainable,
    sessions_of,
)
from myosem_edge.learn.datasets.recording import Recording
from myosem_edge.learn.sample import sample_folder
from myosem_edge.signal.blockfilter import BlockFilter
from myosem_edge.signal.montage import MYO, RecordedMontage, ring_order

CATALOGUE = load_catalogue()
FIST = CATALOGUE.ids.index("fist")


def recording(
    label: np.ndarray,
    repetition: np.ndarray | None = None,
    usable: np.ndarray | None = None,
    session: str = "1",
    mirrored: bool = False,
    seed: int = 0,
) -> Recording:
    emg = np.random.default_rng(seed).normal(0, 10, (len(label), 8)).astype(np.float32)
    return Recording(
        "myo_readings8",
        "p1",
        session,
        mirrored,
        MYO,
        emg,
        label.astype(np.int64),
        np.ones(len(label), np.int64) if repetition is None else repetition,
        np.ones(len(label), bool) if usable is None else usable,
        {"gesture": 7},
    )


def test_frames_never_cross_recordings() -> None:
    parts = [recording(np.full(n, 7), seed=n) for n in (203, 404)]
    (session,) = sessions_of(parts, CATALOGUE)
    assert [len(clip.action) for clip in session.clips] == [40, 80]  # a last partial frame is dropped
    filter_ = BlockFilter(design_filter(200.0), 5)
    for clip, part in zip(session.clips, parts, strict=True):  # each from a cold start of its own
        assert np.array_equal(clip.x, filter_.whole(part.emg).astype(np.float32))


def test_an_execution_number_is_never_used_twice() -> None:
    repetition = np.repeat([1, 2], 200)
    (session,) = sessions_of([recording(np.full(400, 7), repetition, seed=s) for s in range(3)], CATALOGUE)
    numbers = [set(clip.execution.tolist()) for clip in session.clips]
    assert [len(n) for n in numbers] == [2, 2, 2]
    assert len(set.union(*numbers)) == 6


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=8), doubtful=st.integers(0, 300))
def test_a_frame_with_two_labels_or_a_doubtful_sample_has_none(lengths: list[int], doubtful: int) -> None:
    label = np.repeat([7 if i % 2 else 0 for i in range(len(lengths))], lengths)
    usable = np.ones(len(label), bool)
    usable[doubtful : doubtful + 1] = False
    found = sessions_of([recording(label, usable=usable)], CATALOGUE)
    frames = len(label) // 5
    expected = []
    for i in range(frames):
        part = label[5 * i : 5 * i + 5]
        believed = len(set(part)) == 1 and usable[5 * i : 5 * i + 5].all()
        expected.append((FIST if part[-1] else CATALOGUE.ids.index("rest")) if believed else NO_ACTION)
    if all(e == NO_ACTION for e in expected):
        assert found == []
    else:
        assert found[0].clips[0].action.tolist() == expected
        assert ((found[0].clips[0].execution == NO_ACTION) == (found[0].clips[0].action == NO_ACTION)).all()


def test_rest_belongs_to_the_repetition_that_follows_it() -> None:
    label = np.repeat([0, 7, 0, 7, 0], 100)
    repetition = np.repeat([0, 1, 0, 2, 0], 100)
    (session,) = sessions_of([recording(label, repetition)], CATALOGUE)
    assert session.clips[0].repetition.tolist() == [1] * 40 + [2] * 60  # the last rest goes with the last repetition
    assert len(np.unique(session.clips[0].execution)) == 5


def test_donnings_are_sessions_and_keep_their_recordings() -> None:
    parts = [recording(np.full(100, 7), session=name) for name in ("1", "2", "1")]
    assert [(s.name, len(s.clips)) for s in sessions_of(parts, CATALOGUE)] == [("1", 2), ("2", 1)]


def test_a_left_arm_is_mirrored_to_a_right_one() -> None:
    left = recording(np.full(200, 7), mirrored=True)
    right = recording(np.full(200, 7))
    (mirrored,), (plain,) = sessions_of([left], CATALOGUE), sessions_of([right], CATALOGUE)
    assert np.allclose(mirrored.clips[0].x, plain.clips[0].x[:, ring_order(8, 0, True)], atol=1e-5)


@pytest.mark.parametrize("samples", [0, 1, 4])
def test_a_recording_shorter_than_a_frame_is_left_out(samples: int) -> None:
    (session,) = sessions_of([recording(np.full(samples, 7)), recording(np.full(100, 7))], CATALOGUE)
    assert len(session.clips) == 1


def test_a_label_that_means_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="has no label 99"):
        sessions_of([recording(np.full(100, 99))], CATALOGUE)


def test_every_action_weighs_the_same_in_the_scale() -> None:
    rng = np.random.default_rng(0)
    quiet, loud = rng.normal(0, 1, (5000, 8)), rng.normal(0, 10, (500, 8))
    scale = balanced_scale([(quiet, np.zeros(1000, int)), (loud, np.ones(100, int))])
    assert np.allclose(scale, np.sqrt((1 + 100) / 2), rtol=0.1)


def test_frames_without_a_label_do_not_count_for_the_scale() -> None:
    x = np.ones((100, 8))
    x[50:] = 1000
    assert np.allclose(balanced_scale([(x, np.repeat([3, NO_ACTION], 10))]), 1.0)


def test_a_dead_channel_is_not_blown_up() -> None:
    x = np.random.default_rng(0).normal(0, 10, (1000, 8))
    x[:, 3] = 0
    scale = balanced_scale([(x, np.zeros(200, int))])
    assert scale[3] > 0.05 * np.delete(scale, 3).mean()


def test_canonical_scales_and_rotates() -> None:
    (session,) = sessions_of([recording(np.full(1000, 7))], CATALOGUE)
    session.shift = 3
    x = session.canonical(session.clips[0])
    expected = (session.clips[0].x / session.scale)[:, ring_order(8, 3, False)]
    assert x.dtype == np.float32 and np.allclose(x, expected)
    assert np.allclose(np.sqrt(np.square(x).mean(axis=0)), 1.0, atol=0.05)


def test_only_the_wanted_people_are_read(tmp_path: Path) -> None:
    said: list[str] = []
    found = load_sessions(
        sample_folder(), ["myo_readings8"], keep=lambda dataset, subject: subject == "p78945", progress=said.append
    )
    assert [s.person for s in found] == ["myo_readings8/p78945"]
    assert said == ["myo_readings8/p78945"]
    with pytest.raises(InputError, match="no such data folder"):
        load_sessions(tmp_path, ["myo_readings8"])


def tone(hz: float, rate_hz: float = 2000.0, envelope: bool = False) -> Recording:
    samples = np.arange(round(4 * rate_hz))
    wave = np.sin(2 * np.pi * hz * samples / rate_hz) + (2.0 if envelope else 0.0)
    montage = RecordedMontage("tone", 2, "sites", rate_hz, "uV", "", envelope=envelope)
    label = np.repeat([0, 7], len(samples) // 2).astype(np.int64)
    mask = np.array([True, False])
    emg = np.stack([wave, 0 * wave], axis=1).astype(np.float32)
    usable = np.ones(len(samples), bool)
    return Recording("myo_readings8", "p1", "1", False, montage, emg, label, label, usable, {}, mask)


def rms(recording: Recording) -> float:
    middle = recording.emg[len(recording.emg) // 4 : -len(recording.emg) // 4, 0]
    return float(np.sqrt(np.square(middle).mean()))


@pytest.mark.parametrize("hz", [115.0, 150.0, 210.0, 390.0, 1000.0 - 1])
def test_a_tone_above_the_new_nyquist_rate_is_gone(hz: float) -> None:
    """Left in, it would come back as a tone below 100 Hz that no muscle made."""
    assert rms(tone(hz)) == pytest.approx(0.707, abs=0.01)
    assert rms(resample(tone(hz), 200.0)) < 0.02


@pytest.mark.parametrize("hz", [20.0, 50.0, 85.0])
def test_a_tone_below_it_stays(hz: float) -> None:
    assert rms(resample(tone(hz), 200.0)) == pytest.approx(0.707, rel=0.05)


@pytest.mark.parametrize("rate_hz", [200.0, 1000.0, 400.0])
def test_labels_follow_the_samples_to_another_rate(rate_hz: float) -> None:
    found = resample(tone(20.0), rate_hz)
    assert len(found.emg) == len(found.label) == len(found.usable) == len(found.repetition) == 4 * rate_hz
    assert np.flatnonzero(np.diff(found.label)).tolist() == [2 * rate_hz - 1]
    assert found.montage.rate_hz == rate_hz and not found.emg[:, 1].any()


@pytest.mark.parametrize("envelope", [True, False])
def test_no_rate_is_made_up(envelope: bool) -> None:
    with pytest.raises(InputError, match=r"higher rate than recorded \(found 200 Hz, expected at most 100 Hz\)"):
        resample(tone(5.0, 100.0, envelope), 200.0)
    assert resample(tone(5.0, 100.0, envelope), 100.0).montage.rate_hz == 100.0


def test_an_envelope_stays_positive() -> None:
    step = tone(0.0, 500.0, True)
    step.emg[:1000, 0] = 0.0
    assert resample(step, 100.0).emg.min() == 0.0


def test_sessions_come_at_the_rate_that_was_asked_for() -> None:
    (native,) = sessions_of([tone(20.0)], CATALOGUE)
    (slow,) = sessions_of([tone(20.0)], CATALOGUE, rate_hz=200.0)
    assert (len(native.clips[0].x), len(slow.clips[0].x)) == (8000, 800)
    assert native.clips[0].action.tolist() == slow.clips[0].action.tolist()


def test_both_bands_of_a_double_armband_turn_together() -> None:
    montage = RecordedMontage("two myo", 16, "ring", 200.0, "counts", "", rings=2)
    one = recording(np.full(1000, 7))
    two = replace(one, montage=montage, emg=np.concatenate((one.emg, 2 * one.emg), axis=1), mask=np.ones(16, bool))
    (single,), (double,) = sessions_of([one], CATALOGUE), sessions_of([two], CATALOGUE)
    single.shift = double.shift = 3
    x = double.canonical(double.clips[0])
    assert np.allclose(x[:, :8], single.canonical(single.clips[0]), atol=1e-5)
    assert np.allclose(x[:, 8:], x[:, :8], atol=1e-5)


def test_electrodes_with_places_of_their_own_never_turn() -> None:
    sites = replace(MYO, layout="sites")
    (session,) = sessions_of([replace(recording(np.full(1000, 7), mirrored=True), montage=sites)], CATALOGUE)
    (plain,) = sessions_of([recording(np.full(1000, 7))], CATALOGUE)
    assert np.array_equal(session.clips[0].x, plain.clips[0].x)
    assert np.array_equal(session.canonical(session.clips[0], shift=5), plain.canonical(plain.clips[0]))


def test_an_electrode_missing_in_one_recording_is_missing_in_the_session() -> None:
    gone = np.arange(8) != 2
    parts = [recording(np.full(100, 7)), replace(recording(np.full(100, 7)), mask=gone, notes=("one is off",))]
    (session,) = sessions_of(parts, CATALOGUE)
    assert np.array_equal(session.mask, gone) and session.notes == ("one is off",)


def some(**changes: object) -> list[Recording]:
    montage = RecordedMontage(**{**MYO.to_dict(), **changes})
    return [replace(recording(np.full(1000, 7)), montage=montage)]


def test_envelopes_and_raw_emg_are_never_mixed() -> None:
    raw, envelopes = (sessions_of(some(**change), CATALOGUE)[0] for change in ({}, {"envelope": True}))
    require_trainable([raw], 8, 5, len(CATALOGUE))
    require_trainable([envelopes], 8, 5, len(CATALOGUE))
    with pytest.raises(InputError, match=r"cannot train one model.*b \(envelopes\)"):
        require_trainable([replace(raw, dataset="a"), replace(envelopes, dataset="b")], 8, 5, len(CATALOGUE))


@pytest.mark.parametrize("change", [{"layout": "sites"}, {"rate_hz": 1000.0}, {"rings": 2}])
def test_different_montages_are_never_mixed(change: dict[str, object]) -> None:
    other = replace(sessions_of(some(**change), CATALOGUE)[0], dataset="other")
    with pytest.raises(InputError, match="these data sets cannot train one model"):
        require_trainable([*sessions_of(some(), CATALOGUE), other], 8, 5, len(CATALOGUE))


def test_a_model_of_another_size_says_what_to_set() -> None:
    sessions = sessions_of(some(rate_hz=1000.0), CATALOGUE)
    with pytest.raises(InputError, match=r"Set model\.channels=8 and model\.frame_samples=25"):
        require_trainable(sessions, 8, 5, len(CATALOGUE))


def test_nobody_trains_on_actions_without_a_name() -> None:
    (session,) = sessions_of([recording(np.full(1000, 7))], CATALOGUE)
    session.clips[0].action[-1] = ANONYMOUS + 1
    with pytest.raises(InputError, match="cannot be aligned with descriptions"):
        require_trainable([session], 8, 5, len(CATALOGUE))
