from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myosem_edge.clock import VirtualClock
from myosem_edge.firmware_bridge.emulators.ability import (
    FULL_STROKE_DEG,
    POSTURES_DEG,
    TOUCH_CONTACT_COUNTS,
    AbilityEmulator,
    AbilityFaults,
    AbilityState,
    NormalMode,
)
from myosem_edge.firmware_bridge.hands.ability import (
    GRIP_CODES,
    JOINTS,
    VOLTS_PER_TOUCH_COUNT,
    AbilityHand,
    RegisterReply,
    Reply,
    movement_time_s,
    speed_byte,
)
from myosem_edge.firmware_bridge.hands.base import Feedback
from myosem_edge.firmware_bridge.hands.ppp import Unstuffer, stuff

TICK_S = 0.01
POWER_DEG = dict(zip(JOINTS, POSTURES_DEG[1], strict=True))


class Bench:
    """Driver and emulator joined by a virtual wire on a virtual clock."""

    def __init__(self, emulator: AbilityEmulator | None = None) -> None:
        self.clock = VirtualClock()
        self.hand = AbilityHand()
        self.emulator = emulator or AbilityEmulator()
        self.feedback: list[Feedback] = []
        self.emulator.tick(self.clock.now_s())

    def send(self, frame: bytes) -> None:
        self.emulator.receive(frame, self.clock.now_s())
        self.collect()

    def wait(self, seconds: float, *, keep_alive: bool = True) -> None:
        """Let time pass in ticks, polling every 100 ms."""
        for tick in range(round(seconds / TICK_S)):
            if keep_alive and tick % 10 == 0:
                self.send(self.hand.poll())
            self.emulator.tick(self.clock.advance(TICK_S))
            self.collect()

    def collect(self) -> None:
        self.feedback += self.hand.receive(self.emulator.to_send(), self.clock.now_s())

    @property
    def state(self) -> AbilityState:
        return self.emulator.state()


def body(frame: bytes) -> bytes:
    (unstuffed,) = Unstuffer().feed(frame)
    return unstuffed


class TestGrips:
    @pytest.mark.parametrize("speed", [0.01, 0.3, 0.7, 1.0])
    def test_power_closes_the_fingers_in_the_time_of_its_speed(self, speed: float) -> None:
        bench = Bench()
        bench.send(bench.hand.grip("power", speed, 0.0))
        due_s = movement_time_s(speed_byte(speed))
        bench.wait(due_s / 2)
        assert bench.state.position_deg["index"] == pytest.approx(45, abs=FULL_STROKE_DEG * TICK_S / due_s)
        assert bench.state.moving
        bench.wait(due_s / 2 + 2 * TICK_S)
        assert bench.state.position_deg == pytest.approx(POWER_DEG)
        assert not bench.state.moving

    @pytest.mark.parametrize("name", GRIP_CODES)
    def test_every_grip_of_the_driver_is_formed(self, name: str) -> None:
        bench = Bench()
        bench.send(bench.hand.relax())
        bench.wait(2.0)
        bench.send(bench.hand.grip(name, 1.0, 0.0))
        bench.wait(0.5)
        assert bench.state.position_deg == pytest.approx(dict(zip(JOINTS, POSTURES_DEG[GRIP_CODES[name]], strict=True)))
        assert (bench.state.grip, bench.state.grip_code) == (name, GRIP_CODES[name])

    def test_no_grip_asks_for_more_than_a_full_stroke_inside_the_ranges(self) -> None:
        for code, posture in POSTURES_DEG.items():
            assert all(0 <= angle <= FULL_STROKE_DEG for angle in posture[:5]), code
            assert -FULL_STROKE_DEG <= posture[5] <= 0, code

    def test_a_repeated_grip_frame_does_not_slow_the_grip(self) -> None:
        bench = Bench()
        for _ in range(100):
            bench.send(bench.hand.grip("power", 1.0, 0.0))
            bench.wait(TICK_S)
        assert bench.state.position_deg == pytest.approx(POWER_DEG)

    @pytest.mark.sr("SR-14")
    def test_stop_freezes_within_one_tick(self) -> None:
        bench = Bench()
        bench.send(bench.hand.grip("power", 0.5, 0.0))
        bench.wait(0.4)
        bench.send(bench.hand.stop())
        held = bench.state.position_deg
        assert 0 < held["index"] < 90
        assert not bench.state.moving
        bench.wait(3.0)
        assert bench.state.position_deg == held
        assert bench.state.speed_byte == 0

    def test_open_returns_to_zero(self) -> None:
        bench = Bench()
        bench.send(bench.hand.grip("power", 1.0, 0.0))
        bench.wait(0.5)
        bench.send(bench.hand.open_hand(1.0))
        bench.wait(0.5)
        assert set(bench.state.position_deg.values()) == {0.0}

    @pytest.mark.parametrize("code", [0x08, 0x13, 0x1F, 0x20, 0xFF])
    def test_a_grip_that_nobody_configured_does_nothing(self, code: int) -> None:
        bench = Bench()
        bench.send(stuff(bytes([0x50, 0x1D, code, 0xFF, -(0x50 + 0x1D + code + 0xFF) & 0xFF])))
        bench.wait(1.0)
        assert set(bench.state.position_deg.values()) == {0.0}
        assert bench.state.grip == f"{code:02X}"


