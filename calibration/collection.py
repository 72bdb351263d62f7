"""Recordings of one's own as files: what `collect` writes and training reads. One `.npz` a person, session by session.

`collection.json` says with what was recorded and what the numbers of labels mean; the `.npz` have the pack schema that
every loader reads: emg (samples, channels) in the front end's unit, label and repetition (samples,) as cued, rec_ptr
(recordings + 1,) and one number a recording in rec_session, rec_hand (0 right, 1 left).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from myosem_edge import __version__
from myosem_edge.calibration.profile import LEFT
from myosem_edge.errors import InputError
from myosem_edge.files import write_atomic
from myosem_edge.firmware_bridge.arrays import read_arrays
from myosem_edge.runtime.decision import REST
from myosem_edge.signal.montage import Montage

COLLECTION, SCHEMA = "collection.json", 1
FOLDER = "own"  # in the folder of data sets
IGNORED = 255  # the label of a hold that was not good
ARRAYS = ("emg", "label", "repetition", "rec_ptr", "rec_session", "rec_hand")
PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
MOST_ACTIONS = IGNORED - 1


@dataclass(frozen=True)
class Collection:
    """`actions`: the id of the catalogue by the number that labels have in the files; 0 is rest."""

    montage: Montage
    actions: dict[int, str]
    consent: str


@dataclass(frozen=True)
class Recorded:
    """One donning: EMG without holes in every recording, labelled with actions, None where a hold was not good."""

    recordings: tuple[np.ndarray, ...]  # each (samples, channels) float32
    actions: tuple[np.ndarray, ...]  # each (samples,) index into `names`, IGNORED where a hold was not good
    repetitions: tuple[np.ndarray, ...]
    names: tuple[str, ...]  # ids; the first is rest


def read_collection(folder: Path) -> Collection:
    """Raises:
    InputError: no collection, damaged, or of another schema.
    """
    path = folder / COLLECTION
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        if document["schema"] != SCHEMA:
            raise InputError(
                "was written by another version", where=path, found=document["schema"], expected=f"schema {SCHEMA}"
            )
        actions = {int(label): str(action) for label, action in document["actions"].items()}
        montage = Montage.from_dict(document["montage"])
        if not (2 <= montage.channels <= 256 and 10 <= montage.rate_hz <= 100_000 and actions.get(0) == REST):
            raise ValueError("numbers that no recording has")
        return Collection(montage, actions, str(document["consent"]))
    except OSError as error:
        raise InputError(
            f"is no collection: {error.strerror}", where=path, todo="Record one with: myosem-edge collect"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"is damaged ({error!r})", where=path) from error


def require_addable(folder: Path, person: str, montage: Montage, consent: str | None) -> str:
    """Whether a session can be added; returns the consent that holds.

    Raises:
        InputError: no name for a person, a collection of another front end, or nobody's consent is stated.
    """
    if not PERSON.fullmatch(person):
        raise InputError(
            "not a name for a person here",
            found=ascii(person[:40]),
            expected="letters, digits, dash, underscore, at most 32: a pseudonym, not a name",
        )
    if not (folder / COLLECTION).exists():
        if not consent:
            raise InputError(
                "a collection states what those who are recorded agreed to",
                todo='Say it once with --consent, e.g. --consent "own use only"',
            )
        return consent
    old = read_collection(folder)
    if old.montage != montage:
        raise InputError(
            "this collection was recorded with another front end",
            where=folder / COLLECTION,
            found=old.montage.to_dict(),
            expected=montage.to_dict(),
            todo="Choose another --out",
        )
    if consent and consent != old.consent:
        raise InputError(
            "this collection states another consent",
            where=folder / COLLECTION,
            found=consent,
            expected=old.consent,
            todo="Choose another --out for recordings under other terms",
        )
    return old.consent


def add_session(folder: Path, person: str, montage: Montage, side: str, consent: str, recorded: Recorded) -> int:
    """Add one donning of one person; returns its number. What was there before is kept.

    Raises:
        InputError: what is there is damaged or of another front end.
        StorageError: it cannot be written; what was there before is untouched.
    """
    consent = require_addable(folder, person, montage, consent)
    known = read_collection(folder).actions if (folder / COLLECTION).exists() else {0: REST}
    number = {action: label for label, action in known.items()}
    for action in recorded.names:
        number.setdefault(action, max(number.values()) + 1)
    if max(number.values()) > MOST_ACTIONS:
        raise InputError("too many actions in one collection", found=len(number), expected=f"at most {MOST_ACTIONS}")
    path = folder / f"{person}.npz"
    old = read_arrays(path, ARRAYS) if path.exists() else {}
    if old and set(old) != set(ARRAYS):
        raise InputError("is no recording of this collection", where=path, found=", ".join(sorted(old)))
    session = int(old["rec_session"].max(initial=0)) + 1 if old else 1
    arrays = _joined(old, _session_arrays(recorded, number, session, side == LEFT, montage.channels))
    document = {
        "schema": SCHEMA,
        "montage": montage.to_dict(),
        "actions": {str(label): action for action, label in sorted(number.items(), key=lambda item: item[1])},
        "consent": consent,
        "tool_version": __version__,
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # numpy types every keyword as an option
    write_atomic(folder / COLLECTION, (json.dumps(document, indent=1) + "\n").encode())
    write_atomic(path, buffer.getvalue())
    return session


def _session_arrays(
    recorded: Recorded, number: Mapping[str, int], session: int, left: bool, channels: int
) -> dict[str, np.ndarray]:
    lut = np.full(IGNORED + 1, IGNORED)
    lut[: len(recorded.names)] = [number[action] for action in recorded.names]
    count = len(recorded.recordings)
    empty = np.zeros(0, np.int64)
    return {
        "emg": np.concatenate((np.zeros((0, channels), np.float32), *recorded.recordings)).astype(np.float32),
        "label": lut[np.concatenate((empty, *recorded.actions))].astype(np.uint8),
        "repetition": np.concatenate((empty, *recorded.repetitions)).astype(np.uint8),
        "rec_ptr": np.cumsum([0, *map(len, recorded.recordings)]),
        "rec_session": np.full(count, session, np.uint16),
        "rec_hand": np.full(count, int(left), np.uint8),
    }


def _joined(old: Mapping[str, np.ndarray], new: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if not old:
        return new
    joined = {name: np.concatenate((old[name], new[name])) for name in ARRAYS if name != "rec_ptr"}
    return joined | {"rec_ptr": np.concatenate((old["rec_ptr"], old["rec_ptr"][-1] + new["rec_ptr"][1:]))}
