"""What the NinaPro databases share: `.mat` files by subject and exercise, read one at a time, labels made comparable.

Public copies differ in their file names, in the version of the format, in how labels are numbered and in whether the
corrected labels are there at all. Each is detected from the file; what had to be put right is noted on the recording.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from myosem_edge.actions.catalogue import Label
from myosem_edge.errors import InputError
from myosem_edge.learn.datasets.recording import (
    CUE_ACTIVE_CUT_S,
    CUE_REST_CUT_S,
    DataSet,
    Recording,
    drop_after_change,
    drop_after_repetition,
    require_emg,
)
from myosem_edge.signal.montage import Montage

LICENCE = "registration, non-commercial research"
CORRECTED, CUES = ("restimulus", "rerepetition"), ("stimulus", "repetition")
# What damaged files make scipy and h5py raise.
UNREADABLE_MAT = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, EOFError, NotImplementedError, AttributeError),
    *(ArithmeticError, MemoryError, RuntimeError, UnboundLocalError, struct.error, zlib.error),
)
FILE = re.compile(r"S(\d+)_(?:E(\d+)_A(\d+)|A(\d+)_E(\d+))\.mat", re.IGNORECASE)  # both orders occur
MOST_TRIMMED_S = 1.0  # labels and samples differ by a few samples; more means that something else is wrong
TRIGNO = "20-450 Hz in the electrode; 50 Hz and its harmonics removed by the authors"
BLOCK = 1 << 16  # samples read at a time from HDF5

# Exercise D presses fingers on a force plate and codes them as a bit mask: 1 little, 2 ring, 4 middle, 8 index,
# 16 thumb abduction, 32 thumb flexion. Read in numerical order they are not the published list 41 to 49.
FORCE_CODES = frozenset({1, 2, 4, 6, 8, 9, 16, 32, 40})
FORCE_LABEL = 100  # a code's label is this plus the code, so that it meets no movement of another exercise


@dataclass(frozen=True)
class Exercise:
    """The labels of one exercise file: `count` movements, the first of them `first` in the database's numbering."""

    first: int
    count: int
    force: bool = False


@dataclass(frozen=True)
class Database:
    """How one database is stored. `restarts`: its files number from 1 each. `to_unit` brings emg to the montage's unit.

    Columns in `unused` are empty by design. `fewest` columns may be fewer than the montage's for short stumps.
    """

    name: str
    montage: Montage
    exercises: Mapping[int, Exercise]
    restarts: bool = False
    to_unit: float = 1.0
    unused: tuple[int, ...] = ()
    fewest: int | None = None
    amputees: frozenset[int] | None = field(default_factory=frozenset)  # None: everybody


@dataclass(frozen=True)
class Trial:
    """One file: which donning it is of, and what its name says."""

    path: Path
    session: str
    exercise: Exercise | None  # None: one numbering for all files
    facts: dict[str, int]


def data_set_of(database: Database, trials: type[Trials]) -> DataSet:
    found = trials(database)
    return DataSet(database.name, LICENCE, False, database.montage, found.subjects, found.read, sources=found.sources)


