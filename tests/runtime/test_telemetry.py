"""Telemetry never waits, says what it dropped, and leaves a log that stays within its size."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from myosem_edge.errors import MyosemError, StorageError
from myosem_edge.runtime.child import child_command, child_environment
from myosem_edge.runtime.telemetry import Log, Telemetry, check_log, encode
from myosem_edge.runtime.view import LineView, LiveView

VERDICT: dict[str, Any] = {
    "event": "verdict", "time_s": 12.5, "status": "armed", "reason": None, "sentence": "", "armed": True, "reasons": [],
    "command": {"kind": "grip", "grip": "power", "speed": 0.25, "force": 1.0}, "fault": None,
}  # fmt: skip
REFUSED = VERDICT | {
    "status": "neutral", "reason": "not-armed", "sentence": "Not armed.", "armed": False,
    "reasons": ["arm-refused", "not-armed"],
    "command": {"kind": "neutral", "grip": None, "speed": 0.0, "force": 0.0},
}  # fmt: skip
DECISION: dict[str, Any] = {
    "event": "decision", "time_s": 12.5, "index": 7, "action": "fist", "probability": 0.9, "margin": 0.5,
    "similarity": 0.75,
    "source": "calibrated", "accepted": True, "reason": "", "level": 0.5, "name": "close the hand",
    "nearest": [["close the hand", 0.75], ["pinch", 0.4], ["point", 0.1]], "asked": "",
}  # fmt: skip
HAND: dict[str, Any] = {
    "event": "hand", "time_s": 12.5, "arrival_s": 12.5, "position_deg": {"index": 50.0, "thumb_rotator": -80.0},
    "current_a": {}, "moving": True, "limited": ["index"],
}  # fmt: skip


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


class TestPipe:
    def test_a_full_pipe_drops_whole_lines_counts_them_and_never_waits(self) -> None:
        reading, writing = os.pipe()
        telemetry = Telemetry(writing)
        event = {"event": "decision", "filler": "x" * 1000}
        began_s = time.monotonic()
        telemetry.send([event] * 2000)
        assert time.monotonic() - began_s < 10.0, "two megabytes into a pipe that nobody reads"
        assert telemetry.dropped > 1000 and telemetry.written + telemetry.dropped == 2000
        # The reader comes back: the gap is told before anything new.
        read = os.read(reading, 1 << 20)
        telemetry.send([{"event": "verdict"}])
        read += os.read(reading, 1 << 20)
        seen = lines(read)
        assert seen[-2:] == [{"event": "dropped", "count": telemetry.dropped}, {"event": "verdict"}]
        assert all(each == event for each in seen[:-2])
        telemetry.close()
        os.close(reading)

    @pytest.mark.sr("SR-19")
    def test_a_listener_that_is_gone_is_an_error_every_time_events_or_not(self) -> None:
        reading, writing = os.pipe()
        telemetry = Telemetry(writing)
        telemetry.send([VERDICT])
        os.close(reading)
        for events in ([], [VERDICT, VERDICT], []):
            with pytest.raises(MyosemError, match="shows the status") as error:
                telemetry.send(events)
        assert telemetry.dropped == 2 and telemetry.lost is error.value
        assert telemetry.close() is None

    @pytest.mark.sr("SR-19")
    def test_a_reader_of_what_is_shown_that_is_gone_is_an_error(self) -> None:
        reading, writing = os.pipe()
        shown_in, shown_out = os.pipe()
        telemetry = Telemetry(writing, shown_fd=shown_out)
        telemetry.send([VERDICT])
        os.close(shown_in)
        with pytest.raises(BrokenPipeError):
            telemetry.send([])
        telemetry.close()
        for fd in (reading, shown_out):
            os.close(fd)

    def test_a_journal_that_only_listens_is_no_reader_that_is_gone(self) -> None:
        """A service manager's socket: each side has shut the direction that nobody uses."""
        reading, writing = os.pipe()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.shutdown(socket.SHUT_RD)
            theirs.shutdown(socket.SHUT_WR)
            telemetry = Telemetry(writing, shown_fd=ours.fileno())
            telemetry.send([VERDICT])
            theirs.close()
            with pytest.raises(BrokenPipeError):
                telemetry.send([VERDICT])
        telemetry.close()
        os.close(reading)

    def test_a_full_pipe_is_not_a_listener_that_is_gone(self) -> None:
        reading, writing = os.pipe()
        telemetry = Telemetry(writing)
        telemetry.send([{"event": "x" * 1000}] * 2000)
        assert telemetry.dropped and telemetry.lost is None
        telemetry.close()
        os.close(reading)

    def test_a_listener_that_was_killed_after_the_last_event_is_noticed_at_the_end(self) -> None:
        reading, writing = os.pipe()
        process = subprocess.Popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
        telemetry = Telemetry(writing, process)
        assert telemetry.close() == -signal.SIGKILL and isinstance(telemetry.lost, MyosemError)
        os.close(reading)

    def test_a_line_that_could_be_torn_is_dropped(self) -> None:
        reading, writing = os.pipe()
        telemetry = Telemetry(writing)
        telemetry.send([{"event": "x" * select.PIPE_BUF}])
        assert telemetry.dropped == 1
        telemetry.close()
        assert os.read(reading, 100) == b""
        os.close(reading)

    def test_golden_line(self) -> None:
        event = {"event": "step", "time_s": 1.25, "inputs": {"age": float("nan"), "list": [float("inf"), 1]}}
        assert encode(event) == b'{"event":"step","time_s":1.25,"inputs":{"age":null,"list":[null,1]}}\n'


