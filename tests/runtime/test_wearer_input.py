"""Keys become stop, open, arm and quit; the terminal is always put back."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge.runtime.gate import Wearer
from myosem_edge.runtime.wearer_input import ARM_ALONE_S, OPEN_HOLD_S, READ_BYTES, Keys, Pressed, WearerInput


class TestKeys:
    @pytest.mark.parametrize(
        ("typed", "expected"),
        [
            (b" ", Pressed(Wearer(stop=True))),
            (b"s", Pressed(Wearer(stop=True))),
            (b"a", Pressed(Wearer(arm=True))),
            (b"o", Pressed(Wearer(open=True))),
            (b"q", Pressed(quit=True)),
            (b"a ", Pressed(Wearer(stop=True))),
            (b"aaa", Pressed(Wearer(arm=True))),
            (b"l", Pressed(Wearer(lock=True))),
            (b"lll", Pressed(Wearer(lock=True))),
            (b"la", Pressed()),
            (b"l\n", Pressed()),
            (b"\x1b[l", Pressed()),
            (b"l ", Pressed(Wearer(stop=True))),
            (b"lo", Pressed(Wearer(open=True))),
            (b"ao", Pressed(Wearer(open=True))),
            (b"oa", Pressed(Wearer(open=True))),
            (b"ba", Pressed()),
            (b"a\n", Pressed()),
            (b"q\x1b", Pressed(quit=True)),
            (b"\x1b[a", Pressed()),
            (b"\x1bOoq", Pressed()),
            (b"\x1b[3 q", Pressed(Wearer(stop=True))),
            (b"o\x1b[s", Pressed(Wearer(stop=True))),
            (b"o ", Pressed(Wearer(stop=True))),
            (b"AOSQxyz\x1b[A\r\n\x00\xff", Pressed()),
        ],
    )
    def test_what_was_typed_is_what_the_wearer_wants(self, typed: bytes, expected: Pressed) -> None:
        keys = Keys()
        keys.feed(typed, 10.0)
        assert keys.take(10.0) == expected

    def test_stop_arm_and_lock_are_handed_out_once(self) -> None:
        keys = Keys()
        for now_s, typed in ((10.0, b"s"), (11.0, b"a"), (12.0, b"l")):
            keys.feed(typed, now_s)
            assert keys.take(now_s) != Pressed()
            assert keys.take(now_s) == Pressed()

    @pytest.mark.sr("SR-12")
    def test_open_is_held_as_long_as_a_slow_hand_takes(self) -> None:
        keys = Keys()
        keys.feed(b"o", 10.0)
        assert keys.take(10.0 + OPEN_HOLD_S - 0.01).wearer.open
        assert not keys.take(10.0 + OPEN_HOLD_S).wearer.open
        assert not keys.take(10.0).wearer.open, "over is over"

    @pytest.mark.sr("SR-01")
    @pytest.mark.parametrize("before", [b"s", b"\x1b[", b"x" * READ_BYTES])
    def test_arming_is_typed_alone_not_pasted_in_pieces(self, before: bytes) -> None:
        keys = Keys()
        keys.feed(before, 10.0)
        keys.take(10.0)
        keys.feed(b"a", 10.0 + 0.9 * ARM_ALONE_S)
        assert not keys.take(10.1).wearer.arm
        keys.feed(b"a", 10.0 + 1.1 * ARM_ALONE_S)
        assert keys.take(10.2).wearer.arm

    @pytest.mark.sr("SR-01")
    @given(st.binary(max_size=40))
    def test_nothing_but_the_arming_key_arms(self, typed: bytes) -> None:
        keys = Keys()
        keys.feed(typed, 10.0)
        assert keys.take(10.0).wearer.arm == (set(typed) == {ord("a")})

    def test_quit_stays(self) -> None:
        keys = Keys()
        keys.feed(b"q", 10.0)
        assert keys.take(10.0).quit and keys.take(11.0).quit

    @pytest.mark.sr("SR-12")
    @given(st.binary(max_size=40), st.lists(st.integers(0, 40), max_size=5))
    def test_no_typing_hides_a_stop_and_none_stops_and_arms_at_once(self, typed: bytes, cuts: list[int]) -> None:
        keys = Keys()
        places = sorted({0, len(typed), *(min(cut, len(typed)) for cut in cuts)})
        for begin, end in pairwise(places):
            keys.feed(typed[begin:end], 10.0)
            wearer = keys.take(10.0).wearer
            assert wearer.stop == any(key in typed[begin:end] for key in b" s")
            assert sum((wearer.stop, wearer.arm)) <= 1 and sum((wearer.stop, wearer.open)) <= 1


class TestPipe:
    @pytest.fixture
    def ends(self) -> Iterator[tuple[int, int]]:
        reading, writing = os.pipe()
        yield reading, writing
        for fd in (reading, writing):
            try:
                os.close(fd)
            except OSError:
                continue

    def test_keys_come_through(self, ends: tuple[int, int]) -> None:
        reading, writing = ends
        with WearerInput(reading, from_pipe=True) as wearer:
            assert wearer.fileno() == reading
            os.write(writing, b"a")
            wearer.read(10.0)
            assert wearer.keys.take(10.0).wearer.arm

    @pytest.mark.sr("SR-01")
    def test_nobody_asked_for_a_pipe(self, ends: tuple[int, int]) -> None:
        wearer = WearerInput(ends[0])
        assert not wearer.listening and wearer.fileno() == -1
        os.write(ends[1], b"a")
        wearer.read(10.0)
        assert wearer.keys.take(10.0) == Pressed()

    def test_its_end_is_no_stop(self, ends: tuple[int, int]) -> None:
        reading, writing = ends
        os.close(writing)
        wearer = WearerInput(reading, from_pipe=True)
        wearer.read(10.0)
        assert not wearer.listening and wearer.fileno() == -1
        assert wearer.keys.take(10.0) == Pressed()
        wearer.read(10.0)

    def test_nothing_to_read_is_no_end(self, ends: tuple[int, int]) -> None:
        reading, _ = ends
        os.set_blocking(reading, False)
        wearer = WearerInput(reading, from_pipe=True)
        wearer.read(10.0)
        assert wearer.listening

    def test_a_service_has_no_keys(self) -> None:
        with open(os.devnull) as nothing:  # noqa: PTH123  # the descriptor of a device, not a file to read
            assert not WearerInput(nothing.fileno(), from_pipe=True).listening
        assert not WearerInput(-1, from_pipe=True).listening


# A child whose controlling terminal is the pseudo-terminal under test; it ends in the way its argument names.
CHILD = """
import os, signal, sys, termios
from myosem_edge.runtime.wearer_input import WearerInput
how = sys.argv[1]
if how == "hang up":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
wearer = WearerInput(0)
lflag = termios.tcgetattr(0)[3]
os.write(1, b"raw\\n" if wearer.listening and not lflag & (termios.ICANON | termios.ECHO) else b"cooked\\n")
wearer.read(1.0)
pressed = wearer.keys.take(1.0).wearer
if how == "exit":
    sys.exit(0)
