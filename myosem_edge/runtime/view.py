"""What a person sees of a running loop: a picture on a terminal, redrawn in place, or a line per change of state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from myosem_edge.runtime.wearer_input import HELP

Event = dict[str, Any]

BAR = 20
JOINT_FULL_DEG = 100.0
SETTLED_S = 1.0  # two reasons that take turns have come to rest
NOTE_S = 3.0  # long enough to read a sentence whose cause lasted one tick
CLEAR_LINE, CLEAR_BELOW, UP = "\x1b[K", "\x1b[J", "\x1b[{}A"
BOLD, DIM, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
COLOURS = {"armed": "\x1b[32m", "neutral": "\x1b[33m", "fault": "\x1b[31m"}


class LiveView:
    """The newest of everything, and a picture of it."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._newest: dict[str, Event] = {}
        self._note, self._note_until_s = "", 0.0
        self._changed = True
        self._drawn_s = -float("inf")
        self._height = 0

    def take(self, event: Event) -> None:
        kind = event["event"]
        self._newest[kind] = event
        self._changed = True
        if kind == "verdict" and "arm-refused" in event["reasons"]:
            self._tell("Not armed: the signal was not good for long enough yet.")
        elif kind == "failure":
            self._tell(event["error"])
        elif kind == "link":
            self._tell(f"{event['device']} {event['state']} {event['why']}")

    def is_due(self, every_s: float) -> bool:
        """Whether there is something new to draw and the last picture is old enough."""
        return self._changed and self._now_s() - self._drawn_s >= every_s

    def draw(self, columns: int, again: bool) -> str:
        """The picture as terminal output; `again` draws over the one before."""
        lines = self.picture(columns)
        up = UP.format(self._height) if again and self._height else ""
        self._height, self._changed, self._drawn_s = len(lines), False, self._now_s()
        return "\r" + up + "".join(f"{line}{CLEAR_LINE}\n" for line in lines) + CLEAR_BELOW

    def picture(self, columns: int) -> list[str]:
        """The lines, none wider than the terminal."""
        return [*self._status(columns), "", *self._decision(columns), "", *self._hand(columns), "", _cut(HELP, columns)]

    def _tell(self, text: str) -> None:
        self._note, self._note_until_s = text, self._now_s() + NOTE_S

    def _status(self, columns: int) -> Iterator[str]:
        verdict = self._newest.get("verdict", {})
        state = str(verdict.get("status", "neutral"))
        phase = self._newest.get("front end", {}).get("phase", "idle")
        sentence = verdict.get("sentence", "")
        if verdict.get("fault"):
            sentence = f"{sentence} ({verdict['fault']})"
        yield f"{COLOURS.get(state, '')}{BOLD}{state.upper():<8}{PLAIN} {_cut(sentence, columns - 9)}"
        command = verdict.get("command", {})
        told = command.get("grip") or command.get("kind", "neutral")
        pace = f" at speed {command['speed']:.2f}" if command.get("kind") in ("grip", "open") else ""
        troubles = _troubles(self._newest.get("signal"))
        yield _cut(f"hand is told: {told}{pace}    signal: {phase}{f', {troubles}' if troubles else ''}", columns)
        yield _cut(self._note if self._now_s() < self._note_until_s else "", columns)

    def _decision(self, columns: int) -> Iterator[str]:
        decision = self._newest.get("decision")
        if decision is None:
            yield from ("no decision yet", "", "", "", "", "")
            return
        why = decision["reason"] or decision.get("asked") or ""
        yield _cut(f"{decision['name']}  ({decision['source']}{', not taken: ' + why if why else ''})", columns)
        yield _cut(f"  similarity {_bar(decision['similarity'])} {decision['similarity']:5.2f}", columns)
        yield _cut(f"  margin     {_bar(decision['margin'])} {decision['margin']:5.2f}", columns)
        nearest = [f"  {similarity:5.2f}  {name}" for name, similarity in decision["nearest"][:3]]
        yield from (_cut(line, columns) for line in (nearest + [""] * 3)[:3])

    def _hand(self, columns: int) -> Iterator[str]:
        hand = self._newest.get("hand")
        if hand is None:
            yield "the hand has not reported yet"
            return
        limited = f"   holds back by itself: {', '.join(hand['limited'])}" if hand["limited"] else ""
        yield _cut(f"hand reports: {'moving' if hand['moving'] else 'still'}{limited}", columns)
        for joint, degrees in hand["position_deg"].items():
            touch = f"   touch {hand['touch_v'][joint]:.2f} V" if joint in hand.get("touch_v", ()) else ""
            yield _cut(f"  {joint:<14}{_bar(abs(degrees) / JOINT_FULL_DEG)} {degrees:5.0f} deg{touch}", columns)


