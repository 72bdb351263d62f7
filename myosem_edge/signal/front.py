"""The float half of the exported encoder: filter bank and mixtures as one matrix, frame power, logarithm, gate.

Squared EMG and its logarithm do not survive 8 bits, so this half stays float32 on every board; the half after it is
integer. It equals the training-side front to rounding and costs one small matrix product per sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

POWER_FLOOR = 1e-3  # of the wearer's mean power: keeps the logarithm of silence finite, in training too


@dataclass(frozen=True)
class FrontWeights:
    """kernel (taps * channels, mixtures), oldest sample first; expand (mixtures, width); gate (channels, width)."""

    kernel: np.ndarray
    expand: np.ndarray
    expand_bias: np.ndarray
    gate: np.ndarray | None
    gate_bias: np.ndarray | None
    frame_samples: int
    taps: int

    @property
    def channels(self) -> int:
        return self.kernel.shape[0] // self.taps

    def to_tensors(self) -> dict[str, np.ndarray]:
        tensors = {"front.kernel": self.kernel, "front.expand": self.expand, "front.expand_bias": self.expand_bias}
        if self.gate is not None and self.gate_bias is not None:
            tensors |= {"front.gate": self.gate, "front.gate_bias": self.gate_bias}
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], frame_samples: int, channels: int) -> FrontWeights:
        kernel = tensors["front.kernel"]
        return cls(
            kernel,
            tensors["front.expand"],
            tensors["front.expand_bias"],
            tensors.get("front.gate"),
            tensors.get("front.gate_bias"),
            frame_samples,
            kernel.shape[0] // channels,
        )


@dataclass(frozen=True)
class FrontState:
    """history (taps - 1, channels): newest samples; of the last frame power (mixtures,), channel_power (channels,)."""

    history: np.ndarray
    power: np.ndarray
    channel_power: np.ndarray

    @classmethod
    def start(cls, weights: FrontWeights) -> FrontState:
        return cls(
            np.zeros((weights.taps - 1, weights.channels), np.float32),
            np.zeros(weights.kernel.shape[1], np.float32),
            np.zeros(weights.channels, np.float32),
        )


def step_front(weights: FrontWeights, frames: np.ndarray, state: FrontState) -> tuple[np.ndarray, FrontState]:
    """Canonical, scaled frames (k, frame_samples, channels) float32 -> features (k, width) float32, the next state."""
    k, n, channels = frames.shape
    line = np.concatenate((state.history, frames.reshape(k * n, channels)))
    windows = np.lib.stride_tricks.sliding_window_view(line, weights.taps, axis=0)  # (k * n, channels, taps)
    mixed = windows.transpose(0, 2, 1).reshape(k * n, -1) @ weights.kernel
    power = np.square(mixed).reshape(k, n, -1).mean(axis=1)
    channel_power = np.square(frames).mean(axis=1)
    log_power = _log_of_two(power, state.power)
    features = log_power @ weights.expand + weights.expand_bias
    if weights.gate is not None:
        drive = _log_of_two(channel_power, state.channel_power) @ weights.gate + weights.gate_bias
        features = features / (1.0 + np.exp(-drive))
    return features.astype(np.float32), FrontState(line[len(line) - weights.taps + 1 :], power[-1], channel_power[-1])


def _log_of_two(power: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Logarithm of the mean power of each frame and the one before it."""
    return np.log(0.5 * (power + np.concatenate((before[None], power[:-1]))) + np.float32(POWER_FLOOR))
