"""Presets of a hand: they change where a grip ends, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge.cli.main import main
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators import EMULATED_HANDS
from myosem_edge.firmware_bridge.hands import HANDS, hand
from myosem_edge.firmware_bridge.hands.stepped import COMMAND_S, FULL_STROKE_S, SteppedHand
from myosem_edge.runtime.grips import default_grips_path
from myosem_edge.runtime.presets import load_presets
from tests.firmware_bridge.stepped_spec import Table

ROOT = Path(__file__).parents[2]
STEPPED = sorted(name for name, driver in HANDS.items() if issubclass(driver, SteppedHand))
PINCH = b'hand = "servo"\n[grips.pinch]\nthumb = 0.5\nindex = 1\n'


def stepped(name: str) -> SteppedHand:
    driver = hand(name)
    assert isinstance(driver, SteppedHand)
    return driver


def presets(name: str, *lines: str) -> bytes:
    return "\n".join((f'hand = "{name}"', *lines)).encode()


def test_what_is_named_changes_and_nothing_else() -> None:
    tuned, own = stepped("servo"), stepped("servo")
    assert load_presets(PINCH, tuned) == {"pinch": {"thumb": 0.5, "index": 1.0}}
    assert tuned.postures["pinch"] == (0.5, 0.9, 1.0, 0.0, 0.0, 0.0)
    assert {**tuned.postures, "pinch": None} == {**own.postures, "pinch": None}
    assert tuned.info is own.info, "limits, neutrals and grips are those of the hand"
    assert stepped("servo").postures == own.postures, "of this driver alone"


@pytest.mark.parametrize("name", STEPPED)
def test_the_hand_goes_where_its_presets_say(name: str) -> None:
    driver, emulator = stepped(name), EMULATED_HANDS[name]()
    joint = driver.joints[0]
    load_presets(presets(name, "[grips.power]", f"{joint} = 0.25"), driver)
    table = Table(driver, emulator)  # type: ignore[arg-type]
    table.grip("power", 1.6)
    assert table.emulator.closure[0] == pytest.approx(0.25, abs=0.02)
    assert driver.formed_deg("power")[joint] == pytest.approx(22.5)
    table.grip("open", 1.6)
    assert max(table.emulator.closure) < 0.03


CLOSURES = st.floats(0, 1)


@pytest.mark.sr("SR-16")
@given(closures=st.lists(CLOSURES, min_size=6, max_size=6), speed=st.sampled_from([0.1, 0.5, 1.0]))
def test_no_preset_makes_a_step_longer_or_changes_the_opening(closures: list[float], speed: float) -> None:
    driver, own = stepped("servo"), stepped("servo")
    lines = [f"{joint} = {closure!r}" for joint, closure in zip(driver.joints, closures, strict=True)]
    load_presets(presets("servo", "[grips.power]", *lines), driver)
    driver.receive(b"P 900 900 900 900 900 900\n", 0.0)
    own.receive(b"P 900 900 900 900 900 900\n", 0.0)
    frame = driver.grip("power", speed, 0.5)
    assert driver.may_send(frame)
    longest = 1800 * speed * COMMAND_S / FULL_STROKE_S + 1
    assert all(abs(int(angle) - 900) <= longest for angle in frame.split()[1:])
    driver, own = stepped("servo"), stepped("servo")
    load_presets(presets("servo", "[grips.power]", *lines), driver)
    for each in (driver, own):
        each.receive(b"P 900 900 900 900 900 900\n", 0.0)
    assert driver.open_hand(speed) == own.open_hand(speed)


@pytest.mark.sr("SR-17")
@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("servo", "a = [", ["not TOML"]),
        ("servo", b"\xff", ["not TOML"]),
        ("servo", "", ["not for this hand", "None", "'servo'"]),
        ("servo", 'hand = "brunel"', ["not for this hand", "'brunel'", "'servo'"]),
        ("servo", 'hand = ["servo"]', ["not for this hand"]),
        ("servo", 'hand = "servo"', ["no grips"]),
        ("servo", 'hand = "servo"\ngrips = 1', ["no grips"]),
        ("servo", 'hand = "servo"\nspeed = 2\n[grips.pinch]\nthumb = 1', ["unknown key", "'speed'"]),
        ("servo", 'hand = "servo"\n[grips.pinch]', ["[grips.pinch]", "no joint"]),
        ("servo", 'hand = "servo"\n[grips]\npinch = 0.5', ["[grips.pinch]", "no joint"]),
        ("servo", 'hand = "servo"\n[grips.open]\nthumb = 0.5', ["[grips.open]", "opening is fixed"]),
        ("servo", 'hand = "servo"\n[grips.open]\nthumb = 0', ["[grips.open]", "opening is fixed"]),
        ("servo", 'hand = "servo"\n[grips.rest]\nthumb = 0.5', ["unknown grip 'rest'", "power"]),
        ("servo", 'hand = "servo"\n[grips.pinch]\nthump = 0.5', ["unknown joint 'thump'", "thumb_rotation"]),
        ("servo", 'hand = "servo"\n[grips.pinch]\nthumb = 1.01', ["closure 1.01 of thumb", "0..1"]),
        ("servo", 'hand = "servo"\n[grips.pinch]\nthumb = -0.01', ["closure -0.01"]),
        ("servo", 'hand = "servo"\n[grips.pinch]\nthumb = nan', ["closure nan"]),
        ("servo", 'hand = "servo"\n[grips.pinch]\nthumb = inf', ["closure inf"]),
        ("servo", 'hand = "servo"\n[grips.pinch]\nthumb = true', ["no number", "True"]),
        ("servo", 'hand = "servo"\n[grips.pinch]\nthumb = "1"', ["no number", "'1'"]),
        ("servo_wrist", 'hand = "servo_wrist"\n[grips.pinch]\nwrist = 0.5', ["pinch leaves wrist where it is"]),
        ("servo_wrist", 'hand = "servo_wrist"\n[grips.pronate]\nthumb = 0.5', ["pronate leaves thumb where it is"]),
        ("ability", 'hand = "ability"\n[grips.pinch]\nindex = 0.5', ["by itself"]),
        ("two_channel", 'hand = "two_channel"\n[grips.power]\nindex = 0.5', ["by itself"]),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(name: str, text: str | bytes, says: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        load_presets(text if isinstance(text, bytes) else text.encode(), hand(name), where="my.toml")
    assert str(refused.value).startswith("my.toml")
    assert all(word in str(refused.value) for word in says), refused.value


def test_how_far_a_wrist_turns_can_be_tuned() -> None:
    driver = stepped("servo_wrist")
    load_presets(presets("servo_wrist", "[grips.pronate]", "wrist = 0.75"), driver)
    assert driver.formed_deg("pronate") == {"wrist": 135.0}


def test_the_example_on_the_page_is_right() -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```$", (ROOT / "docs/hands.md").read_text(), re.DOTALL | re.MULTILINE)
    assert load_presets(example.encode(), hand("servo")) == {"pinch": {"thumb": 0.55, "index": 0.75}}


class TestCommands:
    def run(self, *arguments: object, exit_code: int = 0) -> str:
        result = CliRunner().invoke(main, ["grips", *map(str, arguments)])
        assert result.exit_code == exit_code and "Traceback" not in result.output, result.output
        return result.output

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "my-hand.toml"
        path.write_bytes(PINCH)
        return path

    def test_show_says_what_was_tuned_and_what_it_was(self, file: Path) -> None:
        rows = {line.split()[0]: line for line in self.run("show", "--hand", "servo", "--presets", file).splitlines()}
        assert rows["pinch"].split() == ["pinch", "0.50", "(0.60)", "0.90", "1.00", "(0.70)", "0.00", "0.00", "0.00"]
        assert "(" not in rows["power"]

    @pytest.mark.parametrize("name", sorted(HANDS))
    def test_show_every_hand(self, name: str) -> None:
        shown: dict[str, Any] = json.loads(self.run("show", "--hand", name, "--json"))
        assert sorted(shown["grips"]) == sorted(HANDS[name].info.grips)
        assert all(list(joints) == sorted(shown["joints"]) for joints in shown["grips"].values())
        assert all(grip in self.run("show", "--hand", name) for grip in shown["grips"])

    def test_a_joint_that_stays_has_no_closure(self) -> None:
        shown = json.loads(self.run("show", "--hand", "servo_wrist", "--json"))["grips"]
        assert shown["power"]["wrist"] is None and shown["pronate"]["wrist"] == 1.0
        assert self.run("show", "--hand", "servo_wrist").splitlines()[2].split()[-1] == "-"

    def test_check(self, file: Path) -> None:
        assert f"{file}: good" in self.run("check", default_grips_path(), "--hand", "servo", "--presets", file)
        self.run("check", default_grips_path(), "--hand", "brunel", "--presets", file, exit_code=3)

    @pytest.mark.parametrize("command", [("show",), ("check", str(default_grips_path()))])
    def test_presets_without_a_hand_mean_nothing(self, file: Path, command: tuple[str, ...]) -> None:
        assert "--hand" in self.run(*command, "--presets", file, exit_code=2)

    def test_a_map_and_a_hand_at_once(self, file: Path) -> None:
        self.run("show", file, "--hand", "servo", exit_code=2)

    def test_a_rehearsal_reaches_what_was_tuned(self, file: Path) -> None:
        options = ("--grip", "pinch", "--presets", file, "--speed", "1", "--json")
        (tried,) = json.loads(
            CliRunner().invoke(main, ["grips", "test", "servo", "--dry-run", *map(str, options)]).stdout
        )
        assert tried["outcome"] == "done" and tried["position_deg"]["index"] == pytest.approx(90, abs=2)
        assert tried["position_deg"]["thumb"] == pytest.approx(45, abs=2)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        shown = self.run("show", "--hand", "servo", "--presets", tmp_path / "none.toml", exit_code=3)
        assert "none.toml: cannot be read" in shown
