"""Each verdict is given for its cause and for nothing else, and tells the wearer what to do."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

from myosem_edge.calibration.verdict import (
    FLAT_S,
    MAX_CLIPPED_SHARE,
    MAX_LOST_SHARE,
    MAX_MISSING_SHARE,
    SAME_LOG_RMS,
    Verdict,
    judge,
    rms_map,
)
from myosem_edge.firmware_bridge.frontends.myo import Myo

INFO = Myo.info
SECONDS = 2.15
NAMES = {"hand_open": "Open the hand wide with the fingers and thumb straight."}


def play(action: str, seed: int = 0, gain: float = 1.0, seconds: float = SECONDS) -> np.ndarray:
    return tiny_model.Muscle(seed).play(action, seconds, gain)


def known(*actions: str) -> dict[str, np.ndarray]:
    return {action: rms_map(play(action, seed=99), INFO.rate_hz) for action in ("rest", *actions)}


def faults(action: str, samples: np.ndarray, **more: float) -> tuple[str, ...]:
    return judge(action, samples, INFO, known("hand_open"), **more).faults


@pytest.mark.parametrize("action", tiny_model.IDS[:8])
def test_an_honest_repetition_is_good(action: str) -> None:
    verdict = judge(action, play(action), INFO, known("hand_open", action))
    assert verdict == Verdict()
    assert verdict.ok
    assert verdict.sentence(action, NAMES) == "Good."


def test_the_first_rest_is_judged_without_anything_to_compare() -> None:
    assert judge("rest", play("rest"), INFO, {}).ok


@pytest.mark.parametrize("lost", [0.0, MAX_LOST_SHARE, MAX_LOST_SHARE + 0.001])
def test_lost_samples(lost: float) -> None:
    assert faults("fist", play("fist"), lost_share=lost) == (("lost",) if lost > MAX_LOST_SHARE else ())


@pytest.mark.parametrize("missing", [-0.2, MAX_MISSING_SHARE, MAX_MISSING_SHARE + 0.001])
def test_samples_missing_by_the_clock(missing: float) -> None:
    assert faults("fist", play("fist"), missing_share=missing) == (("lost",) if missing > MAX_MISSING_SHARE else ())


@pytest.mark.parametrize("count", [0, 1, 49])
def test_hardly_any_sample_is_lost_samples(count: int) -> None:
    assert faults("fist", play("fist")[:count]) == ("lost",)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_no_number(bad: float) -> None:
    samples = play("fist")
    samples[17, 3] = bad
    assert faults("fist", samples) == ("not_finite",)


@pytest.mark.parametrize("value", [0.0, -1.0, 37.0])
@pytest.mark.parametrize(("run", "found"), [(round(FLAT_S * 200) - 1, ()), (round(FLAT_S * 200), (5,))])
def test_a_flat_electrode_is_named_by_its_number(value: float, run: int, found: tuple[int, ...]) -> None:
    samples = play("fist")
    samples[50:, 4] += 0.5  # so that no neighbour of the run has its value
    samples[100 : 100 + run, 4] = value
    assert judge("fist", samples, INFO, known()).flat == found


def test_every_flat_electrode_is_named() -> None:
    verdict = judge("fist", np.zeros((430, 8)), INFO, known())
    assert verdict.flat == tuple(range(1, 9))
    assert verdict.sentence("fist", NAMES).startswith("Electrodes 1, 2, 3, 4, 5, 6, 7, 8 give no signal")


@pytest.mark.parametrize(("extra", "found"), [(0, ()), (1, (2,))])
@pytest.mark.parametrize("rail", [127.0, -128.0])
def test_clipping(extra: int, found: tuple[int, ...], rail: float) -> None:
    samples = play("fist")
    count = int(MAX_CLIPPED_SHARE * len(samples)) + extra
    samples[np.arange(count) * 3, 1] = rail  # spread out: the hold stays even
    assert judge("fist", samples, INFO, known()).clipped == found


@pytest.mark.parametrize("mains_hz", [50.0, 60.0])
def test_hum_that_drowns_an_electrode(mains_hz: float) -> None:
    samples = play("fist")
    wave = np.sin(2 * np.pi * mains_hz * np.arange(len(samples)) / INFO.rate_hz)
    power = samples[:, 6].std()
    for amplitude, found in ((0.5, ()), (4.0, (7,))):
        mixed = samples.copy()
        mixed[:, 6] += amplitude * power * wave
        assert judge("fist", mixed, INFO, known()).hum == found


def test_a_line_elsewhere_is_not_mains() -> None:
    samples = play("fist")
    samples[:, 6] += 80 * np.sin(2 * np.pi * 55.0 * np.arange(len(samples)) / INFO.rate_hz)
    assert judge("fist", samples, INFO, known()).hum == ()


def test_a_slow_device_that_cannot_carry_mains_is_not_accused() -> None:
    slow = replace(INFO, rate_hz=90.0)
    assert judge("fist", play("fist"), slow, {}).hum == ()


@pytest.mark.parametrize(("gain", "weak"), [(1.0, True), (1.3, True), (1.8, False)])
def test_a_contraction_has_to_stand_out_from_rest(gain: float, weak: bool) -> None:
    assert judge("fist", play("rest", gain=gain), INFO, known()).too_weak is weak
    assert not judge("fist", play("rest", gain=gain), INFO, {}).too_weak  # there is no rest yet


def test_one_active_electrode_is_enough() -> None:
    samples = play("rest")
    samples[:, 3] *= 4
    assert not judge("fist", samples, INFO, known()).too_weak


def test_an_offset_and_slow_movement_are_no_contraction() -> None:
    samples = play("rest") + 10.0 * np.sin(2 * np.pi * 0.5 * np.arange(430) / 200)[:, None] + 15.0
    assert judge("fist", samples, INFO, known()).too_weak


def test_letting_go_early_is_unsteady() -> None:
    samples = play("fist")
    samples[300:] = play("rest")[300:]
    verdict = judge("fist", samples, INFO, known())
    assert verdict.faults == ("unsteady",)
    assert "held to the end" in verdict.sentence("fist", NAMES)


def test_moving_during_rest_is_unsteady() -> None:
    samples = play("rest")
    samples[200:270] = play("fist")[200:270]
    verdict = judge("rest", samples, INFO, {})
    assert verdict.faults == ("unsteady",)
    assert "stay relaxed" in verdict.sentence("rest", NAMES)


def test_doing_another_action_is_recognised_and_named() -> None:
    verdict = judge("fist", play("hand_open", seed=5), INFO, known("hand_open", "wrist_flexion"))
    assert verdict.faults == ("looks_like",)
    assert verdict.looks_like == "hand_open"
    assert NAMES["hand_open"] in verdict.sentence("fist", NAMES)


def test_its_own_earlier_repetition_speaks_for_it() -> None:
    earlier = known("hand_open") | {"fist": rms_map(play("hand_open", seed=5), INFO.rate_hz)}
    earlier["hand_open"] = earlier["hand_open"] * np.exp(SAME_LOG_RMS * 0.9)
    assert judge("fist", play("hand_open", seed=5), INFO, earlier).looks_like is None


def test_rest_looks_like_nothing() -> None:
    assert judge("rest", play("rest", seed=3), INFO, known() | {"fist": known()["rest"]}).ok


def test_every_fault_has_a_sentence_of_its_own() -> None:
    bad = {"flat": (1,), "clipped": (2,), "hum": (3,), "looks_like": "hand_open"}
    verdicts = [Verdict(**{field.name: bad.get(field.name, True)}) for field in fields(Verdict)]
    sentences = [verdict.sentence("fist", NAMES) for verdict in verdicts]
    assert len(set(sentences)) == len(verdicts) == 8
    for verdict, sentence in zip(verdicts, sentences, strict=True):
        assert not verdict.ok
        assert sentence.endswith("do it again.")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 300), st.floats(1e-6, 1e6))
def test_judging_never_fails(seed: int, count: int, unit: float) -> None:
    rng = np.random.default_rng(seed)
    samples = rng.choice([0.0, 1.0, -128.0, 127.0, 1e30, *rng.normal(size=4)], size=(count, 8)) * unit
    verdict = judge("fist", samples, INFO, known("hand_open"))
    assert isinstance(verdict.sentence("fist", NAMES), str)


def test_honest_people_pass(readings: object) -> None:
    """The rate at which real cued repetitions are refused is the one that the thresholds were chosen for."""
    passed: list[bool] = []
    for name in ("p10000", "p12345", "p32185", "p45612"):
        pack = np.load(f"{readings}/{name}.npz")
        emg, label, begins = pack["emg"], pack["label"], pack["rec_ptr"]
        for recording in np.flatnonzero(pack["rec_gesture"] > 0):
            part = slice(begins[recording], begins[recording + 1])
            starts = np.concatenate([[0], np.flatnonzero(np.diff(label[part])) + 1])
            maps: dict[str, np.ndarray] = {}
            for start in starts[starts + 700 <= part.stop - part.start]:
                action, reaction = ("fist", 150) if label[part][start] else ("rest", 270)
                samples = emg[part][start + reaction : start + reaction + 430].astype(np.float32)
                verdict = judge(action, samples, INFO, maps)
                passed.append(verdict.ok)
                if verdict.ok and action == "rest":
                    maps.setdefault("rest", rms_map(samples, INFO.rate_hz))
    assert len(passed) > 500
    assert np.mean(passed) > 0.9
