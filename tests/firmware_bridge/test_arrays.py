"""Recordings in files: read whatever their kind, and refused in one line where they are none."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.arrays import read_recording

EMG = np.arange(40, dtype=np.int8).reshape(5, 8)


def test_recordings_of_every_kind_are_read(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "p1.npz",
        emg=EMG,
        label=np.zeros(5, np.uint8),
        repetition=np.zeros(5, np.uint8),
        rec_ptr=np.array([0, 5]),
    )
    np.save(tmp_path / "a.npy", EMG)
    np.savetxt(tmp_path / "b.csv", EMG, delimiter=",")
    np.savetxt(tmp_path / "c.csv", EMG, delimiter=",", header="a,b,c,d,e,f,g,h", comments="")
    for name in ("p1.npz", "a.npy", "b.csv", "c.csv"):
        emg = read_recording(tmp_path / name, channels=8)
        assert emg.dtype == np.float32
        np.testing.assert_array_equal(emg, EMG)
    np.testing.assert_array_equal(read_recording(tmp_path, channels=8, subject="p1"), EMG)
    np.testing.assert_array_equal(read_recording(tmp_path / "p1.npz", channels=8, subject="p1"), EMG)


def make(folder: Path, name: str) -> Path:
    """Files that are no recordings, each in its own way."""
    path = folder / name
    objects = np.array([{"not": "numbers"}], dtype=object)
    if name == "pickle.npy":
        np.save(path, objects, allow_pickle=True)
    elif name == "pickle.npz":
        np.savez(path, emg=objects)
    elif name == "other.npz":
        np.savez(path, signal=EMG)
    elif name == "four.npz":
        np.savez(path, emg=EMG[:, :4])
    elif name == "nan.npy":
        np.save(path, np.where(EMG == 13, np.nan, EMG))
    elif name == "huge.npy":
        np.save(path, np.where(EMG == 13, 1e300, EMG))
    elif name == "lie.npy":
        with path.open("wb") as file:  # a header that claims 298 GiB, and 40 bytes
            np.lib.format.write_array_header_1_0(
                file, {"descr": "<f8", "fortran_order": False, "shape": (5_000_000_000, 8)}
            )
            file.write(bytes(40))
    elif name == "lie.npz":
        make(folder, "lie.npy")
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(folder / "lie.npy", "emg.npy")
    elif name == "empty.npy":
        np.save(path, EMG[:0])
    elif name == "array.npz":
        np.save(folder / "array.npy", EMG)
        (folder / "array.npy").rename(path)
    elif name == "archive.npy":
        np.savez(folder / "archive.npz", emg=EMG)
        (folder / "archive.npz").rename(path)
    elif name == "cut.npz":
        np.savez(path, emg=EMG)
        path.write_bytes(path.read_bytes()[:-40])
    else:
        path.write_bytes(
            {
                "nothing.csv": b"",
                "names.csv": b"a,b,c\n",
                "ragged.csv": b"1,2\n1\n",
                "binary.csv": b"\xff\xfe\x00",
                "noise.npy": b"noise",
                "nothing.npy": b"",
                "noise.npz": b"noise",
                "notes.txt": b"1,2",
            }[name]
        )
    return path


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pickle.npy", "not a readable .npy"),
        ("pickle.npz", "not a readable .npz"),
        ("other.npz", "no array named emg .found signal"),
        ("four.npz", "wrong number of channels .found 4, expected 8"),
        ("nan.npy", "nan at sample 1, channel 5"),
        ("huge.npy", "not a finite number .found 1e.300 at sample 1, channel 5"),
        ("lie.npy", "not a readable .npy"),
        ("lie.npz", "not a readable .npz"),
        ("empty.npy", "is empty"),
        ("array.npz", "Name it .npy"),
        ("archive.npy", "Name it .npz"),
        ("cut.npz", "not a readable .npz"),
        ("nothing.csv", "has no samples"),
        ("names.csv", "has no samples"),
        ("ragged.csv", "not a readable .csv"),
        ("binary.csv", "not a readable .csv"),
        ("noise.npy", "not a readable .npy"),
        ("nothing.npy", "not a readable .npy"),
        ("noise.npz", "not a readable .npz"),
        ("notes.txt", "not a recording .found .txt"),
    ],
)
def test_what_is_no_recording_is_refused_by_name(name: str, reason: str, tmp_path: Path) -> None:
    path = make(tmp_path, name)
    with pytest.raises(InputError, match=reason) as caught:
        read_recording(path, channels=8)
    assert str(path) in str(caught.value)


def test_missing_file_folder_or_subject(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_recording(tmp_path / "absent.npz", channels=8)
    with pytest.raises(InputError, match=r"which subject's recording\?.*a folder with .npz files"):
        read_recording(tmp_path, channels=8)
    np.savez(tmp_path / "p1.npz", emg=EMG)
    with pytest.raises(InputError, match=r"no such subject .found p2, expected p1.*--subject"):
        read_recording(tmp_path, channels=8, subject="p2")
    with pytest.raises(InputError, match="this file is one subject's"):
        read_recording(tmp_path / "p1.npz", channels=8, subject="p2")


def test_memory_that_runs_out_is_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise MemoryError

    np.save(tmp_path / "a.npy", EMG)
    monkeypatch.setattr(np, "load", none_left)
    with pytest.raises(InputError, match=r"a\.npy: is not a readable \.npy file: it claims more than fits"):
        read_recording(tmp_path / "a.npy", channels=8)
