"""A recording at a lower rate, on the training side: a linear-phase filter against aliasing, then fewer samples."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from myosem_edge.errors import InputError
from myosem_edge.learn.datasets.recording import Recording


def resample(recording: Recording, rate_hz: float) -> Recording:
    """The recording at `rate_hz`; labels are those of the nearest earlier sample.

    scipy's polyphase filter (Kaiser window, half-length ten samples of the lower rate) takes what lies above the new
    Nyquist rate away before samples are left out.

    Raises:
        InputError: a rate above the recorded one: nothing would be in the added band.
    """
    montage = recording.montage
    if rate_hz == montage.rate_hz:
        return recording
    require_rate(recording.dataset, montage.rate_hz, rate_hz, envelope=montage.envelope)
    from scipy.signal import resample_poly

    ratio = Fraction(rate_hz / montage.rate_hz).limit_denominator(10_000)
    emg = resample_poly(recording.emg, ratio.numerator, ratio.denominator, axis=0).astype(np.float32)
    if montage.envelope:
        emg = np.maximum(emg, 0.0)  # the filter may ring below the smallest amplitude there is
    emg[:, ~recording.mask] = 0.0
    at = np.minimum((np.arange(len(emg)) / float(ratio)).astype(np.int64), len(recording.emg) - 1)
    return replace(
        recording,
        montage=replace(montage, rate_hz=float(rate_hz)),
        emg=emg,
        label=recording.label[at],
        repetition=recording.repetition[at],
        usable=recording.usable[at],
    )


def require_rate(dataset: str, recorded_hz: float, wanted_hz: float, *, envelope: bool) -> None:
    """Raises:
    InputError: `wanted_hz` is above what was recorded.
    """
    if wanted_hz > recorded_hz:
        kind = "envelopes" if envelope else "EMG"
        raise InputError(
            f"{kind} of {dataset} cannot be had at a higher rate than recorded",
            found=f"{wanted_hz:g} Hz",
            expected=f"at most {recorded_hz:g} Hz",
        )
