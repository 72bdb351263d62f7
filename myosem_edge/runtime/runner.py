"""The thin part of the loop: one thread, one selector over front end, hand and keys, a deadline, and every descriptor.

Nothing here decides anything about the hand. Whatever ends the loop, the hand gets its neutral and its release first,
and only then is the guard told that it is not needed any more.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol

from myosem_edge.clock import Clock
from myosem_edge.errors import DeviceError, MyosemError, RefusedError
from myosem_edge.runtime.buttons import CHIP, Buttons, together
from myosem_edge.runtime.health import Spread
from myosem_edge.runtime.links import Link
from myosem_edge.runtime.loop import FRONT_END, HAND, TICK_S, Beats, Loop, Out
from myosem_edge.runtime.telemetry import Event
from myosem_edge.runtime.watchdog import Notifier
from myosem_edge.runtime.wearer_input import Pressed, WearerInput

FAREWELL_S = 0.2  # for the last frames to leave; a port that takes longer is left to the guard
QUIT, TIME_OVER, ENDED, OVER = "quit", "time over", "ended", "the recording is over"


class RunningGuard(Beats, Protocol):
    """A guard that can be told good-bye; `runtime.guard_process.Guard` can."""

    def close(self) -> int | None: ...

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: None) -> None: ...


class Hears(Protocol):
    """Who is told what happens, and never makes the loop wait; `runtime.telemetry.Telemetry` is."""

    dropped: int

    def send(self, events: Sequence[Event]) -> None: ...


class Signals:
    """While entered, SIGINT, SIGTERM and SIGHUP only leave the first one's `number`: the loop ends at its next cycle.

    After one of them has come, they stay ignored: the process has a good-bye to say, and an exit code to leave.
    """

    CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.number: int | None = None

    def __enter__(self) -> Signals:
        self._before = {number: signal.getsignal(number) for number in self.CAUGHT}
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:  # nohup meant it
                signal.signal(number, self._note)
        return self

    @property
    def interrupted(self) -> bool:
        """Whether it was Ctrl-C."""
        return self.number == signal.SIGINT

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if self.number is None else signal.SIG_IGN)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number


@dataclass
class Runner:
    """A loop and everything it is connected to. Both links are open when `run` is called.

    `start_guard` starts the guard of an open hand port; it is called before the first byte goes there.
    """

    loop: Loop
    front_end: Link
    hand: Link
    wearer: WearerInput
    telemetry: Hears
    notifier: Notifier
    clock: Clock
    start_guard: Callable[[int], RunningGuard]
    # Not epoll: that goes on reporting a closed port for as long as the guard holds its own descriptor of it.
    selector: selectors.BaseSelector = field(default_factory=selectors.PollSelector)
    buttons: Buttons | None = None
    processing: Spread = field(default_factory=Spread)  # last sample byte read -> command byte written
    summary: Event = field(default_factory=dict)
    _guard: RunningGuard | None = None
    _no_buttons: DeviceError | None = None  # why there are none any more
    _watched: dict[str, int] = field(default_factory=dict)

    def run(self, seconds: float | None = None, signals: Signals | None = None) -> str:
        """Cycle until the wearer quits, the time or a recording is over, or a signal came; returns which.

        Raises:
            MyosemError: a device stays away, a part of the program fails again and again, or what came back on the
                hand's port may not be driven (RefusedError).
        """
        assert self.hand.port is not None and self.front_end.port is not None
        signals = signals or Signals()
        try:
            self.loop.guard = self._guard = self.start_guard(self.hand.port.fileno())
            self._watch(FRONT_END, self.front_end.port.fileno())
            self._watch(HAND, self.hand.port.fileno())
            if self.wearer.listening:
                self._watch("wearer", self.wearer.fileno())
            if self.buttons is not None:
                self._watch(CHIP, self.buttons.fileno())
            now_s = self.clock.now_s()
            self._carry_out(self.loop.start(now_s), now_s)
            self.notifier.ready()
            return self._cycles(None if seconds is None else now_s + seconds, signals)
        finally:
            self._finish()

    def _cycles(self, until_s: float | None, signals: Signals) -> str:
        due_s = self.clock.now_s()
        while True:
            ready = {key.fd for key, _ in self.selector.select(max(0.0, due_s - self.clock.now_s()))}
            with self._step("front end port"):
                front_bytes = b""
                front_bytes = self._read(self.front_end)
            # What the delay of a command is counted from.
            now_s = self.clock.now_s()
            with self._step("hand port"):
                hand_bytes = b""
                hand_bytes = self._read(self.hand)
            pressed = Pressed()
            with self._step("keys"):
                pressed = self._pressed(ready, now_s)
            with self._step("buttons"):
                pressed = self._with_buttons(pressed, ready, now_s)
            out = self.loop.cycle(now_s, front_bytes, hand_bytes, pressed.wearer)
            due_s = now_s + TICK_S
            self._carry_out(out, now_s)
            if out.complete:
                self.notifier.feed(now_s)
            if out.end is not None:
                raise out.end
            if self._no_buttons is not None:  # this cycle has sent the neutral and told why
                raise self._no_buttons
            if out.over:
                return OVER
            if pressed.quit:
                return QUIT
            if until_s is not None and now_s >= until_s:
                return TIME_OVER
            if signals.number is not None:
                return ENDED
            for link in (self.hand, self.front_end):
                if link.port is None:
                    with self._step(f"{link.device} port, reopening"):
                        self._reopen(link)

    def _pressed(self, ready: set[int], now_s: float) -> Pressed:
        if self.wearer.fileno() in ready:
            self.wearer.read(now_s)
            if not self.wearer.listening:
                self._forget("wearer")
        return self.wearer.keys.take(now_s)

    def _with_buttons(self, pressed: Pressed, ready: set[int], now_s: float) -> Pressed:
        """With no button to stop it the hand is not driven: the loss is a fault in this very cycle, and the end."""
        if self.buttons is None:
            return pressed
        try:
            return Pressed(together(pressed.wearer, self.buttons.take(self.buttons.fileno() in ready)), pressed.quit)
        except DeviceError as error:
            self._no_buttons = error
            self._forget(CHIP)
            self.buttons.close()
            self.loop.unplugged(CHIP, str(error), now_s)
            return pressed

    def _read(self, link: Link) -> bytes:
        try:
            return link.read()
        except DeviceError as error:
            self._lose(link, error)
            return b""

    def _carry_out(self, out: Out, now_s: float) -> None:
        """The hand comes first; then what can wait."""
        for link, frames in ((self.hand, out.hand_out), (self.front_end, (out.front_out,) if out.front_out else ())):
            with self._step(f"{link.device} port, writing"):
                try:
                    link.write(frames, newest_only=link is self.hand)
                except DeviceError as error:
                    self._lose(link, error)
            if link is self.hand and out.decided and out.commanded:
                self.processing.add(self.clock.now_s() - now_s)
        # A stage of its own name: the events of a cycle are a success of the loop's, not of the process that listens.
        with self._step("log and console"):
            self.telemetry.send(out.events)

    def _lose(self, link: Link, error: DeviceError) -> None:
        self._forget(link.device)
        link.close()
        self.loop.unplugged(link.device, str(error), self.clock.now_s())

    def _reopen(self, link: Link) -> None:
        port = link.reopened(self.clock.now_s())
        if port is None:
            return
        if link is self.hand:
            # The old guard holds a port that is gone; this one must be guarded before it hears a byte.
            if self._guard is not None:
                self._guard.close()
            self.loop.guard = self._guard = None
            try:
                self.loop.guard = self._guard = self.start_guard(port.fileno())
            except BaseException:
                link.close()
                raise
        self._watch(link.device, port.fileno())
        now_s = self.clock.now_s()
        self._carry_out(self.loop.plugged(link.device, now_s), now_s)

    def _finish(self) -> None:
        """Neutral and release to the hand, good-bye to the guard, an end to streaming: each whatever the others do."""
        left = self.hand.port is None
        try:
            self.notifier.stopping()
            now_s = self.clock.now_s()
            out = self.loop.finish(now_s)
            with contextlib.suppress(DeviceError):
                self.hand.write(out.hand_out, newest_only=True)
                left = left or self.hand.drain(FAREWELL_S)
            with contextlib.suppress(DeviceError):
                self.front_end.write((out.front_out,), newest_only=False)
                self.front_end.drain(FAREWELL_S)
            self.summary = self.loop.summary(
                now_s, processing=self.processing.summary(), telemetry_dropped=self.telemetry.dropped
            )
            with contextlib.suppress(MyosemError, BrokenPipeError):  # `lost` is kept, and told by whoever closes it
                self.telemetry.send([*out.events, self.summary])
        finally:
            if self._guard is not None and left:
                self._guard.close()
            elif self._guard is not None:
                self._guard.__exit__(DeviceError, None, None)  # no good-bye: it has work to do
            self.wearer.close()
            if self.buttons is not None:
                self.buttons.close()
            for link in (self.hand, self.front_end):
                link.close()
            self.selector.close()

    def _watch(self, name: str, fd: int) -> None:
        self._forget(name)
        self._watched[name] = fd
        self.selector.register(fd, selectors.EVENT_READ)

    def _forget(self, name: str) -> None:
        fd = self._watched.pop(name, None)
        if fd is not None:
            with contextlib.suppress(KeyError, ValueError, OSError):
                self.selector.unregister(fd)

    @contextlib.contextmanager
    def _step(self, stage: str) -> Iterator[None]:
        """Like a stage of the cycle: what fails makes the next verdict neutral."""
        try:
            yield
        except RefusedError:  # a rule says no, and goes on saying so
            raise
        except Exception as error:
            self.loop.fail(stage, error, self.clock.now_s())
        else:
            self.loop.passed(stage)
