"""The command gate, one class per safety requirement. Time is a number that the test sets."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myosem_edge.runtime import gate
from myosem_edge.runtime.gate import (
    HEALTH,
    HOLD,
    LATCHING,
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
from myosem_edge.runtime.limits import Limits, is_number

LIMITS = Limits()
GRIPS = frozenset({"power", "lateral", "pinch", "tripod", "point", "hook"})
TICK_S = 1 / 64  # sums of it are exact
HOP_S = 1 / 32
EXACT_DWELL_S = 10 * HOP_S
OPEN = Command("open", None, LIMITS.max_speed)
ROOT = Path(gate.__file__).parents[2]


def grip(name: str = "power", speed: float = 0.25, force: float = 0.5) -> Request:
    return Request("grip", name, speed, force, f"does {name}", True)


REST = Request(accepted=True)
OPENING = Request("open", accepted=True)
REJECTED = Request(reject="margin")


class Bench:
    """A gate, its clock, and a world that is healthy unless a test says otherwise."""

    def __init__(self, limits: Limits = LIMITS, grips: frozenset[str] = GRIPS) -> None:
        self.limits, self.grips = limits, grips
        self.state = State()
        self.now_s = 1024.0
        self.index = 0
        self.request = REST
        self.reasons: tuple[Reason, ...] = ()

    def step(self, after_s: float = TICK_S, **changes: Any) -> Command:
        """One step in a healthy world but for `changes` to the inputs; `arm=True` and the like press that button."""
        self.now_s += after_s
        pressed = {name: changes.pop(name) for name in ("stop", "open", "arm", "disarm", "lock") if name in changes}
        inputs = Inputs(
            now_s=self.now_s,
            sample_age_s=0.01,
            lost_fraction=0.0,
            bad_channels=0,
            request=replace(self.request, decision_index=self.index),
            wearer=Wearer(**pressed),
            feedback_age_s=0.02,
        )
        before = self.state
        inputs = replace(inputs, **changes)
        self.state, command, self.reasons = step(before, inputs, self.limits, self.grips)
        assert (self.state, command, self.reasons) == step(before, inputs, self.limits, self.grips), "deterministic"
        assert list(self.reasons) == sorted(set(self.reasons), key=list(Reason).index), "most severe first, once each"
        return command

    def decide(self, request: Request, after_s: float = HOP_S, **changes: Any) -> Command:
        """One step with a new decision."""
        self.request, self.index = request, self.index + 1
        return self.step(after_s, **changes)

    def rest(self, seconds: float, **changes: Any) -> None:
        for _ in range(math.ceil(seconds / HOP_S)):
            self.decide(REST, **changes)

    def armed(self) -> Bench:
        self.rest(self.limits.healthy_s + HOP_S)
        self.step(arm=True)
        assert status(self.state)[0] == "armed", self.reasons
        return self

    def holding(self, request: Request | None = None) -> Bench:
        """Armed, with a grip on its way; the speed is below the largest step."""
        request = request or grip()
        self.armed()
        for _ in range(self.limits.close_votes):
            command = self.decide(request)
        assert command == Command("grip", request.grip, request.speed, request.force), self.reasons
        return self


UNHEALTHY: dict[str, tuple[dict[str, Any], Reason]] = {
    "stale": ({"sample_age_s": 0.151}, Reason.STALE),
    "lost": ({"lost_fraction": 0.021}, Reason.SAMPLES_LOST),
    "channels": ({"bad_channels": 2}, Reason.BAD_CHANNELS),
    "late": ({"loop_late_s": 0.051}, Reason.LOOP_LATE),
    "hand": ({"feedback_age_s": 0.51}, Reason.HAND_SILENT),
    "fault": ({"fault": "the encoder raised"}, Reason.FAULT),
    "number": ({"loop_late_s": math.nan}, Reason.BAD_NUMBER),
}
each_unhealthy = pytest.mark.parametrize(("changes", "reason"), UNHEALTHY.values(), ids=UNHEALTHY)


@pytest.mark.sr("SR-01")
class TestSR01BootsNeutral:
    @pytest.mark.parametrize("request_", [REST, OPENING, REJECTED, grip()])
    def test_nothing_leaves_before_an_arm(self, request_: Request) -> None:
        bench = Bench()
        for _ in range(200):
            assert bench.decide(request_) == NEUTRAL
        assert bench.reasons == (Reason.NOT_ARMED,)

    @pytest.mark.parametrize("ticks", range(1, 70))
    def test_arming_needs_a_whole_healthy_second(self, ticks: int) -> None:
        bench = Bench()
        bench.step()
        for _ in range(ticks - 1):
            bench.step()
        bench.step(arm=True)
        assert bench.state.armed is (ticks * TICK_S >= 1.0)
        assert (Reason.ARM_REFUSED in bench.reasons) is not bench.state.armed

    @each_unhealthy
    def test_a_single_bad_step_starts_the_second_anew(self, changes: dict[str, Any], reason: Reason) -> None:
        bench = Bench()
        bench.rest(2.0)
        bench.step(**changes)
        assert reason in bench.reasons
        bench.rest(0.9)
        bench.step(arm=True)
        assert not bench.state.armed and Reason.ARM_REFUSED in bench.reasons
        bench.rest(0.2)
        bench.step(arm=True)
        assert bench.state.armed

    @each_unhealthy
    def test_cannot_be_armed_while_unhealthy(self, changes: dict[str, Any], reason: Reason) -> None:
        bench = Bench()
        bench.rest(2.0)
        bench.step(arm=True, **changes)
        assert not bench.state.armed and reason in bench.reasons
        assert (Reason.ARM_REFUSED in bench.reasons) is (reason not in LATCHING), "a fault says enough by itself"

    def test_decisions_made_before_arming_count_for_nothing(self) -> None:
        bench = Bench()
        for _ in range(50):
            bench.decide(grip())
        assert bench.decide(grip(), arm=True) == NEUTRAL
        assert bench.decide(grip()) == NEUTRAL
        assert bench.decide(grip()).kind == "grip"

    def test_disarming_takes_the_arming_away(self) -> None:
        bench = Bench().holding()
        assert bench.decide(grip(), disarm=True) == NEUTRAL
        for _ in range(20):
            assert bench.decide(grip()) == NEUTRAL
        assert bench.reasons == (Reason.NOT_ARMED,)

    @pytest.mark.parametrize("other", ["stop", "open", "disarm"])
    def test_an_arm_together_with_another_button_does_not_arm(self, other: str) -> None:
        bench = Bench()
        bench.rest(2.0)
        bench.step(arm=True, **{other: True})
        assert not bench.state.armed


@pytest.mark.sr("SR-02")
class TestSR02Stale:
    @pytest.mark.parametrize("age_ms", [*range(0, 300, 10), 149, 149.999, 150, 150.001, 151, 999, 1000, 10_000])
    def test_a_command_needs_fresh_samples(self, age_ms: float) -> None:
        bench = Bench().holding()
        command = bench.decide(grip(), sample_age_s=age_ms / 1000)
        assert (command.kind == "grip") is (age_ms <= 150), (age_ms, command)
        assert (Reason.STALE in bench.reasons) is (age_ms > 150)

    def test_a_stamp_just_ahead_of_the_clock_is_fresh_and_one_far_ahead_is_not(self) -> None:
        assert Bench().holding().decide(grip(), sample_age_s=-0.001).kind == "grip"
        bench = Bench().holding()
        assert bench.decide(grip(), sample_age_s=-0.151) == NEUTRAL
        assert Reason.BAD_NUMBER in bench.reasons


@pytest.mark.sr("SR-03")
class TestSR03StaleLatches:
    @staticmethod
    def silent_for(bench: Bench, seconds: float) -> None:
        for tick in range(1, math.ceil(seconds / TICK_S) + 1):
            assert bench.decide(grip(), TICK_S, sample_age_s=tick * TICK_S).kind == (
                "grip" if tick * TICK_S <= LIMITS.stale_s else "neutral"
            )

    def test_a_short_silence_recovers_by_itself_after_half_a_second(self) -> None:
        bench = Bench().holding()
        self.silent_for(bench, 0.9)
        assert status(bench.state) == ("fault", Reason.STALE)
        good_s = 0.0
        while bench.decide(grip(), TICK_S) == NEUTRAL:
            assert bench.state.armed
            good_s += TICK_S
            assert good_s < 2.0
        # The first good step starts the half second; then three decisions vote.
        assert good_s == pytest.approx(0.5 + 2 * TICK_S)

    def test_a_long_silence_latches_until_a_deliberate_arm(self) -> None:
        bench = Bench().holding()
        self.silent_for(bench, 1.02)
        for _ in range(200):
            assert bench.decide(grip()) == NEUTRAL
            assert status(bench.state) == ("fault", Reason.SIGNAL_LOST)
        bench.step(arm=True)
        assert status(bench.state)[0] == "armed"

    @pytest.mark.parametrize(("age_s", "latched"), [(0.999, False), (1.0, False), (1.001, True), (math.inf, True)])
    def test_the_latch_is_at_one_second(self, age_s: float, latched: bool) -> None:
        bench = Bench().holding()
        bench.step(sample_age_s=age_s)
        assert (bench.state.latched is Reason.SIGNAL_LOST) is latched
        assert bench.state.armed is not latched

    def test_silence_before_arming_is_no_fault_to_clear(self) -> None:
        bench = Bench()
        bench.step(sample_age_s=5.0)
        assert status(bench.state) == ("neutral", Reason.STALE)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.booleans(), st.integers(1, 50)), max_size=8))
    def test_a_grip_means_half_a_second_of_good_data(self, runs: list[tuple[bool, int]]) -> None:
        bench = Bench().holding()
        good_since_s, silent_s = bench.now_s - 10, 0.0
        for good, ticks in runs:
            for _ in range(ticks):
                silent_s = 0.0 if good else silent_s + TICK_S
                command = bench.decide(grip(), TICK_S, sample_age_s=silent_s)
                if silent_s > LIMITS.stale_s:
                    good_since_s = bench.now_s + TICK_S
                if command.kind == "grip":
                    assert bench.now_s - good_since_s >= LIMITS.recover_s
                    assert bench.state.latched is None


@pytest.mark.sr("SR-04")
class TestSR04SamplesLost:
    @pytest.mark.parametrize("lost", [0.0, 0.01, 0.019, 0.0199, 0.02, 0.0201, 0.021, 0.1, 0.5, 1.0, 7.0])
    def test_two_percent_is_the_most(self, lost: float) -> None:
        bench = Bench().holding()
        assert (bench.decide(grip(), lost_fraction=lost).kind == "grip") is (lost <= 0.02)
        assert (Reason.SAMPLES_LOST in bench.reasons) is (lost > 0.02)

    def test_a_negative_loss_is_a_defect(self) -> None:
        bench = Bench().holding()
        assert bench.decide(grip(), lost_fraction=-0.001) == NEUTRAL
        assert bench.reasons == (Reason.BAD_NUMBER,)


@pytest.mark.sr("SR-05")
class TestSR05BadChannels:
    @pytest.mark.parametrize("bad", range(-1, 9))
    def test_one_may_be_bad_two_may_not(self, bad: int) -> None:
        bench = Bench().holding()
        assert (bench.decide(grip(), bad_channels=bad).kind == "grip") is (bad in (0, 1))
        assert (Reason.BAD_CHANNELS in bench.reasons) is (bad >= 2)


@pytest.mark.sr("SR-06")
class TestSR06Rejected:
    @pytest.mark.parametrize("kind", ["none", "open", "grip"])
    def test_what_is_not_accepted_moves_nothing(self, kind: Any) -> None:
        bench = Bench().armed()
        for _ in range(20):
            assert bench.decide(replace(grip(), kind=kind, accepted=False, reject="far from every action")) == NEUTRAL
            assert bench.reasons == (Reason.NOT_ACCEPTED,)

    def test_a_rejection_stops_a_grip_at_once(self) -> None:
        bench = Bench().holding()
        assert bench.decide(REJECTED) == NEUTRAL

    def test_a_rejection_is_no_vote(self) -> None:
        bench = Bench().armed()
        for _ in range(40):
            assert bench.decide(grip()) == NEUTRAL
            assert bench.decide(REJECTED) == NEUTRAL


@pytest.mark.sr("SR-07")
class TestSR07Debounce:
    def test_every_sequence_of_five_decisions(self) -> None:
        """3 of the last 4 for closing, none of the last 2 against it; 1 decision for opening or stopping."""
        letters = {"A": grip("power"), "B": grip("pinch"), "o": OPENING, "r": REST, "x": REJECTED}
        start = Bench().armed()
        seen = 0
        for word in itertools.product(letters, repeat=5):
            bench = Bench()
            bench.state, bench.now_s, bench.index = start.state, start.now_s, start.index
            bench.state = replace(bench.state, votes=())
            gripped = ""
            for at, letter in enumerate(word):
                command = bench.decide(letters[letter])
                last4, last2 = word[max(0, at - 3) : at + 1], word[max(0, at - 1) : at + 1]
                wants = letter in "AB" and last4.count(letter) >= 3 and "o" not in last2 and "r" not in last2
                # Five hops are shorter than the dwell: a second grip only follows an open.
                allowed = wants and gripped in ("", letter)
                expected = "open" if letter == "o" else "grip" if allowed else "neutral"
                assert command.kind == expected, ("".join(word), at, bench.reasons)
                gripped = letter if allowed else "" if letter == "o" else gripped
                seen += allowed
        assert seen > 100

    @pytest.mark.parametrize("pair", list(itertools.permutations([grip("power"), grip("pinch"), REST, REJECTED], 2)))
    def test_alternating_labels_never_move_the_hand(self, pair: tuple[Request, Request]) -> None:
        bench = Bench().armed()
        for request in itertools.islice(itertools.cycle(pair), 100):
            assert bench.decide(request) == NEUTRAL

    def test_the_same_decision_again_is_no_new_evidence(self) -> None:
        bench = Bench().armed()
        bench.decide(grip())
        for _ in range(8):
            assert bench.step() == NEUTRAL
        assert bench.reasons == (Reason.FEW_VOTES,)

    def test_a_decoder_that_starts_anew_starts_without_evidence(self) -> None:
        bench = Bench().armed()
        bench.decide(grip())
        bench.decide(grip())
        bench.index = -1
        assert [bench.decide(grip()).kind for _ in range(3)] == ["neutral", "neutral", "grip"]

    def test_swinging_between_two_indices_never_adds_up(self) -> None:
        bench = Bench().armed()
        bench.request = grip()
        for index in itertools.islice(itertools.cycle((500, 501)), 60):
            bench.index = index
            assert bench.step() == NEUTRAL

    def test_opening_and_stopping_take_one_decision(self) -> None:
        assert Bench().holding().decide(OPENING) == OPEN
        bench = Bench().holding()
        assert bench.decide(REST) == NEUTRAL and bench.reasons == (Reason.RESTING,)

    def test_an_opening_that_was_not_decided_anew_does_not_outlive_a_pressed_button(self) -> None:
        bench = Bench().armed()
        assert bench.decide(OPENING) == OPEN
        assert bench.step(open=True) == OPEN
        assert bench.step() == NEUTRAL and bench.reasons == (Reason.FEW_VOTES,)


@pytest.mark.sr("SR-08")
class TestSR08GripChange:
    @pytest.mark.parametrize(("first", "second"), list(itertools.permutations(sorted(GRIPS), 2)))
    def test_every_ordered_pair_waits_for_the_dwell(self, first: str, second: str) -> None:
        bench = Bench().holding(grip(first))
        left_s = None
        for _ in range(40):
            command = bench.decide(grip(second), TICK_S)
            left_s = left_s or bench.now_s
            if command.kind == "grip":
                break
            assert command == NEUTRAL
        assert command == Command("grip", second, 0.25, 0.5)
        assert LIMITS.dwell_s <= bench.now_s - left_s < LIMITS.dwell_s + TICK_S

    def test_an_open_is_a_release(self) -> None:
        bench = Bench().holding()
        bench.decide(OPENING)
        kinds = [bench.decide(grip("pinch")).kind for _ in range(4)]
        assert kinds == ["neutral", "neutral", "grip", "grip"]

    def test_the_same_grip_may_go_on(self) -> None:
        bench = Bench().holding()
        bench.decide(REJECTED)
        assert bench.decide(grip()).kind == "grip"

    def test_a_clock_that_jumps_does_not_release(self) -> None:
        bench = Bench(Limits(dwell_s=5.0)).holding()
        bench.step(after_s=-1.0)
        bench.rest(1.1)
        bench.step(arm=True)
        for _ in range(20):
            assert bench.decide(grip("pinch")) == NEUTRAL
        assert bench.reasons == (Reason.GRIP_CHANGE,)

    def test_no_dwell_is_remembered_from_before_a_grip(self) -> None:
        bench = Bench().holding()
        assert bench.state.neutral_since_s is None and bench.state.idle_since_s is None


@pytest.mark.sr("SR-09")
class TestSR09Limits:
    BOUNDARY = (0.0, 0.001, 0.1, 0.299, 0.2999, 0.3, 0.3001, 0.301, 0.5, 0.9, 1.0, 1.001, 5.0, -0.001, -1.0)

    @pytest.mark.parametrize("force", BOUNDARY)
    def test_force(self, force: float) -> None:
        bench = Bench(LIMITS.tightened(max_force=0.3)).holding(grip(force=0.2))
        assert (bench.decide(grip(force=force)).kind == "grip") is (0 <= force <= 0.3), force
        assert (Reason.FORCE_LIMIT in bench.reasons) is not (0 <= force <= 0.3)

    @pytest.mark.parametrize("speed", BOUNDARY)
    def test_speed(self, speed: float) -> None:
        bench = Bench(LIMITS.tightened(max_speed=0.3)).holding(grip(speed=0.25))
        assert (bench.decide(grip(speed=speed)).kind == "grip") is (0 < speed <= 0.3), speed
        assert (Reason.SPEED_LIMIT in bench.reasons) is not (0 < speed <= 0.3)

    @pytest.mark.parametrize("start", [0.25, 0.125])
    @pytest.mark.parametrize("rise", [-0.1, 0.0, 0.1, 0.2499, 0.25, 0.2501, 0.26, 0.5])
    def test_speed_rise(self, start: float, rise: float) -> None:
        bench = Bench().holding(grip(speed=start))
        assert (bench.decide(grip(speed=start + rise)).kind == "grip") is (rise <= 0.25), rise

    @pytest.mark.parametrize("speed", [0.01, 0.25, 0.2501, 0.3, 1.0])
    def test_the_first_command_rises_from_rest(self, speed: float) -> None:
        bench = Bench().armed()
        kinds = [bench.decide(grip(speed=speed)).kind for _ in range(3)]
        assert (kinds[-1] == "grip") is (speed <= 0.25)

    def test_speed_may_fall_as_much_as_it_likes(self) -> None:
        bench = Bench().holding(grip(speed=0.25))
        for speed in (0.5, 0.75, 1.0, 0.01):
            assert bench.decide(grip(speed=speed)).speed == speed

    @pytest.mark.parametrize("per_s", [4, 8, 20, 49.9, 50])
    @pytest.mark.parametrize("every_s", [0.001, 0.005, 1 / 64, 0.02])
    def test_flooding_cannot_exceed_the_rate(self, per_s: float, every_s: float) -> None:
        bench = Bench(LIMITS.tightened(max_commands_per_s=per_s)).armed()
        sent_s = []
        previous = NEUTRAL
        for turn in range(int(1.5 / every_s)):
            command = bench.decide(grip(speed=0.2 + 0.01 * (turn % 2)), every_s)
            if command.kind == "grip" and command != previous:
                sent_s.append(bench.now_s)
            previous = command
        assert sent_s, "some get through"
        for at, first_s in enumerate(sent_s):
            assert sum(time_s - first_s <= 0.25 for time_s in sent_s[at:]) <= per_s * 0.25
        if every_s * per_s < 0.9:
            assert len(sent_s) >= per_s * 1.5 / 4, "the limit is a rate, not a stop"

    def test_opening_counts_but_is_never_held_back(self) -> None:
        bench = Bench(LIMITS.tightened(max_commands_per_s=4)).armed()
        for _ in range(3):
            assert bench.decide(OPENING) == OPEN
            assert bench.decide(REST) == NEUTRAL
        bench.decide(OPENING)
        for _ in range(3):
            command = bench.decide(grip())
        assert command == NEUTRAL and bench.reasons == (Reason.TOO_OFTEN,)

    def test_the_rate_counts_the_closed_window(self) -> None:
        for gap_s, kind in ((0.25, "neutral"), (0.25 + TICK_S, "grip")):
            bench = Bench(LIMITS.tightened(max_commands_per_s=4)).holding()
            sent_s = bench.now_s
            while bench.now_s < sent_s + gap_s - TICK_S:
                assert bench.decide(grip(), TICK_S).kind == "grip"
            assert bench.decide(grip(speed=0.2), TICK_S).kind == kind, gap_s

    def test_keeping_alive_is_no_new_message_but_counts_as_closing(self) -> None:
        bench = Bench(LIMITS.tightened(max_commands_per_s=4)).holding()
        started_s = bench.now_s
        while bench.decide(grip()).kind == "grip":
            assert bench.now_s - started_s < 10.0
        assert bench.now_s - started_s == pytest.approx(10.0, abs=HOP_S)
        assert bench.reasons == (Reason.CLOSED_TOO_LONG,)

    def test_only_letting_go_ends_a_close_that_lasted_too_long(self) -> None:
        bench = Bench(LIMITS.tightened(max_close_s=1.0)).holding()
        while bench.decide(grip()).kind == "grip":
            pass
        for _ in range(100):
            assert bench.decide(grip()) == NEUTRAL
        bench.rest(0.2)
        for _ in range(10):
            assert bench.decide(grip()) == NEUTRAL
        bench.rest(0.4)
        assert [bench.decide(grip()).kind for _ in range(4)] == ["neutral", "neutral", "grip", "grip"]

    @pytest.mark.parametrize("release", [OPENING, None])
    def test_an_open_ends_it_too(self, release: Request | None) -> None:
        bench = Bench(LIMITS.tightened(max_close_s=1.0)).holding()
        while bench.decide(grip()).kind == "grip":
            pass
        assert (bench.decide(release) if release else bench.step(open=True)) == OPEN
        assert "grip" in [bench.decide(grip()).kind for _ in range(4)]

    @pytest.mark.parametrize(("rested_s", "blocked"), [(EXACT_DWELL_S - HOP_S, True), (EXACT_DWELL_S, False)])
    def test_letting_go_for_exactly_the_dwell_ends_it(self, rested_s: float, blocked: bool) -> None:
        bench = Bench(LIMITS.tightened(dwell_s=EXACT_DWELL_S)).holding()
        bench.state = replace(bench.state, closing_since_s=bench.now_s - LIMITS.max_close_s)
        bench.decide(REST)
        bench.rest(rested_s)
        for _ in range(LIMITS.close_votes):
            bench.decide(grip())
        assert (Reason.CLOSED_TOO_LONG in bench.reasons) is blocked

    def test_short_doubts_do_not_restart_the_count(self) -> None:
        bench = Bench(LIMITS.tightened(max_close_s=1.0)).holding()
        started_s = last_s = bench.now_s
        for turn in range(200):
            if bench.decide(REJECTED if turn % 8 == 0 else grip()).kind == "grip":
                last_s = bench.now_s
        assert last_s - started_s < 1.0

    def test_another_grip_counts_from_its_own_start(self) -> None:
        bench = Bench(LIMITS.tightened(max_close_s=1.0)).holding()
        for _ in range(20):
            bench.decide(grip())
        for _ in range(12):
            command = bench.decide(grip("pinch"))
        started_s = bench.now_s
        assert command.grip == "pinch"
        while bench.decide(grip("pinch")).kind == "grip":
            pass
        assert 0.9 < bench.now_s - started_s <= 1.0


@pytest.mark.sr("SR-10")
class TestSR10BlockNeverClip:
    VIOLATIONS = (
        grip(speed=0.76),
        grip(speed=1.5),
        grip(speed=0.0),
        grip(force=1.01),
        grip(force=-0.1),
        grip("claw"),
        grip(speed=math.nan),
        grip(force=math.inf),
    )

    @pytest.mark.parametrize("violation", VIOLATIONS)
    def test_a_violation_is_neutral_and_forgets(self, violation: Request) -> None:
        bench = Bench().holding(grip(speed=0.25))
        bench.decide(grip(speed=0.5))
        assert bench.decide(violation) == NEUTRAL
        assert bench.state.command == NEUTRAL and bench.state.votes == ()
        bench.rest(0.6)
        for _ in range(3):
            assert bench.decide(grip(speed=0.5)) == NEUTRAL, "the next one starts from rest, not from 0.5"
        assert bench.reasons == (Reason.SPEED_STEP,)

    def test_every_reason_is_told(self) -> None:
        bench = Bench().holding()
        bench.decide(grip(speed=1.5, force=1.5))
        assert bench.reasons == (Reason.FORCE_LIMIT, Reason.SPEED_LIMIT, Reason.SPEED_STEP)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["power", "pinch"]), st.floats(-0.5, 1.5), st.floats(-0.5, 1.5), st.integers(1, 6)
            ),
            max_size=12,
        )
    )
    def test_what_leaves_is_what_was_asked_or_neutral(self, asked: list[tuple[str, float, float, int]]) -> None:
        bench = Bench().armed()
        for name, speed, force, hops in asked:
            for _ in range(hops):
                assert bench.decide(grip(name, speed, force)) in (NEUTRAL, Command("grip", name, speed, force))

    @each_unhealthy
    def test_neutral_and_open_pass_in_every_state(self, changes: dict[str, Any], reason: Reason) -> None:
        for bench in (Bench(), Bench().armed(), Bench().holding()):
            assert bench.step(open=True, **changes) == OPEN
            assert {reason, Reason.OPENED} <= set(bench.reasons)
            assert bench.step(stop=True, **changes) == NEUTRAL

    def test_a_decided_open_ignores_the_speed_that_comes_with_it(self) -> None:
        bench = Bench(LIMITS.tightened(max_speed=0.4)).armed()
        assert bench.decide(replace(OPENING, speed=9.0, force=9.0)) == Command("open", None, 0.4)


@pytest.mark.sr("SR-11")
class TestSR11Whitelist:
    SPAM = ("", "Power", "power ", "open", "neutral", "none", "claw", "power\x00", "0", None)

    @pytest.mark.parametrize("name", SPAM)
    def test_only_grips_of_this_hand(self, name: Any) -> None:
        bench = Bench().armed()
        for _ in range(6):
            assert bench.decide(replace(grip(), grip=name)) == NEUTRAL
            assert bench.reasons == (Reason.UNKNOWN_GRIP,)

    def test_open_is_no_closing_grip_even_if_the_hand_lists_it(self) -> None:
        bench = Bench(grips=GRIPS | {"open"}).armed()
        for _ in range(6):
            assert bench.decide(grip("open")) == NEUTRAL

    @pytest.mark.parametrize("name", sorted(GRIPS))
    def test_the_grips_of_another_hand_are_refused(self, name: str) -> None:
        bench = Bench(grips=GRIPS - {name}).armed()
        assert all(bench.decide(grip(name)) == NEUTRAL for _ in range(6))
        assert Bench().holding(grip(name)).state.command.grip == name

    @pytest.mark.parametrize("kind", ["", "close", "GRIP", "neutral", "command", "\x7e"])
    def test_an_unknown_kind_is_refused(self, kind: Any) -> None:
        bench = Bench().armed()
        assert all(bench.decide(replace(grip(), kind=kind)) == NEUTRAL for _ in range(6))
        assert bench.reasons == (Reason.UNKNOWN_GRIP,)

    def test_a_grip_that_vanishes_from_the_list_stops(self) -> None:
        bench = Bench().holding()
        bench.grips = frozenset()
        assert bench.decide(grip()) == NEUTRAL


@pytest.mark.sr("SR-12")
class TestSR12WearerOverrides:
    @pytest.mark.parametrize("with_samples", [True, False])
    def test_stop_is_neutral_at_once_and_latches(self, with_samples: bool) -> None:
        changes = {} if with_samples else {"sample_age_s": 0.9}
        bench = Bench().holding()
        assert bench.step(stop=True, **changes) == NEUTRAL
        assert bench.reasons[0] is Reason.STOPPED
        for _ in range(100):
            assert bench.decide(grip()) == NEUTRAL
        assert status(bench.state) == ("neutral", Reason.STOPPED)
        bench.step(arm=True)
        assert status(bench.state)[0] == "armed"

    @pytest.mark.parametrize("with_samples", [True, False])
    def test_open_is_open_at_once(self, with_samples: bool) -> None:
        changes = {} if with_samples else {"sample_age_s": 30.0}
        bench = Bench().holding()
        assert bench.step(open=True, **changes) == OPEN
        assert bench.step(open=True, **changes) == OPEN

    def test_stop_beats_open_and_open_beats_everything_else(self) -> None:
        bench = Bench().holding()
        assert bench.step(open=True, disarm=True, fault="x", now_s=math.nan, sample_age_s=math.inf) == OPEN
        assert bench.step(open=True, stop=True) == NEUTRAL

    def test_open_works_while_stopped_and_does_not_arm(self) -> None:
        bench = Bench().holding()
        bench.step(stop=True)
        assert bench.step(open=True) == OPEN
        assert not bench.state.armed and bench.state.latched is Reason.STOPPED
        assert bench.step() == NEUTRAL

    def test_after_opening_a_grip_needs_its_votes_again(self) -> None:
        bench = Bench().holding()
        bench.step(open=True)
        assert [bench.decide(grip()).kind for _ in range(3)] == ["neutral", "neutral", "grip"]

    def test_stop_does_not_hide_a_fault(self) -> None:
        bench = Bench().holding()
        bench.step(fault="x")
        bench.step(stop=True)
        assert status(bench.state) == ("fault", Reason.FAULT)

    def test_a_fault_after_a_stop_shows(self) -> None:
        bench = Bench().holding()
        bench.step(stop=True)
        bench.step(fault="x")
        assert status(bench.state) == ("fault", Reason.FAULT)


@pytest.mark.sr("SR-13")
class TestSR13NothingRepeatsItself:
    def test_a_request_that_is_not_decided_anew_runs_out(self) -> None:
        bench = Bench().holding()
        decided_s = bench.now_s
        while bench.step().kind == "grip":
            assert bench.now_s - decided_s <= 0.150
        assert bench.reasons == (Reason.DECISION_STALE,)
        assert bench.now_s - decided_s < 0.150 + TICK_S

    def test_a_decoder_that_comes_back_needs_its_votes_again(self) -> None:
        bench = Bench().holding()
        while bench.step().kind == "grip":
            pass
        assert [bench.decide(grip()).kind for _ in range(3)] == ["neutral", "neutral", "grip"]

    def test_the_command_follows_the_request_of_this_step(self) -> None:
        bench = Bench().holding()
        assert bench.decide(grip(speed=0.3)).speed == 0.3
        assert bench.step().speed == 0.3
        assert bench.decide(REST) == NEUTRAL and bench.step() == NEUTRAL


@pytest.mark.sr("SR-14")
class TestSR14NeutralIsNoGrip:
    def test_neutral_carries_nothing(self) -> None:
        assert Command("neutral", None, 0.0, 0.0) == NEUTRAL

    @each_unhealthy
    def test_trouble_while_holding_neither_closes_nor_lets_go(self, changes: dict[str, Any], reason: Reason) -> None:
        for asked in (grip(speed=0.5), grip("pinch"), OPENING, REST, REJECTED):
            bench = Bench().holding()
            for _ in range(30):
                assert bench.decide(asked, **changes) == NEUTRAL, "what neutral means is the hand's choice"
                assert reason in bench.reasons


@pytest.mark.sr("SR-14")
class TestSR14HoldLock:
    """A carried cup is not dropped: the wearer locks the hand as it is, and nothing but the wearer moves it then."""

    def test_a_locked_hand_holds_whatever_is_decided(self) -> None:
        bench = Bench().holding()
        assert bench.step(lock=True) == HOLD
        for request in (grip(), grip("pinch"), OPENING, REST, REJECTED):
            for _ in range(20):
                assert bench.decide(request) == HOLD
                assert bench.reasons == (Reason.LOCKED,)
        assert status(bench.state) == ("armed", Reason.LOCKED)

    @each_unhealthy
    def test_trouble_and_a_disarmed_gate_do_not_let_go_either(self, changes: dict[str, Any], reason: Reason) -> None:
        bench = Bench().holding()
        bench.step(lock=True)
        for _ in range(200):
            assert bench.decide(grip(), **changes) == HOLD
        assert reason in bench.reasons and Reason.LOCKED in bench.reasons
        assert bench.step(disarm=True) == HOLD
        assert bench.step() == HOLD and not bench.state.armed

    def test_a_stop_halts_and_a_stop_with_the_lock_does_not_unlock(self) -> None:
        bench = Bench().holding()
        bench.step(lock=True)
        assert bench.step(stop=True) == HOLD and not bench.state.armed
        assert bench.step(stop=True, lock=True) == HOLD and bench.state.locked

    def test_a_clock_that_jumps_does_not_unlock(self) -> None:
        bench = Bench().holding()
        bench.step(lock=True)
        assert bench.step(-5.0) == HOLD
        assert bench.step(5000.0) == HOLD

    @pytest.mark.parametrize("with_lock", [False, True])
    @pytest.mark.parametrize("with_samples", [True, False])
    def test_the_wearers_open_opens_and_unlocks(self, with_samples: bool, with_lock: bool) -> None:
        bench = Bench().holding()
        bench.step(lock=True)
        changes = {} if with_samples else {"sample_age_s": 60.0}
        assert bench.step(open=True, lock=with_lock, **changes) == OPEN
        assert not bench.state.locked
        assert bench.step(**changes) == NEUTRAL

    def test_the_lock_again_unlocks_and_a_grip_needs_its_votes_anew(self) -> None:
        bench = Bench().holding()
        bench.step(lock=True)
        for _ in range(10):
            bench.decide(grip())
        assert bench.step(lock=True) == NEUTRAL, "what was decided while locked is no evidence"
        commands = [bench.decide(grip()) for _ in range(LIMITS.close_votes)]
        assert [command.kind for command in commands] == ["neutral"] * (LIMITS.close_votes - 1) + ["grip"]

    def test_a_held_grip_is_not_released_by_the_lock(self) -> None:
        """No grip turns directly into another one (SR-08): the dwell begins when the lock ends."""
        bench = Bench().holding()
        bench.step(lock=True)
        for _ in range(100):
            bench.decide(REST)
        bench.step(lock=True)
        since_s = bench.now_s
        while bench.decide(grip("pinch")).kind != "grip":
            assert set(bench.reasons) <= {Reason.FEW_VOTES, Reason.GRIP_CHANGE}
        assert LIMITS.dwell_s <= bench.now_s - since_s < LIMITS.dwell_s + 2 * HOP_S

    @pytest.mark.parametrize(("rested_s", "waits"), [(EXACT_DWELL_S - HOP_S, True), (EXACT_DWELL_S, False)])
    def test_what_was_released_before_the_lock_stays_released_and_nothing_else(
        self, rested_s: float, waits: bool
    ) -> None:
        bench = Bench(LIMITS.tightened(dwell_s=EXACT_DWELL_S)).holding()
        bench.decide(REST)
        bench.rest(rested_s)
        bench.step(lock=True)
        bench.rest(1.0)
        assert bench.state.command == HOLD
        bench.step(lock=True)
        kinds = [bench.decide(grip("pinch")).kind for _ in range(LIMITS.close_votes + 1)]
        assert ("grip" not in kinds) is waits

    def test_resting_while_locked_ends_a_close_that_lasted_too_long(self) -> None:
        bench = Bench().holding()
        bench.state = replace(bench.state, closing_since_s=bench.now_s - LIMITS.max_close_s)
        bench.step(lock=True)
        for _ in range(2 + math.ceil(LIMITS.dwell_s / HOP_S)):
            bench.decide(REST)
        bench.step(lock=True)
        assert [bench.decide(grip()).kind for _ in range(LIMITS.close_votes)][-1] == "grip"

    def test_an_open_after_a_hold_is_a_message_of_its_own(self) -> None:
        bench = Bench().armed()
        bench.decide(OPENING)
        bench.step(lock=True)
        assert bench.step(open=True) == OPEN
        assert len(bench.state.message_times_s) == 2

    def test_a_hold_takes_no_room_from_commands(self) -> None:
        bench = Bench().holding()
        times_s = bench.state.message_times_s
        bench.step(lock=True)
        bench.step()
        assert bench.state.message_times_s == times_s

    @pytest.mark.parametrize("pressed", [{}, {"arm": True}, {"disarm": True}])
    def test_only_an_armed_hand_can_be_locked(self, pressed: dict[str, bool]) -> None:
        bench = Bench()
        assert bench.step(lock=True, **pressed) == NEUTRAL
        assert not bench.state.locked and Reason.LOCKED not in bench.reasons

    def test_a_locked_hand_can_be_unlocked_disarmed(self) -> None:
        bench = Bench().holding()
        bench.step(lock=True)
        bench.step(disarm=True)
        assert bench.step(lock=True) == NEUTRAL

    def test_arming_and_locking_in_one_step(self) -> None:
        bench = Bench()
        bench.rest(1.5)
        assert bench.step(arm=True, lock=True) == HOLD


@pytest.mark.sr("SR-15")
class TestSR15LoopAndClock:
    @pytest.mark.parametrize("late_ms", [-5, 0, 49, 50, 50.001, 51, 100, 5000])
    def test_an_overrun_of_two_hops_is_neutral(self, late_ms: float) -> None:
        bench = Bench().holding()
        assert (bench.decide(grip(), loop_late_s=late_ms / 1000).kind == "grip") is (late_ms <= 50)
        assert bench.state.armed

    @pytest.mark.parametrize(("gap_s", "passes"), [(0.140625, True), (0.15625, False), (0.9, False)])
    def test_a_gate_that_was_not_asked_knows_that_itself(self, gap_s: float, passes: bool) -> None:
        bench = Bench().holding()
        assert (bench.decide(grip(), gap_s).kind == "grip") is passes
        assert (Reason.LOOP_LATE in bench.reasons) is not passes
        assert bench.state.armed

    @pytest.mark.parametrize("jump_s", [-1e-6, -1.0, -1024.0, 1.0001, 3600.0, 1e8])
    def test_a_clock_that_jumps_latches(self, jump_s: float) -> None:
        bench = Bench().holding()
        assert bench.decide(grip(), jump_s) == NEUTRAL
        assert bench.state.latched is Reason.CLOCK_JUMP
        for _ in range(60):
            assert bench.decide(grip()) == NEUTRAL
            assert status(bench.state) == ("fault", Reason.CLOCK_JUMP)
        bench.step(arm=True)
        assert status(bench.state)[0] == "armed"

    @pytest.mark.parametrize("jump_s", [0.0, 1e-6, 0.1])
    def test_a_clock_that_stands_or_walks_does_not(self, jump_s: float) -> None:
        assert Bench().holding().decide(grip(), jump_s).kind == "grip"

    def test_exactly_the_largest_gap_is_late_but_no_jump(self) -> None:
        bench = Bench().holding()
        bench.step(1.0)
        assert bench.state.armed and Reason.LOOP_LATE in bench.reasons

    def test_a_fault_latches_until_it_is_gone_and_armed_again(self) -> None:
        bench = Bench().holding()
        assert bench.decide(grip(), fault="") == NEUTRAL
        bench.rest(2.0, fault="still")
        bench.step(fault="still", arm=True)
        assert not bench.state.armed
        bench.rest(1.1)
        assert status(bench.state) == ("fault", Reason.FAULT)
        bench.step(arm=True)
        assert status(bench.state)[0] == "armed"

    NUMBERS = ("now_s", "sample_age_s", "lost_fraction", "bad_channels", "feedback_age_s", "loop_late_s")

    @pytest.mark.parametrize("name", NUMBERS)
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, -(10**400), 1e300])
    def test_what_is_no_number_is_neutral(self, name: str, value: Any) -> None:
        bench = Bench().holding()
        assert bench.decide(grip(), **{name: value}) == NEUTRAL
        assert Reason.BAD_NUMBER in bench.reasons
        assert bench.decide(grip()) == NEUTRAL, "the next good step does not go on as if nothing had been"

    @pytest.mark.parametrize("index", [math.nan, "7", None, 3.0])
    def test_an_index_that_cannot_count_is_neutral(self, index: Any) -> None:
        bench = Bench().holding()
        bench.request, bench.index = grip(), index
        assert bench.step() == NEUTRAL and bench.reasons == (Reason.BAD_NUMBER,)

    @pytest.mark.parametrize("age_s", [0.0, 0.499, 0.5, 0.5001, 3.0])
    def test_a_hand_that_reports_must_go_on_reporting(self, age_s: float) -> None:
        bench = Bench().holding()
        assert (bench.decide(grip(), feedback_age_s=age_s).kind == "grip") is (age_s <= 0.5)

    def test_a_hand_that_never_reports_is_fine(self) -> None:
        assert Bench().holding().decide(grip(), feedback_age_s=None).kind == "grip"


@pytest.mark.sr("SR-16")
class TestSR16LimitsOnlyTighten:
    @pytest.mark.parametrize("name", [each.name for each in fields(Limits)])
    def test_each_limit_has_one_way(self, name: str) -> None:
        present, tighter = getattr(LIMITS, name), Limits.__dataclass_fields__[name].metadata["tighter"]
        assert LIMITS.tightened(**{name: present}) == LIMITS
        up, down = (present + 1, max(present - 1, 1)) if isinstance(present, int) else (present * 1.1, present * 0.9)
        for value, way in ((up, "higher"), (down, "lower")):
            if value == present or (way == tighter and name == "close_votes" and value <= LIMITS.close_window):
                continue
            if way == tighter:
                assert getattr(LIMITS.tightened(**{name: value}), name) == value
            else:
                with pytest.raises(ValueError, match=name):
                    LIMITS.tightened(**{name: value})

    @given(st.dictionaries(st.sampled_from([each.name for each in fields(Limits)]), st.floats() | st.integers()))
    def test_no_profile_widens_anything(self, wearer: dict[str, Any]) -> None:
        try:
            tightened = LIMITS.tightened(**wearer)
        except ValueError:
            return
        for each in fields(Limits):
            before, after = getattr(LIMITS, each.name), getattr(tightened, each.name)
            assert {"lower": after <= before, "higher": after >= before, "fixed": after == before}[
                each.metadata["tighter"]
            ]

    @pytest.mark.parametrize(
        "values",
        [
            {"max_speed": 0.0},
            {"max_speed": 1.01},
            {"max_force": math.nan},
            {"dwell_s": -1.0},
            {"stale_s": math.inf},
            {"lost_fraction": 1.5},
            {"bad_channels": 1.5},
            {"close_votes": 5},
            {"release_votes": 3},
            {"max_commands_per_s": 3.9},
            {"max_close_s": "10"},
        ],
    )
    def test_nonsense_is_refused(self, values: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="limit"):
            Limits(**values)

    def test_an_unknown_limit_is_refused_and_the_known_are_named(self) -> None:
        with pytest.raises(ValueError, match=r"max_sped.*max_speed"):
            LIMITS.tightened(max_sped=0.5)

    def test_no_loss_at_all_may_be_asked_for(self) -> None:
        bench = Bench(LIMITS.tightened(lost_fraction=0)).holding()
        assert bench.decide(grip(), lost_fraction=0.001) == NEUTRAL

    def test_a_longer_release_window_waits_longer(self) -> None:
        bench = Bench(LIMITS.tightened(release_window=6)).armed()
        bench.decide(OPENING)
        kinds = [bench.decide(grip()).kind for _ in range(6)]
        assert kinds == ["neutral"] * 5 + ["grip"]


@pytest.mark.sr("SR-19")
class TestSR19Status:
    def test_fresh(self) -> None:
        assert status(State()) == ("neutral", Reason.NOT_ARMED)

    @pytest.mark.parametrize("armed", [True, False])
    @pytest.mark.parametrize("latched", [None, *Reason])
    def test_total(self, armed: bool, latched: Reason | None) -> None:
        for reasons in ((), *((reason,) for reason in Reason)):
            word, reason = status(State(armed=armed, latched=latched, reasons=reasons))
            faulty = latched in LATCHING or (armed and bool(set(reasons) & HEALTH))
            assert word == ("fault" if faulty else "armed" if armed else "neutral"), reasons
            assert word != "fault" or reason is not None

    def test_each_word(self) -> None:
        bench = Bench().armed()
        assert status(bench.state) == ("armed", Reason.RESTING)
        for _ in range(3):
            bench.decide(grip())
        assert status(bench.state) == ("armed", None)
        bench.step(bad_channels=3)
        assert status(bench.state) == ("fault", Reason.BAD_CHANNELS)
        bench.step()
        assert status(bench.state) == ("fault", Reason.RECOVERING)


@pytest.mark.sr("SR-20")
class TestSR20Module:
    def test_every_reason_has_its_page_and_every_page_its_reason(self) -> None:
        folder = ROOT / "docs" / "reasons"
        assert {page.stem for page in folder.glob("*.md")} - {"README"} == {reason.page for reason in Reason}
        for reason in Reason:
            text = (folder / f"{reason.page}.md").read_text(encoding="utf-8")
            assert text.startswith(f"# {reason.page}\n\n> {reason.sentence}\n"), reason
            for heading in ("## Why it exists", "## How to fix it", "## Don't / do"):
                assert heading in text, (reason, heading)

    def test_the_list_of_reasons_is_in_order_of_severity(self) -> None:
        listed = [f"| {at} | [{each.page}]({each.page}.md) | {each.sentence} |" for at, each in enumerate(Reason)]
        text = (ROOT / "docs" / "reasons" / "README.md").read_text(encoding="utf-8")
        assert [line for line in text.splitlines() if line.startswith("| ") and "](" in line] == listed
        assert [each.severity for each in Reason] == list(range(len(Reason)))

    def test_the_safety_page_has_every_limit_as_it_is(self) -> None:
        rows = [
            f"| `{each.name}` | {each.default:g} | {each.metadata['unit']} | {each.metadata['tighter']} "
            f"| {each.metadata['reason']} |"
            for each in fields(Limits)
        ]
        text = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
        assert [line for line in text.splitlines() if line.startswith("| `")] == rows


@pytest.mark.sr("SR-10")
@pytest.mark.parametrize("sign", [1, -1])
def test_sr10_numbers_end_before_a_thousand_million(sign: int) -> None:
    """A clock of thirty years is a defect."""
    assert is_number(sign * math.nextafter(1e9, 0)) and is_number(sign * 999_999_999)
    assert not is_number(sign * 1e9) and not is_number(sign * 1_000_000_000)
    assert not is_number(sign * 1_000_000_000.5)


class TestEdges:
    """Each of these failed for a changed gate that all other tests took for the true one."""

    @pytest.mark.sr("SR-16")
    def test_as_many_votes_as_decisions_are_no_contradiction_and_messages_name_the_cure(self) -> None:
        assert Limits(release_votes=2, release_window=2).release_votes == 2
        with pytest.raises(ValueError, match=r"^limit votes: more votes are wanted than decisions are looked at$"):
            Limits(close_votes=5)
        with pytest.raises(ValueError, match="max_speed, max_force, "):
            LIMITS.tightened(most=1)

    @pytest.mark.sr("SR-07")
    def test_votes_for_opening_add_up(self) -> None:
        bench = Bench(Limits(release_votes=2, release_window=2)).armed()
        assert [bench.decide(OPENING).kind for _ in range(2)] == ["neutral", "open"]

    @pytest.mark.sr("SR-15")
    def test_a_jump_of_the_clock_hides_no_fault_and_renews_no_decision(self) -> None:
        for jump in ({"now_s": math.nan}, {"after_s": 9.0}):
            bench = Bench().holding()
            bench.step(fault="x")
            bench.step(**jump)
            assert status(bench.state) == ("fault", Reason.FAULT)
            bench = Bench().holding()
            bench.step(fault="x", **jump)
            assert bench.reasons[0] is Reason.FAULT
        assert (bench.state.decision_index, bench.state.decided_s) == (bench.index, 0.0)

    @pytest.mark.sr("SR-02")
    def test_exactly_at_a_limit_is_within_it(self) -> None:
        bench = Bench(LIMITS.tightened(stale_s=0.125)).armed()
        bench.step(0.125)
        assert Reason.LOOP_LATE not in bench.reasons
        bench = Bench().armed()
        bench.step(sample_age_s=-LIMITS.stale_s)
        assert Reason.BAD_NUMBER not in bench.reasons
        bench = Bench(LIMITS.tightened(decision_stale_s=0.125)).holding()
        assert bench.step(0.125).kind == "grip"

    @pytest.mark.sr("SR-08")
    def test_another_grip_leaves_as_soon_as_the_rest_was_long_enough(self) -> None:
        bench = Bench(LIMITS.tightened(dwell_s=0.5)).holding()
        kinds = [bench.decide(grip("pinch")).kind for _ in range(17)]
        assert kinds == ["neutral"] * 16 + ["grip"]

    @pytest.mark.sr("SR-09")
    def test_a_grip_right_after_an_open_starts_from_rest(self) -> None:
        bench = Bench(Limits(close_votes=1, close_window=1, release_window=1)).armed()
        assert bench.decide(OPENING) == OPEN
        assert bench.decide(grip(speed=0.5)) == NEUTRAL and bench.reasons == (Reason.SPEED_STEP,)

    @pytest.mark.sr("SR-09")
    def test_neutral_takes_no_room_from_commands(self) -> None:
        bench = Bench(LIMITS.tightened(max_commands_per_s=8)).holding()
        assert bench.decide(REJECTED) == NEUTRAL
        assert bench.decide(grip()).kind == "grip"

    @pytest.mark.sr("SR-09")
    def test_an_open_that_is_held_is_one_message(self) -> None:
        bench = Bench().armed()
        for _ in range(3):
            bench.decide(OPENING)
        sent = bench.state.message_times_s
        assert bench.state.command.kind == "open" and len(sent) == 1
        for _ in range(20):
            bench.decide(OPENING)
        assert bench.state.message_times_s == sent, "the same command again is no new message"
