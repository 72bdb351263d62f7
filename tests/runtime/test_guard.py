"""The guard on real pipes, pseudo-terminals and processes: order and content are asserted, times only loosely."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from myosem_edge.errors import DeviceError
from myosem_edge.runtime import guard as guard_module
from myosem_edge.runtime.guard import CAME_BACK, LOOP_GONE, NEVER_NEEDED, watch
from myosem_edge.runtime.guard_process import Guard

ROOT = Path(guard_module.__file__).parents[2]
NEUTRAL, HALT, RELEASE = b"<N>", b"<H>", b"<R>"
PATIENCE_S = 20.0  # a loaded machine is slow, never wrong

# A loop in miniature: it moves the hand and beats every 5 ms. A line on standard input makes it end politely.
LOOP = """
import os, select, sys, tty
from myosem_edge.runtime.guard_process import Guard
hand = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
guard = Guard.start(hand, b"<N>", release=b"<R>", timeout_ms=int(sys.argv[2]), hold_ms=int(sys.argv[3]))
print(guard.process.pid, flush=True)
while not select.select((sys.stdin,), (), (), 0.005)[0]:
    os.write(hand, b"m")
    guard.beat()
print(guard.close(), flush=True)
"""


class Hand:
    """The hand's end of a pseudo-terminal: collects what arrives."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.port = os.ttyname(self.slave)
        self.seen = b""

    def read_until(self, pattern: bytes) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not re.search(pattern, self.seen):
            assert time.monotonic() < until_s, (pattern, self.seen[-200:])
            if select.select((self.master,), (), (), 0.1)[0]:
                self.seen += os.read(self.master, 4096)

    def read_to_the_end(self) -> None:
        """Until nobody has the port open any more: the guard has exited."""
        os.close(self.slave)
        self.slave = -1
        with contextlib.suppress(OSError):
            while data := os.read(self.master, 4096):
                self.seen += data

    def close(self) -> None:
        for handle in (self.master, self.slave):
            if handle >= 0:
                os.close(handle)


@pytest.fixture
def hand() -> Iterator[Hand]:
    hand = Hand()
    yield hand
    hand.close()


