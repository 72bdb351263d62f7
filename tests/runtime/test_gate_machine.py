"""The gate under any sequence of events, and under any numbers at all."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from myosem_edge.clock import VirtualClock
from myosem_edge.runtime.gate import (
    HEALTH,
    HOLD,
    NEUTRAL,
    Command,
    Inputs,
    Reason,
    Request,
    State,
    Wearer,
    status,
    step,
)
from myosem_edge.runtime.limits import Limits

GRIPS = frozenset({"power", "pinch", "tripod"})
UNTOUCHED = Wearer()
REQUESTS = st.builds(
    Request,
    kind=st.sampled_from(["none", "open", "grip", "grip", "grip"]),
    grip=st.sampled_from(["power", "power", "power", "pinch", "claw"]),
    speed=st.sampled_from([0.2, 0.2, 0.2, 0.4, 0.6, 0.9, 0.0, math.nan]),
    force=st.sampled_from([0.5, 0.5, 0.5, 0.7, 0.71, -1.0]),
    accepted=st.sampled_from([True, True, True, False]),
)


@pytest.mark.sr("SR-20")
class GateMachine(RuleBasedStateMachine):
    """Whatever happens, in whatever order, at whatever pace."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.state = State()
        self.request = Request()
        self.world: dict[str, Any] = {}
        self.command = NEUTRAL
        self.wearer = Wearer()
        self.locked = False
        self.messages_s: list[float] = []
        self.good_since_s: float | None = None
        self.deliberately_armed = False
        self.closing: tuple[str, float] | None = None
        self.last_grip: tuple[str, float] | None = None  # and when it was last commanded
        self.opened_since = True

    @initialize(per_s=st.sampled_from([4, 12, 50]), speed=st.sampled_from([0.5, 1.0]))
    def limits_of_a_wearer(self, per_s: int, speed: float) -> None:
        self.limits = Limits().tightened(max_commands_per_s=per_s, max_speed=speed, max_force=0.7, max_close_s=2.0)

    def turn(self, after_s: float, *, wearer: Wearer = UNTOUCHED, **now: Any) -> None:
        now_s = self.clock.advance(after_s)
        self.wearer = wearer
        healthy = {"sample_age_s": 0.01, "lost_fraction": 0.0, "bad_channels": 0, "loop_late_s": 0.0}
        inputs = Inputs(now_s=now_s, request=self.request, wearer=wearer, **{**healthy, **self.world, **now})
        previous = self.command
        self.state, self.command, self.reasons = step(self.state, inputs, self.limits, GRIPS)

        good = not (self.world or now or after_s > self.limits.stale_s) and math.isfinite(self.request.speed)
        self.good_since_s = (self.good_since_s or now_s) if good else None
        if wearer.stop or wearer.disarm or "fault" in {**self.world, **now}:
            self.deliberately_armed = False
        elif wearer.arm and self.state.armed:
            self.deliberately_armed = True
        was_locked, self.locked = self.locked, self.state.locked
        if self.locked != was_locked:  # nothing but the wearer locks, and nothing but the wearer unlocks
            assert wearer.lock or (was_locked and wearer.open)
        if self.command.kind in ("open", "grip") and self.command != previous:
            self.messages_s.append(now_s)
        self.check_grip(now_s, previous)
        self.opened_since = self.command.kind == "open" or (self.opened_since and self.command.kind != "grip")

    def check_grip(self, now_s: float, previous: Command) -> None:
        command = self.command
        if command.kind != "grip":
            return
        assert self.state.armed and self.deliberately_armed and self.state.latched is None
        assert self.good_since_s is not None and now_s - self.good_since_s >= self.limits.recover_s
        assert command == Command("grip", self.request.grip, self.request.speed, self.request.force)
        assert self.request.accepted and command.grip in GRIPS
        assert 0 < command.speed <= self.limits.max_speed and 0 <= command.force <= self.limits.max_force
        assert command.speed - (previous.speed if previous.kind == "grip" else 0.0) <= self.limits.max_speed_step
        window = [time_s for time_s in self.messages_s if now_s - time_s <= self.limits.rate_window_s]
        if command != previous:
            assert len(window) <= self.limits.messages_per_window
        if self.last_grip is not None and self.last_grip[0] != command.grip:
            assert self.opened_since or now_s - self.last_grip[1] >= self.limits.dwell_s
        if previous.kind != "grip" or previous.grip != command.grip:
            self.closing = (str(command.grip), now_s)
        assert self.closing is not None and now_s - self.closing[1] < self.limits.max_close_s
        self.last_grip = (str(command.grip), now_s)

    @rule(request=REQUESTS, hops=st.integers(1, 20), hop_s=st.sampled_from([0.01, 0.025, 0.05]))
    def decide(self, request: Request, hops: int, hop_s: float) -> None:
        for _ in range(hops):
            self.request = replace(request, decision_index=self.request.decision_index + 1)
            self.turn(hop_s)

    @rule(speeds=st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=3, max_size=12))
    def close_with_changing_speed(self, speeds: list[float]) -> None:
        for speed in speeds:
            index = self.request.decision_index + 1
            self.request = Request("grip", "power", speed, 0.5, accepted=True, decision_index=index)
            self.turn(0.025)

    @rule(ticks=st.integers(1, 15))
    def wait(self, ticks: int) -> None:
        for _ in range(ticks):
            self.turn(0.02)

    @rule()
    def arm_after_a_healthy_second(self) -> None:
        self.world = {}
        self.request = Request(accepted=True, decision_index=self.request.decision_index + 1)
        for _ in range(60):
            self.turn(0.02)
        self.turn(0.02, wearer=Wearer(arm=True))
        assert self.state.armed

    @rule(wearer=st.builds(Wearer, *[st.booleans()] * 5))
    def press(self, wearer: Wearer) -> None:
        self.turn(0.02, wearer=wearer)

    @rule(
        trouble=st.sampled_from(
            [
                {"sample_age_s": 0.2},
                {"sample_age_s": 5.0},
                {"lost_fraction": 0.5},
                {"bad_channels": 3},
                {"loop_late_s": 0.2},
                {"feedback_age_s": 3.0},
                {"fault": "port vanished"},
                {"sample_age_s": math.nan},
            ]
        ),
        stays=st.booleans(),
    )
    def trouble(self, trouble: dict[str, Any], stays: bool) -> None:
        if stays:
            self.world = trouble
        self.turn(0.02, **trouble)
        assert self.command == self.nothing

    @precondition(lambda self: self.world)
    @rule()
    def trouble_ends(self) -> None:
        self.world = {}

    @rule(gap_s=st.sampled_from([0.16, 0.9, 1.5, 60.0]))
    def nobody_asks_for_a_while(self, gap_s: float) -> None:
        self.turn(gap_s)
        assert self.command == self.nothing

    @invariant()
    def the_wearer_wins(self) -> None:
        if self.wearer.stop:
            assert self.command == self.nothing and not self.state.armed
        elif self.wearer.open:
            assert self.command == Command("open", None, self.limits.max_speed)

    @property
    def nothing(self) -> Command:
        return HOLD if self.state.locked else NEUTRAL

    @invariant()
    def a_locked_hand_holds(self) -> None:
        assert (self.command == HOLD) is self.state.locked

    @invariant()
    def only_the_whitelist_leaves(self) -> None:
        assert self.command.kind in ("neutral", "hold", "open", "grip")
        assert self.command.grip is None or (self.command.kind == "grip" and self.command.grip in GRIPS)

    @invariant()
    def one_status_tells(self) -> None:
        word, reason = status(self.state)
        assert (word == "armed") is (self.state.armed and not set(self.state.reasons) & HEALTH)
        assert word == "armed" or isinstance(reason, Reason)

    @invariant()
    def it_remembers_little(self) -> None:
        assert len(self.state.votes) <= 4
        assert len(self.state.message_times_s) <= 12


