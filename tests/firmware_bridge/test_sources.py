"""Where emulated devices get their EMG: played as recorded, to the last bit."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge.clock import VirtualClock
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.sources import ArraySource, Played, WearerSource, read_recording

REST = [np.full((5, 2), 0.25), np.full((3, 2), 0.5)]


def clip(value: float, n: int = 4) -> np.ndarray:
    return np.full((n, 2), value)


def first_column(samples: np.ndarray) -> list[float]:
    return [float(value) for value in samples[:, 0]]


@given(reads=st.lists(st.integers(0, 25), max_size=20), loop=st.booleans())
def test_array_is_played_in_order_in_any_portions(reads: list[int], loop: bool) -> None:
    emg = np.arange(1, 21, dtype=np.int8).reshape(10, 2)
    source = ArraySource(emg, 100.0, loop=loop)
    parts = [source.read(n) for n in reads]
    assert [part.shape for part in parts] == [(n, 2) for n in reads]
    total = sum(reads)
    expected = (
        np.tile(emg, (total // 10 + 1, 1))[:total] if loop else np.concatenate([emg, np.zeros((total, 2))])[:total]
    )
    np.testing.assert_array_equal(np.concatenate([np.empty((0, 2)), *parts]), expected)
    assert source.finished == (not loop and total >= 10)


def test_source_says_what_it_plays() -> None:
    source = ArraySource(np.zeros((4, 8)), 200.0)
    assert (source.channels, source.rate_hz, source.finished) == (8, 200.0, False)


@pytest.mark.parametrize(
    ("emg", "reason"),
    [
        (np.zeros((0, 8)), "is empty"),
        (np.zeros((8, 0)), "is empty"),
        (np.zeros(8), "is not EMG"),
        (np.zeros((2, 2, 2)), "is not EMG"),
        (np.array([["a"]]), "is not EMG"),
        (np.array([[1j]]), "is not EMG"),
        (np.array([[0.0, 1.0], [2.0, np.nan]]), "nan at sample 1, channel 1"),
        (np.array([[0.0, -np.inf]]), "-inf at sample 0, channel 1"),
    ],
)
def test_what_cannot_be_played_is_refused(emg: np.ndarray, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        ArraySource(emg, 200.0)


def test_wearer_rests_in_turn_performs_when_told_and_rests_again() -> None:
    clock = VirtualClock(10.0)
    wearer = WearerSource(REST, 100.0, clock)
    assert first_column(wearer.read(9)) == [0.25] * 5 + [0.5] * 3 + [0.25]
    wearer.perform(clip(7), "fist")
    assert wearer.performing
    clock.advance(1.0)
    assert first_column(wearer.read(3)) == [7, 7, 7]
    clock.advance(1.0)
    assert first_column(wearer.read(6)) == [7, 0.25, 0.25, 0.25, 0.25, 0.5]  # rest goes on where it was left
    assert not wearer.performing
    assert wearer.log == (Played(0, 10.0, "rest"), Played(9, 11.0, "fist"), Played(13, 12.0, "rest"))


def test_actions_wait_for_one_another() -> None:
    wearer = WearerSource(REST, 100.0, VirtualClock(0.0))
    wearer.perform(clip(1), "open")
    wearer.perform(clip(2), "fist")
    assert first_column(wearer.read(10)) == [1] * 4 + [2] * 4 + [0.25] * 2
    assert [(entry.sample, entry.label) for entry in wearer.log] == [(0, "open"), (4, "fist"), (8, "rest")]


def test_wearer_told_to_rest_forgets_what_was_asked() -> None:
    wearer = WearerSource(REST, 100.0, VirtualClock(0.0))
    wearer.perform(clip(1), "open")
    wearer.perform(clip(2), "fist")
    wearer.read(2)
    wearer.rest()
    assert first_column(wearer.read(2)) == [0.25, 0.25]
    assert not wearer.performing


def test_samples_are_played_to_the_last_bit() -> None:
    recorded = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    wearer = WearerSource(REST, 100.0, VirtualClock())
    wearer.perform(recorded)
    played = np.concatenate([wearer.read(n) for n in (1, 7, 13, 29)])
    assert played.tobytes() == recorded.tobytes()


def test_clip_is_a_copy_of_what_was_given() -> None:
    mine = clip(3.0)
    wearer = WearerSource(REST, 100.0, VirtualClock())
    wearer.perform(mine)
    mine[:] = 9.0
    assert first_column(wearer.read(4)) == [3.0] * 4


def test_clips_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="at least one resting clip"):
        WearerSource([], 100.0)
    with pytest.raises(InputError, match="resting clip 1 does not fit"):
        WearerSource([np.zeros((3, 2)), np.zeros((3, 4))], 100.0)
    wearer = WearerSource(REST, 100.0)
    with pytest.raises(InputError, match=r"clip 'fist' does not fit this wearer .found 3 channels, expected 2"):
        wearer.perform(np.zeros((4, 3)), "fist")
    with pytest.raises(InputError, match="clip 'fist' is empty"):
        wearer.perform(np.zeros((0, 2)), "fist")
    assert not wearer.performing


def test_every_clip_is_played_whole_while_threads_ask_at_once() -> None:
    wearer = WearerSource([np.zeros((3, 1))], 100.0)
    clips = 40

    def ask(first: int) -> None:
        for number in range(first, clips, 4):
            wearer.perform(np.full((5, 1), number + 1), str(number))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    parts = []
    while any(thread.is_alive() for thread in threads) or wearer.performing:
        parts.append(wearer.read(3))
    played = np.concatenate([*parts, wearer.read(5)])[:, 0]
    entries = [entry for entry in wearer.log if entry.label != "rest"]
    assert sorted(int(entry.label) for entry in entries) == list(range(clips))
    for entry in entries:
        assert played[entry.sample : entry.sample + 5].tolist() == [int(entry.label) + 1] * 5
    assert np.count_nonzero(played) == 5 * clips


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
