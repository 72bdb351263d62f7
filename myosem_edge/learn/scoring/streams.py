"""Whole streams through decoder, shaper and gate on a virtual clock: delay from EMG onset, wrong grips, false alarms.

Steady holds flatter an encoder; a wearer lives in transitions. Every cue after the calibrated repetition counts, with
the gate included and at one operating point. The LDA row replaces the calibrated head by a log-feature discriminant
fitted on the same repetition, everything behind it unchanged.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from myosem_edge.calibration.enrol import NONE, Labelled, encode_both, enrol_encoded, fit_electrodes
from myosem_edge.calibration.heads import fit_lda
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.firmware_bridge.frontends.myo import Myo
from myosem_edge.learn.corpus.cues import believe_cues
from myosem_edge.learn.datasets.recording import Recording
from myosem_edge.runtime.baseline import baseline_of
from myosem_edge.runtime.decision import REST, Decision
from myosem_edge.runtime.decoder import Decoder, Model
from myosem_edge.runtime.discriminant import Lda
from myosem_edge.runtime.encoder import Encoded
from myosem_edge.runtime.gate import Command, Inputs, State, Wearer, step
from myosem_edge.runtime.grips import GripMap
from myosem_edge.runtime.health import SampleHealth
from myosem_edge.runtime.limits import Limits
from myosem_edge.runtime.match import HEADS, Enrolment
from myosem_edge.runtime.shaper import ShaperState, shape
from myosem_edge.signal.onset import LATEST_ONSET_S, find_onset

REACTION_S, RELEASE_S = 0.75, 0.1  # of the calibrated hold that are not used, as on the board
HOLD_S = 3.0
START_S = 1.5  # of a recording, while filters settle and the gate is armed
AFTERGLOW_S = 1.0  # after a cue people are still letting go: neither the action nor rest
SEARCH_S = 1.5  # a right command later than this after the onset is a miss
LEAD_S = 1.0


@dataclass
class StreamResult:
    """What one person's session amounted to. Times in seconds from EMG onset; None = not within SEARCH_S."""

    delays_s: list[float | None] = field(default_factory=list)
    right_hops: list[float] = field(default_factory=list)  # share of decisions in the steady part of each cue
    wrong_grips: int = 0  # other grips commanded during a cue
    cues: int = 0
    rest_s: float = 0.0
    rest_events: int = 0  # grips newly commanded while at rest
    believed_s: float = 0.0  # of rest where no muscle has begun or still lets go, whatever the cue says
    believed_events: int = 0
    free_s: float = 0.0
    free_events: int = 0  # in the stream of small free movements, where nothing is asked for


