"""What a session amounted to, from its logs: executions, confusion, delays, rejections."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from myosem_edge.demo.play import Performed, Session
from myosem_edge.learn.scoring.streams import AFTERGLOW_S
from myosem_edge.runtime.decision import REST
from myosem_edge.runtime.grips import GripMap


@dataclass(frozen=True)
class Outcome:
    """One execution: when the right command came, counted from the onset of the muscle, and what else was commanded."""

    performed: Performed
    wanted: str  # grip of the action, or "" where the map gives it none
    delay_s: float | None  # None: never, or no onset was found
    wrong: tuple[str, ...]  # other grips commanded while it lasted


@dataclass(frozen=True)
class Summary:
    """Figures of the whole session."""

    outcomes: tuple[Outcome, ...]
    actions: tuple[str, ...]
    confusion: np.ndarray  # (true, decided) counts of decisions inside executions
    rejected: Counter[str]
    held_back: Counter[str]
    at_rest: int  # grips newly commanded while the wearer rested
    rest_s: float

    @property
    def delays_s(self) -> list[float]:
        return [o.delay_s for o in self.outcomes if o.delay_s is not None]

    @property
    def right_hops(self) -> float:
        """Percent of decisions inside executions that were right, actions balanced."""
        rows = self.confusion.sum(axis=1)
        return float(100 * np.mean(np.diag(self.confusion)[rows > 0] / rows[rows > 0]))


def summarise(session: Session, grips: GripMap) -> Summary:
    actions = tuple(dict.fromkeys([REST, *(p.clip.action for p in session.performed)]))
    decisions = [e for e in session.events if e["event"] == "decision"]
    verdicts = [e for e in session.events if e["event"] == "verdict"]
    confusion = np.zeros((len(actions), len(actions) + 1))
    for d in decisions:
        truth = _truth(session, d["time_s"])
        if truth in actions:
            column = actions.index(d["action"]) if d["action"] in actions else len(actions)
            confusion[actions.index(truth), column] += 1
    rejected = Counter(d["reason"] or d["asked"] for d in decisions if d["reason"] or d["asked"])
    held_back = Counter(reason for v in verdicts if v["armed"] for reason in v["reasons"])
    outcomes = tuple(_outcome(p, verdicts, grips) for p in session.performed)
    commands = commands_of(verdicts)
    at_rest = sum(_truth(session, time_s) == REST for time_s, _ in commands)
    busy = sum(p.time_s(p.clip.end) + AFTERGLOW_S - begin_s(p) for p in session.performed)
    return Summary(outcomes, actions, confusion, rejected, held_back, at_rest, session.ended_s - session.begun_s - busy)


def commands_of(verdicts: list[dict[str, Any]]) -> list[tuple[float, str]]:
    """Changes of what the hand is told to do: (time, grip), with "open" for opening; neutral is no command."""
    found, last = [], ""
    for v in verdicts:
        command = v["command"]
        now = {"grip": command["grip"], "open": "open"}.get(command["kind"], "")
        if now and now != last:
            found.append((v["time_s"], now))
        last = now
    return found


def begin_s(p: Performed) -> float:
    return p.time_s(p.clip.onset if p.clip.onset is not None else p.clip.cue)


def _truth(session: Session, time_s: float) -> str:
    """The action under way, REST, or "" where nobody can say (letting go)."""
    for p in session.performed:
        if begin_s(p) <= time_s < p.time_s(p.clip.end):
            return p.clip.action
        if p.time_s(p.clip.end) <= time_s < p.time_s(p.clip.end) + AFTERGLOW_S:
            return ""
    return REST


def _outcome(p: Performed, verdicts: list[dict[str, Any]], grips: GripMap) -> Outcome:
    rule = grips.actions.get(p.clip.action)
    wanted = (rule.grip or "") if rule else ""
    inside = [(t, g) for t, g in commands_of(verdicts) if begin_s(p) <= t < p.time_s(p.clip.end)]
    right = [t for t, g in inside if g == wanted]
    delay = right[0] - p.time_s(p.clip.onset) if right and p.clip.onset is not None else None
    return Outcome(p, wanted, delay, tuple(g for _, g in inside if g != wanted))
