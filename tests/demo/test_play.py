"""What the player reads back and how it reports a command that failed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the [train] extra is not installed")

from myosem_edge.demo import play
from myosem_edge.demo.play import Performed, _check, _type, read_log
from myosem_edge.demo.wearer import Clip, Person
from myosem_edge.errors import MyosemError


def test_a_log_that_is_still_being_written_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    assert read_log(path) == []
    path.write_text('{"event":"start"}\n{"event":"verdict","armed":true}\n{"event":"ver')
    assert read_log(path) == [{"event": "start"}, {"event": "verdict", "armed": True}]


def test_times_of_a_performance_count_from_its_first_sample() -> None:
    played = Performed(Clip("fist", 2, np.zeros((1200, 8), np.float32), 200, 240, 1000), 100.0)
    assert (played.time_s(0), played.time_s(200), played.time_s(played.clip.end)) == (100.0, 101.0, 105.0)


@pytest.mark.parametrize("code", [0, 6])
def test_a_command_that_failed_is_named_with_its_exit_code(code: int) -> None:
    with subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"], text=True) as process:
        process.wait(20)
    if code == 0:
        _check(process, "run")
    else:
        with pytest.raises(MyosemError, match="myosem-edge run ended with exit code 6"):
            _check(process, "run")


def test_keys_are_not_typed_at_a_command_that_has_ended() -> None:
    program = "import sys; print(sys.stdin.read(1), end='')"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        _type(process, "a")
        assert process.stdout is not None and process.stdout.read() == "a"
        process.wait(20)
        _type(process, "q")  # would be a broken pipe


def test_a_command_is_this_package_and_nothing_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("open('executed', 'w')\n")
    monkeypatch.chdir(tmp_path)
    with play._start(["--version"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.read().startswith("myosem-edge")
    assert process.returncode == 0 and not (tmp_path / "executed").exists()


PROMPTS = [
    {"event": "prompt", "kind": "prepare", "action": "rest", "text": "Relax"},
    {"event": "prompt", "kind": "hold", "action": "rest", "text": "Rest"},
    {"event": "prompt", "kind": "prepare", "action": "fist", "text": ""},
    {"event": "prompt", "kind": "hold", "action": "fist", "text": "Make a fist"},
    {"event": "prompt", "kind": "relax", "action": "fist", "text": "Relax"},
    {"event": "verdict", "ok": True},
]


class Follows:
    """What the wearer was made to do."""

    def __init__(self) -> None:
        self.deeds: list[str] = []
        self.clips: list[np.ndarray] = []

    def perform(self, clip: np.ndarray, label: str) -> None:
        self.deeds.append(label)
        self.clips.append(clip)

    def rest(self) -> None:
        self.deeds.append("rest")


def stage_with(monkeypatch: pytest.MonkeyPatch, exit_code: int) -> tuple[play.Stage, Follows, list[str]]:
    """A stage whose `calibrate` is a program that prompts and ends with `exit_code`."""
    rng = np.random.default_rng(0)
    clip = Clip("fist", 1, rng.normal(0, 20, (1200, 8)).astype(np.float32), 200, 260, 1000)
    person = Person("p1", True, {("fist", 1): clip}, (rng.normal(0, 2, (600, 8)).astype(np.float32),))
    asked: list[str] = []

    def start(command: list[str], **streams: Any) -> subprocess.Popen[str]:
        asked.extend(command)
        program = f"import json\nfor e in {PROMPTS!r}: print(json.dumps(e))\nraise SystemExit({exit_code})"
        return subprocess.Popen([sys.executable, "-c", program], text=True, **streams)

    monkeypatch.setattr(play, "_start", start)
    stage, follows = play.Stage(person), Follows()
    monkeypatch.setattr(stage, "_source", follows)
    return stage, follows, asked


def test_the_wearer_follows_the_prompts_with_the_calibrated_repetition(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, follows, asked = stage_with(monkeypatch, 0)
    said: list[str] = []
    with stage:
        stage.calibrate(Path("a.myosem"), "ada", said.append)
    assert follows.deeds == ["rest", "rest", "fist", "rest"]
    clip = stage.person.clips["fist", play.CALIBRATION_REPETITION]
    assert np.array_equal(follows.clips[0], clip.samples[clip.cue :])  # prompted, so without the rest before its cue
    assert said == ["  Relax", "  Rest", "  Make a fist", "  Relax"]
    assert stage.session.calibration == PROMPTS
    assert asked[0] == "calibrate" and asked[asked.index("--actions") + 1] == "rest,fist"
    assert asked[asked.index("--side") + 1] == "left" and asked[asked.index("--profile") + 1] == "ada"


def test_a_calibration_that_failed_stops_the_play(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, _, _ = stage_with(monkeypatch, 6)
    with stage, pytest.raises(MyosemError, match="myosem-edge calibrate ended with exit code 6"):
        stage.calibrate(Path("a.myosem"), "ada", lambda text: None)
