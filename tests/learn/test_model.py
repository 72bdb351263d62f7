"""The encoder: causal, its receptive field as declared, its switches real, its size asserted."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

import torch

from myosem_edge.learn.teacher.model import (
    DescriptionProjection,
    Encoder,
    ModelConfig,
    spoken,
    weigh_views,
    within_metric,
)

CONFIGS = {
    "default": ModelConfig(width=32, mixtures=8, filters=3),
    "queries": ModelConfig(width=32, mixtures=8, filters=3, semantic_queries=True),
    "plain": ModelConfig(width=32, mixtures=8, filters=3, semantic_queries=False, activation_aware=False),
    "smooth": ModelConfig(width=32, mixtures=8, filters=3, semantic_queries=False, smooth_frames=4, dilations=(1, 1)),
}


def build(name, seed=0):
    torch.manual_seed(seed)
    encoder = Encoder(CONFIGS[name]).eval()
    with torch.no_grad():  # freshly made normalisations would hide a wrong fold
        for module in encoder.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2.0)
    return encoder


@pytest.mark.parametrize("name", CONFIGS)
def test_the_future_does_not_matter(name):
    encoder = build(name)
    x = torch.randn(1, 8, 200)
    y = x.clone()
    y[..., 150:] = torch.randn(1, 8, 50)
    with torch.no_grad():
        (h, z), (h2, z2) = encoder(x), encoder(y)
    assert torch.equal(h[:, :30], h2[:, :30]) and torch.equal(z[:, :30], z2[:, :30])
    assert not torch.allclose(z[:, 30:], z2[:, 30:])


@pytest.mark.parametrize("name", CONFIGS)
def test_receptive_field_is_as_declared(name):
    encoder, frames = build(name), CONFIGS[name].receptive_frames
    x = torch.randn(1, 8, 300)
    # taps of the filter bank reach a little into the frame before the oldest one
    oldest = 300 - frames * 5 - (CONFIGS[name].taps - 1)
    near, far = x.clone(), x.clone()
    far[..., :oldest] = torch.randn(1, 8, oldest)
    near[..., oldest : oldest + 5] += 3.0
    with torch.no_grad():
        last, last_far, last_near = (encoder(v)[1][:, -1] for v in (x, far, near))
    assert torch.allclose(last, last_far, atol=1e-6)
    assert not torch.allclose(last, last_near, atol=1e-6)


def test_z_is_of_unit_length():
    with torch.no_grad():
        _, z = build("default")(torch.randn(3, 8, 100))
    assert torch.allclose(z.norm(dim=-1), torch.ones(3, 20), atol=1e-5)


def test_a_dot_product_is_the_weighted_mean_of_the_views():
    a, b = torch.randn(4, 32), torch.randn(4, 32)
    weights = torch.tensor([0.3, -0.2, 1.0, 0.0])
    cosines = torch.nn.functional.cosine_similarity(a, b, dim=-1)
    expected = (torch.softmax(weights, 0) * cosines).sum()
    assert torch.allclose(weigh_views(a, weights) @ weigh_views(b, weights), expected, atol=1e-6)


def test_switches_change_the_parameters():
    def count(name):
        return sum(p.numel() for p in Encoder(CONFIGS[name]).parameters())

    assert count("queries") > count("default")


def test_size_of_the_shipped_architecture():
    assert sum(p.numel() for p in Encoder(ModelConfig()).parameters()) == 50_906


def test_projection_starts_as_principal_axes():
    table = torch.from_numpy(np.random.default_rng(0).normal(size=(60, 4, 384)).astype("f4"))
    projection = DescriptionProjection(table, 128)
    for v in range(4):
        axes = projection.matrix[v]
        assert torch.allclose(axes @ axes.T, torch.eye(32), atol=1e-4)


def test_whitening_shrinks_what_the_views_of_one_action_disagree_about() -> None:
    """Views that differ along one axis only, actions along another: the first is shrunk, the second is not turned."""
    rng = np.random.default_rng(0)
    table = torch.zeros(40, 4, 8, dtype=torch.float64)
    table[:, :, 0] = torch.from_numpy(rng.normal(size=(40, 1)))  # what the action is
    table[:, :, 1] = torch.from_numpy(rng.normal(size=(40, 4)))  # how a view says it
    metric = within_metric(table.float(), 0.5)
    assert torch.allclose(metric, metric.T, atol=1e-6)
    assert metric[1, 1] < 0.5 * metric[0, 0]
    assert torch.allclose(within_metric(table.float(), 0.0), torch.eye(8))


def test_a_whitened_projection_starts_where_the_actions_are() -> None:
    rng = np.random.default_rng(1)
    table = torch.from_numpy(rng.normal(size=(60, 4, 16)).astype(np.float32))
    table[:, :, 0] += torch.from_numpy(3 * rng.normal(size=(60, 1)).astype(np.float32))
    table[:, :, 1] *= 4.0  # louder than the action, and says nothing
    plain, white = (DescriptionProjection(table, 8, strength).matrix.detach() for strength in (0.0, 0.8))
    assert plain[:, 0, 1].abs().min() > 0.9 > 0.5 > plain[:, 0, 0].abs().max()
    assert (white[:, :, 0].norm(dim=1) > white[:, :, 1].norm(dim=1)).all()
    assert white.norm(dim=-1).mean() == pytest.approx(1.0, abs=1e-5)


def test_a_spoken_description_is_one_of_its_sentences_in_every_place() -> None:
    table = torch.arange(50 * 4, dtype=torch.float32).reshape(50, 4, 1).expand(-1, -1, 3)
    rng = np.random.default_rng(0)
    said = spoken(table, 0.5, rng)[..., 0]
    one = (said == said[:, :1]).all(dim=1)
    assert 10 < one.sum() < 40
    assert torch.equal(said[~one], table[~one, :, 0])
    assert all(row[0] in own for row, own in zip(said[one].tolist(), table[one, :, 0].tolist(), strict=True))
    assert len({int(row[0]) % 4 for row in said[one]}) == 4
    assert torch.equal(spoken(table, 0.0, rng), table)


def test_nothing_is_drawn_where_nothing_is_spoken() -> None:
    """Runs without it must stay the runs that they were."""
    rng = np.random.default_rng(0)
    spoken(torch.zeros(2, 4, 3), 0.0, rng)
    assert rng.integers(1000) == np.random.default_rng(0).integers(1000)
