"""What front ends have in common that are told to stream and then send frames: the start, silence, stalls, chunks.

A device is a list of steps, a reader of frames and a decoder of frames; everything that happens in time is here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from myosem_edge.firmware_bridge.frontends.base import Chunk, Counters, FrontEnd, Phase
from myosem_edge.firmware_bridge.frontends.clockwatch import ClockWatch

ATTEMPTS = 3  # of the whole start; a board that was just plugged in may sleep through the first
MOST_TEXT_BYTES = 4096  # of an answer; the longest known is a dump of registers, about 1.5 kB


class Reader(Protocol):
    """Finds whole frames in any cut of a stream, and never raises on garbage."""

    @property
    def rejected_bytes(self) -> int: ...

    @property
    def resyncs(self) -> int: ...

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        """Frames that are complete now, each with how many are known to be missing right before it."""

    def forget(self) -> None:
        """The stream begins anew: what waits is rejected, and the next frame follows no other."""


@dataclass(frozen=True)
class Step:
    """One thing to say to the device.

    `answer` ends its reply. Without one nothing is expected, and the next thing is said after `limit_s`: what arrives
    meanwhile belongs to an earlier life of the device.
    """

    send: bytes
    limit_s: float
    answer: bytes | None = None
    failure: str = ""  # for a human, if the answer never comes although the device has answered before


class StreamingFrontEnd(FrontEnd):
    """A front end whose stream is frames of `samples_per_frame` samples.

    A stalled device is started again without being asked; the samples missing meanwhile are estimated from the clock,
    so that sample counts stay close to time.
    """

    samples_per_frame = 1
    first_frame_s = 3.0  # from the last step to the first frame
    stall_s = 2.0
    clock_tolerance_samples: float  # the smallest loss that frames cannot show is twice this
    silent: str  # one sentence each for a human: no byte ever came
    foreign: str  # bytes come, but no frame

    def __init__(self) -> None:
        super().__init__()
        self._deadline_s = self._last_frame_s = 0.0
        self._heard_bytes = self._next_sample = self._attempt = 0
        self._gap_since_s: float | None = None
        self._reset()

    @abstractmethod
    def _new_reader(self) -> Reader: ...

    @abstractmethod
    def _decode(self, frames: Sequence[bytes]) -> np.ndarray:
        """Frames that follow one another as float32 `(len(frames) * samples_per_frame, channels)`."""

    def _start_steps(self) -> list[Step]:
        """What makes the device stream; nothing, if it streams by itself."""
        return []

    def _stop_bytes(self) -> bytes:
        return b""

    def _heard(self, step: Step, answer: bytes) -> str | None:
        """Learn from an answer, or say in one sentence why it ends the start. May put steps before the others."""
        return None

    def _no_frames(self) -> str:
        """Why, in one sentence, no frame was found in what arrives."""
        return self.foreign

    def _lead_off(self, frames: Sequence[bytes]) -> int:
        """One bit per channel whose electrode is off, from devices that measure it."""
        return 0

    def start(self, now_s: float) -> None:
        if self.phase in (Phase.CONNECTING, Phase.STREAMING):
            return
        self._outgoing.clear()
        self.counters = Counters()
        self.failure = None
        self.facts.clear()
        self._reset()
        self._begin(now_s)

    def stop(self, now_s: float) -> None:
        if self.phase in (Phase.CONNECTING, Phase.STREAMING):
            self._outgoing += self._stop_bytes()
        self._steps.clear()
        self.phase = Phase.IDLE

    def receive(self, data: bytes, now_s: float) -> list[Chunk]:
        if self.phase not in (Phase.CONNECTING, Phase.STREAMING):
            return []
        self._heard_bytes += len(data)
        if self._steps:
            self._take_answer(data, now_s)
            return []
        chunks: list[Chunk] = []
        run: list[bytes] = []  # frames that follow one another without a gap
        lost = 0
        for frame, missing in self._reader.feed(data):
            if missing and run:
                chunks.append(self._chunk(run, lost, now_s))
                run = []
            if not run:
                lost = missing * self.samples_per_frame + self._missing_by_restart(now_s)
            run.append(frame)
            self.phase = Phase.STREAMING
            self._attempt = 0
            self._last_frame_s = now_s
        if run:
            chunks.append(self._chunk(run, lost, now_s))
            self._clock.check(self._next_sample, now_s, self.counters)
        self.counters.rejected_bytes = self._reader.rejected_bytes
        self.counters.resyncs = self._reader.resyncs
        return chunks

    def tick(self, now_s: float) -> None:
        if self.phase is Phase.STREAMING and now_s - self._last_frame_s > self.stall_s:
            self._gap_since_s = self._last_frame_s
            self.counters.note("stalls")
            self._begin(now_s)
        elif self.phase is Phase.CONNECTING and now_s >= self._deadline_s:
            if self._steps and self._steps[0].answer is None:
                self._step_done(now_s)
            else:
                self._attempt_failed(now_s)

    def _reset(self) -> None:
        self._reader = self._new_reader()
        self._clock = ClockWatch(self.info.rate_hz, self.clock_tolerance_samples)
        self._steps: deque[Step] = deque()
        self._text = bytearray()
        self._heard_bytes = self._next_sample = self._attempt = 0
        self._answered = False
        self._gap_since_s = None

    def _begin(self, now_s: float) -> None:
        self.phase = Phase.CONNECTING
        self._attempt += 1
        if self._attempt > 1:
            self.counters.note("retries")
        self._reader.forget()
        self._steps = deque(self._start_steps())
        self._go_on(now_s)

    def _go_on(self, now_s: float) -> None:
        self._text.clear()
        self._deadline_s = now_s + self.first_frame_s
        while self._steps:
            step = self._steps[0]
            self._outgoing += step.send
            if step.answer is not None or step.limit_s:
                self._deadline_s = now_s + step.limit_s
                return
            self._steps.popleft()

    def _step_done(self, now_s: float) -> None:
        self._steps.popleft()
        self._go_on(now_s)

    def _take_answer(self, data: bytes, now_s: float) -> None:
        step = self._steps[0]
        if step.answer is None:
            return
        self._text += data
        end = self._text.find(step.answer)
        if end < 0:
            del self._text[: max(0, len(self._text) - MOST_TEXT_BYTES)]
            return
        self._answered = True
        answer = bytes(self._text[:end])
        self._steps.popleft()
        failure = self._heard(step, answer)
        if failure is not None:
            self._fail(failure)
        else:
            self._go_on(now_s)

    def _attempt_failed(self, now_s: float) -> None:
        if self._attempt < ATTEMPTS:
            self._begin(now_s)
        elif not self._heard_bytes:
            self._fail(self.silent)
        elif self._steps and self._answered:
            self._fail(self._steps[0].failure)
        elif self._steps:
            self._fail(self.foreign)
        else:
            self._fail(self._no_frames())

    def _fail(self, failure: str) -> None:
        self._outgoing += self._stop_bytes()
        self._steps.clear()
        self.phase = Phase.FAILED
        self.failure = failure

    def _missing_by_restart(self, now_s: float) -> int:
        """Samples that a stall has cost, by the clock, when the first frame after it arrives."""
        if self._gap_since_s is None:
            return 0
        missing = round((now_s - self._gap_since_s) * self.info.rate_hz) - self.samples_per_frame
        self._gap_since_s = None
        return max(self.samples_per_frame, missing)

    def _chunk(self, run: list[bytes], lost: int, now_s: float) -> Chunk:
        samples = self._decode(run)
        first = self._next_sample + lost
        self._next_sample = first + len(samples)
        self.counters.frames += len(run)
        self.counters.samples += len(samples)
        self.counters.lost_samples += lost
        return Chunk(samples, first, now_s, lost, self._lead_off(run))
