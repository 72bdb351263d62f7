"""One recording, and what a data set is. The packs share one `.npz` schema, read here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from myosem_edge.actions.catalogue import Label
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.arrays import UNREADABLE as UNREADABLE_ARRAYS
from myosem_edge.firmware_bridge.arrays import require_borders
from myosem_edge.signal.montage import Montage

CUE_ACTIVE_CUT_S, CUE_REST_CUT_S = 0.75, 1.25  # labels that are cues: people start late, and let go later still
LOOK_BACK_S = 0.45  # the longest that a decision looks back: the encoder's 17 frames, rounded up

# What damaged or foreign files make numpy raise.
UNREADABLE = (OSError, MemoryError, *UNREADABLE_ARRAYS)


FREE_STREAM = "free movement"  # `attributes["stream"]` of a stream in which nothing is asked for


@dataclass(frozen=True)
class Recording:
    """Uninterrupted EMG of one person.

    emg: (samples, channels) float32 in the montage's unit. label: (samples,) the data set's own gesture numbers.
    repetition: (samples,) 0 = none. `session` names one donning of the electrodes. `usable` marks samples whose label
    can be believed (onset lag of cues, cut edges). `mask` (channels,) marks the electrodes that are there; the others
    are zero. `aliases` says what the catalogue calls a label where that is not its number. `attributes` are facts in
    words; `notes` say what the loader had to put right or could not know.
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
    mask: np.ndarray = field(default_factory=lambda: np.ones(0, dtype=bool))
    attributes: dict[str, str] = field(default_factory=dict)
    aliases: dict[int, Label] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    cued: bool = False  # a stream labelled by its cues, rest being 0: sessions find out when they were followed

    def __post_init__(self) -> None:
        if not len(self.mask):
            object.__setattr__(self, "mask", np.ones(self.montage.channels, dtype=bool))


@dataclass(frozen=True)
class DataSet:
    """How to read one data set. `read(folder, subject)` yields recordings one at a time; nothing is loaded before that.

    `sources(folder, subject)` are the files that it will read. `weak_labels`: a label names what a person was asked to
    do in the course of a minute, not what the hand does at a moment.
    """

    name: str
    licence: str
    may_ship: bool  # whether weights trained on it may be distributed under MIT/Apache terms
    montage: Montage
    subjects: Callable[[Path], list[str]]
    read: Callable[[Path, str], Iterator[Recording]]
    sources: Callable[[Path, str], list[Path]] = lambda folder, subject: [folder / f"{subject}.npz"]
    weak_labels: bool = False


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
            arrays = {name: archive[name] for name in archive.files}
            if not all(isinstance(array, np.ndarray) for array in arrays.values()):
                raise ValueError("a member is no array")
            return arrays
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
        if values.shape[:1] != (len(pointers) - 1,) or (name in facts and values.ndim != 1):
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
            facts={name: int(values[i]) for name, values in fields.items() if values.ndim == 1},
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


def drop_after_repetition(recording: Recording, rest_label: int = 0) -> Recording:
    """Distrust LOOK_BACK_S after every border of repetitions, so that no believed decision looks across one.

    Rest belongs to the repetition that follows it: a border is where a movement ends, or where the count goes on.
    """
    label, repetition = recording.label, following_repetition(recording.repetition)
    usable = recording.usable.copy()
    ends = (np.diff(label) != 0) & (label[:-1] != rest_label)
    for border in np.flatnonzero(ends | (np.diff(repetition) != 0)) + 1:
        usable[border : border + round(LOOK_BACK_S * recording.montage.rate_hz)] = False
    return replace(recording, usable=usable)


def following_repetition(repetition: np.ndarray) -> np.ndarray:
    """Repetition (samples,) with 0 replaced by the number that follows it, or by the last one at the end."""
    if not (repetition > 0).any():
        return repetition.copy()
    known = np.where(repetition > 0, np.arange(len(repetition)), len(repetition))
    following = np.minimum.accumulate(known[::-1])[::-1]
    last_known = int(np.flatnonzero(repetition > 0)[-1])
    return repetition[np.where(following < len(repetition), following, last_known)]
