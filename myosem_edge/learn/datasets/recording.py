"""One recording, and what a data set is. The packs share one `.npz` schema, read here."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from myosem_edge.errors import InputError
from myosem_edge.signal.montage import Montage

# What damaged or foreign files make numpy raise.
UNREADABLE = (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error, MemoryError)


@dataclass(frozen=True)
class Recording:
    """Uninterrupted EMG of one person.

    emg: (samples, channels) float32 in the montage's unit. label: (samples,) the data set's own gesture numbers.
    repetition: (samples,) 0 = none. `session` names one donning of the electrodes. `usable` marks samples whose label
    can be believed (onset lag of cues, cut edges).
    """

    dataset: str
    subject: str
    session: str
    mirrored: bool  # left arm: the ring runs the other way round
    montage: Montage
    emg: np.ndarray
    label: np.ndarray
    repetition: np.ndarray
    usable: np.ndarray
    facts: dict[str, int]
    cued: bool = (
        False  # an unbroken stream labelled by its cues, rest being 0: sessions find out when they were followed
    )


@dataclass(frozen=True)
class DataSet:
    """How to read one data set. `read(folder, subject)` yields recordings; nothing is loaded before that."""

    name: str
    licence: str
    may_ship: bool  # whether weights trained on it may be distributed under MIT/Apache terms
    montage: Montage
    subjects: Callable[[Path], list[str]]
    read: Callable[[Path, str], Iterator[Recording]]


def pack_subjects(folder: Path) -> list[str]:
    """Subjects of a pack folder, sorted by name.

    Raises:
        InputError: no folder, or no subject in it.
    """
    if not folder.is_dir():
        raise InputError("no such data folder", where=folder, todo="Give the folder that holds the pack with --data")
    found = sorted(path.stem for path in folder.glob("*.npz") if not path.stem.startswith("native_"))
    if not found:
        raise InputError("holds no recordings", where=folder, expected="one .npz per subject")
    return found


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of an `.npz`, each decompressed once. Pickled objects are refused.

    Raises:
        InputError: missing, damaged, or not an .npz.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("one array, no .npz")
            return {name: archive[name] for name in archive.files}
    except UNREADABLE as error:
        raise InputError(f"is not a readable recording file ({error})", where=path) from error


def require_emg(emg: np.ndarray, channels: int, where: Path) -> None:
    """Raises:
    InputError: not (samples, channels) of finite numbers, or empty.
    """
    if emg.ndim != 2 or emg.shape[1] != channels:
        raise InputError("wrong shape of emg", where=where, found=emg.shape, expected=f"(samples, {channels})")
    if emg.dtype.kind not in "iuf":
        raise InputError("emg holds no real numbers", where=where, found=emg.dtype)
    if len(emg) == 0 or not np.isfinite(emg).all():
        raise InputError("emg is empty or not finite", where=where, found=f"{len(emg)} samples")


def require_borders(pointers: np.ndarray, samples: int, where: Path) -> None:
    """Raises:
    InputError: recordings do not follow each other from the first sample to the last.
    """
    whole = pointers.ndim == 1 and len(pointers) > 1 and pointers.dtype.kind in "iu"
    if not whole or pointers[0] != 0 or pointers[-1] != samples or (pointers[1:] < pointers[:-1]).any():
        raise InputError(
            "rec_ptr does not cover the samples",
            where=where,
            found=np.array2string(pointers, threshold=6),
            expected=f"0 to {samples}, never falling",
        )


def read_pack(
    path: Path, *, dataset: str, montage: Montage, scale: float, facts: tuple[str, ...] = ()
) -> Iterator[Recording]:
    """Recordings of one subject's `.npz`, in file order. Labels are trusted everywhere; a data set narrows `usable`.

    `facts` names the `rec_` arrays that the data set cannot do without.

    Raises:
        InputError: unreadable file, missing array, wrong channel count, non-finite or empty data.
    """
    arrays = read_arrays(path)
    missing = {"emg", "label", "repetition", "rec_ptr", *(f"rec_{name}" for name in facts)} - arrays.keys()
    if missing:
        raise InputError(
            "lacks arrays", where=path, found=", ".join(sorted(arrays)), expected=", ".join(sorted(missing))
        )
    emg, pointers = arrays["emg"], arrays["rec_ptr"]
    require_emg(emg, montage.channels, path)
    for name in ("label", "repetition"):
        if arrays[name].shape != (len(emg),) or arrays[name].dtype.kind not in "iu":
            raise InputError(
                f"{name} is not one whole number a sample",
                where=path,
                found=f"{arrays[name].dtype} {arrays[name].shape}",
                expected=f"({len(emg)},)",
            )
    require_borders(pointers, len(emg), path)
    fields = {name[4:]: values for name, values in arrays.items() if name.startswith("rec_") and name != "rec_ptr"}
    for name, values in fields.items():
        if values.shape != (len(pointers) - 1,):
            raise InputError(
                f"rec_{name} is not one value a recording", where=path, found=values.shape, expected=len(pointers) - 1
            )
    for i, (a, b) in enumerate(pairwise(pointers)):
        yield Recording(
            dataset=dataset,
            subject=path.stem,
            session="0",
            mirrored=False,
            montage=montage,
            emg=emg[a:b].astype(np.float32) * np.float32(scale),
            label=arrays["label"][a:b].astype(np.int64),
            repetition=arrays["repetition"][a:b].astype(np.int64),
            usable=np.ones(b - a, dtype=bool),
            facts={name: int(values[i]) for name, values in fields.items()},
        )


def drop_after_change(recording: Recording, rest_label: int, active_s: float, rest_s: float) -> Recording:
    """Distrust the first `active_s` of every active stretch and the first `rest_s` of every rest stretch (cue lag)."""
    label, rate_hz = recording.label, recording.montage.rate_hz
    usable = recording.usable.copy()
    starts = np.flatnonzero(np.concatenate(([True], np.diff(label) != 0)))
    for start in starts:
        seconds = rest_s if label[start] == rest_label else active_s
        usable[start : start + round(seconds * rate_hz)] = False
    return replace(recording, usable=usable)
