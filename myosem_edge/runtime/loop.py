"""One cycle of the loop: what has arrived goes in, what may leave comes out, and everything in between happens.

`Loop.cycle` touches no port, reads no clock and keeps no thread, so the same object runs on a board (see `runner`) and
against emulators on a virtual clock. Every frame for the hand comes from the verdict of the very cycle that sends it,
and passes the hand's own whitelist (SR-11). Whatever fails, the verdict is neutral and says why (SR-15).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from myosem_edge.errors import DeviceError, MyosemError
from myosem_edge.firmware_bridge.frontends.base import Chunk, FrontEnd, Phase
from myosem_edge.firmware_bridge.hands.base import Feedback, Hand, Neutral
from myosem_edge.runtime.co_contraction import CoContraction
from myosem_edge.runtime.decision import Decision
from myosem_edge.runtime.emg_log import emg_events
from myosem_edge.runtime.gate import HOLD, NEUTRAL, Command, Inputs, Reason, Wearer, status
from myosem_edge.runtime.gate_log import DECODER, EMG, FAILURE, GATE, SHAPER
from myosem_edge.runtime.grips import GripMap
from myosem_edge.runtime.health import SampleHealth, Spread
from myosem_edge.runtime.judge import Judge
from myosem_edge.runtime.limits import Limits
from myosem_edge.runtime.links import Wait
from myosem_edge.runtime.outlet import Outlet

TICK_S = 0.020  # the gate is stepped at least this often, samples or not
DECISION_EVENT_S = 0.050
FEEDBACK_EVENT_S = 0.200
FAILURES = 5  # of one stage in a row: a defect that does not pass
MOST_TEXT = 300  # characters of a fault: an event has to fit into one write
AWAY_S = 60.0  # a device that stays away for so long is not coming back by itself

FRONT_END, HAND = "front end", "hand"
NO_GUARD = "the guard does not run: start the program again"

NOTHING = Wearer()

Event = dict[str, Any]


class Decodes(Protocol):
    """What turns samples into decisions; `runtime.decoder.Decoder` does."""

    def feed(self, chunk: Chunk) -> list[Decision]: ...


class Beats(Protocol):
    """What has to hear from the loop; `runtime.guard_process.Guard` does."""

    def beat(self, locked: bool = False) -> bool: ...


@dataclass(frozen=True)
class Out:
    """What a cycle gives back: bytes for the front end, whole frames for the hand, and what to tell.

    `complete` is a cycle in which nothing failed, the only kind that feeds a watchdog. `end` is why there is no point
    in another cycle; `over`, that a recording is over, which is no error. `decided` and `commanded`: decisions came in,
    a command (not merely a poll) goes out.
    """

    front_out: bytes = b""
    hand_out: tuple[bytes, ...] = ()
    events: tuple[Event, ...] = ()
    complete: bool = False
    decided: bool = False
    commanded: bool = False
    end: MyosemError | None = None
    over: bool = False


class Loop:
    """The state from one cycle to the next.

    `names` maps action ids to what a person calls them. `limits` are the hand's, perhaps tightened for the wearer.
    `guard` has to be set before the hand can move. With `log_inputs` every step of the gate is an event, so that the
    log replays to the same commands; with `log_emg` every sample, so that it replays to the same decisions.

    Raises:
        RefusedError: this hand has no such neutral.
    """

    def __init__(
        self,
        front_end: FrontEnd,
        hand: Hand,
        decoder: Decodes,
        grip_map: GripMap,
        limits: Limits,
        neutral: Neutral = Neutral.FREEZE,
        names: Mapping[str, str] | None = None,
        guard: Beats | None = None,
        log_inputs: bool = False,
        health: SampleHealth | None = None,
        co_contraction: CoContraction | None = None,
        log_emg: bool = False,
    ) -> None:
        self.front_end, self.hand, self.decoder = front_end, hand, decoder
        self.grip_map, self.limits = grip_map, limits
        self.names = names or {}
        self.log_inputs, self._log_emg = log_inputs, log_emg
        self.late = Spread()
        self.counts = dict.fromkeys(("cycles", "incomplete", "decisions", "arms", "reconnects"), 0)
        self.outlet = Outlet(hand, neutral)
        self.judge = Judge(grip_map, limits, grip_map.grips() & frozenset(hand.info.grips))
        self._checked = front_end.info
        self._health = health or SampleHealth(self._checked)
        self._tension = co_contraction or CoContraction(self._checked.rate_hz, None)
        self._told_troubles: dict[str, tuple[int, ...]] = {}
        self._guard, self._guarded = guard, guard is not None
        self._wearer = Wearer()
        self._last_s: float | None = None
        self._failures: dict[str, int] = {}
        self._failed: dict[str, str] = {}  # stage -> what happened, until the gate has heard of it
        self._complete = True
        self._away: dict[str, float] = {}  # device -> since when
        self._unplugged: set[str] = set()
        self._streamed = False
        self._restart = Wait()
        self._end: MyosemError | None = None
        self._events: list[Event] = []
        self._told: tuple[object, ...] = ()
        self._told_phase: Phase | None = None
        self._told_decision_s = self._told_feedback_s = -float("inf")
        self._feedback: Feedback | None = None
        self._heard_s = 0.0

    @property
    def guard(self) -> Beats | None:
        return self._guard

    @guard.setter
    def guard(self, guard: Beats | None) -> None:
        self._guard, self._guarded = guard, guard is not None

    @property
    def armed(self) -> bool:
        return self.judge.gate.armed

    def start(self, now_s: float) -> Out:
        """The first bytes of a session: they ask for samples and feedback, and move nothing."""
        self._fresh_hand(now_s)
        self._complete = True
        with self._stage(FRONT_END, now_s):
            self.front_end.start(now_s)
        return self._out(now_s, self._greeting(now_s))

    def cycle(self, now_s: float, front_bytes: bytes = b"", hand_bytes: bytes = b"", wearer: Wearer = NOTHING) -> Out:
        """Everything, once. Call it at least every `TICK_S`, with whatever has arrived; it never raises."""
        self.counts["cycles"] += 1
        late_s = 0.0 if self._last_s is None else max(0.0, now_s - self._last_s - TICK_S)
        self._last_s = now_s
        self.late.add(late_s)
        # A stop that meets a failing gate is not lost: it is handed in until the gate has taken it.
        self._wearer = replace(wearer, stop=self._wearer.stop or wearer.stop)
        self._complete = not self._failed

        chunks = self._listen(now_s, front_bytes, hand_bytes)
        decisions: list[Decision] = []
        if chunks:
            with self._stage(DECODER, now_s):
                for chunk in chunks:
                    if self._log_emg:
                        self._events += (_event(EMG, now_s, **piece) for piece in emg_events(chunk))
                    decisions += self.decoder.feed(chunk)
        command = self._judge(now_s, decisions, late_s)
        frames, commanded = self._speak(command, now_s)
        if self._complete and self._guard is not None:
            with self._stage("guard", now_s, otherwise=self._lose_guard):
                self._guarded = self._guard.beat(self.judge.gate.locked)
        self._complete = self._complete and self._guarded
        self.counts["incomplete"] += not self._complete
        return self._out(now_s, frames, decided=bool(decisions), commanded=commanded)

    def finish(self, now_s: float) -> Out:
        """The last bytes of a session: neutral, the hand back to its own inputs, and the end of streaming."""
        with self._stage(FRONT_END, now_s):
            self.front_end.stop(now_s)
        return self._out(now_s, () if HAND in self._unplugged else self.outlet.farewell)

    def fail(self, stage: str, error: Exception, now_s: float) -> None:
        """Something outside of the cycle went wrong: the next verdict is neutral and says so."""
        self._complete = False
        self._failures[stage] = self._failures.get(stage, 0) + 1
        text = f"{stage}: {type(error).__name__}: {error}"[:MOST_TEXT]
        if stage not in self._failed:
            self._tell(FAILURE, now_s, stage=stage, error=text, in_a_row=self._failures[stage])
        self._failed[stage] = text
        if self._failures[stage] >= FAILURES:
            self._end = MyosemError(f"{stage} failed {FAILURES} times in a row", found=text)

    def passed(self, stage: str) -> None:
        """What `fail` was told about works again."""
        self._failures.pop(stage, None)

    def unplugged(self, device: str, why: str, now_s: float) -> None:
        """A port has vanished. Motion is over until somebody arms again (the fault latches)."""
        self._unplugged.add(device)
        self._away.setdefault(device, now_s)
        self._tell("link", now_s, device=device, state="lost", why=why)

    def plugged(self, device: str, now_s: float) -> Out:
        """The port is open again: begin from the beginning, but a hand that was in motion is told neutral first."""
        self._unplugged.discard(device)
        self.counts["reconnects"] += 1
        self._tell("link", now_s, device=device, state="back", why="")
        if device == HAND:
            self._fresh_hand(now_s)
            halt = self.outlet.halt(now_s)
            return self._out(now_s, (*halt, *self._greeting(now_s)))
        with self._stage(FRONT_END, now_s):
            self.front_end.stop(now_s)
            self.front_end.to_send()  # a good-bye to a port that is gone
            self.front_end.start(now_s)
        return self._out(now_s, ())

    def summary(self, now_s: float, **more: object) -> Event:
        """The last event: what a session amounted to."""
        wire = self.front_end.counters
        front_end = {"samples": wire.samples, "lost_samples": wire.lost_samples, "rejected_bytes": wire.rejected_bytes}
        state, reason = status(self.judge.gate)
        last = {"status": state, "reason": reason.page if reason else None}
        return _event(
            "summary",
            now_s,
            counts=self.counts | {"commands": self.outlet.commands, "polls": self.outlet.polls},
            late=self.late.summary(),
            front_end=front_end,
            last=last,
            **more,
        )

    def _listen(self, now_s: float, front_bytes: bytes, hand_bytes: bytes) -> list[Chunk]:
        chunks: list[Chunk] = []
        if FRONT_END not in self._unplugged:
            with self._stage(FRONT_END, now_s):
                chunks = self.front_end.receive(front_bytes, now_s)
                self.front_end.tick(now_s)
                self._follow_front_end(now_s)
        if self._end is not None:
            chunks = []  # of another shape than the decoder was made for, it may be
        if chunks:
            with self._stage("signal", now_s):
                for chunk in chunks:
                    self._health.add(chunk)
                    self._tension.add(chunk)
                self._tell_troubles(now_s)
        with self._stage(HAND, now_s):
            for feedback in self.hand.receive(hand_bytes, now_s):
                self._feedback = feedback
                self._heard_s = now_s
        self._check_away(now_s)
        if self._feedback is not None and now_s - self._told_feedback_s >= FEEDBACK_EVENT_S - 1e-6:
            self._told_feedback_s = now_s
            self._tell("hand", now_s, **asdict(self._feedback))
            self._feedback = None
        return chunks

    def _follow_front_end(self, now_s: float) -> None:
        front_end = self.front_end
        if front_end.info is not self._checked:
            try:
                self._checked.require_same(front_end.info)
            except DeviceError as error:
                self._end = error
            self._checked = front_end.info
            self._health.follow(self._checked)
        if front_end.phase is not self._told_phase:
            self._told_phase = front_end.phase
            self._tell(
                "front end", now_s, phase=front_end.phase.value, failure=front_end.failure, facts=dict(front_end.facts)
            )
        if front_end.phase is Phase.STREAMING:
            if not self._streamed or FRONT_END in self._away:
                self._streamed, self._restart = True, Wait()
            self._away.pop(FRONT_END, None)
            return
        self._away.setdefault(FRONT_END, now_s)
        if front_end.phase is Phase.FAILED and not self._streamed:
            self._end = DeviceError(front_end.failure or "the front end cannot be started")
        elif front_end.phase is Phase.FAILED and self._restart.due(now_s):
            front_end.start(now_s)

    def _check_away(self, now_s: float) -> None:
        if HAND not in self._unplugged and self.outlet.asks and now_s - self._heard_s > self.limits.feedback_stale_s:
            self._away.setdefault(HAND, self._heard_s)
        elif HAND not in self._unplugged:
            self._away.pop(HAND, None)
        for device, since_s in self._away.items():
            if now_s - since_s >= AWAY_S and self._end is None:
                self._end = DeviceError(f"the {device} stays away", found=f"nothing for {now_s - since_s:.0f} s")

    def _judge(self, now_s: float, decisions: list[Decision], late_s: float) -> Command:
        """Shape and gate: one step for every decision, so that each has its vote, and one step if there is none."""
        command = NEUTRAL
        steps: list[Decision | None] = [*decisions] or [None]
        for decision in steps:
            if decision is not None:
                with self._stage(SHAPER, now_s, otherwise=self.judge.forget):
                    self.counts["decisions"] += 1
                    vetted = self._tension.vetted(self._health.vetted(decision, self.limits.bad_channels))
                    self.judge.weigh(decision, vetted, now_s)
            command = HOLD if self.judge.gate.locked else NEUTRAL
            with self._stage(GATE, now_s):
                command = self._step(now_s, late_s)
        if decisions and now_s - self._told_decision_s >= DECISION_EVENT_S - 1e-6:
            self._told_decision_s = now_s
            with self._stage("telemetry", now_s):
                self._tell_decision(decisions[-1], now_s)
        return command

    def _step(self, now_s: float, late_s: float) -> Command:
        faults = [*self._failed.values(), *(f"the {device} is unplugged" for device in sorted(self._unplugged))]
        if not self._guarded:
            faults.append(NO_GUARD)
        inputs = Inputs(
            now_s=now_s,
            sample_age_s=self._health.age_s(now_s),
            lost_fraction=self._health.lost_fraction(now_s),
            bad_channels=self._health.bad_channels(),
            request=self.judge.request,
            wearer=self._tension.pressed(self._wearer),
            feedback_age_s=now_s - self._heard_s if self.outlet.asks else None,
            loop_late_s=late_s,
            fault="; ".join(faults)[:MOST_TEXT] or None,
        )
        was_armed = self.armed
        command, reasons, told = self.judge.step(inputs, log=self.log_inputs)
        self.counts["arms"] += self.armed and not was_armed
        # Taken: edges act once, and a failure has been heard of.
        self._wearer = Wearer(open=self._wearer.open)
        self._failed.clear()
        for kind, facts in told:
            self._tell(kind, now_s, **facts)
        self._tell_verdict(command, reasons, inputs.fault, now_s)
        return command

    def _speak(self, command: Command, now_s: float) -> tuple[tuple[bytes, ...], bool]:
        """The frames that this verdict is worth, and whether a command is among them."""
        if HAND in self._unplugged:
            return (), False
        frames: list[bytes] = []
        with self._stage("encode", now_s, otherwise=lambda: frames.extend(self.outlet.fall_back(now_s))):
            frames += self.outlet.command(command, self.judge.gate.armed, now_s)
        commanded = bool(frames)
        with self._stage("poll", now_s):
            frames += self.outlet.poll(now_s, commanded)
        return tuple(frames), commanded

    def _greeting(self, now_s: float) -> tuple[bytes, ...]:
        with self._stage("encode", now_s):
            return self.outlet.greeting()
        return ()

    def _fresh_hand(self, now_s: float) -> None:
        """Nothing is known of the hand, and nothing has been sent through this port."""
        self._feedback = None
        self._heard_s = now_s
        self.outlet.reset(now_s)

    def _lose_guard(self) -> None:
        self._guarded = False

    @contextmanager
    def _stage(self, name: str, now_s: float, otherwise: Callable[[], None] | None = None) -> Iterator[None]:
        """Nothing that happens inside gets out: it becomes a failure, and `otherwise` is called."""
        try:
            yield
        except Exception as error:
            self.fail(name, error, now_s)
            if otherwise is not None:
                otherwise()
        else:
            self.passed(name)

    def _tell(self, kind: str, now_s: float, **facts: object) -> None:
        self._events.append(_event(kind, now_s, **facts))

    def _tell_verdict(self, command: Command, reasons: tuple[Reason, ...], fault: str | None, now_s: float) -> None:
        state, reason = status(self.judge.gate)
        news = (state, reason, reasons, command, fault)
        if news == self._told:
            return
        self._told = news
        facts = {
            "status": state,
            "reason": reason.page if reason else None,
            "sentence": reason.sentence if reason else "",
        }
        pages = [each.page for each in reasons]
        self._tell(
            "verdict", now_s, **facts, armed=self.judge.gate.armed, reasons=pages, command=asdict(command), fault=fault
        )

    def _tell_troubles(self, now_s: float) -> None:
        troubles = self._health.troubles()
        if troubles != self._told_troubles:
            self._told_troubles = troubles
            self._tell("signal", now_s, troubles={kind: list(channels) for kind, channels in troubles.items()})

    def _tell_decision(self, decision: Decision, now_s: float) -> None:
        self._tell("decision", now_s, **decision.facts(self.names), asked=self.judge.request.reject)

    def _out(self, now_s: float, frames: tuple[bytes, ...], decided: bool = False, commanded: bool = False) -> Out:
        front_out = b""
        with self._stage("front end, sending", now_s):
            front_out = b"" if FRONT_END in self._unplugged else self.front_end.to_send()
        events, self._events = tuple(self._events), []
        return Out(front_out, frames, events, self._complete, decided, commanded, self._end, self.front_end.finished)


def _event(kind: str, now_s: float, **facts: object) -> Event:
    return {"event": kind, "time_s": round(now_s, 6), **facts}
