"""Converted recordings: what is read back, that it stays on disk until it is needed, and that damage is noticed."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

h5py = pytest.importorskip("h5py", reason="the [train] extra is not installed")
pytest.importorskip("torch", reason="the [train] extra is not installed")

from myosem_edge.actions.catalogue import load_catalogue  # noqa: E402
from myosem_edge.actions.table import load_table  # noqa: E402
from myosem_edge.errors import InputError, RefusedError, StorageError  # noqa: E402
from myosem_edge.learn.corpus import ingest as conversion  # noqa: E402
from myosem_edge.learn.corpus import store as stored  # noqa: E402
from myosem_edge.learn.corpus.folders import load_sessions, subjects_of  # noqa: E402
from myosem_edge.learn.corpus.ingest import ingest, plan, require_room, write_subject  # noqa: E402
from myosem_edge.learn.corpus.sessions import ANONYMOUS, ActionIds, Session, sessions_of  # noqa: E402
from myosem_edge.learn.corpus.store import OPENED, OpenFiles, Store, StoredRows, read_store  # noqa: E402
from myosem_edge.learn.datasets import DATASETS, Recording, myo_readings8  # noqa: E402
from myosem_edge.learn.scoring.embed import embed  # noqa: E402
from myosem_edge.learn.teacher.batches import AugmentConfig, Sampler, find_executions  # noqa: E402
from myosem_edge.learn.teacher.model import ModelConfig  # noqa: E402
from myosem_edge.learn.teacher.train import TrainConfig, _digest_labels, session_map, train  # noqa: E402
from myosem_edge.signal.montage import MYO  # noqa: E402

PACK = "myo_readings8"
CATALOGUE = load_catalogue()
PEOPLE = ("p1", "p2", "p3")
HALF_STEP = 2.0**-11  # of float16, relative


def write_person(folder: Path, subject: str, gestures: tuple[int, ...] = (1, 2, 7), hold: int = 500) -> None:
    """One person of myo_readings8 in its true schema: cued streams, four repetitions, two sessions."""
    n, repetitions = hold, 4
    rng = np.random.default_rng(int(subject[1:]))
    patterns = 3.0 + 20.0 * np.random.default_rng(9).random((8, 8)) * (np.arange(8) > 0)[:, None]
    cued = np.concatenate([np.tile(np.repeat([0, g], n), repetitions) for g in (*gestures, *gestures)])
    count = np.tile(np.repeat(np.arange(1, repetitions + 1), 2 * n), 2 * len(gestures)) * (cued > 0)
    recordings = 2 * len(gestures)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        folder / f"{subject}.npz",
        emg=np.clip(rng.normal(0, patterns[cued]), -127, 127).astype(np.int8),
        label=cued.astype(np.uint8),
        repetition=count.astype(np.uint8),
        rec_ptr=np.linspace(0, len(cued), recordings + 1).astype(int),
        rec_session=np.repeat([1, 2], len(gestures)),
        rec_hand=np.repeat([0, 1], len(gestures)),
        rec_gesture=np.array([*gestures, *gestures]),
    )


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    for subject in PEOPLE:
        write_person(folder / PACK, subject)
    return folder


@pytest.fixture(scope="module")
def converted(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stores")
    ingest(out, plan(raw, [PACK]), raw)
    return out


@pytest.fixture
def mine(raw: Path, tmp_path: Path) -> Path:
    """A store of one's own, to be damaged."""
    ingest(tmp_path, plan(raw, [PACK]), raw)
    return tmp_path


def file_of(out: Path, subject: str = "p1") -> Path:
    return out / PACK / "store" / f"{subject}.h5"


def index_of(out: Path) -> dict[str, Any]:
    return json.loads((out / PACK / "store.json").read_text())


def test_a_store_holds_what_the_recordings_gave(raw: Path, converted: Path) -> None:
    a, b = load_sessions(raw, [PACK]), load_sessions(converted, [PACK])
    assert [(s.person, s.name, s.montage, s.notes, len(s.clips)) for s in a] == [
        (s.person, s.name, s.montage, s.notes, len(s.clips)) for s in b
    ]
    assert _digest_labels(a) == _digest_labels(b)  # an interrupted run goes on from either
    for one, two in zip(a, b, strict=True):
        assert np.allclose(one.scale, two.scale, rtol=1e-12) and np.array_equal(one.mask, two.mask)
        for c, d in zip(one.clips, two.clips, strict=True):
            assert (c.facts, c.attributes) == (d.facts, d.attributes)
            assert np.array_equal(c.execution, d.execution)
            x = np.asarray(d.x)
            assert (np.abs(x - c.x) <= HALF_STEP * np.abs(c.x) + 1e-7).all()
            assert np.allclose(c.mean_square(), d.mean_square(), rtol=1e-6)


