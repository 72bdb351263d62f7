"""The shaper: inside the wearer's limits always, and never asking for what the gate would have to block."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from myosem_edge.runtime.decision import Decision
from myosem_edge.runtime.gate import NEUTRAL, Command, Inputs, Reason, Request, State, Wearer, step
from myosem_edge.runtime.grips import GripMap, GripRule
from myosem_edge.runtime.limits import Limits
from myosem_edge.runtime.shaper import CHANGE_THRESHOLD, MIN_SPEED, ShaperState, shape

MAP = GripMap(
    {
        "rest": GripRule(None, 0.6, "meaning"),
        "hand_open": GripRule("open", 0.6, "meaning"),
        "fist": GripRule("power", 0.75, "meaning"),
        "wrist_flexion": GripRule("lateral", 0.75, "chosen"),
    }
)
GRIPS = frozenset({"power", "lateral"})
LIMITS = Limits()
LIMIT_REASONS = {
    Reason.UNKNOWN_GRIP,
    Reason.FORCE_LIMIT,
    Reason.SPEED_LIMIT,
    Reason.SPEED_STEP,
    Reason.TOO_OFTEN,
    Reason.BAD_NUMBER,
}
HOP_S = 0.025


def decision(
    index: int, action: str = "fist", probability: float = 0.9, level: float = 0.5, reason: str = ""
) -> Decision:
    return Decision(index, 0.0, action, probability, 0.5, 0.5, "calibrated", not reason, reason, level)


def shaped(action: str = "fist", probability: float = 0.9, level: float = 0.5, reason: str = "") -> Request:
    return shape(ShaperState(), decision(1, action, probability, level, reason), MAP, LIMITS, 0.0)[1]


@pytest.mark.sr("SR-06")
class TestSR06Threshold:
    @pytest.mark.parametrize(
        ("action", "probability", "accepted"),
        [
            ("fist", 0.75, True),
            ("fist", 0.7499, False),
            ("fist", 1.0, True),
            ("hand_open", 0.6, True),
            ("hand_open", 0.5999, False),
            ("rest", 0.6, True),
            ("rest", 0.59, False),
        ],
    )
    def test_each_row_has_its_own(self, action: str, probability: float, accepted: bool) -> None:
        request = shaped(action, probability)
        assert request.accepted is accepted
        assert request.reject == ("" if accepted else "threshold")
        assert accepted or request.kind == "none"

    def test_the_decoders_own_reason_is_handed_on(self) -> None:
        assert shaped(reason="margin") == Request(action="fist", reject="margin", decision_index=1)

    def test_an_action_without_a_row_asks_for_nothing(self) -> None:
        assert shaped("finger_snap", 1.0).reject == "no-grip"

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_what_is_no_number_is_not_accepted(self, bad: float) -> None:
        assert shaped(probability=bad).reject == "unusable"
        assert shaped(level=bad).reject == "unusable"

    def test_rest_and_open(self) -> None:
        assert shaped("rest") == Request(action="rest", accepted=True, decision_index=1)
        assert shaped("hand_open") == Request("open", action="hand_open", accepted=True, decision_index=1)


class Wired:
    """Shaper and gate as the loop wires them, in a healthy world."""

    def __init__(self, limits: Limits = LIMITS, *, told: bool = True) -> None:
        self.limits, self.told = limits, told
        self.now_s, self.index = 100.0, 0
        self.shaper, self.gate = ShaperState(), State()
        self.command = NEUTRAL
        for _ in range(45):
            self.hop("rest")
        self.step(Request(accepted=True, decision_index=self.index), Wearer(arm=True))
        assert self.gate.armed

    def step(self, request: Request, wearer: Wearer) -> None:
        inputs = Inputs(self.now_s, 0.0, 0.0, 0, request, wearer)
        self.gate, self.command, self.reasons = step(self.gate, inputs, self.limits, GRIPS)

    def hop(
        self, action: str, level: float = 1.0, hop_s: float = HOP_S, *, accepted: bool = True, probability: float = 0.99
    ) -> Command:
        """One decision, then the ticks until the next one."""
        self.index += 1
        now = decision(self.index, action, probability, level, "" if accepted else "margin")
        self.now_s += hop_s / 2
        issued = self.command if self.told else NEUTRAL
        self.shaper, self.request = shape(self.shaper, now, MAP, self.limits, self.now_s, issued)
        self.step(self.request, Wearer())
        command = self.command
        self.now_s += hop_s / 2
        self.step(self.request, Wearer())
        return command


@pytest.mark.sr("SR-06")
class TestChange:
    """A held grip is left for another only by letting go, or by a decision that leaves no doubt."""

    def held(self) -> Wired:
        wired = Wired()
        for _ in range(6):
            wired.hop("fist", probability=0.8)
        assert wired.command.grip == "power"
        return wired

    def after(self, wired: Wired, probability: float) -> str | None:
        for _ in range(30):
            wired.hop("wrist_flexion", probability=probability)
        return wired.command.grip

    def test_a_likely_other_grip_does_not_replace_a_held_one(self) -> None:
        wired = self.held()
        assert self.after(wired, CHANGE_THRESHOLD - 0.01) is None
        assert wired.request.reject == "threshold"

    def test_a_certain_one_does(self) -> None:
        assert self.after(self.held(), CHANGE_THRESHOLD) == "lateral"

    @pytest.mark.parametrize("release", ["rest", "hand_open"])
    def test_who_lets_go_closes_as_from_rest(self, release: str) -> None:
        wired = self.held()
        wired.hop(release)
        assert self.after(wired, 0.8) == "lateral"

    def test_a_refused_decision_is_no_release(self) -> None:
        wired = self.held()
        for _ in range(30):
            wired.hop("rest", probability=0.5)
        assert self.after(wired, 0.9) is None

    def test_the_wearers_open_is_a_release(self) -> None:
        wired = self.held()
        wired.command = Command("open", None, 1.0)
        assert self.after(wired, 0.8) == "lateral"

    def test_the_held_grip_itself_goes_on_as_before(self) -> None:
        wired = self.held()
        wired.hop("wrist_flexion", probability=0.9)
        assert [wired.hop("fist", probability=0.8).grip for _ in range(6)][-1] == "power"

    def test_a_row_that_asks_for_more_keeps_its_own_threshold(self) -> None:
        rows = GripMap({**MAP.actions, "wrist_flexion": GripRule("lateral", 0.98, "chosen")})
        state = ShaperState(held="power")
        assert shape(state, decision(1, "wrist_flexion", 0.97), rows, LIMITS, 0.0)[1].reject == "threshold"
        assert shape(state, decision(1, "wrist_flexion", 0.98), rows, LIMITS, 0.0)[1].accepted


class TestRamp:
    def test_speed_rises_over_the_ramp_to_the_wearers_maximum(self) -> None:
        wired = Wired(LIMITS.tightened(max_speed=0.8))
        seen = [(wired.now_s, wired.hop("fist").speed) for _ in range(30)]
        speeds = [speed for _, speed in seen if speed]
        assert speeds[0] == MIN_SPEED
        assert speeds == sorted(speeds)
        assert 0.8 - 1 / 32 < speeds[-1] <= 0.8
        started_s = next(time_s for time_s, speed in seen if speed)
        full_s = next(time_s for time_s, speed in seen if speed == speeds[-1])
        assert 0.25 <= full_s - started_s <= 0.4

    @pytest.mark.parametrize("interruption", ["rest", "wrist_flexion", "hand_open", "margin"])
    def test_every_change_of_decision_starts_it_again(self, interruption: str) -> None:
        wired = Wired()
        for _ in range(30):
            wired.hop("fist")
        assert wired.command.speed == 1.0
        wired.hop("fist" if interruption == "margin" else interruption, accepted=interruption != "margin")
        speeds = [wired.hop("fist").speed for _ in range(30)]
        assert next(speed for speed in speeds if speed) == MIN_SPEED

    def test_it_waits_while_another_grip_has_to_be_released(self) -> None:
        wired = Wired()
        for _ in range(30):
            wired.hop("fist")
        speeds = []
        for _ in range(30):
            command = wired.hop("wrist_flexion")
            assert not LIMIT_REASONS & set(wired.reasons), wired.reasons
            speeds.append(command.speed)
        assert next(speed for speed in speeds if speed) == MIN_SPEED

    @pytest.mark.parametrize(
        ("level", "speed"), [(0.0, MIN_SPEED), (0.5, 0.5625), (1.0, 1.0), (-3.0, MIN_SPEED), (9, 1.0)]
    )
    def test_speed_is_proportional_to_the_contraction(self, level: float, speed: float) -> None:
        wired = Wired()
        for _ in range(40):
            command = wired.hop("fist", level)
        assert command.speed == speed

    def test_a_weaker_contraction_slows_down(self) -> None:
        wired = Wired()
        for _ in range(40):
            wired.hop("fist", 1.0)
        for _ in range(3):
            command = wired.hop("fist", 0.25)
        assert command.kind == "grip" and command.speed < 0.5

    def test_a_trembling_contraction_sends_nothing_new(self) -> None:
        wired = Wired()
        for _ in range(40):
            wired.hop("fist", 0.52)
        commands = {wired.hop("fist", 0.52 + 0.004 * (-1) ** turn) for turn in range(40)}
        assert len(commands) == 1

    def test_a_shaper_that_is_told_nothing_stays_slow(self) -> None:
        wired = Wired(told=False)
        assert {wired.hop("fist").speed for _ in range(60)} == {0.0, MIN_SPEED}

    def test_the_same_decision_gives_the_same_request(self) -> None:
        state, first = shape(ShaperState(), decision(7), MAP, LIMITS, 1.0)
        again, second = shape(state, decision(7, "rest"), MAP, LIMITS, 5.0, Command("grip", "power", 0.9))
        assert (again, second) == (state, first)

    def test_no_ramp_is_a_choice(self) -> None:
        issued = Command("grip", "power", 0.125, 1.0)
        state, _ = shape(ShaperState(), decision(1), MAP, LIMITS, 1.0, issued, ramp_s=0.0)
        _, request = shape(state, decision(2, level=1.0), MAP, LIMITS, 1.025, issued, ramp_s=0.0)
        assert request.speed == 0.375


@pytest.mark.sr("SR-09")
class TestSR09TheGateNeverHasToBlock:
    LIMITS_OF_A_WEARER = st.fixed_dictionaries(
        {
            "max_speed": st.floats(0.01, 1.0),
            "max_force": st.floats(0.01, 1.0),
            "max_speed_step": st.floats(0.01, 0.25),
            "max_commands_per_s": st.floats(4, 50),
        }
    )
    STREAM = st.lists(
        st.tuples(
            st.sampled_from(["fist", "fist", "fist", "wrist_flexion", "rest", "hand_open", "unheard_of"]),
            st.floats(0, 1),
            st.booleans() | st.just(True),
            st.integers(1, 12),
            st.sampled_from([0.01, 0.025, 0.05, 0.1]),
        ),
        max_size=15,
    )

    @settings(max_examples=150, deadline=None)
    @given(LIMITS_OF_A_WEARER, STREAM)
    @example({"max_speed_step": 0.02, "max_commands_per_s": 4}, [("fist", 1.0, True, 12, 0.025)] * 10)
    @example({"max_speed": 0.02}, [("fist", 1.0, True, 12, 0.025)] * 3)
    def test_any_stream_of_decisions_stays_inside(
        self, wearer: dict[str, float], stream: list[tuple[str, float, bool, int, float]]
    ) -> None:
        limits = LIMITS.tightened(**wearer)
        wired = Wired(limits)
        for action, level, accepted, hops, hop_s in stream:
            for _ in range(hops):
                wired.hop(action, level, hop_s, accepted=accepted)
                assert not LIMIT_REASONS & set(wired.reasons), (wired.request, wired.reasons)
                assert 0 <= wired.request.speed <= limits.max_speed
                assert 0 <= wired.request.force <= limits.max_force

    @pytest.mark.parametrize("step", [0.01, 0.02, 1 / 32, 0.04, 0.1, 0.25])
    def test_small_steps_still_climb(self, step: float) -> None:
        wired = Wired(LIMITS.tightened(max_speed_step=step))
        speeds = [wired.hop("fist").speed for _ in range(300)]
        rises = [after - before for before, after in pairwise(speeds)]
        assert max(rises) <= step
        assert speeds[-1] > 0.95, "one step per two hops reaches the top in the end"

    def test_a_slow_message_rate_still_climbs(self) -> None:
        wired = Wired(LIMITS.tightened(max_commands_per_s=4))
        assert max(wired.hop("fist").speed for _ in range(80)) == 1.0

    def test_a_hand_that_just_opened_waits_before_it_closes_again(self) -> None:
        wired = Wired(LIMITS.tightened(max_commands_per_s=4))
        wired.hop("hand_open")
        wired.hop("fist")
        assert wired.request.reject == "pace" and not wired.request.accepted
        kinds = [wired.hop("fist").kind for _ in range(20)]
        assert "grip" in kinds
