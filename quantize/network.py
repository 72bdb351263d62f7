"""The integer body as plain numpy: the oracle every other backend is compared with.

u8 activations with a zero point, s8 weights per output channel, int32 accumulators, one float multiplier per channel to
come back to 8 bits, round half to even: the arithmetic of ONNX's QLinearConv and QLinearAdd. The state between calls is
the u8 input history of each block, at that layer's own scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

TAPS = 3
MOST_DILATION, MOST_BLOCKS = 4096, 64  # more is a damaged file, and would take all memory
# Of a block, as its tensors are called.
ARRAYS = ("taps", "taps_step", "taps_bias", "mix", "mix_step", "mix_bias")
SCALES = ("mid", "branch", "out")


@dataclass(frozen=True)
class Scale:
    """real = (q - zero) * step, q in 0..255."""

    step: np.float32
    zero: int

    @classmethod
    def covering(cls, low: float, high: float) -> Scale:
        """The scale whose 256 steps cover low..high and represent 0 exactly."""
        low, high = min(low, 0.0), max(high, 0.0)
        step = np.float32(max(high - low, 1e-6) / 255.0)
        return cls(step, int(np.clip(np.rint(-low / step), 0, 255)))

    def quantise(self, real: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(real / self.step) + self.zero, 0, 255).astype(np.uint8)

    def real(self, q: np.ndarray) -> np.ndarray:
        return (q.astype(np.int32) - self.zero).astype(np.float32) * self.step


@dataclass(frozen=True)
class IntBlock:
    """A residual block: three depthwise taps, ReLU, a pointwise mixture, addition."""

    dilation: int
    taps: np.ndarray  # (width, 3) s8
    taps_step: np.ndarray  # (width,) float32
    taps_bias: np.ndarray  # (width,) int32 at x.step * taps_step
    mid: Scale  # after ReLU, zero is 0
    mix: np.ndarray  # (width out, width in) s8
    mix_step: np.ndarray
    mix_bias: np.ndarray
    branch: Scale
    out: Scale

    @property
    def history(self) -> int:
        return (TAPS - 1) * self.dilation


@dataclass(frozen=True)
class IntBody:
    """features (k, width) float32 -> h (k, width) float32 and z (k, embedding) float32, not yet of unit length."""

    inlet: Scale
    blocks: tuple[IntBlock, ...]
    project: np.ndarray  # (embedding, width) s8
    project_step: np.ndarray
    project_bias: np.ndarray  # int32

    @property
    def width(self) -> int:
        return self.project.shape[1]

    def start(self) -> tuple[np.ndarray, ...]:
        """Histories (dilation * 2, width) u8 of a body that has seen zeros."""
        scales = (self.inlet, *(block.out for block in self.blocks))
        return tuple(
            np.full((block.history, self.width), scale.zero, np.uint8)
            for block, scale in zip(self.blocks, scales, strict=False)
        )

    def step(
        self, features: np.ndarray, state: tuple[np.ndarray, ...]
    ) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
        x, scale = self.inlet.quantise(features), self.inlet
        after = []
        for block, history in zip(self.blocks, state, strict=True):
            line = np.concatenate((history, x))
            after.append(line[len(line) - block.history :])
            x = _block(block, line, x, scale)
            scale = block.out
        accumulator = (x.astype(np.int32) - scale.zero) @ self.project.T.astype(np.int32) + self.project_bias
        z = accumulator.astype(np.float32) * (scale.step * self.project_step)
        return scale.real(x), z, tuple(after)

    def to_tensors(self) -> dict[str, np.ndarray]:
        tensors = {
            "body.inlet": _pack(self.inlet),
            "body.project": self.project,
            "body.project_step": self.project_step,
            "body.project_bias": self.project_bias,
            "body.dilations": np.array([b.dilation for b in self.blocks], np.int32),
        }
        for i, block in enumerate(self.blocks):
            for name in ARRAYS:
                tensors[f"body.{i}.{name}"] = getattr(block, name)
            for name in SCALES:
                tensors[f"body.{i}.{name}"] = _pack(getattr(block, name))
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray]) -> IntBody:
        """Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor is of another shape or kind, or holds a number that no body has.
        """
        blocks = []
        dilations, width = tensors["body.dilations"], tensors["body.project"].shape[-1]
        if len(dilations) > MOST_BLOCKS or not all(1 <= int(d) <= MOST_DILATION for d in dilations):
            raise ValueError(f"dilations {dilations.tolist()[:MOST_BLOCKS]}")
        for i, dilation in enumerate(dilations):
            own = {name: tensors[f"body.{i}.{name}"] for name in (*ARRAYS, *SCALES)}
            mid, branch, out = (_unpack(own[name]) for name in SCALES)
            taps, taps_step, taps_bias, mix, mix_step, mix_bias = (own[name] for name in ARRAYS)
            _require_layer(f"body.{i}.taps", taps, (width, TAPS), taps_step, taps_bias)
            _require_layer(f"body.{i}.mix", mix, (width, width), mix_step, mix_bias)
            blocks.append(
                IntBlock(int(dilation), taps, taps_step, taps_bias, mid, mix, mix_step, mix_bias, branch, out)
            )
        project = tuple(tensors[f"body.project{part}"] for part in ("", "_step", "_bias"))
        _require_layer("body.project", project[0], (len(project[0]), width), *project[1:])
        return cls(_unpack(tensors["body.inlet"]), tuple(blocks), *project)


def _require_layer(name: str, weights: np.ndarray, shape: tuple[int, int], step: np.ndarray, bias: np.ndarray) -> None:
    """One layer's tensors as the arithmetic takes them."""
    if weights.dtype != np.int8 or weights.shape != shape or 0 in shape:
        raise ValueError(f"{name} is {weights.dtype} {weights.shape}, not int8 {shape}")
    if step.dtype != np.float32 or step.shape != shape[:1] or not ((step > 0) & np.isfinite(step)).all():
        raise ValueError(f"{name}_step is not {shape[0]} positive numbers")
    if bias.dtype != np.int32 or bias.shape != shape[:1]:
        raise ValueError(f"{name}_bias is not {shape[0]} whole numbers")


