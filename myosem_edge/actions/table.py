"""The description table: every view of every action as a sentence embedding, made once on the training side.

A board reads it; it never needs a text encoder. On disk the vectors are float16 in a safetensors file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from myosem_edge.actions.catalogue import VIEWS, Catalogue, load_catalogue
from myosem_edge.errors import InputError

WIDTH = 384  # numbers in one sentence embedding of all-MiniLM-L6-v2
SCHEMA = 1

_REGENERATE = "Run `myosem-edge actions embed` on a computer that has the [text] extra"
# A table for ten thousand actions is 31 MB; anything beyond this is not a table.
_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class SentenceTable:
    """Raw sentence embeddings, neither centred nor projected, the same number for every action.

    `vectors` is float32 (actions, texts, 384) with unit rows; `texts_sha256` is that of the texts they came from.
    """

    name: ClassVar[str]
    texts_per_action: ClassVar[int]

    ids: tuple[str, ...]
    vectors: NDArray[np.float32]
    encoder_id: str
    texts_sha256: str

    def __post_init__(self) -> None:
        expected = (len(self.ids), self.texts_per_action, WIDTH)
        if self.vectors.shape != expected or self.vectors.dtype != np.float32:
            raise ValueError(f"vectors {self.vectors.dtype} {self.vectors.shape}, expected float32 {expected}")
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("ids are not unique")

    def select(self, ids: Iterable[str]) -> NDArray[np.float32]:
        """Vectors (k, texts, 384) of these actions, in the order asked for.

        Raises:
            InputError: an id that the table does not hold.
        """
        position = {action_id: row for row, action_id in enumerate(self.ids)}
        wanted = list(ids)
        if missing := [action_id for action_id in wanted if action_id not in position]:
            raise InputError(f"the {self.name} has no action '{missing[0]}'", todo=_REGENERATE)
        return self.vectors[[position[action_id] for action_id in wanted]]

    def to_bytes(self) -> bytes:
        """The file: the same table gives the same bytes, and reading them back and writing again changes nothing."""
        facts = {
            "schema": SCHEMA,
            "ids": self.ids,
            "encoder_id": self.encoder_id,
            "texts_sha256": self.texts_sha256,
        }
        # One metadata entry only: the order of several is not fixed by the format's writer.
        return save({"vectors": self.vectors.astype(np.float16)}, {"table": json.dumps(facts, separators=(",", ":"))})

    @classmethod
    def from_bytes(cls, data: bytes, where: object = None) -> Self:
        """Parse what `to_bytes` wrote.

        Raises:
            InputError: damaged, of another kind, or with vectors that are not finite directions.
        """
        if len(data) > _MAX_BYTES:
            raise InputError(f"the {cls.name} is too large", where=where, found=f"{len(data)} bytes")
        try:
            tensors = load(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            facts = json.loads(header["__metadata__"]["table"])
            schema, encoder_id, texts_sha256 = facts["schema"], str(facts["encoder_id"]), str(facts["texts_sha256"])
            ids = tuple(str(action_id) for action_id in facts["ids"])
            stored = tensors["vectors"]
        except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"this is not a {cls.name}, or it is damaged", where=where, todo=_REGENERATE) from error
        if schema != SCHEMA:
            raise InputError(
                "unknown schema of the table", where=where, found=schema, expected=SCHEMA, todo=_REGENERATE
            )
        expected = (len(ids), cls.texts_per_action, WIDTH)
        if stored.shape != expected or stored.dtype != np.float16:
            raise InputError(
                "the vectors have the wrong form",
                where=where,
                found=f"{stored.dtype} {stored.shape}",
                expected=f"float16 {expected}",
                todo=_REGENERATE,
            )
        vectors = stored.astype(np.float32)
        norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
        # Rounding to float16 moves a norm by less than 5e-4; anything further off was not written by `to_bytes`.
        if not (np.abs(norms - 1.0) < 1e-3).all() or len(set(ids)) != len(ids):
            raise InputError("the vectors are not unit directions of distinct actions", where=where, todo=_REGENERATE)
        return cls(ids, vectors / norms, encoder_id, texts_sha256)


class DescriptionTable(SentenceTable):
    """The views of every action: `vectors` is (actions, 4 views, 384)."""

    name: ClassVar[str] = "description table"
    texts_per_action: ClassVar[int] = len(VIEWS)


T = TypeVar("T", bound=SentenceTable)


def table_path() -> Path:
    """Where the table of the shipped catalogue lives."""
    return Path(str(resources.files("myosem_edge.actions") / "descriptions.safetensors"))


def read_sentences(kind: type[T], path: Path | str) -> T:
    """Read a table without asking whether it is fresh.

    Raises:
        InputError: it cannot be read or is damaged.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"the {kind.name} cannot be read: {error.strerror}", where=path, todo=_REGENERATE) from error
    return kind.from_bytes(data, path)


def require_fresh(table: SentenceTable, ids: tuple[str, ...], texts_sha256: str, source: str, where: object) -> None:
    """Refuse a table that was not made from exactly these texts.

    Raises:
        InputError: stale; says the command that makes a new one.
    """
    if table.texts_sha256 != texts_sha256 or table.ids != ids:
        raise InputError(
            f"the {table.name} is stale: it was not made from the texts of {source}",
            where=where,
            found=f"texts {table.texts_sha256[:12]}",
            expected=f"texts {texts_sha256[:12]}",
            todo=_REGENERATE,
        )


def read_table(path: Path | str) -> DescriptionTable:
    """A description table as it is, fresh or not.

    Raises:
        InputError: it cannot be read or is damaged.
    """
    return read_sentences(DescriptionTable, path)


def load_table(path: Path | str | None = None, catalogue: Catalogue | None = None) -> DescriptionTable:
    """The table of a catalogue (the shipped ones by default), refused unless it was made from exactly these texts.

    Raises:
        InputError: unreadable, damaged or stale; says the command that makes a new one.
    """
    catalogue = catalogue or load_catalogue()
    where = path or table_path()
    table = read_table(where)
    require_fresh(table, catalogue.ids, catalogue.texts_sha256, catalogue.source, where)
    return table
