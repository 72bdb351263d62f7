"""The rows of the benchmark: which data, which splits, what was published, and what may be set beside what.

Written down in docs/benchmark.md before anything was run. The seven published figures are "Recall" from EMG to text,
with k not stated (Wang, She, Gao, Jin 2026, arXiv 2606.00174, abstract).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.folders import subjects_of
from myosem_edge.learn.corpus.sessions import frame_samples
from myosem_edge.learn.corpus.splits import FOLDS, NINAPRO_CLASS_FOLDS, Split
from myosem_edge.learn.datasets import data_set
from myosem_edge.learn.scoring.fewshot import BUDGETS
from myosem_edge.learn.teacher.train import TrainConfig


@dataclass(frozen=True)
class Source:
    """Where a data set comes from. Nothing is downloaded: the files go into a folder of the data set's name."""

    what: str
    where: str
    terms: str


@dataclass(frozen=True)
class Protocol:
    """Splits that answer one question; the people of its folds are pooled. `leaky`: by construction."""

    name: str
    splits: tuple[Split, ...]
    leaky: bool = False


@dataclass(frozen=True)
class Row:
    """One row of the benchmark. `published` in percent, None where nobody published one.

    `caveat` stands beside every score. `strict`: also judged with the input scale of the training people.
    `per_person`: one line a person. `budgets`: calibrations that are judged.
    """

    name: str
    title: str
    protocols: tuple[Protocol, ...]
    published: float | None = None
    comparable: str = ""
    not_comparable: str = ""
    caveat: str = ""
    strict: bool = False
    per_person: bool = False
    budgets: tuple[str, ...] = ()

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for split in self.splits for name in split.datasets))

    @property
    def splits(self) -> tuple[Split, ...]:
        return tuple(split for protocol in self.protocols for split in protocol.splits)

    def require_fold(self, fold: int | None) -> None:
        """Raises:
        InputError: the row has no training of that number.
        """
        if fold is not None and not 0 <= fold < len(self.splits):
            raise InputError("no such fold of this row", found=fold, expected=f"0 to {len(self.splits) - 1}")

    def to_dict(self) -> dict[str, Any]:
        return {
            "row": self.name,
            "title": self.title,
            "datasets": self.datasets,
            "protocols": [
                {"name": p.name, "leaky": p.leaky, "splits": [s.to_dict() for s in p.splits]} for p in self.protocols
            ],
            "published": self.published,
            "comparable": self.comparable,
            "not_comparable": self.not_comparable,
            "caveat": self.caveat,
        }


NINAPRO = "https://ninapro.hevs.ch"
SOURCES = {
    "ninapro_db2": Source("NinaPro DB2, S1 to S40: the .mat files of exercises 1 to 3", NINAPRO, "free registration"),
    "ninapro_db3": Source("NinaPro DB3, S1 to S11: the .mat files of exercises 1 to 3", NINAPRO, "free registration"),
    "emg2pose": Source(
        "EMG2Pose: the .hdf5 files and metadata.csv", "https://github.com/facebookresearch/emg2pose", "CC BY-NC-SA 4.0"
    ),
    "myo_readings8": Source(
        "the pack made of myo-readings-dataset", "https://github.com/aljazfrancic/myo-readings-dataset", "MIT"
    ),
    "myo_cotelallard7": Source(
        "the pack made of MyoArmbandDataset", "https://github.com/UlysseCoteAllard/MyoArmbandDataset", "GPL-3.0"
    ),
    "myo_kanoga22": Source(
        "the pack made of the long-term armband set",
        "https://github.com/Suguru55/Wearable_Sensor_Long-term_sEMG_Dataset",
        "Apache-2.0",
    ),
}

RECALL = (
    'The published figure is a "Recall" whose k is not stated: neither R@1 nor R@5 here is known to be that number.'
)
HIDDEN = f"{RECALL} Split sizes, actions, windows, text encoder and training of the published row are not public."
LEAKY = (
    "LEAKY BY CONSTRUCTION: neighbours of a judged block are trained on and a decision looks back over them. "
    "It says nothing about a new wearer or a new repetition; read the repetition split beside it."
)
WEAK = (
    "WEAK LABELS: the only class is the stage, a one-minute script of several gestures and pauses; a decision of 25 ms "
    "is called right when it names the script."
)
PACK_NOTE = "Nothing was published on these data; no published figure belongs beside this row."


def _folds(family: str, kind: str, count: int) -> tuple[Split, ...]:
    return tuple(Split(family, kind, fold) for fold in range(count))


def _random(family: str) -> Protocol:
    return Protocol("random blocks", (Split(family, "random"),), leaky=True)


def _repetition(family: str, name: str) -> Protocol:
    return Protocol(name, (Split(family, "repetition"),))


