"""Rounding in floats is the rounding of the integers, place by place; training with it brings back what it cost."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

import torch

from myosem_edge.learn.teacher.model import Encoder, ModelConfig
from myosem_edge.quantize.fake_body import FakeBody
from myosem_edge.quantize.operations import count_operations
from myosem_edge.quantize.rounded_training import train_rounded
from myosem_edge.quantize.sensitivity import EVERYTHING, sensitivity
from myosem_edge.quantize.statistics import fold_front, front_features

CONFIG = ModelConfig(width=24, mixtures=12, filters=3, embedding=32)


def emg(seed: int, samples: int = 1000) -> np.ndarray:
    """(1, channels, samples): noise whose power wanders, as a filtered armband at scale one."""
    rng = np.random.default_rng(seed)
    level = np.exp(np.cumsum(rng.normal(0, 0.05, (8, samples)), axis=1))
    return (rng.normal(size=(8, samples)) * np.clip(level, 0.05, 5)).astype(np.float32)[None]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(3)
    torch.set_num_threads(1)
    encoder = Encoder(CONFIG).train()
    with torch.no_grad():
        for seed in range(20):
            encoder(torch.from_numpy(emg(seed)))
    return encoder.eval()


@pytest.fixture(scope="module")
def body(encoder: Encoder) -> FakeBody:
    body = FakeBody(encoder)
    body.observe(front_features(encoder, [emg(seed) for seed in range(30, 36)]))
    return body.eval()


@torch.no_grad()
def test_without_rounding_it_is_the_student(encoder: Encoder, body: FakeBody) -> None:
    x = torch.from_numpy(emg(40))
    h, z = body(encoder.front(x)[0])
    assert torch.allclose(h, encoder.hidden(x), atol=1e-4)
    assert torch.allclose(z, encoder.project(encoder.hidden(x)), atol=1e-4)


@torch.no_grad()
def test_with_every_rounding_it_is_the_integer_body(encoder: Encoder, body: FakeBody) -> None:
    """Biases are integers there and exact here, and sums are floats here: a step now and then."""
    (features,) = front_features(encoder, [emg(41)])
    h, z = body(features, body.places)
    integers = body.integers()
    frames = features[0].T.numpy()
    # In training the history is zero; on a board it is the integer that stands for zero.
    found_h, found_z, _ = integers.step(frames, integers.start())
    step = float(integers.blocks[-1].out.step)
    off = np.abs(found_h - h[0].numpy())
    assert off.max() <= 2.01 * step and (off > 0.01 * step).mean() < 0.1
    assert np.abs(found_z - z[0].numpy()).max() < 0.05 * np.abs(found_z).max()


def test_every_place_is_named_once_and_has_its_scale(body: FakeBody) -> None:
    assert len(set(body.places)) == len(body.places) == 2 + 5 * len(CONFIG.dilations)
    weights = {place for place in body.places if place.rpartition(".")[2] in ("taps", "mix", "project")}
    assert set(body.places) - weights == set(body.scales)


def test_rounding_everything_hurts_more_than_any_one_place(encoder: Encoder, body: FakeBody) -> None:
    features = front_features(encoder, [emg(seed) for seed in (50, 51)])
    prototypes = torch.nn.functional.normalize(torch.randn(9, 32, generator=torch.Generator().manual_seed(0)), dim=1)
    harms = {h.place: h for h in sensitivity(body, features, prototypes, torch.full((4, 1), 0.5))}
    assert list(harms) == [*body.places, EVERYTHING]
    everything = harms.pop(EVERYTHING)
    assert 0 < max(h.h_apart for h in harms.values()) < everything.h_apart < 0.01
    assert 0 <= max(h.changed_percent for h in harms.values()) <= 100
    coarse = FakeBody(encoder)
    coarse.scales = dict(body.scales)
    wide = body.scales["1.mid"]
    coarse.scales["1.mid"] = type(wide)(np.float32(20 * wide.step), wide.zero)
    worse = {h.place: h for h in sensitivity(coarse.eval(), features, prototypes, torch.full((4, 1), 0.5))}
    assert worse["1.mid"].h_apart > 50 * harms["1.mid"].h_apart  # the culprit is named
    assert worse["0.mid"].h_apart == pytest.approx(harms["0.mid"].h_apart, rel=1e-3)


def test_training_with_rounding_brings_integers_nearer_to_the_student(encoder: Encoder, body: FakeBody) -> None:
    coarse = FakeBody(encoder)
    coarse.scales = {name: type(s)(np.float32(6 * s.step), s.zero // 6) for name, s in body.scales.items()}
    (features,) = front_features(encoder, [np.concatenate([emg(seed) for seed in range(60, 64)])])
    losses: list[float] = []
    trained = train_rounded(coarse, iter([features] * 40), 40, 24, lambda step, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5])
    assert trained.scales == coarse.scales and not torch.equal(trained.project, coarse.project)
    with torch.no_grad():
        held = front_features(encoder, [emg(70)])[0]
        exact = coarse(held)[0][:, 24:]
        before, after = (((m(held, m.places)[0][:, 24:] - exact) ** 2).mean() for m in (coarse, trained))
    assert after < before


def test_operations_are_counted_from_the_weights(encoder: Encoder, body: FakeBody) -> None:
    c = CONFIG
    found = count_operations(fold_front(encoder), body.integers())
    assert found.front == c.taps * c.channels * c.mixtures * c.frame_samples + (2 * c.mixtures + c.channels) * c.width
    assert found.body == len(c.dilations) * (3 * c.width + c.width**2) + c.width * c.embedding
    assert found.receptive_frames == c.receptive_frames
    assert found.windowed == c.receptive_frames * found.streaming
