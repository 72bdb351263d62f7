"""Builders of one tiny good bundle and of many bad ones. Run it with a folder to have them as files."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from graph_forge import (
    TINY_ONNX,
    external_data,
    external_in_attribute,
    foreign_node,
    foreign_opset,
    local_function,
    location_alone,
    nested_graph,
)

from myosem_edge.archive import Entry, pack, unpack
from myosem_edge.bundle import CAPS, PAYLOAD, write_bundle
from myosem_edge.keys import TrustedKey, key_id
from myosem_edge.manifest import Filter, Manifest, Member, Montage, Quantisation, Sizes, Tolerance, canonical

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
KEYS = {key_id(KEY.public_key()): TrustedKey("factory", KEY.public_key(), False)}


def tensors(**arrays: tuple[float, ...]) -> bytes:
    """A safetensors file of float32 vectors, written out by hand."""
    header, data = {}, b""
    for name, numbers in arrays.items():
        start = len(data)
        data += struct.pack(f"<{len(numbers)}f", *numbers)
        header[name] = {"dtype": "F32", "shape": [len(numbers)], "data_offsets": [start, len(data)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def tiny_manifest() -> Manifest:
    return Manifest(
        name="tiny",
        version="1.2.0",
        model="shipped",
        montage=Montage("myo", 8, "ring", 200.0, "counts", "50 Hz notch in the armband"),
        filter=Filter(((0.5, 0.0, -0.5, 1.0, -0.9, 0.5),), 5),
        window_ms=400.0,
        hop_ms=25.0,
        sizes=Sizes(h=2, z=2, log_features=8),
        quantisation=Quantisation("int8 QDQ", "int8", "int8"),
        descriptions=2,
        encoder_id="all-MiniLM-L6-v2",
        texts_sha256="ab" * 32,
        operating_point={"smoothing": 0.6, "votes": 3, "thresholds": {"power": 0.8, "open": 0.55}},
        tolerance=Tolerance(0.999, 0.999),
        front_ends=("myo",),
        metrics={"retrieval": {"r_at_1": 0.5, "gallery": 12}, "measured_on": "nothing real"},
        tool_version="0.1.0",
    )


def tiny_members() -> dict[str, bytes]:
    return {
        "encoder.onnx": TINY_ONNX,
        "encoder.safetensors": tensors(w=(1.0, -1.0)),
        "descriptions.safetensors": tensors(table=(1.0, 0.0, 0.0, 1.0)),
        "descriptions.txt": b"close the whole hand\nopen the hand\n",
        "grips.toml": b'[close_hand]\ngrip = "power"\nthreshold = 0.8\n',
        "golden.safetensors": tensors(samples=(0.0, 1.0), z=(1.0, 0.0)),
        "MODEL_CARD.md": "# tiny\n\nDecodes nothing µ.\n".encode(),
    }


def good_bundle() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "good.myosem"
        write_bundle(path, tiny_manifest(), tiny_members(), KEY)
        return path.read_bytes()


GOOD = good_bundle()


def parts() -> dict[str, bytes]:
    """Every member of the good bundle, in order."""
    return {name: bytes(view) for name, view in unpack(GOOD, CAPS, "good").items()}


def signed(
    members: dict[str, bytes] | None = None,
    key: Ed25519PrivateKey = KEY,
    edit: Callable[[dict[str, Any]], object] | None = None,
    text: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """A well-formed bundle signed without any of the checks that writing makes. `edit` changes the manifest's fields,
    `text` its bytes, both before it is signed."""
    members = tiny_members() if members is None else members
    listed = {name: Member(hashlib.sha256(data).hexdigest(), len(data)) for name, data in members.items()}
    fields = asdict(replace(tiny_manifest(), members=listed, key_id=key_id(key.public_key())))
    if edit is not None:
        edit(fields)
    manifest = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()  # writes NaN, as an attacker would
    if text is not None:
        manifest = text(manifest)
    ordered = {name: members[name] for name in PAYLOAD if name in members}
    return pack({"manifest.json": manifest, "manifest.sig": key.sign(manifest), **ordered})


def poisoned(**changed: bytes) -> bytes:
    """Signed by the trusted key, with some members replaced (`encoder_onnx=` for encoder.onnx)."""
    swaps = {name: changed[name.replace(".", "_")] for name in PAYLOAD if name.replace(".", "_") in changed}
    return signed({**tiny_members(), **swaps})


def repacked(**changed: bytes | None) -> bytes:
    """The good bundle's members, some replaced or left out, packed again without signing again."""
    kept = {name: changed.get(name.replace(".", "_"), data) for name, data in parts().items()}
    return pack({name: data for name, data in kept.items() if data is not None})


