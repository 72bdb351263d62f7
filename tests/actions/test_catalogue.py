"""The catalogue names every action of every data set once, and says exactly what is wrong with a broken one."""

from __future__ import annotations

import ast
import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge.actions import catalogue as module
from myosem_edge.actions.catalogue import KINDS, VIEWS, Catalogue, catalogue_path, load_catalogue
from myosem_edge.errors import InputError

PACKS = Path(__file__).parents[2].parent / "shared" / "data"


def words(listing: str) -> list[str]:
    return listing.split()


EXERCISE_A = words("""index_flexion index_extension middle_flexion middle_extension ring_flexion ring_extension
    little_finger_flexion little_finger_extension thumb_adduction thumb_abduction thumb_flexion
    thumb_extension""")
EXERCISE_B = words("""thumb_up victory_sign ring_little_flexion thumb_opposition finger_abduction fist index_pointing
    finger_adduction forearm_supination forearm_pronation forearm_supination_little_finger_axis
    forearm_pronation_little_finger_axis wrist_flexion wrist_extension wrist_radial_deviation wrist_ulnar_deviation
    fist_with_wrist_extension""")
EXERCISE_C = words("""large_diameter_grasp small_diameter_grasp fixed_hook_grasp index_finger_extension_grasp
    medium_wrap ring_grasp prismatic_four_finger_grasp stick_grasp writing_tripod_grasp power_sphere_grasp
    three_finger_sphere_grasp precision_sphere_grasp tripod_grasp prismatic_pinch_grasp tip_pinch_grasp
    quadpod_grasp lateral_grasp parallel_extension_grasp extension_type_grasp power_disk_grasp open_bottle_tripod
    turn_screw cut_something""")
EXERCISE_D = words("""little_finger_press ring_finger_press middle_finger_press index_finger_press thumb_abduction_press
    thumb_press index_and_little_finger_press ring_and_middle_finger_press index_and_thumb_press""")
# The published order of exercise D is not the order of its codes: bits are little 1, ring 2, middle 4, index 8,
# thumb abduction 16, thumb flexion 32.
D_CODES = dict(zip((1, 2, 4, 8, 16, 32, 8 + 1, 4 + 2, 32 + 8), EXERCISE_D, strict=True))
KANOGA = words("""rest wrist_flexion wrist_extension wrist_radial_deviation wrist_ulnar_deviation forearm_pronation
    forearm_supination fist wrist_flexion_with_pronation wrist_extension_with_pronation
    wrist_radial_deviation_with_pronation wrist_ulnar_deviation_with_pronation wrist_flexion_with_supination
    wrist_extension_with_supination wrist_radial_deviation_with_supination wrist_ulnar_deviation_with_supination
    fist_with_wrist_flexion fist_with_wrist_extension fist_with_wrist_radial_deviation
    fist_with_wrist_ulnar_deviation fist_with_pronation fist_with_supination""")
STAGES = words("""AllFingerPinchesThumbSwipeThumbRotate CoffeePanicPete CountingUpDownFaceSideAway
    CountingUpDownFingerWigglingSpreading DoorknobFingerGraspFistGrab FastPongFronthandBackhandThrowing
    FingerAbductionSeries FingerFreeform FingerPinchesSingleFingerPinchesMultiple FingerTouchPalmClapmrburns
    FingerWigglingSpreading GraspPunchCloseFar HandClawGraspFlicks HandDeskSeparateClaspedChest
    HandOverHandAllFingerPinchesThumbSwipeThumbRotate HandOverHandCountingUpDownFingerWigglingSpreading unconstrained
    HookEmHornsOKScissors IndexPinchesMiddlePinchesThumbswipes IndividualFingerPointingSnap OneHandedFreeStyle
    PlayBlocksChess PokeDrawPinchRotateclosefar PokePinchCloseFar ShakaVulcanPeace ThumbsSwipesWholeHand
    ThumbsUpDownThumbRotationsCWCCWP TwoHandedFreeStyle WristFlexionAbduction""")


