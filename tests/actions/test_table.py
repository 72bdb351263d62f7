"""The committed description table belongs to the committed catalogue, and a damaged or stale one is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.actions.table import WIDTH, DescriptionTable, load_table, read_table, table_path
from myosem_edge.errors import InputError


def make_table(ids: tuple[str, ...] = ("one", "two"), seed: int = 0) -> DescriptionTable:
    vectors = np.random.default_rng(seed).normal(size=(len(ids), 4, WIDTH)).astype(np.float32)
    return DescriptionTable(ids, vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), "encoder", "0" * 64)


def similarity(vectors: NDArray[np.float32], a: int, b: int) -> float:
    """Mean over the views of the cosine of two actions; `vectors` (n, 4, 384)."""
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return float((unit[a] * unit[b]).sum(-1).mean())


def test_the_committed_table_is_fresh() -> None:
    table, catalogue = load_table(), load_catalogue()
    assert table.ids == catalogue.ids
    assert table.texts_sha256 == catalogue.texts_sha256
    assert table.encoder_id.startswith("all-MiniLM-L6-v2@53aa51172d14")
    assert table.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(table.vectors, axis=-1), 1.0, atol=1e-6)


def test_centring_separates_antonyms() -> None:
    """Raw, an encoder puts opposites side by side; minus the mean of all actions, they stand clearly apart."""
    table, catalogue = load_table(), load_catalogue()
    row = {action_id: index for index, action_id in enumerate(table.ids)}
    mean = table.select(a.id for a in catalogue.actions.values() if a.kind != "stage").mean(axis=0)
    pairs = {tuple(sorted((a.id, a.antonym))) for a in catalogue.actions.values() if a.antonym}
    raw = {pair: similarity(table.vectors, row[pair[0]], row[pair[1]]) for pair in pairs}
    centred = {pair: similarity(table.vectors - mean, row[pair[0]], row[pair[1]]) for pair in pairs}
    assert len(pairs) == 19
    assert all(centred[pair] < raw[pair] - 0.15 for pair in pairs), (raw, centred)
    assert np.mean(list(centred.values())) < 0.45 < 0.65 < np.mean(list(raw.values()))
    for pair, most in {
        ("wrist_extension", "wrist_flexion"): 0.5,
        ("wrist_radial_deviation", "wrist_ulnar_deviation"): 0.4,
        ("forearm_pronation", "forearm_supination"): 0.4,
        ("fist", "hand_open"): 0.3,
    }.items():
        assert centred[pair] < most, pair


def test_the_same_table_gives_the_same_bytes_and_survives_any_number_of_round_trips() -> None:
    first = make_table().to_bytes()
    assert first == make_table().to_bytes()
    assert DescriptionTable.from_bytes(first).to_bytes() == first
    assert read_table(table_path()).to_bytes() == table_path().read_bytes()


def test_the_bytes_begin_with_a_header_that_says_what_they_are() -> None:
    data = make_table(("one",)).to_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    assert json.loads(header["__metadata__"]["table"]) == {
        "schema": 1, "ids": ["one"], "encoder_id": "encoder", "texts_sha256": "0" * 64,
    }  # fmt: skip
    assert header["vectors"] == {"dtype": "F16", "shape": [1, 4, WIDTH], "data_offsets": [0, 4 * WIDTH * 2]}
    assert len(data) == 8 + size + 4 * WIDTH * 2


def test_rounding_on_disk_is_negligible() -> None:
    table = make_table()
    again = DescriptionTable.from_bytes(table.to_bytes())
    assert np.abs(again.vectors - table.vectors).max() < 1e-3
    assert ((again.vectors * table.vectors).sum(-1) > 0.999999).all()


def test_select_keeps_the_order_asked_for() -> None:
    table = make_table(("one", "two", "three"))
    np.testing.assert_array_equal(table.select(["three", "one"]), table.vectors[[2, 0]])
    with pytest.raises(InputError, match="no action 'four'"):
        table.select(["one", "four"])


def test_a_stale_table_is_refused_and_the_command_is_named(tmp_path: Path) -> None:
    path = tmp_path / "table.safetensors"
    stale = replace(load_table(), texts_sha256="f" * 64)
    path.write_bytes(stale.to_bytes())
    with pytest.raises(InputError) as caught:
        load_table(path)
    for fragment in ("stale", str(path), "found texts ffffffffffff", "myosem-edge actions embed"):
        assert fragment in str(caught.value)


def test_a_table_with_other_ids_is_stale_too(tmp_path: Path) -> None:
    path = tmp_path / "table.safetensors"
    shipped = load_table()
    swapped = (shipped.ids[1], shipped.ids[0], *shipped.ids[2:])
    path.write_bytes(replace(shipped, ids=swapped).to_bytes())
    with pytest.raises(InputError, match="stale"):
        load_table(path)


def facts(**changes: object) -> dict[str, str]:
    plain: dict[str, object] = {"schema": 1, "ids": ["one"], "encoder_id": "e", "texts_sha256": "0"}
    return {"table": json.dumps(plain | changes)}


UNIT = np.full((1, 4, WIDTH), WIDTH**-0.5, np.float16)


@pytest.mark.parametrize(
    ("data", "fragment"),
    [
        (b"", "not a description table"),
        (b"PK\x03\x04 something else entirely", "not a description table"),
        (save({"vectors": UNIT}), "not a description table"),
        (save({"vectors": UNIT}, {"table": "{"}), "not a description table"),
        (save({"vectors": UNIT}, {"table": "[]"}), "not a description table"),
        (save({"other": UNIT}, facts()), "not a description table"),
        (save({"vectors": UNIT}, facts(ids=3)), "not a description table"),
        (save({"vectors": UNIT}, facts(schema=2)), "unknown schema"),
        (save({"vectors": UNIT[:, :3]}, facts()), "wrong form"),
        (save({"vectors": UNIT.astype(np.float32)}, facts()), "wrong form"),
        (save({"vectors": UNIT}, facts(ids=["one", "two"])), "wrong form"),
        (save({"vectors": np.concatenate([UNIT, UNIT])}, facts(ids=["one", "one"])), "distinct"),
        (save({"vectors": UNIT * np.float16(1.01)}, facts()), "unit directions"),
        (save({"vectors": UNIT * np.float16(0)}, facts()), "unit directions"),
        (save({"vectors": UNIT * np.float16("nan")}, facts()), "unit directions"),
        (bytes(64 * 1024 * 1024 + 1), "too large"),
    ],
)
def test_what_is_not_a_table_is_refused(data: bytes, fragment: str) -> None:
    with pytest.raises(InputError, match=fragment) as caught:
        DescriptionTable.from_bytes(data, "here")
    assert str(caught.value).startswith("here: ")


def test_an_undamaged_table_of_the_same_form_is_accepted() -> None:
    assert DescriptionTable.from_bytes(save({"vectors": UNIT}, facts())).ids == ("one",)


@settings(max_examples=60)
@given(cut=st.integers(0, 3000), junk=st.binary(max_size=8))
def test_a_cut_or_overwritten_file_never_raises_anything_but_an_input_error(cut: int, junk: bytes) -> None:
    data = make_table(("one",)).to_bytes()
    for broken in (data[:cut], data[:cut] + junk + data[cut + len(junk) :]):
        try:
            table = DescriptionTable.from_bytes(broken)
        except InputError:
            continue
        assert np.isfinite(table.vectors).all()


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read: No such file.*actions embed"):
        load_table(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("ids", "vectors"),
    [
        (("one",), np.zeros((1, 4, 10), np.float32)),
        (("one",), np.zeros((1, 4, WIDTH), np.float64)),
        (("one", "one"), np.zeros((2, 4, WIDTH), np.float32)),
    ],
)
def test_a_table_that_contradicts_itself_cannot_be_built(ids: tuple[str, ...], vectors: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match=r"vectors|unique"):
        DescriptionTable(ids, vectors, "encoder", "0")


def test_no_two_actions_have_the_same_vectors() -> None:
    flat = load_table().vectors.reshape(-1, WIDTH)
    order = np.lexsort(flat.T)
    assert all((flat[a] != flat[b]).any() for a, b in pairwise(order))