class TestLog:
    def test_it_never_grows_beyond_its_size_and_keeps_the_newest(self, tmp_path: Path) -> None:
        path = tmp_path / "run.log"
        log = Log(path, most_bytes=2000)
        for number in range(500):
            log.write(encode({"event": "verdict", "n": number}))
            assert path.stat().st_size <= 1000
        log.close()
        old, new = lines((tmp_path / "run.log.1").read_bytes()), lines(path.read_bytes())
        numbers = [each["n"] for each in old + new]
        assert numbers == list(range(numbers[0], 500)) and len(old) > 20
        assert sorted(each.name for each in tmp_path.iterdir()) == ["run.log", "run.log.1"]

    def test_it_goes_on_where_an_earlier_session_ended(self, tmp_path: Path) -> None:
        path = tmp_path / "run.log"
        for number in range(2):
            log = Log(path)
            log.write(encode({"event": "start", "n": number}))
            log.close()
        assert [each["n"] for each in lines(path.read_bytes())] == [0, 1]

    @pytest.mark.sr("SR-18")
    def test_a_line_that_power_cut_off_is_ended_before_the_next(self, tmp_path: Path) -> None:
        path = tmp_path / "run.log"
        path.write_bytes(encode({"event": "start", "n": 0}) + b'{"event":"sta')
        log = Log(path)
        log.write(encode({"event": "start", "n": 1}))
        log.close()
        assert path.read_bytes().splitlines()[1:] == [b'{"event":"sta', b'{"event":"start","n":1}']

    @pytest.mark.sr("SR-18")
    def test_what_was_written_is_on_the_card_a_second_later_and_the_first_line_at_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now_s, settled = 100.0, []
        names: dict[int, str] = {tmp_path.stat().st_ino: "folder"}
        monkeypatch.setattr(os, "fsync", lambda fd: settled.append((now_s, names.get(os.fstat(fd).st_ino, "file"))))
        log = Log(tmp_path / "run.log", now_s=lambda: now_s)
        for _ in range(25):
            now_s += 0.125
            log.write(encode({"event": "step"}))
        files = [100.125, 101.125, 102.125, 103.125]
        assert settled == [(100.0, "folder"), *((each, "file") for each in files)]

    @pytest.mark.sr("SR-18")
    def test_the_name_of_the_older_half_is_on_the_card_before_the_newer_grows(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settled: list[bool] = []
        monkeypatch.setattr(os, "fsync", lambda fd: settled.append(stat.S_ISDIR(os.fstat(fd).st_mode)))
        log = Log(tmp_path / "run.log", most_bytes=100, now_s=lambda: 5.0)
        for _ in range(2):
            log.write(encode({"event": "step", "n": 12345}))
        # Folder and first line of the first file; all of it as it ends; folder and first line of the second.
        assert settled == [True, False, False, True, False]

    @pytest.mark.sr("SR-18")
    @pytest.mark.parametrize("left", [b"", b'{"', b'{"ev', b'{"event', bytes(1), bytes(300), bytes(5000)])
    def test_a_log_of_which_power_left_nothing_that_can_be_read_begins_anew(self, left: bytes, tmp_path: Path) -> None:
        """A hand must not stay still for it, neither in the next run nor in the one after that."""
        path = tmp_path / "run.log"
        path.write_bytes(left)
        for number in range(2):
            check_log(path)
            log = Log(path)
            log.write(encode({"event": "start", "n": number}))
            log.close()
        assert path.read_bytes() == b'{"event":"start","n":0}\n{"event":"start","n":1}\n'

    @pytest.mark.parametrize("theirs", [b"{}", b'{"events"', b"\0\0\0 film", bytes((1 << 20) + 1)])
    def test_what_only_looks_like_it_is_left_alone(self, theirs: bytes, tmp_path: Path) -> None:
        path = tmp_path / "precious"
        path.write_bytes(theirs)
        with pytest.raises(StorageError, match="something else"):
            check_log(path)
        assert path.read_bytes() == theirs

    @pytest.mark.sr("SR-18")
    def test_a_torn_line_in_a_log_that_has_to_become_smaller(self, tmp_path: Path) -> None:
        path = tmp_path / "run.log"
        path.write_bytes(encode({"event": "start", "n": 0}) * 50 + b'{"event":"sta')
        for number in (1, 2):
            check_log(path)
            log = Log(path, most_bytes=1000)
            log.write(encode({"event": "start", "n": number}))
            log.close()
        assert [each["n"] for each in lines(path.read_bytes())] == [1, 2]
        assert (tmp_path / "run.log.1").read_bytes().endswith(b'{"event":"sta\n')

    def test_a_full_card_at_the_beginning_is_said_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*arguments: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        path = tmp_path / "run.log"
        path.write_bytes(b'{"ev')
        monkeypatch.setattr("myosem_edge.runtime.telemetry._is_remnant", full)
        log = Log(path)
        log.write(encode({"event": "start"}))
        assert log.problem == "Input/output error" and path.read_bytes() == b'{"ev'

    def test_a_full_card_ends_the_log_and_says_so(self) -> None:
        log = Log(Path("/dev/full"))
        log.write(b"{}\n")
        assert log.problem and "space" in log.problem
        log.write(b"{}\n")
        log.close()

    def test_a_place_that_cannot_be_written_is_refused_beforehand(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="no ordinary file"):
            check_log(tmp_path)
        with pytest.raises(StorageError, match="cannot be written"):
            check_log(Path("/proc/run.log"))
        check_log(tmp_path / "new" / "run.log")

    @pytest.mark.parametrize("name", ["run.log", "run.log.1"])
    @pytest.mark.parametrize("content", [b"PK\x03\x04 a bundle", b'{"events": 1}', b"\n", b"{"])
    def test_what_is_no_log_is_left_alone(self, tmp_path: Path, name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(StorageError, match="no log") as error:
            check_log(tmp_path / "run.log")
        assert str(tmp_path / name) in str(error.value) and "--log" in str(error.value)
        assert (tmp_path / name).read_bytes() == content and len(list(tmp_path.iterdir())) == 1

    @pytest.mark.parametrize("content", [b"", encode(VERDICT)])
    def test_an_empty_file_and_an_earlier_log_are_taken(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "run.log").write_bytes(content)
        check_log(tmp_path / "run.log")
        assert (tmp_path / "run.log").read_bytes() == content

    def test_a_pipe_or_a_device_is_refused_and_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        for path in (tmp_path / "fifo", Path("/dev/full")):
            with pytest.raises(StorageError, match="no ordinary file"):
                check_log(path)
        with pytest.raises(OSError, match="No such device"):
            Log(tmp_path / "fifo")  # it became one meanwhile: nobody waits for a reader


class TestListener:
    def run(self, mode: str, events: list[dict[str, Any]], *options: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "myosem_edge.runtime.telemetry", f"--mode={mode}", *options]
        return subprocess.run(command, input=b"".join(map(encode, events)), capture_output=True, timeout=60)

    def test_json_is_the_events_but_the_gates_inputs_go_to_the_log_alone(self, tmp_path: Path) -> None:
        events = [VERDICT, {"event": "step", "time_s": 1.0}, HAND]
        done = self.run("json", events, f"--log={tmp_path / 'a.log'}")
        assert done.returncode == 0 and lines(done.stdout) == [VERDICT, HAND]
        assert lines((tmp_path / "a.log").read_bytes()) == events

    def test_lines_are_changes_of_state(self) -> None:
        faster = VERDICT | {"command": VERDICT["command"] | {"speed": 0.5}}
        front = {
            "event": "front end",
            "time_s": 1.0,
            "phase": "streaming",
            "failure": None,
            "facts": {"name": "Myo\x1b[2J"},
        }
        gap = {"event": "dropped", "count": 3}
        link = {"event": "link", "time_s": 2.0, "device": "hand", "state": "lost", "why": "gone"}
        failure = {
            "event": "failure",
            "time_s": 3.0,
            "stage": "decoder",
            "error": "decoder: ValueError: no",
            "in_a_row": 1,
        }
        done = self.run("lines", [front, REFUSED, VERDICT, faster, DECISION, HAND, gap, link, failure])
        assert done.stdout.decode().splitlines() == [
            "1.000 front end streaming, name Myo?[2J",
            "12.500 neutral: not-armed, hand is told neutral",
            "12.500 armed, hand is told power",
            "3 lines were dropped here",
            "2.000 hand lost gone",
            "3.000 failure in decoder: ValueError: no",
        ]

    def test_an_incomplete_log_is_told_once_when_it_happens_and_has_an_exit_code(self) -> None:
        done = self.run("json", [VERDICT, HAND], "--log=/dev/full")
        assert done.returncode == StorageError.exit_code and done.stderr.count(b"not complete") == 1
        assert lines(done.stdout) == [VERDICT, HAND], "it goes on showing"
        process = subprocess.Popen(
            child_command("myosem_edge.runtime.telemetry", "--log=/dev/full"),
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=child_environment(),
        )  # fmt: skip
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(encode(VERDICT))
        process.stdin.flush()
        assert b"not complete" in process.stderr.readline(), "while it still listens"
        process.communicate(timeout=60)

    @pytest.mark.parametrize("folder_entry", ["json.py", "argparse.py"])
    def test_what_lies_in_the_current_folder_is_not_imported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder_entry: str
    ) -> None:
        (tmp_path / folder_entry).write_text("open('executed', 'w')\nraise SystemExit(99)\n")
        monkeypatch.chdir(tmp_path)
        telemetry = Telemetry.start("none", tmp_path / "run.log")
        telemetry.send([VERDICT])
        assert telemetry.close() == 0
        assert not (tmp_path / "executed").exists() and (tmp_path / "run.log").stat().st_size

    def test_started_from_the_loop_it_writes_everything_before_it_ends(self, tmp_path: Path) -> None:
        telemetry = Telemetry.start("none", tmp_path / "run.log")
        telemetry.send([VERDICT] * 200)
        assert telemetry.close() == 0 and telemetry.dropped == 0
        assert len(lines((tmp_path / "run.log").read_bytes())) == 200

    def test_a_terminal_gets_a_picture(self) -> None:
        master, slave = pty.openpty()
        command = [sys.executable, "-m", "myosem_edge.runtime.telemetry", "--mode=live"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=slave)
        process.communicate(encode(VERDICT) + encode(DECISION) + encode(HAND), timeout=60)
        os.close(slave)
        shown = os.read(master, 65536).decode()
        assert "ARMED" in shown and "close the hand" in shown and "thumb_rotator" in shown
        os.close(master)


class TestLineView:
    @pytest.mark.parametrize("event", [DECISION, HAND, {"event": "summary"}, {"event": "start"}])
    def test_what_is_no_change_of_state_is_no_line(self, event: dict[str, Any]) -> None:
        assert list(LineView().take(event)) == []


class TestLiveView:
    def view(self, *events: dict[str, Any]) -> LiveView:
        self.now_s = 100.0
        view = LiveView(lambda: self.now_s)
        for event in events:
            view.take(event)
        return view

    def test_the_picture(self) -> None:
        picture = self.view(VERDICT, DECISION, HAND, {"event": "front end", "phase": "streaming"}).picture(80)
        assert picture[0].startswith("\x1b[32m\x1b[1mARMED")
        assert picture[1:] == [
            "hand is told: power at speed 0.25    signal: streaming",
            "",
            "",
            "close the hand  (calibrated)",
            "  similarity [###############.....]  0.75",
            "  margin     [##########..........]  0.50",
            "   0.75  close the hand",
            "   0.40  pinch",
            "   0.10  point",
            "",
            "hand reports: moving   holds back by itself: index",
            "  index         [##########..........]    50 deg",
            "  thumb_rotator [################....]   -80 deg",
            "",
            "space or s stop   o open   a arm   l lock   q quit",
        ]

    def test_before_anything_has_come_it_says_so(self) -> None:
        picture = self.view().picture(80)
        assert "no decision yet" in picture and "the hand has not reported yet" in picture

    def test_a_refused_arm_stays_long_enough_to_be_read(self) -> None:
        view = self.view(REFUSED, REFUSED | {"reasons": ["not-armed"]})
        assert "good for long enough" in view.picture(80)[2]
        self.now_s += 5.0
        assert view.picture(80)[2] == ""

    @pytest.mark.parametrize(
        ("event", "text"),
        [
            ({"event": "failure", "error": "decoder: no"}, "decoder: no"),
            ({"event": "link", "device": "hand", "state": "lost", "why": "gone"}, "hand lost gone"),
        ],
    )
    def test_trouble_is_told_in_a_sentence(self, event: dict[str, Any], text: str) -> None:
        assert self.view(VERDICT, event).picture(80)[2] == text
        fault = VERDICT | {"status": "fault", "sentence": "Part failed.", "fault": "decoder: no"}
        assert "Part failed. (decoder: no)" in self.view(fault).picture(80)[0]

    def test_it_is_drawn_in_place_and_not_too_often(self) -> None:
        view = self.view(VERDICT)
        assert view.is_due(0.1)
        first = view.draw(80, again=False)
        assert not re.match("\r\x1b\\[[0-9]+A", first) and first.count("\n") == len(view.picture(80))
        view.take(REFUSED)
        assert not view.is_due(0.1)
        self.now_s += 0.2
        assert view.is_due(0.1)
        assert view.draw(80, again=True).startswith(f"\r\x1b[{first.count(chr(10))}A")
        self.now_s += 0.2
        assert not view.is_due(0.1), "nothing has changed"

    def test_no_line_is_wider_than_the_terminal_and_no_name_steers_it(self) -> None:
        evil = DECISION | {"name": "\x1b]0;owned\x07" + "n" * 300, "nearest": [["\x1b[2J", 0.5]]}
        picture = self.view(VERDICT, evil, HAND).picture(30)
        assert all(len(line) < 30 for line in picture[1:])
        assert not any("\x1b" in line or "\x07" in line for line in picture[1:])


class TestTurns:
    """Two reasons that take turns for one cause."""

    def verdict(self, time_s: float, reason: str, **more: Any) -> dict[str, Any]:
        return REFUSED | {"time_s": time_s, "status": "fault", "reason": reason} | more

    def told(self, *events: dict[str, Any]) -> list[str]:
        view = LineView()
        return [line for event in events for line in view.take(event)]

    def turns(self, count: int) -> list[dict[str, Any]]:
        return [self.verdict(10.0 + 0.3 * n, ("stale", "loop-late")[n % 2]) for n in range(count)]

    PAIR = ("10.000 fault: stale, hand is told neutral", "10.300 fault: loop-late, hand is told neutral")

    def test_they_are_told_once_each_and_counted_when_something_else_comes(self) -> None:
        told = self.told(*self.turns(19), self.verdict(15.5, "recovering"))
        assert told == [
            *self.PAIR,
            "15.500 17 more changes between the last two, then fault: stale, hand is told neutral",
            "15.500 fault: recovering, hand is told neutral",
        ]

    @pytest.mark.parametrize("last", [{"event": "summary", "time_s": 11.0}, HAND])
    def test_they_are_counted_when_they_have_settled_and_at_the_end(self, last: dict[str, Any]) -> None:
        told = self.told(*self.turns(4), last, last)
        count = "2 more changes between the last two, then fault: loop-late, hand is told neutral"
        assert told == [*self.PAIR, f"{last['time_s']:.3f} {count}"]

    @pytest.mark.parametrize("changed", [{"status": "armed"}, {"command": VERDICT["command"]}])
    def test_another_status_or_command_is_always_told(self, changed: dict[str, Any]) -> None:
        events = [self.verdict(n, "stale", **(changed if n % 2 else {})) for n in range(6)]
        assert len(self.told(*events)) == 6


def test_a_verdict_with_a_fault_says_it() -> None:
    fault = REFUSED | {"status": "fault", "reason": "fault", "fault": "decoder: ValueError: no"}
    assert list(LineView().take(fault)) == ["12.500 fault: fault (decoder: ValueError: no), hand is told neutral"]
