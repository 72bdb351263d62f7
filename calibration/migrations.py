"""How the contents of an older profile become those of this version: one numbered step per schema.

To change the schema, raise `profile.SCHEMA` and add the step from the number before; every step is told to the user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from myosem_edge.errors import ProfileError

Contents = tuple[dict[str, Any], dict[str, np.ndarray]]  # metadata and tensors


@dataclass(frozen=True)
class Step:
    """From one schema to the next; `sentence` says what it changed and what could not be kept."""

    sentence: str
    change: Callable[[dict[str, Any], dict[str, np.ndarray]], Contents]


STEPS: Mapping[int, Step] = {}  # by the schema it starts from; schema 1 is the first


def migrate(
    metadata: dict[str, Any],
    tensors: dict[str, np.ndarray],
    schema: int,
    note: Callable[[str], None],
    *,
    where: object,
    steps: Mapping[int, Step] = STEPS,
) -> Contents:
    """Bring contents up to `schema`, telling each step to `note`.

    Raises:
        ProfileError: the schema is missing or newer, or no step leads on from it.
    """
    found = metadata.get("schema")
    while found != schema:
        step = steps.get(found) if type(found) is int and found < schema else None
        if type(found) is not int or step is None:
            raise ProfileError(
                "a profile of another schema",
                where=where,
                found=ascii(found),
                expected=schema,
                todo="Use the myosem-edge version that made it, or calibrate again",
            )
        metadata, tensors = step.change(metadata, tensors)
        note(f"profile schema {found} to {found + 1}: {step.sentence}")
        found += 1
        metadata = {**metadata, "schema": found}
    return metadata, tensors