@pytest.fixture(scope="module")
def shipped() -> Catalogue:
    return load_catalogue()


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("ninapro_db1", EXERCISE_A + EXERCISE_B + EXERCISE_C),
        ("ninapro_db2", EXERCISE_B + EXERCISE_C + EXERCISE_D),
        ("ninapro_db3", EXERCISE_B + EXERCISE_C + EXERCISE_D),
        ("ninapro_db5", EXERCISE_A + EXERCISE_B + EXERCISE_C),
        ("ninapro_db7", EXERCISE_B + EXERCISE_C),
    ],
)
def test_every_ninapro_label_in_the_published_order(shipped: Catalogue, dataset: str, expected: list[str]) -> None:
    assert [shipped.resolve(dataset, label) for label in range(len(expected) + 1)] == ["rest", *expected]
    with pytest.raises(InputError, match=f"data set {dataset} has no label {len(expected) + 1}"):
        shipped.resolve(dataset, len(expected) + 1)


@pytest.mark.parametrize("dataset", ["ninapro_db2", "ninapro_db3"])
def test_force_codes_are_a_bit_mask_and_not_the_published_order(shipped: Catalogue, dataset: str) -> None:
    assert {code: shipped.resolve(dataset, f"force:{code}") for code in D_CODES} == D_CODES
    in_code_order = [shipped.resolve(dataset, f"force:{code}") for code in sorted(D_CODES)]
    in_list_order = [shipped.resolve(dataset, label) for label in range(41, 50)]
    assert sum(a != b for a, b in zip(in_code_order, in_list_order, strict=True)) == 5


def test_codes_of_pressed_pairs_are_the_sums_of_their_parts(shipped: Catalogue) -> None:
    code_of = {action_id: code for code, action_id in D_CODES.items()}
    pairs = [shipped[action_id] for action_id in EXERCISE_D if shipped[action_id].composed_of]
    assert [code_of[pair.id] for pair in pairs] == [sum(code_of[part] for part in pair.composed_of) for pair in pairs]
    assert len(pairs) == 3


def test_the_seven_grasps_of_db6_are_known_by_name_but_not_by_code(shipped: Catalogue) -> None:
    names = (
        "large diameter,adducted thumb,index finger extension,medium wrap,writing tripod,power sphere,precision sphere"
    )
    assert [shipped.resolve("ninapro_db6", name) for name in names.split(",")] == [
        "large_diameter_grasp", "adducted_thumb_grasp", "index_finger_extension_grasp", "medium_wrap",
        "writing_tripod_grasp", "power_sphere_grasp", "precision_sphere_grasp",
    ]  # fmt: skip
    for code in (1, 3, 4, 6, 9, 10, 11):
        with pytest.raises(InputError, match="unverified"):
            shipped.resolve("ninapro_db6", code)


@pytest.mark.parametrize("suffix", ["", "_both", "_left_2"])
def test_every_emg2pose_stage_with_and_without_a_suffix(shipped: Catalogue, suffix: str) -> None:
    found = [shipped[shipped.resolve("emg2pose", stage + suffix)] for stage in STAGES]
    assert len({action.id for action in found}) == 29
    assert {action.kind for action in found} == {"stage"}
    assert {action.id for action in found} == {a.id for a in shipped.actions.values() if a.kind == "stage"}


def test_kanoga_compounds_are_made_of_its_own_primitives(shipped: Catalogue) -> None:
    found = [shipped.resolve("myo_kanoga22", label) for label in range(22)]
    assert found == KANOGA
    assert all(shipped[action_id].kind == "compound" for action_id in found[8:])
    assert {part for action_id in found[8:] for part in shipped[action_id].composed_of} == set(KANOGA[1:8])


def test_one_action_has_one_id_whatever_a_data_set_calls_it(shipped: Catalogue) -> None:
    calls = [("myo_readings8", 7), ("myo_kanoga22", 7), ("myo_cotelallard7", 5), ("flexemg64", 1), ("ninapro_db2", 6)]
    assert {shipped.resolve(*call) for call in calls} == {"fist"}
    assert shipped["fist"].grip == "power"