class TestApiMode:
    def timed_out(self, emulator: AbilityEmulator, frame: bytes) -> Bench:
        bench = Bench(emulator)
        bench.send(frame)
        assert bench.state.api_mode
        bench.wait(0.29, keep_alive=False)
        assert bench.state.api_mode
        bench.wait(0.02, keep_alive=False)
        assert not bench.state.api_mode
        assert bench.state.control == "normal"
        return bench

    def test_it_ends_300_ms_after_the_last_valid_frame_and_a_grip_runs_to_its_end(self) -> None:
        bench = self.timed_out(AbilityEmulator(), AbilityHand().grip("power", 0.1, 0.0))
        bench.wait(2.0, keep_alive=False)
        assert bench.state.position_deg == pytest.approx(POWER_DEG)

    def test_it_may_hold(self) -> None:
        emulator = AbilityEmulator(normal_mode=NormalMode.HOLD)
        bench = self.timed_out(emulator, AbilityHand().grip("power", 0.1, 0.0))
        # The fingers moved until the moment of the time-out, not until the tick that noticed it.
        expected_deg = 0.3 * FULL_STROKE_DEG / movement_time_s(speed_byte(0.1))
        assert bench.state.position_deg["index"] == pytest.approx(expected_deg)
        bench.wait(2.0, keep_alive=False)
        assert bench.state.position_deg["index"] == pytest.approx(expected_deg)

    def test_it_may_drift_open_and_drop_what_it_held(self) -> None:
        bench = Bench(AbilityEmulator(normal_mode=NormalMode.OPEN))
        bench.send(bench.hand.grip("power", 1.0, 0.0))
        bench.wait(1.0)
        bench.send(bench.hand.stop())
        bench.wait(0.25, keep_alive=False)
        assert bench.state.position_deg == pytest.approx(POWER_DEG)
        bench.wait(3.0, keep_alive=False)
        assert set(bench.state.position_deg.values()) == {0.0}

    @pytest.mark.parametrize("mode", NormalMode)
    def test_a_position_or_velocity_drive_stops_with_it(self, mode: NormalMode) -> None:
        bench = self.timed_out(AbilityEmulator(normal_mode=mode), AbilityHand().velocities([50] * 5 + [0]))
        before = bench.state.position_deg["index"]
        bench.wait(1.0, keep_alive=False)
        assert bench.state.position_deg["index"] == (0.0 if mode is NormalMode.OPEN else before)

    def test_polling_keeps_it_alive(self) -> None:
        bench = Bench(AbilityEmulator(normal_mode=NormalMode.OPEN))
        bench.send(bench.hand.grip("power", 1.0, 0.0))
        bench.wait(5.0, keep_alive=True)
        assert bench.state.api_mode
        assert bench.state.position_deg == pytest.approx(POWER_DEG)

    def test_polling_does_not_enter_it(self) -> None:
        bench = Bench()
        bench.wait(1.0)
        assert not bench.state.api_mode
        assert len(bench.feedback) == 10
        assert bench.state.last_command_s is None

    def test_damaged_frames_do_not_keep_it_alive(self) -> None:
        bench = Bench()
        bench.send(bench.hand.grip("power", 1.0, 0.0))
        for _ in range(5):
            bench.wait(0.1, keep_alive=False)
            bench.send(stuff(b"\x50\xa2\x0f"))
        assert not bench.state.api_mode

    def test_release_ends_it_at_once_and_only_once(self) -> None:
        bench = Bench(AbilityEmulator(normal_mode=NormalMode.OPEN))
        bench.send(bench.hand.release())
        assert not bench.state.moving
        bench.send(bench.hand.grip("power", 1.0, 0.0))
        bench.wait(0.5)
        bench.send(bench.hand.release())
        assert not bench.state.api_mode
        assert bench.state.moving

    def test_a_grip_under_way_survives_release_sent_twice(self) -> None:
        bench = Bench()
        bench.send(bench.hand.grip("power", 0.5, 0.0))
        bench.send(bench.hand.release() * 2)
        bench.wait(2.0, keep_alive=False)
        assert bench.state.position_deg == pytest.approx(POWER_DEG)


