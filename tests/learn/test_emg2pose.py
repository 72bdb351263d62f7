"""The EMG2Pose loader on files in the true layout: stages, sides, failed inverse kinematics, official axes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

h5py = pytest.importorskip("h5py", reason="the [train] extra is not installed")

from myosem_edge.actions.catalogue import load_catalogue  # noqa: E402
from myosem_edge.errors import InputError  # noqa: E402
from myosem_edge.learn.corpus.folders import load_sessions  # noqa: E402
from myosem_edge.learn.corpus.sessions import NO_ACTION  # noqa: E402
from myosem_edge.learn.datasets import data_set, emg2pose  # noqa: E402

ROW = np.dtype([("time", "<f8"), ("joint_angles", "<f8", (20,)), ("emg", "<f4", (16,))])
Row = dict[str, Any]


def entry(number: int = 0, **changes: Any) -> Row:
    """A row of metadata.csv."""
    row = {
        "session": "2022-04-07-1649343594", "user": "user-a", "stage": "ShakaVulcanPeace",
        "start": 1649343594.0 + 60 * number, "end": 1649343654.0 + 60 * number, "side": "right",
        "filename": f"2022-04-07-1649343594-cv-emg-pose-train@2-recording-{number}_right", "moving_hand": "both",
        "held_out_user": False, "held_out_stage": False, "split": "train", "generalization": "",
    }  # fmt: skip
    return {**row, **changes}


def write(folder: Path, rows: list[Row], samples: int = 4000, failed: slice = slice(0, 0), **attributes: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for i, row in enumerate(rows):
        rng = np.random.default_rng(i)
        series = np.zeros(samples, ROW)
        series["time"] = row["start"] + np.arange(samples) / 2000
        series["joint_angles"] = rng.normal(0, 0.3, (samples, 20))
        series["joint_angles"][failed] = 0.0
        series["emg"] = rng.normal(0, 20, (samples, 16))
        with h5py.File(folder / f"{row['filename']}.hdf5", "w") as file:
            group = file.create_group("emg2pose")
            group.create_dataset("timeseries", data=series, chunks=(1000,))
            facts = {k: row[k] for k in ("session", "user", "stage", "side", "start", "end")}
            group.attrs.update({**facts, "num_channels": 16, "sample_rate": 2000.0, **attributes})


def test_a_file_is_a_recording_with_one_weak_label(tmp_path: Path) -> None:
    write(tmp_path, [entry()])
    (recording,) = emg2pose.read(tmp_path, "user-a")
    with h5py.File(tmp_path / f"{entry()['filename']}.hdf5") as file:
        assert np.array_equal(recording.emg, file["emg2pose/timeseries"]["emg"])
    assert recording.emg.dtype == np.float32 and recording.montage.rate_hz == 2000.0
    assert len(set(recording.label.tolist())) == 1
    assert recording.aliases == {recording.label[0]: "ShakaVulcanPeace"}
    assert data_set("emg2pose").weak_labels and not data_set("ninapro_db2").weak_labels


def test_every_stage_of_the_list_is_in_the_catalogue() -> None:
    catalogue = load_catalogue()
    found = {catalogue.resolve("emg2pose", stage) for stage in emg2pose.STAGES}
    assert len(found) == len(emg2pose.STAGES) == 29
    assert all(catalogue[action].kind == "stage" for action in found)


@pytest.mark.parametrize("suffix", ["", "_both", "_left"])
def test_a_suffix_of_the_stage_is_ignored(tmp_path: Path, suffix: str) -> None:
    write(tmp_path, [entry(stage=f"CoffeePanicPete{suffix}")])
    (recording,) = emg2pose.read(tmp_path, "user-a")
    assert set(recording.aliases.values()) == {"CoffeePanicPete"}
    assert recording.attributes["stage"] == f"CoffeePanicPete{suffix}"


def test_a_suffix_in_the_file_alone_is_no_contradiction(tmp_path: Path) -> None:
    write(tmp_path, [entry(stage="CoffeePanicPete")], stage="CoffeePanicPete_both")
    assert len(list(emg2pose.read(tmp_path, "user-a"))) == 1


def test_all_angles_zero_means_that_nobody_saw_the_hand(tmp_path: Path) -> None:
    write(tmp_path, [entry()], failed=slice(500, 900))
    (recording,) = emg2pose.read(tmp_path, "user-a")
    assert np.flatnonzero(~recording.usable).tolist() == list(range(500, 900))
    assert recording.facts["ik_failed_samples"] == 400


def test_blocks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, [entry()], failed=slice(500, 900))
    (whole,) = emg2pose.read(tmp_path, "user-a")
    monkeypatch.setattr(emg2pose, "BLOCK", 333)
    (parts,) = emg2pose.read(tmp_path, "user-a")
    assert np.array_equal(whole.emg, parts.emg) and np.array_equal(whole.usable, parts.usable)


def test_a_wrist_is_a_donning_and_the_left_one_is_mirrored(tmp_path: Path) -> None:
    write(tmp_path, [entry(0), entry(1, side="left", filename="left_file")])
    left, right = emg2pose.read(tmp_path, "user-a")
    assert (left.session[-5:], left.mirrored) == ("-left", True)
    assert (right.session[-6:], right.mirrored) == ("-right", False)


def test_takes_of_a_stage_are_its_repetitions_in_the_order_of_time(tmp_path: Path) -> None:
    rows = [entry(2), entry(0), entry(1, stage="CoffeePanicPete")]
    write(tmp_path, rows)
    found = list(emg2pose.read(tmp_path, "user-a"))
    assert [(r.attributes["stage"], int(r.repetition[0])) for r in found] == [
        ("ShakaVulcanPeace", 1), ("CoffeePanicPete", 1), ("ShakaVulcanPeace", 2)
    ]  # fmt: skip
    first = h5py.File(tmp_path / f"{rows[1]['filename']}.hdf5")["emg2pose/timeseries"]["emg"]
    assert np.array_equal(found[0].emg, first)


@pytest.mark.parametrize(("split", "axis"), [("train", ""), ("val", "user"), ("test", "stage"), ("test", "user_stage")])
def test_the_official_axes_reach_the_clips(tmp_path: Path, split: str, axis: str) -> None:
    write(tmp_path / "emg2pose", [entry(split=split, generalization=axis)])
    (session,) = load_sessions(tmp_path, ["emg2pose"], rate_hz=200.0)
    attributes = session.clips[0].attributes
    assert (attributes["split"], attributes["generalization"], attributes["side"]) == (split, axis, "right")
    assert session.montage.rate_hz == 200.0 and len(session.clips[0].x) == 400


def test_a_stage_becomes_its_action(tmp_path: Path) -> None:
    write(tmp_path / "emg2pose", [entry()], failed=slice(0, 1000))
    (session,) = load_sessions(tmp_path, ["emg2pose"])
    catalogue = load_catalogue()
    named = catalogue.ids.index(catalogue.resolve("emg2pose", "ShakaVulcanPeace"))
    assert session.clips[0].action.tolist() == [NO_ACTION] * 20 + [named] * 60


def test_users_whose_files_are_not_here_are_left_out_and_missing_ones_are_said(tmp_path: Path) -> None:
    rows = [entry(0), entry(1), entry(2, user="user-b")]
    write(tmp_path, rows)
    for row in rows[1:]:
        (tmp_path / f"{row['filename']}.hdf5").unlink()
    assert data_set("emg2pose").subjects(tmp_path) == ["user-a"]
    (recording,) = emg2pose.read(tmp_path, "user-a")
    assert recording.notes == ("1 files of user-a that metadata.csv lists are not here",)
    read = [path.name for path in data_set("emg2pose").sources(tmp_path, "user-a")]
    assert read == ["metadata.csv", f"{rows[0]['filename']}.hdf5"]
    with pytest.raises(InputError, match="no files of user user-b"):
        list(emg2pose.read(tmp_path, "user-b"))


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("user", "user-b", "holds another user than metadata.csv says"),
        ("stage", "CoffeePanicPete", "holds another stage than metadata.csv says"),
        ("side", "left", "holds another side than metadata.csv says"),
        ("sample_rate", 200.0, "another sampling rate"),
    ],
)
def test_a_file_that_contradicts_the_table_is_refused(tmp_path: Path, attribute: str, value: Any, message: str) -> None:
    write(tmp_path, [entry()], **{attribute: value})
    with pytest.raises(InputError, match=message):
        list(emg2pose.read(tmp_path, "user-a"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stage": "ShakaVulcanPeece"}, "no such stage.*Did you mean 'ShakaVulcanPeace'"),
        ({"side": "middle"}, "no such side"),
        ({"filename": "../up"}, "a file name with a folder in it"),
        ({"user": ""}, "line 2: a row is not whole"),
    ],
)
def test_a_bad_row_is_one_clear_error(tmp_path: Path, change: Row, message: str) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", [entry(**change)])
    with pytest.raises(InputError, match=message):
        list(emg2pose.read(tmp_path / "data", change.get("user", "user-a")))


def test_a_table_without_the_axes_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [{k: v for k, v in entry().items() if k not in ("split", "generalization")}])
    with pytest.raises(InputError, match=r"lacks columns.*expected split, generalization"):
        data_set("emg2pose").subjects(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        data_set("emg2pose").subjects(tmp_path.parent)


def test_another_layout_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [entry()])
    path = tmp_path / f"{entry()['filename']}.hdf5"
    with h5py.File(path, "w") as file:
        file["emg2pose/timeseries"] = np.zeros(10, [("time", "f8"), ("emg", "f4", (8,)), ("joint_angles", "f8", (20,))])
    with pytest.raises(InputError, match="another layout of timeseries"):
        list(emg2pose.read(tmp_path, "user-a"))


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.95])
def test_a_truncated_file_is_one_clear_error(tmp_path: Path, keep: float) -> None:
    write(tmp_path, [entry()])
    path = tmp_path / f"{entry()['filename']}.hdf5"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(InputError, match="not a readable recording file"):
        list(emg2pose.read(tmp_path, "user-a"))