@pytest.mark.parametrize("pack", ["flexemg64", "myo_cotelallard7", "myo_kanoga22", "myo_readings8", "unibo_inail4"])
def test_every_gesture_of_a_pack_resolves_unless_its_name_is_unverified(shipped: Catalogue, pack: str) -> None:
    meta_path = PACKS / pack / "meta.json"
    if not meta_path.exists():
        pytest.skip("the data packs are not beside this checkout")
    meta = json.loads(meta_path.read_text())
    for gesture in meta["gestures"]:
        if "UNVERIFIED" in gesture.get("confidence", ""):
            with pytest.raises(InputError, match=f"{pack} means by label {gesture['id']} is unverified"):
                shipped.resolve(pack, gesture["id"])
            continue
        action = shipped[shipped.resolve(pack, gesture["id"])]
        parts = tuple(shipped.resolve(pack, part) for part in gesture.get("components", []))
        if len(parts) == 2:
            assert set(action.composed_of) == set(parts), gesture
        if gesture["name"].replace(" ", "_") in shipped.ids:
            assert action.id == gesture["name"].replace(" ", "_")


@pytest.mark.parametrize(
    ("group", "members"),
    [
        ("supination", "B9 B11"), ("pronation", "B10 B12"), ("cylindrical_grasps", "C18 C19 C22"),
        ("stick_grasps", "C24 C25 C39"), ("tripod_grasps", "C26 C30 C33 C38"), ("spherical_grasps", "C27 C28 C29"),
        ("pinch_grasps", "C31 C32"), ("knife_grasps", "C21 C40"),
    ],
)  # fmt: skip
def test_near_synonyms_share_a_group(shipped: Catalogue, group: str, members: str) -> None:
    ids = {shipped.resolve("ninapro_db2", member[1:]) for member in members.split()}
    assert {a.id for a in shipped.actions.values() if a.group == group} == ids
    for action_id in ids:
        assert set(shipped.neighbours(action_id)) == ids - {action_id}


def test_what_stands_alone_has_no_neighbours(shipped: Catalogue) -> None:
    assert shipped.neighbours("rest") == ()


def test_every_grip_a_common_hand_forms_is_meant_by_an_action(shipped: Catalogue) -> None:
    meant = {action.grip for action in shipped.actions.values()}
    assert {"open", "power", "lateral", "pinch", "tripod", "point", "hook", "cylinder"} <= meant
    assert shipped["rest"].grip is None, "rest must never move a hand"


def test_views_are_sentences_a_person_would_say(shipped: Catalogue) -> None:
    for action in shipped.actions.values():
        for view, text in zip(VIEWS, action.texts, strict=True):
            assert 6 <= len(text.split()) <= 25, (action.id, view, text)
            assert text[0].isupper() and text.endswith("."), (action.id, view, text)


def test_exactly_one_action_is_rest_and_every_kind_is_used(shipped: Catalogue) -> None:
    kinds = [action.kind for action in shipped.actions.values()]
    assert kinds.count("rest") == 1
    assert set(kinds) == set(KINDS)


def test_the_module_needs_the_standard_library_only() -> None:
    names = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    assert not {name for name in names if name.split(".")[0] in {"numpy", "safetensors", "torch", "click"}}
    assert {name for name in names if name.startswith("myosem_edge")} == {"myosem_edge.errors"}


class _LikeAnArrayInteger:
    def __index__(self) -> int:
        return 6


