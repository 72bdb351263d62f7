"""From a trained float student to what a board calculates: fold the normalisations, measure ranges on EMG, round."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from myosem_edge.learn.teacher.model import Encoder
from myosem_edge.quantize.fake_body import FakeBody, fold
from myosem_edge.quantize.network import IntBody
from myosem_edge.signal.front import FrontWeights


def fold_front(encoder: Encoder) -> FrontWeights:
    """The student's front as plain arrays, batch normalisation folded into the expansion."""
    config, front = encoder.config, encoder.front
    kernel = front.kernel()  # (mixtures, channels, taps)
    gain, offset = fold(front.norm)
    expand = front.expand.weight[..., 0]  # (width, 2 * mixtures)
    gate = front.spatial_weights()[1].T if config.activation_aware else None
    return FrontWeights(
        _array(kernel.permute(2, 1, 0).reshape(-1, config.mixtures)),
        _array((expand * gain).T),
        _array(_offset(front.expand) + expand @ offset),
        None if gate is None else _array(gate),
        None if gate is None else _array(_offset(front.gate)),
        config.frame_samples,
        config.taps,
        config.slow_frames,
    )


@torch.no_grad()
def front_features(encoder: Encoder, segments: Iterable[np.ndarray]) -> list[Tensor]:
    """What the front hands to the body (batch, width, frames) for segments (batch, channels, samples) of real EMG."""
    return [encoder.front(torch.from_numpy(segment))[0] for segment in segments]


def observed_body(encoder: Encoder, segments: Iterable[np.ndarray]) -> FakeBody:
    """Body of a float student with the ranges it has over `segments` (batch, channels, samples) of EMG."""
    body = FakeBody(encoder)
    body.observe(front_features(encoder, segments))
    return body


def quantise_body(encoder: Encoder, segments: Iterable[np.ndarray]) -> IntBody:
    """Integer body of a float student; ranges are the extremes over `segments` (batch, channels, samples) of EMG."""
    return observed_body(encoder, segments).integers()


def _offset(layer: nn.Conv1d | nn.Linear) -> Tensor:
    """The bias of a layer that has one."""
    assert layer.bias is not None
    return layer.bias


def _array(value: Tensor) -> np.ndarray:
    return np.ascontiguousarray(value.detach().numpy().astype(np.float32))
