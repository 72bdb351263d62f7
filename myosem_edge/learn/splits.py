"""Who and what is trained on, and who is judged. A split is named, travels with the checkpoint, and is checked.

people      everyone but the listed held-out people
user        every third person of myo_readings8 and myo_cotelallard7 is judged (three folds)
repetition  everyone is trained on; repetitions after the third are judged
class       the named actions are never trained on (three folds); people are split as in `user`
dataset     one data set is never trained on and judged whole
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from myosem_edge.actions.catalogue import Catalogue
from myosem_edge.errors import InputError
from myosem_edge.learn.sessions import NO_ACTION, Session

# People of myo_readings8 that the shipped model has never seen: judges of the export, and the person of the demo.
SHIPPED_HELD_OUT = ("p12548", "p35622", "p44444L", "p78945")
DATASETS = {
    "shipped": ("myo_readings8", "myo_kanoga22"),
    "research": ("myo_readings8", "myo_cotelallard7", "myo_kanoga22"),
}
SPLITS = ("people", "user", "repetition", "class", "dataset")
FOLDS = 3
TRAIN_REPETITIONS = 3
CLASS_FOLDS = (
    ("wrist_ulnar_deviation", "forearm_pronation"),
    ("wrist_extension", "fist"),
    ("wrist_radial_deviation", "forearm_supination"),
)
USER_SPLIT_DATASETS = ("myo_readings8", "myo_cotelallard7")


@dataclass(frozen=True)
class Split:
    """A protocol. `held_dataset` only for kind "dataset"."""

    family: str
    kind: str
    fold: int = 0
    held_dataset: str = ""

    def __post_init__(self) -> None:
        for name, value, known in (("family", self.family, DATASETS), ("split", self.kind, SPLITS)):
            if value not in known:
                raise InputError(f"'{value}' is not a {name}", expected=", ".join(known))
        if not 0 <= self.fold < FOLDS:
            raise InputError("no such fold", found=self.fold, expected=f"0 to {FOLDS - 1}")
        if self.kind == "dataset" and self.held_dataset not in DATASETS[self.family]:
            raise InputError(
                "a data set must be held out",
                found=self.held_dataset or "none",
                expected=", ".join(DATASETS[self.family]),
                todo="Name it with --held-dataset",
            )
        if self.kind != "dataset" and self.held_dataset:
            raise InputError(
                "only the split 'dataset' holds a data set out", found=f"{self.kind} with {self.held_dataset}"
            )
        if self.family == "shipped" and self.kind != "people":
            raise InputError(
                "the shipped model has one split",
                found=self.kind,
                expected="people",
                todo="Other splits are for --family research",
            )

    @property
    def held_actions(self) -> tuple[str, ...]:
        return CLASS_FOLDS[self.fold] if self.kind == "class" else ()

    def is_judged(self, dataset: str, subject: str, everyone: Sequence[str]) -> bool:
        """Whether this person is kept out of training; `everyone` are all subjects of the data set."""
        if self.kind == "people":
            return dataset not in DATASETS[self.family] or (dataset == "myo_readings8" and subject in SHIPPED_HELD_OUT)
        if self.kind == "dataset":
            return dataset == self.held_dataset
        if self.kind in ("user", "class"):
            return dataset in USER_SPLIT_DATASETS and sorted(set(everyone)).index(subject) % FOLDS == self.fold
        return False

    def training(self, sessions: Sequence[Session], catalogue: Catalogue) -> list[Session]:
        """What may be trained on, labels of held-out repetitions and actions removed."""
        kept = []
        held = {catalogue.ids.index(name) for name in self.held_actions}
        for session in self._people(sessions, judged=False):
            clips = []
            for clip in session.clips:
                action = clip.action.copy()
                if self.kind == "repetition":
                    action[clip.repetition > TRAIN_REPETITIONS] = NO_ACTION
                action[np.isin(action, list(held))] = NO_ACTION
                clips.append(
                    replace(clip, action=action, execution=np.where(action == NO_ACTION, NO_ACTION, clip.execution))
                )
            kept.append(replace(session, clips=clips))
        return kept

    def judged(self, sessions: Sequence[Session]) -> list[Session]:
        """What is judged: whole sessions of judged people; in a repetition split, later repetitions of everyone."""
        if self.kind != "repetition":
            return self._people(sessions, judged=True)
        kept = []
        for session in sessions:
            clips = []
            for clip in session.clips:
                action = np.where(clip.repetition > TRAIN_REPETITIONS, clip.action, NO_ACTION)
                clips.append(
                    replace(clip, action=action, execution=np.where(action == NO_ACTION, NO_ACTION, clip.execution))
                )
            kept.append(replace(session, clips=clips))
        return kept

    def _people(self, sessions: Sequence[Session], *, judged: bool) -> list[Session]:
        everyone: dict[str, list[str]] = {}
        for session in sessions:
            everyone.setdefault(session.dataset, []).append(session.subject)
        return [s for s in sessions if self.is_judged(s.dataset, s.subject, everyone[s.dataset]) == judged]

    def to_dict(self) -> dict[str, Any]:
        return {"family": self.family, "kind": self.kind, "fold": self.fold, "held_dataset": self.held_dataset}
