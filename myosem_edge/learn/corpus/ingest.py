"""One-time conversion of recordings into a store (`corpus.store`), a subject at a time, a recording at a time.

Signal is kept as float16. It is scaled by its own RMS before it is used, so what counts is the relative error of a
sample: at most 2^-11, below the step of a 12-bit converter, at half the disk and half the reading of float32.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from myosem_edge.actions.catalogue import Label
from myosem_edge.errors import InputError, RefusedError, StorageError
from myosem_edge.files import replacing, write_atomic
from myosem_edge.learn.corpus.resample import require_rate
from myosem_edge.learn.corpus.sessions import (
    FRAME_MS,
    NO_ACTION,
    STORE,
    Clip,
    Power,
    clips_of,
    frame_samples,
    worn_mask,
)
from myosem_edge.learn.corpus.store import COLUMNS, FIGURES, FOLDER, SCHEMA, read_index, same, settings_of, subject_path
from myosem_edge.learn.datasets import DATASETS, data_set
from myosem_edge.learn.datasets.recording import DataSet, Recording
from myosem_edge.signal.montage import Montage

CHUNK_BYTES = 1 << 16  # a segment of training is read with little beside it, and a chunk's own cost stays small
LARGEST = 32768.0  # float16 ends at 65504; a clip that exceeds this is stored divided by a power of two
HASH_BYTES = 1 << 20
ROOM = 1.05  # of the estimate: headers, chunks that are not full
Progress = Callable[[str, int, int, str], None]  # stage, files done, files in all, subject


@dataclass(frozen=True)
class Job:
    """One subject to convert. Sizes in bytes; `needed` is an estimate from the shapes of the arrays."""

    dataset: str
    subject: str
    sources: tuple[Path, ...]
    read: int
    needed: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "subject": self.subject,
            "files": len(self.sources),
            "bytes_read": self.read,
            "bytes_needed": self.needed,
        }


def found_here(data: Path) -> list[str]:
    """Data sets with a folder of their own under `data`.

    Raises:
        InputError: none.
    """
    names = [name for name in DATASETS if (data / name).is_dir()]
    if not names:
        raise InputError("holds no data set", where=data, expected=f"a folder named {', '.join(DATASETS)}")
    return names


def montage_at(source: DataSet, rate_hz: float | None) -> Montage:
    """The data set's montage at the rate of the store.

    Raises:
        InputError: a rate above the recorded one, or one without a whole number of samples a frame.
    """
    montage = source.montage
    if rate_hz is None or rate_hz == montage.rate_hz:
        return montage
    require_rate(source.name, montage.rate_hz, rate_hz, envelope=montage.envelope)
    if rate_hz * FRAME_MS % 1000:
        raise InputError(
            f"a frame of {FRAME_MS} ms is no whole number of samples",
            found=f"{rate_hz:g} Hz",
            expected="a multiple of 40 Hz",
        )
    return replace(montage, rate_hz=float(rate_hz))


def plan(
    data: Path,
    names: Sequence[str],
    subjects: Sequence[str] = (),
    rate_hz: float | None = None,
    *,
    progress: Progress = lambda stage, done, total, note: None,
) -> list[Job]:
    """What would be converted; files are opened for their shapes alone.

    Raises:
        InputError: a data set, a subject or a file is missing or damaged, or a rate cannot be had.
    """
    jobs = []
    for name in names:
        source, folder = data_set(name), data / name
        montage = montage_at(source, rate_hz)
        there = source.subjects(folder)
        if unknown := [subject for subject in subjects if len(names) == 1 and subject not in there]:
            raise InputError("no such subject", where=folder, found=unknown[0], expected=", ".join(there))
        for i, subject in enumerate(there, start=1):
            if subjects and subject not in subjects:
                continue
            progress(f"look at {name}", i, len(there), subject)
            subject_path(folder, subject)
            paths = tuple(source.sources(folder, subject))
            samples = sum(samples_in(path) for path in paths) * montage.rate_hz / source.montage.rate_hz
            frames = samples / frame_samples(montage.rate_hz)
            needed = samples * montage.channels * 2 + frames * (montage.channels * 4 + len(COLUMNS) * 4)
            read = sum(path.stat().st_size for path in paths)
            jobs.append(Job(name, subject, paths, read, round(ROOM * needed)))
    return jobs


def samples_in(path: Path) -> int:
    """Samples of the recordings in a source file, from its headers; 0 where it holds none.

    Raises:
        InputError: a file whose headers cannot be read.
    """
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive, archive.open("emg.npy") as member:
                version = np.lib.format.read_magic(member)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                return int(read(member)[0][0])
        if path.suffix == ".mat" and not h5py.is_hdf5(path):
            from scipy.io import whosmat

            return int({name: shape for name, shape, _ in whosmat(str(path), appendmat=False)}["emg"][0])
        if path.suffix in (".mat", ".hdf5"):
            with h5py.File(path, "r", locking=False) as file:
                return int(file["emg"].shape[-1] if path.suffix == ".mat" else len(file["emg2pose/timeseries"]))
        return 0
    except Exception as error:  # scipy, zipfile and h5py raise about everything on a damaged file
        raise InputError(f"is not a readable recording file ({error})", where=path) from error


def ingest(
    out: Path,
    jobs: Sequence[Job],
    data: Path,
    *,
    rate_hz: float | None = None,
    progress: Progress = lambda stage, done, total, note: None,
) -> list[dict[str, Any]]:
    """Convert; subjects that are finished from the same files with the same settings are skipped. One row a subject.

    Whatever interrupts it, finished subjects stay finished and no half file takes a name.

    Raises:
        InputError: a damaged source.
        StorageError: too little space, or a file cannot be written.
        RefusedError: another conversion into the same store is running.
    """
    rows = []
    total, before = sum(len(job.sources) for job in jobs), 0
    for name in dict.fromkeys(job.dataset for job in jobs):
        source = data_set(name)
        with _locked(out / name):
            index = _open_index(out / name, source, montage_at(source, rate_hz), [j for j in jobs if j.dataset == name])
            for job in (job for job in jobs if job.dataset == name):
                tick = partial(_tick, progress, f"{name}/{job.subject}", before, total)
                rows.append(_ingest_subject(out / name, source, data / name, job, index, rate_hz, tick))
                before += len(job.sources)
    return rows


def _tick(progress: Progress, who: str, before: int, total: int, done: int) -> None:
    progress("convert", before + done, total, who)


def require_room(out: Path, jobs: Sequence[Job]) -> tuple[int, int]:
    """Bytes needed and bytes free where the store will be; what is already there and may be replaced counts as free.

    Raises:
        StorageError: too little space, or nothing may be written there.
    """
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise StorageError(
            "cannot be written to", where=place, todo="Choose a folder of your own with --out, and give it to --data"
        )
    old = sum(path.stat().st_size for job in jobs if (path := subject_path(out / job.dataset, job.subject)).exists())
    needed, free = sum(job.needed for job in jobs), shutil.disk_usage(place).free + old
    if needed > free:
        raise StorageError(
            "too little space",
            where=out,
            found=f"{free / 1e9:.1f} GB",
            expected=f"{needed / 1e9:.1f} GB",
            todo="Choose another place with --out, a lower --rate, or fewer data sets",
        )
    return needed, free


def _open_index(folder: Path, source: DataSet, montage: Montage, jobs: Sequence[Job]) -> dict[str, Any]:
    """The index to go on with: what is finished under the same settings, and who is wanted."""
    settings = settings_of(montage)
    finished: dict[str, Any] = {}
    try:
        old = read_index(folder) if (folder / STORE).exists() else None
    except InputError:  # damaged, or of another schema: everything is converted again
        old = None
    if old is not None and old["montage"] == montage.to_dict():
        unchanged = all(same(old["settings"].get(name), value) for name, value in settings.items())
        finished = old["subjects"] if unchanged else {}
    wanted = sorted({*finished, *(job.subject for job in jobs)})
    index = {
        "schema": SCHEMA,
        "dataset": source.name,
        "licence": source.licence,
        "montage": montage.to_dict(),
        "settings": settings,
        "wanted": wanted,
        "subjects": finished,
    }
    _write_index(folder, index)
    return index


def _write_index(folder: Path, index: dict[str, Any]) -> None:
    write_atomic(folder / STORE, json.dumps(index, indent=1, sort_keys=True).encode())


def _ingest_subject(
    folder: Path,
    source: DataSet,
    raw: Path,
    job: Job,
    index: dict[str, Any],
    rate_hz: float | None,
    tick: Callable[[int], None],
) -> dict[str, Any]:
    path = subject_path(folder, job.subject)
    tick(0)
    sources = [{"name": each.name, "size": each.stat().st_size, "sha256": sha256_of(each)} for each in job.sources]
    entry = index["subjects"].get(job.subject)
    if entry is not None and entry["sources"] == sources and path.exists() and path.stat().st_size == entry["size"]:
        tick(len(sources))
        return _row(job, entry, skipped=True)
    if index["subjects"].pop(job.subject, None) is not None:
        _write_index(folder, index)  # a file that is being replaced is no longer vouched for
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*.part"):
        left.unlink()  # by a run that was killed; the lock says that nobody writes it now
    recordings = _counted(source.read(raw, job.subject), len(job.sources), tick)
    with replacing(path) as temporary:
        entry = write_subject(temporary, recordings, montage_at(source, rate_hz), rate_hz)
    index["subjects"][job.subject] = {**entry, "size": path.stat().st_size, "sources": sources}
    _write_index(folder, index)
    return _row(job, index["subjects"][job.subject], skipped=False)


def _row(job: Job, entry: dict[str, Any], *, skipped: bool) -> dict[str, Any]:
    figures = {name: entry[name] for name in (*FIGURES, "notes")}
    return {"dataset": job.dataset, "subject": job.subject, "skipped": skipped, **figures}


def _counted(recordings: Iterator[Recording], files: int, tick: Callable[[int], None]) -> Iterator[Recording]:
    """A tick a recording, as far as there are files; a file may hold several recordings, and some hold none."""
    for i, recording in enumerate(recordings):
        if 0 < i < files:
            tick(i)
        yield recording
    tick(files)


def write_subject(
    path: Path, recordings: Iterator[Recording], montage: Montage, rate_hz: float | None
) -> dict[str, Any]:
    """Write one subject's file; one recording is in memory at a time. Returns what the index says of it.

    Raises:
        InputError: a damaged source, or one without a recording that is long enough.
        StorageError: the file cannot be written.
    """
    names: list[Label] = []

    def code(dataset: str, label: Label) -> int:
        if label not in names:
            names.append(label)
        return names.index(label)

    sessions: dict[str, dict[str, Any]] = {}
    powers: dict[str, Power] = {}
    with _writing(path), h5py.File(path, "w", libver=("v110", "v110")) as file:
        rows = _Rows(file, montage)
        for recording, clip in clips_of(recordings, code, rate_hz):
            entry = sessions.setdefault(
                recording.session, {"name": recording.session, "mask": worn_mask(recording), "notes": [], "clips": []}
            )
            entry["mask"] = entry["mask"] & worn_mask(recording)
            entry["notes"] += recording.notes
            energy = clip.mean_square()
            powers.setdefault(recording.session, Power()).add(energy, clip.action)
            first, gain = rows.append(clip, energy)
            facts = {"facts": clip.facts, "attributes": clip.attributes}
            entry["clips"].append({"first": first, "stop": rows.frames, "gain": gain, **facts})
        if not sessions:
            raise InputError("no recording is long enough to convert", where=path)
        for name, entry in sessions.items():
            power = powers[name]
            entry["mask"] = entry["mask"].tolist()
            entry["power"] = {str(k): [total.tolist(), power.frames[k]] for k, total in power.sums.items()}
        header = {"columns": COLUMNS, "labels": names, "sessions": list(sessions.values())}
        data = np.frombuffer(json.dumps(header).encode(), np.uint8)
        file.create_dataset("header", data=data, chunks=(min(len(data), CHUNK_BYTES),), fletcher32=True)
    notes = [note for entry in sessions.values() for note in entry["notes"]]
    clips = sum(len(entry["clips"]) for entry in sessions.values())
    return {"sessions": len(sessions), "clips": clips, "frames": rows.frames, "notes": notes}


class _Rows:
    """The arrays of a subject's file, which grow by a clip."""

    def __init__(self, file: h5py.File, montage: Montage) -> None:
        self.frames = 0
        self._size = frame_samples(montage.rate_hz)
        frames = max(1, CHUNK_BYTES // (2 * montage.channels * self._size))
        shapes = {
            "x": ("<f2", frames * self._size, montage.channels),
            "energy": ("<f4", max(1, CHUNK_BYTES // (4 * montage.channels)), montage.channels),
            "labels": ("<i4", CHUNK_BYTES // (4 * len(COLUMNS)), len(COLUMNS)),
        }
        self._arrays = {
            name: file.create_dataset(
                name, (0, columns), dtype, maxshape=(None, columns), chunks=(rows, columns), fletcher32=True
            )
            for name, (dtype, rows, columns) in shapes.items()
        }

    def append(self, clip: Clip, energy: np.ndarray) -> tuple[int, float]:
        """The first frame of the clip, and the power of two that its samples were divided by."""
        first = self.frames
        x = np.asarray(clip.x)
        loudest = float(np.abs(x).max())
        gain = 2.0 ** max(0, int(np.ceil(np.log2(loudest / LARGEST)))) if loudest > 0 else 1.0
        label = np.where(clip.execution == NO_ACTION, -1, clip.action)
        self._put("x", first * self._size, (x / np.float32(gain)).astype("<f2"))
        self._put("energy", first, energy.astype("<f4"))
        self._put("labels", first, np.stack((label, clip.repetition, clip.execution, clip.early), axis=1).astype("<i4"))
        self.frames += len(label)
        return first, gain

    def _put(self, name: str, first: int, rows: np.ndarray) -> None:
        array = self._arrays[name]
        array.resize(first + len(rows), axis=0)
        array[first:] = rows


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """HDF5 tells of a full disk in its own ways, once more when the file is closed."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        what = f"cannot be written: {str(error).splitlines()[0]}"
        raise StorageError(what, where=path, todo="Free some space or choose another place") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raises:
    RefusedError: another process converts into this folder.
    """
    try:
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=folder, todo="Choose another --out") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RefusedError(
                "another conversion is running here", where=folder, todo="Wait until it has ended"
            ) from error
        yield
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """Raises:
    InputError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(HASH_BYTES):
                digest.update(block)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path) from error
    return digest.hexdigest()
