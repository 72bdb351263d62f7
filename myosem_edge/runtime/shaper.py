"""The shaper: a decision in, a request for a grip with speed and force inside the wearer's limits out.

Speed is proportional to the contraction and is held back after every change of decision, rising again over a short
ramp. Such a decision-based velocity ramp helps people in real time, where a majority vote shows no benefit (Simon,
Hargrove, Lock and Kuiken 2011), so smoothing of labels is left out and what votes there are belong to the gate.
Who holds a grip and means another lets go first, so a grip that follows another without a rest or an opening in between
needs more probability than one from rest: held grips are left alone, and what comes from rest need not wait.
The gate never clips; it is the shaper that keeps every well-formed stream inside what the gate lets through.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from myosem_edge.runtime.decision import Decision
from myosem_edge.runtime.gate import NEUTRAL, Command, Request
from myosem_edge.runtime.grips import OPEN, GripMap
from myosem_edge.runtime.limits import Limits

RAMP_S = 0.3  # long enough to notice a wrong grip before it moves fast, short enough not to be felt as delay
MIN_SPEED = 0.125  # of the hand's maximum: slower movement looks like none
CHANGE_THRESHOLD = 0.95  # of the probability, from one grip straight to another; chosen on people trained on
SPEED_GRAIN = 1 / 32  # a power of two, so that sums are exact; coarse, so that a trembling level sends few messages

UNUSABLE, UNMAPPED, UNSURE, PACED = "unusable", "no-grip", "threshold", "pace"


@dataclass(frozen=True)
class ShaperState:
    """What the shaper remembers between decisions. `ShaperState()` is a fresh one."""

    request: Request | None = None
    since_s: float = 0.0  # when the gate let the present grip start: the foot of the ramp
    issued: Command = NEUTRAL
    issued_s: float | None = None  # when the newest message was seen
    held: str | None = None  # the grip that the wearer has not let go of by a rest or an opening


def shape(
    state: ShaperState,
    decision: Decision,
    grip_map: GripMap,
    limits: Limits,
    now_s: float,
    issued: Command = NEUTRAL,
    *,
    ramp_s: float = RAMP_S,
    min_speed: float = MIN_SPEED,
) -> tuple[ShaperState, Request]:
    """Ask the gate for what `decision` means; call it once for every decision.

    `issued` is the gate's newest command. The ramp climbs from it, so the speed does not run ahead while the gate still
    waits for votes or for a release; left out, the speed never rises above where a grip starts.
    The same decision again returns the same request.
    """
    if state.request is not None and state.request.decision_index == decision.index:
        return state, state.request
    if issued.kind == "hold":
        issued = NEUTRAL  # to the ramp they are one; neither is a release
    if issued != state.issued:
        started = issued.kind == "grip" and (state.issued.kind, state.issued.grip) != ("grip", issued.grip)
        state = replace(
            state,
            issued=issued,
            issued_s=state.issued_s if issued.kind == "neutral" else now_s,
            since_s=now_s if started else state.since_s,
        )
    if issued.kind != "neutral":
        state = replace(state, held=issued.grip)  # an opening has none
    request = _asked(state, decision, grip_map, limits, now_s, ramp_s, min_speed)
    held = None if request.accepted and request.kind != "grip" else state.held
    return replace(state, request=request, held=held), request


def _asked(
    state: ShaperState,
    decision: Decision,
    grip_map: GripMap,
    limits: Limits,
    now_s: float,
    ramp_s: float,
    min_speed: float,
) -> Request:
    rule = grip_map.actions.get(decision.action)
    request = Request(action=decision.action, decision_index=decision.index)
    if not decision.accepted:
        return replace(request, reject=decision.reason or "decoder")
    if not (math.isfinite(decision.probability) and math.isfinite(decision.level)):
        return replace(request, reject=UNUSABLE)
    if rule is None:
        return replace(request, reject=UNMAPPED)
    changes = state.held is not None and rule.grip not in (state.held, None, OPEN)
    if decision.probability < (max(rule.threshold, CHANGE_THRESHOLD) if changes else rule.threshold):
        return replace(request, reject=UNSURE)
    if rule.grip is None:
        return replace(request, accepted=True)
    if rule.grip == OPEN:
        return replace(request, kind="open", accepted=True)

    present = state.issued if (state.issued.kind, state.issued.grip) == ("grip", rule.grip) else NEUTRAL
    lowest = min(min_speed, limits.max_speed)
    target = lowest + min(1.0, max(0.0, decision.level)) * (limits.max_speed - lowest)
    climbed = 0.0 if present is NEUTRAL else min(1.0, max(0.0, (now_s - state.since_s) / max(ramp_s, 1e-9)))
    speed = _grained(lowest + climbed * (target - lowest), present.speed, limits.max_speed_step)

    # Counted from when the last message was seen, a hop after it left: its distance is longer than the gate wants.
    interval_s = limits.rate_window_s / limits.messages_per_window
    waiting = state.issued_s is not None and now_s - state.issued_s < interval_s
    if waiting and present is NEUTRAL:
        return replace(request, reject=PACED)
    return replace(
        request,
        kind="grip",
        grip=rule.grip,
        speed=present.speed if waiting else speed,
        force=limits.max_force,
        accepted=True,
    )


def _grained(speed: float, present: float, step: float) -> float:
    """`speed` rounded down to a grain and at most `step` above `present`; never zero: a grip without speed is none."""
    # A step below the grain becomes the grain, a hair smaller so that rounding cannot make a rise exceed it.
    grain = SPEED_GRAIN if step >= SPEED_GRAIN else 0.999 * step
    highest = int(present / grain + 1e-6) + int(step / grain)
    return min(int(speed / grain), highest) * grain or speed
