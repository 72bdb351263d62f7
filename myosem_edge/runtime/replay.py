"""A recording decoded again, hop by hop as a stream would be: to look at, and to compare machines and backends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.runtime.decision import Decision
from myosem_edge.runtime.decoder import Decoder, Model
from myosem_edge.runtime.match import Enrolment

CHUNK_SAMPLES = 16  # does not divide a frame of 5 or 25: the decoder has to keep a rest, as on a wire
FIELDS = ("action", "accepted", "probability")  # what a line cannot do without


def decide(model: Model, samples: np.ndarray, enrolment: Enrolment | None, backend: str) -> Iterator[Decision]:
    """Decisions from samples (n, channels) in the front end's unit; time counts from the first sample."""
    decoder = Decoder(model, enrolment, backend=backend)
    for first in range(0, len(samples), CHUNK_SAMPLES):
        part = samples[first : first + CHUNK_SAMPLES]
        yield from decoder.feed(Chunk(part, first, (first + len(part)) / model.rate_hz))


def to_line(recording: int, decision: Decision) -> dict[str, Any]:
    """One decision of one recording as a JSON object."""
    return {"recording": recording, **asdict(decision)}


def read_lines(text: str, where: object) -> list[dict[str, Any]]:
    """What `to_line` wrote, one object a line.

    Raises:
        InputError: a line is no decision.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
            kinds = {name: type(row[name]) for name in FIELDS}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"is no decision ({error})", where=f"{where}: line {number}") from error
        if kinds["action"] is not str or kinds["accepted"] is not bool or kinds["probability"] not in (int, float):
            raise InputError("is no decision", where=f"{where}: line {number}", expected=", ".join(FIELDS))
        if not 0 <= row["probability"] <= 1:
            raise InputError("is no probability", where=f"{where}: line {number}", found=str(row["probability"])[:40])
        found.append(row)
    return found


@dataclass(frozen=True)
class Agreement:
    """How far two replays of the same samples agree. A decision is equal in its action and in whether it counts."""

    decisions: int
    equal: int
    first_difference: int | None  # from 0
    largest_probability_difference: float  # among equal ones

    @property
    def percent(self) -> float:
        return 100.0 * self.equal / max(self.decisions, 1)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"percent": self.percent}


def compare(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> Agreement:
    """Raises:
    InputError: they are not of the same samples.
    """
    if [line.get("recording") for line in ours] != [line.get("recording") for line in theirs]:
        raise InputError("not the same recording: another number of decisions", found=len(theirs), expected=len(ours))
    same = [(a["action"], a["accepted"]) == (b["action"], b["accepted"]) for a, b in zip(ours, theirs, strict=True)]
    apart = [abs(a["probability"] - b["probability"]) for a, b, equal in zip(ours, theirs, same, strict=True) if equal]
    first = same.index(False) if False in same else None
    return Agreement(len(same), sum(same), first, max(apart, default=0.0))