class TestMotors:
    def test_positions_follow_at_a_limited_rate(self) -> None:
        bench, target = Bench(), [10, 20, 30, 40, 50, -60]
        bench.send(bench.hand.positions(target))
        bench.wait(0.05)
        assert bench.state.position_deg["pinky"] == pytest.approx(0.05 * 450)
        assert bench.state.control == "position"
        bench.wait(0.5)
        assert list(bench.state.position_deg.values()) == pytest.approx(target, abs=0.01)
        assert list(bench.feedback[-1].position_deg.values()) == pytest.approx(target, abs=0.01)

    @pytest.mark.parametrize(
        "encode",
        [
            lambda hand, sign: hand.velocities([sign * 90] * 5 + [sign * -90]),
            lambda hand, sign: hand.duties([sign * 20] * 5 + [sign * -20]),
            lambda hand, sign: hand.currents([sign * 0.2] * 5 + [sign * -0.2]),
        ],
    )
    def test_rates_turn_until_told_otherwise(self, encode: Callable[[AbilityHand, int], bytes]) -> None:
        bench = Bench()
        bench.send(encode(bench.hand, 1))
        bench.wait(0.5)
        assert list(bench.state.position_deg.values()) == pytest.approx([45] * 5 + [-45], abs=0.2)
        bench.send(encode(bench.hand, 0))
        bench.wait(0.5)
        assert bench.state.position_deg["index"] == pytest.approx(45, abs=0.2)
        bench.send(encode(bench.hand, -1))
        bench.wait(2.0)
        assert set(bench.state.position_deg.values()) == {0.0}
        assert not bench.state.moving

    def test_mechanical_stops_hold(self) -> None:
        bench = Bench()
        bench.send(bench.hand.velocities([3000] * 5 + [-3000]))
        bench.wait(1.0)
        assert list(bench.state.position_deg.values()) == [100] * 5 + [-100]
        assert bench.state.limited == ()


