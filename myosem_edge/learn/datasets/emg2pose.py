"""EMG2Pose (CC BY-NC-SA 4.0): 193 people, a band of 16 electrodes on each wrist at 2 kHz, one stage of a minute a file.

The folder holds metadata.csv and the HDF5 files it lists. The only class is the stage, a script of several gestures
and pauses: a weak label for any short window. The official axes (split, generalization) are attributes.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from myosem_edge.errors import InputError
from myosem_edge.learn.datasets.recording import DataSet, Recording, require_emg
from myosem_edge.signal.montage import Montage

NAME = "emg2pose"
MONTAGE = Montage("emg2pose wristband", 16, "ring", 2000.0, "uV", "high-pass by the authors")
METADATA = "metadata.csv"
COLUMNS = ("filename", "user", "session", "side", "stage", "split", "generalization")
JOINTS = 20
BLOCK = 1 << 14  # samples read at a time: a compound row is 232 bytes, of which 64 are EMG
ZERO_ANGLE_RAD = 1e-8
# In the order of the catalogue; a label is a place in this list, from 1.
STAGES = (
    "AllFingerPinchesThumbSwipeThumbRotate", "CoffeePanicPete", "CountingUpDownFaceSideAway",
    "CountingUpDownFingerWigglingSpreading", "DoorknobFingerGraspFistGrab", "FastPongFronthandBackhandThrowing",
    "FingerAbductionSeries", "FingerFreeform", "FingerPinchesSingleFingerPinchesMultiple",
    "FingerTouchPalmClapmrburns", "FingerWigglingSpreading", "GraspPunchCloseFar", "HandClawGraspFlicks",
    "HandDeskSeparateClaspedChest", "HandOverHandAllFingerPinchesThumbSwipeThumbRotate",
    "HandOverHandCountingUpDownFingerWigglingSpreading", "unconstrained", "HookEmHornsOKScissors",
    "IndexPinchesMiddlePinchesThumbswipes", "IndividualFingerPointingSnap", "OneHandedFreeStyle", "PlayBlocksChess",
    "PokeDrawPinchRotateclosefar", "PokePinchCloseFar", "ShakaVulcanPeace", "ThumbsSwipesWholeHand",
    "ThumbsUpDownThumbRotationsCWCCWP", "TwoHandedFreeStyle", "WristFlexionAbduction",
)  # fmt: skip

Row = dict[str, str]


def subjects(folder: Path) -> list[str]:
    """Users with at least one file here, sorted.

    Raises:
        InputError: no folder, no or a damaged metadata.csv, or none of the files that it lists.
    """
    found = sorted({row["user"] for row in _rows(folder) if _path(folder, row).exists()})
    if not found:
        raise InputError("none of the files that metadata.csv lists is here", where=folder, expected="NAME.hdf5")
    return found


def sources(folder: Path, subject: str) -> list[Path]:
    return [folder / METADATA, *(_path(folder, row) for row in _rows_of(folder, subject)[0])]


def read(folder: Path, subject: str) -> Iterator[Recording]:
    """One recording a file, in the order of recording.

    Raises:
        InputError: a damaged file, one that disagrees with metadata.csv, or an unknown stage.
    """
    rows, missing = _rows_of(folder, subject)
    notes = (f"{missing} files of {subject} that {METADATA} lists are not here",) if missing else ()
    count: dict[tuple[str, str, str], int] = {}
    for row in rows:
        stage = row["stage"].partition("_")[0]
        place = (row["session"], row["side"], stage)
        count[place] = count.get(place, 0) + 1
        yield _read(_path(folder, row), row, stage, count[place], notes)
        notes = ()


def _rows(folder: Path) -> list[Row]:
    if not folder.is_dir():
        raise InputError("no such data folder", where=folder, todo="Give the folder that holds it with --data")
    path = folder / METADATA
    try:
        status = path.stat()
        rows, header = _table(path, status.st_mtime_ns, status.st_size)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read ({error})", where=path) from error
    if missing := [name for name in COLUMNS if name not in header]:
        raise InputError("lacks columns", where=path, found=", ".join(header), expected=", ".join(missing))
    if broken := [i for i, row in enumerate(rows) if any(not row[name] for name in COLUMNS[:5])]:
        raise InputError("a row is not whole", where=f"{path}: line {broken[0] + 2}", expected=", ".join(COLUMNS[:5]))
    return rows


@lru_cache(maxsize=1)
def _table(path: Path, changed_ns: int, size: int) -> tuple[list[Row], list[str]]:
    """Rows and column names; asked for once a user, of 25,000 rows."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        return list(reader), list(reader.fieldnames or [])


