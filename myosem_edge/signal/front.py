"""The float half of the exported encoder: filter bank and mixtures as one matrix, power fast and slow, logarithm, gate.

Squared EMG and its logarithm do not survive 8 bits, so this half stays float32 on every board; the half after it is
integer. It equals the training-side front to rounding and costs one small matrix product per sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from myosem_edge.signal.features import sums_of_last

POWER_FLOOR = 1e-3  # of the wearer's mean power: keeps the logarithm of silence finite, in training too
FAST_FRAMES = 2  # whose mean power sees an onset; that of `slow_frames` steadies a hold
MOST_SLOW_FRAMES = 400  # ten seconds: more is a damaged file


@dataclass(frozen=True)
class FrontWeights:
    """kernel (taps * channels, mixtures), oldest sample first; expand (2 * mixtures, width): fast powers, then those of
    the last `slow_frames`; gate (channels, width).
    """

    kernel: np.ndarray
    expand: np.ndarray
    expand_bias: np.ndarray
    gate: np.ndarray | None
    gate_bias: np.ndarray | None
    frame_samples: int
    taps: int
    slow_frames: int

    @property
    def channels(self) -> int:
        return self.kernel.shape[0] // self.taps

    def to_tensors(self) -> dict[str, np.ndarray]:
        tensors = {"front.kernel": self.kernel, "front.expand": self.expand, "front.expand_bias": self.expand_bias}
        tensors["front.slow_frames"] = np.array([self.slow_frames], np.int32)
        if self.gate is not None and self.gate_bias is not None:
            tensors |= {"front.gate": self.gate, "front.gate_bias": self.gate_bias}
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], frame_samples: int, channels: int) -> FrontWeights:
        """Raises:
        KeyError: a tensor is missing.
        ValueError: a number of frames that no encoder has, a shape that does not fit the others, or no number.
        """
        kernel = tensors["front.kernel"]
        slow_frames = int(tensors["front.slow_frames"][0])
        if not 1 <= slow_frames <= MOST_SLOW_FRAMES:
            raise ValueError(f"slow power over {slow_frames} frames")
        width = tensors["front.expand"].shape[-1]
        shapes = {
            "kernel": (len(kernel) // channels * channels, kernel.shape[-1]),
            "expand": (2 * kernel.shape[-1], width),
            "expand_bias": (width,),
            **({"gate": (channels, width), "gate_bias": (width,)} if "front.gate" in tensors else {}),
        }
        for name, shape in shapes.items():
            found = tensors[f"front.{name}"]
            if found.dtype != np.float32 or found.shape != shape or 0 in shape or not np.isfinite(found).all():
                raise ValueError(f"front.{name} is {found.dtype} {found.shape}, not finite float32 {shape}")
        return cls(
            kernel,
            tensors["front.expand"],
            tensors["front.expand_bias"],
            tensors.get("front.gate"),
            tensors.get("front.gate_bias"),
            frame_samples,
            kernel.shape[0] // channels,
            slow_frames,
        )


@dataclass(frozen=True)
class FrontState:
    """history (taps - 1, channels): newest samples; powers (frames, mixtures) of the last frames, as many as a
    slow power needs beside the new one; channel_power (channels,) of the last frame.
    """

    history: np.ndarray
    powers: np.ndarray
    channel_power: np.ndarray

    @classmethod
    def start(cls, weights: FrontWeights) -> FrontState:
        return cls(
            np.zeros((weights.taps - 1, weights.channels), np.float32),
            np.zeros((max(FAST_FRAMES, weights.slow_frames) - 1, weights.kernel.shape[1]), np.float32),
            np.zeros(weights.channels, np.float32),
        )


def step_front(weights: FrontWeights, frames: np.ndarray, state: FrontState) -> tuple[np.ndarray, FrontState]:
    """Canonical, scaled frames (k, frame_samples, channels) float32 -> features (k, width) float32, the next state."""
    k, n, channels = frames.shape
    line = np.concatenate((state.history, frames.reshape(k * n, channels)))
    # A row of windows is a stretch of the line: (k * n, taps * channels), oldest sample first.
    step = line.itemsize
    windows = np.ndarray((k * n, weights.kernel.shape[0]), line.dtype, line, strides=(channels * step, step))
    mixed = windows.copy() @ weights.kernel
    powers = np.concatenate((state.powers, np.add.reduce(np.square(mixed).reshape(k, n, -1), axis=1) / n))
    channel_powers = np.concatenate((state.channel_power[None], np.add.reduce(np.square(frames), axis=1) / n))
    log_power = np.concatenate([_log_mean(powers, k, m) for m in (FAST_FRAMES, weights.slow_frames)], axis=1)
    features = log_power @ weights.expand + weights.expand_bias
    if weights.gate is not None:
        drive = _log_mean(channel_powers, k, FAST_FRAMES) @ weights.gate + weights.gate_bias
        features = features / (1.0 + np.exp(-drive))
    last = FrontState(line[len(line) - weights.taps + 1 :], powers[k:], channel_powers[-1])
    return features.astype(np.float32), last


def _log_mean(powers: np.ndarray, k: int, frames: int) -> np.ndarray:
    """Logarithm of the mean power of the last `frames` frames, at each of the newest k."""
    return np.log(sums_of_last(powers, k, frames) * np.float32(1 / frames) + np.float32(POWER_FLOOR))