class TestReplies:
    @pytest.mark.parametrize("variant", [1, 2, 3])
    @pytest.mark.parametrize("group", ["positions", "velocities", "currents", "duties"])
    def test_every_drive_is_answered_in_the_variant_it_asks_for(self, group: str, variant: int) -> None:
        bench = Bench()
        frame = getattr(bench.hand, group)([0] * 6, variant)
        bench.emulator.receive(frame, bench.clock.now_s())
        reply = body(bench.emulator.to_send())
        assert reply[0] == body(frame)[1]
        assert len(reply) == (72, 72, 39)[variant - 1]
        assert sum(reply) % 256 == 0

    def test_reply_bytes_at_rest(self) -> None:
        bench = Bench()
        bench.emulator.receive(bench.hand.poll(), bench.clock.now_s())
        assert bench.emulator.to_send() == bytes.fromhex("7E A2") + bytes(37) + bytes.fromhex("5E 7E")

    @pytest.mark.parametrize("header", [0xA0, 0xA1])
    def test_read_only_frames_may_carry_an_ignored_payload(self, header: int) -> None:
        bench = Bench()
        for extra in range(14):
            frame = bytes([0x50, header, *range(1, extra + 1)])
            bench.send(stuff(frame + bytes([-sum(frame) & 0xFF])))
        assert len(bench.feedback) == 13
        assert (bench.state.frames_good, bench.state.frames_bad) == (13, 1)

    def test_rotor_velocity_is_the_documents(self) -> None:
        bench = Bench()
        bench.send(bench.hand.grip("power", 1.0, 0.0))
        bench.wait(0.05, keep_alive=False)
        bench.send(bench.hand.poll())
        assert bench.feedback[-1].moving
        reply = bench.hand.last_reply
        assert isinstance(reply, Reply)
        assert reply.rotor_rad_s is not None
        # 450 deg/s = 7.854 rad/s at the joint, times the gear ratio; the rotator flexes with negative values.
        assert reply.rotor_rad_s[0] == pytest.approx(7.854 * 649, rel=1e-3)
        assert reply.rotor_rad_s[5] == pytest.approx(-7.854 * 162.45, rel=1e-3)

    def test_registers(self) -> None:
        bench = Bench()
        for frame, expected in (
            (bench.hand.register_read(10), RegisterReply(True, 3546)),
            (bench.hand.register_write(1, -500), RegisterReply(True)),
            (bench.hand.register_read(1), RegisterReply(True, -500)),
            (bench.hand.register_write(10, 1), RegisterReply(False)),
            (bench.hand.register_write(61, 1), RegisterReply(False)),
            (bench.hand.register_write(0, 1), RegisterReply(False)),
            (bench.hand.register_read(63), RegisterReply(False, 0)),
        ):
            bench.send(frame)
            assert bench.hand.last_register == expected
        assert bench.hand.frames_bad == 0

    def test_thumb_upsampling_is_a_switch(self) -> None:
        bench = Bench()
        bench.send(bench.hand.thumb_upsampling(True))
        assert bench.emulator.thumb_upsampling
        bench.send(bench.hand.thumb_upsampling(False))
        assert not bench.emulator.thumb_upsampling
        assert bench.state.frames_good == 2

    def test_unknown_commands_and_wrong_lengths_are_counted_and_ignored(self) -> None:
        bench = Bench()
        bodies = [
            b"\x50\x99",
            b"\x50\x13" + bytes(12),
            b"\x50\x10" + bytes(11),
            b"\x50\x1d\x01",
            b"\x50\x1d\x01\x01\x01",
        ]
        for raw in bodies:
            bench.send(stuff(raw + bytes([-sum(raw) & 0xFF])))
        assert (bench.state.frames_good, bench.state.frames_bad) == (0, len(bodies))
        assert bench.feedback == []

    def test_frames_for_a_neighbour_are_neither_obeyed_nor_counted(self) -> None:
        bench, neighbour = Bench(), AbilityHand(address=0x51)
        bench.send(neighbour.grip("power", 1.0, 0.0) + bytes(5) + neighbour.poll())
        assert not bench.state.moving
        assert (bench.state.frames_good, bench.state.frames_bad) == (0, 0)

    @given(data=st.binary(max_size=200))
    @settings(max_examples=100, deadline=None)
    def test_garbage_moves_nothing_and_the_next_frame_is_obeyed(self, data: bytes) -> None:
        bench = Bench()
        bench.send(data.replace(b"\x50", b"\x51"))  # hardly ever our address
        assert not bench.state.moving
        bench.send(b"\x7e" + bench.hand.grip("power", 1.0, 0.0))
        assert bench.state.moving

    def test_frames_may_arrive_byte_by_byte(self) -> None:
        bench = Bench()
        for byte in bench.hand.positions([10] * 5 + [-10]):
            bench.send(bytes([byte]))
        assert bench.state.frames_good == 1