def _block(block: IntBlock, line: np.ndarray, x: np.ndarray, scale: Scale) -> np.ndarray:
    k, d = len(x), block.dilation
    centred = line.astype(np.int32) - scale.zero
    taps = block.taps.astype(np.int32)
    accumulator = sum(centred[i * d : i * d + k] * taps[:, i] for i in range(TAPS)) + block.taps_bias
    mid = requantise(accumulator, scale.step * block.taps_step, block.mid)
    accumulator = mid.astype(np.int32) @ block.mix.T.astype(np.int32) + block.mix_bias
    branch = requantise(accumulator, block.mid.step * block.mix_step, block.branch)
    return add(x, scale, branch, block.branch, block.out)


def requantise(accumulator: np.ndarray, step: np.ndarray, out: Scale) -> np.ndarray:
    """int32 accumulators at `step` per channel -> u8 at `out`."""
    multiplier = (step / out.step).astype(np.float32)
    return np.clip(np.rint(accumulator.astype(np.float32) * multiplier) + out.zero, 0, 255).astype(np.uint8)


def add(a: np.ndarray, a_scale: Scale, b: np.ndarray, b_scale: Scale, out: Scale) -> np.ndarray:
    """u8 + u8 -> u8, each at its own scale."""
    total = a_scale.real(a) + b_scale.real(b)
    return np.clip(np.rint(total / out.step) + out.zero, 0, 255).astype(np.uint8)


def _pack(scale: Scale) -> np.ndarray:
    return np.array([scale.step, scale.zero], np.float32)


def _unpack(values: np.ndarray) -> Scale:
    """Raises:
    ValueError: not a positive step and a zero point of eight bits.
    """
    if values.shape != (2,) or not (np.isfinite(values).all() and values[0] > 0 and 0 <= values[1] <= 255):
        raise ValueError(f"a scale of {values.tolist()}")
    return Scale(np.float32(values[0]), int(values[1]))