class Trials:
    """Files named by subject and exercise, such as S1_E1_A1.mat or S1_A1_E1.mat, anywhere below the folder."""

    pattern = FILE

    def __init__(self, database: Database) -> None:
        self.database = database

    def subjects(self, folder: Path) -> list[str]:
        """Raises:
        InputError: no folder, or no file of this database in it.
        """
        return sorted(f"s{number:02d}" for number in self._by_subject(folder))

    def sources(self, folder: Path, subject: str) -> list[Path]:
        return [trial.path for trial in self._of(folder, subject)]

    def read(self, folder: Path, subject: str) -> Iterator[Recording]:
        """One recording a file, one file in memory at a time.

        Raises:
            InputError: a file is damaged, lacks variables, or holds labels that its exercise does not have.
        """
        for trial in self._of(folder, subject):
            yield read_trial(self.database, subject, trial)

    def _of(self, folder: Path, subject: str) -> list[Trial]:
        found = self._by_subject(folder)
        number = int(subject[1:]) if re.fullmatch(r"s\d+", subject) else -1
        if number not in found:
            raise InputError(f"no files of subject {subject}", where=folder, expected=", ".join(self.subjects(folder)))
        return [self.trial(path, key, number) for key, path in sorted(found[number].items())]

    def _by_subject(self, folder: Path) -> dict[int, dict[tuple[int, ...], Path]]:
        if not folder.is_dir():
            raise InputError("no such data folder", where=folder, todo="Give the folder that holds it with --data")
        found: dict[int, dict[tuple[int, ...], Path]] = {}
        for path in sorted(folder.rglob("*.mat")):
            if match := self.pattern.fullmatch(path.name):
                subject, *key = (int(group) for group in self.groups(match))
                other = found.setdefault(subject, {}).setdefault(tuple(key), path)
                if other != path:
                    raise InputError("two files of the same subject and exercise", where=folder, found=[other, path])
        if not found:
            raise InputError("holds no recordings", where=folder, expected=f"files like {self.example}")
        return found

    example = "S1_E1_A1.mat"

    @staticmethod
    def groups(match: re.Match[str]) -> tuple[str, ...]:
        subject, e, a, other_a, other_e = match.groups()
        return subject, e or other_e, a or other_a

    def trial(self, path: Path, key: tuple[int, ...], subject: int) -> Trial:
        exercise, acquisition = key
        if exercise not in self.database.exercises:
            raise InputError(
                "no such exercise", where=path, found=exercise, expected=", ".join(map(str, self.database.exercises))
            )
        facts = {"exercise": exercise, "acquisition": acquisition, "amputee": self.amputee(subject)}
        return Trial(path, f"a{acquisition}", self.database.exercises[exercise], facts)

    def amputee(self, subject: int) -> int:
        return int(self.database.amputees is None or subject in self.database.amputees)


def read_trial(database: Database, subject: str, trial: Trial) -> Recording:
    """One `.mat` file as a recording."""
    variables = read_mat(trial.path, ("emg", *CORRECTED, *CUES))
    notes: list[str] = []
    names = CORRECTED if all(name in variables for name in CORRECTED) else CUES
    if missing := [name for name in ("emg", *names) if name not in variables]:
        raise InputError(
            "lacks variables", where=trial.path, found=", ".join(sorted(variables)), expected=", ".join(missing)
        )
    if names == CUES:
        notes.append("no restimulus and rerepetition: labels are cues, their borders are cut")
    emg, mask = _electrodes(database, variables["emg"], trial.path, notes)
    label, repetition = (_whole_numbers(variables[name], name, trial.path) for name in names)
    lengths = {"emg": len(emg), names[0]: len(label), names[1]: len(repetition)}
    samples, rate_hz = min(lengths.values()), database.montage.rate_hz
    if len(set(lengths.values())) > 1:
        if max(lengths.values()) - samples > MOST_TRIMMED_S * rate_hz:
            raise InputError("emg and labels are of different length", where=trial.path, found=lengths)
        notes.append(f"lengths differ ({lengths}): trimmed to {samples} samples")
    label, aliases, believed = number_labels(label[:samples], trial.exercise, database.restarts, trial.path, notes)
    recording = Recording(
        dataset=database.name,
        subject=subject,
        session=trial.session,
        mirrored=False,
        montage=database.montage,
        emg=emg[:samples],
        label=label,
        repetition=repetition[:samples],
        usable=np.full(samples, True) if believed else label == 0,
        facts=trial.facts,
        mask=mask,
        aliases=aliases,
        notes=tuple(f"{trial.path.name}: {note}" for note in notes),
    )
    if names == CUES:
        recording = drop_after_change(recording, 0, CUE_ACTIVE_CUT_S, CUE_REST_CUT_S)
    return drop_after_repetition(recording)


