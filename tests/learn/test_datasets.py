"""The packs' loaders: true schema in, believed labels out, and every bad file one clear error."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from myosem_edge.actions.catalogue import OWN, load_catalogue
from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.sessions import ANONYMOUS, NO_ACTION, sessions_of
from myosem_edge.learn.corpus.splits import DATASETS as FAMILIES
from myosem_edge.learn.datasets import (
    DATASETS,
    data_set,
    flexemg64,
    myo_cotelallard7,
    myo_kanoga22,
    myo_readings8,
    unibo_inail4,
)
from tests.conftest import shared_data

Arrays = dict[str, np.ndarray]
RATE_HZ = 200


def stream(gesture: int, repetitions: int = 2, cue_s: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and repetitions of a cued stream: rest, gesture, rest, gesture; rest carries repetition 0."""
    n = round(cue_s * RATE_HZ)
    label = np.tile(np.repeat([0, gesture], n), repetitions)
    repetition = np.where(label > 0, np.repeat(np.arange(1, repetitions + 1), 2 * n), 0)
    return label.astype(np.uint8), repetition.astype(np.uint8)


def readings(hand: int = 0) -> Arrays:
    """Two recordings as in myo_readings8: the free-movement minute and one of gesture 3."""
    label, repetition = stream(3)
    free = np.zeros(1000, np.uint8)
    samples = len(free) + len(label)
    return {
        "emg": np.random.default_rng(0).integers(-128, 128, (samples, 8)).astype(np.int8),
        "label": np.concatenate((free, label)),
        "repetition": np.concatenate((free, repetition)),
        "rec_ptr": np.array([0, len(free), samples]),
        "rec_session": np.array([1, 1]),
        "rec_hand": np.array([hand, hand]),
        "rec_gesture": np.array([0, 3]),
        "rec_curated": np.array([1, 1]),
    }


def write(folder: Path, arrays: Arrays, subject: str = "p1") -> Path:
    np.savez_compressed(folder / f"{subject}.npz", **arrays)
    return folder / f"{subject}.npz"


def test_only_permissive_data_sets_train_what_ships() -> None:
    assert {name: (d.licence, d.may_ship) for name, d in DATASETS.items()} == {
        "myo_readings8": ("MIT", True),
        "myo_kanoga22": ("Apache-2.0", True),
        "myo_cotelallard7": ("GPL-3.0", False),
        "unibo_inail4": ("LGPL-2.1", False),
        "flexemg64": ("GPL-3.0", False),
        **{f"ninapro_db{n}": ("registration, non-commercial research", False) for n in (1, 2, 3, 5, 6, 7)},
        "emg2pose": ("CC BY-NC-SA 4.0", False),
        "own": ("as agreed with those who were recorded", False),
    }
    assert set(DATASETS) - {OWN} == set(load_catalogue().datasets), "its labels are the catalogue's own ids"
    assert all(data_set(name).may_ship for name in FAMILIES["shipped"])


def test_the_page_says_of_every_data_set_what_its_loader_does() -> None:
    page = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    listed: dict[str, tuple[str, str]] = {}
    above = ["", "", "", ""]
    for line in re.findall(r"^\| `.*", page, re.MULTILINE):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        above = [old if new == "as above" else new for old, new in zip(above, cells, strict=True)]
        listed |= dict.fromkeys(re.findall(r"`(\w+)`", cells[0]), (above[2], above[3]))
    assert listed.keys() == DATASETS.keys() - {OWN}, "which says itself what it is"
    for name, (licence, electrodes) in listed.items():
        source, montage = DATASETS[name], DATASETS[name].montage
        rings = montage.turning_rings
        many = "ring" if rings == 1 else "rings"
        where = f"{rings} {many} of {montage.channels // rings}" if rings else f"{montage.channels} places"
        rate = f"{montage.rate_hz / 1000:g} kHz" if montage.rate_hz >= 1000 else f"{montage.rate_hz:g} Hz"
        assert licence == source.licence
        assert electrodes == f"{where}, {rate}" + (", envelopes" if montage.envelope else "")


def test_an_unknown_data_set_names_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'myo_kanoga22'"):
        data_set("myo_kanoga")


def test_the_lag_of_a_cue_is_cut_where_the_label_changes(tmp_path: Path) -> None:
    write(tmp_path, readings())
    _, cued = myo_readings8.read(tmp_path, "p1")
    active, rest = round(0.75 * RATE_HZ), round(1.25 * RATE_HZ)
    for start, cut in ((0, rest), (1000, active), (2000, rest), (3000, active)):
        assert not cued.usable[start : start + cut].any()
        assert cued.usable[start + cut : start + 1000].all()
    assert cued.label[1500] == 3 and cued.repetition[3500] == 2


