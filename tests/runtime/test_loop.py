"""The loop, end to end on a virtual clock: what reaches the hand, when, and what happens when something breaks."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myosem_edge.errors import DeviceError, MyosemError, RefusedError
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.frontends.base import Phase
from myosem_edge.firmware_bridge.hands.ability import AbilityHand, speed_byte
from myosem_edge.firmware_bridge.hands.base import HandInfo, Neutral
from myosem_edge.runtime import judge as module
from myosem_edge.runtime.gate import Reason
from myosem_edge.runtime.gate_replay import replay
from myosem_edge.runtime.limits import Limits
from myosem_edge.runtime.loop import AWAY_S, FAILURES, FRONT_END, HAND, TICK_S
from myosem_edge.runtime.telemetry import encode
from tests.runtime.loop_bench import ARM, LOCK, NOTHING, OPEN_KEY, STEP_S, STOP, Bench

MOVING = {"power", "pinch", "open", "relax"}
STAGES = ["front end", "signal", "hand", "decoder", "shaper", "gate", "encode", "poll", "guard", "front end, sending"]


def boom(*arguments: object, **named: object) -> None:
    raise RuntimeError("injected")


def inject(bench: Bench, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make one stage of the cycle fail."""
    loop = bench.loop
    place: dict[str, tuple[object, str]] = {
        "front end": (loop.front_end, "receive"),
        "front end, sending": (loop.front_end, "to_send"),
        "signal": (loop._health, "add"),
        "hand": (loop.hand, "receive"),
        "decoder": (loop.decoder, "feed"),
        "shaper": (module, "shape"),
        "gate": (module, "step"),
        "encode": (loop.hand, "grip"),
        "poll": (loop.hand, "poll"),
        "guard": (loop.guard, "beat"),
    }
    owner, name = place[stage]
    monkeypatch.setattr(owner, name, boom)


def changed(event: dict[str, Any], what: str) -> dict[str, Any]:
    """A step of a log with another command, reason or request in it than was logged."""
    if event["event"] != "step":
        return event
    if what == "reasons":
        return {**event, "reasons": [*event["reasons"], "opened"]}
    if what == "command":
        return {**event, "command": {**event["command"], "speed": 0.77}}
    return {**event, "inputs": {**event["inputs"], "request": {**event["inputs"]["request"], "force": 0.01}}}


class TestArming:
    @pytest.mark.sr("SR-01")
    def test_before_the_arm_only_questions_leave(self) -> None:
        bench = Bench()
        bench.decoder.action = "fist"
        bench.wait(5.0)
        assert set(bench.kinds()) == {"poll"}
        assert bench.verdict["reason"] == "not-armed"
        assert bench.index_deg == 0.0

    @pytest.mark.sr("SR-01")
    def test_an_arm_without_a_healthy_second_is_refused_and_said(self) -> None:
        bench = Bench()
        bench.wait(3.0, until=lambda: bench.loop.front_end.phase is Phase.STREAMING)
        bench.step(ARM)
        assert not bench.loop.armed and "arm-refused" in bench.verdict["reasons"]

    def test_armed_a_fist_closes_the_fingers_and_rest_freezes_them(self) -> None:
        bench = Bench()
        bench.close()
        held_deg = bench.index_deg
        assert 0.0 < held_deg < 90.0
        bench.decoder.action = "rest"
        bench.wait(0.3)
        frozen_deg = bench.index_deg
        bench.wait(1.0)
        assert bench.index_deg == frozen_deg and bench.hand.state().speed_byte == 0
        bench.decoder.action = "hand_open"
        bench.wait(3.0)
        assert bench.index_deg == 0.0

    def test_the_speed_only_rises_in_steps_that_the_gate_allows(self) -> None:
        bench = Bench(limits=Limits(max_speed=0.5))
        bench.close()
        speeds = [event["command"]["speed"] for event in bench.told("verdict") if event["command"]["kind"] == "grip"]
        assert max(speeds) <= 0.5 and all(after - before <= 0.25 for before, after in pairwise(speeds))
        assert bench.hand.state().speed_byte == speed_byte(speeds[-1])