TestGateMachine = GateMachine.TestCase
TestGateMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)

WILD = st.one_of(
    st.floats(),
    st.integers(),
    st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 10**400, -(10**400), 1e308, 5e-324, True]),
)
ANY_REQUEST = st.builds(
    Request,
    kind=st.sampled_from(["none", "open", "grip", "", "neutral"]),
    grip=st.one_of(st.none(), st.text(max_size=5), st.sampled_from(sorted(GRIPS))),
    speed=WILD,
    force=WILD,
    accepted=st.booleans(),
    decision_index=WILD,
)
ANY_INPUTS = st.builds(
    Inputs,
    now_s=WILD,
    sample_age_s=WILD,
    lost_fraction=WILD,
    bad_channels=WILD,
    request=ANY_REQUEST,
    wearer=st.builds(Wearer, *[st.booleans()] * 5),
    feedback_age_s=st.none() | WILD,
    loop_late_s=WILD,
    fault=st.none() | st.text(max_size=3),
)


@pytest.mark.sr("SR-10")
@settings(max_examples=300, deadline=None)
@given(st.lists(ANY_INPUTS, min_size=1, max_size=12))
def test_sr10_total_whatever_the_numbers_are(sequence: list[Inputs]) -> None:
    state = State()
    for inputs in sequence:
        state, command, reasons = step(state, inputs, Limits(), GRIPS)
        assert command.kind in ("neutral", "open", "grip")
        if inputs.wearer.stop:
            assert command == NEUTRAL
        elif inputs.wearer.open:
            assert command.kind == "open"
        else:
            assert command == NEUTRAL, "nobody was healthy for a second"
        assert reasons and status(state)[1] is not None


@pytest.mark.sr("SR-10")
@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(ANY_REQUEST, st.integers(0, 3)), max_size=15))
def test_sr10_an_armed_gate_survives_any_request(requests: list[tuple[Request, int]]) -> None:
    limits = Limits()
    state = State(now_s=50.0, healthy_since_s=1.0, armed=True, reasons=())
    now_s, index = 50.0, 0
    for request, more in requests:
        now_s, index = now_s + 0.02, index + more
        # Half of them count properly, so that some come through.
        request = replace(request, decision_index=index) if more else request
        state, command, _ = step(state, Inputs(now_s, 0.0, 0.0, 0, request), limits, GRIPS)
        if command.kind == "grip":
            assert command == Command("grip", request.grip, request.speed, request.force)
            assert request.accepted and request.grip in GRIPS and 0 < request.speed <= 0.25 * len(requests)