if how == "exception":
    raise RuntimeError("on purpose")
if how == "hang up":
    os.write(int(sys.argv[2]), b"stop" if pressed.stop and not wearer.listening else b"nothing")
"""


class TestTerminal:
    def run(self, how: str) -> tuple[int, subprocess.Popen[bytes], list[object], int]:
        master, slave = pty.openpty()
        before = termios.tcgetattr(slave)
        reading, writing = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, how, str(writing)],
            stdin=slave, stdout=slave, stderr=subprocess.DEVNULL, pass_fds=(writing,),
            start_new_session=True, preexec_fn=lambda: __import__("fcntl").ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(writing)
        seen = b""
        while b"\n" not in seen:
            seen += os.read(master, 100)
        assert b"raw" in seen
        if how == "hang up":
            os.close(slave)
            os.close(master)
            return reading, process, before, -1
        os.write(master, b"s")
        return reading, process, before, slave

    @pytest.mark.parametrize("how", ["exit", "exception"])
    def test_it_is_put_back_however_the_program_ends(self, how: str) -> None:
        reading, process, before, slave = self.run(how)
        process.wait(20)
        assert termios.tcgetattr(slave) == before
        assert process.returncode == (1 if how == "exception" else 0)
        os.close(reading)
        os.close(slave)

    @pytest.mark.sr("SR-12")
    def test_a_hang_up_is_a_stop(self) -> None:
        reading, process, _, _ = self.run("hang up")
        assert os.read(reading, 100) == b"stop"
        process.wait(20)
        os.close(reading)

    def test_ctrl_z_and_ctrl_backslash_do_nothing_and_ctrl_c_still_reaches_it(self) -> None:
        master, slave = pty.openpty()
        child = (
            "import os, signal, sys, termios\n"
            "from myosem_edge.runtime.wearer_input import WearerInput\n"
            "wearer = WearerInput(0)\n"
            "os.write(1, b'ready\\n')\n"
            "while True: wearer.read(1.0)\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", child], stdin=slave, stdout=slave, stderr=subprocess.DEVNULL,
            start_new_session=True, preexec_fn=lambda: __import__("fcntl").ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        seen = b""
        while b"ready" not in seen:
            seen += os.read(master, 100)
        os.write(master, b"\x1a\x1c\x03")
        assert process.wait(20) == -signal.SIGINT
        os.close(master)
        os.close(slave)
