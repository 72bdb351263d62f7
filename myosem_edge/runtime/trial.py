"""A hand tried grip by grip, before any EMG is involved: the loop, gate and guard as ever, a script for a wearer.

What stands for the signal is a metronome, and it says so: samples that mean nothing, on time. What decides is a script:
rest, a grip until the hand is still, the hand open until it is still, the next grip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import Chunk, FrontEnd, FrontEndInfo, Phase
from myosem_edge.firmware_bridge.host_port import HostPort
from myosem_edge.runtime.decision import REST, Decision
from myosem_edge.runtime.gate import Reason
from myosem_edge.runtime.grips import OPEN, GripMap, GripRule

RATE_HZ = 200.0
BEAT_S = 0.020
REST_S = 0.5  # the gate wants a release between two grips
BEGIN_S = 1.5  # a hand that has not begun to move by then is not going to
STILL_S = 0.5  # several reports in a row without motion: it has arrived, or is held up
MOST_S = 8.0  # below the gate's longest close
SURE = 1.0
THRESHOLD = 0.5
MOVED_DEG = 1.0
UNSEEN_S = 3.0  # of a hand that does not say where its fingers are
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


class Trial:
    """Decides for the wearer, and hears what the loop tells: it is decoder and telemetry of the loop at once.

    It goes on only while the hand is armed; a stop ends the grip that is being tried, and arming goes on with the next.
    `say` gets sentences for whoever watches.
    """

    dropped = 0  # it hears everything

    def __init__(self, grips: Sequence[str], front_end: Metronome, say: Callable[[str], object]) -> None:
        self.tried = [Tried(grip) for grip in grips]
        self._front_end, self._say = front_end, say
        self._at = 0
        self._part, self._since_s = Part.RESTING, 0.0
        self._armed, self._index = False, 0
        self._moved_s: float | None = None  # when the hand last was seen to move in this part
        self._positions: dict[str, float] = {}
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
        if self._armed and self.closing is not None:
            action = self.closing
        elif self._armed and self._part is Part.OPENING:
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
        armed = bool(verdict["armed"])
        if self._armed and not armed and self._at < len(self.tried):
            self._end(f"stopped: {verdict['sentence']}", verdict["time_s"])
        elif not armed and verdict["sentence"] != self._told and verdict["reason"] != Reason.STALE.page:
            self._say(verdict["sentence"])
        self._armed, self._told = armed, verdict["sentence"]

    def _hear(self, report: dict[str, Any]) -> None:
        before, self._positions = self._positions, dict(report["position_deg"])
        moved = any(abs(degrees - before.get(joint, degrees)) > MOVED_DEG for joint, degrees in self._positions.items())
        if report["moving"] or moved:
            self._moved_s = report["time_s"]
        if self._part is Part.CLOSING:
            tried = self.tried[self._at]
            tried.position_deg = {joint: round(degrees, 1) for joint, degrees in self._positions.items()}
            tried.current_a = {joint: round(amperes, 2) for joint, amperes in report["current_a"].items()}
            tried.touch_v = {joint: round(volts, 2) for joint, volts in report["touch_v"].items()}
            tried.limited = tuple(report["limited"])

    def _go_on(self, now_s: float) -> None:
        if not self._armed or self._at == len(self.tried):
            self._since_s = now_s
            return
        elapsed_s = now_s - self._since_s
        if self._part is Part.RESTING:
            if elapsed_s >= REST_S:
                self._say(f"{self.tried[self._at].grip} ...")
                self._begin(Part.CLOSING, now_s)
            return
        begun, sees = self._moved_s is not None, bool(self._positions)
        still = begun and now_s - (self._moved_s or 0.0) >= STILL_S
        most_s = UNSEEN_S if not sees else MOST_S if begun else BEGIN_S
        if not (still or elapsed_s >= most_s):
            return
        if self._part is Part.OPENING:
            self._next(now_s)
            return
        tried = self.tried[self._at]
        tried.seconds = round((self._moved_s or now_s) - self._since_s, 2)
        if not sees:
            tried.outcome = SILENT
        elif not begun:
            tried.outcome = "the hand did not move"
        elif tried.limited:
            tried.outcome = f"held up: {', '.join(tried.limited)}"
        else:
            tried.outcome = "done" if still else "still moving"
        self._say(f"{tried.grip}: {tried.outcome}, {tried.seconds:.1f} s")
        self._begin(Part.OPENING, now_s)

    def _begin(self, part: Part, now_s: float) -> None:
        self._part, self._since_s, self._moved_s = part, now_s, None

    def _end(self, outcome: str, now_s: float) -> None:
        """The grip that was being tried is over, for a reason that is not the hand's."""
        if self._part is Part.CLOSING:
            self.tried[self._at].outcome = outcome
        if self._part is not Part.RESTING:
            self._next(now_s)
        self._say(outcome)

    def _next(self, now_s: float) -> None:
        self._at += 1
        self._begin(Part.RESTING, now_s)
        if self._at == len(self.tried):
            self._front_end.finished = True
