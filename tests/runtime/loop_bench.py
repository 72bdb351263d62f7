"""A loop between an emulated armband and an emulated hand on a virtual clock, with decisions from a script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from myosem_edge.clock import VirtualClock
from myosem_edge.firmware_bridge.emulators.ability import AbilityEmulator, AbilityState
from myosem_edge.firmware_bridge.emulators.base import Emulator
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.myo import MyoEmulator
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.firmware_bridge.frontends.myo import Myo
from myosem_edge.firmware_bridge.hands.ability import AbilityHand
from myosem_edge.firmware_bridge.hands.base import Hand, Neutral
from myosem_edge.runtime.co_contraction import CoContraction
from myosem_edge.runtime.decision import Decision
from myosem_edge.runtime.gate import Wearer
from myosem_edge.runtime.grips import OPEN, GripMap, GripRule
from myosem_edge.runtime.limits import Limits
from myosem_edge.runtime.loop import Event, Loop, Out

STEP_S = 0.010
HOP_SAMPLES = 5
STOP, ARM, OPEN_KEY, NOTHING = Wearer(stop=True), Wearer(arm=True), Wearer(open=True), Wearer()
LOCK = Wearer(lock=True)
GRIPS = GripMap(
    {
        "rest": GripRule(None, 0.6, "meaning"),
        "hand_open": GripRule(OPEN, 0.6, "meaning"),
        "fist": GripRule("power", 0.8, "meaning"),
        "pinch": GripRule("pinch", 0.8, "meaning"),
    }
)


class ScriptedDecoder:
    """One decision for every five samples: whatever `action` says. `silent` decodes without ever deciding."""

    def __init__(self, action: str = "rest") -> None:
        self.action = action
        self.silent = False
        self._samples = self._index = 0

    def feed(self, chunk: Chunk) -> list[Decision]:
        self._samples += len(chunk.samples)
        decisions = []
        while self._samples >= HOP_SAMPLES:
            self._samples -= HOP_SAMPLES
            if not self.silent:
                self._index += 1
                nearest = ((self.action, 0.9), ("rest", 0.1))
                facts = (self.action, 0.95, 0.9, 0.9, "calibrated", True, "", 0.6, nearest)
                decisions.append(Decision(self._index, chunk.arrival_s, *facts))
        return decisions


class FakeGuard:
    """Counts beats; `alive` False is a guard that is gone."""

    def __init__(self) -> None:
        self.alive = True
        self.beats = 0
        self.locked = False

    def beat(self, locked: bool = False) -> bool:
        self.beats += self.alive
        self.locked = locked
        return self.alive


def noise(seconds: float = 10.0) -> np.ndarray:
    """Resting muscle, never zero for long: (samples, 8) in counts."""
    return np.random.default_rng(7).normal(0.0, 12.0, (int(200 * seconds), 8)).astype(np.float32)


class Bench:
    """`step` is one cycle; everything that left for the hand, and every event, is kept."""

    def __init__(
        self,
        *,
        neutral: Neutral = Neutral.FREEZE,
        limits: Limits | None = None,
        faults: Faults | None = None,
        log_inputs: bool = False,
        log_emg: bool = False,
        driver: Hand | None = None,
        hand: Emulator | None = None,
        co_contraction: CoContraction | None = None,
    ) -> None:
        self.clock = VirtualClock()
        self.states: list[AbilityState] = []
        self.armband = MyoEmulator(ArraySource(noise(), 200.0), faults=faults)
        # Tests of the loop look at an Ability Hand; one of another hand looks at its emulator itself.
        self.hand: Any = hand or AbilityEmulator(history=self.states.append)
        self.driver = driver or AbilityHand()
        self.decoder = ScriptedDecoder()
        self.guard = FakeGuard()
        self.loop = Loop(
            Myo(), self.driver, self.decoder, GRIPS, limits or Limits(), neutral,
            {"fist": "close the hand"}, self.guard, log_inputs, co_contraction=co_contraction, log_emg=log_emg,
        )  # fmt: skip
        self.front_cable = self.hand_cable = True  # False: nothing comes through, in either direction
        self.sent: list[tuple[float, bytes]] = []
        self.events: list[Event] = []
        self.out = self._carry(self.loop.start(self.now_s))

    @property
    def now_s(self) -> float:
        return self.clock.now_s()

    @property
    def verdict(self) -> Event:
        return next(event for event in reversed(self.events) if event["event"] == "verdict")

    @property
    def index_deg(self) -> float:
        return self.hand.state().position_deg["index"]

    def step(self, wearer: Wearer = NOTHING, *, seconds: float = STEP_S, front: bytes = b"", hand: bytes = b"") -> Out:
        """Let time pass, then one cycle; `front` and `hand` are bytes that the wire adds by itself."""
        now_s = self.clock.advance(seconds)
        self.armband.tick(now_s)
        self.hand.tick(now_s)
        from_armband, from_hand = self.armband.to_send(), self.hand.to_send()
        front += from_armband if self.front_cable else b""
        hand += from_hand if self.hand_cable else b""
        return self._carry(self.loop.cycle(now_s, front, hand, wearer))

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        for _ in range(round(seconds / STEP_S)):
            if until():
                return
            self.step()

    def arm(self) -> None:
        """Connect, be healthy for long enough, press the key."""
        self.wait(3.0)
        self.step(ARM)
        assert self.loop.armed, self.verdict

    def close(self, action: str = "fist") -> None:
        """Arm, and begin to close."""
        self.arm()
        self.decoder.action = action
        self.wait(0.6)
        assert self.hand.state().grip in ("power", "pinch") and self.hand.state().speed_byte

    def kinds(self, since_s: float = 0.0) -> list[str]:
        """What was sent to the hand since: grip names, "stop", "poll" or "release"."""
        return [self.kind(frame) for time_s, frame in self.sent if time_s > since_s]

    def kind(self, frame: bytes) -> str:
        polls = dict.fromkeys((self.driver.poll(), self.driver.poll()), "poll")  # the Ability's two take turns
        names = {self.driver.stop(): "stop", **polls, self.driver.release(): "release"}
        if frame in names:
            return names[frame]
        for grip in self.driver.info.grips:
            for speed in range(1, 256):
                if frame == self.driver.grip(grip, speed / 255, 0.0):
                    return grip
        raise AssertionError(f"not a frame of this hand: {frame.hex(' ')}")

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]

    def _carry(self, out: Out) -> Out:
        if self.front_cable and out.front_out:
            self.armband.receive(out.front_out, self.now_s)
        for frame in out.hand_out:
            self.sent.append((self.now_s, frame))
            if self.hand_cable:
                self.hand.receive(frame, self.now_s)
        self.events += out.events
        self.out = out
        return out
