"""Shaper and gate with what they remember, and what the log gets of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from myosem_edge.runtime.decision import Decision
from myosem_edge.runtime.gate import Command, Inputs, Reason, Request, State, step
from myosem_edge.runtime.gate_log import Facts, Rules, Steps
from myosem_edge.runtime.grips import GripMap
from myosem_edge.runtime.limits import Limits
from myosem_edge.runtime.shaper import ShaperState, shape


class Judge:
    """`weigh` every decision, then `step`; without a new decision `step` alone. What either raises changes nothing.

    `grips` are the closing grips that the active hand may be sent.
    """

    def __init__(self, grip_map: GripMap, limits: Limits, grips: frozenset[str]) -> None:
        self.rules = Rules(limits, grips, grip_map)
        self.gate = State()
        self.request = Request()
        self._shaper = ShaperState()
        self._steps = Steps(self.rules)
        self._before = self._shaper
        self._weighed: tuple[Decision, str] | None = None
        self._untold = False  # a step that raised is not in the log

    def weigh(self, decision: Decision, vetted: Decision, now_s: float) -> None:
        """Make the request of a decision. `vetted` is the same, perhaps rejected for a reason of somebody else's."""
        before = self._shaper
        self._weighed = None
        self._shaper, self.request = shape(
            before, vetted, self.rules.grip_map, self.rules.limits, now_s, self.gate.command
        )
        self._before, self._weighed = before, (decision, vetted.reason if vetted != decision else "")

    def forget(self) -> None:
        """The request is no longer what the wearer wants: the decision after it could not be shaped."""
        self.request, self._weighed = Request(), None

    def step(self, inputs: Inputs, *, log: bool) -> tuple[Command, tuple[Reason, ...], list[tuple[str, Facts]]]:
        """The verdict on the present request, which takes the place of the one in `inputs`; and, with `log`, what to
        log of it: kind and contents of each event.
        """
        inputs = replace(inputs, request=self.request)
        weighed, self._weighed = self._weighed, None
        before = self.gate, self._shaper if weighed is None else self._before
        untold, self._untold = self._untold, True
        self.gate, command, reasons = step(self.gate, inputs, self.rules.limits, self.rules.grips)
        told: Iterator[tuple[str, Facts]] = iter(())
        if log:
            told = self._steps.events(inputs, before, weighed, command, reasons, anew=untold)
        self._untold = False
        return command, reasons, list(told)
