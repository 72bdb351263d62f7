"""A log replayed: every step of the gate again from its logged inputs, and whether it says the same (SR-18).

A log is a ring: its beginning may be gone, and events may have been dropped. The gate's whole state stands in it now
and then, so that a replay begins, and goes on after a gap, at the next of those.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from myosem_edge.errors import InputError
from myosem_edge.runtime.gate import Command, Inputs, Reason, Request, State, Wearer, step
from myosem_edge.runtime.limits import Limits

SNAPSHOT_S = 30.0  # of a log that lost its beginning, no more than this cannot be replayed
START, STEP, DROPPED = "start", "step", "dropped"
_NUMBERS = ("now_s", "sample_age_s", "lost_fraction", "loop_late_s")
_REASONS = {reason.page: reason for reason in Reason}

Event = dict[str, Any]


@dataclass(frozen=True)
class Rules:
    """What one run's gate was given, besides its inputs."""

    limits: Limits
    grips: frozenset[str]

    def to_dict(self) -> dict[str, Any]:
        return {"limits": asdict(self.limits), "grips": sorted(self.grips)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Rules:
        return cls(Limits(**values["limits"]), frozenset(values["grips"]))


class Steps:
    """What the log gets of every step: with the rules and the gate's whole state now and then."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._told_s = -math.inf

    def facts(self, inputs: Inputs, before: State, command: Command, reasons: tuple[Reason, ...]) -> dict[str, Any]:
        """`before`: the state that the step began from."""
        pages = [reason.page for reason in reasons]
        found = {"inputs": asdict(inputs), "command": asdict(command), "reasons": pages}
        if inputs.now_s - self._told_s >= SNAPSHOT_S:
            self._told_s = inputs.now_s
            found |= {"gate": self.rules.to_dict(), "state": state_to_dict(before)}
        return found


@dataclass(frozen=True)
class Replayed:
    """One logged step: what was logged, what the gate says now; both None where the chain is broken before it."""

    time_s: float
    logged: tuple[Command, tuple[str, ...]] | None = None
    found: tuple[Command, tuple[str, ...]] | None = None

    @property
    def same(self) -> bool:
        return self.logged == self.found


def state_to_dict(state: State) -> dict[str, Any]:
    """Everything that the gate remembers, as JSON has it."""
    values = asdict(state)
    values["latched"] = state.latched.page if state.latched else None
    values["reasons"] = [reason.page for reason in state.reasons]
    return values


def state_from_dict(values: Mapping[str, Any]) -> State:
    """Raises KeyError, TypeError for what `state_to_dict` did not make."""
    changed = dict(values)
    changed["latched"] = _REASONS[values["latched"]] if values["latched"] is not None else None
    changed["reasons"] = tuple(_REASONS[page] for page in values["reasons"])
    changed["votes"] = tuple((kind, grip) for kind, grip in values["votes"])
    changed["command"] = Command(**values["command"])
    changed["message_times_s"] = tuple(values["message_times_s"])
    return State(**changed)


def replay(events: Iterable[Event]) -> Iterator[Replayed]:
    """Every `step` event again. A `start` event brings rules and a fresh gate; a dropped event breaks the chain until
    the next state that was logged.

    Raises:
        KeyError, TypeError, ValueError: an event is not one of ours.
    """
    rules: Rules | None = None
    state: State | None = None
    for event in events:
        if event["event"] == START:
            rules = Rules.from_dict(event["gate"]) if "gate" in event else None
            state = State() if rules else None
        elif event["event"] == DROPPED:
            state = None
        elif event["event"] == STEP:
            if "gate" in event:
                rules = Rules.from_dict(event["gate"])
            if "state" in event:
                state = state_from_dict(event["state"])
            if rules is None or state is None:
                yield Replayed(float(event["time_s"]))
                continue
            state, command, reasons = step(state, _inputs(event["inputs"]), rules.limits, rules.grips)
            logged = (Command(**event["command"]), tuple(event["reasons"]))
            yield Replayed(float(event["time_s"]), logged, (command, tuple(reason.page for reason in reasons)))


def read_events(paths: Iterable[Path]) -> Iterator[Event]:
    """Events of log files, oldest file first. A last line that power cut off is left out.

    Raises:
        InputError: a file cannot be read, or a line is not an event.
    """
    for path in paths:
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n"):
                        break  # cut off while it was written
                    try:
                        event = json.loads(line)
                        if not isinstance(event["event"], str):
                            raise TypeError("no name")
                    except (ValueError, KeyError, TypeError, RecursionError) as error:
                        raise InputError(
                            "is no log", where=f"{path}:{number}", found=ascii(line[:60]), expected="one event a line"
                        ) from error
                    yield event
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", where=path) from error


def _inputs(logged: Mapping[str, Any]) -> Inputs:
    """What was no number was logged as null; only a hand that reports nothing has no age."""
    values = dict(logged)
    values |= {"request": Request(**logged["request"]), "wearer": Wearer(**logged["wearer"])}
    values |= {name: math.nan for name in _NUMBERS if values[name] is None}
    return Inputs(**values)
