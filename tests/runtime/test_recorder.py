"""Recordings: what arrived comes back sample by sample under its number, and nothing that was written is ever lost."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myosem_edge.clock import VirtualClock
from myosem_edge.errors import DeviceError, InputError, MyosemError, StorageError
from myosem_edge.firmware_bridge.arrays import read_recording
from myosem_edge.firmware_bridge.emulators.base import Emulator
from myosem_edge.firmware_bridge.emulators.cyton import CytonEmulator
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends import make_front_end
from myosem_edge.firmware_bridge.frontends.base import Chunk, FrontEnd, Phase
from myosem_edge.firmware_bridge.frontends.chunk_stream import END, ChunkReader, pack_chunk
from myosem_edge.firmware_bridge.frontends.cyton import Cyton
from myosem_edge.firmware_bridge.frontends.file import Playback
from myosem_edge.firmware_bridge.frontends.recording import About, read_recorded
from myosem_edge.firmware_bridge.ports import open_front_end
from myosem_edge.runtime import recorder as module
from myosem_edge.runtime.decoder import MAX_FILL_SAMPLES
from myosem_edge.runtime.reading import FIRST_SAMPLE_S, Wire, read_chunks
from myosem_edge.runtime.recorder import Kept, Recorder, finish, journal_of, require_new
from tests.firmware_bridge.test_frontend_spec import by_index

ABOUT = About(Cyton.info, "cyton", "2026-01-02T03:04:05+00:00", "1", {"firmware": "v3"}, {"stalls": 1})


class EmulatedWire:
    """An emulated device on a virtual clock; waiting lets both go on."""

    waiting_bytes = 0

    def __init__(self, emulator: Emulator, clock: VirtualClock) -> None:
        self.emulator, self.clock = emulator, clock
        self._arrived = bytearray()

    def read_available(self) -> bytes:
        data, self._arrived = bytes(self._arrived), bytearray()
        return data

    def write_some(self, data: bytes = b"") -> int:
        self.emulator.receive(data, self.clock.now_s())
        return len(data)

    def wait(self, seconds: float) -> None:
        for _ in range(5):
            self.emulator.tick(self.clock.advance(seconds / 5))
            self._arrived += self.emulator.to_send()


def read(
    front_end: FrontEnd, wire: Wire, clock: VirtualClock, wait: Callable[[float], object], seconds: float
) -> list[Chunk]:
    chunks: list[Chunk] = []
    with contextlib.closing(read_chunks(front_end, wire, clock, wait, where="PORT")) as reading:
        end_s = None
        for now_s, arrived in reading:
            chunks += arrived
            end_s = now_s + seconds if end_s is None and chunks else end_s
            if end_s is not None and now_s >= end_s:
                break
    return chunks


def played(path: Path, seconds: float = 1e9) -> list[Chunk]:
    clock, driver = VirtualClock(), make_front_end(f"file:{path}")
    with open_front_end(driver, None, clock) as wire:
        return read(driver, wire, clock, clock.advance, seconds)


def recorded(path: Path, chunks: list[Chunk], about: About = ABOUT) -> Kept:
    recorder = Recorder(path, about, 0.0)
    recorder.add(chunks, 0.0)
    recorder.close()
    return finish(path, about)


def numbered(*parts: tuple[int, int], channels: int = 8) -> list[Chunk]:
    """Chunks of (lost before, samples)."""
    chunks, number = [], 0
    for lost, count in parts:
        number += lost
        samples = np.random.default_rng(number).normal(0, 100, (count, channels)).astype(np.float32)
        chunks.append(Chunk(samples, number, 0.0, lost))
        number += count
    return chunks


def lost_before(chunks: list[Chunk]) -> dict[int, int]:
    return {chunk.first_sample: chunk.lost for chunk in chunks if chunk.lost}


@pytest.mark.parametrize("drop", [0.0, 0.05])
def test_a_device_is_recorded_and_played_sample_by_sample(drop: float, tmp_path: Path) -> None:
    emg = np.random.default_rng(1).normal(0.0, 100.0, (5000, 8)).astype(np.float32)
    clock, driver = VirtualClock(), Cyton()
    wire = EmulatedWire(CytonEmulator(ArraySource(emg, 250.0), faults=Faults(drop_probability=drop)), clock)
    chunks = read(driver, wire, clock, wire.wait, 20.0)
    assert not wire.emulator.streaming  # type: ignore[attr-defined]
    path = tmp_path / "kim.npz"
    kept = recorded(path, chunks, replace(ABOUT, facts=dict(driver.facts)))
    assert kept.samples == driver.counters.samples
    assert kept.lost == driver.counters.lost_samples
    assert bool(kept.lost) == bool(drop)
    again = played(path)
    assert by_index(again) == by_index(chunks)
    assert lost_before(again) == lost_before(chunks)


def test_lead_off_is_kept_and_played(tmp_path: Path) -> None:
    chunks = numbered((0, 50), (0, 50), (5, 50), (5000, 50))
    chunks = [replace(chunk, lead_off=bits) for chunk, bits in zip(chunks, (0, 0x41, 0x80, 2**40), strict=True)]
    path = tmp_path / "kim.npz"
    recorded(path, chunks)
    expected = {number: chunk.lead_off for chunk in chunks for number in each_number(chunk)}
    assert {number: chunk.lead_off for chunk in played(path) for number in each_number(chunk)} == expected


def each_number(chunk: Chunk) -> range:
    return range(chunk.first_sample, chunk.first_sample + len(chunk.samples))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 0, 1, MAX_FILL_SAMPLES, MAX_FILL_SAMPLES + 1, 5000]), st.integers(1, 9)),
        min_size=1,
        max_size=12,
    )
)
def test_any_losses_come_back_where_they_were(parts: list[tuple[int, int]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kim.npz"
        chunks = numbered(*parts)
        kept = recorded(path, chunks)
        again = played(path)
        assert by_index(again) == by_index(chunks)
        assert lost_before(again) == lost_before(chunks)
        assert kept.recordings == 1 + sum(lost > MAX_FILL_SAMPLES for lost, _ in parts[1:])
        assert (kept.samples, kept.lost) == (sum(n for _, n in parts), sum(lost for lost, _ in parts))


def test_loaders_read_a_recording(tmp_path: Path) -> None:
    """The pack schema: short holes are zeros and marked, a long one begins another recording."""
    from myosem_edge.calibration.profile import montage_of
    from myosem_edge.learn.datasets.recording import read_pack

    path = tmp_path / "kim.npz"
    chunks = numbered((0, 10), (3, 5), (100, 4))
    recorded(path, chunks)
    with np.load(path) as arrays:
        assert set(arrays) == {"emg", "label", "repetition", "lost", "rec_ptr", "rec_first_sample", "about"}
        assert arrays["rec_ptr"].tolist() == [0, 18, 22]
        assert arrays["rec_first_sample"].tolist() == [0, 118]
        assert np.flatnonzero(arrays["lost"]).tolist() == [10, 11, 12]
        assert not arrays["emg"][10:13].any()
    assert read_recording(path, channels=8).shape == (22, 8)
    first, second = read_pack(path, dataset="own", montage=montage_of(Cyton.info), scale=1.0)
    np.testing.assert_array_equal(first.emg[:10], chunks[0].samples)
    np.testing.assert_array_equal(second.emg, chunks[2].samples)
    assert not first.label.any()


def test_playback_is_paced_by_time(tmp_path: Path) -> None:
    path = tmp_path / "kim.npz"
    recorded(path, numbered((0, 500), (250, 500)))
    clock, driver = VirtualClock(), make_front_end(f"file:{path}")
    with open_front_end(driver, None, clock) as wire:
        driver.start(clock.now_s())
        wire.write_some(driver.to_send())
        for ticks in range(1, 251):
            now_s = clock.advance(0.02)
            chunks = driver.receive(wire.read_available(), now_s)
            driver.tick(now_s)
            assert bool(chunks) == (not 100 < ticks <= 150), ticks  # the hole takes its second
            if chunks:
                assert chunks[-1].first_sample + len(chunks[-1].samples) == ticks * 5
            assert driver.finished == (ticks == 250)


def test_a_recording_that_is_over_is_no_fault_and_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "kim.npz"
    recorded(path, numbered((0, 100)))
    clock, driver = VirtualClock(), make_front_end(f"file:{path}")
    with open_front_end(driver, None, clock) as wire:
        first = read(driver, wire, clock, clock.advance, 9.0)
        assert (driver.phase, driver.finished) == (Phase.IDLE, True)
        second = read(driver, wire, clock, clock.advance, 9.0)
        assert by_index(first) == by_index(second)
        third = read(driver, wire, clock, clock.advance, 0.1)
        assert not driver.finished
        assert 20 < sum(len(chunk.samples) for chunk in third) < 40


def test_a_played_recording_is_its_device(tmp_path: Path) -> None:
    path = tmp_path / "a,b=c.npz"
    recorded(path, numbered((0, 10)))
    driver = make_front_end(f"file:{path}")
    assert isinstance(driver, Playback)
    assert replace(driver.info, name=Cyton.info.name) == Cyton.info
    clock = VirtualClock()
    with open_front_end(driver, None, clock) as wire:
        read(driver, wire, clock, clock.advance, 1.0)
    assert driver.facts == {"firmware": "v3"}


def test_a_recording_has_no_port(tmp_path: Path) -> None:
    path = tmp_path / "kim.npz"
    recorded(path, numbered((0, 10)))
    with pytest.raises(InputError, match=r"recording of OpenBCI Cyton has no port.*Leave --port out"):
        open_front_end(make_front_end(f"file:{path}"), "/dev/ttyUSB0", VirtualClock())
    with pytest.raises(InputError, match=r"on which port is the OpenBCI Cyton\?"):
        open_front_end(Cyton(), None, VirtualClock())
    with pytest.raises(InputError, match=r"has to be told more.*Write file:PATH"):
        make_front_end("file")


def test_what_was_written_survives_a_power_cut(tmp_path: Path) -> None:
    path = tmp_path / "kim.npz"
    chunks = numbered((0, 50), (2, 50), (0, 50))
    recorder = Recorder(path, ABOUT, 0.0)
    for second, chunk in enumerate(chunks[:2]):
        recorder.add([chunk], float(second))
    on_disk = journal_of(path).read_bytes()  # a second has passed: everything until then
    torn = pack_chunk(chunks[2])
    for cut in (0, 1, 30, len(torn) - 1):
        folder = tmp_path / str(cut)
        folder.mkdir()
        copy = folder / "kim.npz"
        journal_of(copy).write_bytes(on_disk + torn[:cut])
        kept = finish(copy)
        assert (kept.samples, kept.lost, kept.torn_bytes) == (100, 2, cut)
        assert by_index(played(copy)) == by_index(chunks[:2])
        assert not journal_of(copy).exists()


def test_damage_in_the_journal_ends_it_there(tmp_path: Path) -> None:
    path = tmp_path / "kim.npz"
    chunks = numbered((0, 5), (0, 5), (0, 5))
    packed = [pack_chunk(chunk) for chunk in chunks]
    damaged = bytearray(packed[1])
    damaged[60] ^= 1
    journal_of(path).write_bytes(ABOUT.to_json().encode() + b"\n" + packed[0] + bytes(damaged) + packed[2])
    kept = finish(path)
    assert (kept.samples, kept.torn_bytes) == (5, len(packed[1]) + len(packed[2]))
    journal_of(path := tmp_path / "eva.npz").write_bytes(ABOUT.to_json().encode() + b"\n" + packed[0] + bytes(4096))
    assert finish(path).torn_bytes == 4096  # what some file systems leave behind


def test_a_recording_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "kim.npz"
    path.write_text("precious")
    with pytest.raises(InputError, match="is there already"):
        require_new(path)
    path.unlink()
    Recorder(path, ABOUT, 0.0).close()
    with pytest.raises(InputError, match=r"was interrupted.*--recover"):
        Recorder(path, ABOUT, 0.0)
    with pytest.raises(InputError, match="no sample was recorded"):
        finish(path)
    with pytest.raises(InputError, match=r"is an \.npz file"):
        require_new(tmp_path / "kim.csv")
    with pytest.raises(StorageError):
        require_new(tmp_path / "nowhere" / "kim.npz")
    with pytest.raises(InputError, match="no recording to finish"):
        finish(tmp_path / "eva.npz")


def test_a_full_disk_keeps_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kim.npz"
    recorder = Recorder(path, ABOUT, 0.0)
    recorder.add(numbered((0, 50)), 2.0)

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "fsync", full)
        with pytest.raises(StorageError, match=r"No space.*--recover"):
            recorder.add(numbered((0, 50)), 4.0)
        with pytest.raises(StorageError):
            recorder.close()
        with pytest.raises(StorageError):
            finish(path)
    assert not path.exists()
    assert finish(path).samples >= 50


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"about": None}, "does not say of what device it is.*emulate NAME"),
        ({"about": np.array("{")}, "says nothing of its device"),
        ({"about": np.array('{"schema": 9}')}, "another version"),
        ({"about": np.array('{"schema": 1, "info": {}}')}, "says nothing of its device"),
        ({"about": np.array("[]")}, "says nothing of its device"),
        ({"lost": np.zeros(3, np.uint8)}, "lost is not one whole number each"),
        ({"lost": np.zeros(18)}, "lost is not one whole number each"),
        ({"lost": np.ones(18, np.uint8)}, "not numbered in order"),
        ({"rec_first_sample": np.array([-1])}, "not numbered in order"),
        ({"rec_first_sample": np.array([1, 2])}, "rec_first_sample is not one"),
        ({"rec_ptr": np.array([0, 3])}, "does not cover"),
        ({"emg": np.zeros((18, 3), np.float32)}, "wrong number of channels"),
    ],
)
def test_what_is_no_such_recording_is_refused_in_one_line(
    changes: dict[str, np.ndarray | None], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "kim.npz"
    recorded(path, numbered((0, 10), (3, 5)))
    with np.load(path) as arrays:
        changed = {name: value for name, value in {**arrays, **changes}.items() if value is not None}
    np.savez(path, **changed)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=said) as caught:
        read_recorded(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"channels": 0}, {"rate_hz": 1e9}, {"full_scale": -1.0}, {"layout": "cloud"}, {"id": 5}, {"unit": None}]
)
def test_a_device_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    told = json.loads(ABOUT.to_json())
    told["info"] |= change
    with pytest.raises(InputError, match="numbers that no device has"):
        About.from_json(json.dumps(told), "kim.npz")


@given(st.data())
def test_chunks_are_read_in_any_cut(data: st.DataObject) -> None:
    chunks = numbered((0, 3), (2, 1), (0, 7), channels=3)
    stream = b"".join(map(pack_chunk, chunks)) + END
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    reader = ChunkReader(3)
    again = [chunk for a, b in pairwise([0, *cuts, len(stream)]) for chunk in reader.feed(stream[a:b])]
    assert reader.ended
    assert by_index(again) == by_index(chunks)
    assert lost_before(again) == lost_before(chunks)


def test_reading_ends_with_a_sentence(tmp_path: Path) -> None:
    clock, driver = VirtualClock(), Cyton()
    wire = EmulatedWire(CytonEmulator(ArraySource(np.ones((5, 8)), 250.0), board_off=True), clock)
    with pytest.raises(DeviceError, match="PORT: the dongle answers but the board does not"):
        read(driver, wire, clock, wire.wait, 1.0)

    class Patient(Cyton):
        def tick(self, now_s: float) -> None:
            """It waits for ever."""

    deaf = EmulatedWire(CytonEmulator(ArraySource(np.ones((5, 8)), 250.0)), clock)
    deaf.write_some = lambda data=b"": len(data)  # type: ignore[method-assign]
    with pytest.raises(MyosemError, match=f"no sample came within {FIRST_SAMPLE_S:.0f} s"):
        read(Patient(), deaf, clock, deaf.wait, 1.0)