class TestSR12WearerOverrides:
    @pytest.mark.sr("SR-12")
    @pytest.mark.parametrize("samples", [True, False], ids=["with samples", "without samples"])
    def test_stop_reaches_the_hand_in_the_cycle_that_reads_it(self, samples: bool) -> None:
        bench = Bench()
        bench.close()
        bench.front_cable = samples
        pressed_s = bench.now_s
        bench.step(STOP)
        assert bench.kinds(pressed_s)[0] == "stop"
        assert bench.now_s - pressed_s <= TICK_S
        bench.wait(1.0)
        assert MOVING.isdisjoint(bench.kinds(pressed_s))
        assert not bench.loop.armed and "stopped" in bench.verdict["reasons"]

    @pytest.mark.sr("SR-12")
    @pytest.mark.parametrize("samples", [True, False], ids=["with samples", "without samples"])
    def test_open_reaches_the_hand_in_the_cycle_that_reads_it(self, samples: bool) -> None:
        bench = Bench()
        bench.close()
        bench.front_cable = samples
        pressed_s = bench.now_s
        bench.step(OPEN_KEY)
        assert bench.kinds(pressed_s)[0] == "open"

    @pytest.mark.sr("SR-12")
    def test_open_works_before_any_arm(self) -> None:
        bench = Bench()
        bench.step(OPEN_KEY)
        assert "open" in bench.kinds()

    @pytest.mark.sr("SR-12")
    def test_a_stop_that_meets_a_failing_gate_is_not_lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bench = Bench()
        bench.close()
        with monkeypatch.context() as patch:
            inject(bench, "gate", patch)
            bench.step(STOP)
        bench.step()
        assert "stopped" in bench.verdict["reasons"] and not bench.loop.armed


class TestSR02Stale:
    @pytest.mark.sr("SR-02")
    def test_a_pulled_cable_is_neutral_within_the_limit_and_latches(self) -> None:
        bench = Bench()
        bench.close()
        pulled_s = bench.now_s
        bench.front_cable = False
        bench.wait(0.5)
        first_stop_s = next(time_s for time_s, frame in bench.sent if time_s > pulled_s and bench.kind(frame) == "stop")
        assert first_stop_s - pulled_s <= Limits().stale_s + TICK_S
        bench.wait(1.0)
        assert bench.verdict["reason"] == Reason.SIGNAL_LOST.page
        bench.front_cable = True
        back_s = bench.now_s
        bench.wait(8.0)
        assert bench.loop.front_end.phase is Phase.STREAMING
        assert MOVING.isdisjoint(bench.kinds(back_s)), "nothing moves before somebody arms again"

    @pytest.mark.sr("SR-13")
    def test_no_command_is_repeated_when_decisions_stop(self) -> None:
        bench = Bench()
        bench.close()
        bench.decoder.silent = True
        bench.wait(Limits().decision_stale_s + 2 * STEP_S)
        quiet_s = bench.now_s
        bench.wait(2.0)
        assert MOVING.isdisjoint(bench.kinds(quiet_s)) and "stop" in bench.kinds(quiet_s)
        assert bench.verdict["reason"] == "decision-stale"

    @pytest.mark.sr("SR-13")
    def test_an_unchanged_command_is_sent_as_often_as_the_keep_alive_asks(self) -> None:
        bench = Bench()
        bench.close()
        bench.wait(1.0)
        since_s = bench.now_s
        bench.wait(2.0)
        times_s = [time_s for time_s, frame in bench.sent if time_s > since_s and bench.kind(frame) == "power"]
        gaps_s = [after - before for before, after in pairwise(times_s)]
        keep_alive_s = bench.driver.info.keep_alive_s
        assert keep_alive_s is not None
        assert max(gaps_s) <= keep_alive_s and min(gaps_s) >= keep_alive_s / 2 - 1e-6

    def test_a_hand_without_keep_alive_hears_a_grip_once_and_neutral_again(self) -> None:
        class Holder(AbilityHand):
            info = HandInfo(**{**vars(AbilityHand.info), "keep_alive_s": None})

        bench = Bench(driver=Holder())
        bench.close()
        bench.wait(1.0)
        since_s = bench.now_s
        bench.wait(1.0)
        assert set(bench.kinds(since_s)) == {"poll"}
        bench.step(STOP)
        bench.wait(1.0)
        assert bench.kinds(since_s).count("stop") >= 5


