"""When a muscle starts: a fixed detector that never sees the model, so that delays can be measured from it.

50 ms RMS envelope of the filtered signal, mean over channels; the onset is where it stays for 50 ms above the mean of
the preceding rest plus five standard deviations (Hodges and Bui 1996 compare such detectors).
"""

from __future__ import annotations

import numpy as np

ENVELOPE_S = 0.05
HOLD_S = 0.05
DEVIATIONS = 5.0
LATEST_ONSET_S = 1.5  # after a cue: whoever begins later was not following it


def envelope(filtered: np.ndarray, rate_hz: float) -> np.ndarray:
    """Causal 50 ms RMS of filtered samples (n, channels), mean over channels -> (n,)."""
    n = round(ENVELOPE_S * rate_hz)
    power = np.cumsum(np.concatenate((np.zeros((n, filtered.shape[1])), np.square(filtered))), axis=0)
    return np.sqrt((power[n:] - power[:-n]) / n).mean(axis=1)


def find_onset(filtered: np.ndarray, rate_hz: float, rest: slice) -> int | None:
    """Sample at which the contraction begins, searched after `rest`, or None if it never does."""
    line = envelope(filtered, rate_hz)
    quiet = line[rest]
    above = line > quiet.mean() + DEVIATIONS * quiet.std()
    above[: rest.stop] = False
    hold = round(HOLD_S * rate_hz)
    run = np.convolve(above, np.ones(hold), "valid") == hold
    return int(run.argmax()) if run.any() else None
