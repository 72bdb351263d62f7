"""A TFLite graph is refused by its scan before a runtime follows a single offset of it."""

from __future__ import annotations

import contextlib
import pickle
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("ai_edge_litert", reason="the [train] extra is not installed")
sys.path.insert(0, str(Path(__file__).parent))

import tflite_forge as forge

from myosem_edge.errors import BundleError
from myosem_edge.tflite_scan import scan_tflite

pytestmark = pytest.mark.sr("SR-17")
TINY = forge.tiny_tflite()


def test_the_graph_that_the_attacks_start_from_is_good() -> None:
    scan_tflite(TINY, "encoder.tflite")
    scan_tflite(forge.edited(lambda model: None), "encoder.tflite")


@pytest.mark.parametrize("name", forge.ATTACKS)
def test_attack_is_refused_with_its_sentence(name: str) -> None:
    edit, words = forge.ATTACKS[name]
    with pytest.raises(BundleError) as caught:
        scan_tflite(forge.edited(edit), "file: encoder.tflite")
    assert words in str(caught.value)
    assert str(caught.value).startswith("file: encoder.tflite")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "data",
    [b"", b"TFL3", b"\x1c\0\0\0TFL3", b"\x1c\0\0\0TFL3" + bytes(64), pickle.dumps({"a": 1}), b"\0" * 4096],
)
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match="is not a TFLite model"):
        scan_tflite(data, "encoder.tflite")


def test_a_graph_that_ends_early_is_refused() -> None:
    for length in range(0, len(TINY) - 1, 7):
        with pytest.raises(BundleError):
            scan_tflite(TINY[:length], "encoder.tflite")


@given(changes=st.lists(st.tuples(st.integers(0, len(TINY) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@settings(deadline=None, max_examples=500)
def test_any_change_passes_or_is_a_bundle_error(changes: list[tuple[int, int]]) -> None:
    data = bytearray(TINY)
    for position, value in changes:
        data[position] = value
    with contextlib.suppress(BundleError):
        scan_tflite(bytes(data), "encoder.tflite")


def test_one_table_named_often_does_not_take_for_ever() -> None:
    """Offsets may share what they point to; each is counted."""

    def edit(model: object) -> None:
        graph = model.subgraphs[0]  # type: ignore[attr-defined]
        graph.tensors = graph.tensors * 400

    with pytest.raises(BundleError, match=r"too many parts|too much memory"):
        scan_tflite(forge.edited(edit), "encoder.tflite")
