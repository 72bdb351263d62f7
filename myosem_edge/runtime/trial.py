"""A hand tried grip by grip, before any EMG is involved: the loop, gate and guard as ever, a script for a wearer.

What stands for the signal is a metronome, and it says so: samples that mean nothing, on time. What decides is a script:
rest, the question whether to go on, a grip until the hand is still, the hand open until it is still, the next grip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import Chunk, FrontEnd, FrontEndInfo, Phase
from myosem_edge.firmware_bridge.host_port import HostPort
from myosem_edge.runtime.decision import REST, Decision
from myosem_edge.runtime.gate import Reason
from myosem_edge.runtime.grips import OPEN, GripMap, GripRule
from myosem_edge.runtime.wearer_input import ARM_ALONE_S, STOP_KEYS, Keys

RATE_HZ = 200.0
BEAT_S = 0.020
REST_S = 0.5  # the gate wants a release between two grips
BEGIN_S = 1.5  # a hand that has not begun to move by then is not going to
STILL_S = 1.0  # several reports in a row without motion: it has arrived, or is held up
MOST_S = 8.0  # below the gate's longest close
MOST_OPENING_S = 30.0  # nothing bounds an opening but that the next grip has to wait for it
SURE = 1.0
THRESHOLD = 0.5
MOVED_DEG = 1.0  # since motion was seen last, however slow it is
UNSEEN_S = 3.0  # of a hand that does not say where its fingers are
REACHED_DEG = 4.5  # a twentieth of a finger's way: less is play of the joints
SHOWN_S = 1.0  # how often the hand's reports are told while it closes
MOST_NAMED = 3  # joints in a sentence
NEXT_KEY = ord("n")
NEXT_HELP = "n next grip"
SILENT = "this hand does not say where it is: watch it"


class Metronome(FrontEnd):
    """No device: zeros on time, so that the gate's clockwork runs."""

    info = FrontEndInfo(
        id="metronome",
        name="no front end",
        channels=1,
        rate_hz=RATE_HZ,
        unit="counts",
        full_scale=1.0,
        layout="sites",
        baud=0,
        prefiltered="nothing is measured",
        loss_visible_by="nothing is lost",
    )

    def __init__(self) -> None:
        super().__init__()
        self._begun_s = 0.0
        self._beats = 0

    def start(self, now_s: float) -> None:
        if self.phase is not Phase.STREAMING:
            self.phase, self._begun_s, self._beats = Phase.STREAMING, now_s, 0

    def receive(self, data: bytes, now_s: float) -> list[Chunk]:
        due = int((now_s - self._begun_s) / BEAT_S) - self._beats
        if self.phase is not Phase.STREAMING or due < 1:
            return []
        first, count = (round(beats * BEAT_S * RATE_HZ) for beats in (self._beats, due))
        self._beats += due
        self.counters.samples += count
        return [Chunk(np.zeros((count, 1), np.float32), first, now_s)]

    def tick(self, now_s: float) -> None:
        pass

    def stop(self, now_s: float) -> None:
        self.phase = Phase.IDLE


class NoPort(HostPort):
    """The metronome's port."""

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def read_available(self) -> bytes:
        return b""


class TrialKeys(Keys):
    """The keys of a run, and n: on with the next grip. As what arms, it has to be typed alone."""

    def __init__(self) -> None:
        super().__init__()
        self._next = False

    def feed(self, data: bytes, now_s: float) -> None:
        alone = not data.strip(bytes((NEXT_KEY,))) and now_s - self._other_s >= ARM_ALONE_S
        self._next = alone or (self._next and not set(data) & set(STOP_KEYS))
        super().feed(data, now_s)

    def take_next(self) -> bool:
        """Whether n was pressed since it was asked last."""
        pressed, self._next = self._next, False
        return pressed


class Part(Enum):
    """Of the trial of one grip."""

    RESTING = "rest"
    CLOSING = "close"
    OPENING = "open"


@dataclass
class Tried:
    """What became of one grip. Degrees are what the hand reported when it was still; joints are those that its own
    protection held back.
    """

    grip: str
    outcome: str = "not tried"
    seconds: float = 0.0
    position_deg: dict[str, float] = field(default_factory=dict)
    limited: tuple[str, ...] = ()
    current_a: dict[str, float] = field(default_factory=dict)
    touch_v: dict[str, float] = field(default_factory=dict)

    def reported(self) -> str:
        """In one line, what the hand said last."""
        parts = [", ".join(f"{joint} {degrees:.0f}" for joint, degrees in self.position_deg.items()) + " deg"]
        if self.limited:
            parts.append(f"holds back: {', '.join(self.limited)}")
        if self.current_a:
            joint = max(self.current_a, key=lambda each: abs(self.current_a[each]))
            parts.append(f"most current: {joint} {abs(self.current_a[joint]):.2f} A")
        return "; ".join(parts)


