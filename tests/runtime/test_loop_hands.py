"""Every hand at the end of the real loop: it forms a grip, and it stops when the loop does."""

from __future__ import annotations

from typing import Any

import pytest

from myosem_edge.firmware_bridge.emulators import EMULATED_HANDS
from myosem_edge.firmware_bridge.emulators.ability import AbilityEmulator
from myosem_edge.firmware_bridge.hands import HANDS, hand
from myosem_edge.firmware_bridge.hands.base import Neutral
from tests.runtime.loop_bench import LOCK, Bench

OVERSHOOT = 0.08  # of the stroke: one step under way, and what was sent in the last cycle


def closure(emulated: Any) -> float:
    """Of the joint that is closed most."""
    if isinstance(emulated, AbilityEmulator):
        return max(abs(degrees) / 100 for degrees in emulated.state().position_deg.values())
    return float(max(emulated.closure))


def bench(name: str, neutral: Neutral = Neutral.FREEZE) -> Bench:
    return Bench(driver=hand(name), hand=EMULATED_HANDS[name](), neutral=neutral)


def test_every_hand_can_be_emulated() -> None:
    assert set(EMULATED_HANDS) == set(HANDS)


@pytest.mark.parametrize("name", sorted(HANDS))
def test_the_loop_forms_a_grip_and_opens_it(name: str) -> None:
    table = bench(name)
    table.arm()
    table.decoder.action = "fist"
    table.wait(3.5)
    assert closure(table.hand) > 0.7, table.verdict
    table.decoder.action = "hand_open"
    table.wait(3.5)
    assert closure(table.hand) < 0.1, table.verdict


@pytest.mark.sr("SR-13")
@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("name", sorted(HANDS))
def test_when_the_loop_is_killed_in_the_middle_of_a_motion_the_hand_stops(name: str, guarded: bool) -> None:
    """`guarded`: the second process sends its neutral. Without it, what stops is what needs no frame to stop."""
    if name == "ability" and not guarded:
        pytest.skip("falls back to its own mode, which ends the grip: its page says that a cut cable is not covered")
    table = bench(name)
    table.arm()
    table.decoder.action = "fist"
    table.wait(2.0, until=lambda: closure(table.hand) > 0.25)
    before, now_s = closure(table.hand), table.now_s
    assert 0.2 < before < 0.8
    for step in range(300):  # the loop is gone; the guard speaks after 100 ms and then every 50
        now_s += 0.02
        table.hand.tick(now_s)
        table.hand.to_send()
        if guarded and step >= 5 and step % 3 == 0 and step < 100:
            table.hand.receive(table.driver.neutral(Neutral.FREEZE), now_s)
    limit = OVERSHOOT if name != "ability" else 0.15  # it closes at its own speed until the guard speaks
    if name == "two_channel":
        limit = 0.35  # 200 ms of its own motion
    assert closure(table.hand) - before <= limit


@pytest.mark.sr("SR-14")
@pytest.mark.parametrize("name", sorted(set(HANDS) - {"ability", "two_channel"}))
def test_a_cup_is_held_when_the_signal_goes(name: str) -> None:
    table = bench(name)
    table.hand.object_width_mm = 60.0
    table.arm()
    table.decoder.action = "fist"
    table.wait(3.0)
    held = [servo.force_n for servo in table.hand.servos]
    assert max(held) > 1.0
    table.front_cable = False
    table.wait(3.0)
    assert [servo.force_n for servo in table.hand.servos] == held, "neither crushed nor dropped"


@pytest.mark.sr("SR-14")
@pytest.mark.parametrize("name", sorted(name for name in HANDS if Neutral.OPEN in hand(name).info.neutrals))
def test_where_neutral_is_open_the_hand_opens_when_the_signal_goes_and_not_before_it_was_armed(name: str) -> None:
    table = bench(name, Neutral.OPEN)
    table.wait(2.0)
    assert closure(table.hand) == 0.0
    table.arm()
    table.decoder.action = "fist"
    table.wait(2.5)
    assert closure(table.hand) > 0.4
    table.front_cable = False
    table.wait(9.0)
    assert closure(table.hand) < 0.05
    assert table.verdict["command"]["kind"] == "neutral"


@pytest.mark.sr("SR-14")
@pytest.mark.parametrize("name", sorted(name for name in HANDS if Neutral.OPEN in hand(name).info.neutrals))
def test_a_locked_hand_does_not_open_even_then(name: str) -> None:
    table = bench(name, Neutral.OPEN)
    table.arm()
    table.decoder.action = "fist"
    table.wait(2.5)
    table.step(LOCK)
    table.wait(0.2)
    held = closure(table.hand)
    table.front_cable = False
    table.wait(5.0)
    assert held > 0.4 and abs(closure(table.hand) - held) < 0.03
