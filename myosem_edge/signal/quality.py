"""Is every electrode still one? Eight kinds of trouble per channel, frame by frame, ahead of any model.

Cheap, causal, and the same in whatever pieces a stream arrives. What a channel does now is `suspected`; it is `bad`
once that has lasted, and good again after it has been over for longer. Slow and fast are told apart by the mean of
each 25 ms frame: what is left within frames is EMG, hum and noise; what the means do is movement of electrode or cable.

Whatever is no louder than the rest that the wearer showed at calibration is never hum, artefact or noise: the decoder
has learnt it as rest, and it moves nothing. Without a baseline nothing is too quiet, and noise cannot be told.

The numbers were chosen on the development people of `docs/results/README.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

FRAME_S = 0.025  # as long as a hop of the decoder
WINDOW_FRAMES = 10  # 250 ms, the window of myoelectric control: levels and artefacts
MAINS_HZ = (50.0, 60.0)
LINE_S, LINE_SAMPLES = 0.1, 20  # five and six whole periods; never so few samples that a line fills half the spectrum
USABLE = 1e9  # larger numbers are no voltages, and their squares are trouble

RAILING_SHARE = 0.99  # of full scale: a signed byte ends at 127 of 128
RAILING_FRAMES = 1  # 25 ms at full scale throughout: strong contractions of an 8-bit armband clip for 15 ms
FLAT_FRAMES = 4  # 100 ms of one value: resting electrodes of an 8-bit armband stay below 60
OFF_SHARE = 0.1  # of the wearer's own rest; people who relax further than at calibration stay above 0.16
LOUD = 1.2  # of the wearer's own rest: below, the decoder has learnt it as rest
HUM_SHARE = 0.65  # of the power within frames in one mains line; EMG passes 0.6 on two channels in 0.1 % of frames
ARTEFACT_SHARE = 0.7  # of the power slower than about 20 Hz; EMG passes 0.5 on two channels in 0.1 % of frames
# Log likelihood ratio a sample, of the newest frames: rather the same noise everywhere than anything calibrated. Of 4
# frames (100 ms) it may not be so at all; 2 frames have to be clearer.
NOISE_EVIDENCE = {4: 0.0, 2: -0.3, 1: -0.5}
ALIKE_SHARE = 0.85  # of the power within a frame that all channels share; EMG passes 0.77 in 0.1 % of frames
MOST_ALIKE = 0.5  # of the power of a calibrated contraction: electrodes against one reference all see its muscle
REPEAT_S = 1.0  # the longest window that a stuck device is expected to play again
REPEAT_FRAMES = 4  # 100 ms equal in every channel to what was before: chance cannot
BAD_AFTER_S = 0.25  # a jolt or a burst of radio is over by then; until then only single decisions are rejected
GOOD_AFTER_S = 0.5  # a loose contact is back for less than this
ROUND = 0.1  # of a sphere in each pattern: a few seconds of calibration do not know the directions without signal

NOT_A_NUMBER, FLAT, OFF, RAILING, REPEATING, HUM, ALIKE, ARTEFACT, NOISE = range(9)
# By number, each with a page in docs/reasons.
KINDS = (
    *("not-a-number", "flat", "electrode-off", "railing", "repeating"),
    *("mains-hum", "all-alike", "motion-artefact", "noise"),
)


@dataclass(frozen=True)
class Baseline:
    """What a wearer's own signal looks like, channels as worn, in the front end's unit.

    rest (channels,): RMS at rest. patterns (k, channels, channels): covariance of each calibrated contraction.
    """

    rest: np.ndarray
    patterns: np.ndarray


class Quality:
    """`add` samples; then `suspected` and `bad` (kinds, channels) bool say what is wrong up to the last whole frame."""

    def __init__(self, rate_hz: float, channels: int, full_scale: float, baseline: Baseline | None = None) -> None:
        size = max(2, round(FRAME_S * rate_hz))
        self.suspected = np.zeros((len(KINDS), channels), bool)
        self.bad = np.zeros((len(KINDS), channels), bool)
        self._size, self._rail = size, RAILING_SHARE * full_scale
        self._rest = np.zeros(channels) if baseline is None else baseline.rest
        self._pending = np.zeros((0, channels))
        self._off = np.zeros(channels, bool)
        self._seconds = np.zeros((len(KINDS), channels))  # of suspicion, running down more slowly than up
        self._frames = 0
        self._last = np.full(channels, np.nan)
        self._flat = np.zeros(channels, int)  # newest frames in a row
        self._railing = np.zeros(channels, int)
        self._means = np.zeros((WINDOW_FRAMES, channels))
        self._energy = np.zeros((WINDOW_FRAMES, channels))
        self._lines = _lines(rate_hz, size)
        self._within = np.zeros((self._lines.shape[1], channels))
        self._keys = np.zeros(round(REPEAT_S * rate_hz) + size)
        self._key = np.random.default_rng(0).normal(size=channels)
        self._again = np.zeros(len(self._keys) - size, int)
        self._patterns = None if baseline is None or not len(baseline.patterns) else _Patterns(baseline.patterns)
        self._separate = self._patterns is not None and self._patterns.alike < MOST_ALIKE

    def follow(self, full_scale: float) -> None:
        """The device has another full scale than before."""
        self._rail = RAILING_SHARE * full_scale

    def add(self, samples: np.ndarray, lead_off: int = 0) -> None:
        """samples (n, channels) in the front end's unit, any numbers; `lead_off` has one bit per channel."""
        self._off = (lead_off >> np.arange(len(self._off))) & 1 == 1
        line = np.concatenate((self._pending, samples))
        whole = len(line) // self._size * self._size
        for first in range(0, whole, self._size):
            self._frame(line[first : first + self._size])
        self._pending = line[whole:]

    def _frame(self, frame: np.ndarray) -> None:
        size, now = self._size, self.suspected
        usable = np.abs(frame) < USABLE
        now[NOT_A_NUMBER] = ~usable.all(axis=0)
        if now[NOT_A_NUMBER].any():
            frame = np.where(usable, frame, 0.0)
        self._frames += 1
        now[FLAT] = self._lasting(self._flat, (frame == frame[0]).all(axis=0) & (frame[0] == self._last), FLAT_FRAMES)
        now[RAILING] = self._lasting(self._railing, (np.abs(frame) >= self._rail).all(axis=0), RAILING_FRAMES)
        self._last = frame[-1]

        mean = np.add.reduce(frame) / size
        within = frame - mean
        self._means = np.concatenate((self._means[1:], mean[None]))
        self._energy = np.concatenate((self._energy[1:], np.add.reduce(within * within)[None]))
        self._within = np.concatenate((self._within[size:], within))
        fast = np.add.reduce(self._energy)
        level = np.sqrt(fast / (WINDOW_FRAMES * size))
        filled = self._frames >= WINDOW_FRAMES
        now[OFF] = self._off | (filled & (level < OFF_SHARE * self._rest))
        now[HUM] = self._hum() > HUM_SHARE
        slow = size * np.square(self._means - np.add.reduce(self._means) / WINDOW_FRAMES).sum(axis=0)
        now[ARTEFACT] = filled & (slow > ARTEFACT_SHARE * (slow + fast))
        now[REPEATING] = self._repeats(frame) & ~now[FLAT].all()
        now[ALIKE] = self._separate and _alike(within) > ALIKE_SHARE
        now[NOISE] = self._is_noise(within)
        lasting = now.copy()
        quiet = (LOUD * self._rest) ** 2 * WINDOW_FRAMES * size
        lasting[HUM] &= fast > quiet
        lasting[ARTEFACT] &= slow + fast > quiet
        lasting[ALIKE : NOISE + 1 : 2] &= np.add.reduce(fast) > np.add.reduce(quiet)
        self._judge(lasting)

    def _judge(self, lasting: np.ndarray) -> None:
        hop_s = FRAME_S
        change = np.where(lasting, hop_s, -hop_s * BAD_AFTER_S / GOOD_AFTER_S)
        self._seconds = np.minimum(np.maximum(self._seconds + change, 0.0), BAD_AFTER_S)
        self._seconds[NOT_A_NUMBER, self.suspected[NOT_A_NUMBER]] = BAD_AFTER_S
        self.bad = (self._seconds >= BAD_AFTER_S - 1e-9) | (self.bad & (self._seconds > 1e-9))

    @staticmethod
    def _lasting(count: np.ndarray, now: np.ndarray, frames: int) -> np.ndarray:
        count += 1
        count *= now
        return count >= frames

    def _hum(self) -> np.ndarray:
        parts = np.square(self._lines @ self._within)
        power = np.add.reduce(self._energy[-(len(self._within) // self._size) :])
        return np.maximum(parts[0] + parts[1], parts[2] + parts[3]) / np.maximum(power, np.finfo(float).tiny)

    def _repeats(self, frame: np.ndarray) -> bool:
        keys = self._keys = np.concatenate((self._keys[self._size :], frame @ self._key))
        same = (sliding_window_view(keys[:-1], self._size)[: len(self._again)] == keys[-self._size :]).all(axis=1)
        self._again = (self._again + 1) * same
        return bool(self._again.max() >= REPEAT_FRAMES)

    def _is_noise(self, within: np.ndarray) -> bool:
        return self._patterns is not None and self._patterns.speak_against(within)


class _Patterns:
    """How much rather the newest frames come from one of the patterns than from independent, equal noise.

    Only the direction of each sample counts, not its size: angular central Gaussian likelihoods (Tyler 1987), so
    strength of contraction and loudness of noise do not matter.
    """

    def __init__(self, patterns: np.ndarray) -> None:
        count, channels, _ = patterns.shape
        power = np.trace(patterns, axis1=1, axis2=2)
        rounded = (1.0 - ROUND) * patterns + ROUND * (power / channels)[:, None, None] * np.eye(channels)
        roots = np.linalg.inv(np.linalg.cholesky(rounded))  # (k, c, c): whitened = root @ sample
        self.alike = float((patterns.sum(axis=(1, 2)) / (channels * power)).max())
        self._roots = roots.transpose(2, 0, 1).reshape(channels, count * channels)
        self._half_log_volume = 0.5 * np.linalg.slogdet(rounded)[1]
        self._newest = np.zeros((max(NOISE_EVIDENCE), count))

    def speak_against(self, within: np.ndarray) -> bool:
        """After one more frame (n, channels)."""
        n, channels = within.shape
        white = within @ self._roots
        squares = np.add.reduce(np.square(white).reshape(n, -1, channels), axis=2)
        tiny = np.finfo(float).tiny
        ratio = np.maximum(np.add.reduce(within * within, axis=1), tiny)[:, None] / np.maximum(squares, tiny)
        new = np.add.reduce(0.5 * channels * np.log(ratio)) / n - self._half_log_volume
        self._newest = np.concatenate((self._newest[1:], new[None]))
        return any(
            np.maximum.reduce(np.add.reduce(self._newest[-frames:])) < frames * least
            for frames, least in NOISE_EVIDENCE.items()
        )


def _alike(within: np.ndarray) -> float:
    """Share of the power of (n, channels) that is the same on every channel."""
    common = np.add.reduce(within, axis=1)
    return float(common @ common / max(within.shape[1] * np.vdot(within, within), np.finfo(float).tiny))


def _lines(rate_hz: float, size: int) -> np.ndarray:
    """(4, samples): orthonormal pairs that span what a tone of each mains frequency leaves within frames."""
    frames = -(-max(round(LINE_S * rate_hz), LINE_SAMPLES) // size)
    angle = 2 * np.pi * np.outer(MAINS_HZ, np.arange(frames * size)) / rate_hz
    tones = np.stack((np.cos(angle), np.sin(angle)), axis=1)  # (lines, 2, samples)
    pieces = tones.reshape(len(MAINS_HZ), 2, frames, size)
    within = (pieces - pieces.mean(axis=3, keepdims=True)).reshape(len(MAINS_HZ), 2, -1)
    return np.concatenate([np.linalg.qr(pair.T)[0].T for pair in within])