class Trial:
    """Decides for the wearer, and hears what the loop tells: it is decoder and telemetry of the loop at once.

    It goes on only while the hand is armed and nobody holds it open or locked. Whatever the wearer does to it ends the
    grip that is being tried; the hand is opened before the next. `formed_deg` says what the hand reports once a grip is
    formed (`Hand.formed_deg`). With `asks`, and after an open or a lock anyway, nothing closes before n is pressed;
    without `keys` nobody can press it. `say` gets sentences for whoever watches.
    """

    dropped = 0  # it hears everything

    def __init__(
        self,
        grips: Sequence[str],
        front_end: Metronome,
        say: Callable[[str], object],
        formed_deg: Callable[[str], Mapping[str, float]],
        keys: TrialKeys | None = None,
        asks: bool = False,
    ) -> None:
        self.tried = [Tried(grip) for grip in grips]
        self._front_end, self._say, self._formed_deg = front_end, say, formed_deg
        self._keys, self._asks = keys, asks and keys is not None
        self._at = 0
        self._part, self._since_s = Part.RESTING, 0.0
        self._free = False  # armed, and neither held open nor locked by the wearer
        self._waits = False  # for n
        self._asks_once = False
        self._index = 0
        self._moved_s: float | None = None  # when the hand last was seen to move in this part
        self._shown_s = 0.0
        self._positions: dict[str, float] = {}
        self._anchor: dict[str, float] = {}  # where the hand was when it was seen to move last
        self._told = ""

    @property
    def closing(self) -> str | None:
        """The grip that is being tried now."""
        return self.tried[self._at].grip if self._part is Part.CLOSING and self._at < len(self.tried) else None

    def grip_map(self) -> GripMap:
        """Each grip is an action of its own name."""
        grips = {REST: None, OPEN: OPEN} | {tried.grip: tried.grip for tried in self.tried}
        return GripMap({action: GripRule(grip, THRESHOLD, "chosen") for action, grip in grips.items()})

    def feed(self, chunk: Chunk) -> list[Decision]:
        now_s = chunk.arrival_s
        self._go_on(now_s)
        action = REST
        if self._free and self.closing is not None:
            action = self.closing
        elif self._free and self._part is Part.OPENING and not self._waits:
            action = OPEN
        self._index += 1
        return [Decision(self._index, now_s, action, SURE, SURE, SURE, "script", True, "", SURE)]

    def send(self, events: Sequence[dict[str, Any]]) -> None:
        for event in events:
            if event["event"] == "hand":
                self._hear(event)
            elif event["event"] == "verdict":
                self._judge(event)
            elif event["event"] in ("failure", "link"):
                self._say(str(event.get("error") or f"{event['device']} {event['state']} {event['why']}"))

    def _judge(self, verdict: dict[str, Any]) -> None:
        opened, locked = (reason.page in verdict["reasons"] for reason in (Reason.OPENED, Reason.LOCKED))
        free = bool(verdict["armed"]) and not opened and not locked
        if self._free and not free and self._at < len(self.tried):
            self._interrupt(verdict["sentence"], asks=opened or locked, locked=locked)
        elif not verdict["armed"] and verdict["sentence"] != self._told and verdict["reason"] != Reason.STALE.page:
            self._say(verdict["sentence"])
        self._free, self._told = free, verdict["sentence"]

    def _interrupt(self, why: str, asks: bool, locked: bool) -> None:
        """What the wearer did comes first; a hand that was locked in the middle of a grip is not opened unasked."""
        if self._part is Part.CLOSING:
            self.tried[self._at].outcome = f"ended: {why}"
            self._part, self._moved_s = Part.OPENING, None
            self._waits = locked
        elif self._part is Part.RESTING:
            self._waits = False  # asked again when there is somebody to answer
        self._asks_once = self._asks_once or asks
        self._say(f"{why} When it is unlocked, n opens the hand and goes on." if locked and self._waits else why)

    def _hear(self, report: dict[str, Any]) -> None:
        self._positions = dict(report["position_deg"])
        self._anchor = self._anchor or self._positions
        ways = [abs(degrees - self._anchor.get(joint, degrees)) for joint, degrees in self._positions.items()]
        if report["moving"] or max(ways, default=0.0) > MOVED_DEG:
            self._moved_s, self._anchor = report["time_s"], self._positions
        if self._part is Part.CLOSING:
            tried = self.tried[self._at]
            tried.position_deg = {joint: round(degrees, 1) for joint, degrees in self._positions.items()}
            tried.current_a = {joint: round(amperes, 2) for joint, amperes in report["current_a"].items()}
            tried.touch_v = {joint: round(volts, 2) for joint, volts in report["touch_v"].items()}
            tried.limited = tuple(report["limited"])
            if tried.position_deg and report["time_s"] - self._shown_s >= SHOWN_S:
                self._shown_s = report["time_s"]
                self._say(f"  {tried.reported()}")

    def _go_on(self, now_s: float) -> None:
        pressed = self._keys is not None and self._keys.take_next()
        if not self._free or self._waits or self._at == len(self.tried):
            self._begin(self._part, now_s)  # what the hand still does now is not of the part that follows
            if self._free and self._waits and pressed:
                self._waits = False
                if self._part is Part.RESTING:
                    self._close(now_s)
            return
        elapsed_s = now_s - self._since_s
        if self._part is Part.RESTING:
            if elapsed_s >= REST_S:
                self._ask_or_close(now_s)
            return
        begun, sees = self._moved_s is not None, bool(self._positions)
        still = begun and now_s - (self._moved_s or 0.0) >= STILL_S
        longest_s = MOST_S if self._part is Part.CLOSING else MOST_OPENING_S
        most_s = UNSEEN_S if not sees else longest_s if begun else BEGIN_S
        over = still or elapsed_s >= most_s
        if self._part is Part.OPENING:
            if over:
                self._next(now_s)
            return
        if over:
            self._conclude(now_s, sees, begun, still)
        elif pressed:
            self.tried[self._at].outcome = "ended: you pressed n"
            self._begin(Part.OPENING, now_s)

    def _ask_or_close(self, now_s: float) -> None:
        if self._asks or (self._asks_once and self._keys is not None):
            self._waits, self._asks_once = True, False
            self._say(f"{self.tried[self._at].grip} next: press n")
        else:
            self._close(now_s)

    def _close(self, now_s: float) -> None:
        self._say(f"{self.tried[self._at].grip} ...")
        self._begin(Part.CLOSING, now_s)

    def _conclude(self, now_s: float, sees: bool, begun: bool, still: bool) -> None:
        tried = self.tried[self._at]
        tried.seconds = round((self._moved_s or now_s) - self._since_s, 2)
        short = self._short_of(tried)
        if not sees:
            tried.outcome = SILENT
        elif tried.limited:
            tried.outcome = f"held up: {', '.join(tried.limited)}"
        elif short:
            why = "not reached" if still else "not reached in time" if begun else "the hand did not move"
            tried.outcome = f"{why}: {_listed(short)}"
        elif not begun:
            tried.seconds = 0.0
            tried.outcome = "was there already" if self._formed_deg(tried.grip) else "the hand did not move"
        else:
            tried.outcome = "done" if still else "still moving"
        self._say(f"{tried.grip}: {tried.outcome}, {tried.seconds:.1f} s")
        if tried.position_deg:
            self._say(f"  {tried.reported()}")
        self._begin(Part.OPENING, now_s)

    def _short_of(self, tried: Tried) -> list[str]:
        """The joints that are not where this grip has them."""
        return [
            f"{joint} {tried.position_deg[joint]:.0f} of {goal:.0f} deg"
            for joint, goal in self._formed_deg(tried.grip).items()
            if joint in tried.position_deg and abs(tried.position_deg[joint] - goal) > REACHED_DEG
        ]

    def _begin(self, part: Part, now_s: float) -> None:
        self._part, self._since_s, self._moved_s = part, now_s, None
        self._shown_s = now_s

    def _next(self, now_s: float) -> None:
        self._at += 1
        self._begin(Part.RESTING, now_s)
        if self._at == len(self.tried):
            self._front_end.finished = True


def _listed(parts: Sequence[str]) -> str:
    more = len(parts) - MOST_NAMED
    return ", ".join(parts[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