def test_the_free_movement_minute_is_no_rest(tmp_path: Path) -> None:
    write(tmp_path, readings())
    free, cued = myo_readings8.read(tmp_path, "p1")
    assert free.facts["gesture"] == 0 and not free.usable.any()
    assert cued.usable.any()


@pytest.mark.parametrize("hand", [0, 1])
def test_a_left_arm_is_known(tmp_path: Path, hand: int) -> None:
    write(tmp_path, readings(hand))
    assert {r.mirrored for r in myo_readings8.read(tmp_path, "p1")} == {bool(hand)}


def kanoga() -> Arrays:
    return {
        "emg": np.full((600, 8), 2048, np.int16),
        "label": np.repeat([4, 21], 300).astype(np.uint8),
        "repetition": np.ones(600, np.uint8),
        "rec_ptr": np.array([0, 300, 600]),
        "rec_day": np.array([4, 27]),
        "rec_position": np.array([0, 0]),
        "rec_trial": np.array([1, 1]),
        "rec_gesture": np.array([4, 21]),
    }


def test_kanoga_comes_back_in_the_armbands_own_counts_a_session_a_day(tmp_path: Path) -> None:
    """Full scale is stored as 2048 and is 128 counts of the armband."""
    write(tmp_path, kanoga())
    found = list(myo_kanoga22.read(tmp_path, "p1"))
    assert [r.session for r in found] == ["day04", "day27"]
    assert all((r.emg == 128.0).all() and r.usable.all() for r in found)


def cotelallard() -> Arrays:
    return {
        "emg": np.ones((3000, 8), np.int8),
        "label": np.repeat([1, 2, 2], 1000).astype(np.uint8),
        "repetition": np.ones(3000, np.uint8),
        "rec_ptr": np.array([0, 1000, 2000, 3000]),
        "rec_set": np.array([0, 0, 1]),
        "rec_cycle": np.array([1, 1, 1]),
        "rec_gesture": np.array([1, 2, 2]),
    }


def test_cotelallard_keeps_one_set_a_person_and_cuts_the_start_of_a_hold(tmp_path: Path) -> None:
    write(tmp_path, cotelallard())
    found = list(myo_cotelallard7.read(tmp_path, "p1"))
    assert [r.facts["set"] for r in found] == [0, 0]
    assert all(not r.usable[:100].any() and r.usable[100:].all() for r in found)


def test_the_sources_duplicated_people_are_not_there_twice() -> None:
    """Female7 to Female9 of the source's first part are the same bytes as Female0 of its second."""
    subjects = data_set("myo_cotelallard7").subjects(shared_data("myo_cotelallard7"))
    assert "E_Female0" in subjects
    assert not {"P_Female7", "P_Female8", "P_Female9"} & set(subjects)


ARMBANDS = ("myo_readings8", "myo_kanoga22", "myo_cotelallard7")


@pytest.mark.parametrize("pack", (*ARMBANDS, "unibo_inail4", "flexemg64"))
def test_a_real_person_of_every_pack_is_read(pack: str) -> None:
    source, folder = DATASETS[pack], shared_data(pack)
    subject = source.subjects(folder)[0]
    recordings = list(source.read(folder, subject))
    assert recordings and any(r.usable.any() for r in recordings)
    assert all(r.emg.shape[1] == source.montage.channels and r.mask.all() for r in recordings)
    assert all(path.is_file() for path in source.sources(folder, subject))
    levels = [np.sqrt(np.square(r.emg).mean()) for r in recordings]
    if pack in ARMBANDS:
        assert 3 < np.median(levels) < 60  # counts of one armband: the scales agree


def unibo() -> Arrays:
    label, repetition = stream(2, cue_s=1.0)
    return {
        "emg": np.abs(np.random.default_rng(0).normal(500, 100, (2 * len(label), 4))).astype(np.int16),
        "label": np.concatenate((label, label)),
        "repetition": np.concatenate((repetition, repetition)),
        "label_cue": np.zeros(2 * len(label), np.uint8),
        "rec_ptr": np.array([0, len(label), 2 * len(label)]),
        "rec_day": np.array([1, 3]),
        "rec_posture": np.array([4, 1]),
    }


