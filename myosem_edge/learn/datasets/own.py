"""What was recorded here: a folder that `myosem-edge collect` wrote. Any front end, any person, any number of sessions.

`collection.json` says what was recorded with what; every person has one `.npz` in the pack schema. Labels are cues.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from myosem_edge.actions.catalogue import OWN, Label
from myosem_edge.errors import InputError
from myosem_edge.learn.datasets.recording import DataSet, Recording, pack_subjects, read_pack
from myosem_edge.signal.montage import MYO, Montage

COLLECTION = "collection.json"
SCHEMA = 1
FACTS = ("session", "hand")
LEFT = 1


@dataclass(frozen=True)
class Collection:
    """`actions`: the id of the catalogue by the number that labels have in the files; 0 is rest."""

    montage: Montage
    actions: dict[int, str]
    consent: str


def read_collection(folder: Path) -> Collection:
    """Raises:
    InputError: no collection, damaged, or of a newer schema.
    """
    path = folder / COLLECTION
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        if document["schema"] != SCHEMA:
            raise InputError(
                "was written by another version", where=path, found=document["schema"], expected=f"schema {SCHEMA}"
            )
        actions = {int(label): str(action) for label, action in document["actions"].items()}
        return Collection(Montage.from_dict(document["montage"]), actions, str(document["consent"]))
    except OSError as error:
        raise InputError(
            f"is no collection: {error.strerror}", where=path, todo="Record one with: myosem-edge collect"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"is damaged ({error!r})", where=path) from error


def read(folder: Path, subject: str) -> Iterator[Recording]:
    collection = read_collection(folder)
    aliases: dict[int, Label] = dict(collection.actions)
    path = folder / f"{subject}.npz"
    for recording in read_pack(path, dataset=OWN, montage=collection.montage, scale=1.0, facts=FACTS):
        session, left = str(recording.facts["session"]), recording.facts["hand"] == LEFT
        yield replace(recording, session=session, mirrored=left, aliases=aliases, cued=True)


DATASET = DataSet(OWN, "as agreed with those who were recorded", False, MYO, pack_subjects, read)
