"""Signal quality: every trouble of the fault table is seen, and a real person's clean signal is left alone."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from myosem_edge.demo.wearer import Person, load_person
from myosem_edge.firmware_bridge.emulators.faults import Distortion, Faults
from myosem_edge.learn.sample import sample_folder
from myosem_edge.signal.quality import BAD_AFTER_S, GOOD_AFTER_S, KINDS, Baseline, Quality

RATE_HZ, CHANNELS, FULL = 200.0, 8, 128.0
pytestmark = pytest.mark.sr("SR-05")


@cache
def person() -> Person:
    return load_person(sample_folder(), "p12548")


@cache
def rest() -> np.ndarray:
    return np.concatenate(list(person().resting)).astype(np.float32)


@cache
def baseline() -> Baseline:
    """As a calibration would know this person: rest and the covariance of every contraction."""
    patterns = []
    for action in person().actions:
        clip = person().clips[action, 1]
        held = clip.samples[(clip.onset or clip.cue) + 50 : clip.end].astype(float)
        patterns.append(np.cov(held.T))
    return Baseline(rest().std(axis=0).astype(float), np.array(patterns))


def quality(known: bool = True) -> Quality:
    return Quality(RATE_HZ, CHANNELS, FULL, baseline() if known else None)


def distorted(faults: Faults, seconds: float = 4.0) -> np.ndarray:
    clean = np.resize(rest(), (round(seconds * RATE_HZ), CHANNELS))
    return np.clip(np.rint(Distortion(RATE_HZ, 127.0).apply(clean, faults)), -128, 127)


def bad_kinds(samples: np.ndarray, known: bool = True) -> dict[str, int]:
    """Kinds of trouble at the end, with how many channels have each."""
    each = quality(known)
    each.add(samples)
    return {KINDS[kind]: int(row.sum()) for kind, row in enumerate(each.bad) if row.any()}


@pytest.mark.parametrize(
    ("faults", "kind", "channels"),
    [
        (Faults(hum_hz=50.0, hum=30.0), "mains-hum", 8),
        (Faults(hum_hz=60.0, hum=30.0), "mains-hum", 8),
        (Faults(railing_channels=(2,)), "railing", 1),
        (Faults(railing_channels=tuple(range(8))), "railing", 8),
        (Faults(artefact_hz=2.0, artefact=60.0), "motion-artefact", 8),
        (Faults(flat=True), "flat", 8),
        (Faults(flat_channels=(1, 4)), "flat", 2),
        (Faults(repeat_ms=250.0), "repeating", 8),
        (Faults(noise=20.0), "noise", 8),
    ],
)
def test_every_trouble_of_the_table_is_named(faults: Faults, kind: str, channels: int) -> None:
    assert bad_kinds(distorted(faults)).get(kind) == channels


@pytest.mark.parametrize("known", [True, False])
def test_a_real_person_is_left_alone(known: bool) -> None:
    """Rest and every contraction of somebody whom no number was chosen on: never two channels bad."""
    each, bad, frames = quality(known), 0, 0
    for samples in (rest(), *(clip.samples for clip in person().clips.values())):
        for first in range(0, len(samples) - 4, 5):
            each.add(samples[first : first + 5])
            bad += int(each.bad.any(axis=0).sum()) >= 2
            frames += 1
    assert frames > 5000
    assert bad / frames < 0.01


def test_without_a_calibration_noise_cannot_be_told() -> None:
    assert "noise" not in bad_kinds(distorted(Faults(noise=20.0)), known=False)


def test_lead_off_of_the_device_is_believed() -> None:
    each = quality()
    each.add(rest()[:200], lead_off=0b101)
    assert np.flatnonzero(each.bad[KINDS.index("electrode-off")]).tolist() == [0, 2]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_what_is_no_voltage_is_bad_at_once(value: float) -> None:
    each = quality()
    samples = rest()[:5].copy()
    samples[2, 6] = value
    each.add(samples)
    assert each.bad[KINDS.index("not-a-number"), 6]


def test_a_short_trouble_is_forgiven_and_a_long_one_remembered() -> None:
    each = quality()
    clean, railing = rest()[:1000], rest()[:1000].copy()
    railing[:, :3] = 127.0
    each.add(clean[:400])
    short = round((BAD_AFTER_S - 0.05) * RATE_HZ)
    each.add(railing[:short])
    assert each.suspected.any(axis=0).sum() == 3 and not each.bad.any()
    each.add(railing[:100])
    assert each.bad.any(axis=0).sum() == 3
    each.add(clean[: round(GOOD_AFTER_S * RATE_HZ / 2)])
    assert each.bad.any(axis=0).sum() == 3, "good again only after longer"
    each.add(clean[: round(GOOD_AFTER_S * RATE_HZ)])
    assert not each.bad.any()


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=30), data=st.data())
def test_the_cuts_of_a_stream_make_no_difference(cuts: list[int], data: st.DataObject) -> None:
    faults = data.draw(
        st.sampled_from([Faults(), Faults(hum_hz=50, hum=30), Faults(noise=30.0), Faults(repeat_ms=250)])
    )
    samples = distorted(faults, 2.0)
    whole, cut, at = quality(), quality(), 0
    whole.add(samples)
    for size in cuts:
        cut.add(samples[at : at + size])
        at = min(at + size, len(samples))
    cut.add(samples[at:])
    np.testing.assert_array_equal(cut.bad, whole.bad)
    np.testing.assert_array_equal(cut.suspected, whole.suspected)


@settings(max_examples=100, deadline=None)
@given(arrays(np.float32, (40, CHANNELS), elements=st.floats(width=32)))
def test_no_numbers_make_it_fail(samples: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        each = quality()
        each.add(samples)
    assert each.bad.dtype == bool and each.bad.shape == (len(KINDS), CHANNELS)


@pytest.mark.parametrize(("rate_hz", "channels"), [(250.0, 8), (1000.0, 8), (512.0, 32), (125.0, 16)])
def test_other_devices_hum_alike(rate_hz: float, channels: int) -> None:
    rng, n = np.random.default_rng(1), round(2 * rate_hz)
    emg = rng.normal(0.0, 10.0, (n, channels))
    clean = Quality(rate_hz, channels, 1e5)
    clean.add(emg)
    assert not clean.bad.any()
    humming = Quality(rate_hz, channels, 1e5)
    humming.add(emg + 60.0 * np.sin(2 * np.pi * 50.0 * np.arange(n) / rate_hz)[:, None])
    assert humming.bad[KINDS.index("mains-hum")].all()
