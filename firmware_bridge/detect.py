"""Which front end is on a port: first it is listened to, then asked what each driver would have it asked.

A sans-I/O machine like the drivers. The port is opened once, because that may reset a board; its baud rate changes.
What is sent is data of the drivers (`Identity`), and nothing that a hand obeys: see `docs/front-ends.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from myosem_edge.firmware_bridge.frontends import DRIVERS
from myosem_edge.firmware_bridge.frontends.base import FrontEnd, FrontEndInfo
from myosem_edge.firmware_bridge.frontends.recognition import Recognised

BOOT_S = 2.5  # an Arduino that restarts when its port is opened is back in two
SILENT_S = 0.7  # at another baud rate: what streams by itself has come by then
LISTEN_S = 1.5  # from the first byte on
MOST_HEARD_BYTES = 1 << 18  # several times what comes in LISTEN_S at the highest baud rate
SHOWN_BYTES = 40


@dataclass(frozen=True)
class Step:
    """What is said at a baud rate, nothing where it is only listened to, and who may recognise what comes then."""

    baud: int
    send: bytes
    limit_s: float
    kinds: tuple[type[FrontEnd], ...]

    @property
    def what(self) -> str:
        """In words for whoever waits."""
        names = " or ".join(kind.info.id for kind in self.kinds)
        said = f"sends {ascii(self.send)[1:]}" if self.send else "listens" if self.kinds else "waits"
        return f"at {self.baud} baud {said}" + (f": {names}?" if names else "") + f" (up to {self.limit_s:.1f} s)"


@dataclass(frozen=True)
class Found:
    """A driver that has recognised its device, and what it was told; `told` is that for `--front-end`."""

    info: FrontEndInfo
    options: Mapping[str, object]
    facts: Mapping[str, str]
    missing: str

    @property
    def told(self) -> str:
        options = ",".join(
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in self.options.items()
        )
        return self.info.id + (f":{options}" if options else "")


def steps(kinds: Sequence[type[FrontEnd]] = DRIVERS) -> list[Step]:
    """In this order: streams that come by themselves, then single bytes, then words, in which a BITalino would find a
    start; of each the quickest first.

    Kinds that are asked the same at the same baud rate are asked once.
    """
    listened: dict[int, list[type[FrontEnd]]] = {}
    asked: dict[tuple[bool, float, bool, int, bytes, bytes, float], list[type[FrontEnd]]] = {}
    for kind, baud in _bauds(kinds):
        identity = kind.identity
        assert identity is not None
        if identity.question:
            total_s = identity.quiet_s + identity.limit_s
            is_word = len(identity.question.strip(b"\n")) > 1 and identity.question.strip(b"\n").isalpha()
            key = (is_word, total_s, baud != kind.info.baud, baud, identity.question, identity.hush, identity.quiet_s)
            asked.setdefault(key, []).append(kind)
        else:
            listened.setdefault(baud, []).append(kind)
    found = [
        Step(baud, b"", LISTEN_S + (SILENT_S if number else BOOT_S), tuple(those))
        for number, (baud, those) in enumerate(sorted(listened.items(), reverse=True))
    ]
    for (_, total_s, _, baud, question, hush, quiet_s), those in sorted(asked.items(), key=lambda each: each[0]):
        found += [Step(baud, hush, quiet_s, ())] if quiet_s else []
        found.append(Step(baud, question, total_s - quiet_s, tuple(those)))
    return found


def _bauds(kinds: Sequence[type[FrontEnd]]) -> Iterator[tuple[type[FrontEnd], int]]:
    for kind in kinds:
        if kind.identity is not None:
            yield from ((kind, baud) for baud in (kind.info.baud, *kind.identity.bauds))


class Detection:
    """From an open port to the drivers that recognise what is on it: one, none, or several that cannot be told apart.

    `baud` is what the port has to be set to, and `said` what was sent so far; at `finished`, `found` is the verdict.
    """

    def __init__(self, now_s: float, kinds: Sequence[type[FrontEnd]] = DRIVERS) -> None:
        self.steps = steps(kinds)
        self.found: list[Found] = []
        self.said: list[bytes] = []
        self.heard_of: dict[int, bytes] = {}  # the first bytes that came, by baud rate
        self.repeats = False  # what it is told, as no front end does and a Brunel hand does
        self._at = -1
        self._heard, self._outgoing = bytearray(), b""
        self._begun_s = now_s
        self._first_s: float | None = None  # when the first byte of this step came
        self._next(now_s)

    @property
    def step(self) -> Step:
        return self.steps[min(self._at, len(self.steps) - 1)]

    @property
    def finished(self) -> bool:
        return bool(self.found) or self._at >= len(self.steps)

    @property
    def baud(self) -> int:
        return self.step.baud

    def advance(self, data: bytes, now_s: float) -> bytes:
        """What has arrived at `baud`; returns what is to be sent, at the `baud` that holds afterwards."""
        if self.finished:
            return b""
        if data:
            self._first_s = now_s if self._first_s is None else self._first_s
            self.heard_of[self.baud] = (self.heard_of.get(self.baud, b"") + data)[:SHOWN_BYTES]
            self._heard += data[: MOST_HEARD_BYTES - len(self._heard)]
        listens = not self.step.send
        if (listens and self._is_over(now_s)) or (data and not listens):
            self._judge(now_s)
        if not self.found and self._is_over(now_s):
            self._next(now_s)
        outgoing, self._outgoing = self._outgoing, b""
        if outgoing:
            self.said.append(outgoing)
        return outgoing

    def _next(self, now_s: float) -> None:
        self._at += 1
        self._heard = bytearray()
        self._begun_s, self._first_s = now_s, None
        self._outgoing = b"" if self._at >= len(self.steps) else self.step.send

    def _is_over(self, now_s: float) -> bool:
        step = self.step
        if step.send or not step.kinds:
            return now_s - self._begun_s >= step.limit_s
        if self._first_s is None:
            return now_s - self._begun_s >= step.limit_s - LISTEN_S
        return now_s - self._first_s >= LISTEN_S

    def _judge(self, now_s: float) -> None:
        heard, seconds = bytes(self._heard), now_s - (self._begun_s if self._first_s is None else self._first_s)
        word = self.step.send.strip()
        self.repeats |= word.isalpha() and len(word) > 1 and word in heard
        for kind in self.step.kinds:
            assert kind.identity is not None
            said = kind.identity.recognise(heard, max(seconds, 1e-3)) if heard else None
            if said is not None:
                self.found.append(self._found(kind.info, said))

    def _found(self, info: FrontEndInfo, said: Recognised) -> Found:
        at = {} if self.baud == info.baud else {"baud": self.baud}
        return Found(info, {**said.options, **at}, said.facts, said.missing)
