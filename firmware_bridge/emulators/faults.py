"""What goes wrong between a muscle and a host: one dial for every emulated front end. The same seed does the same."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass

import numpy as np

TEXT = b"\r\nBrown-out, restarting$$$\r\n"  # what a board prints that has no business in a stream
GARBAGE_BYTES = 16


@dataclass(frozen=True)
class Faults:
    """Probabilities are per frame that the device sends. Channels count from 0.

    On the wire: a frame is lost, sent twice, has one byte changed, misses one byte, comes after up to 16 random bytes,
    or after a line of text; frames arrive late, or held back and together; nothing arrives at all; the device's
    counter does not move. In the signal, in this order: the ring is turned, white noise stands for the EMG, a window
    is played for ever, mains hum and a motion artefact are added, channels read zero or their largest value.
    """

    drop_probability: float = 0.0
    duplicate_probability: float = 0.0
    corrupt_probability: float = 0.0
    cut_probability: float = 0.0
    garbage_probability: float = 0.0
    text_probability: float = 0.0
    delay_ms: float = 0.0
    burst_ms: float = 0.0  # FTDI chips: 16
    silent: bool = False
    stuck_counter: bool = False
    rotate: int = 0  # what channel 0 saw is on this channel
    noise: float = 0.0  # RMS, in the source's unit
    repeat_ms: float = 0.0
    hum_hz: float = 0.0
    hum: float = 0.0  # amplitude, in the source's unit
    artefact_hz: float = 0.0
    artefact: float = 0.0  # amplitude, in the source's unit
    flat: bool = False
    flat_channels: tuple[int, ...] = ()
    railing_channels: tuple[int, ...] = ()
    seed: int = 0


class Distortion:
    """What `faults` do to samples; remembers where in time it is."""

    def __init__(self, rate_hz: float, full_scale: float) -> None:
        self._rate_hz, self._full_scale = rate_hz, full_scale
        self._at = 0
        self._noise: np.random.Generator | None = None
        self._window: np.ndarray | None = None
        self._replayed = 0

    def apply(self, samples: np.ndarray, faults: Faults) -> np.ndarray:
        """Samples `(n, channels)` as the faulty electrodes and amplifiers would hand them on; same shape."""
        n, channels = samples.shape
        index = np.arange(self._at, self._at + n)
        self._at += n
        out = np.roll(samples, faults.rotate, axis=1) if faults.rotate else samples.copy()
        if faults.noise:
            if self._noise is None:
                self._noise = np.random.default_rng(faults.seed)
            out = self._noise.normal(0.0, faults.noise, out.shape).astype(np.float32)
        out = self._repeated(out, faults)
        for hz, amplitude in ((faults.hum_hz, faults.hum), (faults.artefact_hz, faults.artefact)):
            if hz and amplitude:
                out += (amplitude * np.sin(2 * np.pi * hz * index / self._rate_hz)).astype(np.float32)[:, None]
        if faults.flat:
            out[:] = 0.0
        out[:, [c for c in faults.flat_channels if c < channels]] = 0.0
        out[:, [c for c in faults.railing_channels if c < channels]] = self._full_scale
        return out

    def _repeated(self, samples: np.ndarray, faults: Faults) -> np.ndarray:
        length = round(faults.repeat_ms / 1000 * self._rate_hz)
        if not length:
            self._window, self._replayed = None, 0
            return samples
        held = samples[:0] if self._window is None else self._window
        recorded = min(len(samples), max(0, length - len(held)))
        self._window = np.concatenate([held, samples[:recorded]])
        again = (self._replayed + np.arange(len(samples) - recorded)) % len(self._window)
        self._replayed += len(again)
        return np.concatenate([samples[:recorded], self._window[again]])


class Wire:
    """Carries frames from a device to the host as `faults` would; `faulty` of the `frames` did not come as sent."""

    def __init__(self) -> None:
        self.frames = self.faulty = 0
        self._random: random.Random | None = None
        self._under_way: deque[tuple[float, bytes]] = deque()  # (due, bytes)
        self._burst_due_s = 0.0

    def put(self, frame: bytes, now_s: float, faults: Faults) -> None:
        if self._random is None:
            self._random = random.Random(faults.seed)
        chance = self._random
        self.frames += 1
        if _happens(chance, faults.drop_probability):
            self.faulty += 1
            return
        before = b""
        if _happens(chance, faults.garbage_probability):
            before = chance.randbytes(chance.randint(1, GARBAGE_BYTES))
        before += TEXT if _happens(chance, faults.text_probability) else b""
        sent = bytearray(frame)
        if _happens(chance, faults.corrupt_probability):
            sent[chance.randrange(len(sent))] ^= chance.randint(1, 255)
        if _happens(chance, faults.cut_probability):
            del sent[chance.randrange(len(sent))]
        copies = 2 if _happens(chance, faults.duplicate_probability) else 1
        arriving = before + bytes(sent) * copies
        self.faulty += arriving != frame
        self._under_way.append((now_s + faults.delay_ms / 1000, arriving))

    def take(self, now_s: float, faults: Faults) -> bytes:
        """What has arrived by now."""
        if faults.burst_ms:
            if now_s < self._burst_due_s:
                return b""
            if self._under_way:
                self._burst_due_s = now_s + faults.burst_ms / 1000
        arrived = bytearray()
        while self._under_way and self._under_way[0][0] <= now_s:
            arrived += self._under_way.popleft()[1]
        return bytes(arrived)

    def clear(self) -> None:
        self._under_way.clear()


def _happens(chance: random.Random, probability: float) -> bool:
    return probability > 0.0 and chance.random() < probability
