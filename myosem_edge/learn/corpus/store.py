"""Converted recordings on disk: filtered, framed, labelled, in chunks that carry checksums, opened lazily.

A store is `store.json` and one HDF5 file a subject under `store/`:

    x (samples, channels) float16     what the filter gave, divided by the clip's gain; chunks of about 64 kB
    energy (frames, channels) float32 mean square of each frame
    labels (frames, columns) int32    label (a place in the header's list, -1 where it cannot be believed), repetition,
                                      execution, and the label that has begun where it cannot be believed yet
    header (bytes,) uint8             JSON: sessions, clips, facts, and the sums from which input scales come

Every data set has a Fletcher-32 checksum, and the format's own structures have theirs (HDF5 1.10 and later). Labels
are the data set's own, so that a catalogue may change under a store.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.sessions import (
    FRAME_MS,
    NO_ACTION,
    STORE,
    ActionIds,
    Clip,
    Power,
    Session,
    filter_sections,
    frame_samples,
)
from myosem_edge.learn.datasets.recording import DataSet
from myosem_edge.signal.montage import Montage

SCHEMA = 2  # rises when what is stored, or what a loader makes of a recording, changes
FOLDER = "store"
COLUMNS = ("label", "repetition", "execution", "early")
FIGURES = ("sessions", "clips", "frames", "size")  # what the index says of a subject's file; size in bytes
OPEN_FILES = 16
CHUNK_CACHE_BYTES = 1 << 20  # per open file: a training segment is a chunk or two, and seldom the same again
SUBJECT = re.compile(r"[A-Za-z0-9_.-]+")
# What damaged files make h5py raise.
DAMAGED = (OSError, RuntimeError, KeyError, ValueError, TypeError)


def settings_of(montage: Montage) -> dict[str, Any]:
    """What decides the stored numbers, beside the recordings: rate, frame, filter, format."""
    return {
        "rate_hz": montage.rate_hz,
        "frame_ms": FRAME_MS,
        "frame_samples": frame_samples(montage.rate_hz),
        "filter": [[float(value) for value in row] for row in filter_sections(montage)],
        "samples": "float16",
    }


def subject_path(folder: Path, subject: str) -> Path:
    """Raises:
    InputError: a name that cannot be a file's.
    """
    if not SUBJECT.fullmatch(subject) or subject.startswith("."):
        raise InputError("a subject whose name cannot be a file's", where=folder, found=subject)
    return folder / FOLDER / f"{subject}.h5"


@dataclass(frozen=True)
class Store:
    """One converted data set. Nothing but `store.json` is read before a subject's sessions are asked for."""

    folder: Path
    dataset: str
    montage: Montage
    sizes: Mapping[str, int]  # subject -> bytes of its file

    @property
    def subjects(self) -> list[str]:
        return sorted(self.sizes)

    def require_rate(self, rate_hz: float) -> None:
        """Raises:
        InputError: the store holds another rate.
        """
        if self.montage.rate_hz != rate_hz:
            raise InputError(
                "the store holds another rate",
                where=self.folder / STORE,
                found=f"{self.montage.rate_hz:g} Hz",
                expected=f"{rate_hz:g} Hz",
                todo=f"Convert it again: myosem-edge ingest {self.dataset} --rate {rate_hz:g}",
            )

    def sessions(self, subject: str, ids: ActionIds) -> list[Session]:
        """The subject's sessions; labels are read now, signal and energies when they are sliced.

        Raises:
            InputError: the file is missing, of another size, or damaged, or a label has no action.
        """
        path = subject_path(self.folder, subject)
        size = path.stat().st_size if path.exists() else None
        if size != self.sizes[subject]:
            found = "nothing" if size is None else f"{size} bytes"
            raise _damaged(path, self.dataset, f"not the file that was written, of {self.sizes[subject]} bytes", found)
        OPENED.close(path)
        try:
            file = OPENED.open(path)
            header = json.loads(bytes(file["header"][...]))
            labels = file["labels"][...]
            rows, frames = file["x"].shape[0], len(labels)
            length = settings_of(self.montage)["frame_samples"]
            whole = rows == frames * length and file["energy"].shape == (frames, self.montage.channels)
            if not whole or header["columns"] != list(COLUMNS) or labels.shape[1] != len(COLUMNS):
                raise ValueError("its parts do not fit together")
            every = [self._session(path, subject, entry, header["labels"], labels, ids) for entry in header["sessions"]]
            return [session for session in every if session is not None]
        except DAMAGED as error:
            raise _damaged(path, self.dataset, "is damaged", str(error)) from error

    def _session(
        self, path: Path, subject: str, entry: Mapping[str, Any], names: list[Any], labels: np.ndarray, ids: ActionIds
    ) -> Session | None:
        """None where no frame has an action, as from recordings."""
        numbers = {code: ids.number(self.dataset, names[int(code)]) for code in entry["power"]}
        table = np.full(len(names) + 1, NO_ACTION, np.int32)  # the last one is for -1
        for code, number in numbers.items():
            table[int(code)] = number
        power = Power()
        for code, (total, frames) in entry["power"].items():
            if numbers[code] != NO_ACTION:
                power.add_sum(numbers[code], np.array(total, dtype=float), int(frames))
        if not power.sums:
            return None
        size = frame_samples(self.montage.rate_hz)
        clips = []
        for clip in entry["clips"]:
            first, stop = int(clip["first"]), int(clip["stop"])
            if not 0 <= first < stop <= len(labels):
                raise ValueError("a clip lies outside")
            label, repetition, execution, early = (column.copy() for column in labels[first:stop].T)
            action, early = table[label], table[early]
            execution[action == NO_ACTION] = NO_ACTION
            x = StoredRows(path, self.dataset, "x", first * size, stop * size, self.montage.channels, clip["gain"])
            energy = StoredRows(path, self.dataset, "energy", first, stop, self.montage.channels)
            clips.append(Clip(x, action, repetition, execution, early, clip["facts"], clip["attributes"], energy))
        mask, notes = np.array(entry["mask"], dtype=bool), tuple(entry["notes"])
        return Session(self.dataset, subject, entry["name"], self.montage, clips, power.scale(), mask=mask, notes=notes)


