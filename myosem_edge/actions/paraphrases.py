"""What else people might say for an action: sentences that judge the space of descriptions and never shape it.

The file is `paraphrases.toml` beside this module, one sentence per action and register, with its embeddings cached in
`paraphrases.safetensors`. Nothing that trains, tunes or exports imports this module; a test of the house holds that.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from myosem_edge.actions.catalogue import Catalogue, load_catalogue
from myosem_edge.actions.table import SentenceTable, read_sentences, require_fresh
from myosem_edge.errors import InputError

REGISTERS = ("lay", "child", "clinical", "command", "descriptive")


@dataclass(frozen=True)
class Paraphrases:
    """Action id -> its sentences in the order of `REGISTERS`."""

    sentences: Mapping[str, tuple[str, ...]]
    source: str

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.sentences)

    @cached_property
    def texts_sha256(self) -> str:
        """Hash of every id with its sentences, in order; a table made from other sentences is stale."""
        listing = [[action_id, *sentences] for action_id, sentences in self.sentences.items()]
        return hashlib.sha256(json.dumps(listing, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


class ParaphraseTable(SentenceTable):
    """Raw embeddings of the paraphrases: `vectors` is float32 (actions, 5 registers, 384) with unit rows."""

    name: ClassVar[str] = "paraphrase table"
    texts_per_action: ClassVar[int] = len(REGISTERS)


def paraphrases_path() -> Path:
    """Where the shipped paraphrases live."""
    return Path(str(resources.files("myosem_edge.actions") / "paraphrases.toml"))


def paraphrase_table_path() -> Path:
    """Where the embeddings of the shipped paraphrases live."""
    return paraphrases_path().with_suffix(".safetensors")


def load_paraphrases(path: Path | str | None = None, catalogue: Catalogue | None = None) -> Paraphrases:
    """Read and check paraphrases; the shipped ones without a path.

    Raises:
        InputError: the file cannot be read, names an action that the catalogue lacks, lacks a register, or holds a
            sentence twice or one that is a view of the catalogue.
    """
    catalogue = catalogue or load_catalogue()
    where = Path(path or paraphrases_path())
    try:
        document = tomllib.loads(where.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the paraphrases cannot be read: {error.strerror}", where=where) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"the paraphrases are not valid TOML: {error}", where=where) from error
    taken = {text: f"a view of {action.id}" for action in catalogue.actions.values() for text in action.texts}
    sentences = {}
    for action_id, table in document.items():
        place = f"{where}: [{action_id}]"
        if action_id not in catalogue.actions:
            raise InputError("paraphrases of an action that does not exist", where=place, expected=catalogue.source)
        if not isinstance(table, dict) or set(table) != set(REGISTERS):
            found = ", ".join(table) if isinstance(table, dict) else repr(table)
            raise InputError("one sentence per register", where=place, found=found, expected=", ".join(REGISTERS))
        for register, text in table.items():
            if not isinstance(text, str) or not text.strip():
                raise InputError("a paraphrase is a sentence", where=f"{place} {register}", found=repr(text))
            if text in taken:
                raise InputError("this sentence is taken", where=f"{place} {register}", found=taken[text])
            taken[text] = f"{register} of {action_id}"
        sentences[action_id] = tuple(table[register] for register in REGISTERS)
    return Paraphrases(MappingProxyType(sentences), str(where))


def load_paraphrase_table(path: Path | str | None = None, paraphrases: Paraphrases | None = None) -> ParaphraseTable:
    """The embeddings of paraphrases (the shipped ones by default), refused unless made from exactly these sentences.

    Raises:
        InputError: unreadable, damaged or stale; says the command that makes a new one.
    """
    paraphrases = paraphrases or load_paraphrases()
    where = path or paraphrase_table_path()
    table = read_sentences(ParaphraseTable, where)
    require_fresh(table, paraphrases.ids, paraphrases.texts_sha256, paraphrases.source, where)
    return table
