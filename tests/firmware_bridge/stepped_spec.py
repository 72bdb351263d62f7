"""What every hand keeps that is moved in short steps: driver and emulated hand on one virtual clock."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import pytest

from myosem_edge.firmware_bridge.emulators.fingers import MOST_FORCE_N, ServoHand
from myosem_edge.firmware_bridge.hands.base import Hand
from myosem_edge.firmware_bridge.hands.stepped import AHEAD, COMMAND_S, FULL_STROKE_S, SteppedHand
from tests.firmware_bridge.test_hand_spec import HandSpec

TICK_S = 0.005


class Table:
    """A hand and its driver, wired to each other; time passes only here."""

    def __init__(self, driver: SteppedHand, emulator: ServoHand) -> None:
        self.driver, self.emulator, self.now_s = driver, emulator, 0.0
        emulator.tick(0.0)
        self.say(driver.start())
        self.wait(0.1)

    def say(self, frame: bytes) -> None:
        assert self.driver.may_send(frame), frame
        self.emulator.receive(frame, self.now_s)

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK_S)):
            self.now_s += TICK_S
            self.emulator.tick(self.now_s)
            self.driver.receive(self.emulator.to_send(), self.now_s)

    def grip(self, name: str, seconds: float, speed: float = 1.0) -> list[bytes]:
        """As the loop does it: the command every COMMAND_S, a question in between."""
        sent = []
        for _ in range(round(seconds / COMMAND_S)):
            sent.append(self.driver.grip(name, speed, 0.5))
            self.say(sent[-1])
            self.wait(COMMAND_S / 2)
            self.say(self.driver.poll())
            self.wait(COMMAND_S / 2)
        return sent


class SteppedSpec(HandSpec):
    """A hand says how its frames are read, and how its emulator is made."""

    resolution: float  # of a closure on the wire
    wire_commands: bool = True
    garbage: bytes = bytes(range(256))

    @abstractmethod
    def fresh(self) -> SteppedHand: ...

    @abstractmethod
    def emulator(self) -> ServoHand: ...

    @abstractmethod
    def closures(self, frame: bytes) -> Sequence[float] | None:
        """The closures that a frame commands, read from the protocol and not by the driver; None if it is none."""

    @abstractmethod
    def asks(self) -> frozenset[bytes]:
        """The frames that move nothing."""

    def make(self) -> Hand:
        driver = self.fresh()
        while driver._reported is None:
            driver.receive(self.replies()[0], 0.0)
        return driver

    def is_legal(self, frame: bytes) -> bool:
        return frame in self.asks() or self.closures(frame) is not None

    def legal_frames(self) -> frozenset[bytes]:
        table, frames = self.table(), set(self.asks())
        for name in table.driver.info.grips:
            frames |= set(table.grip(name, 0.4))
        return frozenset(frames)

    def legal_sample(self) -> list[bytes]:
        frames = sorted(self.legal_frames())
        return [*frames[:: max(1, len(frames) // 12)], frames[-1]]

    def may_move(self, frame: bytes) -> bool:
        return frame not in self.asks()

    def formed(self, driver: Hand, name: str) -> bytes:
        table = self.table()
        return table.grip(name, 2.0)[-1]

    def table(self) -> Table:
        return Table(self.fresh(), self.emulator())

    @pytest.mark.sr("SR-01")
    def test_nothing_moves_before_the_hand_has_said_where_it_is(self) -> None:
        with pytest.raises(ValueError, match="not reported"):
            self.fresh().grip("power", 0.5, 0.5)

    @pytest.mark.parametrize("name", ["power", "pinch", "open"])
    def test_a_grip_is_formed_and_opened_again(self, name: str) -> None:
        table = self.table()
        table.grip(name, 1.6)
        wanted = [goal or 0.0 for goal in table.driver.postures[name]]
        assert table.emulator.closure == pytest.approx(wanted, abs=0.02 + self.resolution)
        table.grip("open", 1.6)
        assert max(table.emulator.closure) < 0.02 + self.resolution

    @pytest.mark.sr("SR-09")
    @pytest.mark.parametrize("speed", [0.1, 0.5, 1.0])
    def test_no_step_is_longer_than_its_speed_allows(self, speed: float) -> None:
        table = self.table()
        longest = speed * COMMAND_S / FULL_STROKE_S + self.resolution
        before: Sequence[float] = table.emulator.closure
        for frame in [*table.grip("power", 1.0, speed), *table.grip("open", 1.0, speed)]:
            after = self.closures(frame)
            assert after is not None
            assert max(abs(a - b) for a, b in zip(after, before, strict=True)) <= longest + 1e-9
            before = after

    @pytest.mark.sr("SR-13")
    def test_when_the_loop_dies_in_the_middle_of_a_motion_the_hand_stops(self) -> None:
        table = self.table()
        table.grip("power", 0.4)
        before = max(table.emulator.closure)
        assert 0.2 < before < 0.6
        table.wait(5.0)  # nobody sends anything any more: no loop, no guard, no cable
        assert max(table.emulator.closure) - before <= COMMAND_S / FULL_STROKE_S + self.resolution
        assert not table.emulator.moving

    @pytest.mark.sr("SR-14")
    def test_a_held_object_is_neither_crushed_nor_dropped_by_neutral(self) -> None:
        table = self.table()
        table.emulator.object_width_mm = 60.0
        table.grip("power", 2.0)
        force_n = [servo.force_n for servo in table.emulator.servos]
        assert 0 < max(force_n) < MOST_FORCE_N, "as far as a command may lead, and no further"
        assert max(force_n) <= 60.0 * (AHEAD + self.resolution) + 1e-6
        for _ in range(20):
            table.say(table.driver.stop())
            table.wait(0.1)
        assert [servo.force_n for servo in table.emulator.servos] == force_n
        table.grip("open", 2.0)
        assert max(table.emulator.closure) < 0.02 + self.resolution

    def test_garbage_moves_nothing(self) -> None:
        table = self.table()
        for garbage in (self.garbage, b"\xff" * 64, b"G0 C\n" * 3 if not self.wire_commands else b"\n\r" * 9):
            table.emulator.receive(garbage, table.now_s)
            table.wait(0.2)
        assert max(table.emulator.closure) == 0.0