def zipped(compression: int = zipfile.ZIP_STORED, **changed: bytes) -> bytes:
    """The same members through the general zip writer."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in parts().items():
            archive.writestr(zipfile.ZipInfo(name), changed.get(name.replace(".", "_"), data), compression)
    return buffer.getvalue()


def duplicated() -> bytes:
    members = list(parts().items())
    body, directory, offset = b"", b"", 0
    for name, data in [*members[:3], members[2], *members[3:]]:
        entry = Entry(name, zlib.crc32(data), len(data))
        directory += entry.central(offset)
        body += entry.local() + data
        offset = len(body)
    count = len(members) + 1
    return body + directory + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(directory), len(body), 0)


def between(position: int, extra: bytes = b"hidden") -> bytes:
    """`extra` put in at `position` of the body, with the end record still pointing at the directory."""
    start = struct.unpack_from("<I", GOOD, len(GOOD) - 6)[0]
    data = bytearray(GOOD[:position] + extra + GOOD[position:])
    struct.pack_into("<I", data, len(data) - 6, start + len(extra))
    return bytes(data)


def directory_start() -> int:
    return int(struct.unpack_from("<I", GOOD, len(GOOD) - 6)[0])


def shifted_member() -> bytes:
    """Hidden bytes before the last member, with every offset put right."""
    name, last = list(parts().items())[-1]
    entry = Entry(name, zlib.crc32(last), len(last))
    start = directory_start()
    position = start - len(last) - len(entry.local())
    data = bytearray(between(position))
    struct.pack_into("<I", data, len(data) - 22 - len(entry.central(0)) + 42, position + len(b"hidden"))
    return bytes(data)


def directory_field(name: str, offset: int, value: bytes) -> bytes:
    """The good bundle with some bytes of one directory entry replaced."""
    data = bytearray(GOOD)
    place = data.index(name.encode(), directory_start()) - 46 + offset
    data[place : place + len(value)] = value
    return bytes(data)


def many_members() -> bytes:
    return GOOD[: len(GOOD) - 14] + struct.pack("<HH", 60_000, 60_000) + GOOD[len(GOOD) - 10 :]


def renamed(old: str, new: str) -> bytes:
    return pack({new if name == old else name: data for name, data in parts().items()})


def with_comment() -> bytes:
    return GOOD[:-2] + struct.pack("<H", 6) + b"hidden"


def zip64() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in parts().items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as file:
                file.write(data)
    return buffer.getvalue()


def retyped(fields: dict[str, Any], key: str, value: object) -> None:
    *path, last = key.split(".")
    for step in path:
        fields = fields[step]
    fields[last] = value


def field(key: str, value: object) -> Callable[[], bytes]:
    """A trusted maker's bundle with one wrong value in the manifest."""
    return lambda: signed(edit=lambda fields: retyped(fields, key, value))


