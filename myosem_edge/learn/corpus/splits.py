"""Who and what is trained on, and who is judged. A split is named, travels with the checkpoint, and is checked.

people      everyone but the listed held-out people
user        every third person of myo_readings8 and myo_cotelallard7 is judged (three folds), of ninapro_db2 every
            fourth
repetition  everyone is trained on; repetitions after the third are judged, of NinaPro the second and fifth
class       the named actions are never trained on (three folds); people are split as in `user`
action      the named actions are never trained on; they are judged on the people who are
dataset     one data set is never trained on and judged whole
days        everyone is trained on with the first half of their sessions; the later ones are judged
random      blocks drawn at random from everyone are judged; leaky by construction, because their neighbours are trained
            on and a decision looks back over them

EMG2Pose has splits of its own in its metadata: `user`, `action` (there: stage) and `class` (user and stage) are those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from myosem_edge.actions.catalogue import OWN, Catalogue, load_catalogue
from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.sessions import NO_ACTION, Clip, Session
from myosem_edge.learn.datasets import data_set

# People of myo_readings8 that the shipped model has never seen: judges of the export, and the person of the demo.
SHIPPED_HELD_OUT = ("p12548", "p35622", "p44444L", "p78945")
SPLITS = ("people", "user", "repetition", "class", "action", "dataset", "days", "random")
FOLDS = 3
TRAIN_REPETITIONS = 3
CLASS_FOLDS = (
    ("wrist_ulnar_deviation", "forearm_pronation"),
    ("wrist_extension", "fist"),
    ("wrist_radial_deviation", "forearm_supination"),
)
USER_SPLIT_DATASETS = ("myo_readings8", "myo_cotelallard7")
NINAPRO_MOVEMENTS = range(1, 41)  # exercises B and C: the forty that a class split of DB2 is about
NINAPRO_CLASS_FOLDS = 5
BLOCK_FRAMES = 12  # of a random split: 0.3 s, the shortest stretch that training can draw
RANDOM_SHARE = 0.2  # of the blocks are judged


@dataclass(frozen=True)
class Family:
    """Data sets that are trained on together, and how their splits are drawn.

    `judged_only` are read by `evaluate` but never trained on. `official`: the files say which side they are on.
    """

    datasets: tuple[str, ...]
    splits: tuple[str, ...]
    judged_only: tuple[str, ...] = ()
    user_datasets: tuple[str, ...] = ()
    user_folds: int = 1
    class_folds: int = 1
    train_repetitions: tuple[int, ...] = ()
    official: bool = False

    @property
    def read(self) -> tuple[str, ...]:
        return (*self.datasets, *self.judged_only)

    def folds(self, kind: str) -> int:
        return {"user": self.user_folds, "class": self.class_folds, "action": self.class_folds}.get(kind, FOLDS)


_SHIPPED = ("myo_readings8", "myo_kanoga22")
_NINAPRO = ("user", "repetition", "class", "action", "random")
FAMILIES = {
    "shipped": Family(_SHIPPED, ("people",), judged_only=("myo_cotelallard7",)),
    "research": Family(
        ("myo_readings8", "myo_cotelallard7", "myo_kanoga22"),
        SPLITS,
        user_datasets=USER_SPLIT_DATASETS,
        user_folds=FOLDS,
        class_folds=FOLDS,
        train_repetitions=tuple(range(TRAIN_REPETITIONS + 1)),
    ),
    "ninapro": Family(
        ("ninapro_db2",),
        _NINAPRO,
        user_datasets=("ninapro_db2",),
        user_folds=4,
        class_folds=NINAPRO_CLASS_FOLDS,
        train_repetitions=(1, 3, 4, 6),
    ),
    "amputees": Family(("ninapro_db2", "ninapro_db3"), ("dataset",)),
    "own": Family(
        (OWN,),
        ("people", "user", "repetition", "days"),
        user_datasets=(OWN,),
        user_folds=FOLDS,
        train_repetitions=tuple(range(TRAIN_REPETITIONS + 1)),
    ),
    "emg2pose": Family(("emg2pose",), ("user", "class", "action", "random"), official=True),
}
DATASETS = {name: family.datasets for name, family in FAMILIES.items()}
# metadata.csv of EMG2Pose: what `generalization` says of the test files of each axis.
OFFICIAL_AXES = {"user": "user", "action": "stage", "class": "user_stage"}
TRAIN, TEST = "train", "test"


@dataclass(frozen=True)
class Split:
    """A protocol. `held_dataset` only for kind "dataset"."""

    family: str
    kind: str
    fold: int = 0
    held_dataset: str = ""

    def __post_init__(self) -> None:
        for name, value, known in (("family", self.family, FAMILIES), ("split", self.kind, SPLITS)):
            if value not in known:
                raise InputError(f"'{value}' is not a {name}", expected=", ".join(known))
        family = FAMILIES[self.family]
        if self.family == "shipped" and self.kind != "people":
            raise InputError(
                "the shipped model has one split",
                found=self.kind,
                expected="people",
                todo="Other splits are for --family research",
            )
        if self.kind not in family.splits:
            raise InputError(
                f"the family {self.family} has no such split", found=self.kind, expected=", ".join(family.splits)
            )
        if not 0 <= self.fold < family.folds(self.kind):
            raise InputError("no such fold", found=self.fold, expected=f"0 to {family.folds(self.kind) - 1}")
        if self.kind == "dataset" and self.held_dataset not in family.datasets:
            raise InputError(
                "a data set must be held out",
                found=self.held_dataset or "none",
                expected=", ".join(family.datasets),
                todo="Name it with --held-dataset",
            )
        if self.kind != "dataset" and self.held_dataset:
            raise InputError(
                "only the split 'dataset' holds a data set out", found=f"{self.kind} with {self.held_dataset}"
            )

    @property
    def datasets(self) -> tuple[str, ...]:
        """Every data set that must be read: folds are counted over all of their people."""
        return FAMILIES[self.family].read

    @property
    def same_people(self) -> bool:
        """Whether people who are judged were trained on, with other recordings, by the meaning of the split."""
        return self.kind in ("repetition", "random", "days", "action")

    @property
    def held_actions(self) -> tuple[str, ...]:
        """Actions that are taken out of every training recording. Official axes leave whole files out instead."""
        if self.kind not in ("class", "action") or FAMILIES[self.family].official:
            return ()
        if self.family == "ninapro":
            return ninapro_movements()[self.fold :: NINAPRO_CLASS_FOLDS]
        return CLASS_FOLDS[self.fold]

    def is_judged(self, dataset: str, subject: str, everyone: Sequence[str]) -> bool:
        """Whether this person is kept out of training; `everyone` are all subjects of the data set."""
        family = FAMILIES[self.family]
        if self.kind == "people":
            return dataset not in family.datasets or (dataset == "myo_readings8" and subject in SHIPPED_HELD_OUT)
        if self.kind == "dataset":
            return dataset == self.held_dataset
        if self.kind in ("user", "class") and dataset in family.user_datasets:
            return sorted(set(everyone)).index(subject) % family.folds(self.kind) == self.fold
        return False

    def training(self, sessions: Sequence[Session], catalogue: Catalogue) -> list[Session]:
        """What may be trained on, labels of held-out repetitions, actions and blocks removed."""
        held = [catalogue.ids.index(name) for name in self.held_actions]
        kept = self._sessions(sessions, judged=False)
        if self.kind == "random":
            return _relabelled(kept, lambda s, n, clip: ~judged_blocks(s, n, clip), whole=False)
        return _relabelled(
            kept, lambda s, n, clip: self._trained_repetitions(clip) & self._about(clip) & ~np.isin(clip.action, held)
        )

    def judged(self, sessions: Sequence[Session], catalogue: Catalogue | None = None) -> list[Session]:
        """What is judged: whole sessions of judged people, or what was kept apart of everyone's (`catalogue`: the one
        that the sessions were read with, by default the shipped one).
        """
        kept = self._sessions(sessions, judged=True)
        if self.kind == "random":
            return _relabelled(kept, judged_blocks)
        if self.kind == "repetition":
            return _relabelled(kept, lambda s, n, clip: ~self._trained_repetitions(clip))
        if self.kind == "action" and self.held_actions:
            held = [(catalogue or load_catalogue()).ids.index(name) for name in self.held_actions]
            return _relabelled(kept, lambda s, n, clip: np.isin(clip.action, held))
        return _relabelled(kept, lambda s, n, clip: self._about(clip))

    def provenance(self, training: Sequence[Session]) -> dict[str, Any]:
        """What a checkpoint says of its training: people by data set, their licences, this split."""
        people: dict[str, list[str]] = {}
        for session in training:
            if session.subject not in people.setdefault(session.dataset, []):
                people[session.dataset].append(session.subject)
        licences = sorted({data_set(name).licence for name in people})
        return {"people": people, "licences": licences, "split": self.to_dict()}

    def to_dict(self) -> dict[str, Any]:
        return {"family": self.family, "kind": self.kind, "fold": self.fold, "held_dataset": self.held_dataset}

    def _trained_repetitions(self, clip: Clip) -> np.ndarray:
        if self.kind != "repetition":
            return np.ones(len(clip.action), dtype=bool)
        return np.isin(clip.repetition, FAMILIES[self.family].train_repetitions)

    def _about(self, clip: Clip) -> np.ndarray:
        """A class split of NinaPro is about forty movements: rest and the force task are on neither side."""
        if self.family != "ninapro" or self.kind not in ("class", "action"):
            return np.ones(len(clip.action), dtype=bool)
        ids = load_catalogue().ids
        return np.isin(clip.action, [ids.index(name) for name in ninapro_movements()])

    def _sessions(self, sessions: Sequence[Session], *, judged: bool) -> list[Session]:
        if FAMILIES[self.family].official:
            return self._official(sessions, judged=judged)
        if self.kind in ("repetition", "random", "action"):
            return list(sessions)
        if self.kind == "days":
            order: dict[str, list[str]] = {}
            for session in sessions:
                order.setdefault(session.person, []).append(session.name)
            early = {person: sorted(names)[: (len(names) + 1) // 2] for person, names in order.items()}
            return [s for s in sessions if (s.name not in early[s.person]) == judged]
        everyone: dict[str, list[str]] = {}
        for session in sessions:
            everyone.setdefault(session.dataset, []).append(session.subject)
        return [s for s in sessions if self.is_judged(s.dataset, s.subject, everyone[s.dataset]) == judged]

    def _official(self, sessions: Sequence[Session], *, judged: bool) -> list[Session]:
        """Files by their own metadata. A random split is drawn among the training files alone."""

        def ours(clip: Clip) -> bool:
            if not judged or self.kind == "random":
                return clip.attributes.get("split") == TRAIN
            axis = clip.attributes.get("generalization")
            return clip.attributes.get("split") == TEST and axis == OFFICIAL_AXES[self.kind]

        chosen = [replace(s, clips=[clip for clip in s.clips if ours(clip)]) for s in sessions]
        return [s for s in chosen if s.clips]


def ninapro_movements(catalogue: Catalogue | None = None) -> tuple[str, ...]:
    """The forty movements of exercises B and C in the order of their labels."""
    catalogue = catalogue or load_catalogue()
    return tuple(catalogue.resolve("ninapro_db2", label) for label in NINAPRO_MOVEMENTS)


def judged_blocks(session: Session, number: int, clip: Clip) -> np.ndarray:
    """Which frames (frames,) of a session's clip a random split judges: the same on every machine, in every run.

    Executions are cut into blocks from their first frame on; the last block of one may be shorter.
    """
    name = f"{session.person}/{session.name}/{number}"
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))
    judged = np.zeros(len(clip.action), dtype=bool)
    for execution in np.unique(clip.execution[clip.execution >= 0]):
        frames = np.flatnonzero(clip.execution == execution)
        for first in range(0, len(frames), BLOCK_FRAMES):
            judged[frames[first : first + BLOCK_FRAMES]] = rng.random() < RANDOM_SHARE
    return judged


def _relabelled(
    sessions: Iterable[Session], kept: Callable[[Session, int, Clip], np.ndarray], *, whole: bool = True
) -> list[Session]:
    """Sessions with only the labels of `kept` frames left; the originals are not touched. Not `whole`: what is left of
    an execution between two gaps is an execution of its own.
    """
    found = []
    for session in sessions:
        clips, executions = [], 0
        for number, clip in enumerate(session.clips):
            action = np.where(kept(session, number, clip), clip.action, NO_ACTION)
            execution = np.where(action == NO_ACTION, NO_ACTION, clip.execution)
            if not whole:
                run = np.cumsum(np.diff(execution, prepend=NO_ACTION) != 0) + executions
                executions = int(run[-1]) + 1
                execution = np.where(action == NO_ACTION, NO_ACTION, run)
            clips.append(replace(clip, action=action, execution=execution))
        found.append(replace(session, clips=clips))
    return found
