"""Telemetry never waits, says what it dropped, and leaves a log that stays within its size."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from myosem_edge.errors import StorageError
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

    def test_a_reader_that_is_gone_costs_lines_and_nothing_else(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        telemetry = Telemetry(writing)
        telemetry.send([VERDICT, VERDICT])
        assert telemetry.dropped == 2
        assert telemetry.close() is None
        telemetry.send([VERDICT])
        assert telemetry.dropped == 3

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

    def test_a_full_card_ends_the_log_and_says_so(self) -> None:
        log = Log(Path("/dev/full"))
        log.write(b"{}\n")
        assert log.problem and "space" in log.problem
        log.write(b"{}\n")
        log.close()

    def test_a_place_that_cannot_be_written_is_refused_beforehand(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="cannot be written"):
            check_log(tmp_path)
        check_log(tmp_path / "new" / "run.log")


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

    def test_an_incomplete_log_has_an_exit_code(self) -> None:
        done = self.run("none", [VERDICT], "--log=/dev/full")
        assert done.returncode == StorageError.exit_code and b"not complete" in done.stderr

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
            "space or s stop   o open   a arm   q quit",
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


def test_a_verdict_with_a_fault_says_it() -> None:
    fault = REFUSED | {"status": "fault", "reason": "fault", "fault": "decoder: ValueError: no"}
    assert list(LineView().take(fault)) == ["12.500 fault: fault (decoder: ValueError: no), hand is told neutral"]