class TestSR04SR05Signal:
    @pytest.mark.sr("SR-04")
    def test_lost_samples_are_neutral(self) -> None:
        bench = Bench(faults=Faults(drop_probability=0.1))
        bench.wait(4.0)
        bench.step(ARM)
        assert not bench.loop.armed
        assert any("samples-lost" in event["reasons"] for event in bench.told("verdict"))

    @pytest.mark.sr("SR-04")
    @pytest.mark.parametrize("garbage", [b"\x00" * 300, b"\xff" * 300, b"\x80\x10\x04\x05" * 80, b"\x7e\x7d" * 200])
    def test_garbage_on_either_wire_neither_raises_nor_moves_the_hand(self, garbage: bytes) -> None:
        bench = Bench()
        bench.arm()
        since_s = bench.now_s
        for _ in range(50):
            out = bench.step(front=garbage, hand=garbage)
            assert out.end is None
        assert MOVING.isdisjoint(bench.kinds(since_s))
        assert not bench.told("failure")

    @pytest.mark.sr("SR-05")
    def test_flat_channels_are_neutral(self) -> None:
        bench = Bench()
        bench.close()
        bench.armband.faults = Faults(flat=True)
        bench.wait(0.4)
        assert bench.verdict["reasons"][0] == "bad-channels" and bench.verdict["command"]["kind"] == "neutral"


