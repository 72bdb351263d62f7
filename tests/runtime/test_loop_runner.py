"""The thin part around the loop, on a virtual clock: which bytes reach which port in which order, and how it ends."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import termios
import tty
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from myosem_edge.clock import VirtualClock
from myosem_edge.errors import DeviceError, MyosemError, RefusedError
from myosem_edge.firmware_bridge.emulators.base import Emulator
from myosem_edge.firmware_bridge.port import SerialPort
from myosem_edge.runtime.links import LONGEST_WAIT_S, Link, Wait
from myosem_edge.runtime.loop import AWAY_S, FRONT_END, HAND, TICK_S
from myosem_edge.runtime.runner import ENDED, QUIT, TIME_OVER, Runner, Signals
from myosem_edge.runtime.telemetry import Telemetry
from myosem_edge.runtime.watchdog import Notifier
from myosem_edge.runtime.wearer_input import WearerInput
from tests.runtime.loop_bench import Bench, FakeGuard

EXISTS = os.devnull  # the name of a port that is there


class FakePort:
    """An emulated device behind something that looks like an open port."""

    def __init__(self, emulator: Emulator, fd: int, story: list[str], clock: VirtualClock) -> None:
        self.emulator, self.fd, self.story, self.clock = emulator, fd, story, clock
        self.waiting_bytes = 0
        self.gone = self.closed = False

    def fileno(self) -> int:
        return self.fd

    def read_available(self) -> bytes:
        self._check()
        return self.emulator.to_send()

    def write_some(self, data: bytes = b"") -> int:
        self._check()
        if data:
            self.story.append(f"write {self.fd}")
            self.emulator.receive(data, self.clock.now_s())
        return len(data)

    def close(self) -> None:
        self.closed = True

    def _check(self) -> None:
        if self.gone:
            raise DeviceError("the device has vanished", where=self.fd)


class FakeSelector(selectors.BaseSelector):
    """Waiting is letting the virtual clock run; `script` acts as time passes."""

    def __init__(self, wait: Callable[[float], list[int]]) -> None:
        self._wait = wait
        self.fds: set[Any] = set()
        self.closed = False

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        assert fileobj not in self.fds
        self.fds.add(fileobj)
        return selectors.SelectorKey(fileobj, fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        self.fds.remove(fileobj)
        return selectors.SelectorKey(fileobj, fileobj, 1, None)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None
        ready = self._wait(timeout)
        return [(selectors.SelectorKey(fd, fd, 1, None), 1) for fd in ready if fd in self.fds]

    def close(self) -> None:
        self.closed = True

    def get_map(self) -> Any:
        return {}


class StoryGuard(FakeGuard):
    def __init__(self, story: list[str], fd: int) -> None:
        super().__init__()
        self.story, self.fd = story, fd
        story.append(f"guard {fd}")

    def close(self) -> int | None:
        self.story.append(f"good-bye {self.fd}")
        return 0

    def __exit__(self, *_: object) -> None:
        self.story.append(f"no good-bye {self.fd}")


class CountingNotifier(Notifier):
    def __init__(self) -> None:
        super().__init__(None)
        self.said: list[str] = []

    def ready(self) -> bool:
        self.said.append("ready")
        return True

    def feed(self, now_s: float | None = None) -> bool:
        self.said.append("fed")
        return True

    def stopping(self) -> bool:
        self.said.append("stopping")
        return True


class RunnerBench(Bench):
    """The bench of the loop with a runner around it. `script` maps a time since start to what happens then."""

    def __init__(self, *, path: str = EXISTS, **options: Any) -> None:
        super().__init__(**options)
        self.loop.guard = None
        self.story: list[str] = []
        self.script: list[tuple[float, Callable[[], object]]] = []
        self.keys_in, self.keys_out = os.pipe()
        self.telemetry_in, telemetry_out = os.pipe()
        self.began_s = self.now_s
        self.ports: dict[str, FakePort] = {}
        self.opened = 0
        self.links = {name: Link(name, path, lambda name=name: self.open(name)) for name in (FRONT_END, HAND)}
        for link in self.links.values():
            link.open()
        self.selector = FakeSelector(self.wait_for)
        self.notifier = CountingNotifier()
        self.refuse_to_open: set[str] = set()
        self.runner = Runner(
            self.loop, self.links[FRONT_END], self.links[HAND], WearerInput(self.keys_in, from_pipe=True),
            Telemetry(telemetry_out), self.notifier, self.clock, lambda fd: StoryGuard(self.story, fd), self.selector,
        )  # fmt: skip

    def open(self, name: str) -> FakePort:
        if name in getattr(self, "refuse_to_open", ()):
            raise DeviceError("still away")
        self.opened += 1
        emulator: Emulator = self.armband if name == FRONT_END else self.hand
        self.ports[name] = FakePort(emulator, 1000 + self.opened, self.story, self.clock)
        return self.ports[name]

    def at(self, seconds: float, action: Callable[[], object]) -> None:
        self.script.append((self.began_s + seconds, action))

    def press(self, keys: bytes) -> None:
        os.write(self.keys_out, keys)

    def vanish(self, name: str) -> None:
        self.ports[name].gone = True

    def wait_for(self, timeout: float) -> list[int]:
        # Samples come every 10 ms and would wake a real selector.
        now_s = self.clock.advance(min(timeout, 0.01))
        for entry in [entry for entry in self.script if entry[0] <= now_s]:
            self.script.remove(entry)
            entry[1]()
        self.armband.tick(now_s)
        self.hand.tick(now_s)
        waiting = os.get_blocking(self.keys_in) and selectors_readable(self.keys_in)
        return [self.keys_in] if waiting else []


def selectors_readable(fd: int) -> bool:
    with selectors.PollSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        return bool(selector.select(0))


@pytest.fixture
def bench() -> RunnerBench:
    return RunnerBench()


def driving(bench: RunnerBench) -> None:
    """Arm after three seconds, make a fist at four."""
    bench.at(3.0, lambda: bench.press(b"a"))
    bench.at(4.0, lambda: setattr(bench.decoder, "action", "fist"))


@pytest.mark.sr("SR-13")
def test_the_guard_comes_before_the_first_byte_and_goes_after_the_last(bench: RunnerBench) -> None:
    driving(bench)
    assert bench.runner.run(seconds=5.0) == TIME_OVER
    hand = bench.ports[HAND].fd
    story = [each for each in bench.story if str(hand) in each]
    assert story[0] == f"guard {hand}" and story[-1] == f"good-bye {hand}" and f"write {hand}" in story
    assert bench.hand.state().grip == "open" and not bench.hand.state().moving, "neutral, then released"
    assert not bench.hand.state().api_mode and not bench.armband.streaming
    assert all(port.closed for port in bench.ports.values()) and bench.selector.closed
    assert any(state.grip == "power" for state in bench.states), "it did close before"
    assert bench.runner.summary["counts"]["arms"] == 1
    assert bench.runner.processing.count > 5 and bench.runner.summary["telemetry_dropped"] == 0


def test_keys_are_read_and_q_ends(bench: RunnerBench) -> None:
    driving(bench)
    bench.at(4.5, lambda: bench.press(b" "))
    bench.at(5.0, lambda: bench.press(b"q"))
    assert bench.runner.run(seconds=60.0) == QUIT
    assert bench.now_s - bench.began_s < 5.1
    assert bench.runner.summary["last"]["status"] == "neutral" and not bench.loop.armed


def test_the_end_of_the_keys_pipe_stops_nothing(bench: RunnerBench) -> None:
    bench.at(0.5, lambda: os.close(bench.keys_out))
    assert bench.runner.run(seconds=1.0) == TIME_OVER
    assert bench.keys_in not in bench.selector.fds


@pytest.mark.sr("SR-15")
def test_only_complete_cycles_feed_the_watchdog(bench: RunnerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench.runner.run(seconds=1.0) == TIME_OVER
    assert bench.notifier.said[0] == "ready" and bench.notifier.said[-1] == "stopping"
    assert bench.notifier.said.count("fed") == bench.loop.counts["cycles"]

    failing = RunnerBench()
    monkeypatch.setattr(failing.runner.telemetry, "send", lambda events: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # the summary, at the end; the loop itself has ended with a reason
        failing.runner.run(seconds=60.0)
    assert failing.now_s - failing.began_s < 1.0 and "fed" not in failing.notifier.said[3:]
    assert failing.story[-1].startswith("good-bye"), "the hand got its neutral all the same"


@pytest.mark.sr("SR-13")
def test_a_hand_that_vanishes_is_opened_again_under_a_new_guard_and_stays_disarmed(bench: RunnerBench) -> None:
    driving(bench)
    bench.at(5.0, lambda: bench.refuse_to_open.add(HAND))
    bench.at(5.0, lambda: bench.vanish(HAND))
    bench.at(8.0, bench.refuse_to_open.clear)
    first = bench.ports[HAND].fd
    closing: list[int] = []
    bench.at(20.0, lambda: closing.append(bench.hand.state().speed_byte))
    assert bench.runner.run(seconds=20.0) == TIME_OVER
    second = bench.ports[HAND].fd
    assert second != first
    order = [each for each in bench.story if each in (f"guard {first}", f"good-bye {first}", f"guard {second}")]
    assert order == [f"guard {first}", f"good-bye {first}", f"guard {second}"]
    again = [state for state in bench.states if state.time_s > bench.began_s + 8.0]
    assert again[0].speed_byte == 0 and not again[0].moving, "the first frame on the new port is neutral"
    after = bench.story[bench.story.index(f"guard {second}") :]
    assert after.count(f"write {second}") > 50, "it is asked for feedback again"
    assert not bench.loop.armed
    assert not any(
        state.grip == "power" and state.time_s > bench.began_s + 6.0 and state.moving for state in bench.states
    )
    assert bench.loop.counts["reconnects"] == 1


@pytest.mark.sr("SR-19")
@pytest.mark.parametrize("shown", [True, False])
def test_with_nobody_to_tell_the_status_to_the_loop_ends_in_neutral(bench: RunnerBench, shown: bool) -> None:
    """Either the listener is gone, or whoever reads what it shows."""
    shown_in, shown_out = os.pipe()
    listener_in, listener_out = os.pipe()
    bench.runner.telemetry = telemetry = Telemetry(listener_out, shown_fd=shown_out)
    driving(bench)
    gone_s = 4.8
    neutral: list[bool] = []
    bench.at(gone_s - 0.01, lambda: neutral.append(bench.hand.state().grip == "power" and bench.hand.state().moving))
    bench.at(gone_s, lambda: os.close(shown_in if shown else listener_in))
    with pytest.raises(MyosemError, match="log and console failed 5 times"):
        bench.runner.run(seconds=60.0)
    assert neutral == [True] and bench.now_s - bench.began_s < gone_s + 8 * TICK_S
    assert isinstance(telemetry.lost, BrokenPipeError if shown else MyosemError)
    assert not bench.hand.state().moving and bench.runner.summary["last"] == {"status": "fault", "reason": "fault"}
    assert bench.story[-1].startswith("good-bye"), "the hand got its neutral"
    for fd in (shown_out, listener_in if shown else shown_in):
        os.close(fd)


def test_a_port_that_may_not_be_driven_any_more_ends_the_loop(bench: RunnerBench) -> None:
    def refuse() -> Any:
        raise RefusedError("emulated hands only")

    driving(bench)
    bench.at(5.0, lambda: setattr(bench.links[HAND], "_open_port", refuse))
    bench.at(5.0, lambda: bench.vanish(HAND))
    with pytest.raises(RefusedError, match="emulated hands only"):
        bench.runner.run(seconds=60.0)
    assert bench.opened == 2 and bench.now_s - bench.began_s < 7.0


def test_a_front_end_that_vanishes_is_opened_again(bench: RunnerBench) -> None:
    driving(bench)
    bench.at(5.0, lambda: bench.vanish(FRONT_END))
    assert bench.runner.run(seconds=15.0) == TIME_OVER
    assert bench.loop.counts["reconnects"] == 1 and not bench.loop.armed
    assert bench.runner.summary["front_end"]["samples"] > 500, "samples flow again"


def test_a_port_that_stays_away_is_an_error_with_its_exit_code(tmp_path: Path) -> None:
    bench = RunnerBench(path=str(tmp_path / "unplugged"))
    bench.at(3.0, lambda: bench.vanish(HAND))
    with pytest.raises(DeviceError, match="stays away") as error:
        bench.runner.run(seconds=200.0)
    assert error.value.exit_code == 6 and bench.opened == 2
    assert AWAY_S <= bench.now_s - bench.began_s - 3.0 <= AWAY_S + 0.1


def test_a_hand_that_cannot_be_guarded_hears_nothing_and_is_away(bench: RunnerBench) -> None:
    def refuse(fd: int) -> Any:
        raise DeviceError("the guard process did not come up")

    bench.at(3.0, lambda: setattr(bench.runner, "start_guard", refuse))
    bench.at(3.0, lambda: bench.vanish(HAND))
    with pytest.raises(DeviceError, match="the hand stays away"):
        bench.runner.run(seconds=200.0)
    first = 1002
    assert bench.opened > 3 and not any(int(each.split()[-1]) > first for each in bench.story)


def test_an_exception_from_nowhere_still_ends_in_neutral(bench: RunnerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    driving(bench)

    def broken(*arguments: object) -> None:
        raise KeyboardInterrupt

    bench.at(4.6, lambda: monkeypatch.setattr(bench.loop, "cycle", broken))
    with pytest.raises(KeyboardInterrupt):
        bench.runner.run(seconds=60.0)
    assert bench.hand.state().speed_byte == 0 and not bench.hand.state().moving
    assert bench.story[-1].startswith("good-bye")


@pytest.mark.sr("SR-13")
def test_where_neutral_cannot_be_sent_the_guard_is_not_told_good_bye(bench: RunnerBench) -> None:
    driving(bench)
    bench.at(4.9, lambda: setattr(bench.ports[HAND], "waiting_bytes", 7))  # it takes nothing any more
    bench.runner.run(seconds=5.0)
    assert bench.story[-1].startswith("no good-bye")


class TestSignals:
    @pytest.mark.parametrize("number", Signals.CAUGHT)
    def test_they_end_the_loop_after_its_cycle(self, bench: RunnerBench, number: int) -> None:
        driving(bench)
        before = {each: signal.getsignal(each) for each in Signals.CAUGHT}
        try:
            with Signals() as signals:
                bench.at(4.6, lambda: os.kill(os.getpid(), number))
                assert bench.runner.run(60.0, signals) == ENDED
                os.kill(os.getpid(), signal.SIGTERM)
            assert signals.number == number, "the first one is the reason"
            for each in Signals.CAUGHT:
                os.kill(os.getpid(), each)  # impatience: the good-bye goes on
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
        assert signals.interrupted == (number == signal.SIGINT)
        assert bench.now_s - bench.began_s < 4.6 + 2 * TICK_S
        assert not bench.hand.state().moving

    def test_without_any_everything_is_as_before(self) -> None:
        before = [signal.getsignal(each) for each in Signals.CAUGHT]
        with Signals():
            assert [signal.getsignal(each) for each in Signals.CAUGHT] != before
        assert [signal.getsignal(each) for each in Signals.CAUGHT] == before

    def test_a_hang_up_that_is_ignored_stays_ignored(self) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with Signals() as signals:
                os.kill(os.getpid(), signal.SIGHUP)
                assert signals.number is None
        finally:
            signal.signal(signal.SIGHUP, before)


class TestLinks:
    def test_waits_double_up_to_a_bound(self) -> None:
        wait, tries_s = Wait(), []
        for tick in range(4000):
            if wait.due(tick * 0.01):
                tries_s.append(tick * 0.01)
        gaps_s = [after - before for before, after in pairwise(tries_s)]
        assert tries_s[0] == pytest.approx(0.5) and max(gaps_s) <= LONGEST_WAIT_S + 0.02
        assert gaps_s[:3] == pytest.approx([1.0, 2.0, 4.0], abs=0.02)

    @pytest.fixture
    def pair(self) -> Iterator[tuple[int, Link]]:
        master, slave = os.openpty()
        tty.setraw(slave)
        link = Link(HAND, os.ttyname(slave), lambda: SerialPort(os.ttyname(slave), 115200))
        link.open()
        yield master, link
        link.close()
        os.close(master)
        os.close(slave)

    @pytest.mark.sr("SR-13")
    def test_what_a_blocked_port_did_not_take_is_given_up_for_the_newest(self, pair: tuple[int, Link]) -> None:
        master, link = pair
        assert link.port is not None
        for number in range(20_000):
            link.write((b"<%05d>" % number,), newest_only=False)
            if link.port.waiting_bytes:
                break
        assert link.port.waiting_bytes, "the port is full"
        link.write((b"<newest>",), newest_only=True)
        assert link.port.waiting_bytes == 0 and link.drain(0.0)
        os.set_blocking(master, False)
        seen = b""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(master, 1 << 20):
                seen += data
        # What had reached the other end is out of reach; what still waited in the queue is gone.
        assert seen.endswith(b"<newest>") and seen.count(b"<0") < number

    def test_a_closed_link_reads_nothing_and_drains_never(self) -> None:
        link = Link(HAND, "/nowhere", lambda: 1 / 0)  # type: ignore[arg-type,return-value]
        link.write((b"x",), newest_only=True)
        assert link.read() == b"" and not link.drain(1.0)
        assert link.reopened(0.0) is None and link.reopened(10.0) is None

    def test_flushing_a_port_that_cannot_be_flushed_is_no_error(self, bench: RunnerBench) -> None:
        port = bench.ports[HAND]
        port.waiting_bytes = 3
        with pytest.raises((OSError, termios.error)):
            termios.tcflush(port.fileno(), termios.TCOFLUSH)
        bench.links[HAND].write((bench.driver.poll(),), newest_only=True)
        assert bench.story[-1] == f"write {port.fd}"
