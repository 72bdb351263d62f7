"""Which front end is on a port: each driver asks as it always does, and is believed once its samples flow.

A sans-I/O machine like the drivers. What a driver sends to find its device may be heard by another device: see
`docs/front-ends.md` for why no emulated hand moves at it, and why one port is asked and never all of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from myosem_edge.firmware_bridge.frontends import DRIVERS
from myosem_edge.firmware_bridge.frontends.base import FrontEnd, Phase
from myosem_edge.firmware_bridge.frontends.options import options_of

WATCH_S = 1.0  # of a stream, before it is believed
RATE_SHARE = (0.7, 1.4)  # of the nominal rate, over so short a time and with bursts
REJECTED_SHARE = 0.1  # of the bytes: more is another device's stream in which frames are found by chance
ATTEMPT_S = 8.0  # a driver tries three times, and some boards take three seconds to start
SILENT_S = 4.0  # nothing at all has come by then: an Arduino that restarts when its port is opened is back in two


def candidates() -> Iterator[FrontEnd]:
    """Fresh drivers in the order in which they are asked: the surest first, of those that need not be told anything and
    whose questions no hand obeys.
    """
    ready = {kind: kind.detect_rank for kind in DRIVERS if not _has_to_be_told(kind)}
    ranked = [(rank, kind.info.id, kind) for kind, rank in ready.items() if rank is not None]
    for _, _, kind in sorted(ranked, key=lambda each: each[:2]):
        yield kind()


def _has_to_be_told(kind: type[FrontEnd]) -> bool:
    return any(option.required for option in options_of(kind).values())


class Attempt:
    """One driver's attempt at a port. `verdict` is None while it lasts; `why` says why it was not its device."""

    def __init__(self, driver: FrontEnd, now_s: float, limit_s: float = ATTEMPT_S) -> None:
        self.driver = driver
        self.verdict: bool | None = None
        self.why = ""
        self._silent_s, self._until_s = now_s + SILENT_S, now_s + limit_s
        self._heard = False
        self._since_s: float | None = None
        self._samples = self._bytes = self._rejected = 0
        driver.start(now_s)

    def step(self, data: bytes, now_s: float) -> bytes:
        """What has arrived; returns what is to be sent."""
        driver, self._heard = self.driver, self._heard or bool(data)
        samples = sum(len(chunk.samples) for chunk in driver.receive(data, now_s))
        driver.tick(now_s)
        if self._since_s is None and driver.phase is Phase.STREAMING:
            self._since_s, self._rejected = now_s, driver.counters.rejected_bytes
        elif self._since_s is not None:
            self._samples, self._bytes = self._samples + samples, self._bytes + len(data)
        if driver.phase is Phase.FAILED:
            self._end(False, driver.failure or "failed")
        elif self._since_s is not None and now_s - self._since_s >= WATCH_S:
            self._judge(now_s - self._since_s)
        elif now_s >= self._until_s or (now_s >= self._silent_s and not self._heard):
            self._end(False, "no samples" if self._heard else "no answer")
        return driver.to_send()

    def finish(self, now_s: float) -> bytes:
        """What the device is told last: not to stream any more."""
        self.driver.to_send()
        self.driver.stop(now_s)
        return self.driver.to_send()

    def _judge(self, seconds: float) -> None:
        wanted = self.driver.info.rate_hz * seconds
        rejected = self.driver.counters.rejected_bytes - self._rejected
        if not RATE_SHARE[0] * wanted <= self._samples <= RATE_SHARE[1] * wanted:
            self._end(False, f"{self._samples / seconds:.0f} samples a second, not {self.driver.info.rate_hz:g}")
        elif rejected > REJECTED_SHARE * self._bytes:
            self._end(False, f"{rejected} of {self._bytes} bytes are no frames")
        else:
            self._end(True, "")

    def _end(self, verdict: bool, why: str) -> None:
        if self.verdict is None:
            self.verdict, self.why = verdict, why
