"""The body in floats that can be rounded where its integers will be: to measure what each rounding costs, to train with
all of them (quantisation-aware), and to make the integers from.

A rounding place is either an activation ("inlet", "0.mid", "0.branch", "0.out", ...) or a layer's weights ("0.taps",
"0.mix", "project"). Gradients pass a rounding as if it were not there (straight-through, Bengio et al. 2013).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from myosem_edge.learn.teacher.model import CausalBlock, Encoder
from myosem_edge.quantize.network import IntBlock, IntBody, Scale

INLET, PROJECT = "inlet", "project"
MOST_WEIGHT = 127  # symmetric: -128 is never used

See = Callable[[str, Tensor], None]


class FakeBlock(nn.Module):
    """A block with its normalisations folded in: taps (width, 3), mix (width, width) and biases."""

    def __init__(self, dilation: int, taps: Tensor, taps_bias: Tensor, mix: Tensor, mix_bias: Tensor) -> None:
        super().__init__()
        self.dilation = dilation
        self.taps, self.taps_bias = nn.Parameter(taps), nn.Parameter(taps_bias)
        self.mix, self.mix_bias = nn.Parameter(mix), nn.Parameter(mix_bias)


class FakeBody(nn.Module):
    """features (batch, width, frames) -> h (batch, frames, width), z before normalisation (batch, frames, embedding).

    `scales` of the activations are set by `observe`.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        with torch.no_grad():
            self.blocks = nn.ModuleList(_folded(block) for block in encoder.causal_blocks)
            self.project = nn.Parameter(encoder.project.weight.clone())
            self.project_bias = nn.Parameter(encoder.project.bias.clone())
        self.scales: dict[str, Scale] = {}

    @property
    def fake_blocks(self) -> list[FakeBlock]:
        """The blocks in order, with their type."""
        return [block for block in self.blocks if isinstance(block, FakeBlock)]

    @property
    def places(self) -> tuple[str, ...]:
        """Every rounding place, in the order of the signal."""
        names = [INLET]
        for i in range(len(self.blocks)):
            names += [f"{i}.{name}" for name in ("taps", "mid", "mix", "branch", "out")]
        return (*names, PROJECT)

    def forward(
        self, features: Tensor, rounded: Collection[str] = (), see: See = lambda name, value: None
    ) -> tuple[Tensor, Tensor]:
        def at(name: str, value: Tensor) -> Tensor:
            see(name, value)
            return _round_activation(value, self.scales[name]) if name in rounded else value

        def weight(name: str, value: Tensor) -> Tensor:
            return _round_weight(value) if name in rounded else value

        x = at(INLET, features)
        for i, block in enumerate(self.fake_blocks):
            d, frames = block.dilation, x.shape[-1]
            padded, taps = F.pad(x, (2 * d, 0)), weight(f"{i}.taps", block.taps)
            y = sum(padded[..., k * d : k * d + frames] * taps[:, k, None] for k in range(3)) + block.taps_bias[:, None]
            y = at(f"{i}.mid", torch.relu(y))
            branch = F.conv1d(y, weight(f"{i}.mix", block.mix)[..., None], block.mix_bias)
            x = at(f"{i}.out", x + at(f"{i}.branch", branch))
        h = x.transpose(1, 2)
        return h, F.linear(h, weight(PROJECT, self.project), self.project_bias)

    @torch.no_grad()
    def observe(self, features: Iterable[Tensor]) -> None:
        """Take the scales from the extremes of every activation over real features.

        Minimum and maximum, not percentiles: on this network clipping costs more than a coarser step.
        """
        ranges: dict[str, tuple[float, float]] = {}

        def see(name: str, value: Tensor) -> None:
            low, high = ranges.get(name, (0.0, 0.0))
            ranges[name] = (min(low, float(value.min())), max(high, float(value.max())))

        for each in features:
            self(each, see=see)
        self.scales = {name: Scale.covering(*extremes) for name, extremes in ranges.items()}

    @torch.no_grad()
    def integers(self) -> IntBody:
        """Everything rounded once and for all."""
        before, blocks = self.scales[INLET], []
        for i, block in enumerate(self.fake_blocks):
            taps, taps_step = round_rows(_array(block.taps))
            mix, mix_step = round_rows(_array(block.mix))
            mid, branch, out = (self.scales[f"{i}.{name}"] for name in ("mid", "branch", "out"))
            taps_bias = _round_bias(block.taps_bias, before.step * taps_step)
            mix_bias = _round_bias(block.mix_bias, mid.step * mix_step)
            blocks.append(
                IntBlock(block.dilation, taps, taps_step, taps_bias, mid, mix, mix_step, mix_bias, branch, out)
            )
            before = out
        project, step = round_rows(_array(self.project))
        bias = _round_bias(self.project_bias, before.step * step)
        return IntBody(self.scales[INLET], tuple(blocks), project, step, bias)


def round_rows(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric s8 per output channel: (out, ...) -> integers in -127..127 and steps (out,)."""
    step = (np.abs(weights).max(axis=tuple(range(1, weights.ndim))) / MOST_WEIGHT).astype(np.float32)
    step = np.maximum(step, np.float32(1e-9))
    q = np.rint(weights / step.reshape(-1, *(1,) * (weights.ndim - 1)))
    return q.astype(np.int8), step


def _round_weight(weight: Tensor) -> Tensor:
    step = (weight.detach().abs().amax(dim=1, keepdim=True) / MOST_WEIGHT).clamp_min(1e-9)
    return _pass((weight / step).round() * step, weight)


def _round_activation(x: Tensor, scale: Scale) -> Tensor:
    step, zero = float(scale.step), scale.zero
    within = x.clamp(-zero * step, (255 - zero) * step)  # beyond the ends nothing is learnt
    return _pass(((within / step).round() + zero).clamp(0, 255).sub(zero) * step, within)


def _pass(rounded: Tensor, exact: Tensor) -> Tensor:
    """The rounded value with the gradient of the exact one."""
    return exact + (rounded - exact).detach()


def _round_bias(bias: Tensor, step: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(_array(bias) / step), -(2**31) + 1, 2**31 - 1).astype(np.int32)


def _folded(block: CausalBlock) -> FakeBlock:
    gain, offset = fold(block.norm_taps)
    mix_gain, mix_offset = fold(block.norm_mix)
    mix = block.mix.weight[..., 0] * mix_gain[:, None]
    return FakeBlock(block.dilation, block.taps * gain[:, None], offset.clone(), mix, mix_offset.clone())


def fold(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Batch normalisation in evaluation as gain and offset."""
    assert norm.running_var is not None and norm.running_mean is not None
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return gain, norm.bias - norm.running_mean * gain


def _array(value: Tensor) -> np.ndarray:
    return np.ascontiguousarray(value.detach().numpy().astype(np.float32))
