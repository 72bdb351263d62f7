"""What the log gets of shaper and gate, so that both can be run again on it bit for bit (SR-18).

A log is a ring: its beginning may be gone, and events may have been dropped. So everything that the two remember, and
what they were given once, stands in it now and then. An event has to fit into one write to a pipe, hence one event for
each row of the grip map. `runtime.gate_replay` reads it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any

from myosem_edge.runtime.decision import Decision
from myosem_edge.runtime.gate import Command, Inputs, Reason, Request, State, Wearer
from myosem_edge.runtime.grips import GripMap, GripRule
from myosem_edge.runtime.limits import Limits
from myosem_edge.runtime.shaper import ShaperState

SNAPSHOT_S = 30.0  # of a log that lost its beginning, no more than this cannot be replayed
START, RULES, ROW, STATE, STEP, EMG, DROPPED = "start", "rules", "row", "state", "step", "emg", "dropped"
FAILURE, DECODER, SHAPER, GATE = "failure", "decoder", "shaper", "gate"  # an event, and the stages that it may be of
OURS = b'{"event"'  # how every log begins
LOG_ONLY = frozenset({RULES, ROW, STATE, STEP, EMG})  # nobody wants to see them go by
NUMBER = "number"  # {"number": "nan"}: what JSON has no number for
_REASONS = {reason.page: reason for reason in Reason}

Facts = dict[str, Any]


@dataclass(frozen=True)
class Rules:
    """What one run's shaper and gate were given, besides their inputs."""

    limits: Limits
    grips: frozenset[str]
    grip_map: GripMap

    def to_dict(self) -> Facts:
        """Without the rows of the grip map; these are `rows` events that follow."""
        return {"limits": asdict(self.limits), "grips": sorted(self.grips), "rows": len(self.grip_map.actions)}

    def rows(self) -> Iterator[Facts]:
        """What a rule is, but for its note, which may be long and changes nothing."""
        for action, rule in self.grip_map.actions.items():
            yield {"action": action, "grip": rule.grip, "threshold": rule.threshold, "why": rule.why}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], rows: Mapping[str, GripRule]) -> Rules:
        return cls(Limits(**values["limits"]), frozenset(values["grips"]), GripMap(rows))


class Steps:
    """Turns steps into events: each in full, and before one of them, now and then, the rules and the whole memory."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._told_s = -math.inf

    def events(
        self,
        inputs: Inputs,
        before: tuple[State, ShaperState],
        weighed: tuple[Decision, str] | None,
        command: Command,
        reasons: tuple[Reason, ...],
        *,
        anew: bool,
    ) -> Iterator[tuple[str, Facts]]:
        """Kind and contents of each event. `before`: what gate and shaper remembered when the step began.

        `weighed` is what the decoder said, if the request of this step was made of it, and why it did not count where
        something else than the decoder rejected it. `anew`: the log lacks what came before.
        """
        # Written so that a time which is no number is a long one.
        if anew or not abs(inputs.now_s - self._told_s) < SNAPSHOT_S:
            self._told_s = inputs.now_s
            yield RULES, self.rules.to_dict()
            yield from ((ROW, row) for row in self.rules.rows())
            yield STATE, {"gate": state_to_dict(before[0]), "shaper": exact(asdict(before[1]))}
        facts: Facts = {"inputs": told(inputs)}
        if weighed is not None:
            facts |= {"decision": decision_to_dict(weighed[0]), "veto": weighed[1]}
        yield STEP, facts | {"command": told(command), "reasons": [reason.page for reason in reasons]}


def told(value: Any) -> Facts:
    """A dataclass as JSON has it, without what is as it is by default: a log of steps is half as long then."""
    found = {}
    for each in fields(value):
        inner = getattr(value, each.name)
        if isinstance(inner, Request | Wearer):
            inner = told(inner)
            if inner or each.default is MISSING:
                found[each.name] = inner
        elif each.default is MISSING or repr(inner) != repr(each.default):  # of 0.0 and -0.0 only one is the default
            found[each.name] = exact(inner)
    return found


def exact(values: Any) -> Any:
    """The same for JSON, which keeps every finite number to the last bit and knows no other."""
    if isinstance(values, dict):
        return {name: exact(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [exact(value) for value in values]
    return {NUMBER: repr(values)} if isinstance(values, float) and not math.isfinite(values) else values


def inexact(values: Any) -> Any:
    """What `exact` was given; lists remain lists."""
    if isinstance(values, dict):
        if values.keys() == {NUMBER}:
            return float(values[NUMBER])
        return {name: inexact(value) for name, value in values.items()}
    return [inexact(value) for value in values] if isinstance(values, list) else values


def decision_to_dict(decision: Decision) -> Facts:
    """Everything but the nearest descriptions, on which nothing depends."""
    return told(replace(decision, nearest=()))


def state_to_dict(state: State) -> Facts:
    """Everything that the gate remembers, as JSON has it."""
    values = exact(asdict(state))
    values["latched"] = state.latched.page if state.latched else None
    values["reasons"] = [reason.page for reason in state.reasons]
    return values


def state_from_dict(values: Mapping[str, Any]) -> State:
    """Raises KeyError, TypeError for what `state_to_dict` did not make."""
    changed = dict(inexact(values))
    changed["latched"] = _REASONS[values["latched"]] if values["latched"] is not None else None
    changed["reasons"] = tuple(_REASONS[page] for page in values["reasons"])
    changed["votes"] = tuple((kind, grip) for kind, grip in changed["votes"])
    changed["command"] = Command(**changed["command"])
    changed["message_times_s"] = tuple(changed["message_times_s"])
    return State(**changed)


def shaper_from_dict(values: Mapping[str, Any]) -> ShaperState:
    """Raises KeyError, TypeError for what is no shaper's memory."""
    changed = dict(inexact(values))
    changed["issued"] = Command(**changed["issued"])
    changed["request"] = Request(**changed["request"]) if changed["request"] is not None else None
    return ShaperState(**changed)


def inputs_from_dict(values: Mapping[str, Any]) -> Inputs:
    """Raises KeyError, TypeError for what is no gate's input."""
    changed = dict(inexact(values))
    changed |= {"request": Request(**changed["request"]), "wearer": Wearer(**changed.get("wearer", {}))}
    return Inputs(**changed)