def number_labels(
    label: np.ndarray, exercise: Exercise | None, restarts: bool, where: Path, notes: list[str]
) -> tuple[np.ndarray, dict[int, Label], bool]:
    """Labels in the database's own numbering, their aliases, and whether movements can be believed at all.

    Raises:
        InputError: labels that this exercise does not have.
    """
    found = {int(k) for k in np.unique(label)} - {0}
    if exercise is None or not found:
        return label, {}, True
    own = set(range(1, exercise.count + 1))
    joint = set(range(exercise.first, exercise.first + exercise.count))
    if found <= joint and not (restarts and found <= own):
        if restarts:
            notes.append(f"labels already number on from {exercise.first}: kept")
        return label, {}, True
    if exercise.force and found <= FORCE_CODES:
        coded = np.where(label > 0, label + FORCE_LABEL, 0)
        aliases: dict[int, Label] = {FORCE_LABEL + code: f"force:{code}" for code in found}
        # 1 2 4 6 8 9 may be codes, or places in the list of somebody who never did the others.
        believed = not found <= own
        if not believed:
            notes.append("labels may be force codes or numbers from 1: no movement of this file is believed")
        return coded, aliases, believed
    if found <= own:
        if not restarts and exercise.first > 1:
            notes.append(f"labels restart at 1: {exercise.first - 1} added")
        return np.where(label > 0, label + exercise.first - 1, 0), {}, True
    expected = f"{exercise.first} to {exercise.first + exercise.count - 1}, or 1 to {exercise.count}"
    if exercise.force:
        expected += ", or force codes " + " ".join(map(str, sorted(FORCE_CODES)))
    raise InputError("labels that this exercise does not have", where=where, found=sorted(found), expected=expected)


def _electrodes(database: Database, emg: np.ndarray, where: Path, notes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Samples (n, channels) in the montage's unit, and which electrodes are there."""
    channels = database.montage.channels
    columns = emg.shape[1] if emg.ndim == 2 else 0
    if database.unused and columns == channels + len(database.unused):
        unused = list(database.unused)
        if emg[:, unused].any():
            raise InputError(
                "columns that should be empty are not", where=where, found=", ".join(str(c + 1) for c in unused)
            )
        emg = np.delete(emg, unused, axis=1)
    elif database.fewest is not None and database.fewest <= columns < channels:
        notes.append(f"{columns} electrodes: which sites are missing is not stated, taken for the last")
        emg = np.concatenate((emg, np.zeros((len(emg), channels - columns), emg.dtype)), axis=1)
    require_emg(emg, channels, where)
    emg = emg.astype(np.float32, copy=False) * np.float32(database.to_unit)
    mask = np.asarray(emg.any(axis=0))
    if empty := [int(c) + 1 for c in np.flatnonzero(~mask) if c < columns]:
        notes.append(f"nothing was recorded at electrodes {empty}")
    return emg, mask


def _whole_numbers(values: np.ndarray, name: str, where: Path) -> np.ndarray:
    flat = values.reshape(-1)
    if values.size != max(values.shape, default=0) or flat.dtype.kind not in "iuf" or not np.isfinite(flat).all():
        raise InputError(f"{name} is not one number a sample", where=where, found=f"{values.dtype} {values.shape}")
    whole = flat.astype(np.int64)
    if (whole != flat).any() or (whole < 0).any():
        raise InputError(f"{name} holds numbers that are no counts", where=where)
    return whole


def read_mat(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The named variables that are there, as MATLAB has them (rows first), from format 5 or 7.3. Others are not read.

    Raises:
        InputError: missing, damaged or foreign.
    """
    import h5py
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        if not path.exists():
            raise OSError("No such file")
        if h5py.is_hdf5(path):
            with h5py.File(path, "r", locking=False) as file:
                return {name: _transposed(file[name]) for name in names if name in file}
        return {
            name: value
            for name, value in loadmat(str(path), variable_names=list(names), appendmat=False).items()
            if name in names
        }
    except (MatReadError, *UNREADABLE_MAT) as error:
        raise InputError(f"is not a readable .mat file ({error})", where=path) from error


def _transposed(variable: object) -> np.ndarray:
    """A variable of a 7.3 file, which is stored with its axes in reverse; long ones are read in blocks as float32."""
    import h5py

    if not isinstance(variable, h5py.Dataset) or variable.dtype.kind not in "iuf":
        raise ValueError("a variable is no array of numbers")
    if variable.ndim != 2:
        return np.asarray(variable[...]).T
    columns, rows = variable.shape
    out = np.empty((rows, columns), np.float32 if variable.dtype.kind == "f" else variable.dtype)
    for first in range(0, rows, BLOCK):
        out[first : first + BLOCK] = variable[:, first : first + BLOCK].T
    return out