def calibration_data(recordings: Sequence[Recording], names: dict[int, str], repetition: int = 1) -> Labelled:
    """One hold of each action, cut as a prompted session cuts it: each with the stream before it, joined."""
    actions = (REST, *dict.fromkeys(names[r.facts["gesture"]] for r in recordings if r.facts["gesture"] != 0))
    parts, labels = [], []
    size = 5
    rest_taken = False
    for recording in recordings:
        rate_hz = recording.montage.rate_hz
        rows = np.flatnonzero(recording.repetition == repetition)
        if recording.facts["gesture"] == 0 or not len(rows):
            continue
        begin, end = int(rows[0]), min(int(rows[-1]) + 1, int(rows[0]) + round(HOLD_S * rate_hz))
        first = max(0, begin - round(2.5 * rate_hz))
        stretch = recording.emg[first : first + (end - first) // size * size]
        label = np.full(len(stretch) // size, NONE)
        a, b = begin + round(REACTION_S * rate_hz), end - round(RELEASE_S * rate_hz)
        label[(a - first) // size : (b - first) // size] = actions.index(names[recording.facts["gesture"]])
        if not rest_taken:  # one rest, from the first recording, as one prompt would give
            quiet = (begin - first) // size - round(0.25 * rate_hz) // size
            label[max(0, quiet - round(2.0 * rate_hz) // size) : quiet] = 0
            rest_taken = True
        parts.append(stretch)
        labels.append(label)
    hops = np.concatenate(labels)
    return Labelled(np.concatenate(parts), hops, np.full(len(hops), repetition), actions)


class LdaDecoder(Decoder):
    """The peer: the same stream and the same gate, decided by the log-feature discriminant alone."""

    def __init__(self, model: Model, enrolment: Enrolment, lda: Lda, *, backend: str = "onnxruntime") -> None:
        super().__init__(model, enrolment, backend=backend)
        head = self.matcher
        rows = head.gallery.rows(enrolment.actions)
        constants = model.operating_point.match

        def match(encoded: Encoded) -> tuple[np.ndarray, np.ndarray]:
            logs = lda.log_posteriors(encoded.log_features)
            scaled = logs / constants.head_temperature * len(HEADS)  # one discriminant instead of several summed
            scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True))
            p = np.zeros((len(logs), len(head.gallery.ids)))
            p[:, rows] = scaled / scaled.sum(axis=1, keepdims=True)
            return p, np.ones_like(p)

        head.match = match  # type: ignore[method-assign]


def play_person(
    recordings: Sequence[Recording],
    names: dict[int, str],
    model: Model,
    grips: GripMap,
    *,
    peer: bool = False,
    backend: str = "onnxruntime",
    repetition: int = 1,
    checks: bool = True,
) -> StreamResult:
    """Calibrate on one repetition of each action, then play every stream from rest.

    `checks` False leaves out the signal-quality checks ahead of the gate, to see what they cost.
    """
    data = calibration_data(recordings, names, repetition)
    fit, clarity = fit_electrodes(model, data, recordings[0].mirrored)
    encoded = encode_both(model, data, fit, backend)
    enrolment, _ = enrol_encoded(encoded, data, fit, clarity)
    shown = np.flatnonzero(data.action[: len(encoded[0])] != NONE)
    lda = fit_lda(encoded[0].log_features[shown], data.action[shown], len(data.actions))
    result = StreamResult()
    for recording in recordings:
        decoder = (
            LdaDecoder(model, enrolment, lda, backend=backend) if peer else Decoder(model, enrolment, backend=backend)
        )
        health = SampleHealth(Myo.info, baseline_of(enrolment), checks=checks)
        hops = list(_drive(recording, decoder, grips, health))
        if recording.facts["gesture"] == 0:
            result.free_s += len(recording.emg) / recording.montage.rate_hz
            result.free_events += len(_events(hops))
        else:
            _score(recording, names, hops, grips, model, result, repetition)
    return result


Hop = tuple[float, Decision, Command]


def _drive(recording: Recording, decoder: Decoder, grips: GripMap, health: SampleHealth) -> Iterator[Hop]:
    """One recording through quality checks, decoder, shaper and gate; armed as soon as the gate lets itself be."""
    limits, whitelist = Limits(), grips.grips()
    state, shaper, armed = State(), ShaperState(), False
    rate_hz, size = recording.montage.rate_hz, decoder.encoder.frame_samples
    for first in range(0, len(recording.emg) - size + 1, size):
        now_s = 1000.0 + (first + size) / rate_hz
        chunk = Chunk(recording.emg[first : first + size], first, now_s)
        health.add(chunk)
        for decision in decoder.feed(chunk):
            vetted = health.vetted(decision, limits.bad_channels)
            shaper, request = shape(shaper, vetted, grips, limits, now_s, state.command)
            inputs = Inputs(now_s, 0.0, 0.0, health.bad_channels(), request, Wearer(arm=not armed))
            state, command, _ = step(state, inputs, limits, whitelist)
            armed = state.armed
            yield now_s - 1000.0, decision, command


def _events(hops: Sequence[Hop]) -> list[tuple[float, str]]:
    """New closing grips: (time, grip). Holding one, or going on with it after a pause, is none; opening ends it."""
    found, last = [], ""
    for time_s, _, command in hops:
        if command.kind == "open":
            last = ""
        elif command.kind == "grip" and command.grip and command.grip != last:
            last = command.grip
            found.append((time_s, last))
    return found


def _score(
    recording: Recording,
    names: dict[int, str],
    hops: Sequence[Hop],
    grips: GripMap,
    model: Model,
    result: StreamResult,
    calibrated: int,
) -> None:
    rate_hz = recording.montage.rate_hz
    label = recording.label
    filtered = model.filter.whole(recording.emg.astype(np.float64))
    times = np.array([t for t, _, _ in hops])
    decided = [d.action for _, d, _ in hops]
    commands = [(t, c) for t, _, c in hops]
    closing = _events(hops)
    believed = believe_cues(filtered, label, rate_hz)[0] & (label == 0)
    believed[: round(START_S * rate_hz)] = False
    result.believed_s += float(believed.sum()) / rate_hz
    result.believed_events += sum(bool(believed[round(t * rate_hz) - 1]) for t, _ in closing)
    borders = np.concatenate(([0], np.flatnonzero(np.diff(label)) + 1, [len(label)]))
    action = names[recording.facts["gesture"]]
    rule = grips.actions.get(action)
    wanted = rule.grip if rule else None
    for a, b in itertools.pairwise(borders):
        begin_s, end_s = a / rate_hz, b / rate_hz
        if label[a] == 0:
            quiet_from = begin_s + (AFTERGLOW_S if a else START_S)
            if end_s > quiet_from:
                result.rest_s += end_s - quiet_from
                result.rest_events += sum(quiet_from <= t < end_s for t, _ in closing)
            continue
        if int(recording.repetition[a]) == calibrated:
            continue
        lead = max(0, a - round(LEAD_S * rate_hz))
        onset = find_onset(filtered[lead:b], rate_hz, slice(0, a - lead)) if a > lead else None
        result.cues += 1
        steady = (times >= begin_s + 0.75) & (times < end_s)
        result.right_hops.append(float(np.mean([decided[i] == action for i in np.flatnonzero(steady)])))
        result.wrong_grips += len({g for t, g in closing if begin_s <= t < end_s and g != wanted})
        if onset is None or (lead + onset - a) / rate_hz > LATEST_ONSET_S or wanted is None:
            continue
        onset_s = (lead + onset) / rate_hz
        right = [t for t, c in commands if onset_s <= t <= onset_s + SEARCH_S and _is(c, wanted)]
        result.delays_s.append(right[0] - onset_s if right else None)


def _is(command: Command, wanted: str) -> bool:
    return command.kind == "open" if wanted == "open" else command.kind == "grip" and command.grip == wanted


def pool(results: Sequence[StreamResult]) -> dict[str, float]:
    """Figures over people: delays in ms, percent of cues reached, false activations per hour."""
    delays = [d for r in results for d in r.delays_s]
    found = np.array([d for d in delays if d is not None]) * 1000
    rest_h, believed_h, free_h = (
        sum(getattr(r, f"{name}_s") for r in results) / 3600 for name in ("rest", "believed", "free")
    )
    return {
        "onsets": len(delays),
        "reached_percent": 100 * len(found) / max(len(delays), 1),
        "delay_p50_ms": float(np.percentile(found, 50)) if len(found) else float("nan"),
        "delay_p90_ms": float(np.percentile(found, 90)) if len(found) else float("nan"),
        "right_in_holds_percent": 100 * float(np.mean([h for r in results for h in r.right_hops])),
        "wrong_grips_per_cue": sum(r.wrong_grips for r in results) / max(sum(r.cues for r in results), 1),
        "rest_per_h": sum(r.rest_events for r in results) / max(rest_h, 1e-9),
        "rest_h": rest_h,
        "believed_per_h": sum(r.believed_events for r in results) / max(believed_h, 1e-9),
        "believed_h": believed_h,
        "free_per_h": sum(r.free_events for r in results) / max(free_h, 1e-9),
        "free_h": free_h,
    }
