"""What a front end sends, kept in a file: a journal while it grows, an `.npz` at the end.

The journal lies beside the file under its name with `.part`: one line of JSON, then chunks (`chunk_stream`), on disk
within `SETTLE_S`. Whatever ends the program, `finish` makes of it what was written until then.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from myosem_edge.errors import InputError, StorageError
from myosem_edge.files import replacing, require_writable
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.firmware_bridge.frontends.chunk_stream import ChunkReader, pack_chunk
from myosem_edge.firmware_bridge.frontends.recording import About
from myosem_edge.runtime.decoder import MAX_FILL_SAMPLES

SETTLE_S = 1.0
MOST_ABOUT_BYTES = 1 << 16
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Kept:
    """What a file holds: samples that arrived, samples that were lost, recordings that long holes have parted."""

    samples: int
    lost: int
    recordings: int
    seconds: float
    torn_bytes: int = 0


def journal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


class Recorder:
    """Writes the journal of `path`. Close it, then `finish`.

    Raises:
        InputError: there is such a file already, or a journal that nobody has finished.
        StorageError: it cannot be written; what was written before stays.
    """

    def __init__(self, path: Path, about: About, now_s: float) -> None:
        require_new(path)
        self.path, self.samples, self.lost = path, 0, 0
        self._settled_s = now_s
        self._file = self._open(journal_of(path))
        self._write(about.to_json().encode() + b"\n")

    def add(self, chunks: Sequence[Chunk], now_s: float) -> None:
        """Keep chunks; what came a second ago is on the disk."""
        for chunk in chunks:
            self._write(pack_chunk(chunk))
            self.samples += len(chunk.samples)
            self.lost += chunk.lost
        if now_s - self._settled_s >= SETTLE_S:
            self._settled_s = now_s
            self._settle()

    def close(self) -> None:
        try:
            self._settle()
        finally:
            self._file.close()

    def _open(self, path: Path) -> IO[bytes]:
        try:
            return path.open("xb")
        except OSError as error:
            raise _unwritable(path, error) from error

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise _unwritable(journal_of(self.path), error) from error

    def _settle(self) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritable(journal_of(self.path), error) from error


def require_new(path: Path) -> None:
    """Before the work: whether a recording can be written there.

    Raises:
        InputError: it is no `.npz`, or there is one already, or the journal of one.
        StorageError: the folder cannot be written.
    """
    if path.suffix.lower() != ".npz":
        raise InputError("a recording is an .npz file", where=path, found=path.suffix or "no suffix")
    if path.exists():
        raise InputError("is there already", where=path, todo="Choose another name: a recording is never replaced")
    if journal_of(path).exists():
        raise InputError(
            "a recording of this name was interrupted",
            where=journal_of(path),
            todo=f"Finish it: myosem-edge record --recover --out {path}",
        )
    require_writable(path)


def finish(path: Path, about: About | None = None) -> Kept:
    """Make `path` of its journal, and remove that. `about` is what is known by now; without it, what the journal says.

    A hole of at most MAX_FILL_SAMPLES becomes zeros, as the decoder takes it; a longer one parts recordings.

    Raises:
        InputError: there is no journal, it is damaged, or holds no sample.
        StorageError: the file cannot be written; the journal stays.
    """
    journal = _Journal(journal_of(path))
    about = about or journal.about
    layout = _Layout()
    for chunk in journal.chunks():
        layout.add(chunk)
    if not layout.samples:
        raise InputError("no sample was recorded", where=journal.path, todo="Remove it, and record again")
    arrays = layout.arrays() | {"about": np.array(about.to_json())}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        with file.open("emg.npy", "w", force_zip64=True) as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": (layout.rows, about.info.channels)}
            np.lib.format.write_array_header_1_0(member, header)
            for chunk in journal.chunks():
                member.write(bytes(4 * about.info.channels * layout.filled(chunk)))
                member.write(np.ascontiguousarray(chunk.samples, "<f4").tobytes())
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    journal.path.unlink()
    seconds = (layout.samples + layout.lost) / about.info.rate_hz
    return Kept(layout.samples, layout.lost, len(layout.borders), seconds, journal.torn_bytes)


class _Journal:
    """Raises:
    InputError: there is none, or its first line is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.torn_bytes = path, 0
        try:
            with path.open("rb") as file:
                line = file.readline(MOST_ABOUT_BYTES)
        except OSError as error:
            raise InputError(f"no recording to finish: {error.strerror}", where=path) from error
        self.about = About.from_json(line.decode("utf-8", "replace"), path)
        self._begin = len(line)

    def chunks(self) -> Iterator[Chunk]:
        reader = ChunkReader(self.about.info.channels)
        with self.path.open("rb") as file:
            file.seek(self._begin)
            while data := file.read(BLOCK_BYTES):
                yield from reader.feed(data)
        self.torn_bytes = reader.torn


class _Layout:
    """Where everything goes: rows of the file, borders of its recordings."""

    def __init__(self) -> None:
        self.rows = self.samples = self.lost = 0
        self.borders: list[tuple[int, int]] = []  # (row, number of the sample) where each recording begins
        self._begins: set[int] = set()
        self._lost: list[np.ndarray] = []  # (rows of a chunk,) each
        self._lead_off: list[np.ndarray] = []

    def filled(self, chunk: Chunk) -> int:
        """Rows of zeros before a chunk."""
        return 0 if chunk.first_sample in self._begins else chunk.lost

    def add(self, chunk: Chunk) -> None:
        if not self.borders or chunk.lost > MAX_FILL_SAMPLES:
            self.borders.append((self.rows, chunk.first_sample))
            self._begins.add(chunk.first_sample)
        fill, count = self.filled(chunk), len(chunk.samples)
        self._lost.append(np.repeat(np.array([1, 0], np.uint8), [fill, count]))
        self._lead_off.append(np.full(fill + count, chunk.lead_off, np.uint64))
        self.rows += fill + count
        self.samples += count
        self.lost += chunk.lost

    def arrays(self) -> dict[str, np.ndarray]:
        """What stands beside the EMG. Nothing is labelled: nobody was told what to do."""
        first_rows, first_numbers = (np.array(each, np.int64) for each in zip(*self.borders, strict=True))
        lead_off = np.concatenate(self._lead_off)
        arrays = {
            "label": np.zeros(self.rows, np.uint8),
            "repetition": np.zeros(self.rows, np.uint8),
            "lost": np.concatenate(self._lost),
            "rec_ptr": np.append(first_rows, self.rows),
            "rec_first_sample": first_numbers,
        }
        return arrays | ({"lead_off": lead_off} if lead_off.any() else {})


def _unwritable(journal: Path, error: OSError) -> StorageError:
    todo = "Free some space or choose another place; what was written can be recovered with --recover"
    return StorageError(f"cannot be written: {error.strerror or error}", where=journal, todo=todo)