class TestObject:
    def test_a_held_object_stops_the_fingers_and_shows_in_current_touch_and_status(self) -> None:
        bench = Bench(AbilityEmulator(object_width_mm=50))
        bench.send(bench.hand.grip("power", 1.0, 0.0))
        bench.wait(1.0)
        assert bench.state.position_deg["index"] == 45
        assert bench.state.position_deg["thumb_rotator"] == -80
        assert bench.state.limited == JOINTS[:5]
        assert not bench.state.moving
        last = bench.feedback[-1]
        assert last.limited == JOINTS[:5]
        assert last.current_a["index"] == pytest.approx(0.6, abs=0.001)
        assert last.current_a["thumb_rotator"] == 0
        bench.send(bench.hand.positions([90] * 5 + [-80], variant=1))
        assert bench.hand.last_reply is not None
        assert bench.hand.last_reply.touch_v == pytest.approx([TOUCH_CONTACT_COUNTS * VOLTS_PER_TOUCH_COUNT] * 30)

    def test_only_what_touches_feels(self) -> None:
        bench = Bench(AbilityEmulator(object_width_mm=50))
        bench.send(bench.hand.grip("point", 1.0, 0.0))
        bench.wait(1.0)
        bench.send(bench.hand.positions([0, 90, 90, 90, 60, -60], variant=1))
        assert bench.hand.last_reply is not None
        touch_v = bench.hand.last_reply.touch_v or ()
        assert max(touch_v[:6]) < min(touch_v[6:])

    def test_the_loop_hears_of_touch_while_it_merely_polls(self) -> None:
        bench = Bench(AbilityEmulator(object_width_mm=50))
        bench.wait(0.5)
        idle_v = bench.feedback[-1].touch_v["index"]
        bench.send(bench.hand.grip("power", 1.0, 0.0))
        bench.wait(1.0)
        assert bench.feedback[-1].touch_v["index"] > 2 * idle_v
        assert len({frozenset(each.touch_v) for each in bench.feedback[2:]}) == 1, "in every report"

    def test_protection_holds_until_the_finger_is_sent_the_other_way(self) -> None:
        bench = Bench(AbilityEmulator(object_width_mm=50))
        bench.send(bench.hand.grip("power", 1.0, 0.0))
        bench.wait(1.0)
        assert bench.emulator.object_width_mm == 50
        bench.emulator.object_width_mm = None
        bench.send(bench.hand.grip("power", 1.0, 0.0))
        bench.wait(1.0)
        assert bench.state.position_deg["index"] == 45
        bench.send(bench.hand.open_hand(1.0))
        assert bench.state.limited == ()
        bench.wait(0.5)
        bench.send(bench.hand.grip("power", 1.0, 0.0))
        bench.wait(1.0)
        assert bench.state.position_deg == pytest.approx(POWER_DEG)

    def test_freezing_keeps_hold_without_pressing(self) -> None:
        bench = Bench(AbilityEmulator(object_width_mm=30))
        bench.send(bench.hand.grip("power", 1.0, 0.0))
        bench.wait(1.0)
        held = bench.state.position_deg
        bench.send(bench.hand.stop())
        bench.wait(1.0)
        assert bench.state.position_deg == held
        assert bench.state.limited == JOINTS[:4]
        assert bench.feedback[-1].current_a["index"] == 0

    @pytest.mark.parametrize("width_mm", [0, -1, 100.1, float("nan")])
    def test_an_impossible_width_is_refused(self, width_mm: float) -> None:
        with pytest.raises(ValueError, match="object width"):
            AbilityEmulator(object_width_mm=width_mm)


