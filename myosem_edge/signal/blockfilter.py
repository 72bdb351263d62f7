"""A cascade of biquads applied a frame at a time in exact block state-space form.

With x a frame of n samples and s the filter's state, one matrix product gives the filtered frame and the next state:
[y; s'] = M [x; s]. It equals the sample-by-sample recursion (Oppenheim and Schafer, direct form II transposed) up to
rounding and costs one small matrix product a frame instead of a loop. Coefficients are designed elsewhere (scipy, on
the training side) and travel as numbers.
"""

from __future__ import annotations

import numpy as np


class BlockFilter:
    """Filters frames `(frame_samples, channels)` causally. `sos` are scipy's second-order sections `(sections, 6)`."""

    def __init__(self, sos: np.ndarray, frame_samples: int) -> None:
        sos = np.atleast_2d(np.asarray(sos, dtype=np.float64))
        if sos.shape[1] != 6 or not np.isfinite(sos).all() or not np.allclose(sos[:, 3], 1.0):
            raise ValueError(f"sos must be finite, (sections, 6), with a0 = 1; found shape {sos.shape}")
        self.sos = sos
        self.frame_samples = frame_samples
        self.states = 2 * len(sos)
        # The cascade is linear: pushing unit impulses through it, column by column, yields the block matrix exactly.
        size = frame_samples + self.states
        self._matrix = np.empty((size, size))
        for column in range(size):
            frame, state = np.zeros(frame_samples), np.zeros(self.states)
            (frame if column < frame_samples else state)[
                column if column < frame_samples else column - frame_samples
            ] = 1.0
            self._matrix[:, column] = np.concatenate(_recursion(sos, frame, state))

    def start(self, channels: int) -> np.ndarray:
        """State `(states, channels)` of a filter that has seen nothing but zeros."""
        return np.zeros((self.states, channels))

    def step(self, frame: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One frame `(frame_samples, channels)` and the state before it -> filtered frame and the state after it."""
        both = self._matrix @ np.concatenate((frame, state))
        return both[: self.frame_samples], both[self.frame_samples :]

    def frames(self, samples: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Consecutive frames `(k * frame_samples, channels)` and the state before -> filtered samples, state after."""
        out = np.empty(samples.shape)
        for i in range(0, len(samples), self.frame_samples):
            out[i : i + self.frame_samples], state = self.step(samples[i : i + self.frame_samples], state)
        return out, state

    def whole(self, samples: np.ndarray) -> np.ndarray:
        """A recording `(n, channels)` from rest, frame by frame as on the board; a last partial frame is dropped."""
        frames = len(samples) // self.frame_samples
        return self.frames(samples[: frames * self.frame_samples], self.start(samples.shape[1]))[0]


def _recursion(sos: np.ndarray, samples: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The definition: direct form II transposed, sample by sample, section by section."""
    state = state.copy()
    out = samples.copy()
    for section, (b0, b1, b2, _, a1, a2) in enumerate(sos):
        s0, s1 = state[2 * section : 2 * section + 2]
        for i, x in enumerate(out):
            y = b0 * x + s0
            s0, s1 = b1 * x - a1 * y + s1, b2 * x - a2 * y
            out[i] = y
        state[2 * section : 2 * section + 2] = s0, s1
    return out, state