@pytest.mark.parametrize("label", [6, "6", " 6 ", _LikeAnArrayInteger()])
def test_a_label_may_be_any_integer_or_its_digits(shipped: Catalogue, label: object) -> None:
    assert shipped.resolve("ninapro_db2", label) == "fist"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dataset", "label", "fragments"),
    [
        ("ninapro_db22", 1, ["no data set 'ninapro_db22'", "Did you mean 'ninapro_db2'?"]),
        ("myo_readings8", 8, ["data set myo_readings8 has no label 8", "0 to 7"]),
        ("emg2pose", "ShakaVulcanPiece", ["data set emg2pose has no label 'ShakaVulcanPiece'", "'ShakaVulcanPeace'?"]),
        ("ninapro_db2", 1.0, ["must be an integer or a text", "float 1.0"]),
        ("unibo_inail4", 1, ["means by label 1 is unverified", "anonymous class"]),
    ],
)
def test_what_cannot_be_resolved_is_explained(
    shipped: Catalogue, dataset: str, label: object, fragments: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        shipped.resolve(dataset, label)  # type: ignore[arg-type]
    for fragment in fragments:
        assert fragment in str(caught.value)


@given(label=st.one_of(st.integers(), st.text(max_size=30)), dataset=st.sampled_from(sorted(load_catalogue().datasets)))
def test_resolving_anything_gives_an_action_or_an_input_error(label: int | str, dataset: str) -> None:
    try:
        assert load_catalogue().resolve(dataset, label) in load_catalogue().actions
    except InputError as error:
        assert dataset in str(error)


def test_an_unknown_id_names_the_nearest_one(shipped: Catalogue) -> None:
    with pytest.raises(InputError, match=r"no action 'wrist_flection'.*Did you mean 'wrist_flexion'\?"):
        shipped["wrist_flection"]


def test_the_catalogue_cannot_be_changed(shipped: Catalogue) -> None:
    with pytest.raises(TypeError):
        shipped.actions["fist"] = shipped["rest"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        shipped["fist"].kind = "rest"  # type: ignore[misc]


GOOD = """
[datasets.lab]
note = "Labels of the laboratory."
unverified = [9]

[groups]
turning = "Turning the forearm."

[grips]
power = "All digits close."

[actions.up]
kind = "movement"
name = "Turn it up."
kinematics = "It goes up."
muscles = "The lifter lifts."
function = "For raising."
group = "turning"
antonym = "down"
aliases = { lab = [1, "up"] }

[actions.down]
kind = "movement"
name = "Turn it down."
kinematics = "It goes down."
muscles = "The lowerer lowers."
function = "For dropping."
group = "turning"
antonym = "up"
grip = "power"
aliases = { lab = [2] }

[actions.both]
kind = "compound"
name = "Do both."
kinematics = "It goes nowhere."
muscles = "Everything pulls."
function = "For training."
composed_of = ["up", "down"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "broken.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_small_catalogue_of_ones_own(tmp_path: Path) -> None:
    own = load_catalogue(write(tmp_path, GOOD))
    assert own.ids == ("up", "down", "both")
    assert own.neighbours("up") == ("down",)
    assert own.resolve("lab", "UP") == "up"
    assert own.groups == {"turning": "Turning the forearm."}
    assert own["both"].texts == ("Do both.", "It goes nowhere.", "Everything pulls.", "For training.")
    assert len(own) == 3


@pytest.mark.parametrize(
    ("old", "new", "fragments"),
    [
        ('muscles = "The lifter', 'muscels = "The lifter', ["[actions.up] muscels", "unknown key", "'muscles'?"]),
        ("[groups]", "[gruops]", ["unknown key", "'groups'?"]),
        ("unverified = [9]", "unverifeid = [9]", ["[datasets.lab] unverifeid", "'unverified'?"]),
        ('function = "For raising."\n', "", ["[actions.up] function", "'function' is missing"]),
        ('"Turn it up."', '"  "', ["[actions.up] name", "not empty"]),
        ('"Turn it up."', "7", ["[actions.up] name", "found 7"]),
        ('name = "Do both."', 'name = "turn  IT up."', ["[actions.both] name", "the same as [actions.up] name"]),
        ('kind = "compound"', 'kind = "compond"', ["[actions.both] kind", "Did you mean 'compound'?"]),
        ('antonym = "up"\n', "", ["[actions.up] antonym", "and 'down' does not", "found antonym none"]),
        ('antonym = "up"', 'antonym = "uqp"', ["[actions.down] antonym", "no action 'uqp'", "'up'?"]),
        ('antonym = "up"', 'antonym = "down"', ["[actions.up] antonym", "found antonym down there"]),
        ('antonym = "down"', 'antonym = "up"', ["[actions.up] antonym", "must be another action"]),
        ('["up", "down"]', '["up", "dwn"]', ["[actions.both] composed_of", "no action 'dwn'", "'down'?"]),
        ('["up", "down"]', '["up", "both"]', ["[actions.both] composed_of", "a compound itself"]),
        ('["up", "down"]', '["up"]', ["[actions.both] composed_of", "two parts", "compound with 1"]),
        ('["up", "down"]', '"up"', ["[actions.both] composed_of", "list of ids"]),
        ('kind = "compound"', 'kind = "movement"', ["[actions.both] composed_of", "movement with 2"]),
        ('group = "turning"', 'group = "turing"', ["[actions.up] group", "'turning'?"]),
        ('grip = "power"', 'grip = "powr"', ["[actions.down] grip", "'power'?"]),
        ("{ lab = [2] }", "{ lap = [2] }", ["[actions.down] aliases.lap", "no data set 'lap'", "'lab'?"]),
        ("{ lab = [2] }", "{ lab = [1] }", ["[actions.down] aliases.lab", "already an alias of 'up'"]),
        ("{ lab = [2] }", '{ lab = ["UP"] }', ["[actions.down] aliases.lab", "already an alias of 'up'"]),
        ("{ lab = [2] }", "{ lab = [2, 2] }", ["[actions.down] aliases.lab", "already an alias of 'down'"]),
        ("{ lab = [2] }", "{ lab = [9] }", ["[actions.down] aliases.lab", "unverified"]),
        ("{ lab = [2] }", "{ lab = [true] }", ["[actions.down] aliases.lab", "integers or texts"]),
        ("{ lab = [2] }", "{ lab = 2 }", ["[actions.down] aliases.lab", "integers or texts"]),
        ("{ lab = [2] }", "[2]", ["[actions.down.aliases]", "must be a table"]),
        ("unverified = [9]", "unverified = 9", ["[datasets.lab] unverified", "integers or texts"]),
        ("[actions.both]", "[actions.Both]", ["[actions.Both]", "snake_case"]),
        ("[actions.both]", "[actions.up]", ["not valid TOML", "line"]),
        ('turning = "Turning the forearm."', "turning = 1", ["[groups] turning", "not empty"]),
    ],
)  # fmt: skip
def test_a_broken_catalogue_is_refused_with_file_table_and_key(
    tmp_path: Path, old: str, new: str, fragments: list[str]
) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load_catalogue(path)
    for fragment in [str(path), *fragments]:
        assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("content", "fragment"),
    [(b"\xff\xfe", "not valid TOML"), (b"[actions]\n", "holds no action"), (b"actions = 1\n", "must be a table")],
)
def test_a_file_that_is_no_catalogue(tmp_path: Path, content: bytes, fragment: str) -> None:
    path = tmp_path / "other.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=fragment):
        load_catalogue(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_catalogue(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("Turn it up.", "Turn it up!", False),
        ("[actions.both]", "[actions.all]", False),
        ('grip = "power"\n', "", True),
        ("{ lab = [2] }", "{ lab = [3] }", True),
    ],
)
def test_the_hash_of_the_texts_changes_with_ids_and_texts_only(tmp_path: Path, old: str, new: str, same: bool) -> None:
    before = load_catalogue(write(tmp_path, GOOD)).texts_sha256
    assert (load_catalogue(write(tmp_path, GOOD.replace(old, new, 1))).texts_sha256 == before) is same


def test_the_shipped_file_is_the_default(shipped: Catalogue) -> None:
    assert load_catalogue(catalogue_path()) == shipped
    assert shipped.source == str(catalogue_path())