def _rows_of(folder: Path, subject: str) -> tuple[list[Row], int]:
    rows = [row for row in _rows(folder) if row["user"] == subject]
    there = [row for row in rows if _path(folder, row).exists()]
    if not there:
        raise InputError(f"no files of user {subject}", where=folder)
    there.sort(key=lambda row: (row["session"], row["side"], _number(row.get("start")), row["filename"]))
    return there, len(rows) - len(there)


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _path(folder: Path, row: Row) -> Path:
    name = row["filename"].removesuffix(".hdf5")
    if Path(name).name != name:
        raise InputError("a file name with a folder in it", where=folder / METADATA, found=name)
    return folder / f"{name}.hdf5"


def _read(path: Path, row: Row, stage: str, repetition: int, notes: tuple[str, ...]) -> Recording:
    if stage not in STAGES:
        near = difflib.get_close_matches(stage, STAGES, n=1)
        todo = f"Did you mean '{near[0]}'?" if near else None
        raise InputError("no such stage", where=path, found=row["stage"], expected="one of the 29", todo=todo)
    if row["side"] not in ("left", "right"):
        raise InputError("no such side", where=path, found=row["side"], expected="left or right")
    emg, failed = _read_series(path, row)
    require_emg(emg, MONTAGE.channels, path)
    samples, number = len(emg), STAGES.index(stage) + 1
    return Recording(
        dataset=NAME,
        subject=row["user"],
        session=f"{row['session']}-{row['side']}",
        mirrored=row["side"] == "left",
        montage=MONTAGE,
        emg=emg,
        label=np.full(samples, number, np.int64),
        repetition=np.full(samples, repetition, np.int64),
        usable=~failed,  # nobody saw the hand there: whether it followed the script is not known
        facts={"ik_failed_samples": int(failed.sum())},
        attributes={name: row[name] for name in ("stage", "side", "split", "generalization")},
        aliases={number: stage},
        notes=notes,
    )


def _read_series(path: Path, row: Row) -> tuple[np.ndarray, np.ndarray]:
    """EMG (samples, 16) float32 and where the inverse kinematics failed (samples,), read in blocks."""
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            group = file[NAME]
            series, attributes = group["timeseries"], dict(group.attrs)
            _check(path, row, series, attributes)
            emg = np.empty((len(series), MONTAGE.channels), np.float32)
            failed = np.empty(len(series), bool)
            for first in range(0, len(series), BLOCK):
                block = series[first : first + BLOCK]
                emg[first : first + BLOCK] = block["emg"]
                failed[first : first + BLOCK] = (np.abs(block["joint_angles"]) < ZERO_ANGLE_RAD).all(axis=1)
            return emg, failed
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(f"is not a readable recording file ({error})", where=path) from error


def _check(path: Path, row: Row, series: Any, attributes: dict[str, Any]) -> None:
    """Raises:
    InputError: another layout or rate, or another user or stage than metadata.csv says.
    """
    names = set(series.dtype.names or ())
    if not {"emg", "joint_angles"} <= names or series.ndim != 1:
        raise InputError("another layout of timeseries", where=path, found=series.dtype, expected="emg, joint_angles")
    if series.dtype["emg"].shape != (MONTAGE.channels,) or series.dtype["joint_angles"].shape != (JOINTS,):
        raise InputError("another layout of timeseries", where=path, found=series.dtype, expected="16 emg, 20 joints")
    for name in ("user", "stage", "side"):
        said, listed = _text(attributes.get(name, row[name])), row[name]
        if name == "stage":  # a file may carry a suffix such as _both
            said, listed = said.partition("_")[0], listed.partition("_")[0]
        if said != listed:
            raise InputError(f"holds another {name} than {METADATA} says", where=path, found=said, expected=listed)
    rate_hz = attributes.get("sample_rate", MONTAGE.rate_hz)
    if float(rate_hz) != MONTAGE.rate_hz:
        raise InputError("another sampling rate", where=path, found=rate_hz, expected=MONTAGE.rate_hz)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


DATASET = DataSet(NAME, "CC BY-NC-SA 4.0", False, MONTAGE, subjects, read, sources=sources, weak_labels=True)