class TestFaults:
    def test_a_silent_hand_still_obeys(self) -> None:
        bench = Bench(AbilityEmulator(faults=AbilityFaults(silent=True)))
        bench.send(bench.hand.grip("power", 1.0, 0.0))
        bench.wait(1.0)
        assert bench.feedback == []
        assert bench.state.position_deg == pytest.approx(POWER_DEG)

    def test_drops_hit_both_directions_about_as_often_as_dialled(self) -> None:
        bench = Bench(AbilityEmulator(faults=AbilityFaults(drop=0.3)))
        for _ in range(1000):
            bench.send(bench.hand.poll())
        assert 640 < bench.state.frames_good < 760
        assert 420 < len(bench.feedback) < 560

    def test_a_flipped_bit_is_always_found_by_the_other_side(self) -> None:
        bench = Bench(AbilityEmulator(faults=AbilityFaults(corrupt=1.0)))
        for _ in range(200):
            bench.send(bench.hand.grip("power", 1.0, 0.0))
        assert (bench.state.frames_good, bench.state.frames_bad) == (0, 200)
        bench.emulator.faults = AbilityFaults()
        for _ in range(200):
            bench.emulator.receive(bench.hand.poll(), bench.clock.now_s())
        clean = [part for part in bench.emulator.to_send().split(b"\x7e") if part]
        assert len(clean) == 200
        bench.emulator.faults = AbilityFaults(corrupt=0.5)
        for _ in range(400):
            bench.send(bench.hand.poll())
        assert bench.hand.frames_good + bench.hand.frames_bad + bench.state.frames_bad == 400 + 200
        assert min(bench.hand.frames_good, bench.hand.frames_bad) > 50

    def test_stray_zeros_cost_nothing(self) -> None:
        bench = Bench(AbilityEmulator(faults=AbilityFaults(stray_zeros=3)))
        bench.wait(1.0)
        assert len(bench.feedback) == 10
        assert bench.hand.frames_bad == 0


class TestObservers:
    def test_history_tells_each_change_once_and_in_order(self) -> None:
        seen: list[AbilityState] = []
        bench = Bench(AbilityEmulator(history=seen.append))
        bench.wait(0.5)
        assert seen == []
        bench.send(bench.hand.grip("power", 1.0, 0.0))
        started_s = bench.clock.now_s()
        bench.wait(0.5)
        bench.send(bench.hand.stop())
        bench.wait(1.0, keep_alive=False)
        assert [(s.control, s.speed_byte, s.moving, s.api_mode) for s in seen] == [
            ("grip", 255, True, True),
            ("grip", 255, False, True),
            ("grip", 0, False, True),
            ("normal", 0, False, False),
        ]
        assert seen[0].time_s == started_s == seen[0].last_command_s
        assert seen[1].time_s - started_s == pytest.approx(0.2, abs=2 * TICK_S)
        assert seen[3].time_s - seen[2].time_s == pytest.approx(0.3, abs=1e-6)
        assert all(a.time_s <= b.time_s for a, b in pairwise(seen))

    def test_a_grip_and_a_stop_in_one_read_are_two_changes(self) -> None:
        seen: list[AbilityState] = []
        bench = Bench(AbilityEmulator(history=seen.append))
        bench.send(bench.hand.grip("power", 1.0, 0.0) + bench.hand.stop())
        assert [s.speed_byte for s in seen] == [255, 0]

    def test_a_state_is_a_record_of_its_moment(self) -> None:
        bench = Bench()
        before = bench.state
        bench.send(bench.hand.grip("power", 1.0, 0.0))
        bench.wait(0.5)
        assert set(before.position_deg.values()) == {0.0}
        assert before.grip == ""

    @given(st.lists(st.tuples(st.sampled_from(sorted(GRIP_CODES)), st.floats(0.01, 1.0)), min_size=1, max_size=6))
    @settings(max_examples=30, deadline=None)
    def test_no_finger_ever_exceeds_the_rate_of_its_speed_byte(self, grips: list[tuple[str, float]]) -> None:
        bench = Bench()
        for name, speed in grips:
            bench.send(bench.hand.grip(name, speed, 0.0))
            most_deg = FULL_STROKE_DEG * TICK_S / movement_time_s(speed_byte(speed)) + 1e-6
            for _ in range(8):
                before = bench.state.position_deg
                bench.wait(TICK_S)
                after = bench.state.position_deg
                assert all(abs(after[joint] - before[joint]) <= most_deg for joint in JOINTS)


def test_a_reply_at_full_deflection_still_fits_its_fields() -> None:
    bench = Bench()
    bench.send(bench.hand.velocities([3000] * 5 + [-3000]))
    bench.wait(0.1)
    reply = bench.hand.last_reply
    assert reply is not None
    assert 20000 < max(map(abs, reply.rotor_rad_s or ())) * 4 < 32767
