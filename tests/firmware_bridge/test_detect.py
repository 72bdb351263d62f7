"""Each emulated front end is recognised as itself and as nothing else, and no hand moves at being asked."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from myosem_edge.firmware_bridge.detect import ATTEMPT_S, SILENT_S, WATCH_S, Attempt, candidates
from myosem_edge.firmware_bridge.emulators import EMULATED_FRONT_ENDS, EMULATED_HANDS
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends import make_front_end
from myosem_edge.firmware_bridge.frontends.options import options_of

STEP_S = 0.01
OPTIONS = {"csv": "csv:channels=4,rate_hz=250,bits=12"}
UNASKED = {"csv", "chords", "hackeeg"}  # has to be told how it was built; what they ask, a Brunel hand obeys
# A board with a Daisy is a board, too; the one with both is asked first.
ALSO = {"cyton_daisy": ["cyton_daisy", "cyton"]}


def front_end(name: str, faults: Faults | None = None) -> Any:
    driver = make_front_end(OPTIONS.get(name, name))
    info = driver.info
    emg = np.random.default_rng(1).normal(0, 0.05 * min(info.full_scale, 1e4), (int(5 * info.rate_hz), info.channels))
    options = {"driver": driver} if options_of(type(driver)) else {}
    source = ArraySource(emg.astype(np.float32), info.rate_hz)
    return EMULATED_FRONT_ENDS[name](source, faults=faults, **options)


def asked(device: Any, stop_at_first: bool = False) -> tuple[list[str], float]:
    """Which drivers recognise the device, and how long that takes."""
    now_s, found = 1000.0, []
    device.tick(now_s)
    for driver in candidates():
        attempt = Attempt(driver, now_s)
        sent = driver.to_send()
        while attempt.verdict is None:
            now_s += STEP_S
            device.receive(sent, now_s)
            device.tick(now_s)
            sent = attempt.step(device.to_send(), now_s)
        device.receive(attempt.finish(now_s), now_s)
        for _ in range(20):
            now_s += STEP_S
            device.tick(now_s)
            device.to_send()
        if attempt.verdict:
            found.append(driver.info.id)
            if stop_at_first:
                break
    return found, now_s - 1000.0


@cache
def recognised(name: str) -> list[str]:
    return asked(front_end(name))[0]


# Ten thousand samples a second are slow to play.
SLOW = {"spikershield": pytest.mark.full}
EACH = [pytest.param(name, marks=SLOW.get(name, ())) for name in sorted(EMULATED_FRONT_ENDS)]


@pytest.mark.parametrize("name", EACH)
def test_every_front_end_is_itself_and_nothing_else(name: str) -> None:
    assert recognised(name) == ([] if name in UNASKED else ALSO.get(name, [name]))


@pytest.mark.parametrize("name", [each for each in EACH if each.values[0] not in UNASKED])
def test_on_a_bad_cable_it_is_itself_or_unknown_and_never_another(name: str) -> None:
    faults = Faults(drop_probability=0.01, text_probability=0.005, cut_probability=0.005, seed=3)
    found, _ = asked(front_end(name, faults), stop_at_first=True)
    assert found in ([name], []), found


@pytest.mark.sr("SR-11")
@pytest.mark.parametrize("name", sorted(EMULATED_HANDS))
def test_no_hand_moves_at_any_question_or_is_taken_for_a_front_end(name: str) -> None:
    device = EMULATED_HANDS[name]()
    found, _ = asked(device)
    assert found == []
    assert not getattr(device, "altered", []), "settings, too, stay as they are"
    if hasattr(device, "closure"):
        assert set(device.closure) == {0.0}
    else:
        assert set(device.state().position_deg.values()) == {0.0}
        assert device.state().last_command_s is None


def test_a_silent_port_is_given_up_soon() -> None:
    class Silent:
        def receive(self, data: bytes, now_s: float) -> None: ...
        def tick(self, now_s: float) -> None: ...
        def to_send(self) -> bytes:
            return b""

    found, seconds = asked(Silent())
    count = len(list(candidates()))
    assert found == [] and seconds < count * (SILENT_S + 0.3) < count * ATTEMPT_S


def test_garbage_is_unknown() -> None:
    class Garbage:
        random = np.random.default_rng(5)

        def receive(self, data: bytes, now_s: float) -> None: ...
        def tick(self, now_s: float) -> None: ...
        def to_send(self) -> bytes:
            return self.random.bytes(60)

    assert asked(Garbage())[0] == []


@pytest.mark.sr("SR-11")
@pytest.mark.parametrize("name", ["chords", "hackeeg"])
def test_what_is_never_asked_would_move_or_alter_a_hand(name: str) -> None:
    hand, driver, now_s = EMULATED_HANDS["brunel"](), make_front_end(name), 1000.0
    driver.start(now_s)
    for _ in range(1000):
        now_s += STEP_S
        hand.receive(driver.to_send(), now_s)
        hand.tick(now_s)
        driver.receive(hand.to_send(), now_s)
        driver.tick(now_s)
    assert set(hand.closure) != {0.0} or hand.altered


def test_every_other_front_end_is_asked() -> None:
    names = [driver.info.id for driver in candidates()]
    assert set(names) == set(EMULATED_FRONT_ENDS) - UNASKED
    assert names.index("cyton_daisy") < names.index("cyton")
    assert names[-1] == "spikershield" and WATCH_S < ATTEMPT_S