def test_half_precision_is_far_below_what_a_converter_resolves(raw: Path, converted: Path) -> None:
    for one, two in zip(load_sessions(raw, [PACK]), load_sessions(converted, [PACK]), strict=True):
        for c, d in zip(one.clips, two.clips, strict=True):
            error = np.sqrt(np.square(np.asarray(d.x) - c.x).mean() / np.square(c.x).mean())
            assert 20 * np.log10(error) < -70


def test_the_ring_is_found_alike(raw: Path, converted: Path) -> None:
    for one, two in zip(load_sessions(raw, [PACK]), load_sessions(converted, [PACK]), strict=True):
        a, b = session_map(one), session_map(two)
        assert a.keys() == b.keys() and all(np.allclose(a[k], b[k], atol=1e-5) for k in a)


def test_a_slice_is_a_slice(converted: Path) -> None:
    session = load_sessions(converted, [PACK])[0]
    clip = session.clips[0]
    whole = session.canonical(clip)
    for part in (slice(0, 50), slice(395, 1205), slice(3000, 10**6), slice(10**6, None), slice(None)):
        assert np.array_equal(session.canonical(clip, samples=part), whole[part])
    assert np.array_equal(clip.x[7], np.asarray(clip.x)[7]) and np.array_equal(clip.x[::3], np.asarray(clip.x)[::3])
    assert clip.x.shape == whole.shape and len(clip.x) == len(whole)


def test_nothing_of_the_signal_is_read_before_it_is_asked_for(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self: StoredRows, key: object) -> None:
        raise AssertionError("the signal was read")

    monkeypatch.setattr(StoredRows, "__getitem__", read)
    sessions = load_sessions(converted, [PACK])
    assert find_executions(sessions, 12) and _digest_labels(sessions)
    Sampler(sessions, 26, 14, AugmentConfig())
    with pytest.raises(AssertionError, match="the signal was read"):
        sessions[0].canonical(sessions[0].clips[0])


def test_the_same_batches_are_drawn(raw: Path, converted: Path) -> None:
    drawn = []
    for folder in (raw, converted):
        sampler = Sampler(load_sessions(folder, [PACK]), 26, 14, AugmentConfig())
        drawn.append(sampler.episodes([np.random.default_rng(3)] * 4, 3))
    assert np.array_equal(drawn[0][1], drawn[1][1])
    assert np.allclose(drawn[0][0], drawn[1][0], rtol=HALF_STEP, atol=5e-3)


def test_training_and_judging_do_not_care(raw: Path, converted: Path) -> None:
    model = ModelConfig(width=16, mixtures=4, filters=2, embedding=8)
    losses, judged = [], []
    for folder in (raw, converted):
        config = TrainConfig(model=model, steps=3, episodes=2, ways=3)
        sessions = load_sessions(folder, [PACK])
        trained = train(config, sessions, CATALOGUE, load_table(), family="research", provenance={})
        losses.append([row["loss"] for row in trained.provenance["history"]])
        judged.append(embed(sessions[0], None).log_features)
    assert np.allclose(losses[0], losses[1], rtol=1e-3)
    assert np.allclose(judged[0], judged[1], atol=2e-3)


def test_an_interrupted_run_goes_on_from_the_store(raw: Path, converted: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        model=ModelConfig(width=16, mixtures=4, filters=2, embedding=8), steps=4, episodes=2, ways=3, checkpoint_every=2
    )

    def stop(step: int, row: dict[str, float]) -> None:
        if step == 3:
            raise KeyboardInterrupt

    def run(folder: Path, progress: Callable[[int, dict[str, float]], None]) -> None:
        sessions = load_sessions(folder, [PACK])
        more: dict[str, Any] = {"family": "research", "provenance": {}, "run_folder": tmp_path, "progress": progress}
        train(config, sessions, CATALOGUE, load_table(), **more)

    with pytest.raises(KeyboardInterrupt):
        run(raw, stop)
    steps: list[int] = []
    run(converted, lambda step, row: steps.append(step))
    assert steps == [3, 4]


