"""Weights of places: on the ring they are any per-electrode weights; elsewhere they turn, thin out and spread."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

import torch

from myosem_edge.errors import InputError
from myosem_edge.learn.teacher.model import Encoder, ModelConfig
from myosem_edge.learn.teacher.spatial import basis, ring_positions
from myosem_edge.quantize.statistics import fold_front
from myosem_edge.signal.front import FrontState, step_front
from myosem_edge.signal.montage import RecordedMontage, electrode_positions

BY_NUMBER = ModelConfig(width=24, mixtures=8, filters=3, dilations=(1, 2))
BY_PLACE = replace(BY_NUMBER, spatial="harmonic")
SAMPLES = 150


def encoder_of(config: ModelConfig, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    encoder = Encoder(config).eval()
    with torch.no_grad():
        for module in encoder.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2.0)
    return encoder


def signal(channels: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, channels, SAMPLES, generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def outputs(encoder: Encoder, x: torch.Tensor, **where: torch.Tensor) -> torch.Tensor:
    return torch.cat(encoder(x, **where), dim=-1)


@pytest.mark.parametrize("ring", [8, 7, 16])
def test_on_the_ring_the_functions_are_a_complete_orthonormal_set(ring: int) -> None:
    functions = basis(ring_positions(ring).double(), ring)[:ring]
    assert torch.allclose(functions @ functions.T, torch.eye(ring).double(), atol=1e-6)


def test_any_model_that_knows_electrodes_by_number_is_a_model_of_places() -> None:
    by_number, by_place = encoder_of(BY_NUMBER), encoder_of(BY_PLACE, seed=1)
    functions = basis(ring_positions(8), 8).numpy().T  # (electrodes, functions)

    def coefficients(weights: torch.Tensor) -> torch.Tensor:
        rows = weights.reshape(-1, 8).numpy().T
        return torch.from_numpy(np.linalg.lstsq(functions, rows, rcond=None)[0].T.copy())

    state = by_number.state_dict()
    mixing, gate = state["front.mixing"], state["front.gate.weight"]
    state["front.mixing"] = coefficients(mixing).reshape(*mixing.shape[:2], -1)
    state["front.gate.weight"] = coefficients(gate)[..., None]
    by_place.load_state_dict(state)
    assert (outputs(by_place, signal(8)) - outputs(by_number, signal(8))).abs().max() < 1e-5


@pytest.mark.parametrize("electrodes", range(1, 8))
def test_turning_the_places_is_rolling_the_channels(electrodes: int) -> None:
    encoder, places = encoder_of(BY_PLACE), ring_positions(8)
    turned = places + torch.tensor([electrodes / 8, 0.0])
    rolled = torch.roll(signal(8), electrodes, dims=1)
    assert torch.allclose(outputs(encoder, signal(8), positions=turned), outputs(encoder, rolled), atol=1e-4)
    assert not torch.allclose(outputs(encoder, signal(8)), outputs(encoder, rolled), atol=1e-2)


@pytest.mark.parametrize("gone", [[3], [0, 7], [1, 3, 5, 7]])
def test_a_masked_electrode_is_one_that_is_not_there(gone: list[int]) -> None:
    encoder, kept = encoder_of(BY_PLACE), [c for c in range(8) if c not in gone]
    mask = torch.ones(8, dtype=torch.bool)
    mask[gone] = False
    x = signal(8)
    x[:, gone] = float("nan")  # whatever an absent electrode delivers
    absent = outputs(encoder, x[:, kept], positions=ring_positions(8)[kept])
    assert torch.allclose(outputs(encoder, x, mask=mask), absent, atol=1e-4)
    assert torch.allclose(outputs(encoder, x, mask=mask.repeat(2, 1)), absent, atol=1e-4)


def test_every_row_of_a_batch_may_lack_other_electrodes() -> None:
    encoder, x = encoder_of(BY_PLACE), signal(8)
    masks = torch.ones(2, 8, dtype=torch.bool)
    masks[0, 2], masks[1, 5:] = False, False
    together = outputs(encoder, x, mask=masks)
    alone = torch.cat([outputs(encoder, x[i : i + 1], mask=masks[i]) for i in range(2)])
    assert torch.allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize("channels", [4, 5, 8, 16, 33, 64])
def test_one_model_takes_rings_of_4_to_64_with_powers_of_one_size(channels: int) -> None:
    """A wave around the arm that every ring samples well gives the same powers, however many electrodes see it."""
    encoder = encoder_of(BY_PLACE)
    with torch.no_grad():  # what four electrodes cannot tell apart is another matter
        encoder.front.mixing[..., 3:] = 0.0
    time = torch.arange(SAMPLES) / 20

    def wave(electrodes: int) -> torch.Tensor:
        return torch.cos(2 * np.pi * (ring_positions(electrodes)[:, :1] - time))[None]

    ours, _ = encoder.front.log_powers(wave(channels), positions=ring_positions(channels))
    assert torch.allclose(ours, encoder.front.log_powers(wave(8))[0], atol=1e-3)
    h, z = encoder(wave(channels), positions=ring_positions(channels))
    assert torch.isfinite(h).all() and z.shape == (1, SAMPLES // 5, 128)


@pytest.mark.parametrize("channels", [3, 65])
def test_other_numbers_of_electrodes_are_refused(channels: int) -> None:
    with pytest.raises(InputError, match=r"4 to 64 electrodes"):
        encoder_of(BY_PLACE)(signal(channels), positions=torch.zeros(channels, 2))


def test_places_mean_nothing_to_a_model_that_knows_electrodes_by_number() -> None:
    with pytest.raises(InputError, match="by their number"):
        encoder_of(BY_NUMBER)(signal(8), positions=ring_positions(8))


def test_a_grid_hears_where_along_the_arm() -> None:
    encoder = encoder_of(BY_PLACE)
    grid = RecordedMontage("grid", 16, "ring", 200.0, "uV", "", rings=2)
    places = torch.from_numpy(electrode_positions(grid)).float()
    x = signal(16)
    swapped = torch.cat((x[:, 8:], x[:, :8]), dim=1)
    assert torch.allclose(outputs(encoder, x, positions=places), outputs(encoder, swapped, positions=places), atol=1e-4)
    with torch.no_grad():
        encoder.front.mixing[..., 8:] = 0.5
    assert not torch.allclose(
        outputs(encoder, x, positions=places), outputs(encoder, swapped, positions=places), atol=1e-2
    )


def test_every_coefficient_learns() -> None:
    encoder = encoder_of(BY_PLACE).train()
    places = torch.rand(12, 2, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 80.0])
    mask = torch.rand(6, 12, generator=torch.Generator().manual_seed(2)) < 0.8
    h, z = encoder(signal(12, batch=6), positions=places, mask=mask)
    (h.square().mean() + z[..., 0].mean()).backward()
    for weight in (encoder.front.mixing, encoder.front.gate.weight):
        assert weight.grad is not None and weight.grad.abs().min() > 0


@pytest.mark.parametrize("rate_hz", [100, 200, 1000, 2000])
def test_a_model_of_any_rate_is_one_of_25_ms_frames(rate_hz: int) -> None:
    config = replace(BY_PLACE, frame_samples=round(rate_hz / 40))
    h, _ = encoder_of(config)(torch.randn(1, 6, rate_hz), positions=ring_positions(6))
    assert h.shape[1] == rate_hz // config.frame_samples


@pytest.mark.parametrize("channels", [8, 5])
def test_settled_on_a_montage_it_is_an_ordinary_model_that_exports_as_ever(channels: int) -> None:
    encoder, places = encoder_of(BY_PLACE), ring_positions(channels) + torch.tensor([0.05, 0.0])
    settled = encoder.settled(places)
    assert settled.config == replace(BY_NUMBER, channels=channels) and not settled.training
    assert torch.allclose(
        outputs(settled, signal(channels)), outputs(encoder, signal(channels), positions=places), atol=1e-5
    )
    front = fold_front(settled)
    frames = signal(channels)[0].T.reshape(-1, 5, channels).numpy()
    exported, _ = step_front(front, frames, FrontState.start(front))
    features, _ = encoder.front(signal(channels), positions=places)
    assert np.allclose(exported, features[0].T.detach().numpy(), atol=1e-4)


def test_a_ring_of_its_own_needs_no_settling_to_be_exported() -> None:
    encoder = encoder_of(BY_PLACE)
    assert np.allclose(fold_front(encoder).kernel, fold_front(encoder.settled()).kernel)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="'spherical' is no kind"):
        ModelConfig(spatial="spherical")
