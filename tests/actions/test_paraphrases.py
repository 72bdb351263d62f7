"""Paraphrases are many, of other words than the catalogue, embedded freshly, and read by nothing that learns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.actions.paraphrases import (
    REGISTERS,
    ParaphraseTable,
    load_paraphrase_table,
    load_paraphrases,
    paraphrase_table_path,
    paraphrases_path,
)
from myosem_edge.actions.table import WIDTH, DescriptionTable
from myosem_edge.errors import InputError

PACKS = {"myo_readings8", "myo_cotelallard7", "myo_kanoga22", "flexemg64"}
ONE = """
[{id}]
lay = "I do {word}."
child = "Do {word}."
clinical = "Execution of {word}."
command = "Now {word}."
descriptive = "Somebody does {word}."
"""


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    listed = words(text)
    return {tuple(listed[i : i + length]) for i in range(len(listed) - length + 1)}


def pairs() -> Iterator[tuple[str, str]]:
    """Every paraphrase with every view of every action."""
    views = [text for action in load_catalogue().actions.values() for text in action.texts]
    for sentences in load_paraphrases().sentences.values():
        for sentence in sentences:
            yield from ((sentence, view) for view in views)


def test_every_action_that_a_pack_or_a_grip_names_has_five_sentences() -> None:
    said = load_paraphrases()
    wanted = [a.id for a in load_catalogue().actions.values() if a.grip or PACKS & set(a.aliases)]
    assert [action_id for action_id in wanted if action_id not in said.ids] == []
    assert len(wanted) == 43
    assert all(len(sentences) == len(REGISTERS) == 5 for sentences in said.sentences.values())


def test_no_sentence_is_a_near_copy_of_a_view() -> None:
    """Less than half of the words in common, and never six in a row."""
    close = []
    for sentence, view in pairs():
        mine, theirs = set(words(sentence)), set(words(view))
        if 2 * len(mine & theirs) >= len(mine | theirs) or runs(sentence, 6) & runs(view, 6):
            close.append((sentence, view))
    assert close == []


def test_the_rule_finds_a_near_copy() -> None:
    view = load_catalogue()["wrist_flexion"].name
    copy = set(words(view.replace("Bend", "Fold")))
    assert 2 * len(copy & set(words(view))) >= len(copy | set(words(view)))


def test_no_sentence_is_said_twice() -> None:
    every = [" ".join(words(text)) for sentences in load_paraphrases().sentences.values() for text in sentences]
    assert len(every) == len(set(every))


def test_the_committed_table_is_fresh() -> None:
    table, said = load_paraphrase_table(), load_paraphrases()
    assert table.ids == said.ids and table.vectors.shape == (len(said.ids), 5, WIDTH)
    assert table.encoder_id.startswith("all-MiniLM-L6-v2@53aa51172d14")
    np.testing.assert_allclose(np.linalg.norm(table.vectors, axis=-1), 1.0, atol=1e-6)


@pytest.mark.parametrize("change", [{"texts_sha256": "f" * 64}, {"ids": tuple(reversed(load_paraphrases().ids))}])
def test_a_stale_table_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "p.safetensors"
    path.write_bytes(replace(load_paraphrase_table(), **change).to_bytes())  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"paraphrase table is stale.*actions embed"):
        load_paraphrase_table(path)


def test_a_changed_word_makes_the_table_stale(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(paraphrases_path().read_text().replace("I ball my hand up.", "I ball up my hand."))
    changed = load_paraphrases(path)
    assert changed.ids == load_paraphrases().ids
    with pytest.raises(InputError, match="stale"):
        load_paraphrase_table(paraphrases=changed)


def test_one_kind_of_table_is_not_taken_for_the_other() -> None:
    data = paraphrase_table_path().read_bytes()
    assert ParaphraseTable.from_bytes(data).to_bytes() == data
    with pytest.raises(InputError, match="wrong form"):
        DescriptionTable.from_bytes(data)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("fist = 3", "one sentence per register"),
        ("[fist", "not valid TOML"),
        (ONE.format(id="fists", word="it"), "does not exist"),
        (ONE.format(id="fist", word="it") + 'written = "More."', "one sentence per register.*written"),
        (ONE.format(id="fist", word="it").replace("lay =", "low ="), "one sentence per register.*expected lay"),
        (ONE.format(id="fist", word="it").replace('"Do it."', '" "'), "fist.*child.*is a sentence"),
        (ONE.format(id="fist", word="it").replace('"Do it."', "7"), "fist.*child.*is a sentence"),
        (ONE.format(id="fist", word="it") + ONE.format(id="rest", word="it"), "rest.*lay.*taken.*lay of fist"),
        (
            ONE.format(id="fist", word="it").replace("Do it.", load_catalogue()["rest"].name),
            "child.*taken.*a view of rest",
        ),
    ],
)
def test_what_is_wrong_in_the_file_is_said(tmp_path: Path, text: str, fragment: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=fragment) as caught:
        load_paraphrases(path)
    assert str(path) in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_paraphrases(tmp_path / "none.toml")
