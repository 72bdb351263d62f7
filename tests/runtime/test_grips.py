"""The grip map file and the `grips` command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.cli.grips import grips as command
from myosem_edge.cli.main import main
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.hands import HANDS
from myosem_edge.runtime.decision import Decision
from myosem_edge.runtime.grips import GripMap, GripRule, default_grips_path, load_grip_map, load_hand_map, no_wrist
from myosem_edge.runtime.limits import Limits
from myosem_edge.runtime.shaper import UNMAPPED, ShaperState, shape

ACTIONS = ("rest", "fist", "hand_open", "wrist_flexion")
GRIPS = ("power", "lateral", "pinch")
GOOD = '[actions.fist]\ngrip = "power"\nthreshold = 0.8\nwhy = "meaning"\n'


def load(text: str | bytes) -> GripMap:
    return load_grip_map(text.encode() if isinstance(text, str) else text, ACTIONS, GRIPS, where="mine.toml")


def test_a_row() -> None:
    assert load(GOOD) == GripMap({"fist": GripRule("power", 0.8, "meaning")})


def test_none_and_open_need_not_be_grips_of_the_hand() -> None:
    text = GOOD.replace("power", "none") + GOOD.replace("power", "open").replace("fist", "hand_open")
    assert {action: rule.grip for action, rule in load(text).actions.items()} == {"fist": None, "hand_open": "open"}
    assert load(text).grips() == frozenset()


@pytest.mark.sr("SR-17")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("fist", "fits"), ["mine.toml: unknown action", "'fits'", "perhaps fist"]),
        (GOOD.replace("fist", "zzzz"), ["unknown action", "one of fist, hand_open, rest, wrist_flexion"]),
        (GOOD.replace("power", "powr"), ["[actions.fist], grip: unknown grip", "'powr'", "perhaps power"]),
        (GOOD.replace('"power"', "3"), ["[actions.fist], grip: unknown grip", "found 3"]),
        (GOOD.replace('"power"', "[]"), ["[actions.fist], grip: unknown grip"]),
        (GOOD.replace("threshold", "treshold"), ["[actions.fist]: unknown key", "'treshold'", "perhaps threshold"]),
        (GOOD.replace("0.8", "0"), ["[actions.fist], threshold: is out of range", "found 0", "up to 1"]),
        (GOOD.replace("0.8", "1.01"), ["threshold: is out of range", "1.01"]),
        (GOOD.replace("0.8", "-0.5"), ["threshold: is out of range"]),
        (GOOD.replace("0.8", "nan"), ["threshold: is out of range", "nan"]),
        (GOOD.replace("0.8", "inf"), ["threshold: is out of range"]),
        (GOOD.replace("0.8", "true"), ["threshold: is out of range", "True"]),
        (GOOD.replace("0.8", '"high"'), ["threshold: is out of range", "'high'"]),
        (GOOD.replace("fist", "rest"), ["[actions.rest], grip: a resting wearer must not close", "none or open"]),
        (GOOD.replace("0.8", "0.05"), ["[actions.fist], threshold: is too low for a grip that closes", "at least 0.5"]),
        (GOOD.replace("0.8", "0.49"), ["[actions.fist], threshold: is too low", "found 0.49"]),
        (GOOD.replace("meaning", "meanin"), ["[actions.fist], why: unknown reason", "perhaps meaning"]),
        (GOOD + "note = 7\n", ["[actions.fist], note: is not text", "found 7"]),
        (GOOD.replace('why = "meaning"\n', ""), ["[actions.fist]: why is missing"]),
        (GOOD.replace("threshold = 0.8\n", ""), ["[actions.fist]: threshold is missing"]),
        (GOOD.replace("actions", "action"), ["unknown table", "'action'", "perhaps actions"]),
        ("actions = 3\n", ["has no actions"]),
        ("", ["has no actions", "[actions.<id>]"]),
        ("[actions]\nfist = 3\n", ["[actions.fist]: is not a table", "found 3"]),
        ("[actions.fist\n", ["is not TOML"]),
        (b"\xff\xfe", ["is not TOML"]),
    ],
)
def test_sr17_a_bad_file_is_refused_with_its_place(text: str | bytes, says: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        load(text)
    for words in ("mine.toml", *says):
        assert words in str(caught.value)


def test_a_path_names_itself(tmp_path: Path) -> None:
    file = tmp_path / "map.toml"
    with pytest.raises(InputError, match=r"map\.toml: cannot be read: No such file"):
        load_grip_map(file, ACTIONS, GRIPS)
    file.write_text(GOOD.replace("power", "claw"))
    with pytest.raises(InputError, match=r"map\.toml, \[actions\.fist\]"):
        load_grip_map(str(file), ACTIONS, GRIPS)
    file.write_text(GOOD)
    assert load_grip_map(file, ACTIONS, GRIPS) == load(GOOD)


def test_letting_go_may_be_asked_for_lightly() -> None:
    for grip in ("none", "open"):
        for action in ("rest", "fist"):
            text = GOOD.replace("power", grip).replace("fist", action).replace("0.8", "0.05")
            assert load(text).actions[action].threshold == 0.05
    assert load(GOOD.replace("0.8", "0.5")).actions["fist"].threshold == 0.5


def rules(grips: list[str | None], least: float) -> st.SearchStrategy[GripRule]:
    return st.builds(
        GripRule,
        grip=st.sampled_from(grips),
        threshold=st.floats(least, 1, exclude_min=not least),
        why=st.sampled_from(["meaning", "chosen"]),
        note=st.text(),
    )


GENTLE, CLOSING = rules([None, "open"], 0.0), rules([*GRIPS], 0.5)
MAPS = st.fixed_dictionaries({}, optional={a: GENTLE if a == "rest" else GENTLE | CLOSING for a in ACTIONS})


@given(MAPS.filter(bool))
def test_written_and_read_back_is_the_same(rules: dict[str, GripRule]) -> None:
    grip_map = GripMap(rules)
    text = grip_map.to_toml()
    assert load(text) == grip_map
    assert load(text).to_toml() == text
    assert GripMap(dict(reversed(rules.items()))).to_toml() == text, "the order of insertion does not show"


def test_golden_text() -> None:
    text = GripMap(
        {"rest": GripRule(None, 0.6, "meaning"), "fist": GripRule("power", 0.75, "chosen", 'a "b"')}
    ).to_toml()
    assert text == (
        '[actions."fist"]\ngrip = "power"\nthreshold = 0.75\nwhy = "chosen"\nnote = "a \\"b\\""\n'
        '\n[actions."rest"]\ngrip = "none"\nthreshold = 0.6\nwhy = "meaning"\n'
    )


def test_a_map_cannot_be_changed() -> None:
    rules = {"fist": GripRule("power", 0.8, "meaning")}
    grip_map = GripMap(rules)
    rules["rest"] = GripRule(None, 0.5, "meaning")
    assert list(grip_map.actions) == ["fist"]
    with pytest.raises(TypeError):
        grip_map.actions["rest"] = rules["rest"]  # type: ignore[index]


class TestWrist:
    TURNING = (GOOD + GOOD.replace("fist", "wrist_flexion").replace("power", "pronate")).encode()

    @pytest.mark.parametrize("name", sorted(HANDS))
    def test_a_hand_that_cannot_turn_is_asked_for_nothing_and_the_wearer_is_told(self, name: str) -> None:
        info = HANDS[name].info
        grip_map, unable = load_hand_map(self.TURNING, ACTIONS, info)
        assert set(grip_map.actions) == ({"fist", "wrist_flexion"} if info.rotates_wrist else {"fist"})
        assert grip_map.grips() <= set(info.grips)
        told = no_wrist(info, unable)
        assert ("wrist_flexion" in told and info.name in told) is not info.rotates_wrist
        assert bool(told) is not info.rotates_wrist

    def test_asking_for_nothing_is_no_release_and_no_error(self) -> None:
        grip_map, _ = load_hand_map(self.TURNING, ACTIONS, HANDS["ability"].info)
        decision = Decision(1, 0.0, "wrist_flexion", 0.9, 0.9, 0.9, "calibrated", True, "", 0.6)
        _, request = shape(ShaperState(), decision, grip_map, Limits(), 0.0)
        assert (request.kind, request.grip, request.accepted, request.reject) == ("none", None, False, UNMAPPED)

    def test_any_other_grip_that_a_hand_has_not_is_wrong(self) -> None:
        with pytest.raises(InputError, match="unknown grip"):
            load_hand_map(self.TURNING.replace(b"pronate", b"mouse"), ACTIONS, HANDS["servo"].info)

    @pytest.mark.sr("SR-17")
    def test_rest_must_not_turn_the_wrist_of_any_hand(self) -> None:
        with pytest.raises(InputError, match="resting"):
            load_hand_map(self.TURNING.replace(b"wrist_flexion", b"rest"), ACTIONS, HANDS["servo"].info)

    def test_who_asks_whether_a_hand_forms_every_grip_is_told_that_it_does_not(self, tmp_path: Path) -> None:
        file = tmp_path / "mine.toml"
        file.write_bytes(self.TURNING)
        runner = CliRunner()
        refused = runner.invoke(main, ["grips", "check", str(file), "--hand", "servo"])
        assert refused.exit_code == 3 and "does not turn its wrist" in refused.output
        assert runner.invoke(main, ["grips", "check", str(file), "--hand", "servo_wrist"]).exit_code == 0

    def test_a_trial_leaves_it_out_and_says_so(self, tmp_path: Path) -> None:
        file = tmp_path / "mine.toml"
        file.write_bytes(self.TURNING)
        options = ["--dry-run", "--json", "--speed", "1", "--grips", str(file)]
        tried = CliRunner().invoke(main, ["grips", "test", "brunel", *options])
        assert [each["grip"] for each in json.loads(tried.stdout)] == ["power"]
        assert "does not turn its wrist: for wrist_flexion" in tried.stderr
        tried = CliRunner().invoke(main, ["grips", "test", "servo_wrist", *options])
        assert [each["grip"] for each in json.loads(tried.stdout)] == ["power", "pronate"]
        assert "warning" not in tried.stderr


class TestShippedMap:
    def test_it_is_as_documented(self) -> None:
        catalogue = load_catalogue()
        loaded = load_grip_map(default_grips_path(), catalogue.ids, catalogue.grips)
        assert {action: (rule.grip, rule.why) for action, rule in loaded.actions.items()} == {
            "rest": (None, "meaning"),
            "fist": ("power", "meaning"),
            "hand_open": ("open", "meaning"),
            "wrist_extension": ("open", "chosen"),
            "wrist_flexion": ("lateral", "chosen"),
            "wrist_radial_deviation": ("pinch", "chosen"),
            "wrist_ulnar_deviation": ("tripod", "chosen"),
            "forearm_pronation": ("point", "chosen"),
            "forearm_supination": ("hook", "chosen"),
        }

    def test_closing_asks_for_more_than_letting_go(self) -> None:
        catalogue = load_catalogue()
        rules = load_grip_map(default_grips_path(), catalogue.ids, catalogue.grips).actions.values()
        letting_go = [rule.threshold for rule in rules if rule.grip in (None, "open")]
        closing = [rule.threshold for rule in rules if rule.grip not in (None, "open")]
        assert max(letting_go) < min(closing)

    def test_what_it_calls_meaning_is_what_the_catalogue_says(self) -> None:
        catalogue = load_catalogue()
        for action, rule in load_grip_map(default_grips_path(), catalogue.ids, catalogue.grips).actions.items():
            if rule.why == "meaning" and rule.grip is not None:
                assert catalogue[action].grip == rule.grip


class TestCommand:
    def test_show_prints_a_table(self) -> None:
        result = CliRunner().invoke(command, ["show"])
        assert result.exit_code == 0, result.output
        lines = result.output.splitlines()
        assert lines[0].split() == ["action", "grip", "threshold", "why", "note"]
        assert any(line.split()[:4] == ["fist", "power", "0.8", "meaning"] for line in lines)

    def test_show_json_is_data(self, tmp_path: Path) -> None:
        file = tmp_path / "map.toml"
        file.write_text(GOOD)
        result = CliRunner().invoke(command, ["show", str(file), "--json"])
        assert json.loads(result.output) == {"fist": {"grip": "power", "threshold": 0.8, "why": "meaning", "note": ""}}

    def test_the_shipped_map_fits_the_ability_hand(self) -> None:
        result = CliRunner().invoke(command, ["check", str(default_grips_path()), "--hand", "ability"])
        assert result.exit_code == 0, result.output
        assert "good, 9 actions, 6 closing grips, and ability forms every grip" in result.output

    @pytest.mark.parametrize(
        ("text", "options", "says"),
        [
            (GOOD.replace("power", "claw"), [], "unknown grip"),
            (GOOD.replace("fist", "fits"), [], "unknown action"),
            (GOOD, ["--hand", "abilty"], "unknown hand"),
        ],
    )
    def test_check_refuses(self, tmp_path: Path, text: str, options: list[str], says: str) -> None:
        file = tmp_path / "map.toml"
        file.write_text(text)
        result = CliRunner().invoke(command, ["check", str(file), *options])
        assert isinstance(result.exception, InputError) and says in str(result.exception)

    def test_default_names_the_file_or_prints_it(self) -> None:
        assert CliRunner().invoke(command, ["default"]).output == f"{default_grips_path()}\n"
        content = CliRunner().invoke(command, ["default", "--content"]).output
        assert content == default_grips_path().read_text()
