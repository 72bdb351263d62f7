"""How soon a decision is right after the muscle begins, and how often it is wrong at rest: whole streams, no gate.

Steady holds flatter an encoder that looks far back. Here every hop of every stream is decided after one calibration,
onsets come from a fixed detector that sees no model, and delay, accuracy in holds and false activations belong to the
same decisions. The gate's share is measured by `scoring.streams`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from myosem_edge.learn.corpus.sessions import FRAME_MS, NO_ACTION, Clip, Session
from myosem_edge.learn.datasets.recording import FREE_STREAM
from myosem_edge.learn.scoring.embed import Embedded, Encode, embed
from myosem_edge.learn.scoring.fewshot import Calibrated, calibrate
from myosem_edge.learn.scoring.metrics import balanced
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.runtime.decision import REST
from myosem_edge.signal.onset import LATEST_ONSET_S, find_onset

BUDGET = "2"
VOTES, OF = 3, 4  # a decision counts once so many of the last ones agree
SEARCH_S = 1.5  # a right decision later than this after the onset is a miss
QUIET_S = 1.0  # of believed rest before an onset, from which the detector takes its threshold


@dataclass
class Tally:
    """Counts of one person under one head."""

    delays_ms: list[float] = field(default_factory=list)
    missed: int = 0
    right: list[float] = field(default_factory=list)  # percent right in holds, a session each
    changes: int = 0  # of the decision within holds
    hold_s: float = 0.0
    rest_events: int = 0
    rest_s: float = 0.0
    free_events: int = 0
    free_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def transitions(
    sessions: Sequence[Session],
    trained: Trained,
    encode: Encode,
    ids: tuple[str, ...],
    prototypes: np.ndarray,
    *,
    budget: str = BUDGET,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, Tally]]:
    """result[head][person], calibrated on the first repetitions of each session, judged on everything after them.

    prototypes (catalogue, embedding). Sessions whose clips know no onset (holds cut out of their streams) are left out.
    """
    found: dict[str, dict[str, Tally]] = {}
    streams = [s for s in sessions if any((clip.early != NO_ACTION).any() for clip in s.clips)]
    for number, session in enumerate(streams):
        progress(number + 1, len(streams))
        fitted = calibrate(session, trained, encode, ids, prototypes, budget)
        rest = np.flatnonzero(fitted.classes == ids.index(REST))
        if not len(rest):
            continue
        held: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        for clip in session.clips:
            decided = _decide(session, clip, fitted, encode)
            for head, decisions in decided.items():
                tally = found.setdefault(head, {}).setdefault(session.person, Tally())
                _count(tally, session, clip, decisions, int(fitted.classes[rest[0]]), int(budget))
                judged = (clip.action != NO_ACTION) & (clip.repetition > int(budget))
                held.setdefault(head, []).append((decisions[judged], clip.action[judged]))
        for head, parts in held.items():
            decisions, truth = (np.concatenate(column) for column in zip(*parts, strict=True))
            found[head][session.person].right.append(100 * balanced(decisions == truth, truth))
    return found


def _decide(session: Session, clip: Clip, fitted: Calibrated, encode: Encode) -> dict[str, np.ndarray]:
    """The action of every hop (frames,) under every head, the stream run from a cold start."""
    fit = fitted.enrolment.fit
    e: Embedded = embed(replace(session, clips=[clip]), encode, scale=fit.scale, shift=fit.shift, everything=True)
    every = np.ones(len(e.action), dtype=bool)
    return {head: fitted.classes[scores.argmax(axis=1)] for head, scores in fitted.posteriors(every, e).items()}


def _count(tally: Tally, session: Session, clip: Clip, decided: np.ndarray, rest: int, calibrated: int) -> None:
    hop_s = FRAME_MS / 1000
    if clip.attributes.get("stream") == FREE_STREAM:
        tally.free_events += activations(decided, rest, np.ones(len(decided), dtype=bool))
        tally.free_s += len(decided) * hop_s
        return
    quiet = clip.action == rest
    tally.rest_events += activations(decided, rest, quiet)
    tally.rest_s += int(quiet.sum()) * hop_s
    held = (clip.action != NO_ACTION) & ~quiet & (clip.repetition > calibrated)
    both = held[1:] & held[:-1] & (clip.execution[1:] == clip.execution[:-1])
    tally.changes += int((both & (decided[1:] != decided[:-1])).sum())
    tally.hold_s += int(held.sum()) * hop_s
    for action, onset_sample in onsets(session, clip, rest, calibrated):
        delay_ms = delay_after(decided == action, onset_sample, session.montage.rate_hz)
        if delay_ms is None:
            tally.missed += 1
        else:
            tally.delays_ms.append(delay_ms)


def activations(decided: np.ndarray, rest: int, where: np.ndarray) -> int:
    """Events: how often, among the frames of `where`, VOTES of the last OF decisions come to be something but rest."""
    active = agreed((decided != rest) & where) & where
    return int((active & ~np.concatenate(([False], active[:-1]))).sum())


def agreed(right: np.ndarray) -> np.ndarray:
    """(n,) whether VOTES of the last OF hops, this one included, are right."""
    return np.convolve(right.astype(int), np.ones(OF, dtype=int))[: len(right)] >= VOTES


def onsets(session: Session, clip: Clip, rest: int, calibrated: int) -> Iterator[tuple[int, int]]:
    """(action, sample) of every EMG onset after the calibrated repetitions that follows believed rest."""
    rate_hz = session.montage.rate_hz
    size = len(clip.x) // len(clip.action)
    for number in np.unique(clip.execution[(clip.execution >= 0) & (clip.action != rest)]):
        begin = int(np.flatnonzero(clip.execution == number)[0])
        action = int(clip.action[begin])
        before = np.flatnonzero(clip.action[:begin] == rest)
        if clip.repetition[begin] <= calibrated or not len(before):
            continue
        last = int(before[-1]) + 1
        first = max(0, last - round(QUIET_S * 1000 / FRAME_MS))
        if last - first < QUIET_S * 500 / FRAME_MS or not (clip.action[first:last] == rest).all():
            continue
        stop = min(len(clip.x), last * size + round((LATEST_ONSET_S + QUIET_S) * rate_hz))
        found = find_onset(np.asarray(clip.x[first * size : stop]), rate_hz, slice(0, (last - first) * size))
        if found is not None:
            yield action, first * size + found


def delay_after(right: np.ndarray, onset: int, rate_hz: float) -> float | None:
    """Milliseconds from the onset sample to the end of the hop at which VOTES of OF are right, None beyond SEARCH_S."""
    ends = (np.arange(len(right)) + 1) * FRAME_MS / 1000
    later = ends - onset / rate_hz
    hit = np.flatnonzero(agreed(right) & (later >= 0) & (later <= SEARCH_S))
    return float(1000 * later[hit[0]]) if len(hit) else None


def pool(people: dict[str, Tally]) -> dict[str, float]:
    """One line of the table: delays in ms over all onsets, percent right in holds over people, events and hours."""
    tallies = list(people.values())
    delays = np.array([d for t in tallies for d in t.delays_ms])
    count = len(delays) + sum(t.missed for t in tallies)
    percentiles = np.percentile(delays, (10, 50, 90)) if len(delays) else np.full(3, np.nan)

    return {
        "onsets": count,
        "missed_percent": 100 * (count - len(delays)) / max(count, 1),
        "delay_p10_ms": float(percentiles[0]),
        "delay_p50_ms": float(percentiles[1]),
        "delay_p90_ms": float(percentiles[2]),
        "right_in_holds_percent": float(np.mean([np.mean(t.right) for t in tallies])),
        "changes_per_s": sum(t.changes for t in tallies) / max(sum(t.hold_s for t in tallies), 1e-9),
        "rest_events": float(sum(t.rest_events for t in tallies)),
        "free_events": float(sum(t.free_events for t in tallies)),
        "rest_h": sum(t.rest_s for t in tallies) / 3600,
        "free_h": sum(t.free_s for t in tallies) / 3600,
    }