def test_unibo_is_envelopes_a_session_a_day(tmp_path: Path) -> None:
    write(tmp_path, unibo())
    found = list(unibo_inail4.read(tmp_path, "p1"))
    assert [(r.session, r.facts["posture"]) for r in found] == [("day1", 4), ("day3", 1)]
    assert found[0].montage.envelope and found[0].montage.rate_hz == 100.0
    assert np.array_equal(found[0].emg, 2.0 * unibo()["emg"][:800])


def test_unverified_gestures_never_become_actions_with_a_text(tmp_path: Path) -> None:
    write(tmp_path, unibo())
    catalogue = load_catalogue()
    rest = catalogue.ids.index("rest")
    plain = sessions_of(unibo_inail4.read(tmp_path, "p1"), catalogue)
    assert {int(a) for s in plain for c in s.clips for a in c.action} == {rest, NO_ACTION}
    asked = sessions_of(unibo_inail4.read(tmp_path, "p1"), catalogue, anonymous=True)
    assert {int(a) for s in asked for c in s.clips for a in c.action} == {rest, ANONYMOUS + 2}


def test_an_envelope_is_not_high_passed(tmp_path: Path) -> None:
    write(tmp_path, unibo())
    session, _ = sessions_of(unibo_inail4.read(tmp_path, "p1"), load_catalogue())
    raw = next(iter(unibo_inail4.read(tmp_path, "p1"))).emg
    assert np.allclose(session.clips[0].x, raw[: len(session.clips[0].x)], rtol=1e-6)


PLACES = np.arange(64, 0, -1).reshape(16, 4)


def flexemg(folder: Path, places: np.ndarray = PLACES) -> None:
    """Two trials of rest, two cues and rest, the channel's number as its signal."""
    n = 2000
    label = np.tile(np.repeat([0, 1, 4, 0], n), 2).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "arraymap.npy", places)
    write(
        folder,
        {
            "emg": np.tile(np.arange(64), (len(label), 1)).astype(np.int16),
            "label": label,
            "repetition": (label > 0).astype(np.uint8),
            "rec_ptr": np.array([0, 4 * n, 8 * n]),
            "rec_session": np.array([1, 2]),
            "rec_trial": np.array([3, 1]),
            "rec_dc_offset": np.zeros((2, 64), np.int16),
        },
    )


def test_flexemg_comes_ring_by_ring_around_the_arm(tmp_path: Path) -> None:
    flexemg(tmp_path)
    first, second = flexemg64.read(tmp_path, "p1")
    channel = np.rint(first.emg[0] / flexemg64.UV_PER_COUNT).astype(int) + 1
    assert np.array_equal(channel.reshape(4, 16), PLACES.T)
    assert (first.montage.rings, first.montage.channels, first.montage.rate_hz) == (4, 64, 1000.0)
    assert [r.session for r in (first, second)] == ["1", "2"]
    assert [sorted(set(r.repetition.tolist())) for r in (first, second)] == [[0, 3], [0, 1]]


def test_flexemg_leaves_a_margin_on_both_sides_of_a_cue(tmp_path: Path) -> None:
    flexemg(tmp_path)
    first, _ = flexemg64.read(tmp_path, "p1")
    for change, after in ((2000, 750), (4000, 750), (6000, 1250)):
        assert not first.usable[change - 250 : change + after].any()
        assert first.usable[change - 251] and first.usable[change + after]


@pytest.mark.parametrize("places", [np.arange(64).reshape(16, 4), PLACES.T, np.ones((16, 4), int)])
def test_a_map_that_is_no_map_is_refused(tmp_path: Path, places: np.ndarray) -> None:
    flexemg(tmp_path, places)
    with pytest.raises(InputError, match="does not hold every channel once"):
        list(flexemg64.read(tmp_path, "p1"))
    (tmp_path / "arraymap.npy").unlink()
    with pytest.raises(InputError, match="not a readable map"):
        list(flexemg64.read(tmp_path, "p1"))


