"""The folder of data sets that every training command is given: sessions from recordings, or from what they became."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from myosem_edge.actions.catalogue import Catalogue, load_catalogue
from myosem_edge.learn.corpus.sessions import STORE, ActionIds, Session, sessions_of
from myosem_edge.learn.corpus.store import Store, read_store
from myosem_edge.learn.datasets import data_set


def load_sessions(
    folder: Path,
    names: Sequence[str],
    *,
    catalogue: Catalogue | None = None,
    keep: Callable[[str, str], bool] = lambda dataset, subject: True,
    rate_hz: float | None = None,
    anonymous: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Session]:
    """Sessions of every kept subject of the named data sets under `folder`, in a fixed order.

    A data set that was converted is opened from its store, whatever its recordings are: signal then stays on disk.
    With `rate_hz` every recording is brought to that rate. Labels whose meaning nobody has verified are no actions,
    unless `anonymous` asks for them as classes without a name (ANONYMOUS + label), for drift and calibration.

    Raises:
        InputError: a data set or a file is missing or damaged, a label has no action in the catalogue, or recordings
            or store have another rate than asked for.
    """
    catalogue = catalogue or load_catalogue()
    sessions: list[Session] = []
    for name in names:
        source = data_set(name)
        store = _store(folder, name)
        if store is not None and rate_hz is not None:
            store.require_rate(rate_hz)
        for subject in subjects_of(folder, name):
            if not keep(name, subject):
                continue
            progress(f"{name}/{subject}")
            if store is not None:
                sessions += store.sessions(subject, ActionIds(catalogue, anonymous))
            else:
                recordings = source.read(folder / name, subject)
                sessions += sessions_of(recordings, catalogue, rate_hz=rate_hz, anonymous=anonymous)
    return sessions


def subjects_of(folder: Path, name: str) -> list[str]:
    """Subjects of a data set under `folder`, from its store where it was converted, else from its recordings.

    Raises:
        InputError: no such data set, no recordings, or a store that is damaged, unfinished or of other settings.
    """
    source = data_set(name)
    store = _store(folder, name)
    return store.subjects if store is not None else source.subjects(folder / name)


def _store(folder: Path, name: str) -> Store | None:
    return read_store(folder / name, data_set(name)) if (folder / name / STORE).exists() else None
