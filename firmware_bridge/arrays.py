"""Recordings in files of numbers: `.npz`, `.npy` and `.csv`, checked before anything uses them."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from myosem_edge.errors import InputError

SUFFIXES = (".npz", ".npy", ".csv")
# What damaged files make numpy and zipfile raise.
UNREADABLE = (
    *(ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, SyntaxError, RuntimeError),
    *(NotImplementedError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


def read_recording(path: Path | str, *, channels: int, subject: str | None = None) -> np.ndarray:
    """EMG `(samples, channels)` float32 from a file of the kinds that `read_arrays` knows.

    If `path` is a folder of `.npz` packs, `subject` names the file in it.

    Raises:
        InputError: the file is missing, unreadable, empty, has another channel count, or holds values that are not
            finite.
    """
    path = Path(path)
    if path.is_dir():
        path = _subject_file(path, subject)
    elif subject is not None and subject != path.stem:
        raise InputError(
            "this file is one subject's", where=path, found=path.stem, expected=subject, todo="Give the folder instead"
        )
    return checked_emg(read_arrays(path, ("emg",))["emg"], path, channels)


def read_arrays(path: Path, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    """`emg`, and whatever else is wanted and there, from a recording; nothing in it is unpickled.

    `.npz` holds `emg` and, in the pack schema, `label`, `repetition` and `rec_ptr` beside it; `.npy` and `.csv` hold
    the samples alone (a `.csv` may begin with one line of column names).

    Raises:
        InputError: the file is missing, unreadable, or holds no `emg`.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise InputError("not a recording", where=path, found=path.suffix or "no suffix", expected=" ".join(SUFFIXES))
    try:
        if kind == ".npz":
            return _read_npz(path, wanted)
        return {"emg": _read_npy(path) if kind == ".npy" else _read_csv(path)}
    except MemoryError as error:
        raise InputError(f"is not a readable {kind} file: it claims more than fits into memory", where=path) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=path) from error
    except UNREADABLE as error:
        raise InputError(f"is not a readable {kind} file: {error}", where=path) from error


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


def checked_emg(emg: np.ndarray, where: Path, channels: int) -> np.ndarray:
    """`emg` as float32 `(samples, channels)`.

    Raises:
        InputError: empty, not finite as float32, or of another channel count.
    """
    emg = checked_samples(emg, str(where))
    if emg.shape[1] != channels:
        raise InputError("wrong number of channels", where=where, found=emg.shape[1], expected=channels)
    return emg


def _subject_file(folder: Path, subject: str | None) -> Path:
    names = sorted(file.stem for file in folder.glob("*.npz"))
    if subject not in names:
        raise InputError(
            "which subject's recording?" if subject is None else "no such subject",
            where=folder,
            found=subject,
            expected=", ".join(names) or "a folder with .npz files",
            todo="Choose one with --subject",
        )
    return folder / f"{subject}.npz"


def _read_npz(path: Path, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise InputError("is a single array, not an .npz file", where=path, todo="Name it .npy")
        if "emg" not in loaded:
            raise InputError("holds no array named emg", where=path, found=", ".join(loaded.files) or "nothing")
        arrays = {name: loaded[name] for name in wanted if name in loaded}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # a member that is no .npy is handed out as bytes
            raise InputError(f"{name} is no array", where=path)
    return arrays


def _read_npy(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.ndarray):
            raise InputError("is an .npz file, not a single array", where=path, todo="Name it .npz")
        return loaded


def _read_csv(path: Path) -> np.ndarray:
    lines = path.read_text().splitlines()
    try:
        [float(word) for word in lines[0].split(",")] if lines else []
    except ValueError:
        del lines[0]  # the names of the columns
    if not lines:
        raise InputError("has no samples", where=path)
    return np.loadtxt(lines, delimiter=",", ndmin=2)


def checked_samples(emg: np.ndarray, name: str) -> np.ndarray:
    """`emg` as float32, which holds every device's integers exactly.

    Raises:
        InputError: it is not two-dimensional, is empty, or holds a value that is not a finite number.
    """
    if emg.ndim != 2 or not np.issubdtype(emg.dtype, np.number) or np.iscomplexobj(emg):
        raise InputError(
            f"{name} is not EMG", found=f"{emg.dtype} of shape {emg.shape}", expected="numbers (samples, channels)"
        )
    if not emg.size:
        raise InputError(f"{name} is empty", found=f"shape {emg.shape}", expected="(samples, channels)")
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite then, and refused with the rest
        single = emg.astype(np.float32)
    finite = np.isfinite(single)
    if not finite.all():
        sample, channel = np.argwhere(~finite)[0]
        raise InputError(
            f"{name} holds a value that is not a finite number",
            found=f"{emg[sample, channel]} at sample {sample}, channel {channel}",
        )
    return single