class TestHandCable:
    def test_a_hand_that_falls_silent_is_told_neutral(self) -> None:
        bench = Bench()
        bench.close()
        bench.hand_cable = False
        since_s = bench.now_s
        bench.wait(Limits().feedback_stale_s + 0.2)
        assert bench.verdict["reason"] == "hand-silent"
        assert bench.kinds(since_s)[-1] in ("stop", "poll")
        assert bench.out.end is None

    @pytest.mark.sr("SR-13")
    def test_a_vanished_port_gets_nothing_and_motion_is_not_taken_up_again(self) -> None:
        bench = Bench()
        bench.close()
        bench.hand_cable = False
        bench.loop.unplugged(HAND, "gone", bench.now_s)
        lost_s = bench.now_s
        bench.wait(2.0)
        assert bench.kinds(lost_s) == []
        assert bench.verdict["fault"] == "the hand is unplugged"
        bench.hand_cable = True
        back_s = bench.now_s
        bench._carry(bench.loop.plugged(HAND, back_s))
        # It may have gone on closing all the while: neutral first, and again and again, and nothing else.
        assert [bench.kind(frame) for frame in bench.out.hand_out] == ["stop", "poll"]
        assert bench.hand.state().speed_byte == 0
        bench.wait(3.0)
        assert set(bench.kinds(back_s)) == {"stop", "poll"} and not bench.loop.armed
        stops_s = [time_s for time_s, frame in bench.sent if time_s >= back_s and bench.kind(frame) == "stop"]
        assert len(stops_s) >= 29 and max(after - before for before, after in pairwise(stops_s)) <= 0.1 + 2 * STEP_S
        bench.step(ARM)
        bench.wait(0.6)
        assert "power" in bench.kinds(back_s)

    def test_a_hand_that_was_never_commanded_hears_only_questions_when_it_is_back(self) -> None:
        bench = Bench()
        bench.wait(2.0)
        bench.loop.unplugged(HAND, "gone", bench.now_s)
        bench.wait(1.0)
        bench._carry(bench.loop.plugged(HAND, bench.now_s))
        bench.wait(2.0)
        assert set(bench.kinds()) == {"poll"}

    def test_a_front_end_that_is_plugged_in_again_streams_again_but_is_not_armed(self) -> None:
        bench = Bench()
        bench.close()
        bench.front_cable = False
        bench.loop.unplugged(FRONT_END, "gone", bench.now_s)
        bench.step()
        assert bench.verdict["status"] == "fault" and bench.verdict["command"]["kind"] == "neutral"
        bench.front_cable = True
        bench._carry(bench.loop.plugged(FRONT_END, bench.now_s))
        bench.wait(3.0)
        assert bench.loop.front_end.phase is Phase.STREAMING and not bench.loop.armed
        assert [event["state"] for event in bench.told("link")] == ["lost", "back"]

    @pytest.mark.parametrize("device", [HAND, FRONT_END])
    def test_a_device_that_stays_away_ends_the_loop(self, device: str) -> None:
        bench = Bench()
        bench.arm()
        bench.loop.unplugged(device, "gone", bench.now_s)
        bench.wait(AWAY_S - 1.0)
        assert bench.out.end is None
        bench.wait(2.0)
        assert isinstance(bench.out.end, DeviceError) and bench.out.end.exit_code == 6

    def test_an_armband_that_was_never_there_ends_the_loop_in_the_drivers_words(self) -> None:
        bench = Bench(faults=Faults(silent=True))
        bench.wait(30.0, until=lambda: bench.out.end is not None)
        assert isinstance(bench.out.end, DeviceError) and "silent" in str(bench.out.end)

    @pytest.mark.parametrize(("name", "value"), [("channels", 4), ("rate_hz", 500.0), ("layout", "sites")])
    def test_a_device_that_says_it_measures_something_else_ends_the_loop(self, name: str, value: object) -> None:
        bench = Bench()
        bench.close()
        bench.loop.front_end.info = replace(bench.loop.front_end.info, **{name: value})  # type: ignore[arg-type]
        bench.step()
        assert isinstance(bench.out.end, DeviceError) and f"differs in {name}" in str(bench.out.end)
        assert bench.out.complete

    def test_a_device_that_changes_its_full_scale_is_watched_at_the_new_one(self) -> None:
        bench = Bench()
        bench.close()
        bench.loop.front_end.info = replace(bench.loop.front_end.info, full_scale=0.0)
        bench.wait(0.4)
        assert bench.verdict["reasons"][0] == "bad-channels" and bench.out.end is None

    def test_an_armband_that_goes_away_is_started_again_when_it_is_back(self) -> None:
        bench = Bench()
        bench.close()
        bench.armband.faults = Faults(silent=True)
        bench.wait(30.0, until=lambda: bench.loop.front_end.phase is Phase.FAILED)
        assert bench.loop.front_end.phase is Phase.FAILED and bench.out.end is None
        bench.armband.faults = Faults()
        bench.wait(20.0, until=lambda: bench.loop.front_end.phase is Phase.STREAMING)
        bench.wait(1.0)
        assert bench.loop.front_end.phase is Phase.STREAMING and not bench.loop.armed
        phases = [event["phase"] for event in bench.told("front end")]
        assert "failed" in phases and phases[-1] == "streaming"

    def test_a_hand_that_cannot_be_greeted_is_a_failure_and_no_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bench = Bench()
        monkeypatch.setattr(bench.driver, "start", boom)
        out = bench.loop.plugged(HAND, bench.now_s)
        assert out.hand_out == () and not out.complete
        assert bench.step().end is None and bench.verdict["status"] == "fault"


