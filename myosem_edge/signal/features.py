"""Time-domain features from per-frame sums, so that a hop costs only its new samples.

Hudgins' set (Hudgins, Parker, Scott 1993: MAV, zero crossings, slope sign changes, waveform length) plus RMS, and the
same amplitudes as logarithms: multiplicative changes of electrode contact become shifts, which a linear classifier
absorbs. Both are baselines everywhere and the second is half of the calibrated head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WINDOW_FRAMES = 10  # 250 ms of 25 ms frames: the usual window of myoelectric control
LOG_FLOOR = 1e-2  # of the wearer's own scale: about the electronic noise of a relaxed electrode
STRETCH_FRAMES = 4096  # of a recording at a time: the statistics of a sample take five times its own memory
STATISTICS = 5  # |x|, |dx|, x^2, zero crossings, slope sign changes


@dataclass
class FeatureState:
    """The last two samples `(2, channels)` and the sums of the last WINDOW_FRAMES frames `(frames, 5, channels)`."""

    tail: np.ndarray
    sums: np.ndarray

    @classmethod
    def start(cls, channels: int) -> FeatureState:
        return cls(np.zeros((2, channels)), np.zeros((WINDOW_FRAMES, STATISTICS, channels)))


def frame_sums(frames: np.ndarray, tail: np.ndarray) -> np.ndarray:
    """Sums `(k, 5, channels)` of consecutive frames `(k, samples, channels)` that follow `tail` `(2, channels)`."""
    k, n, channels = frames.shape
    line = np.concatenate((tail, frames.reshape(k * n, channels)))
    slope = line[1:] - line[:-1]
    values = np.empty((STATISTICS, k * n, channels))
    np.abs(line[2:], out=values[0])
    np.abs(slope[1:], out=values[1])
    np.square(line[2:], out=values[2])
    values[3] = line[1:-1] * line[2:] < 0
    values[4] = slope[:-1] * slope[1:] < 0  # the sign of the slope changed at the sample before the newest
    return np.asarray(np.add.reduce(values.reshape(STATISTICS, k, n, channels), axis=2).transpose(1, 0, 2))


def sums_of_last(frames: np.ndarray, k: int, count: int = WINDOW_FRAMES) -> np.ndarray:
    """Sum of the last `count` frames at each of the newest k: `(at least k + count - 1, ...)` -> `(k, ...)`.

    Frame by frame, oldest first: in one order, however a stream is cut.
    """
    frames = frames[len(frames) - k - count + 1 :]
    if k == 1:  # every hop of a board: one call instead of `count`, in the same order
        return np.asarray(np.add.reduce(frames)[None])
    total = frames[:k].copy()
    for first in range(1, count):
        total += frames[first : first + k]
    return total


def log_features(sums: np.ndarray, frame_samples: int) -> np.ndarray:
    """`(..., 3 * channels)`: log MAV, waveform length and RMS per channel, from window sums `(..., 5, channels)`."""
    mean = sums[..., :3, :] / (WINDOW_FRAMES * frame_samples)
    mav, wl, power = mean[..., 0, :], mean[..., 1, :], mean[..., 2, :]
    parts = (np.log(mav + LOG_FLOOR), np.log(wl + LOG_FLOOR), 0.5 * np.log(power + LOG_FLOOR**2))
    return np.concatenate(parts, axis=-1)


def hudgins_features(sums: np.ndarray, frame_samples: int) -> np.ndarray:
    """`(..., 5 * channels)`: MAV, WL, RMS, ZC and SSC per channel, from window sums `(..., 5, channels)`."""
    mean = sums / (WINDOW_FRAMES * frame_samples)
    mean[..., 2, :] = np.sqrt(mean[..., 2, :])
    return mean.reshape(*mean.shape[:-2], -1)


def step_window_sums(frames: np.ndarray, state: FeatureState) -> tuple[np.ndarray, FeatureState]:
    """New frames (k, samples, channels) -> sums (k, 5, channels) of the window that ends with each, the next state."""
    sums = np.concatenate((state.sums[1:], frame_sums(frames, state.tail)))
    return sums_of_last(sums, len(frames)), FeatureState(frames[-1, -2:], sums[-WINDOW_FRAMES:])


def window_sums(frames: np.ndarray) -> np.ndarray:
    """Sums over the last WINDOW_FRAMES at every frame of a recording `(k, samples, channels)` -> `(k, 5, channels)`."""
    state, parts = FeatureState.start(frames.shape[2]), []
    for first in range(0, len(frames), STRETCH_FRAMES):
        part, state = step_window_sums(frames[first : first + STRETCH_FRAMES], state)
        parts.append(part)
    return np.concatenate(parts)
