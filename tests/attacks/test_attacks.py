"""A bundle that anyone has touched is refused with one sentence, whoever touched it and wherever."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import bundle_forge as forge

from myosem_edge import bundle as bundle_module
from myosem_edge import manifest as manifest_module
from myosem_edge.bundle import inspect_bundle, read_bundle, verify_bundle
from myosem_edge.errors import BundleError, MyosemError
from myosem_edge.onnx_scan import scan_onnx

pytestmark = pytest.mark.sr("SR-17")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attacks") / "tiny.myosem"


def test_the_bundle_that_the_attacks_start_from_is_good(file: Path) -> None:
    file.write_bytes(forge.GOOD)
    assert read_bundle(file, forge.KEYS).key_name == "factory"
    file.write_bytes(forge.signed())
    assert read_bundle(file, forge.KEYS).manifest.name == "tiny"
    assert forge.signed() == forge.GOOD


@pytest.mark.parametrize("name", forge.ATTACKS)
def test_attack_is_refused_with_its_sentence(name: str, file: Path) -> None:
    build, words = forge.ATTACKS[name]
    file.write_bytes(build())
    with pytest.raises(BundleError) as caught:
        read_bundle(file, forge.KEYS)
    assert words in str(caught.value)
    assert str(file) in str(caught.value)
    assert str(caught.value).isprintable(), "an attacker's bytes must not reach the terminal"
    last = verify_bundle(file, forge.KEYS)[-1]
    assert not last.ok
    assert words in last.detail


@pytest.mark.parametrize("name", forge.ATTACKS)
def test_attack_is_never_shown_as_trusted_and_sound(name: str, file: Path) -> None:
    """`inspect` looks at layout, signature, manifest and hashes; what it does not open it does not vouch for."""
    file.write_bytes(forge.ATTACKS[name][0]())
    try:
        found = inspect_bundle(file, forge.KEYS)
    except BundleError:
        return
    checks = verify_bundle(file, forge.KEYS)
    assert found.distrust is not None or checks[-1].name == "contents"


def test_every_single_flipped_byte_is_refused(file: Path) -> None:
    for position in range(len(forge.GOOD)):
        data = bytearray(forge.GOOD)
        data[position] ^= 1 << (position % 8)
        file.write_bytes(data)
        with pytest.raises(BundleError):
            read_bundle(file, forge.KEYS)


@given(position=st.integers(0, len(forge.GOOD) - 1), mask=st.integers(1, 255))
@settings(deadline=None, max_examples=300)
def test_any_flip_is_a_bundle_error_and_nothing_else(file: Path, position: int, mask: int) -> None:
    data = bytearray(forge.GOOD)
    data[position] ^= mask
    file.write_bytes(data)
    with pytest.raises(BundleError):
        read_bundle(file, forge.KEYS)
    with contextlib.suppress(BundleError):
        assert inspect_bundle(file, forge.KEYS).distrust is not None, (position, mask)


@given(length=st.integers(0, len(forge.GOOD) - 1))
@settings(deadline=None, max_examples=200)
def test_any_cut_is_refused(file: Path, length: int) -> None:
    file.write_bytes(forge.GOOD[:length])
    with pytest.raises(BundleError):
        read_bundle(file, forge.KEYS)


@given(start=st.integers(0, len(forge.GOOD)), gone=st.integers(0, 40), new=st.binary(max_size=40))
@settings(deadline=None, max_examples=300)
def test_any_splice_is_refused(file: Path, start: int, gone: int, new: bytes) -> None:
    data = forge.GOOD[:start] + new + forge.GOOD[start + gone :]
    file.write_bytes(data)
    if data == forge.GOOD:
        assert read_bundle(file, forge.KEYS).manifest.name == "tiny"
    else:
        with pytest.raises(BundleError):
            read_bundle(file, forge.KEYS)


@given(data=st.binary(max_size=300))
@settings(deadline=None, max_examples=200)
def test_arbitrary_bytes_after_a_zip_mark_are_refused(file: Path, data: bytes) -> None:
    file.write_bytes(b"PK\x03\x04" + data)
    with pytest.raises(BundleError):
        read_bundle(file, forge.KEYS)


def forbid(*_args: object, **_kwargs: object) -> None:
    raise AssertionError("a parser saw bytes that nobody vouched for")


@pytest.mark.parametrize("attack", ["untrusted_key", "manifest_edited", "signature_zero"])
def test_no_parser_sees_a_byte_before_the_signature_holds(
    attack: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors

    data = forge.ATTACKS[attack][0]()
    monkeypatch.setattr(manifest_module.json, "loads", forbid)
    monkeypatch.setattr(bundle_module, "scan_onnx", forbid)
    monkeypatch.setattr(bundle_module.tomllib, "loads", forbid)
    monkeypatch.setattr(safetensors, "deserialize", forbid)
    file.write_bytes(data)
    with pytest.raises(BundleError, match="no trusted key signed"):
        read_bundle(file, forge.KEYS)


def test_no_member_is_parsed_before_its_hash_holds(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = forge.ATTACKS["member_swapped"][0]()
    monkeypatch.setattr(bundle_module, "_check_contents", forbid)
    file.write_bytes(data)
    with pytest.raises(BundleError, match="not the member that was signed"):
        read_bundle(file, forge.KEYS)


def test_a_claimed_size_is_refused_before_anything_of_that_size_is_made(file: Path) -> None:
    import tracemalloc

    file.write_bytes(forge.ATTACKS["oversized_claim"][0]())
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match="too large"):
            read_bundle(file, forge.KEYS)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000


def test_a_huge_file_is_refused_without_reading_it(file: Path, tmp_path: Path) -> None:
    sparse = tmp_path / "huge.myosem"
    with sparse.open("wb") as handle:
        handle.truncate(bundle_module.FILE_CAP + 1)
    with pytest.raises(BundleError, match="too large for a bundle"):
        read_bundle(sparse, forge.KEYS)


@given(
    base=st.sampled_from([forge.TINY_ONNX, forge.external_data(), forge.foreign_node(), forge.external_in_attribute()]),
    flips=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
)
@settings(deadline=None, max_examples=400)
def test_what_the_scan_lets_through_is_clean_to_the_onnx_library(base: bytes, flips: list[tuple[int, int]]) -> None:
    data = bytearray(base)
    for position, value in flips:
        data[position % len(data)] = value
    try:
        scan_onnx(bytes(data), "graph")
    except BundleError:
        return
    try:
        model = onnx.load_from_string(bytes(data))
    except Exception:  # the library refuses more than the scan does, in its own words
        return
    assert all(opset.domain in ("", "ai.onnx") for opset in model.opset_import)
    graphs = [model.graph]
    for graph in graphs:
        for node in graph.node:
            assert node.domain in ("", "ai.onnx")
            graphs += [attribute.g for attribute in node.attribute if attribute.HasField("g")]
            graphs += [inner for attribute in node.attribute for inner in attribute.graphs]
        tensors = [*graph.initializer, *(a.t for node in graph.node for a in node.attribute)]
        assert not any(tensor.external_data or tensor.data_location for tensor in tensors)


@given(data=st.binary(max_size=200))
@settings(max_examples=300)
def test_the_scan_never_fails_in_another_way(data: bytes) -> None:
    try:
        scan_onnx(data, "graph")
    except MyosemError as error:
        assert isinstance(error, BundleError)


def test_the_scan_stops_counting_parts() -> None:
    many = b"\x08\x01" * 200_001  # field 1 of the model, over and over
    with pytest.raises(BundleError, match="too many parts"):
        scan_onnx(many, "graph")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x00\x00", "field number 0"),
        (b"\x0b", "wire type 3"),
        (b"\x08" + b"\xff" * 10, "does not end"),
        (b"\x3a\x05\x00", "outside its message"),
        (b"\x38\x00", "a graph that is a number"),
        (b"\x0d\x00\x00", "outside its message"),
        (b"\x3a\x00", "it has no opset"),
        (b"\x42\x00", "it has no graph"),
        (b"\x09" + bytes(8) + b"\x0d" + bytes(4) + b"\x42\x00", "it has no graph"),
    ],
)
def test_broken_wire_formats_are_named(data: bytes, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        scan_onnx(data, "graph")


def test_the_attacks_can_be_had_as_files(tmp_path: Path) -> None:
    forge.main(tmp_path / "out")
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {"good", *forge.ATTACKS}
