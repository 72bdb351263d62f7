"""A log run again: every request of the shaper and every verdict of the gate from what was logged of their inputs.

Where the log holds EMG, which it does only when somebody asked for it, the decisions are made again, too.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.runtime.decision import Decision
from myosem_edge.runtime.emg_log import emg_crc32, emg_from_events
from myosem_edge.runtime.gate import State, step
from myosem_edge.runtime.gate_log import (
    DECODER,
    DROPPED,
    EMG,
    FAILURE,
    GATE,
    OURS,
    ROW,
    RULES,
    SHAPER,
    START,
    STATE,
    STEP,
    Facts,
    Rules,
    decision_to_dict,
    inexact,
    inputs_from_dict,
    shaper_from_dict,
    state_from_dict,
    told,
)
from myosem_edge.runtime.grips import GripRule
from myosem_edge.runtime.shaper import ShaperState, shape

TORN = "torn"  # in place of a line that power cut off
OLDER = ".1"
STEP_PARTS = frozenset({"event", "time_s", "inputs", "decision", "veto", "command", "reasons"})

Event = dict[str, Any]


class Decodes(Protocol):
    """`runtime.decoder.Decoder` does."""

    def feed(self, chunk: Chunk) -> list[Decision]: ...


@dataclass(frozen=True)
class Difference:
    """`what` is "decision", "request", "command" or "reasons", both sides as the log has them. Or it is "emg", whose
    checksum is another, or "line", of which the log has what can no longer be read: neither is a step.
    """

    what: str
    logged: Any
    found: Any


@dataclass(frozen=True)
class Replayed:
    """One logged step, or a damage between steps, which has no `inputs`.

    `known` is false behind a gap. `weighed`: a decision was logged; `decided`: it was made again, too.
    """

    time_s: float
    inputs: Facts | None
    known: bool = True
    weighed: bool = False
    decided: bool = False
    differences: tuple[Difference, ...] = ()


class _Chain:
    """What shaper and gate remember, as long as no event is missing."""

    def __init__(self) -> None:
        self._given: Facts | None = None
        self._rows: dict[str, GripRule] = {}
        self._memory: tuple[State, ShaperState] | None = None

    def lose(self) -> None:
        self._given = self._memory = None

    def begin(self, rules: Facts) -> None:
        self._given, self._rows = rules, {}

    def row(self, facts: Facts) -> None:
        self._rows[facts["action"]] = GripRule(facts["grip"], facts["threshold"], facts["why"])

    def remember(self, facts: Facts) -> None:
        if self._given is None or self._given["rows"] != len(self._rows):
            self._memory = None
            return
        self._rules = Rules.from_dict(self._given, self._rows)
        self._memory = state_from_dict(facts["gate"]), shaper_from_dict(facts["shaper"])

    def step(self, event: Event) -> list[Difference] | None:
        """None behind a gap."""
        if unknown := event.keys() - STEP_PARTS:
            raise ValueError(f"a step with {sorted(unknown)}")
        if self._memory is None:
            return None
        (gate, shaper), found = self._memory, list[tuple[str, Any, Any]]()
        inputs = inputs_from_dict(event["inputs"])
        if (logged := event.get("decision")) is not None:
            decision = Decision(**inexact(logged))
            if event["veto"]:
                decision = replace(decision, accepted=False, reason=event["veto"])
            shaper, request = shape(
                shaper, decision, self._rules.grip_map, self._rules.limits, inputs.now_s, gate.command
            )
            found.append(("request", event["inputs"]["request"], told(request)))
        # From what was logged, so that one difference is not told as two.
        gate, command, reasons = step(gate, inputs, self._rules.limits, self._rules.grips)
        found.append(("command", event["command"], told(command)))
        found.append(("reasons", event["reasons"], [reason.page for reason in reasons]))
        self._memory = gate, shaper
        return [Difference(*each) for each in found if each[1] != each[2]]


class _Decoding:
    """A decoder that is fed with what was logged, from the start of a run on, as long as no event is missing."""

    def __init__(self, make: Callable[[Event], Decodes | None]) -> None:
        self._make = make
        self._decoder: Decodes | None = None
        self._fed = False
        self._excused = False  # a decision may lack its step
        self._pieces: list[Facts] = []
        self._decided: deque[Decision] = deque()

    def start(self, event: Event) -> None:
        self.lose()
        self._decoder = self._make(event)

    def lose(self) -> None:
        self._decoder, self._fed, self._excused = None, False, False
        self._pieces, self._decided = [], deque()

    def failed(self, stage: str) -> None:
        """A stage failed in the run. What its decoder remembered from then on, nobody knows."""
        if stage == DECODER:
            self.lose()
        self._excused = self._excused or stage in (SHAPER, GATE)

    def feed(self, facts: Facts) -> list[Difference]:
        if (found := emg_crc32(facts)) != facts["crc32"]:
            self.lose()
            return [Difference("emg", facts["crc32"], found)]
        if self._decoder is not None:
            self._take(facts)
        return []

    def _take(self, facts: Facts) -> None:
        assert self._decoder is not None
        self._pieces.append(facts)
        if not facts["more"]:
            chunk, self._pieces, self._fed = emg_from_events(self._pieces), [], True
            try:
                self._decided.extend(self._decoder.feed(chunk))
            except Exception:  # then it failed in the run, too, or nothing can be said of what follows
                self.lose()

    def step(self, event: Event) -> list[Difference] | None:
        """None where nothing was decided, or where nothing can be said."""
        logged = event.get("decision")
        if self._decoder is None or not self._fed:
            return None
        # Each decision has a step of its own, but for those on which shaper or gate failed.
        if logged is None and (self._excused or not self._decided):
            return None
        while logged is not None and self._excused and self._decided and self._decided[0].index < logged["index"]:
            self._decided.popleft()
        self._excused = False
        found = decision_to_dict(self._decided.popleft()) if self._decided else None
        return [] if found == logged else [Difference("decision", logged, found)]


def replay(
    events: Iterable[Event], decoder: Callable[[Event], Decodes | None] = lambda start: None
) -> Iterator[Replayed]:
    """Every `step` event again. A gap breaks the chain until the memory that was logged next.

    Behind a line that power cut off, a log ends or another run starts; any other line that cannot be read is a damage,
    and so is EMG without its checksum. `decoder` makes a run's decoder from its `start` event, or None. With one,
    decisions are made again, too, where EMG was logged, until the run's first gap.

    Raises:
        KeyError, TypeError, ValueError: an event is not one of ours.
    """
    chain, decoding = _Chain(), _Decoding(decoder)
    time_s, torn = math.nan, None
    for event in events:
        kind = event["event"]
        time_s = float(event.get("time_s", time_s))
        if torn is not None and kind not in (START, TORN):
            yield Replayed(time_s, None, differences=(Difference("line", torn, None),))
        torn = event["line"] if kind == TORN else None
        facts = {name: value for name, value in event.items() if name not in ("event", "time_s")}
        if kind in (START, DROPPED, TORN):
            chain.lose()
            decoding.lose()
            if kind == START:
                decoding.start(event)
        elif kind == RULES:
            chain.begin(facts)
        elif kind == ROW:
            chain.row(facts)
        elif kind == STATE:
            chain.remember(facts)
        elif kind == FAILURE:
            decoding.failed(facts["stage"])
        elif kind == EMG:
            if damage := decoding.feed(facts):
                yield Replayed(time_s, None, differences=tuple(damage))
        elif kind == STEP:
            decided = decoding.step(event)
            found = chain.step(event)
            yield Replayed(
                time_s,
                event["inputs"],
                found is not None,
                "decision" in event,
                decided is not None,
                (*(decided or ()), *(found or ())),
            )


def logs_at(path: Path) -> list[list[Path]]:
    """The logs of a file name or a folder, each as its files, oldest first.

    Raises:
        InputError: there is none.
    """
    if path.is_dir():
        names = sorted({each.with_name(each.name.removesuffix(OLDER)) for each in path.iterdir() if _is_log(each)})
    else:
        names = [path]
    found = [[each for each in (name.with_name(name.name + OLDER), name) if each.exists()] for name in names]
    if not any(found):
        raise InputError("holds no log" if path.is_dir() else "is not there", where=path)
    return found


def read_events(paths: Iterable[Path]) -> Iterator[Event]:
    """Events of log files, oldest file first. What power cut off is one event, `torn`, wherever it stands: a later run
    goes on in the same file.

    Raises:
        InputError: a file cannot be read, or does not begin as a log.
    """
    for path in paths:
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    event = _event(line)
                    if event["event"] == TORN and number == 1 and not _may_be_ours(line):
                        raise InputError(
                            "is no log", where=f"{path}:1", found=ascii(line[:60]), expected="one event a line"
                        )
                    yield event
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", where=path) from error


def _event(line: bytes) -> Event:
    if line.endswith(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            event = json.loads(line)
            if isinstance(event, dict) and isinstance(event.get("event"), str):
                return event
    return {"event": TORN, "line": ascii(line[:60])}


def _may_be_ours(line: bytes) -> bool:
    """Of a first line that power cut off, a part may be left, or zeros."""
    return OURS.startswith(line[: len(OURS)]) or not line.strip(b"\0\n")


def _is_log(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return path.is_file() and file.read(len(OURS)) == OURS
    except OSError:
        return False
