"""Two analog levels for hands that take nothing else."""

from __future__ import annotations

import pytest

from myosem_edge.firmware_bridge.emulators.two_channel import TwoChannelEmulator
from myosem_edge.firmware_bridge.hands.two_channel import TwoChannelHand
from tests.firmware_bridge.test_hand_spec import HandSpec


class TestTwoChannel(HandSpec):
    def make(self) -> TwoChannelHand:
        return TwoChannelHand()

    def legal_frames(self) -> frozenset[bytes]:
        some = range(1000, 5001)
        return frozenset(
            {b"L\n", b"A 0000 0000\n"} | {b"A %d 0000\n" % mv for mv in some} | {b"A 0000 %d\n" % mv for mv in some}
        )

    def legal_sample(self) -> list[bytes]:
        frames = sorted(self.legal_frames())
        return [*frames[::400], frames[-1]]

    def may_move(self, frame: bytes) -> bool:
        return frame not in (b"L\n", b"A 0000 0000\n")

    def replies(self) -> list[bytes]:
        return [b"A 0000 0000\n", b"A 1000 0000\r\n"]


def test_a_level_closes_as_fast_as_it_is_high_and_silence_ends_it() -> None:
    hand, driver = TwoChannelEmulator(), TwoChannelHand()
    hand.tick(0.0)
    hand.receive(driver.grip("power", 1.0, 0.5), 0.0)
    hand.tick(0.1)
    assert hand.closure[0] == pytest.approx(0.15, abs=0.01)
    hand.tick(5.0)
    assert hand.closure[0] == pytest.approx(0.3, abs=0.02), "200 ms after the last line"
    slow = TwoChannelEmulator()
    slow.tick(0.0)
    slow.receive(driver.grip("power", 0.25, 0.5), 0.0)
    slow.tick(0.1)
    assert slow.closure[0] == pytest.approx(0.15 / 4, abs=0.005)


def test_it_opens_and_stops_where_it_is() -> None:
    hand, driver = TwoChannelEmulator(), TwoChannelHand()
    hand.tick(0.0)
    for step in range(10):
        hand.receive(driver.grip("power", 1.0, 0.5), 0.1 * step)
    hand.receive(driver.stop(), 1.0)
    closed = hand.closure[0]
    hand.tick(3.0)
    assert hand.closure[0] == closed > 0.9
    for step in range(10):
        hand.receive(driver.open_hand(1.0), 3.0 + 0.1 * step)
    hand.tick(4.0)
    assert hand.closure[0] < 0.1
