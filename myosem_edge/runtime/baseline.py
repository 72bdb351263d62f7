"""What a wearer's own signal looks like, read from the profile: nothing is stored for it that was not there before."""

from __future__ import annotations

import numpy as np

from myosem_edge.runtime.decision import REST
from myosem_edge.runtime.match import Enrolment
from myosem_edge.signal.covariance import symmetric_exponential
from myosem_edge.signal.features import LOG_FLOOR
from myosem_edge.signal.montage import ring_order
from myosem_edge.signal.quality import Baseline


def baseline_of(enrolment: Enrolment) -> Baseline:
    """Rest and contractions of an enrolment as electrodes of the device see them.

    The discriminants' means are of canonical, scaled channels; here they go back to the channels as worn. Where nobody
    showed a rest it is zero: then nothing is too quiet to be trouble. Montages that are too large for a covariance
    have no patterns.
    """
    fit, channels = enrolment.fit, len(enrolment.fit.scale)
    place = ring_order(channels, 0, fit.mirrored)[ring_order(channels, fit.shift, False)]  # canonical -> as worn
    unit = fit.scale[ring_order(channels, fit.shift, False)]
    rest = np.zeros(channels)
    if REST in enrolment.actions:
        row = enrolment.heads["log_features"].means[enrolment.actions.index(REST)]
        rest[place] = np.maximum(np.exp(row[2 * channels :]) - LOG_FLOOR, 0.0) * unit
    contractions = [row for row, action in enumerate(enrolment.actions) if action != REST]
    patterns = np.zeros((0, channels, channels))
    if "log_covariance" in enrolment.heads and contractions:
        canonical = symmetric_exponential(enrolment.heads["log_covariance"].means[contractions], channels)
        patterns = np.empty_like(canonical)
        patterns[:, place[:, None], place] = canonical * unit[:, None] * unit
    return Baseline(rest, patterns)
