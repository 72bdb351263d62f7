"""The command gate: says yes or no to every command and never changes one.

`step` is pure, total and deterministic; it needs `limits`, and nothing else but the standard library. Whoever runs it
calls `step` at least every 20 ms, samples or not, and sends what it returned now: a verdict is never stored.
`docs/safety.md` says what is promised; each promise has an SR id and a test.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

from myosem_edge.runtime.limits import Limits, is_number

Status = Literal["neutral", "armed", "fault"]


class Reason(Enum):
    """Why the command is not what was asked for; most severe first. Each has a page `docs/reasons/<page>.md`."""

    FAULT = ("fault", "Part of the program failed. Arm again once the cause is gone.")
    CLOCK_JUMP = ("clock-jump", "The clock went backwards or jumped. Arm again.")
    SIGNAL_LOST = ("signal-lost", "No muscle signal for more than a second. Check the cable, then arm again.")
    STOPPED = ("stopped", "You pressed stop. Arm again when you are ready.")
    BAD_NUMBER = ("bad-number", "A value is not a usable number, so nothing is sent.")
    LOOP_LATE = ("loop-late", "The board could not keep up.")
    STALE = ("stale", "The muscle signal is too old.")
    HAND_SILENT = ("hand-silent", "The hand does not answer.")
    SAMPLES_LOST = ("samples-lost", "Too many samples are lost on the wire.")
    BAD_CHANNELS = ("bad-channels", "Too many electrodes give no usable signal.")
    RECOVERING = ("recovering", "The signal is back; waiting until it stays good.")
    ARM_REFUSED = ("arm-refused", "Not armed: the signal was not good for long enough yet.")
    NOT_ARMED = ("not-armed", "Not armed. The hand moves only after you arm it.")
    DECISION_STALE = ("decision-stale", "The decoder has not decided anything new.")
    UNKNOWN_GRIP = ("unknown-grip", "This hand does not know that grip.")
    FORCE_LIMIT = ("force-limit", "The force asked for is outside your limit.")
    SPEED_LIMIT = ("speed-limit", "The speed asked for is outside your limit.")
    SPEED_STEP = ("speed-step", "The speed asked for rises too much at once.")
    TOO_OFTEN = ("too-often", "Too many commands in a short time.")
    CLOSED_TOO_LONG = ("closed-too-long", "The hand has closed for as long as allowed. Relax, then close again.")
    GRIP_CHANGE = ("grip-change", "Another grip needs a short release first.")
    FEW_VOTES = ("few-votes", "Not enough decisions in a row agree yet.")
    NOT_ACCEPTED = ("not-accepted", "The decoder is not sure what you meant.")
    RESTING = ("resting", "You are at rest.")
    LOCKED = ("locked", "You locked the hand: it stays as it is. Unlock it, or press open.")
    OPENED = ("opened", "You pressed open.")

    def __init__(self, page: str, sentence: str) -> None:
        self.page = page
        self.sentence = sentence

    @property
    def severity(self) -> int:
        """0 is the most severe."""
        return list(Reason).index(self)


HEALTH = frozenset(list(Reason)[: Reason.RECOVERING.severity + 1]) - {Reason.STOPPED}
LATCHING = frozenset({Reason.FAULT, Reason.CLOCK_JUMP, Reason.SIGNAL_LOST})


@dataclass(frozen=True)
class Request:
    """A shaped decision: what the decoder asks for. `speed` and `force` are fractions of the hand's own maximum.

    `decision_index` counts decisions: the same index again is the same evidence. `reject` says why not `accepted`.
    """

    kind: Literal["none", "open", "grip"] = "none"
    grip: str | None = None
    speed: float = 0.0
    force: float = 0.0
    action: str = ""
    accepted: bool = False
    reject: str = ""
    decision_index: int = -1


@dataclass(frozen=True)
class Wearer:
    """What the wearer presses. `stop` and `open` act while they are held; `arm` and `lock` are edges, true for one step
    only. `lock` locks an armed hand as it is, and unlocks a locked one.
    """

    stop: bool = False
    open: bool = False
    arm: bool = False
    disarm: bool = False
    lock: bool = False


@dataclass(frozen=True)
class Inputs:
    """Everything that a verdict depends on, besides the state; a log of these replays to the same commands.

    `now_s` is monotonic; `sample_age_s` is counted from the arrival of the newest sample, not from the last poll;
    `lost_fraction` is of the last second; `feedback_age_s` is None for a hand that reports nothing; `loop_late_s` is by
    how much this step comes later than due; `fault` is any failure elsewhere, in words, or None.
    """

    now_s: float
    sample_age_s: float
    lost_fraction: float
    bad_channels: int
    request: Request
    wearer: Wearer = Wearer()
    feedback_age_s: float | None = None
    loop_late_s: float = 0.0
    fault: str | None = None


@dataclass(frozen=True)
class Command:
    """What may leave for the hand now. Neutral is the hand's own choice of freeze, relax or open; never a grip. Hold is
    freeze, whatever that choice is: a locked hand lets nothing fall.
    """

    kind: Literal["neutral", "hold", "open", "grip"] = "neutral"
    grip: str | None = None
    speed: float = 0.0
    force: float = 0.0


NEUTRAL = Command()
HOLD = Command("hold")


@dataclass(frozen=True)
class State:
    """What the gate remembers from one step to the next. `State()` is a fresh, disarmed gate."""

    now_s: float | None = None
    healthy_since_s: float | None = None
    armed: bool = False
    locked: bool = False  # the hand stays as it is until the wearer unlocks or opens it, armed or not
    latched: Reason | None = None  # what took the arming away, until the next arm
    reasons: tuple[Reason, ...] = (Reason.NOT_ARMED,)
    decision_index: int | None = None
    decided_s: float = 0.0
    votes: tuple[tuple[str, str | None], ...] = ()  # (kind, grip) of the newest decisions, newest last
    command: Command = NEUTRAL
    message_times_s: tuple[float, ...] = ()
    unreleased_grip: str | None = None  # no other grip may follow before a release
    neutral_since_s: float | None = None
    closing_grip: str | None = None  # counts continuous closing until the wearer lets go
    closing_since_s: float = 0.0
    idle_since_s: float | None = None


def step(
    state: State, inputs: Inputs, limits: Limits, grips: frozenset[str]
) -> tuple[State, Command, tuple[Reason, ...]]:
    """One verdict. `grips` are the closing grips that the active hand may be sent.

    Returns the next state, the command to send now, and every reason why it is not what was asked, most severe first.
    Never raises, whatever the numbers are.
    """
    wearer, request = inputs.wearer, inputs.request
    troubles = _troubles(state, inputs, limits)
    if Reason.CLOCK_JUMP in troubles:
        # Every remembered time is on a clock that no longer counts.
        state = State(
            locked=state.locked,
            latched=state.latched,
            decision_index=state.decision_index,
            unreleased_grip=state.unreleased_grip,
        )
    now_s = inputs.now_s if is_number(inputs.now_s) else 0.0
    healthy_since_s = None if troubles else now_s if state.healthy_since_s is None else state.healthy_since_s
    healthy_for_s = -1.0 if healthy_since_s is None else now_s - healthy_since_s
    state = _counted(state, request, limits, now_s)

    reasons = set(troubles)
    armed, latched = state.armed, state.latched
    latching = [reason for reason in (state.latched, *troubles) if reason in LATCHING]
    if wearer.stop:
        latching.append(Reason.STOPPED)
        reasons.add(Reason.STOPPED)
    if latching:
        latched = min(latching, key=lambda reason: reason.severity)
    if wearer.stop or wearer.disarm or troubles & LATCHING:
        armed = False
    elif wearer.arm and not wearer.open and not armed:
        if healthy_for_s >= limits.healthy_s:
            armed, latched = True, None
        else:
            reasons.add(Reason.ARM_REFUSED)
    if not armed:
        reasons.add(latched or Reason.NOT_ARMED)
    elif not troubles and healthy_for_s < limits.recover_s:
        reasons.add(Reason.RECOVERING)

    locked = state.locked
    if wearer.open and not wearer.stop:
        locked = False
    elif wearer.lock and not wearer.stop:
        locked = armed and not locked
    if locked:
        reasons.add(Reason.LOCKED)

    command, keep_votes = HOLD if locked else NEUTRAL, False
    if wearer.open and not wearer.stop:
        # At the wearer's own top speed: letting go must not depend on any number of the decoder.
        command = Command("open", None, limits.max_speed)
        reasons.add(Reason.OPENED)
    elif not reasons:
        command, why, keep_votes = _judged(state, request, limits, grips, now_s)
        reasons.update(why)

    ordered = tuple(sorted(reasons, key=lambda reason: reason.severity))
    state = replace(
        _sent(state, request, command, limits, now_s),
        now_s=inputs.now_s if is_number(inputs.now_s) else state.now_s,
        healthy_since_s=healthy_since_s,
        armed=armed,
        locked=locked,
        latched=latched,
        reasons=ordered,
        votes=state.votes if keep_votes else (),
    )
    return state, command, ordered


def status(state: State) -> tuple[Status, Reason | None]:
    """The one indication for the wearer: neutral, armed or fault, and the reason to show beside it."""
    if state.latched in LATCHING:
        return "fault", state.latched
    reason = state.reasons[0] if state.reasons else None
    if not state.armed:
        return "neutral", reason
    return ("fault" if reason in HEALTH else "armed"), reason


def _troubles(state: State, inputs: Inputs, limits: Limits) -> set[Reason]:
    """What is wrong with the world now; empty when healthy."""
    request, feedback_age_s = inputs.request, inputs.feedback_age_s
    elapsed_s = 0.0
    troubles = set()
    if inputs.fault is not None:
        troubles.add(Reason.FAULT)
    if not is_number(inputs.now_s):
        troubles |= {Reason.BAD_NUMBER, Reason.CLOCK_JUMP}
    elif state.now_s is not None:
        elapsed_s = inputs.now_s - state.now_s
        if not 0 <= elapsed_s <= limits.max_time_jump_s:
            troubles.add(Reason.CLOCK_JUMP)
    ages_s = (inputs.sample_age_s, 0.0 if feedback_age_s is None else feedback_age_s)
    counts = (inputs.lost_fraction, inputs.bad_channels)
    numbers = (*ages_s, *counts, inputs.loop_late_s, request.speed, request.force)
    usable = all(map(is_number, numbers)) and isinstance(request.decision_index, int)
    # A stamp slightly ahead of `now_s` is two readings of one clock; far ahead, or a negative count, is a defect.
    if not usable or min(ages_s) < -limits.stale_s or min(counts) < 0:
        troubles.add(Reason.BAD_NUMBER)
    # Written so that a value that is not a number fails each of them.
    if not inputs.sample_age_s <= limits.stale_s:
        troubles.add(Reason.STALE)
        if state.armed and not inputs.sample_age_s <= limits.stale_latch_s:
            troubles.add(Reason.SIGNAL_LOST)
    # Not being asked for so long is being late too, whatever the loop says of itself.
    if not (inputs.loop_late_s <= limits.loop_late_s and elapsed_s <= limits.stale_s):
        troubles.add(Reason.LOOP_LATE)
    if feedback_age_s is not None and not feedback_age_s <= limits.feedback_stale_s:
        troubles.add(Reason.HAND_SILENT)
    if not inputs.lost_fraction <= limits.lost_fraction:
        troubles.add(Reason.SAMPLES_LOST)
    if not inputs.bad_channels < limits.bad_channels:
        troubles.add(Reason.BAD_CHANNELS)
    return troubles


def _counted(state: State, request: Request, limits: Limits, now_s: float) -> State:
    """Add the vote of a new decision; the same decision again adds nothing."""
    index = request.decision_index
    if index == state.decision_index or not isinstance(index, int):
        return state
    # An index that went back is a decoder that started anew: its past is not evidence.
    votes = () if state.decision_index is not None and index < state.decision_index else state.votes
    vote = (request.kind, request.grip) if request.accepted else ("rejected", None)
    kept = max(limits.close_window, limits.release_window)
    return replace(state, decision_index=index, decided_s=now_s, votes=(*votes, vote)[-kept:])


def _judged(
    state: State, request: Request, limits: Limits, grips: frozenset[str], now_s: float
) -> tuple[Command, list[Reason], bool]:
    """Yes or no to the request of an armed, healthy gate: the command, why not, and whether the votes still stand."""
    recent = state.votes[-limits.release_window :]
    if now_s - state.decided_s > limits.decision_stale_s:
        return NEUTRAL, [Reason.DECISION_STALE], False
    if not request.accepted:
        return NEUTRAL, [Reason.NOT_ACCEPTED], True
    if request.kind == "none":
        return NEUTRAL, [Reason.RESTING], True
    if request.kind == "open":
        if sum(kind == "open" for kind, _ in recent) < limits.release_votes:
            return NEUTRAL, [Reason.FEW_VOTES], True
        return Command("open", None, limits.max_speed), [], True
    if request.kind != "grip" or request.grip == "open" or request.grip not in grips:
        return NEUTRAL, [Reason.UNKNOWN_GRIP], False

    votes = state.votes[-limits.close_window :].count(("grip", request.grip))
    letting_go = sum(kind in ("none", "open") for kind, _ in recent)
    if votes < limits.close_votes or letting_go >= limits.release_votes:
        return NEUTRAL, [Reason.FEW_VOTES], True
    if state.unreleased_grip not in (None, request.grip) and (
        state.neutral_since_s is None or now_s - state.neutral_since_s < limits.dwell_s
    ):
        return NEUTRAL, [Reason.GRIP_CHANGE], True

    command = Command("grip", request.grip, request.speed, request.force)
    blocked = []
    if not 0 <= command.force <= limits.max_force:
        blocked.append(Reason.FORCE_LIMIT)
    if not 0 < command.speed <= limits.max_speed:
        blocked.append(Reason.SPEED_LIMIT)
    # A block, an open or a neutral forgets the last speed, so the next grip starts from rest.
    if command.speed - (state.command.speed if state.command.kind == "grip" else 0.0) > limits.max_speed_step:
        blocked.append(Reason.SPEED_STEP)
    sent_s = state.message_times_s[-limits.messages_per_window :]
    full = len(sent_s) == limits.messages_per_window and now_s - sent_s[0] <= limits.rate_window_s
    if full and command != state.command:
        blocked.append(Reason.TOO_OFTEN)
    if state.closing_grip == request.grip and now_s - state.closing_since_s >= limits.max_close_s:
        blocked.append(Reason.CLOSED_TOO_LONG)
    return (NEUTRAL, blocked, False) if blocked else (command, [], True)


def _sent(state: State, request: Request, command: Command, limits: Limits, now_s: float) -> State:
    """Remember what leaves: the rate, what has to be released first, and how long one grip has been closing."""
    if command.kind in ("open", "grip") and command != state.command:
        state = replace(state, message_times_s=(*state.message_times_s, now_s)[-limits.messages_per_window :])
    if command.kind == "grip":
        if state.closing_grip != command.grip:
            state = replace(state, closing_grip=command.grip, closing_since_s=now_s)
        return replace(state, command=command, unreleased_grip=command.grip, neutral_since_s=None, idle_since_s=None)
    if command.kind == "open":
        return replace(state, command=command, unreleased_grip=None, closing_grip=None)

    # Being blocked is not letting go: only a request that asks for no grip ends a close that lasted too long.
    idle_since_s = None
    if not (request.accepted and request.kind == "grip"):
        idle_since_s = now_s if state.idle_since_s is None else state.idle_since_s
        if now_s - idle_since_s >= limits.dwell_s:
            state = replace(state, closing_grip=None)
    if command.kind == "hold":  # a grip that is held is not released
        return replace(state, command=command, neutral_since_s=None, idle_since_s=idle_since_s)
    neutral_since_s = now_s if state.neutral_since_s is None else state.neutral_since_s
    if now_s - neutral_since_s >= limits.dwell_s:
        state = replace(state, unreleased_grip=None)
    return replace(state, command=NEUTRAL, neutral_since_s=neutral_since_s, idle_since_s=idle_since_s)
