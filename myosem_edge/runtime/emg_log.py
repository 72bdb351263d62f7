"""EMG in a log, for whoever asked for it: chunks in pieces that fit into one write to a pipe, exact to the last bit.

Every piece has a checksum: most bytes of a sample could change without any decision being another, because the encoder
rounds to eight bits.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import Chunk

EMG_BYTES = 2880  # of samples in one event; a third more as base64, and what stands around it
SAMPLE = np.dtype("<f4")
CHECKED = ("first_sample", "arrival_s", "lost", "channels", "samples", "more")

Facts = dict[str, Any]


def emg_events(chunk: Chunk) -> Iterator[Facts]:
    """A chunk in pieces that fit, without its lead-off bits; `more` says that another one follows."""
    samples = np.ascontiguousarray(chunk.samples, SAMPLE)
    size = max(1, EMG_BYTES // (4 * samples.shape[1]))
    for first in range(0, max(1, len(samples)), size):  # a chunk without samples may still tell of lost ones
        piece = samples[first : first + size]
        facts = {
            "first_sample": chunk.first_sample,
            "arrival_s": chunk.arrival_s,
            "lost": chunk.lost,
            "channels": samples.shape[1],
            "samples": base64.b64encode(piece.tobytes()).decode(),
            "more": first + size < len(samples),
        }
        yield {**facts, "crc32": emg_crc32(facts)}


def emg_crc32(piece: Mapping[str, Any]) -> int:
    """Of everything else in a piece, as JSON has it. Raises KeyError where something is missing."""
    return zlib.crc32(json.dumps([piece[name] for name in CHECKED]).encode())


def emg_from_events(pieces: Sequence[Facts]) -> Chunk:
    """The chunk again, for a decoder. Raises KeyError, TypeError, ValueError for what `emg_events` did not make."""
    data = b"".join(base64.b64decode(piece["samples"], validate=True) for piece in pieces)
    last = pieces[-1]
    samples = np.frombuffer(data, SAMPLE).reshape(-1, last["channels"])
    return Chunk(samples, last["first_sample"], last["arrival_s"], last["lost"])