class LineView:
    """A line for every change of state, for logs and terminals that cannot be drawn on.

    Two reasons for the same status and the same command may take turns many times a second. They are told once each,
    and how often they went on when something else comes, or one of them stays.
    """

    def __init__(self) -> None:
        self._now: _State | None = None
        self._before: _State | None = None
        self._turns = 0
        self._changed_s = 0.0

    def take(self, event: Event) -> Iterator[str]:
        kind, time_s = event["event"], event.get("time_s", 0.0)
        at = f"{time_s:.3f}"
        if self._turns and (kind == "summary" or time_s - self._changed_s >= SETTLED_S):
            yield from self._tell_turns(at)
        if kind == "verdict":
            yield from self._verdict(event, time_s, at)
        elif kind == "front end":
            facts = "".join(f", {name} {value}" for name, value in event["facts"].items())
            yield _plain(
                f"{at} front end {event['phase']}{facts}{' - ' + event['failure'] if event['failure'] else ''}"
            )
        elif kind == "link":
            yield _plain(f"{at} {event['device']} {event['state']} {event['why']}".rstrip())
        elif kind == "signal":
            yield _plain(f"{at} signal: {_troubles(event) or 'every electrode is good again'}")
        elif kind == "failure":
            yield _plain(f"{at} failure in {event['error']}")
        elif kind == "dropped":
            yield f"{event['count']} lines were dropped here"

    def _verdict(self, event: Event, time_s: float, at: str) -> Iterator[str]:
        command = event["command"]
        state = _State(event["status"], command["grip"] or command["kind"], event["reason"], event["fault"])
        if state == self._now:  # speed rises in steps; that is no change of state
            return
        again = state == self._before and self._now is not None and state[:2] == self._now[:2]
        if self._turns and not again:
            yield from self._tell_turns(at)
        self._before, self._now, self._changed_s = self._now, state, time_s
        if again:
            self._turns += 1
        else:
            yield _plain(f"{at} {state}")

    def _tell_turns(self, at: str) -> Iterator[str]:
        yield _plain(f"{at} {self._turns} more changes between the last two, then {self._now}")
        self._turns = 0


class _State(NamedTuple):
    status: str
    told: str
    reason: str | None
    fault: str | None

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        fault = f" ({self.fault})" if self.fault else ""
        return f"{self.status}{why}{fault}, hand is told {self.told}"


def _troubles(event: Event | None) -> str:
    """Which electrodes have which trouble, in one phrase; empty where none has any."""
    found = event["troubles"] if event else {}
    return "; ".join(f"{kind}: electrode {', '.join(map(str, channels))}" for kind, channels in found.items())


def _bar(fraction: float) -> str:
    full = round(BAR * min(1.0, max(0.0, fraction)))
    return "[" + "#" * full + "." * (BAR - full) + "]"


def _plain(text: str) -> str:
    """Without control characters: what a bundle or device calls itself must not steer the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _cut(text: str, columns: int) -> str:
    return _plain(text)[: max(1, columns - 1)]