class TestSR15Failures:
    @pytest.mark.sr("SR-15")
    @pytest.mark.parametrize("stage", STAGES)
    def test_one_failure_anywhere_is_neutral_with_a_reason_and_latches(
        self, stage: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench = Bench()
        bench.close()
        bench.wait(0.1)
        failed_s = bench.now_s
        with monkeypatch.context() as patch:
            inject(bench, stage, patch)
            beats = bench.guard.beats
            for _ in range(20):
                out = bench.step()
                if not out.complete:
                    break
            assert not out.complete, "a failing cycle must not feed the watchdog"
            assert bench.guard.beats - beats < 20
        bench.step()
        bench.step()
        assert bench.verdict["status"] == "fault" and bench.verdict["reason"] == "fault"
        assert any(event["stage"] == stage for event in bench.told("failure"))
        assert "stop" in bench.kinds(failed_s) and not bench.loop.armed
        quiet_s = bench.now_s
        bench.wait(3.0)
        assert bench.out.complete and bench.out.end is None
        assert MOVING.isdisjoint(bench.kinds(quiet_s)), "the fault latches"
        bench.step(ARM)
        assert bench.loop.armed, "and can be armed again once the cause is gone"

    @pytest.mark.sr("SR-15")
    @pytest.mark.parametrize("stage", ["decoder", "gate", "signal", "front end", "hand", "guard"])
    def test_a_stage_that_fails_again_and_again_ends_the_loop(
        self, stage: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench = Bench()
        bench.close()
        inject(bench, stage, monkeypatch)
        bench.wait(1.0, until=lambda: bench.out.end is not None)
        assert isinstance(bench.out.end, MyosemError) and stage in str(bench.out.end)
        assert bench.told("failure") and bench.loop.counts["incomplete"] >= FAILURES
        assert bench.kinds()[-1] != "power"

    @pytest.mark.sr("SR-15")
    def test_a_late_loop_is_neutral_and_counted(self) -> None:
        bench = Bench()
        bench.close()
        bench.step(seconds=TICK_S + Limits().loop_late_s + 0.01)
        assert bench.verdict["command"]["kind"] == "neutral" and "loop-late" in bench.verdict["reasons"]
        assert bench.loop.late.largest_s == pytest.approx(Limits().loop_late_s + 0.01)

    @pytest.mark.sr("SR-15")
    def test_a_failure_outside_of_the_cycle_reaches_the_gate(self) -> None:
        bench = Bench()
        bench.close()
        bench.loop.fail("telemetry", OSError("broken"), bench.now_s)
        out = bench.step()
        assert not out.complete and bench.verdict["fault"] == "telemetry: OSError: broken"
        assert bench.step().complete


class TestGuard:
    @pytest.mark.sr("SR-13")
    def test_without_a_guard_nothing_arms(self) -> None:
        bench = Bench()
        bench.loop.guard = None
        bench.wait(3.0)
        bench.step(ARM)
        bench.decoder.action = "fist"
        bench.wait(1.0)
        assert set(bench.kinds()) == {"poll"}
        assert not bench.out.complete and "guard" in bench.verdict["fault"]

    @pytest.mark.sr("SR-13")
    def test_a_guard_that_goes_away_in_motion_is_neutral_in_the_next_cycle(self) -> None:
        bench = Bench()
        bench.close()
        bench.guard.alive = False
        bench.step()
        gone_s = bench.now_s
        bench.step()
        assert bench.kinds(gone_s)[0] == "stop" and bench.verdict["reason"] == "fault"
        bench.wait(1.0)
        assert not bench.out.complete and MOVING.isdisjoint(bench.kinds(gone_s))

    def test_every_complete_cycle_beats_once(self) -> None:
        bench = Bench()
        bench.wait(1.0)
        assert bench.guard.beats == bench.loop.counts["cycles"] == 100


class TestSR11Whitelist:
    @pytest.mark.sr("SR-11")
    def test_bytes_that_are_not_whitelisted_never_leave(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bench = Bench()
        bench.arm()
        # A driver with a defect: motors driven directly instead of a grip.
        monkeypatch.setattr(bench.driver, "grip", lambda name, speed, force: bench.driver.positions([90.0] * 5 + [0.0]))
        since_s = bench.now_s
        bench.decoder.action = "fist"
        bench.wait(0.6)
        assert set(bench.kinds(since_s)) <= {"poll", "stop"} and "stop" in bench.kinds(since_s)
        assert any(event["stage"] == "encode" for event in bench.told("failure"))
        assert bench.index_deg == 0.0

    @pytest.mark.sr("SR-11")
    @settings(max_examples=15, deadline=None)
    @given(st.data())
    def test_whatever_happens_every_byte_is_a_whole_whitelisted_frame(self, data: st.DataObject) -> None:
        bench = Bench()
        bench.arm()
        for _ in range(60):
            bench.decoder.action = data.draw(st.sampled_from(["fist", "pinch", "hand_open", "rest", "unheard of"]))
            bench.front_cable = data.draw(st.sampled_from([True, True, True, False]))
            bench.hand_cable = data.draw(st.sampled_from([True, True, True, False]))
            wearer = data.draw(st.sampled_from([NOTHING, NOTHING, NOTHING, ARM, OPEN_KEY, STOP]))
            bench.step(
                wearer,
                seconds=data.draw(st.sampled_from([0.0, 0.005, 0.02, 0.2])),
                hand=data.draw(st.binary(max_size=8)),
            )
        assert all(bench.driver.may_send(frame) for _, frame in bench.sent)
        assert bench.hand.state().frames_bad == 0


class TestSR14Neutral:
    @pytest.mark.sr("SR-14")
    @pytest.mark.parametrize(
        ("neutral", "expected"), [(Neutral.FREEZE, "stop"), (Neutral.RELAX, "relax"), (Neutral.OPEN, "open")]
    )
    def test_neutral_is_what_was_chosen(self, neutral: Neutral, expected: str) -> None:
        bench = Bench(neutral=neutral)
        bench.wait(2.0)
        assert set(bench.kinds()) == {"poll"}, "not even a neutral that moves before the first arm"
        bench.close()
        since_s = bench.now_s
        bench.front_cable = False
        bench.wait(0.5)
        assert bench.kinds(since_s)[-1] in (expected, "poll") and expected in bench.kinds(since_s)

    @pytest.mark.sr("SR-14")
    @pytest.mark.parametrize("neutral", list(Neutral))
    @pytest.mark.parametrize("trouble", ["a decided opening", "rest", "no signal", "a stop", "the cable", "the end"])
    def test_a_locked_hand_is_only_ever_halted(self, neutral: Neutral, trouble: str) -> None:
        """A carried cup is not dropped, whichever neutral was chosen."""
        bench = Bench(neutral=neutral)
        bench.close()
        since_s = bench.now_s
        bench.step(LOCK)
        assert bench.guard.locked, "the guard has to know when the loop dies"
        if trouble in ("a decided opening", "rest"):
            bench.decoder.action = "hand_open" if trouble == "a decided opening" else "rest"
        elif trouble == "no signal":
            bench.front_cable = False
        elif trouble == "a stop":
            bench.step(STOP)
        elif trouble == "the cable":
            bench.loop.unplugged(HAND, "pulled", bench.now_s)
            bench.wait(0.2)
            bench._carry(bench.loop.plugged(HAND, bench.now_s))
        bench.wait(2.0)
        if trouble == "the end":
            bench._carry(bench.loop.finish(bench.now_s))
        assert "stop" in bench.kinds(since_s)
        assert set(bench.kinds(since_s)) <= {"stop", "poll", "release"}
        bench.step(LOCK)
        assert not bench.guard.locked

    @pytest.mark.sr("SR-14")
    def test_unlocking_takes_up_the_neutral_that_was_chosen_and_then_obeys_again(self) -> None:
        bench = Bench(neutral=Neutral.RELAX)
        bench.close()
        bench.step(LOCK)
        bench.decoder.action = "rest"
        bench.wait(1.0)
        since_s = bench.now_s
        bench.step(LOCK)
        bench.wait(0.2)
        assert set(bench.kinds(since_s)) <= {"relax", "poll"}
        bench.decoder.action = "fist"
        bench.wait(1.0)
        assert "power" in bench.kinds(since_s)

    def test_a_neutral_that_the_hand_has_not_is_refused(self) -> None:
        class Stiff(AbilityHand):
            info = HandInfo(**{**vars(AbilityHand.info), "neutrals": (Neutral.FREEZE,)})

        with pytest.raises(RefusedError, match="no neutral 'open'"):
            Bench(driver=Stiff(), neutral=Neutral.OPEN)


class TestTheEnd:
    def test_the_last_bytes_are_neutral_and_release(self) -> None:
        bench = Bench()
        bench.close()
        frames = bench._carry(bench.loop.finish(bench.now_s)).hand_out
        assert [bench.kind(frame) for frame in frames] == ["stop", "release"]
        bench.hand.tick(bench.clock.advance(1.0))
        bench.armband.tick(bench.now_s)
        assert not bench.hand.state().moving and not bench.hand.state().api_mode
        assert not bench.armband.streaming

    def test_a_hand_that_was_never_commanded_is_halted_whatever_its_neutral(self) -> None:
        bench = Bench(neutral=Neutral.OPEN)
        assert [bench.kind(frame) for frame in bench.loop.finish(bench.now_s).hand_out] == ["stop", "release"]


class TestEvents:
    def test_a_verdict_is_told_once_for_each_change(self) -> None:
        bench = Bench()
        bench.close()
        verdicts = bench.told("verdict")
        keys = [(v["status"], v["reasons"], v["command"], v["fault"]) for v in verdicts]
        assert all(before != after for before, after in pairwise(keys))
        assert verdicts[-1]["command"]["grip"] == "power" and verdicts[-1]["status"] == "armed"

    def test_decisions_and_feedback_are_told_at_a_modest_rate(self) -> None:
        bench = Bench()
        bench.arm()
        bench.events.clear()
        bench.wait(2.0)
        assert 30 <= len(bench.told("decision")) <= 40
        assert 8 <= len(bench.told("hand")) <= 10
        bench.decoder.action = "fist"
        bench.wait(0.2)
        assert bench.told("decision")[-1]["name"] == "close the hand"
        assert set(bench.told("hand")[-1]["position_deg"]) == set(bench.hand.state().position_deg)

    def test_every_line_fits_into_one_write(self) -> None:
        bench = Bench(log_inputs=True)
        bench.close()
        bench.loop.fail("decoder", ValueError("x" * 10_000), bench.now_s)
        bench.step()
        assert max(len(encode(event)) for event in bench.events) < 4096

    @pytest.mark.sr("SR-18")
    def test_the_logged_inputs_replay_to_the_same_commands_and_reasons(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bench = Bench(log_inputs=True)
        bench.close()
        bench.step(STOP)
        bench.wait(0.3)
        with monkeypatch.context() as patch:
            inject(bench, "decoder", patch)
            bench.wait(0.05)
        bench.front_cable = False
        bench.wait(2.0)
        lines = [json.loads(encode(event)) for event in bench.events]
        steps = list(replay(lines))
        assert len(steps) >= bench.loop.counts["cycles"] and all(step.known and not step.differences for step in steps)
        for what in ("command", "reasons", "request"):
            wrong = list(replay(changed(event, what) for event in lines))
            differing = [step for step in wrong if step.differences]
            assert differing and {each.what for step in differing for each in step.differences} >= {what}

    @pytest.mark.sr("SR-18")
    @pytest.mark.parametrize("stage", ["shaper", "gate"])
    def test_a_step_that_failed_breaks_no_replay(self, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
        bench = Bench(log_inputs=True)
        bench.close()
        with monkeypatch.context() as patch:
            inject(bench, stage, patch)
            bench.wait(0.03)
        bench.wait(1.5)
        bench.step(ARM)
        bench.wait(1.0)
        steps = list(replay(json.loads(encode(event)) for event in bench.events))
        assert all(step.known and not step.differences for step in steps)
        assert bench.verdict["status"] == "armed"

    @pytest.mark.sr("SR-18")
    @pytest.mark.parametrize("gap", ["lost beginning", "dropped"])
    def test_a_log_with_a_gap_replays_from_the_next_state_on(self, gap: str) -> None:
        bench = Bench(log_inputs=True)
        bench.close()
        for action in ("rest", "fist", "hand_open", "fist") * 6:
            bench.decoder.action = action
            bench.wait(1.5)
        lines = [json.loads(encode(event)) for event in bench.events]
        states = [i for i, event in enumerate(lines) if event["event"] == "state"]
        assert len(states) >= 2
        cut = states[0] + 50
        kept = lines[cut:] if gap == "lost beginning" else [*lines[:cut], {"event": "dropped"}, *lines[cut + 5 :]]
        steps = list(replay(kept))
        known = [step for step in steps if step.known]
        assert 0 < len(known) < len(steps)
        assert not any(step.differences for step in steps)
        assert steps[-1].known

    def test_the_summary_counts(self) -> None:
        bench = Bench()
        bench.close()
        summary = bench.loop.summary(bench.now_s)
        assert summary["counts"]["arms"] == 1 and summary["counts"]["commands"] == len(
            [kind for kind in bench.kinds() if kind != "poll"]
        )
        assert summary["late"]["count"] == summary["counts"]["cycles"] and summary["front_end"]["lost_samples"] == 0
        assert summary["last"]["status"] == "armed"
