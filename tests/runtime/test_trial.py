"""A hand tried grip by grip: the real loop, gate and driver, and the emulated hand, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from myosem_edge.cli._limits import hand_limits, tightened
from myosem_edge.clock import VirtualClock
from myosem_edge.firmware_bridge.emulators import EMULATED_HANDS
from myosem_edge.firmware_bridge.emulators.ability import POSTURES_DEG
from myosem_edge.firmware_bridge.hands import HANDS, hand
from myosem_edge.firmware_bridge.hands.ability import GRIP_CODES
from myosem_edge.firmware_bridge.hands.base import Neutral
from myosem_edge.firmware_bridge.hands.stepped import SteppedHand
from myosem_edge.runtime.gate import Wearer
from myosem_edge.runtime.health import SampleHealth
from myosem_edge.runtime.loop import TICK_S, Loop
from myosem_edge.runtime.trial import MOST_S, SILENT, Metronome, Trial, TrialKeys
from tests.cli.hand_faults import closures
from tests.runtime.loop_bench import FakeGuard

STEPPED = sorted(name for name, driver in HANDS.items() if issubclass(driver, SteppedHand))
SLOW = 0.2
OVERSHOOT = 0.08  # of the stroke: one step under way, and what was sent in the last cycle
ON = 0.25  # of the stroke: in the middle of a grip


class Table:
    """A trial, its hand, and somebody at the keys. `asks` as on a terminal; without it as with --yes."""

    def __init__(self, name: str, *grips: str, asks: bool = False, speed: float = 1.0, **emulated: float) -> None:
        self.driver, self.emulator, self.clock = hand(name), EMULATED_HANDS[name](**emulated), VirtualClock()
        self.keys, self.guard, self.said = TrialKeys(), FakeGuard(), list[str]()
        front_end = Metronome()
        known = tuple(grip for grip in self.driver.info.grips if grip != "open")
        self.trial = Trial(grips or known, front_end, self.said.append, self.driver.formed_deg, self.keys, asks)
        limits = tightened(hand_limits(self.driver.info.limits), speed, None)
        health = SampleHealth(front_end.info, checks=False)
        self.loop = Loop(
            front_end, self.driver, self.trial, self.trial.grip_map(), limits, Neutral.FREEZE, health=health
        )
        self.loop.guard = self.guard
        self.out = self.loop.start(self.clock.now_s())
        self._carry()

    @property
    def closed(self) -> float:
        return max(closures(self.emulator))

    def outcome(self, at: int = 0) -> str:
        return self.trial.tried[at].outcome

    def step(self) -> None:
        now_s = self.clock.advance(TICK_S)
        self.emulator.tick(now_s)
        pressed: Wearer = self.keys.take(now_s).wearer
        self.out = self.loop.cycle(now_s, b"", self.emulator.to_send(), pressed)
        self._carry()

    def _carry(self) -> None:
        for frame in self.out.hand_out:
            assert self.driver.may_send(frame)
            self.emulator.receive(frame, self.clock.now_s())
        self.trial.send(self.out.events)

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK_S)):
            self.step()

    def until(self, wanted: Callable[[], bool], seconds: float = 20.0) -> None:
        for _ in range(round(seconds / TICK_S)):
            if wanted():
                return
            self.step()
        raise AssertionError((self.said[-3:], self.out))

    def press(self, key: str) -> None:
        self.wait(0.2)  # nobody is faster
        self.keys.feed(key.encode(), self.clock.now_s())
        self.step()

    def arm(self) -> None:
        self.wait(1.5)
        self.press("a")
        assert self.loop.armed

    def close(self) -> None:
        """Arm, and wait for the middle of the first grip."""
        self.arm()
        self.until(lambda: self.closed > ON)


class TestEveryGripOfEveryHand:
    @pytest.mark.parametrize(
        ("name", "grip"), [(name, grip) for name in sorted(HANDS) for grip in HANDS[name].info.grips if grip != "open"]
    )
    def test_it_is_reached(self, name: str, grip: str) -> None:
        table = Table(name, grip)
        table.arm()
        table.until(lambda: table.trial.closing == grip)
        table.until(lambda: table.trial.closing is None)
        found = list(closures(table.emulator))
        if name == "ability":
            assert found == pytest.approx([abs(deg) / 100 for deg in POSTURES_DEG[GRIP_CODES[grip]]], abs=0.02)
        elif isinstance(table.driver, SteppedHand):
            goals = table.driver.postures[grip]
            assert found == pytest.approx([goal or 0.0 for goal in goals], abs=0.02)
        else:
            assert table.closed > 0.9
        there = name == "servo_wrist" and grip == "supinate"  # as which the emulated wrist begins
        wanted = SILENT if name == "two_channel" else "was there already" if there else "done"
        assert table.outcome() == wanted, table.trial.tried

    @pytest.mark.sr("SR-12")
    @pytest.mark.parametrize("name", sorted(HANDS))
    def test_a_stop_in_the_middle_halts_it_and_it_is_opened_before_the_next(self, name: str) -> None:
        table = Table(name, "power", speed=SLOW)
        table.close()
        table.press(" ")
        stopped = closures(table.emulator)
        table.wait(5.0)
        assert closures(table.emulator) == pytest.approx(stopped, abs=OVERSHOOT)
        assert table.outcome() == "ended: You pressed stop. Arm again when you are ready." and not table.out.over
        table.press("a")
        table.until(lambda: table.out.over)
        assert table.closed < 0.1

    @pytest.mark.sr("SR-13")
    @pytest.mark.parametrize("name", sorted(HANDS))
    def test_without_its_guard_nothing_moves_and_what_moved_stops(self, name: str) -> None:
        table = Table(name, "power", speed=SLOW)
        table.close()
        table.guard.alive = False
        table.wait(2 * TICK_S)
        stopped = closures(table.emulator)
        table.wait(2.0)
        table.press("a")
        table.wait(3.0)
        assert closures(table.emulator) == pytest.approx(stopped, abs=OVERSHOOT)
        assert not table.loop.armed and table.outcome().startswith("ended: ")

    @pytest.mark.parametrize("name", [*STEPPED, "ability"])
    def test_one_that_an_object_holds_up_is_told(self, name: str) -> None:
        table = Table(name, "power", object_width_mm=60.0)
        table.arm()
        table.until(lambda: table.out.over)
        words = "held up: index" if name == "ability" else "not reached: "
        assert table.outcome().startswith(words), table.trial.tried
        assert any(table.outcome() in sentence for sentence in table.said)
        assert name == "ability" or " deg" in table.outcome()


@pytest.mark.sr("SR-12")
def test_a_wrist_that_turns_halts_at_a_stop_and_is_not_turned_back_by_an_opening() -> None:
    table = Table("servo_wrist", "pronate", "power", speed=SLOW)
    table.close()
    table.press(" ")
    wrist = closures(table.emulator)[-1]
    table.wait(3.0)
    assert closures(table.emulator)[-1] == pytest.approx(wrist, abs=OVERSHOOT)
    table.press("a")
    table.until(lambda: table.out.over)
    assert closures(table.emulator)[-1] == pytest.approx(wrist, abs=OVERSHOOT)
    assert table.outcome(1) == "done" and max(closures(table.emulator)[:-1]) < 0.01


@pytest.mark.sr("SR-12")
def test_nothing_closes_before_n_and_the_hand_opens_in_between() -> None:
    table = Table("servo", "pinch", "hook", asks=True)
    table.arm()
    table.wait(5.0)
    assert table.closed == 0 and "pinch next: press n" in table.said
    table.press("n")
    table.until(lambda: "hook next: press n" in table.said)
    table.wait(5.0)
    assert table.closed < 0.01 and table.outcome() == "done"
    table.press("n")
    table.until(lambda: table.out.over)
    assert table.outcome(1) == "done" and table.closed < 0.01


def test_an_n_from_before_the_question_answers_nothing() -> None:
    table = Table("servo", "pinch", asks=True)
    table.press("n")
    table.arm()
    table.wait(5.0)
    assert table.closed == 0


def test_n_in_the_middle_of_a_grip_ends_it() -> None:
    table = Table("servo", "power", "hook", speed=SLOW)
    table.close()
    table.press("n")
    assert table.outcome() == "ended: you pressed n"
    table.until(lambda: table.trial.closing == "hook")
    assert table.closed < 0.05


@pytest.mark.sr("SR-12")
def test_a_hand_that_was_opened_does_not_close_again_by_itself() -> None:
    table = Table("servo", "power", "hook", speed=SLOW)
    table.close()
    table.press("o")
    table.until(lambda: table.closed < 0.01)
    table.wait(10.0)
    assert table.closed < 0.01 and table.outcome() == "ended: You pressed open."
    assert "hook next: press n" in table.said
    table.press("n")
    table.until(lambda: table.out.over)
    assert table.outcome(1) == "done"


@pytest.mark.sr("SR-14")
def test_a_locked_hand_stays_and_is_not_opened_unasked_once_it_is_unlocked() -> None:
    table = Table("servo", "power", "hook", speed=SLOW)
    table.close()
    table.press("l")
    locked = closures(table.emulator)
    table.wait(5.0)
    table.press("n")
    table.wait(5.0)
    assert closures(table.emulator) == pytest.approx(locked, abs=OVERSHOOT)
    table.press("l")
    table.wait(5.0)
    assert closures(table.emulator) == pytest.approx(locked, abs=OVERSHOOT)
    table.press("n")
    table.until(lambda: table.closed < 0.01)


def test_a_stop_while_it_asks_asks_again() -> None:
    table = Table("servo", "pinch", asks=True)
    table.arm()
    table.until(lambda: "pinch next: press n" in table.said)
    table.press(" ")
    table.press("n")
    table.wait(1.5)
    table.press("a")
    table.wait(2.0)
    assert table.closed == 0 and table.said.count("pinch next: press n") == 2
    table.press("n")
    table.until(lambda: table.out.over)
    assert table.outcome() == "done"


def test_what_takes_too_long_is_told() -> None:
    table = Table("servo", "power", speed=0.05)
    table.arm()
    table.until(lambda: table.out.over, seconds=2 * MOST_S + 30)
    assert table.outcome().startswith("not reached in time: thumb ") and "and 3 more" in table.outcome()


def test_however_slow_the_hand_is_open_before_the_next_grip() -> None:
    table = Table("servo", "pinch", "hook", speed=0.05)
    for servo in table.emulator.servos:  # as somebody left it
        servo.at = servo.target = 1.0
    table.arm()
    table.until(lambda: table.trial.closing == "hook", seconds=60.0)
    assert table.closed < 0.02


def test_a_hand_that_does_not_move_is_told() -> None:
    table = Table("servo", "power", object_width_mm=100.0)
    table.arm()
    table.until(lambda: table.out.over)
    assert table.outcome().startswith("the hand did not move: thumb 0 of 72 deg")


def test_reports_are_told_while_it_closes() -> None:
    table = Table("ability", "power", speed=0.05)
    table.arm()
    table.until(lambda: table.outcome() != "not tried")
    told = [sentence for sentence in table.said if sentence.startswith("  index ")]
    assert len(told) >= 2 and all("most current: " in sentence and " A" in sentence for sentence in told)


class TestKeys:
    @pytest.mark.parametrize("text", [b"any", b"\x1b[n", b"n ", b"na", b"s"])
    def test_an_n_among_other_text_is_none(self, text: bytes) -> None:
        keys = TrialKeys()
        keys.feed(text, 1.0)
        assert not keys.take_next()

    def test_typed_alone_it_counts_once(self) -> None:
        keys = TrialKeys()
        keys.feed(b"n", 1.0)
        assert (keys.take_next(), keys.take_next()) == (True, False)

    def test_right_after_other_text_it_is_none(self) -> None:
        keys = TrialKeys()
        keys.feed(b"o", 1.0)
        keys.feed(b"n", 1.05)
        assert not keys.take_next()

    @pytest.mark.sr("SR-12")
    def test_a_stop_takes_it_back(self) -> None:
        keys = TrialKeys()
        keys.feed(b"n", 1.0)
        keys.feed(b"s", 1.01)
        assert keys.take(1.01).wearer.stop and not keys.take_next()
