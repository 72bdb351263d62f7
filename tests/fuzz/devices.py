"""Both ends of every wire: drivers that hear damaged devices, emulated devices that hear damaged hosts."""

from __future__ import annotations

import copy
import math
import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from myosem_edge.firmware_bridge.emulators import EMULATED_FRONT_ENDS, EMULATED_HANDS
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends import FRONT_ENDS, make_front_end
from myosem_edge.firmware_bridge.frontends.base import FrontEnd, Phase
from myosem_edge.firmware_bridge.frontends.options import options_of
from myosem_edge.firmware_bridge.hands import HANDS, hand
from tests.fuzz.target import Target

STEP_S = 0.005
HELD_BYTES = 1 << 18  # of what one device may keep of what it has heard
OPTIONS = {"csv": "csv:channels=4,rate_hz=250,bits=12"}  # cannot be told without
HEARD_S = 0.5


def front_end_target(name: str) -> Target:
    """The driver in the middle of a stream. Each input is heard in pieces; now and then the good stream is back."""
    driver, emulator, now_s = streaming(name)
    good: list[bytes] = []
    for _ in range(round(HEARD_S / STEP_S)):
        now_s += STEP_S
        emulator.tick(now_s)
        good.append(emulator.to_send())
    stream = b"".join(good)
    pieces = [stream[at : at + 600] for at in range(0, len(stream), 600)]
    hearing = Hearing(lambda: copy.deepcopy(driver), now_s)

    def take(data: bytes) -> None:
        for chunk in hearing.hear(data):
            assert chunk.samples.dtype == np.float32 and chunk.samples.shape[1:] == (driver.info.channels,)
            assert np.isfinite(chunk.samples).all() and chunk.lost >= 0

    def check() -> None:
        assert held(hearing.device) < HELD_BYTES, f"holds {held(hearing.device)} bytes"
        if hearing.device.phase is Phase.STREAMING:
            samples = sum(len(chunk.samples) for piece in (stream, stream) for chunk in hearing.hear(piece))
            assert samples >= 0.5 * HEARD_S * driver.info.rate_hz, f"{samples} samples of a stream that is good again"
        hearing.renew()

    return Target(f"front end {name}", pieces, take, check=check)


def starting_target(name: str) -> Target:
    """The driver while it still asks the device what it is."""
    said: list[bytes] = []
    streaming(name, said)

    def started() -> FrontEnd:
        driver = make_front_end(OPTIONS.get(name, name))
        driver.start(0.0)
        return driver

    hearing = Hearing(started, 0.0)

    def take(data: bytes) -> None:
        hearing.hear(data)
        if hearing.device.phase not in (Phase.CONNECTING, Phase.STREAMING):
            hearing.renew()

    def check() -> None:
        assert held(hearing.device) < HELD_BYTES, f"holds {held(hearing.device)} bytes"
        hearing.renew()

    return Target(f"starting {name}", said, take, check=check)


class Hearing:
    """A device that hears input after input, each in random pieces; time goes on, and what it says is thrown away."""

    def __init__(self, make: Callable[[], Any], now_s: float) -> None:
        self._make, self._from_s = make, now_s
        self._random = random.Random(1)
        self.renew()

    def renew(self) -> None:
        self.device, self.now_s = self._make(), self._from_s

    def hear(self, data: bytes) -> list[Any]:
        cut = self._random.randint(0, len(data))
        heard: list[Any] = []
        for piece in (data[:cut], data[cut:]):
            self.now_s += STEP_S
            heard += self.device.receive(piece, self.now_s) or []
            self.device.tick(self.now_s) if hasattr(self.device, "tick") else None
        said = self.device.to_send() if hasattr(self.device, "to_send") else b""
        assert len(said) < HELD_BYTES, f"says {len(said)} bytes"
        return heard


def streaming(name: str, said: list[bytes] | None = None) -> tuple[FrontEnd, Any, float]:
    """A driver whose samples flow, its device, and the time; `said` gets what the device sent until then."""
    driver = make_front_end(OPTIONS.get(name, name))
    info = driver.info
    noise = np.random.default_rng(7).normal(0, 0.1 * min(info.full_scale, 1e4), (int(2 * info.rate_hz), info.channels))
    source = ArraySource(noise.astype(np.float32), info.rate_hz)
    options = {"driver": driver} if options_of(type(driver)) else {}
    emulator: Any = EMULATED_FRONT_ENDS[name](source, **options)
    now_s = 0.0
    driver.start(now_s)
    while driver.phase is not Phase.STREAMING:
        now_s += STEP_S
        emulator.receive(driver.to_send(), now_s)
        emulator.tick(now_s)
        answer = emulator.to_send()
        if said is not None and answer:
            said.append(answer)
        driver.receive(answer, now_s)
        driver.tick(now_s)
        assert now_s < 60, driver.failure
    return driver, emulator, now_s


