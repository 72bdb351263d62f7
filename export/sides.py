"""Whom an export is measured on, and whom it is judged by: roles of the sample, or what a checkpoint kept apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from myosem_edge.actions.catalogue import OWN, load_catalogue
from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.folders import load_sessions
from myosem_edge.learn.corpus.sessions import Session
from myosem_edge.learn.corpus.splits import Split
from myosem_edge.learn.sample import PACK, sample_folder, sample_roles
from myosem_edge.learn.teacher.checkpoint import Trained


@dataclass(frozen=True)
class Sides:
    """Students, ranges and constants come from `distil`. `same_people`: in other sessions or repetitions they judge."""

    distil: list[Session]
    judge: list[Session]
    same_people: bool = False

    @property
    def judges(self) -> str:
        return ", ".join(sorted({session.subject for session in self.judge}))


def sides(
    trained: Trained, data: Path | None, progress: Callable[[str, int, int], None] = lambda stage, done, total: None
) -> Sides:
    """A model of one's own recordings is judged by what its split kept apart; every other one as roles.json says.

    Raises:
        InputError: recordings or roles are missing, or nothing was kept apart.
    """
    if trained.family == OWN:
        if data is None:
            raise InputError("a model of your own needs your recordings", todo="Name their folder with --data")
        progress("read recordings", 0, 1)
        split, catalogue = Split(**trained.provenance["split"]), load_catalogue()
        sessions = load_sessions(data, [OWN])
        found = Sides(split.training(sessions, catalogue), split.judged(sessions, catalogue), split.same_people)
        if not _labelled(found.judge):
            raise InputError(
                "nothing was kept apart to judge this model by",
                where=data,
                todo="Train it with --split user (other people), days (later sessions) or repetition",
            )
        return found
    folder = data or sample_folder()
    roles = sample_roles(folder)
    progress("read recordings", 0, 1)
    people = {*roles["distil"], *roles["judge"]}
    sessions = load_sessions(folder, [PACK], keep=lambda _, subject: subject in people)
    if absent := sorted(people - {session.subject for session in sessions}):
        raise InputError("roles.json names people without recordings", where=folder, found=", ".join(absent))
    distil, judge = ([s for s in sessions if s.subject in roles[role]] for role in ("distil", "judge"))
    return Sides(distil, judge)


def _labelled(sessions: Sequence[Session]) -> bool:
    return any((clip.action >= 0).any() for session in sessions for clip in session.clips)