# Name -> (builder, words of the refusal). Each is refused by `read_bundle` with KEYS.
ATTACKS: dict[str, tuple[Callable[[], bytes], str]] = {
    # The file
    "empty": (lambda: b"", "is empty"),
    "gzip": (lambda: b"\x1f\x8b\x08\x00" + bytes(64), "a gzip file"),
    "lfs_pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "web_page": (lambda: b"<!doctype html><title>404</title>", "web page"),
    "text": (lambda: b"hello", "is not a bundle"),
    "truncated_half": (lambda: GOOD[: len(GOOD) // 2], "is truncated"),
    "truncated_one_byte": (lambda: GOOD[:-1], "is truncated"),
    # The layout
    "foreign_zip": (lambda: pack({"word/document.xml": b"<w/>"}), "a member that no bundle has"),
    "renamed_member": (lambda: renamed("grips.toml", "grops.toml"), "a member that no bundle has"),
    "exchanged_names": (lambda: renamed("encoder.onnx", "encoder.tflite"), "lacks members"),
    "path_traversal": (lambda: renamed("MODEL_CARD.md", "../../etc/passwd"), "a member that no bundle has"),
    "absolute_path": (lambda: renamed("MODEL_CARD.md", "/etc/passwd"), "a member that no bundle has"),
    "backslash_path": (lambda: renamed("MODEL_CARD.md", "..\\MODEL_CARD.md"), "a member that no bundle has"),
    "terminal_escape": (lambda: renamed("MODEL_CARD.md", "\x1b[2J"), "a member that no bundle has"),
    "duplicate_member": (duplicated, "is there twice"),
    "reordered": (lambda: pack(dict(reversed(parts().items()))), "out of order"),
    "member_missing": (lambda: repacked(golden_safetensors=None), "no golden.safetensors"),
    "signature_missing": (lambda: repacked(manifest_sig=None), "no manifest.sig"),
    "compressed": (lambda: zipped(zipfile.ZIP_DEFLATED), "is compressed"),
    "zip_bomb": (lambda: zipped(zipfile.ZIP_DEFLATED, MODEL_CARD_md=bytes(50_000_000)), "is compressed"),
    "plain_zip_writer": (zipped, "not one that a bundle has"),
    "zip64": (zip64, "not one that a bundle has"),
    "encrypted": (lambda: directory_field("grips.toml", 8, b"\x01\x00"), "is encrypted"),
    "oversized_claim": (lambda: directory_field("encoder.onnx", 24, b"\xfe\xff\xff\xff"), "is too large"),
    "zip64_marker": (lambda: directory_field("encoder.onnx", 20, b"\xff\xff\xff\xff"), "not one that a bundle has"),
    "larger_than_file": (
        lambda: directory_field("MODEL_CARD.md", 20, struct.pack("<II", 1_000_000, 1_000_000)),
        "is cut off",
    ),
    "executable_bit": (lambda: directory_field("MODEL_CARD.md", 38, b"\x00\x00\xed\x81"), "not one that a bundle has"),
    "many_members": (many_members, "wrong number of members"),
    "directory_elsewhere": (lambda: GOOD[:-6] + struct.pack("<IH", 0, 0), "belong to nothing"),
    "local_header_lies": (
        lambda: GOOD.replace(b"encoder.onnx" + TINY_ONNX, b"encoder.exec" + TINY_ONNX),
        "contradicts the directory",
    ),
    "prepended": (lambda: b"#!/bin/sh\n" + GOOD, "is not a bundle"),
    "prepended_member": (lambda: between(0, Entry("x", 0, 0).local()), "contradicts the directory"),
    "appended": (lambda: GOOD + b"hidden", "bytes after its end"),
    "comment": (with_comment, "bytes after its end"),
    "hidden_between": (shifted_member, "hidden bytes before the member"),
    "hidden_before_directory": (lambda: between(directory_start()), "belong to no member"),
    "hidden_in_directory": (
        lambda: (
            GOOD[:-22] + b"hidden" + GOOD[-22:-10] + struct.pack("<I", len(GOOD) - 16 - directory_start()) + GOOD[-6:]
        ),
        "belong to no member",
    ),
    "directory_cut_off": (lambda: GOOD[:-14] + struct.pack("<HH", 10, 10) + GOOD[-10:], "a directory that is cut off"),
    # The signature
    "untrusted_key": (lambda: signed(key=STRANGER), "no trusted key signed"),
    "signature_of_another": (
        lambda: repacked(manifest_sig=KEY.sign(canonical({"schema": 1}))),
        "no trusted key signed",
    ),
    "signature_short": (lambda: repacked(manifest_sig=bytes(63)), "no trusted key signed"),
    "signature_empty": (lambda: repacked(manifest_sig=b""), "no trusted key signed"),
    "signature_zero": (lambda: repacked(manifest_sig=bytes(64)), "no trusted key signed"),
    "manifest_edited": (
        lambda: repacked(manifest_json=parts()["manifest.json"].replace(b'"power":0.8', b'"power":0.1')),
        "no trusted key signed",
    ),
    "manifest_empty": (lambda: repacked(manifest_json=b""), "no trusted key signed"),
    "key_id_of_another": (field("key_id", key_id(STRANGER.public_key())), "names another key"),
    # The manifest, signed by the trusted key
    "schema_downgraded": (field("schema", 0), "another schema"),
    "schema_unknown": (field("schema", 2), "another schema"),
    "schema_true": (field("schema", True), "another schema"),
    "not_json": (lambda: signed(text=lambda _: b"\x80\x04pickle"), "is not JSON"),
    "not_an_object": (lambda: signed(text=lambda _: b"[]"), "is not a table"),
    "deep_json": (lambda: signed(text=lambda _: b"[" * 100_000), "is not JSON"),
    "huge_integer": (lambda: signed(text=lambda _: b'{"schema":' + b"9" * 5000 + b"}"), "is not JSON"),
    "not_canonical": (lambda: signed(text=lambda data: data.replace(b",", b", ", 1)), "is not canonical"),
    "key_twice": (lambda: signed(text=lambda data: b'{"schema":1,' + data[1:]), "is not canonical"),
    "nan_metric": (field("metrics.retrieval.r_at_1", float("nan")), "not a finite number"),
    "infinite_metric": (lambda: signed(text=lambda data: data.replace(b":0.5}", b":1e999}")), "is not JSON"),
    "misspelt_field": (lambda: signed(edit=lambda fields: fields.update(hop_mss=25)), "'hop_ms', the nearest"),
    "missing_field": (lambda: signed(edit=lambda fields: fields.pop("hop_ms")), "'hop_ms' is missing"),
    "escape_in_name": (field("encoder_id", "\x1b]0;owned\x07"), "printable text"),
    "path_in_name": (field("name", "../tiny"), "name"),
    "boolean_threshold": (field("operating_point.votes", True), "operating_point.votes"),
    "unstable_filter": (field("filter.sections", [[1.0, 0.0, 0.0, 1.0, 0.0, 1.5]]), "stable section"),
    "member_unlisted": (lambda: signed(edit=lambda fields: fields["members"].pop("grips.toml")), "lists other members"),
    # The members
    "member_swapped": (lambda: repacked(grips_toml=b'[open]\ngrip = "power"\n'), "not the member that was signed"),
    "member_grown": (
        lambda: repacked(MODEL_CARD_md=parts()["MODEL_CARD.md"] + b"\n"),
        "not the member that was signed",
    ),
    "external_data": (lambda: poisoned(encoder_onnx=external_data()), "reads its weights from another file"),
    "external_location": (lambda: poisoned(encoder_onnx=location_alone()), "reads its weights from another file"),
    "external_in_branch": (
        lambda: poisoned(encoder_onnx=external_in_attribute()),
        "reads its weights from another file",
    ),
    "foreign_opset": (lambda: poisoned(encoder_onnx=foreign_opset()), "com.microsoft"),
    "foreign_node": (lambda: poisoned(encoder_onnx=foreign_node()), "evil.ops"),
    "local_function": (lambda: poisoned(encoder_onnx=local_function()), "a part that is not allowed"),
    "nested_graph": (lambda: poisoned(encoder_onnx=nested_graph()), "nests too deep"),
    "onnx_truncated": (lambda: poisoned(encoder_onnx=TINY_ONNX[:-5]), "is not an ONNX model"),
    "onnx_empty": (lambda: poisoned(encoder_onnx=b""), "is not an ONNX model"),
    "onnx_is_pickle": (lambda: poisoned(encoder_onnx=pickle.dumps({"a": 1})), "encoder.onnx"),
    "tflite_is_text": (lambda: poisoned(encoder_tflite=b"not a model"), "is not a TFLite model"),
    "tflite_is_a_mark": (lambda: poisoned(encoder_tflite=b"\x1c\0\0\0TFL3" + bytes(64)), "is not a TFLite model"),
    "tensor_header_claim": (
        lambda: poisoned(encoder_safetensors=struct.pack("<Q", 1 << 60) + b"{}"),
        "claims a tensor header",
    ),
    "tensor_header_huge": (
        lambda: poisoned(encoder_safetensors=struct.pack("<Q", 2_000_000) + b" " * 2_000_000),
        "claims a tensor header",
    ),
    "tensor_overlap": (
        lambda: poisoned(encoder_safetensors=tensors(a=(1.0,), b=(2.0,)).replace(b"[4,8]", b"[0,4]")),
        "holds damaged tensors",
    ),
    "tensors_are_pickle": (lambda: poisoned(golden_safetensors=pickle.dumps([1])), "claims a tensor header"),
    "grips_broken": (lambda: poisoned(grips_toml=b"[close"), "cannot be read"),
    "texts_not_utf8": (lambda: poisoned(descriptions_txt=b"\xff\xfe"), "cannot be read"),
}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "good.myosem").write_bytes(GOOD)
    for name, (build, _) in ATTACKS.items():
        (folder / f"{name}.myosem").write_bytes(build())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