@contextlib.contextmanager
def running_loop(
    hand: Hand, timeout_ms: int = 10_000, hold_ms: int = 400
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(
        [sys.executable, "-c", LOOP, hand.port, str(timeout_ms), str(hold_ms)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        guard_pid = int(process.stdout.readline())
        hand.read_until(rb"m{5}")
        try:
            yield process, guard_pid
        finally:
            process.kill()


@pytest.mark.sr("SR-13")
class TestSR13LoopDies:
    def test_a_killed_loop_leaves_the_hand_neutral_then_released(self, hand: Hand) -> None:
        with running_loop(hand) as (process, _):
            process.kill()
            process.wait()
            hand.read_to_the_end()
        assert re.fullmatch(rb"m+(<N>){2,}<R>", hand.seen), hand.seen[-200:]

    def test_a_stuck_loop_does_too_and_is_let_back_in(self, hand: Hand) -> None:
        with running_loop(hand, timeout_ms=400, hold_ms=10_000) as (process, _):
            process.send_signal(signal.SIGSTOP)
            hand.read_until(rb"m<N>")
            process.send_signal(signal.SIGCONT)
            hand.read_until(rb"<N>m{5}")
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write("end\n")
            process.stdin.flush()
            assert int(process.stdout.readline()) == CAME_BACK
            hand.read_to_the_end()
        assert re.fullmatch(rb"m+((<N>)+m+)+", hand.seen), "nothing after the good-bye"

    def test_a_good_bye_is_silent(self, hand: Hand) -> None:
        with running_loop(hand) as (process, _):
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write("end\n")
            process.stdin.flush()
            assert int(process.stdout.readline()) == NEVER_NEEDED
            hand.read_to_the_end()
        assert re.fullmatch(rb"m+", hand.seen)

    @pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_signals_do_not_take_the_guard_away(self, hand: Hand, sent: signal.Signals) -> None:
        with running_loop(hand) as (process, guard_pid):
            os.kill(guard_pid, sent)
            process.kill()
            hand.read_to_the_end()
        assert re.fullmatch(rb"m+(<N>){2,}<R>", hand.seen)


class Watched:
    """`watch` in a thread of this process, on pipes."""

    def __init__(self, *, timeout_s: float = 0.05, hold_s: float = 0.2, room: bool = True) -> None:
        self.hand, self.hand_fd = os.pipe()
        heartbeat_fd, self.heart = os.pipe()
        os.set_blocking(self.hand_fd, False)
        self.filling = 0
        if not room:
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.filling += os.write(self.hand_fd, b"m" * 4096)
        self.codes: list[int] = []

        def run() -> None:
            self.codes.append(watch(self.hand_fd, heartbeat_fd, (NEUTRAL, HALT, RELEASE), timeout_s, hold_s, 0.02))
            os.close(heartbeat_fd)

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def end(self) -> tuple[int, bytes]:
        """Exit code and everything that the hand got."""
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        os.close(self.hand_fd)
        with os.fdopen(self.hand, "rb") as hand:
            return self.codes[0], hand.read()


@pytest.mark.sr("SR-13")
class TestSR13Watch:
    def test_end_of_file_before_the_first_beat(self) -> None:
        watched = Watched(hold_s=0.5)
        os.close(watched.heart)
        code, sent = watched.end()
        assert code == LOOP_GONE
        assert re.fullmatch(rb"(<N>){2,26}<R>", sent)

    @pytest.mark.sr("SR-14")
    @pytest.mark.parametrize(("beats", "expected"), [(b"..l", b"<H>"), (b"ll.", b"<N>")])
    def test_a_locked_hand_is_halted_and_the_newest_beat_says_whether_it_is(
        self, beats: bytes, expected: bytes
    ) -> None:
        watched = Watched(timeout_s=PATIENCE_S, hold_s=0.1)
        os.write(watched.heart, beats)
        os.close(watched.heart)
        code, sent = watched.end()
        assert code == LOOP_GONE
        assert re.fullmatch(rb"(" + expected + rb")+<R>", sent)

    def test_silence_counts_from_the_first_beat(self) -> None:
        watched = Watched(timeout_s=0.02)
        assert not select.select((watched.hand,), (), (), 0.2)[0], "nothing is due before it"
        beaten_s = time.monotonic()
        os.write(watched.heart, b".")
        assert select.select((watched.hand,), (), (), PATIENCE_S)[0]
        assert time.monotonic() - beaten_s >= 0.02
        code, sent = watched.end()
        os.close(watched.heart)
        assert code == LOOP_GONE and re.fullmatch(rb"(<N>)+<R>", sent)

    def test_good_bye_among_beats(self) -> None:
        watched = Watched(timeout_s=PATIENCE_S)
        os.write(watched.heart, b"...q")
        assert watched.end() == (NEVER_NEEDED, b"")
        os.close(watched.heart)

    def test_it_stands_back_for_a_loop_that_returns(self) -> None:
        watched = Watched(timeout_s=0.02, hold_s=PATIENCE_S)
        os.write(watched.heart, b".")
        assert select.select((watched.hand,), (), (), PATIENCE_S)[0]
        os.write(watched.heart, b".q")
        code, sent = watched.end()
        os.close(watched.heart)
        assert code == CAME_BACK
        assert re.fullmatch(rb"(<N>)+", sent), "no release: the loop has the hand"

    def test_a_full_port_is_waited_for(self) -> None:
        watched = Watched(hold_s=0.6, room=False)
        os.close(watched.heart)
        time.sleep(0.1)  # the first attempts meet a full port
        drained = os.read(watched.hand, watched.filling)
        code, sent = watched.end()
        assert code == LOOP_GONE
        assert re.fullmatch(rb"m*(<N>)+<R>", drained[-1:] + sent)

    def test_a_hand_that_vanished_is_no_reason_to_crash(self) -> None:
        watched = Watched()
        os.close(watched.hand)
        watched.hand, spare = os.pipe()
        os.close(watched.heart)
        watched.thread.join(PATIENCE_S)
        os.close(spare)
        assert watched.end() == (LOOP_GONE, b"")


@pytest.mark.sr("SR-13")
class TestSR13LoopsEnd:
    @pytest.fixture
    def port(self) -> Iterator[int]:
        reading, writing = os.pipe()
        yield writing
        os.close(reading)
        os.close(writing)

    def test_beats_reach_a_living_guard_only(self, port: int) -> None:
        guard = Guard.start(port, NEUTRAL, timeout_ms=10_000)
        assert guard.beat()
        guard.process.kill()
        guard.process.wait()
        assert not guard.beat()
        assert guard.close() == -signal.SIGKILL
        assert not guard.beat()
        assert guard.close() == -signal.SIGKILL

    def test_a_guard_that_does_not_listen_is_as_good_as_gone(self, port: int) -> None:
        guard = Guard.start(port, NEUTRAL, timeout_ms=10_000)
        guard.process.send_signal(signal.SIGSTOP)
        beats = 0
        while guard.beat():
            beats += 1
            assert beats < 1_000_000
        guard.process.send_signal(signal.SIGCONT)
        guard.process.kill()
        guard.close()

    def test_leaving_the_block_says_good_bye(self, port: int) -> None:
        with Guard.start(port, NEUTRAL) as guard:
            assert guard.beat()
        assert guard.process.returncode in (NEVER_NEEDED, CAME_BACK)

    def test_a_loop_that_raises_leaves_the_guard_to_its_work(self) -> None:
        reading, writing = os.pipe()
        with pytest.raises(RuntimeError), Guard.start(writing, NEUTRAL, release=RELEASE, hold_ms=100) as guard:
            raise RuntimeError("a defect")
        assert guard.process.wait(PATIENCE_S) == LOOP_GONE
        assert not guard.beat()
        os.close(writing)
        with os.fdopen(reading, "rb") as hand:
            assert re.fullmatch(rb"(<N>)+<R>", hand.read())

    @pytest.mark.parametrize(("program", "says"), [("/nowhere/python", "cannot be started"), ("/bin/false", "come up")])
    def test_a_guard_that_does_not_start_is_an_error(
        self, port: int, monkeypatch: pytest.MonkeyPatch, program: str, says: str
    ) -> None:
        monkeypatch.setattr(sys, "executable", program)
        with pytest.raises(DeviceError, match=says):
            Guard.start(port, NEUTRAL)

    def test_it_is_small_and_needs_only_the_standard_library(self) -> None:
        text = Path(guard_module.__file__).read_text(encoding="utf-8")
        assert len(text.splitlines()) < 100
        imported = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(text))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in ([node.module or "."] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
        }
        assert imported <= sys.stdlib_module_names
