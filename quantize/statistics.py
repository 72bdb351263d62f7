"""From a trained float student to the integer body: fold the normalisations, measure ranges on real EMG, round once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from myosem_edge.learn.teacher.model import Encoder
from myosem_edge.quantize.network import IntBlock, IntBody, Scale
from myosem_edge.signal.front import FrontWeights


@dataclass(frozen=True)
class FloatBlock:
    """A block with its normalisations folded in: taps (width, 3), mix (width, width) and biases."""

    dilation: int
    taps: np.ndarray
    taps_bias: np.ndarray
    mix: np.ndarray
    mix_bias: np.ndarray


def fold_front(encoder: Encoder) -> FrontWeights:
    """The student's front as plain arrays, batch normalisation folded into the expansion."""
    config, front = encoder.config, encoder.front
    kernel = front.kernel()  # (mixtures, channels, taps)
    gain, offset = _norm(front.norm)
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


def fold_blocks(encoder: Encoder) -> tuple[FloatBlock, ...]:
    blocks = []
    for block in encoder.causal_blocks:
        gain, offset = _norm(block.norm_taps)
        mix_gain, mix_offset = _norm(block.norm_mix)
        blocks.append(
            FloatBlock(
                block.dilation,
                _array(block.taps * gain[:, None]),
                _array(offset),
                _array(block.mix.weight[..., 0] * mix_gain[:, None]),
                _array(mix_offset),
            )
        )
    return tuple(blocks)


@torch.no_grad()
def quantise_body(encoder: Encoder, segments: Iterable[np.ndarray]) -> IntBody:
    """Integer body of a float student; ranges are the extremes over `segments` (batch, channels, samples) of real EMG.

    Minimum and maximum, not percentiles: on this network clipping costs more than a coarser step.
    """
    ranges: dict[str, tuple[float, float]] = {}

    def see(name: str, value: Tensor) -> None:
        low, high = ranges.get(name, (0.0, 0.0))
        ranges[name] = (min(low, float(value.min())), max(high, float(value.max())))

    for segment in segments:
        x, _ = encoder.front(torch.from_numpy(segment))
        see("inlet", x)
        for i, block in enumerate(encoder.causal_blocks):
            y = torch.relu(block.norm_taps(block.depthwise(x)))
            see(f"{i}.mid", y)
            branch = block.norm_mix(block.mix(y))
            see(f"{i}.branch", branch)
            x = x + branch
            see(f"{i}.out", x)
    scales = {name: Scale.covering(*extremes) for name, extremes in ranges.items()}
    before, blocks = scales["inlet"], []
    for i, folded in enumerate(fold_blocks(encoder)):
        taps, taps_step = round_rows(folded.taps)
        mix, mix_step = round_rows(folded.mix)
        mid = scales[f"{i}.mid"]
        blocks.append(
            IntBlock(
                folded.dilation,
                taps,
                taps_step,
                _bias(folded.taps_bias, before.step * taps_step),
                mid,
                mix,
                mix_step,
                _bias(folded.mix_bias, mid.step * mix_step),
                scales[f"{i}.branch"],
                scales[f"{i}.out"],
            )
        )
        before = scales[f"{i}.out"]
    project, project_step = round_rows(_array(encoder.project.weight))
    bias = _bias(_array(_offset(encoder.project)), before.step * project_step)
    return IntBody(scales["inlet"], tuple(blocks), project, project_step, bias)


def round_rows(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric s8 per output channel: (out, ...) -> integers in -127..127 and steps (out,)."""
    step = (np.abs(weights).max(axis=tuple(range(1, weights.ndim))) / 127.0).astype(np.float32)
    step = np.maximum(step, np.float32(1e-9))
    q = np.rint(weights / step.reshape(-1, *(1,) * (weights.ndim - 1)))
    return q.astype(np.int8), step


def _bias(bias: np.ndarray, step: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(bias / step), -(2**31) + 1, 2**31 - 1).astype(np.int32)


def _offset(layer: nn.Conv1d | nn.Linear) -> Tensor:
    """The bias of a layer that has one."""
    assert layer.bias is not None
    return layer.bias


def _norm(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Batch normalisation in evaluation as gain and offset."""
    assert norm.running_var is not None and norm.running_mean is not None
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return gain, norm.bias - norm.running_mean * gain


def _array(value: Tensor) -> np.ndarray:
    return np.ascontiguousarray(value.detach().numpy().astype(np.float32))