def test_people_can_be_chosen_and_are_known_without_opening_a_file(converted: Path, tmp_path: Path) -> None:
    assert subjects_of(converted, PACK) == list(PEOPLE)
    found = load_sessions(converted, [PACK], keep=lambda dataset, subject: subject == "p2")
    assert {s.person for s in found} == {f"{PACK}/p2"}


def test_few_files_are_open_at_a_time(converted: Path) -> None:
    files = OpenFiles(2)
    for subject in PEOPLE * 2:
        assert files.open(file_of(converted, subject))["x"].shape[1] == 8
        assert len(files) <= 2
    kept = files.open(file_of(converted, "p3"))
    assert files.open(file_of(converted, "p3")) is kept
    for subject in PEOPLE:
        files.close(file_of(converted, subject))
    assert len(files) == 0 and not kept


def recordings(count: int, seconds: int = 20) -> Iterator[Recording]:
    """Made-up recordings of one person, made when they are asked for."""
    label = np.tile(np.repeat([0, 1, 2, 7], 200), seconds // 4).astype(np.int64)
    repetition = np.repeat(np.arange(1, seconds // 4 + 1), 800)
    for i in range(count):
        emg = np.random.default_rng(i).normal(0, 10, (len(label), 8)).astype(np.float32) * (1 + label[:, None] % 3)
        yield Recording(
            PACK, "p1", str(i), False, MYO, emg, label, repetition, np.ones(len(label), bool), {"gesture": 1}
        )


def open_subject(folder: Path, entry: dict[str, Any], anonymous: bool = False) -> list[Session]:
    path = folder / "store" / "p1.h5"
    store = Store(folder, PACK, MYO, {"p1": path.stat().st_size})
    return store.sessions("p1", ActionIds(CATALOGUE, anonymous))


def written(folder: Path, found: Iterator[Recording]) -> list[Session]:
    (folder / "store").mkdir(exist_ok=True, parents=True)
    OPENED.close(folder / "store" / "p1.h5")
    entry = write_subject(folder / "store" / "p1.h5", found, MYO, None)
    return open_subject(folder, entry)


@pytest.mark.parametrize("loud", [1.0, 4e4, 3e6, 1e9])
def test_a_loud_clip_fits_into_half_precision(tmp_path: Path, loud: float) -> None:
    (one,) = recordings(1)
    one = replace(one, emg=one.emg / np.abs(one.emg).max() * loud)
    (raw_session,) = sessions_of([one], CATALOGUE)
    (session,) = written(tmp_path, iter([one]))
    x, y = raw_session.clips[0].x, np.asarray(session.clips[0].x)
    assert np.isfinite(y).all()
    assert np.sqrt(np.square(y - x).mean() / np.square(x).mean()) < 3e-4


def peak_of(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_store(tmp_path: Path) -> None:
    """The labels (12 bytes a frame) are in memory, the signal (80 bytes a frame at 200 Hz) and more is not."""
    config = TrainConfig(model=ModelConfig(width=16, mixtures=4, filters=2, embedding=8), steps=2, episodes=2, ways=3)

    def work(folder: Path, count: int) -> None:
        sessions = written(folder, recordings(count, 200))
        train(config, sessions, CATALOGUE, load_table(), family="research", provenance={})

    work(tmp_path / "warm", 1)  # what is imported or compiled on first use
    small = peak_of(lambda: work(tmp_path / "small", 4))
    large = peak_of(lambda: work(tmp_path / "large", 24))
    grown = (tmp_path / "large" / "store" / "p1.h5").stat().st_size - (
        tmp_path / "small" / "store" / "p1.h5"
    ).stat().st_size
    assert grown > 20e6 / 2
    assert large - small < 0.2 * grown


def test_labels_are_the_data_sets_own(mine: Path) -> None:
    """So that a catalogue may change under a store."""
    with h5py.File(file_of(mine)) as file:
        header = json.loads(bytes(file["header"][...]))
        assert sorted(header["labels"]) == [0, 1, 2, 7]
    index = index_of(mine)
    assert index["schema"] == stored.SCHEMA and index["licence"] == "MIT"
    source = index["subjects"]["p1"]["sources"][0]
    assert source["name"] == "p1.npz" and len(source["sha256"]) == 64 and source["size"] > 0


def test_classes_without_a_name_stay_so_in_a_store(tmp_path: Path) -> None:
    label = np.repeat([0, 2], 400).astype(np.uint8)
    (tmp_path / "raw" / "unibo_inail4").mkdir(parents=True)
    np.savez(
        tmp_path / "raw" / "unibo_inail4" / "user1.npz",
        emg=np.random.default_rng(0).integers(0, 900, (800, 4)).astype(np.int16),
        label=label,
        repetition=label // 2,
        rec_ptr=np.array([0, 800]),
        rec_day=np.array([1]),
        rec_posture=np.array([1]),
    )
    ingest(tmp_path, plan(tmp_path / "raw", ["unibo_inail4"]), tmp_path / "raw")
    for anonymous in (False, True):
        a, b = (load_sessions(f, ["unibo_inail4"], anonymous=anonymous) for f in (tmp_path / "raw", tmp_path))
        assert _digest_labels(a) == _digest_labels(b) and np.allclose(a[0].scale, b[0].scale)
        assert ((ANONYMOUS + 2) in b[0].clips[0].action) == anonymous
    assert b[0].montage == DATASETS["unibo_inail4"].montage


# Going on, and doing nothing twice


def reading(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who is read from the recordings from now on."""
    names: list[str] = []
    real = myo_readings8.DATASET

    def read(folder: Path, subject: str) -> Iterator[Recording]:
        names.append(subject)
        return real.read(folder, subject)

    monkeypatch.setitem(DATASETS, PACK, replace(real, read=read))
    return names


def test_who_is_finished_is_skipped(raw: Path, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {p: file_of(mine, p).read_bytes() for p in PEOPLE}
    names = reading(monkeypatch)
    rows = ingest(mine, plan(raw, [PACK]), raw)
    assert names == [] and all(row["skipped"] for row in rows)
    assert before == {p: file_of(mine, p).read_bytes() for p in PEOPLE}


def test_whose_recordings_changed_is_converted_again(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for subject in PEOPLE:
        write_person(tmp_path / "raw" / PACK, subject)
    out = tmp_path / "out"
    ingest(out, plan(tmp_path / "raw", [PACK]), tmp_path / "raw")
    write_person(tmp_path / "raw" / PACK, "p2", gestures=(3, 4))
    names = reading(monkeypatch)
    ingest(out, plan(tmp_path / "raw", [PACK]), tmp_path / "raw")
    assert names == ["p2"]
    a, b = (load_sessions(f, [PACK]) for f in (tmp_path / "raw", out))
    assert _digest_labels(a) == _digest_labels(b)


@pytest.mark.parametrize("loss", ["gone", "short"])
def test_a_lost_file_is_converted_again(raw: Path, mine: Path, monkeypatch: pytest.MonkeyPatch, loss: str) -> None:
    if loss == "gone":
        file_of(mine, "p3").unlink()
    else:
        file_of(mine, "p3").write_bytes(b"short")
    names = reading(monkeypatch)
    ingest(mine, plan(raw, [PACK]), raw)
    assert names == ["p3"] and len(load_sessions(mine, [PACK])) == 6


def test_other_settings_convert_everybody_again(raw: Path, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = reading(monkeypatch)
    ingest(mine, plan(raw, [PACK], rate_hz=80.0), raw, rate_hz=80.0)
    assert names == list(PEOPLE)
    sessions = load_sessions(mine, [PACK])
    assert {s.montage.rate_hz for s in sessions} == {80.0}
    assert all(len(c.x) == 2 * len(c.action) for s in sessions for c in s.clips)


@pytest.mark.parametrize("moment", [1, 3, 8])
def test_what_ctrl_c_leaves_is_whole_or_not_there(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    real, count = conversion.clips_of, iter(range(1, 100))

    def interrupted(*arguments: Any) -> Iterator[Any]:
        for each in real(*arguments):
            if next(count) == moment:
                raise KeyboardInterrupt
            yield each

    monkeypatch.setattr(conversion, "clips_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ingest(tmp_path, plan(raw, [PACK]), raw)
    monkeypatch.setattr(conversion, "clips_of", real)
    finished = (moment - 1) // 6  # six recordings a person
    assert sorted(p.name for p in (tmp_path / PACK / "store").iterdir()) == [f"{p}.h5" for p in PEOPLE[:finished]]
    with pytest.raises(InputError, match=rf"interrupted \(found {3 - finished} of 3 subjects.*Repeat the command"):
        load_sessions(tmp_path, [PACK])
    names = reading(monkeypatch)
    ingest(tmp_path, plan(raw, [PACK]), raw)
    assert names == list(PEOPLE[finished:]) and len(load_sessions(tmp_path, [PACK])) == 6


def test_what_a_killed_run_left_is_cleared_away(raw: Path, tmp_path: Path) -> None:
    left = tmp_path / PACK / "store" / ".p1.h5.abc.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    ingest(tmp_path, plan(raw, [PACK]), raw)
    assert not left.exists()


def test_a_damaged_recording_takes_nobody_else_with_it(raw: Path, tmp_path: Path) -> None:
    for subject in PEOPLE:
        write_person(tmp_path / "raw" / PACK, subject)
    jobs = plan(tmp_path / "raw", [PACK])
    (tmp_path / "raw" / PACK / "p2.npz").write_bytes(b"no recording")
    with pytest.raises(InputError, match="not a readable recording file"):
        ingest(tmp_path, jobs, tmp_path / "raw")
    assert sorted(index_of(tmp_path)["subjects"]) == ["p1"]
    assert [p.name for p in (tmp_path / PACK / "store").iterdir()] == ["p1.h5"]


def test_two_conversions_at_once_are_refused(raw: Path, tmp_path: Path) -> None:
    with conversion._locked(tmp_path / PACK), pytest.raises(RefusedError, match="another conversion is running here"):
        ingest(tmp_path, plan(raw, [PACK]), raw)
    ingest(tmp_path, plan(raw, [PACK]), raw)


def test_some_people_alone_can_be_converted_and_others_added(raw: Path, tmp_path: Path) -> None:
    ingest(tmp_path, plan(raw, [PACK], ["p2"]), raw)
    assert subjects_of(tmp_path, PACK) == ["p2"]
    ingest(tmp_path, plan(raw, [PACK], ["p3"]), raw)
    assert subjects_of(tmp_path, PACK) == ["p2", "p3"]
    with pytest.raises(InputError, match="no such subject"):
        plan(raw, [PACK], ["p9"])


# Space


def test_the_estimate_of_space_is_about_right(raw: Path, mine: Path) -> None:
    for job in plan(raw, [PACK]):
        actual = file_of(mine, job.subject).stat().st_size
        assert 0.6 * actual < job.needed < 1.3 * actual
        assert job.read == (raw / PACK / f"{job.subject}.npz").stat().st_size


def test_too_little_space_is_said_before_the_work(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = plan(raw, [PACK])
    needed, free = require_room(tmp_path / "not" / "there", jobs)
    assert needed == sum(job.needed for job in jobs) and free > 0
    monkeypatch.setattr(conversion.shutil, "disk_usage", lambda place: type("Usage", (), {"free": needed - 1}))
    with pytest.raises(StorageError, match="too little space"):
        require_room(tmp_path, jobs)


def test_a_place_that_cannot_be_written_is_one_clear_error(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        write_subject(tmp_path / "absent" / "p1.h5", recordings(1), MYO, None)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file: cannot be written"):
        require_room(tmp_path / "file" / "stores", plan(raw, [PACK]))
    (tmp_path / PACK).write_text("a file where a folder should be")
    with pytest.raises(StorageError, match="cannot be written"):
        ingest(tmp_path, plan(raw, [PACK]), raw)


def test_rates_that_cannot_be_had_are_refused(raw: Path) -> None:
    with pytest.raises(InputError, match="higher rate than recorded"):
        plan(raw, [PACK], rate_hz=400.0)
    with pytest.raises(InputError, match="no whole number of samples"):
        plan(raw, [PACK], rate_hz=150.0)


def test_a_folder_without_data_sets_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no data set"):
        conversion.found_here(tmp_path)


# Damage


def flip(path: Path, name: str, chunk: int = 0) -> None:
    """One bit in the middle of a chunk."""
    OPENED.close(path)
    with h5py.File(path) as file:
        info = file[name].id.get_chunk_info(chunk)
    data = bytearray(path.read_bytes())
    data[info.byte_offset + info.size // 2] ^= 4
    path.write_bytes(data)


def use_everything(out: Path) -> None:
    for session in load_sessions(out, [PACK]):
        for clip in session.clips:
            session.canonical(clip)
        session_map(session)


@pytest.mark.parametrize("name", ["x", "energy", "labels", "header"])
def test_a_flipped_bit_is_one_clear_error(mine: Path, name: str) -> None:
    use_everything(mine)
    flip(file_of(mine), name)
    with pytest.raises(InputError, match=r"is damaged.*Convert it again: myosem-edge ingest myo_readings8") as caught:
        use_everything(mine)
    assert str(file_of(mine)) in str(caught.value)


def test_damage_is_found_where_it_is_read(mine: Path) -> None:
    flip(file_of(mine), "x", chunk=1)
    sessions = load_sessions(mine, [PACK])
    first, last = sessions[0].clips[0], sessions[0].clips[-1]
    assert len(first.x[:100]) == 100
    with pytest.raises(InputError, match="is damaged"):
        for clip in (*sessions[0].clips, *sessions[1].clips):
            np.asarray(clip.x)
    assert last.facts


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.999])
def test_a_truncated_file_is_one_clear_error(mine: Path, keep: float) -> None:
    data = file_of(mine).read_bytes()
    file_of(mine).write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(InputError, match="not the file that was written"):
        use_everything(mine)


@pytest.mark.parametrize("part", ["signature", "superblock", "/", "x", "energy", "labels", "header"])
def test_the_formats_own_structures_are_checked_too(mine: Path, part: str) -> None:
    OPENED.close(file_of(mine))
    with h5py.File(file_of(mine)) as file:
        place = {"signature": 0, "superblock": 12}.get(part)
        place = h5py.h5o.get_info(file[part].id).addr if place is None else place
    data = bytearray(file_of(mine).read_bytes())
    data[place : place + 24] = bytes(24)
    file_of(mine).write_bytes(data)
    with pytest.raises(InputError, match="is damaged"):
        use_everything(mine)


def test_a_missing_file_is_one_clear_error(mine: Path) -> None:
    file_of(mine).unlink()
    with pytest.raises(InputError, match="found nothing"):
        use_everything(mine)


def changed(out: Path, change: Callable[[dict[str, Any]], object]) -> None:
    index = index_of(out)
    change(index)
    (out / PACK / "store.json").write_text(json.dumps(index))


INDEX: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "schema": (lambda i: i.update(schema=99), r"another schema \(found 99, expected 2\).*Convert it again"),
    "no schema": (lambda i: i.pop("schema"), "not the index of a store"),
    "filter": (lambda i: i["settings"]["filter"][0].__setitem__(0, 0.5), r"other settings \(found filter\)"),
    "more filters": (lambda i: i["settings"]["filter"].append([1, 0, 0, 1, 0, 0]), r"settings \(found filter\)"),
    "frame": (lambda i: i["settings"].update(frame_ms=50), r"other settings \(found frame_ms\)"),
    "no rate": (lambda i: i["settings"].pop("rate_hz"), "not the index of a store"),
    "montage": (lambda i: i["montage"].update(channels=4), r"other settings \(found montage\)"),
    "another's": (lambda i: i.update(dataset="myo_kanoga22"), "the store of another data set"),
    "subjects": (lambda i: i.update(subjects=[]), "not the index of a store"),
    "sizes": (lambda i: i["subjects"]["p1"].update(size="big"), "not the index of a store"),
}


@pytest.mark.parametrize("case", INDEX)
def test_an_index_that_does_not_fit_is_one_clear_error(mine: Path, case: str) -> None:
    change, message = INDEX[case]
    changed(mine, change)
    with pytest.raises(InputError, match=message):
        load_sessions(mine, [PACK])


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"schema": 2}'])
def test_an_index_that_is_none_is_one_clear_error(raw: Path, mine: Path, text: str) -> None:
    (mine / PACK / "store.json").write_text(text)
    with pytest.raises(InputError, match="not the index of a store"):
        load_sessions(mine, [PACK])
    ingest(mine, plan(raw, [PACK]), raw)  # converted again
    assert len(load_sessions(mine, [PACK])) == 6


def test_rounding_of_another_machine_is_no_other_setting(mine: Path) -> None:
    changed(mine, lambda i: i["settings"]["filter"][0].__setitem__(0, i["settings"]["filter"][0][0] * (1 + 1e-14)))
    assert read_store(mine / PACK, DATASETS[PACK]).subjects == list(PEOPLE)


def test_another_rate_than_the_stores_is_refused(converted: Path) -> None:
    assert load_sessions(converted, [PACK], rate_hz=200.0)
    with pytest.raises(InputError, match=r"another rate \(found 200 Hz, expected 80 Hz\).*--rate 80"):
        load_sessions(converted, [PACK], rate_hz=80.0)


def test_a_subject_that_cannot_name_a_file_is_refused(tmp_path: Path) -> None:
    for name in ("..", "a/b", ".hidden", "", "x y"):
        with pytest.raises(InputError, match="cannot be a file's"):
            stored.subject_path(tmp_path, name)
