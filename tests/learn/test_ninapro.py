"""The NinaPro loaders on files in the true layout, with every trap that public copies are known to hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

h5py = pytest.importorskip("h5py", reason="the [train] extra is not installed")
from scipy.io import savemat  # noqa: E402

from myosem_edge.actions.catalogue import load_catalogue  # noqa: E402
from myosem_edge.errors import InputError  # noqa: E402
from myosem_edge.learn.corpus.folders import load_sessions  # noqa: E402
from myosem_edge.learn.corpus.sessions import ANONYMOUS, NO_ACTION, sessions_of  # noqa: E402
from myosem_edge.learn.datasets import DATASETS, data_set  # noqa: E402
from myosem_edge.learn.datasets.recording import LOOK_BACK_S, Recording, following_repetition  # noqa: E402

NAMES = ("ninapro_db1", "ninapro_db2", "ninapro_db3", "ninapro_db5", "ninapro_db6", "ninapro_db7")
HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2018 HDF5 schema 1.00 ."
CATALOGUE = load_catalogue()
Variables = dict[str, Any]


def variables(name: str, labels: list[int], repetitions: int = 2, hold: int = 0) -> Variables:
    """An exercise as the files hold it: rest, movement, rest, movement; columns of numbers, (n, 1) labels."""
    montage = DATASETS[name].montage
    hold = hold or round(montage.rate_hz)
    columns = montage.channels + (2 if name == "ninapro_db6" else 0)
    each = np.tile(np.repeat([0, 1], hold), repetitions)
    label = np.concatenate([each * k for k in labels])
    repetition = np.tile(np.repeat(np.arange(1, repetitions + 1), 2 * hold), len(labels)) * (label > 0)
    emg = np.random.default_rng(len(label)).normal(0, 2e-5, (len(label), columns)) * (1 + label[:, None])
    if montage.envelope:
        emg = np.abs(emg)
    if name == "ninapro_db6":
        emg[:, [8, 9]] = 0
    return {
        "subject": np.array([[1]]),
        "exercise": np.array([[1]]),
        "emg": emg,
        "acc": np.zeros((len(label), 3)),
        "glove": np.zeros((len(label), 22)),
        "stimulus": np.roll(label, 50).reshape(-1, 1),
        "restimulus": label.reshape(-1, 1),
        "repetition": np.roll(repetition, 50).reshape(-1, 1),
        "rerepetition": repetition.reshape(-1, 1),
    }


def write(path: Path, values: Variables, version: str = "5") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if version == "5":
        savemat(path, values)
        return path
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in values.items():
            how = {"chunks": True, "compression": "gzip"} if np.size(value) else {}
            file.create_dataset(name, data=np.asarray(value).T, **how)
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
    with path.open("r+b") as raw:
        raw.write(HEADER.ljust(116) + bytes(8) + b"\x00\x02IM")
    return path


def file_name(name: str) -> str:
    return "S1_D1_T1.mat" if name == "ninapro_db6" else "S1_E1_A1.mat"


def read(name: str, folder: Path, subject: str = "s01") -> list[Recording]:
    return list(DATASETS[name].read(folder, subject))


def active(recording: Recording) -> list[int]:
    return sorted(set(recording.label.tolist()) - {0})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("version", ["5", "7.3"])
def test_both_versions_of_the_format_hold_the_same(tmp_path: Path, name: str, version: str) -> None:
    values = variables(name, [1, 3])
    write(tmp_path / file_name(name), values, version)
    (recording,) = read(name, tmp_path)
    montage = DATASETS[name].montage
    assert recording.emg.dtype == np.float32
    assert recording.emg.shape == (len(values["emg"]), montage.channels)
    kept = np.delete(values["emg"], [8, 9], axis=1) if name == "ninapro_db6" else values["emg"]
    assert np.allclose(recording.emg, kept * (1e6 if montage.unit == "uV" else 1.0), rtol=1e-5)
    assert np.array_equal(recording.label, values["restimulus"].ravel())
    assert np.array_equal(recording.repetition, values["rerepetition"].ravel())
    assert recording.notes == () and recording.mask.all()


def test_a_73_file_is_recognised_by_its_content(tmp_path: Path) -> None:
    path = write(tmp_path / "S1_E1_A1.mat", variables("ninapro_db2", [1]), "7.3")
    assert path.read_bytes().startswith(b"MATLAB 7.3") and h5py.is_hdf5(path)


@pytest.mark.parametrize("pattern", ["S{s}_E{e}_A1.mat", "S{s}_A1_E{e}.mat", "DB2_s{s}/s{s}_e{e}_a1.mat"])
def test_both_orders_of_the_file_name_are_known_at_any_depth(tmp_path: Path, pattern: str) -> None:
    for subject in (2, 10):
        for exercise, label in ((1, 1), (2, 18)):
            write(tmp_path / pattern.format(s=subject, e=exercise), variables("ninapro_db2", [label]))
    write(tmp_path / "notes.mat", {"x": 1})
    assert data_set("ninapro_db2").subjects(tmp_path) == ["s02", "s10"]
    found = read("ninapro_db2", tmp_path, "s10")
    assert [(r.facts["exercise"], active(r), r.session) for r in found] == [(1, [1], "a1"), (2, [18], "a1")]
    assert len(data_set("ninapro_db2").sources(tmp_path, "s10")) == 2


def test_the_same_exercise_twice_is_refused(tmp_path: Path) -> None:
    for name in ("S1_E1_A1.mat", "S1_A1_E1.mat"):
        write(tmp_path / name, variables("ninapro_db2", [1]))
    with pytest.raises(InputError, match="two files of the same subject and exercise"):
        data_set("ninapro_db2").subjects(tmp_path)


@pytest.mark.parametrize("name", ["ninapro_db1", "ninapro_db5"])
def test_files_that_restart_at_one_become_one_numbering(tmp_path: Path, name: str) -> None:
    for exercise, count in ((1, 12), (2, 17), (3, 23)):
        write(tmp_path / f"S1_E{exercise}_A1.mat", variables(name, list(range(1, count + 1)), hold=20))
    found = read(name, tmp_path)
    assert [active(r) for r in found] == [list(range(1, 13)), list(range(13, 30)), list(range(30, 53))]
    assert all(r.notes == () for r in found)


@pytest.mark.parametrize("name", ["ninapro_db2", "ninapro_db3", "ninapro_db7"])
def test_files_that_number_on_are_left_alone(tmp_path: Path, name: str) -> None:
    for exercise, labels in ((1, range(1, 18)), (2, range(18, 41))):
        write(tmp_path / f"S1_E{exercise}_A1.mat", variables(name, list(labels), hold=100))
    found = read(name, tmp_path)
    assert [active(r) for r in found] == [list(range(1, 18)), list(range(18, 41))]


@pytest.mark.parametrize(
    ("name", "exercise", "labels", "expected", "note"),
    [
        ("ninapro_db2", 2, range(1, 24), range(18, 41), "restart at 1: 17 added"),
        ("ninapro_db3", 2, range(1, 13), range(18, 30), "restart at 1: 17 added"),
        ("ninapro_db1", 2, range(13, 30), range(13, 30), "number on from 13: kept"),
        ("ninapro_db5", 3, range(30, 53), range(30, 53), "number on from 30: kept"),
    ],
)
def test_a_copy_that_numbers_the_other_way_is_detected_and_said(
    tmp_path: Path, name: str, exercise: int, labels: range, expected: range, note: str
) -> None:
    write(tmp_path / f"S1_E{exercise}_A1.mat", variables(name, list(labels), hold=20))
    (recording,) = read(name, tmp_path)
    assert active(recording) == list(expected)
    assert any(note in each for each in recording.notes)


def named_actions(recording: Recording) -> dict[int, str]:
    """Believed labels of a recording, as the catalogue names them, by the number in the file."""
    label = {int(k) for k in np.unique(recording.label[recording.usable])} - {0}
    return {k: CATALOGUE.resolve(recording.dataset, recording.aliases.get(k, k)) for k in sorted(label)}


@pytest.mark.parametrize("name", ["ninapro_db2", "ninapro_db3"])
def test_force_codes_are_a_bit_mask_and_no_list(tmp_path: Path, name: str) -> None:
    """Zipping the published list onto the codes in numerical order mislabels five of nine actions."""
    codes = [1, 2, 4, 6, 8, 9, 16, 32, 40]
    write(tmp_path / "S1_E3_A1.mat", variables(name, codes, hold=2000))
    (recording,) = read(name, tmp_path)
    found = named_actions(recording)
    published = {1: 41, 2: 42, 4: 43, 8: 44, 16: 45, 32: 46, 9: 47, 6: 48, 40: 49}
    assert {k - 100: action for k, action in found.items()} == {
        code: CATALOGUE.resolve(name, number) for code, number in published.items()
    }
    in_order = dict(zip(codes, range(41, 50), strict=True))
    assert sum(published[code] != in_order[code] for code in codes) == 5
    movements = {CATALOGUE.resolve(name, k) for k in range(1, 18)}
    assert not movements & set(found.values())  # code 1 is no thumb up


@pytest.mark.parametrize(
    ("labels", "note"), [(range(41, 50), None), (range(1, 10), "restart at 1: 40 added"), ((1, 3, 5), "40 added")]
)
def test_other_numberings_of_the_force_exercise_are_detected(tmp_path: Path, labels: Any, note: str | None) -> None:
    write(tmp_path / "S1_E3_A1.mat", variables("ninapro_db2", list(labels), hold=1000))
    (recording,) = read("ninapro_db2", tmp_path)
    offset = 0 if labels[0] > 40 else 40
    assert active(recording) == [k + offset for k in labels]
    assert recording.aliases == {}
    assert [note is not None and note in each for each in recording.notes] == ([True] if note else [])


def test_force_labels_that_may_be_either_are_not_believed(tmp_path: Path) -> None:
    write(tmp_path / "S1_E3_A1.mat", variables("ninapro_db3", [1, 2, 4, 6], hold=2000))
    (recording,) = read("ninapro_db3", tmp_path)
    assert not recording.usable[recording.label > 0].any() and recording.usable[recording.label == 0].any()
    assert "no movement of this file is believed" in recording.notes[0]


@pytest.mark.parametrize(
    ("name", "exercise", "label"), [("ninapro_db1", 1, 13), ("ninapro_db2", 2, 41), ("ninapro_db2", 3, 50)]
)
def test_a_label_that_no_exercise_has_is_refused(tmp_path: Path, name: str, exercise: int, label: int) -> None:
    path = write(tmp_path / f"S1_E{exercise}_A1.mat", variables(name, [1, label], hold=50))
    with pytest.raises(InputError, match="labels that this exercise does not have") as caught:
        read(name, tmp_path)
    assert str(path) in str(caught.value) and str(label) in str(caught.value)


def test_an_exercise_that_the_database_does_not_have_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "S1_E3_A1.mat", variables("ninapro_db7", [1], hold=50))
    with pytest.raises(InputError, match=r"no such exercise \(found 3, expected 1, 2\)"):
        read("ninapro_db7", tmp_path)


def test_without_corrected_labels_the_cues_are_used_and_cut(tmp_path: Path) -> None:
    values = variables("ninapro_db2", [1], hold=8000)
    for name in ("restimulus", "rerepetition"):
        del values[name]
    write(tmp_path / "S1_E1_A1.mat", values)
    (recording,) = read("ninapro_db2", tmp_path)
    assert np.array_equal(recording.label, values["stimulus"].ravel())
    start = 8000 + 50
    assert recording.label[start - 1 : start + 1].tolist() == [0, 1]
    assert not recording.usable[start : start + 1500].any() and recording.usable[start + 1500]
    assert "labels are cues" in recording.notes[0]


def test_corrected_labels_win(tmp_path: Path) -> None:
    values = variables("ninapro_db2", [1])
    write(tmp_path / "S1_E1_A1.mat", values)
    (recording,) = read("ninapro_db2", tmp_path)
    assert np.array_equal(recording.label, values["restimulus"].ravel())
    assert not np.array_equal(recording.label, values["stimulus"].ravel())


@pytest.mark.parametrize(("name", "short"), [("emg", 3), ("restimulus", 7), ("rerepetition", 1)])
def test_lengths_that_differ_are_trimmed_and_said(tmp_path: Path, name: str, short: int) -> None:
    values = variables("ninapro_db2", [1])
    samples = len(values["emg"]) - short
    write(tmp_path / "S1_E1_A1.mat", {**values, name: values[name][:samples]})
    (recording,) = read("ninapro_db2", tmp_path)
    assert {len(v) for v in (recording.emg, recording.label, recording.repetition, recording.usable)} == {samples}
    assert f"trimmed to {samples} samples" in recording.notes[0]


def test_lengths_far_apart_are_refused(tmp_path: Path) -> None:
    values = variables("ninapro_db2", [1])
    write(tmp_path / "S1_E1_A1.mat", {**values, "emg": values["emg"][:3000]})
    with pytest.raises(InputError, match="of different length"):
        read("ninapro_db2", tmp_path)


def test_short_stumps_have_ten_electrodes_and_a_mask(tmp_path: Path) -> None:
    values = variables("ninapro_db3", [1])
    write(tmp_path / "S7_E1_A1.mat", {**values, "emg": values["emg"][:, :10]})
    (recording,) = read("ninapro_db3", tmp_path, "s07")
    assert recording.emg.shape[1] == 12 and recording.mask.tolist() == [True] * 10 + [False] * 2
    assert "10 electrodes" in recording.notes[0] and len(recording.notes) == 1
    (session,) = sessions_of([recording], CATALOGUE)
    assert np.array_equal(session.mask, recording.mask)
    assert not session.canonical(session.clips[0])[:, 10:].any()


def test_an_electrode_that_recorded_nothing_is_masked(tmp_path: Path) -> None:
    values = variables("ninapro_db3", [1])
    values["emg"][:, [2, 11]] = 0
    write(tmp_path / "S1_E1_A1.mat", values)
    (recording,) = read("ninapro_db3", tmp_path)
    assert np.flatnonzero(~recording.mask).tolist() == [2, 11]
    assert recording.notes == ("S1_E1_A1.mat: nothing was recorded at electrodes [3, 12]",)


@pytest.mark.parametrize(("name", "columns"), [("ninapro_db2", 10), ("ninapro_db3", 9), ("ninapro_db3", 14)])
def test_a_count_of_electrodes_that_nobody_has_is_refused(tmp_path: Path, name: str, columns: int) -> None:
    values = variables(name, [1])
    write(tmp_path / "S1_E1_A1.mat", {**values, "emg": np.ones((len(values["emg"]), columns))})
    with pytest.raises(InputError, match="wrong shape of emg"):
        read(name, tmp_path)


@pytest.mark.parametrize("count", [6, 10])
def test_repetitions_are_read_and_not_assumed(tmp_path: Path, count: int) -> None:
    write(tmp_path / "S1_E1_A1.mat", variables("ninapro_db2", [1, 2], count, 500))
    (recording,) = read("ninapro_db2", tmp_path)
    assert sorted(set(recording.repetition.tolist()) - {0}) == list(range(1, count + 1))


@pytest.mark.parametrize("name", NAMES)
def test_rest_is_kept_and_no_look_back_crosses_a_border(tmp_path: Path, name: str) -> None:
    montage = DATASETS[name].montage
    write(tmp_path / file_name(name), variables(name, [1, 3], 3))
    (recording,) = read(name, tmp_path)
    assert (recording.usable & (recording.label == 0)).sum() > 0.3 * (recording.label == 0).sum()
    back = round(LOOK_BACK_S * montage.rate_hz)
    unit = np.cumsum(np.concatenate(([0], np.diff(following_repetition(recording.repetition)) != 0)))
    for i in np.flatnonzero(recording.usable)[::7]:
        assert unit[max(0, i - back + 1)] == unit[i]
    ends = np.flatnonzero((np.diff(recording.label) != 0) & (recording.label[:-1] > 0)) + 1
    assert len(ends) == 5 and not any(recording.usable[end : end + back].any() for end in ends)


def test_an_only_repetition_still_has_borders(tmp_path: Path) -> None:
    write(tmp_path / "S1_E1_A1.mat", variables("ninapro_db2", [1, 2], 1, 4000))
    (recording,) = read("ninapro_db2", tmp_path)
    assert not recording.usable[8000:8900].any() and recording.usable[8900:12000].all()


def test_db1_is_envelopes_and_db2_is_not() -> None:
    db1, db2, db5 = (data_set(f"ninapro_db{n}").montage for n in (1, 2, 5))
    assert (db1.envelope, db1.rate_hz, db1.channels) == (True, 100.0, 10)
    assert (db2.envelope, db2.rate_hz, db2.channels) == (False, 2000.0, 12)
    assert (db5.layout, db5.rings, db5.channels, db5.rate_hz, db5.unit) == ("ring", 2, 16, 200.0, "counts")


def test_db6_is_named_by_day_and_time_and_each_is_a_donning(tmp_path: Path) -> None:
    for day, time in ((1, 1), (1, 2), (5, 1)):
        write(tmp_path / f"S3_D{day}_T{time}.mat", variables("ninapro_db6", [1, 9], hold=600))
    found = read("ninapro_db6", tmp_path, "s03")
    assert [r.session for r in found] == ["d1t1", "d1t2", "d5t1"]
    assert [(r.facts["day"], r.facts["time"]) for r in found] == [(1, 1), (1, 2), (5, 1)]
    assert found[0].emg.shape[1] == 14


def test_db6_columns_that_should_be_empty_and_are_not_are_refused(tmp_path: Path) -> None:
    values = variables("ninapro_db6", [1], hold=600)
    values["emg"][5, 9] = 1e-6
    write(tmp_path / "S1_D1_T1.mat", values)
    with pytest.raises(InputError, match=r"should be empty are not \(found 9, 10\)"):
        read("ninapro_db6", tmp_path)


def test_db6_grasps_are_no_actions_unless_asked_for_without_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "ninapro_db6"
    write(folder / "S1_D1_T1.mat", variables("ninapro_db6", [1, 11], hold=2000))
    (plain,) = load_sessions(tmp_path, ["ninapro_db6"])
    assert set(plain.clips[0].action.tolist()) == {NO_ACTION, CATALOGUE.ids.index("rest")}
    (asked,) = load_sessions(tmp_path, ["ninapro_db6"], anonymous=True)
    assert {ANONYMOUS + 1, ANONYMOUS + 11} < set(asked.clips[0].action.tolist())
    assert len(CATALOGUE) < ANONYMOUS


@pytest.mark.parametrize(
    ("name", "subject", "amputee"),
    [
        ("ninapro_db7", 20, 0),
        ("ninapro_db7", 21, 1),
        ("ninapro_db7", 22, 1),
        ("ninapro_db3", 1, 1),
        ("ninapro_db2", 21, 0),
    ],
)
def test_who_has_no_hand_is_a_fact(tmp_path: Path, name: str, subject: int, amputee: int) -> None:
    write(tmp_path / f"S{subject}_E1_A1.mat", variables(name, [1], hold=600))
    (recording,) = read(name, tmp_path, f"s{subject}")
    assert recording.facts["amputee"] == amputee


def test_only_the_emg_and_the_labels_are_read(tmp_path: Path) -> None:
    values = variables("ninapro_db2", [1])
    write(tmp_path / "S1_E1_A1.mat", {**values, "glove": np.array([["no", "numbers"]], dtype=object)})
    assert len(read("ninapro_db2", tmp_path)) == 1


def test_subjects_and_folders_that_are_not_there_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such data folder"):
        data_set("ninapro_db2").subjects(tmp_path / "absent")
    with pytest.raises(InputError, match=r"holds no recordings.*S1_E1_A1"):
        data_set("ninapro_db2").subjects(tmp_path)
    write(tmp_path / "S1_E1_A1.mat", variables("ninapro_db2", [1], hold=50))
    with pytest.raises(InputError, match=r"no files of subject s02.*expected s01"):
        read("ninapro_db2", tmp_path, "s02")


def half(number: float) -> Any:
    def change(values: Variables) -> Variables:
        label = values["restimulus"].astype(float)
        label[10] = number
        return {**values, "restimulus": label}

    return change


def with_nan(values: Variables) -> Variables:
    values["emg"][100, 2] = np.nan
    return values


BAD: dict[str, tuple[Any, str]] = {
    "no emg": (lambda v: {k: x for k, x in v.items() if k != "emg"}, "lacks variables.*expected emg"),
    "no labels at all": (
        lambda v: {k: x for k, x in v.items() if "stim" not in k}, "lacks variables.*expected stimulus",
    ),
    "half labels": (half(0.5), "no counts"),
    "negative labels": (half(-1), "no counts"),
    "NaN labels": (half(np.nan), "not one number a sample"),
    "table of labels": (lambda v: {**v, "restimulus": np.zeros((len(v["emg"]), 2))}, "not one number a sample"),
    "NaN": (with_nan, "not finite"),
    "empty": (lambda v: {**v, "emg": v["emg"][:0]}, "empty"),
}  # fmt: skip


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("case", BAD)
def test_bad_contents_are_one_clear_error(tmp_path: Path, case: str, version: str) -> None:
    change, message = BAD[case]
    path = write(tmp_path / "S1_E1_A1.mat", change(variables("ninapro_db2", [1], hold=500)), version)
    with pytest.raises(InputError, match=message) as caught:
        read("ninapro_db2", tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("keep", [0, 60, 200, 0.3, 0.9])
def test_a_truncated_file_is_one_clear_error(tmp_path: Path, version: str, keep: float) -> None:
    path = write(tmp_path / "S1_E1_A1.mat", variables("ninapro_db2", [1], hold=500), version)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(InputError, match=r"not a readable \.mat file|lacks variables"):
        read("ninapro_db2", tmp_path)
