"""`myosem-edge grips`: a map is changed and nothing is lost; every grip of every hand is tried."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from myosem_edge.cli.main import main
from myosem_edge.firmware_bridge.emulators import EMULATED_HANDS
from myosem_edge.firmware_bridge.emulators.ability import AbilityEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.hands import HANDS, hand
from myosem_edge.runtime.grips import default_grips_path
from tests.cli.hand_faults import closures

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
SHORT = {"ability", "brunel"}  # of the hands that are tried in real time: one of each kind
BLIND = {"two_channel"}


def run(*arguments: object, typed: str = "") -> Result:
    result = CliRunner().invoke(main, ["grips", *map(str, arguments)], input=typed)
    assert "Traceback" not in result.output
    return result


class TestEdit:
    def test_a_new_map_begins_as_the_shipped_one(self, tmp_path: Path) -> None:
        file = tmp_path / "mine.toml"
        result = run("edit", file, "--set", "fist=power@0.9", "--remove", "wrist_flexion", "--yes")
        assert result.exit_code == 0, result.output
        text = file.read_text()
        assert 'grip = "power"\nthreshold = 0.9\nwhy = "chosen"' in text and "wrist_flexion" not in text
        assert run("check", file).exit_code == 0

    def test_what_changes_is_shown_before_anybody_is_asked_and_no_means_no(self, tmp_path: Path) -> None:
        file = tmp_path / "mine.toml"
        run("edit", file, "--set", "fist=power@0.9", "--yes")
        before = file.read_bytes()
        result = run("edit", file, "--set", "fist=pinch", typed="n\n")
        assert "power from 0.9" in result.output and "pinch from 0.9" in result.output, result.output
        assert result.output.index("pinch from 0.9") < result.output.index("Write ")
        assert file.read_bytes() == before

    def test_a_dry_run_writes_nothing(self, tmp_path: Path) -> None:
        file = tmp_path / "mine.toml"
        assert "not written" in run("edit", file, "--set", "fist=pinch", "--dry-run").output
        assert not file.exists()

    def test_as_json(self, tmp_path: Path) -> None:
        file = tmp_path / "mine.toml"
        run("edit", file, "--set", "fist=power@0.9", "--yes")
        result = CliRunner().invoke(main, ["grips", "edit", str(file), "--set", "fist=hook", "--json", "--yes"])
        assert json.loads(result.stdout) == {
            "changes": [{"action": "fist", "before": "power from 0.9, chosen", "after": "hook from 0.9, chosen"}]
        }

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--set", "rest=power"), ("rest", "must not close")),
            (("--set", "fist=powr"), ("powr", "perhaps power")),
            (("--set", "fits=power"), ("fits", "fist")),
            (("--set", "fist=power@2"), ("threshold", "2.0")),
            (("--set", "fist=power@much"), ("ACTION=GRIP",)),
            (("--set", "fist"), ("ACTION=GRIP",)),
            (("--remove", "fits"), ("fits",)),
            (("--set", "fist=power", "--hand", "abilty"), ("ability",)),
            (("--set", "fist=power", "--hand", "two_channel"), ("unknown grip", "point")),
            (("--set", "fist=power", "--from", "/nowhere.toml"), ("/nowhere.toml",)),
        ],
    )
    def test_what_is_wrong_is_one_error_and_nothing_is_written(
        self, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
    ) -> None:
        file = tmp_path / "mine.toml"
        run("edit", file, "--set", "wrist_flexion=lateral", "--yes")
        before = file.read_bytes()
        result = run("edit", file, *arguments, "--yes")
        assert result.exit_code == 3 and all(word in result.output for word in words), result.output
        assert file.read_bytes() == before

    def test_an_action_that_opened_does_not_close_at_the_threshold_of_opening(self, tmp_path: Path) -> None:
        file = tmp_path / "mine.toml"
        run("edit", file, "--set", "hand_open=power", "--yes")
        assert '[actions."hand_open"]\ngrip = "power"\nthreshold = 0.8\n' in file.read_text()

    def test_the_editors_text_is_kept_as_it_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "mine.toml"
        file.write_bytes(default_grips_path().read_bytes())
        monkeypatch.setenv("EDITOR", "sed -i '1i # by hand'")
        assert run("edit", file, "--yes").exit_code == 0
        assert file.read_text().startswith("# by hand\n")

    def test_an_editor_that_changes_nothing_writes_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "mine.toml"
        file.write_bytes(default_grips_path().read_bytes())
        monkeypatch.setenv("EDITOR", "true")
        assert "nothing changes" in run("edit", file).output

    @pytest.mark.parametrize("editor", ["false", "/nowhere/editor"])
    def test_an_editor_that_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, editor: str) -> None:
        monkeypatch.setenv("EDITOR", editor)
        result = run("edit", tmp_path / "mine.toml")
        assert result.exit_code == 3 and "EDITOR" in result.output

    def test_a_wrong_text_is_explained_kept_and_gone_on_with(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "mine.toml"
        monkeypatch.setenv("EDITOR", "sed -i s/lateral/latteral/")
        result = run("edit", file, "--yes", typed="n\n")
        draft = tmp_path / "mine.toml.draft"
        assert result.exit_code == 3 and "perhaps lateral" in result.output and str(draft) in result.output
        assert "latteral" in draft.read_text() and not file.exists()
        monkeypatch.setenv("EDITOR", "sed -i s/latteral/lateral/")
        result = run("edit", file, "--yes")
        assert result.exit_code == 0 and "Going on with" in result.output
        assert not draft.exists() and "lateral" in file.read_text()

    def test_from_the_shipped_map_whatever_the_file_says(self, tmp_path: Path) -> None:
        file = tmp_path / "mine.toml"
        run("edit", file, "--set", "fist=hook@0.9", "--remove", "wrist_flexion", "--yes")
        assert run("edit", file, "--from", "shipped", "--set", "fist=pinch", "--yes").exit_code == 0
        assert "wrist_flexion" in file.read_text() and "hook" not in file.read_text().split("fist")[1].split("[")[0]

    def test_a_wrong_file_can_be_put_right_in_the_editor(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "mine.toml"
        file.write_text('[actions.fist]\ngrip = "powr"\nthreshold = 0.8\nwhy = "meaning"\n')
        monkeypatch.setenv("EDITOR", "sed -i s/powr/power/")
        result = run("edit", file, "--yes")
        assert result.exit_code == 0 and "not right" in result.output and "perhaps power" in result.output
        assert '"power"' in file.read_text() and '"powr"' in (tmp_path / "mine.toml.previous").read_text()

    def test_an_editor_that_changes_nothing_makes_no_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EDITOR", "true")
        assert "nothing changes" in run("edit", tmp_path / "mine.toml", "--yes").output
        assert list(tmp_path.iterdir()) == []

    def test_what_was_there_before_is_kept(self, tmp_path: Path) -> None:
        file = tmp_path / "mine.toml"
        before = default_grips_path().read_bytes()
        file.write_bytes(before)
        result = run("edit", file, "--set", "fist=pinch", "--yes")
        assert "Comments" in result.output and "mine.toml.previous" in result.output
        assert (tmp_path / "mine.toml.previous").read_bytes() == before

    @pytest.mark.parametrize(("options", "typed"), [((), "n\n"), (("--dry-run",), "")])
    def test_what_was_typed_and_is_not_written_is_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], typed: str
    ) -> None:
        file, draft = tmp_path / "mine.toml", tmp_path / "mine.toml.draft"
        monkeypatch.setenv("EDITOR", "sed -i s/pinch/hook/")
        result = run("edit", file, *options, typed=typed)
        assert result.exit_code == 0 and str(draft) in result.output
        assert not file.exists() and "pinch" not in draft.read_text()
        monkeypatch.setenv("EDITOR", "true")
        assert run("edit", file, "--yes").exit_code == 0
        assert not draft.exists() and "pinch" not in file.read_text()

    def test_bytes_that_are_no_text_are_explained_and_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file, draft = tmp_path / "mine.toml", tmp_path / "mine.toml.draft"
        monkeypatch.setenv("EDITOR", "sed -i '1s/^/\\xff/'")
        result = run("edit", file, typed="n\n")
        assert result.exit_code == 3 and "not TOML" in result.output
        assert draft.read_bytes().startswith(b"\xff") and not file.exists()

    def test_lines_keep_their_ends(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "mine.toml"
        file.write_bytes(default_grips_path().read_bytes().replace(b"\n", b"\r\n"))
        monkeypatch.setenv("EDITOR", "sed -i s/pinch/hook/")
        assert run("edit", file, "--yes").exit_code == 0
        assert file.read_bytes() == default_grips_path().read_bytes().replace(b"\n", b"\r\n").replace(b"pinch", b"hook")


class TestTrial:
    @pytest.mark.parametrize("name", sorted(HANDS))
    def test_a_rehearsal_reaches_every_grip_of_every_hand(self, name: str) -> None:
        result = CliRunner().invoke(main, ["grips", "test", name, "--dry-run", "--json", "--speed", "1"])
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert [each["grip"] for each in found] == [grip for grip in hand(name).info.grips if grip != "open"]
        for each in found:
            assert each["outcome"] == ("done" if name not in BLIND else each["outcome"]), each
            assert all(HANDS[name]().may_send(bytes.fromhex(frame["hex"])) for frame in each["frames"])
            assert sum(frame["times"] for frame in each["frames"]) > 10 and each["frames"][0]["s"] == 0
            assert bool(each["position_deg"]) is (name not in BLIND)

    def test_a_rehearsal_shows_every_frame_in_hex_and_when(self) -> None:
        result = CliRunner().invoke(main, ["grips", "test", "ability", "--dry-run", "--grip", "power", "--speed", "1"])
        lines = result.stdout.splitlines()
        assert lines[1].split()[:2] == ["power", "done"]
        frames = [line for line in lines if " x  " in line]
        assert frames[0].split()[0] == "0.000" and frames[0].endswith("7e 50 1d 01 1f 73 7e")
        assert frames[-1].endswith("7e 50 1d 01 ff 93 7e")

    def test_the_grips_of_a_map_and_those_that_are_named(self, tmp_path: Path) -> None:
        file = tmp_path / "mine.toml"
        run("edit", file, "--set", "fist=power", "--yes")
        result = CliRunner().invoke(
            main, ["grips", "test", "brunel", "--dry-run", "--json", "--grips", str(file), "--grip", "power"]
        )
        assert [each["grip"] for each in json.loads(result.stdout)] == ["power"]

    @pytest.mark.parametrize(
        ("arguments", "exit_code", "words"),
        [
            (("brunell", "--dry-run"), 3, ("brunel",)),
            (("brunel",), 2, ("--port",)),
            (("brunel", "--dry-run", "--grip", "mouse"), 3, ("mouse", "power")),
            (("brunel", "--port", "/dev/nothing"), 6, ("/dev/nothing",)),
            (("ability", "--dry-run", "--force", "2"), 2, ("--force",)),
            (("brunel", "--dry-run", "--speed", "0"), 2, ("--speed",)),
        ],
    )
    def test_what_is_refused(self, arguments: tuple[str, ...], exit_code: int, words: tuple[str, ...]) -> None:
        result = run("test", *arguments)
        assert result.exit_code == exit_code and all(word in result.output for word in words), result.output

    def test_without_anybody_who_could_press_a_key_it_does_not_begin(self) -> None:
        with OnPty(AbilityEmulator()) as port:
            result = run("test", "ability", "--port", port.port)
        assert result.exit_code == 3 and "--keys-from-stdin" in result.output, result.output

    @pytest.mark.peer
    @pytest.mark.sr("SR-12")
    @pytest.mark.parametrize(
        "name", [pytest.param(name, marks=() if name in SHORT else pytest.mark.full) for name in sorted(HANDS)]
    )
    def test_on_a_port_nothing_moves_before_a_and_n_and_a_stop_halts(self, name: str) -> None:
        emulator = EMULATED_HANDS[name]()
        with OnPty(emulator) as port, trial(name, port, "--grip", "power", "--speed", "0.2") as process:
            wait_for(process, "space or s stop")
            time.sleep(1.5)  # a healthy second
            assert max(closures(emulator)) == 0
            tell(process, "a")
            wait_for(process, "press n")
            assert max(closures(emulator)) == 0
            tell(process, "n")
            until(lambda: max(closures(emulator)) > 0.1)
            tell(process, " ")
            wait_for(process, "You pressed stop")
            stopped = closures(emulator)
            tell(process, "q")
            assert process.wait(PATIENCE_S) == 0
            assert closures(emulator) == pytest.approx(stopped, abs=0.08)

    @pytest.mark.peer
    @pytest.mark.sr("SR-13")
    def test_killed_in_mid_motion_the_guard_stops_the_hand(self) -> None:
        emulator = AbilityEmulator()
        with OnPty(emulator) as port, trial("ability", port, "--grip", "power", "--speed", "0.05", "--yes") as process:
            wait_for(process, "space or s stop")
            time.sleep(1.5)
            tell(process, "a")
            until(lambda: max(closures(emulator)) > 0.1)
            process.send_signal(signal.SIGKILL)
            until(lambda: emulator.state().speed_byte == 0)
            assert max(closures(emulator)) < 0.6

    @pytest.mark.peer
    @pytest.mark.sr("SR-12")
    def test_ctrl_c_leaves_the_hand_in_its_neutral(self) -> None:
        emulator = AbilityEmulator()
        with OnPty(emulator) as port, trial("ability", port, "--grip", "power", "--speed", "0.05", "--yes") as process:
            wait_for(process, "space or s stop")
            time.sleep(1.5)
            tell(process, "a")
            until(lambda: max(closures(emulator)) > 0.1)
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 130
            assert emulator.state().speed_byte == 0 and max(closures(emulator)) < 0.6

    @pytest.mark.peer
    def test_a_whole_trial_ends_by_itself_and_says_what_became_of_it(self) -> None:
        emulator = EMULATED_HANDS["brunel"](object_width_mm=40.0)
        options = ("--grip", "power", "--speed", "1", "--json", "--yes")
        with OnPty(emulator) as port, trial("brunel", port, *options) as process:
            wait_for(process, "space or s stop", error=True)
            time.sleep(1.5)
            tell(process, "a")
            shown, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        (tried,) = json.loads(shown)
        assert tried["outcome"].startswith("not reached: thumb") and max(tried["position_deg"].values()) < 80, tried
        assert max(closures(emulator)) < 0.1, "open again"


def trial(name: str, port: OnPty, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "myosem_edge", "grips", "test", name, "--port", port.port, "--keys-from-stdin",
         *options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def tell(process: subprocess.Popen[str], keys: str) -> None:
    assert process.stdin is not None
    process.stdin.write(keys)
    process.stdin.flush()


def wait_for(process: subprocess.Popen[str], words: str, error: bool = False) -> None:
    """Until it says so."""
    stream = process.stderr if error else process.stdout
    assert stream is not None
    for line in stream:
        if words in line:
            return
    raise AssertionError(f"it never said {words}")


def until(wanted: Callable[[], bool]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not wanted():
        assert time.monotonic() < until_s
        time.sleep(0.002)