class StoredRows:
    """Rows of a data set in a subject's file, float32, read when they are sliced."""

    def __init__(
        self, path: Path, dataset: str, name: str, first: int, stop: int, columns: int, gain: float = 1.0
    ) -> None:
        self._path, self._dataset, self._name, self._first, self._gain = path, dataset, name, first, float(gain)
        self.shape: tuple[int, ...] = (stop - first, columns)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any, /) -> Any:
        """Raises:
        InputError: the part that is read is damaged.
        """
        if not isinstance(key, slice) or key.step not in (None, 1):
            return self[:][key]
        first, stop, _ = key.indices(len(self))
        try:
            rows = OPENED.open(self._path)[self._name][self._first + first : self._first + max(first, stop)]
        except DAMAGED as error:
            raise _damaged(self._path, self._dataset, "is damaged", str(error)) from error
        rows = rows.astype(np.float32, copy=False)
        return rows * np.float32(self._gain) if self._gain != 1.0 else rows

    def __array__(self, dtype: Any = None, /, *, copy: bool | None = None) -> Any:
        return np.asarray(self[:], dtype)


class OpenFiles:
    """Files that are open for reading, the least recently used one closed when there are too many."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._files: OrderedDict[Path, h5py.File] = OrderedDict()

    def open(self, path: Path) -> h5py.File:
        if path in self._files:
            self._files.move_to_end(path)
            return self._files[path]
        while len(self._files) >= self._limit:
            self._files.popitem(last=False)[1].close()
        # Nobody writes a finished file, so no lock is needed, and a read-only disk may refuse one.
        file = h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE_BYTES, locking=False)
        self._files[path] = file
        return file

    def close(self, path: Path) -> None:
        if file := self._files.pop(path, None):
            file.close()

    def __len__(self) -> int:
        return len(self._files)


OPENED = OpenFiles(OPEN_FILES)


def read_index(folder: Path) -> dict[str, Any]:
    """`store.json` of a converted data set.

    Raises:
        InputError: damaged, or of another schema.
    """
    path = folder / STORE
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        if index["schema"] != SCHEMA:
            raise InputError(
                "a store of another schema",
                where=path,
                found=index["schema"],
                expected=SCHEMA,
                todo=f"Convert it again: myosem-edge ingest {folder.name}",
            )
        for name, entry in index["subjects"].items():
            whole = all(type(entry[figure]) is int for figure in FIGURES)
            if not whole or not isinstance(entry["notes"], list) or not isinstance(entry["sources"], list):
                raise ValueError(f"subject {name!r}")
        if not isinstance(index["settings"]["rate_hz"], float) or not isinstance(index["wanted"], list):
            raise ValueError("settings")
        return dict(index)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"is not the index of a store ({error})",
            where=path,
            todo=f"Remove it and convert again: myosem-edge ingest {folder.name}",
        ) from error


def read_store(folder: Path, source: DataSet) -> Store:
    """The store of a data set.

    Raises:
        InputError: damaged, of another schema, made with other settings, or not finished.
    """
    index = read_index(folder)
    again = f"Convert it again: myosem-edge ingest {source.name}"
    montage = replace(source.montage, rate_hz=index["settings"]["rate_hz"])
    if index.get("dataset") != source.name:
        raise InputError("the store of another data set", where=folder / STORE, found=index.get("dataset"))
    now, then = (
        {**settings_of(montage), "montage": montage.to_dict()},
        {**index["settings"], "montage": index["montage"]},
    )
    if changed := [name for name in now if not same(then.get(name), now[name])]:
        raise InputError(
            "the store was made with other settings", where=folder / STORE, found=", ".join(changed), todo=again
        )
    if missing := [subject for subject in index["wanted"] if subject not in index["subjects"]]:
        raise InputError(
            "the conversion was interrupted",
            where=folder / STORE,
            found=f"{len(missing)} of {len(index['wanted'])} subjects are missing",
            todo=f"Repeat the command, it goes on: myosem-edge ingest {source.name}",
        )
    return Store(folder, source.name, montage, {name: entry["size"] for name, entry in index["subjects"].items()})


def same(found: Any, expected: Any) -> bool:
    """Whether two settings agree; filter coefficients to rounding, since their last bits differ between machines."""
    if isinstance(expected, list):
        try:
            a, b = np.asarray(found, float), np.asarray(expected, float)
            return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-9, atol=1e-12))
        except (TypeError, ValueError):
            return False
    return bool(found == expected)


def _damaged(path: Path, dataset: str, what: str, found: str) -> InputError:
    return InputError(what, where=path, found=found, todo=f"Convert it again: myosem-edge ingest {dataset}")
