"""An emulated armband on a recorded person, the product's loop and an emulated hand, on a virtual clock.

Everything between electrode and finger is what a board runs: the armband's frames, its driver, decoder, shaper, gate,
the hand's frames. `benchmarks/faults.py` plays its table on this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from myosem_edge.calibration.separation import enrol_separable
from myosem_edge.calibration.session import Labelled, Plan, Session
from myosem_edge.cli.calibrate import Screen, run_session
from myosem_edge.cli.run import hand_limits
from myosem_edge.clock import VirtualClock
from myosem_edge.demo.wearer import Person
from myosem_edge.firmware_bridge.emulators.ability import AbilityEmulator
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.myo import MyoEmulator
from myosem_edge.firmware_bridge.emulators.sources import WearerSource
from myosem_edge.firmware_bridge.frontends.myo import Myo
from myosem_edge.firmware_bridge.hands.ability import AbilityHand
from myosem_edge.runtime.decoder import Model
from myosem_edge.runtime.gate import Command, Wearer
from myosem_edge.runtime.grips import GripMap
from myosem_edge.runtime.loop import TICK_S, Decodes, Loop
from myosem_edge.runtime.match import Enrolment
from myosem_edge.signal.montage import MYO

ARM_S = 4.0  # connect, settle, be healthy for a second
NOTHING, ARM = Wearer(), Wearer(arm=True)


class Prompted(Screen):
    """A wearer who does what the prompts say: each attempt at a repetition plays another recorded one."""

    def __init__(self, person: Person, source: WearerSource) -> None:
        self._person, self._source = person, source
        self._attempts: dict[str, int] = {}

    def prompt(self, prompt, now_s: float) -> None:
        if prompt.kind == "hold" and prompt.action != "rest":
            attempt = self._attempts[prompt.action] = self._attempts.get(prompt.action, 0) + 1
            clip = self._person.clips[prompt.action, attempt]
            self._source.perform(clip.samples[clip.cue :], prompt.action)
        elif prompt.kind in ("relax", "prepare"):
            self._source.rest()

    def say(self, text: str) -> None:
        """Nobody listens."""


class VirtualWire:
    """Both ends of a serial line without a line: an emulator, ticked whenever somebody waits."""

    waiting_bytes = 0

    def __init__(self, armband: MyoEmulator, clock: VirtualClock) -> None:
        self._armband, self._clock = armband, clock

    def read_available(self) -> bytes:
        return self._armband.to_send()

    def write_some(self, data: bytes = b"") -> int:
        self._armband.receive(data, self._clock.now_s())
        return len(data)

    def wait(self, seconds: float) -> None:
        self._armband.tick(self._clock.advance(seconds))


def record_calibration(person: Person, frame_samples: int) -> Labelled:
    """A prompted session of one repetition, as the board holds it.

    Raises:
        RefusedError: an action stayed bad in three attempts.
    """
    clock = VirtualClock()
    source = WearerSource(person.resting, MYO.rate_hz, clock)
    armband = MyoEmulator(source)
    wire = VirtualWire(armband, clock)
    session = Session(Plan(person.actions), Myo.info, frame_samples, {action: action for action in person.actions})
    run_session(session, Myo(), wire, clock, wire.wait, Prompted(person, source), where="the emulated armband")
    return session.labelled()


def enrolled(model: Model, person: Person, data: Labelled, backend: str) -> Enrolment:
    return enrol_separable(model, data, mirrored=person.mirrored, backend=backend)[0]


class Alive:
    """The guard, which this is not about."""

    def beat(self) -> bool:
        return True


@dataclass
class Seen:
    """What left for the hand: every change of command with its time, most recent last."""

    commands: list[tuple[float, Command]] = field(default_factory=list)
    reasons: set[str] = field(default_factory=set)

    def since(self, time_s: float) -> list[tuple[float, Command]]:
        return [each for each in self.commands if each[0] > time_s]


class Stage:
    """One armed session. `make_loop_part` makes what decodes; `loop_options` go to the loop."""

    def __init__(
        self, person: Person, decoder: Decodes, grips: GripMap, *, seed: int = 0, **loop_options: object
    ) -> None:
        self.person = person
        self.clock = VirtualClock()
        order = np.random.default_rng(seed).permutation(len(person.resting))
        self.source = WearerSource([person.resting[i] for i in order], MYO.rate_hz, self.clock)
        self.armband = MyoEmulator(self.source)
        self.hand = AbilityEmulator()
        self.seen = Seen()
        driver = AbilityHand()
        self.loop = Loop(Myo(), driver, decoder, grips, hand_limits(driver.info.limits), guard=Alive(), **loop_options)
        self._carry(self.loop.start(self.now_s))
        self.wait(ARM_S)
        for _ in range(200):
            if self.loop.armed:
                break
            self.step(ARM)
            self.wait(0.3)

    @property
    def now_s(self) -> float:
        return self.clock.now_s()

    @property
    def command(self) -> Command:
        return self.seen.commands[-1][1] if self.seen.commands else Command()

    @property
    def position_deg(self) -> np.ndarray:
        return np.abs(np.array(list(self.hand.state().position_deg.values())))

    def step(self, wearer: Wearer = NOTHING) -> None:
        now_s = self.clock.advance(TICK_S)
        self.armband.tick(now_s)
        self.hand.tick(now_s)
        self._carry(self.loop.cycle(now_s, self.armband.to_send(), self.hand.to_send(), wearer))

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        for _ in range(round(seconds / TICK_S)):
            if until():
                return True
            self.step()
        return until()

    def fault(self, faults: Faults) -> None:
        self.armband.faults = faults

    def _carry(self, out) -> None:
        if out.front_out:
            self.armband.receive(out.front_out, self.now_s)
        for frame in out.hand_out:
            self.hand.receive(frame, self.now_s)
        for event in out.events:
            if event["event"] == "verdict":
                command = Command(**event["command"])
                self.seen.reasons.update(event["reasons"])
                if command != self.command:
                    self.seen.commands.append((event["time_s"], command))
