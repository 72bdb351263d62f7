"""Was that repetition good enough to learn from? Judged on the raw samples of the hold, before anything is fitted.

The thresholds were set on 2347 cued contractions and as many rests of 28 people wearing a Myo armband. Each refuses
what is plainly wrong and lets 97 % of those contractions pass, because a wearer who is told to repeat for nothing stops
listening. What is refused there as hum is hum: three people, at a median of 12 counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import FrontEndInfo
from myosem_edge.runtime.decision import REST

DETREND_S = 0.05  # the mean of so short a piece carries offset and movement of the cable, hardly any EMG
STEADY_S = 0.25  # the window of myoelectric control: what it cannot see is not unsteady
MAX_LOST_SHARE = 0.02  # counted by the device; filled with silence, more of it would be learnt as part of the action
MAX_MISSING_SHARE = 0.10  # by the clock alone, which cannot tell less: rates are nominal and links deliver in bursts
FLAT_S = (
    0.5  # longest run of one value; resting electrodes of an 8-bit armband stay below 0.06 s, filled holes below 0.1 s
)
FULL_SHARE = 0.99  # of full scale: the last step of an 8-bit converter
MAX_CLIPPED_SHARE = 0.30  # of one channel's samples; 1 % of deliberate contractions clip more
MAX_HUM_SHARE = 0.70  # of one channel's power above HUM_FROM_HZ in one narrow line; EMG alone stays below 0.2
HUM_FROM_HZ, HUM_WIDTH_HZ = 15.0, 1.0
MAINS_HZ = (50.0, 60.0)
MIN_OVER_REST = 1.5  # RMS of the most active channel against rest; 0.5 % of deliberate contractions stay below
QUIET_SHARE = 0.25  # of the median channel at rest: a channel quieter than that would make any ratio large
MIN_LEVEL_SHARE = 0.35  # lowest STEADY_S of a hold against its median: below, the wearer has let go
MAX_REST_RISE = 4.0  # highest STEADY_S of a rest against its median: above, something was moved
SAME_LOG_RMS = 0.20  # RMS over channels of the log ratio; 0.1 % of pairs of different actions are closer


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a repetition: false and empty mean fine. Channels are numbered from 1, as on the device."""

    lost: bool = False
    not_finite: bool = False
    flat: tuple[int, ...] = ()
    clipped: tuple[int, ...] = ()
    hum: tuple[int, ...] = ()
    too_weak: bool = False
    unsteady: bool = False
    looks_like: str | None = None

    @property
    def ok(self) -> bool:
        return not self.faults

    @property
    def faults(self) -> tuple[str, ...]:
        """Names of what is not fine, the one to put right first ahead."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name))

    def sentence(self, action: str, names: Mapping[str, str]) -> str:
        """What the wearer should do about it; `names` are the plain names of actions by id."""
        if self.ok:
            return "Good."
        twin = self.looks_like or ""
        return {
            "lost": "Samples were lost on the way: bring the device nearer or check its cable, and do it again.",
            "not_finite": "The device sent values that are not numbers: switch it off and on, and do it again.",
            "flat": f"{_channels(self.flat)} no signal: press it to clean skin, and do it again.",
            "clipped": "That was too strong for the device: squeeze less, and do it again.",
            "hum": f"{_channels(self.hum)} mostly mains hum: press it to the skin, move away from chargers and cables, "
            "and do it again.",
            "too_weak": "That was hardly more than rest: squeeze a little more, and do it again.",
            "unsteady": "Something moved: stay relaxed until told otherwise, and do it again."
            if action == REST
            else "That was not held to the end: hold it evenly until told to relax, and do it again.",
            "looks_like": f"That looks just like another action. Not this: {names.get(twin, twin)} "
            "Make it clearly different, and do it again.",
        }[self.faults[0]]


def judge(
    action: str,
    samples: np.ndarray,
    device: FrontEndInfo,
    known: Mapping[str, np.ndarray],
    *,
    lost_share: float = 0.0,
    missing_share: float = 0.0,
) -> Verdict:
    """Judge the used part of one hold: samples (n, channels) in the device's unit.

    `known` has the `rms_map` of every action accepted so far. `lost_share` is what the device says it lost, and
    `missing_share` what the clock says, both of the samples that were due.
    """
    lost = lost_share > MAX_LOST_SHARE or missing_share > MAX_MISSING_SHARE
    if len(samples) < STEADY_S * device.rate_hz:
        return Verdict(lost=True)  # nothing more can be said
    if not np.isfinite(samples).all():
        return Verdict(lost=lost, not_finite=True)
    samples = samples.astype(np.float64)
    rms = rms_map(samples, device.rate_hz)
    return Verdict(
        lost=lost,
        flat=_numbers(_longest_run(samples) >= FLAT_S * device.rate_hz),
        clipped=_numbers((np.abs(samples) >= FULL_SHARE * device.full_scale).mean(axis=0) > MAX_CLIPPED_SHARE),
        hum=_numbers(_hum_share(samples, device.rate_hz) > MAX_HUM_SHARE),
        too_weak=action != REST and REST in known and _over_rest(rms, known[REST]) < MIN_OVER_REST,
        unsteady=_unsteady(action, samples, device.rate_hz),
        looks_like=_twin(action, rms, known),
    )


def rms_map(samples: np.ndarray, rate_hz: float) -> np.ndarray:
    """RMS per channel (channels,) of samples (n, channels), without offset and slow movement."""
    return np.sqrt(np.square(_detrended(samples, rate_hz)).mean(axis=0))


def _detrended(samples: np.ndarray, rate_hz: float) -> np.ndarray:
    size = max(2, round(DETREND_S * rate_hz))
    count = len(samples) // size
    pieces = samples[: count * size].reshape(count, size, -1).astype(np.float64)
    return (pieces - pieces.mean(axis=1, keepdims=True)).reshape(count * size, -1)


def _longest_run(samples: np.ndarray) -> np.ndarray:
    """Length (channels,) of the longest stretch of one repeated value."""
    longest = np.zeros(samples.shape[1], dtype=int)
    run = np.ones(samples.shape[1], dtype=int)
    for same in samples[1:] == samples[:-1]:
        run = np.where(same, run + 1, 1)
        np.maximum(longest, run, out=longest)
    return longest


def _hum_share(samples: np.ndarray, rate_hz: float) -> np.ndarray:
    """Largest share (channels,) of the power above HUM_FROM_HZ that lies within HUM_WIDTH_HZ of a mains frequency."""
    power = np.square(np.abs(np.fft.rfft(samples - samples.mean(axis=0), axis=0)))
    frequency = np.fft.rfftfreq(len(samples), 1.0 / rate_hz)
    total = np.maximum(power[frequency > HUM_FROM_HZ].sum(axis=0), np.finfo(np.float64).tiny)
    lines = [power[np.abs(frequency - mains) <= HUM_WIDTH_HZ].sum(axis=0) for mains in MAINS_HZ]
    share: np.ndarray = np.max(lines, axis=0) / total
    return share


def _over_rest(rms: np.ndarray, rest: np.ndarray) -> float:
    floor = max(QUIET_SHARE * float(np.median(rest)), float(np.finfo(np.float64).tiny))
    return float((rms / np.maximum(rest, floor)).max())


def _unsteady(action: str, samples: np.ndarray, rate_hz: float) -> bool:
    clean = _detrended(samples, rate_hz)
    size = round(STEADY_S * rate_hz)
    count = len(clean) // size
    if count < 2:
        return False
    level = np.sqrt(np.square(clean[: count * size]).reshape(count, -1).mean(axis=1))
    typical = float(np.median(level))
    if action == REST:
        return bool(level.max() > MAX_REST_RISE * typical)
    return bool(level.min() < MIN_LEVEL_SHARE * typical)


def _twin(action: str, rms: np.ndarray, known: Mapping[str, np.ndarray]) -> str | None:
    """The other action whose pattern and force are the same, unless this action's own earlier repetition is nearer."""
    if action == REST:
        return None
    distance = {name: _log_distance(rms, other) for name, other in known.items() if name != REST}
    own = distance.pop(action, np.inf)
    if not distance:
        return None
    nearest = min(distance, key=distance.__getitem__)
    return nearest if distance[nearest] < min(SAME_LOG_RMS, own) else None


def _log_distance(a: np.ndarray, b: np.ndarray) -> float:
    tiny = np.finfo(np.float64).tiny
    return float(np.sqrt(np.square(np.log(np.maximum(a, tiny) / np.maximum(b, tiny))).mean()))


def _numbers(flags: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) + 1 for i in np.flatnonzero(flags))


def _channels(numbers: tuple[int, ...]) -> str:
    listed = ", ".join(str(number) for number in numbers)
    return f"Electrode {listed} gives" if len(numbers) == 1 else f"Electrodes {listed} give"