_ROWS = (
    Row(
        "np-rand",
        "NinaPro DB2, random windows",
        (_random("ninapro"), _repetition("ninapro", "repetitions 1, 3, 4, 6 trained, 2 and 5 judged")),
        published=92.99,
        comparable="data set, and that windows are drawn at random",
        not_comparable=HIDDEN,
    ),
    Row(
        "np-user",
        "NinaPro DB2, unseen people",
        (Protocol("30 people trained, 10 judged, four folds", _folds("ninapro", "user", 4)),),
        published=67.08,
        comparable="data set, and that the judged people were never trained on",
        not_comparable=HIDDEN,
        strict=True,
        budgets=BUDGETS,
    ),
    Row(
        "np-class",
        "NinaPro DB2, unseen actions",
        (
            Protocol("8 of 40 movements unseen, people seen", _folds("ninapro", "action", NINAPRO_CLASS_FOLDS)),
            Protocol("8 of 40 movements and people unseen", _folds("ninapro", "class", NINAPRO_CLASS_FOLDS)),
        ),
        published=68.04,
        comparable="data set, and that the judged actions were never trained on",
        not_comparable=f"{HIDDEN} Whether its people were seen, and which descriptions competed, is not stated either.",
    ),
    Row(
        "e2p-rand",
        "EMG2Pose, random windows",
        (_random("emg2pose"),),
        published=90.88,
        comparable="data set, and that windows are drawn at random",
        not_comparable=HIDDEN,
        caveat=WEAK,
    ),
    Row(
        "e2p-user",
        "EMG2Pose, unseen people",
        (Protocol("official user axis of metadata.csv", (Split("emg2pose", "user"),)),),
        published=91.76,
        comparable="data set, and that the judged people were never trained on",
        not_comparable=HIDDEN,
        caveat=WEAK,
        strict=True,
    ),
    Row(
        "e2p-class",
        "EMG2Pose, unseen stages",
        (
            Protocol("official stage axis of metadata.csv", (Split("emg2pose", "action"),)),
            Protocol("official user_stage axis of metadata.csv", (Split("emg2pose", "class"),)),
        ),
        published=77.39,
        comparable="data set, and that the judged stages were never trained on",
        not_comparable=HIDDEN,
        caveat=WEAK,
    ),
    Row(
        "db2-db3",
        "NinaPro DB2 to DB3, people with an amputation",
        (Protocol("DB2 trained, DB3 judged", (Split("amputees", "dataset", 0, "ninapro_db3"),)),),
        published=48.26,
        comparable="data sets and direction",
        not_comparable=f"{HIDDEN} People differ in the movements they could do; the published mean does not say which.",
        strict=True,
        per_person=True,
        budgets=("1", "2", "3"),
    ),
    Row(
        "pack-rand",
        "Armband packs, random windows",
        (_random("research"), _repetition("research", "repetitions 1 to 3 trained, later ones judged")),
        not_comparable=PACK_NOTE,
    ),
    Row(
        "pack-repetition",
        "Armband packs, later repetitions",
        (_repetition("research", "repetitions 1 to 3 trained, later ones judged"),),
        not_comparable=PACK_NOTE,
    ),
    Row(
        "pack-user",
        "Armband packs, unseen people",
        (Protocol("every third person judged, three folds", _folds("research", "user", FOLDS)),),
        not_comparable=PACK_NOTE,
        strict=True,
        budgets=BUDGETS,
    ),
    Row(
        "pack-class",
        "Armband packs, unseen actions of unseen people",
        (Protocol("two actions and every third person unseen, three folds", _folds("research", "class", FOLDS)),),
        not_comparable=PACK_NOTE,
    ),
    Row(
        "pack-dataset",
        "Armband packs, another laboratory",
        tuple(
            Protocol(f"{name} judged, the other two trained", (Split("research", "dataset", 0, name),))
            for name in ("myo_kanoga22", "myo_readings8", "myo_cotelallard7")
        ),
        not_comparable=PACK_NOTE,
        strict=True,
        budgets=BUDGETS,
    ),
    Row(
        "pack-days",
        "Armband packs, later days of the same people",
        (Protocol("first half of a person's sessions trained, later ones judged", (Split("research", "days"),)),),
        not_comparable=f"{PACK_NOTE} Three people of myo_kanoga22 carry no interval.",
    ),
)
ROWS = {row.name: row for row in _ROWS}


def find_row(name: str) -> Row:
    """Raises:
    InputError: no such row; names the nearest one.
    """
    if name not in ROWS:
        near = difflib.get_close_matches(name, ROWS, n=1)
        raise InputError(
            f"'{name}' is not a row of the benchmark",
            expected=", ".join(ROWS),
            todo=f"Did you mean '{near[0]}'?" if near else None,
        )
    return ROWS[name]


def missing_data(row: Row, folder: Path) -> dict[str, str]:
    """Data sets of the row that `folder` does not hold, with the reason."""
    missing = {}
    for name in row.datasets:
        try:
            subjects_of(folder, name)
        except InputError as error:
            missing[name] = error.what
    return missing


def require_data(row: Row, folder: Path) -> None:
    """Raises:
    InputError: a data set is not there; says for each what to get, where, and where to put it.
    """
    missing = missing_data(row, folder)
    if not missing:
        return
    steps = []
    for name in missing:
        source = SOURCES[name]
        steps.append(f"{source.what} ({source.terms}) from {source.where} into {folder / name}")
    raise InputError(
        f"the row {row.name} needs data that are not here",
        where=folder,
        found="; ".join(f"{name}: {reason}" for name, reason in missing.items()),
        expected=", ".join(row.datasets),
        todo=f"Nothing is downloaded for you. Put {'; '.join(steps)}",
    )


def base_config(row: Row, seed: int = 0) -> TrainConfig:
    """The training of a row before any setting: sizes from its montage; without a ring nothing turns or bleeds over.

    Raises:
        InputError: the row's data sets have different electrodes.
    """
    montages = {name: data_set(name).montage for name in row.datasets}
    first = next(iter(montages.values()))
    for name, montage in montages.items():
        if (montage.channels, montage.rate_hz, montage.layout) != (first.channels, first.rate_hz, first.layout):
            raise InputError("the data sets of this row have different electrodes", where=name, found=montage.device)
    config = TrainConfig(seed=seed)
    model = replace(config.model, channels=first.channels, frame_samples=frame_samples(first.rate_hz))
    augment = config.augment if first.layout == "ring" else replace(config.augment, ring_jitter=0, mixing=0.0)
    return replace(config, model=model, augment=augment)
