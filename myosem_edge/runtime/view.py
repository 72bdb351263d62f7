"""What a person sees of a running loop: a picture on a terminal, redrawn in place, or a line per change of state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

Event = dict[str, Any]

BAR = 20
JOINT_FULL_DEG = 100.0
NOTE_S = 3.0  # long enough to read a sentence whose cause lasted one tick
CLEAR_LINE, CLEAR_BELOW, UP = "\x1b[K", "\x1b[J", "\x1b[{}A"
BOLD, DIM, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
COLOURS = {"armed": "\x1b[32m", "neutral": "\x1b[33m", "fault": "\x1b[31m"}
KEYS = "space or s stop   o open   a arm   q quit"


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
        return [*self._status(columns), "", *self._decision(columns), "", *self._hand(columns), "", _cut(KEYS, columns)]

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
        yield _cut(f"hand is told: {told}{pace}    signal: {phase}", columns)
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
            yield _cut(f"  {joint:<14}{_bar(abs(degrees) / JOINT_FULL_DEG)} {degrees:5.0f} deg", columns)


class LineView:
    """A line for every change of state, for logs and terminals that cannot be drawn on."""

    def __init__(self) -> None:
        self._told: tuple[object, ...] = ()

    def take(self, event: Event) -> Iterator[str]:
        kind, at = event["event"], f"{event.get('time_s', 0.0):.3f}"
        if kind == "verdict":
            command = event["command"]
            told = command["grip"] or command["kind"]
            state = (event["status"], event["reason"], told, event["fault"])
            # Speed rises in steps; that is no change of state.
            if state != self._told:
                self._told = state
                why = f": {event['reason']}" if event["reason"] else ""
                fault = f" ({event['fault']})" if event["fault"] else ""
                yield _plain(f"{at} {event['status']}{why}{fault}, hand is told {told}")
        elif kind == "front end":
            facts = "".join(f", {name} {value}" for name, value in event["facts"].items())
            yield _plain(
                f"{at} front end {event['phase']}{facts}{' - ' + event['failure'] if event['failure'] else ''}"
            )
        elif kind == "link":
            yield _plain(f"{at} {event['device']} {event['state']} {event['why']}".rstrip())
        elif kind == "failure":
            yield _plain(f"{at} failure in {event['error']}")
        elif kind == "dropped":
            yield f"{event['count']} lines were dropped here"


def _bar(fraction: float) -> str:
    full = round(BAR * min(1.0, max(0.0, fraction)))
    return "[" + "#" * full + "." * (BAR - full) + "]"


def _plain(text: str) -> str:
    """Without control characters: what a bundle or device calls itself must not steer the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _cut(text: str, columns: int) -> str:
    return _plain(text)[: max(1, columns - 1)]
