"""The prompted session: what the wearer is asked to do when, and which samples were which. It writes nothing.

A machine on somebody else's clock: samples and the time go in, prompts come out. Until the caller stores what was
learnt at the end, whatever was accepted before stays as it is, however the session ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from myosem_edge.calibration.enrol import NONE, Labelled
from myosem_edge.calibration.verdict import Verdict, judge, rms_map
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.frontends.base import Chunk, FrontEndInfo
from myosem_edge.runtime.decision import REST
from myosem_edge.runtime.decoder import MAX_FILL_SAMPLES

Kind = Literal["prepare", "hold", "relax", "verdict", "done"]
Cue = Literal["hand", "mirror", "imagine"]
CUES: tuple[Cue, ...] = ("hand", "mirror", "imagine")

REACTION_S = 0.75  # from the prompt to a settled contraction, and longer than the encoder remembers
RELEASE_S = 0.1  # the end of a hold is often let go early
MAX_ATTEMPTS = 3  # of one repetition: the first and two more
MIN_HOLD_S, MAX_HOLD_S = 1.5, 10.0  # half a second has to remain; nobody holds evenly for longer
MAX_REPETITIONS = 10

# The action's name is an instruction of its own: "Close all the fingers and the thumb into a tight fist."
PREPARE_TEXT = {
    "hand": "Get ready: {name}",
    "mirror": "Get ready to do this with both sides together, as far as you feel the missing one: {name}",
    "imagine": "Get ready to imagine this with the hand that is missing: {name}",
}
HOLD_TEXT = {
    "hand": "Now, and hold it comfortably: {name}",
    "mirror": "Both sides now, and hold it comfortably: {name}",
    "imagine": "Imagine it now, and keep it up: {name}",
}
REST_PREPARE_TEXT, REST_TEXT = "Get ready to relax your hand.", "Relax your hand."


@dataclass(frozen=True)
class Plan:
    """What is asked for, `rest` always first: contractions are judged against it.

    Raises:
        InputError: no action besides rest, one that is named twice, or a number out of range.
    """

    actions: tuple[str, ...]
    repetitions: int = 1
    hold_s: float = 3.0
    prepare_s: float = 1.5
    relax_s: float = 1.0
    cue: Cue = "hand"

    def __post_init__(self) -> None:
        object.__setattr__(self, "actions", (REST, *(action for action in self.actions if action != REST)))
        if len(self.actions) < 2:
            raise InputError("there is nothing to calibrate besides rest", todo="Name at least one action")
        twice = sorted({action for action in self.actions if self.actions.count(action) > 1})
        if twice:
            raise InputError("an action is named twice", found=", ".join(twice))
        if not 1 <= self.repetitions <= MAX_REPETITIONS:
            raise InputError("so many repetitions make no sense", found=self.repetitions, expected="1 to 10")
        if not MIN_HOLD_S <= self.hold_s <= MAX_HOLD_S:
            expected = f"{MIN_HOLD_S:g} to {MAX_HOLD_S:g} s"
            raise InputError("a hold cannot be that long or short", found=f"{self.hold_s:g} s", expected=expected)
        if not (0 < self.prepare_s <= 60 and 0 < self.relax_s <= 60):
            found = f"{self.prepare_s:g} s and {self.relax_s:g} s"
            raise InputError("the pauses are out of range", found=found, expected="more than 0, at most 60 s")
        if self.cue not in CUES:
            raise InputError("no such cue", found=repr(self.cue), expected=", ".join(CUES))

    @property
    def steps(self) -> tuple[tuple[str, int], ...]:
        """(action, repetition) in the order of prompting: every action once, then every action again."""
        return tuple((action, number) for number in range(1, self.repetitions + 1) for action in self.actions)

    @property
    def duration_s(self) -> float:
        """Without repeats."""
        return len(self.steps) * (self.prepare_s + self.hold_s + self.relax_s)


@dataclass(frozen=True)
class Prompt:
    """One thing to tell the wearer, and how long it lasts. `verdict` is set where kind is "verdict"."""

    kind: Kind
    action: str
    repetition: int
    text: str
    seconds: float
    verdict: Verdict | None = None


class _Accepted(NamedTuple):
    action: str
    repetition: int
    start_s: float
    end_s: float


class Session:
    """`feed` the chunks that have arrived, then `tick` at least every 20 ms, until `finished`.

    `names` are the plain names of the plan's actions. `failure` says in one sentence why a session ended early.
    """

    def __init__(self, plan: Plan, device: FrontEndInfo, frame_samples: int, names: Mapping[str, str]) -> None:
        self.plan, self.device = plan, device
        self.finished = False
        self.failure: str | None = None
        self._frame_samples = frame_samples
        self._names = names
        self._samples: list[np.ndarray] = []
        self._times_s: list[np.ndarray] = []
        self._holes: list[tuple[float, float]] = []
        self._accepted: list[_Accepted] = []
        self._maps: dict[str, list[np.ndarray]] = {}
        self._step = 0
        self._attempt = 1
        self._phase: Kind | None = None
        self._began_s = self._ends_s = 0.0

    @property
    def accepted(self) -> int:
        """Repetitions that were good."""
        return len(self._accepted)

    def feed(self, chunks: Iterable[Chunk], now_s: float) -> None:
        """Keep samples. Their times are counted back from the arrival of each chunk, and never lie ahead of `now_s`."""
        period_s = 1.0 / self.device.rate_hz
        for chunk in chunks:
            n = len(chunk.samples)
            arrival_s = min(chunk.arrival_s, now_s)
            if chunk.lost:
                begins_s = arrival_s - n * period_s
                self._holes.append((begins_s - chunk.lost * period_s, begins_s))
            # Longer holes restart the decoder. Here too nothing from before them may reach a hop that is used, and
            # REACTION_S sees to that: a hole inside the used part of a hold is a verdict.
            fill = min(chunk.lost, MAX_FILL_SAMPLES)
            silence = np.zeros((fill, self.device.channels), np.float32)
            self._samples.append(np.concatenate((silence, chunk.samples.astype(np.float32))))
            self._times_s.append(arrival_s - period_s * np.arange(n + fill - 1, -1, -1))

    def tick(self, now_s: float) -> list[Prompt]:
        """Prompts that are due. A phase lasts from the tick that began it: a late tick never shortens the next one."""
        if self.finished or (self._phase is not None and now_s < self._ends_s):
            return []
        if self._phase == "prepare":
            return [self._begin("hold", now_s)]
        if self._phase == "hold":
            return self._end_hold(now_s)
        return [self._begin("prepare", now_s)]

    def labelled(self) -> Labelled:
        """Everything that was recorded, with the used parts of the accepted repetitions labelled."""
        samples, times_s = self._recorded()
        size = self._frame_samples
        hops = len(samples) // size
        action, repetition = np.full(hops, NONE), np.zeros(hops, dtype=int)
        first, last = times_s[: hops * size : size], times_s[size - 1 : hops * size : size]
        for part in self._accepted:
            inside = (first >= part.start_s) & (last < part.end_s)
            action[inside] = self.plan.actions.index(part.action)
            repetition[inside] = part.repetition
        return Labelled(np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0), action, repetition, self.plan.actions)

    def _begin(self, kind: Literal["prepare", "hold"], now_s: float) -> Prompt:
        action, repetition = self.plan.steps[self._step]
        seconds = self.plan.prepare_s if kind == "prepare" else self.plan.hold_s
        self._phase, self._began_s, self._ends_s = kind, now_s, now_s + seconds
        if action == REST:
            text = REST_PREPARE_TEXT if kind == "prepare" else REST_TEXT
        else:
            texts = PREPARE_TEXT if kind == "prepare" else HOLD_TEXT
            text = texts[self.plan.cue].format(name=self._names.get(action, action))
        return Prompt(kind, action, repetition, text, seconds)

    def _end_hold(self, now_s: float) -> list[Prompt]:
        action, repetition = self.plan.steps[self._step]
        part = _Accepted(action, repetition, self._began_s + REACTION_S, self._ends_s - RELEASE_S)
        verdict = self._judge(part)
        text = verdict.sentence(action, self._names)
        prompts = [Prompt("verdict", action, repetition, text, 0.0, verdict)]
        if verdict.ok:
            self._accepted.append(part)
            self._maps.setdefault(action, []).append(rms_map(self._between(part), self.device.rate_hz))
            self._step += 1
            self._attempt = 1
            if self._step == len(self.plan.steps):
                return [*prompts, self._finish(action, repetition, "Done. You can relax.")]
        elif self._attempt == MAX_ATTEMPTS:
            self.failure = (
                f"'{action}' could not be recorded in {MAX_ATTEMPTS} attempts ({', '.join(verdict.faults)}). {text}"
            )
            return [*prompts, self._finish(action, repetition, f"The session ends here: {self.failure}")]
        else:
            self._attempt += 1
        self._phase, self._ends_s = "relax", now_s + self.plan.relax_s
        return [*prompts, Prompt("relax", action, repetition, "Relax.", self.plan.relax_s)]

    def _finish(self, action: str, repetition: int, text: str) -> Prompt:
        self.finished = True
        return Prompt("done", action, repetition, text, 0.0)

    def _judge(self, part: _Accepted) -> Verdict:
        samples = self._between(part)
        due_s = part.end_s - part.start_s
        lost_s = sum(max(0.0, min(end, part.end_s) - max(start, part.start_s)) for start, end in self._holes)
        known = {action: np.mean(maps, axis=0) for action, maps in self._maps.items()}
        missing = 1.0 - len(samples) / (due_s * self.device.rate_hz)
        return judge(part.action, samples, self.device, known, lost_share=lost_s / due_s, missing_share=missing)

    def _between(self, part: _Accepted) -> np.ndarray:
        samples, times_s = self._recorded()
        return samples[(times_s >= part.start_s) & (times_s < part.end_s)]

    def _recorded(self) -> tuple[np.ndarray, np.ndarray]:
        """All samples (n, channels) and their times (n,) s."""
        self._samples = [_joined(self._samples, (0, self.device.channels), np.float32)]
        self._times_s = [_joined(self._times_s, (0,), np.float64)]
        return self._samples[0], self._times_s[0]


def _joined(parts: Sequence[np.ndarray], empty: tuple[int, ...], kind: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(empty, kind)