def played_front_end_target(name: str) -> Target:
    """The emulated front end, to which programs of others talk."""
    driver = make_front_end(OPTIONS.get(name, name))
    said: list[bytes] = []
    _, emulator, now_s = streaming(name)
    driver.start(0.0)
    said.append(driver.to_send())
    driver.stop(0.0)
    said.append(driver.to_send())
    hearing = Hearing(lambda: copy.deepcopy(emulator), now_s)
    return Target(f"emulated {name}", [*said, b"bsv?dx1060110X/2~6"], hearing.hear, check=hearing.renew)


def hand_target(name: str) -> Target:
    """The driver of a hand, which hears damaged reports."""
    replies = hand_replies(name)
    hearing = Hearing(lambda: hand(name), 0.0)

    def take(data: bytes) -> None:
        for feedback in hearing.hear(data):
            numbers = (*feedback.position_deg.values(), *feedback.current_a.values(), *feedback.touch_v.values())
            assert all(map(math.isfinite, numbers))

    def check() -> None:
        assert held(hearing.device) < HELD_BYTES, f"holds {held(hearing.device)} bytes"
        good = b"".join(replies)
        assert hearing.hear(good + good), "no report of a hand that is well again"
        hearing.renew()

    return Target(f"hand {name}", replies, take, check=check)


def hand_replies(name: str) -> list[bytes]:
    """What the emulated hand says to questions and grips."""
    driver, emulator = hand(name), EMULATED_HANDS[name]()
    replies, now_s = [], 0.0
    for step in range(60):
        now_s += 0.05
        emulator.tick(now_s)
        frames = [driver.start() if step == 0 else driver.poll()]
        if step > 5:
            frames.append(driver.grip("power" if step < 40 else "open", 0.5, 0.5))
        for frame in frames:
            emulator.receive(frame, now_s)
        emulator.tick(now_s + 0.01)
        replies.append(emulator.to_send())
        driver.receive(replies[-1], now_s)
    return [reply for reply in replies if reply]


def played_hand_target(name: str) -> Target:
    """The emulated hand, to which programs of others talk."""
    driver = hand(name)
    for reply in hand_replies(name):
        driver.receive(reply, 0.0)
    frames = [driver.start(), driver.poll(), driver.stop(), driver.release(), driver.open_hand(0.5)]
    frames += [driver.grip(grip, speed, 0.5) for grip in driver.info.grips for speed in (0.1, 1.0)]
    hearing = Hearing(EMULATED_HANDS[name], 0.0)

    def check() -> None:
        assert held(hearing.device) < HELD_BYTES, f"holds {held(hearing.device)} bytes"
        hearing.device.status()
        hearing.renew()

    return Target(f"emulated hand {name}", [frame for frame in frames if frame], hearing.hear, check=check)


def held(thing: object, seen: set[int] | None = None) -> int:
    """Bytes and elements that an object keeps, everything behind it included, arrays of samples left out."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, (np.ndarray, type, ArraySource)) or callable(thing):
        return 0
    seen.add(id(thing))
    if isinstance(thing, (bytes, bytearray, str)):
        return len(thing)
    if isinstance(thing, Mapping):
        return len(thing) + sum(held(each, seen) for pair in thing.items() for each in pair)
    if isinstance(thing, (list, tuple, set, frozenset, deque)):
        return len(thing) + sum(held(each, seen) for each in thing)
    return held(vars(thing), seen) if hasattr(thing, "__dict__") else 0


def device_targets() -> dict[str, Callable[[], Target]]:
    """Every one, made when it is asked for."""
    kinds: tuple[tuple[str, Callable[[str], Target], Mapping[str, object]], ...] = (
        ("front end", front_end_target, FRONT_ENDS),
        ("starting", starting_target, FRONT_ENDS),
        ("emulated", played_front_end_target, EMULATED_FRONT_ENDS),
        ("hand", hand_target, HANDS),
        ("emulated hand", played_hand_target, EMULATED_HANDS),
    )
    return {
        f"{kind} {name}": lambda make=make, name=name: make(name)  # type: ignore[misc]
        for kind, make, names in kinds
        for name in names
    }