def test_subjects_are_sorted_and_native_copies_left_out(tmp_path: Path) -> None:
    for name in ("b", "a", "native_500hz_a"):
        write(tmp_path, readings(), name)
    assert data_set("myo_readings8").subjects(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("folder", ["absent", "."])
def test_a_folder_without_recordings_is_said(tmp_path: Path, folder: str) -> None:
    with pytest.raises(InputError, match=r"no such data folder|holds no recordings"):
        data_set("myo_readings8").subjects(tmp_path / folder)


def changed(**arrays: object) -> Callable[[Arrays], Arrays]:
    return lambda good: {**good, **{name: np.asarray(value) for name, value in arrays.items()}}


def without(name: str) -> Callable[[Arrays], Arrays]:
    return lambda good: {key: value for key, value in good.items() if key != name}


def with_nan(good: Arrays) -> Arrays:
    emg = good["emg"].astype(np.float32)
    emg[17, 3] = np.nan
    return {**good, "emg": emg}


BAD: dict[str, tuple[Callable[[Arrays], Arrays], str]] = {
    **{f"no {name}": (without(name), f"lacks arrays.*expected {name}") for name in ("emg", "label", "rec_ptr")},
    "no rec_hand": (without("rec_hand"), "lacks arrays.*expected rec_hand"),
    "four channels": (lambda a: {**a, "emg": a["emg"][:, :4]}, r"wrong shape of emg \(found \(5000, 4\)"),
    "one line": (lambda a: {**a, "emg": a["emg"][:, 0]}, "wrong shape of emg"),
    "words": (lambda a: {**a, "emg": a["emg"].astype("U4")}, "no real numbers"),
    "NaN": (with_nan, "not finite"),
    "empty": (changed(emg=np.zeros((0, 8))), "empty"),
    "short labels": (lambda a: {**a, "label": a["label"][:-1]}, "label is not one whole number a sample"),
    "real labels": (lambda a: {**a, "repetition": a["repetition"] + 0.5}, "repetition is not one whole number"),
    "borders short": (changed(rec_ptr=[0, 1000, 4000]), "rec_ptr does not cover"),
    "borders late": (changed(rec_ptr=[5, 1000, 5000]), "rec_ptr does not cover"),
    "borders fall": (changed(rec_ptr=[0, 4000, 1000, 5000]), "rec_ptr does not cover"),
    "borders unsigned fall": (changed(rec_ptr=np.array([0, 4000, 1000, 5000], np.uint32)), "rec_ptr does not cover"),
    "no borders": (changed(rec_ptr=np.array([], np.int64)), "rec_ptr does not cover"),
    "real borders": (changed(rec_ptr=[0.0, 1000.0, 5000.0]), "rec_ptr does not cover"),
    "too few facts": (changed(rec_hand=[0]), "rec_hand is not one value a recording"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_contents_are_one_clear_error(tmp_path: Path, case: str) -> None:
    change, message = BAD[case]
    path = write(tmp_path, change(readings()))
    with pytest.raises(InputError, match=message) as caught:
        list(myo_readings8.read(tmp_path, "p1"))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("loader", "arrays", "fact"),
    [(myo_kanoga22, kanoga(), "rec_day"), (myo_cotelallard7, cotelallard(), "rec_set")],
    ids=["kanoga", "cotelallard"],
)
def test_a_fact_that_a_data_set_needs_is_asked_for(tmp_path: Path, loader: object, arrays: Arrays, fact: str) -> None:
    write(tmp_path, without(fact)(arrays))
    with pytest.raises(InputError, match=f"expected {fact}"):
        list(loader.read(tmp_path, "p1"))  # type: ignore[attr-defined]


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_file_is_one_clear_error(tmp_path: Path, keep: float) -> None:
    path = write(tmp_path, readings())
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(InputError, match="not a readable recording file"):
        list(myo_readings8.read(tmp_path, "p1"))


def test_flipped_bytes_are_one_clear_error(tmp_path: Path) -> None:
    path = write(tmp_path, readings())
    data = bytearray(path.read_bytes())
    data[2000:2040] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(InputError, match="not a readable recording file"):
        list(myo_readings8.read(tmp_path, "p1"))


def test_a_missing_file_and_a_bare_array_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        list(myo_readings8.read(tmp_path, "p1"))
    with (tmp_path / "p1.npz").open("wb") as file:
        np.save(file, np.zeros((10, 8)))
    with pytest.raises(InputError, match="one array"):
        list(myo_readings8.read(tmp_path, "p1"))


class Bomb:
    """Unpickling it would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.target,)


def test_a_pickled_object_is_refused_unopened(tmp_path: Path) -> None:
    target = tmp_path / "exploded"
    write(tmp_path, {**readings(), "label": np.array([Bomb(target)], dtype=object)})
    with pytest.raises(InputError, match="not a readable recording file"):
        list(myo_readings8.read(tmp_path, "p1"))
    assert not target.exists()
