"""EMG in a log, for whoever asked for it: chunks in pieces that fit into one write to a pipe, exact to the last bit."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import Chunk

EMG_BYTES = 2880  # of samples in one event; a third more as base64, and what stands around it

Facts = dict[str, Any]


def emg_events(chunk: Chunk) -> Iterator[Facts]:
    """A chunk in pieces that fit; `more` says that another one follows."""
    samples = np.ascontiguousarray(chunk.samples, np.float32)
    size = max(1, EMG_BYTES // (4 * samples.shape[1]))
    for first in range(0, len(samples), size):
        piece = samples[first : first + size]
        yield {
            "first_sample": chunk.first_sample,
            "arrival_s": chunk.arrival_s,
            "lost": chunk.lost,
            "channels": piece.shape[1],
            "samples": base64.b64encode(piece.tobytes()).decode(),
            "more": first + size < len(samples),
        }


def emg_from_events(pieces: Sequence[Facts]) -> Chunk:
    """The chunk again. Raises KeyError, TypeError, ValueError for what `emg_events` did not make."""
    data = b"".join(base64.b64decode(piece["samples"], validate=True) for piece in pieces)
    last = pieces[-1]
    samples = np.frombuffer(data, np.float32).reshape(-1, last["channels"])
    return Chunk(samples, last["first_sample"], last["arrival_s"], last["lost"])
