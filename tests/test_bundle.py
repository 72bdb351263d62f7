"""A bundle: the same inputs give the same bytes, what was written is read back, and everything else has a sentence."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "attacks"))

import bundle_forge as forge

from myosem_edge import bundle as bundle_module
from myosem_edge.archive import pack, unpack
from myosem_edge.bundle import (
    GOLDEN,
    STEPS,
    Bundle,
    Check,
    bundle_from,
    inspect_bundle,
    read_bundle,
    verify_bundle,
    write_bundle,
)
from myosem_edge.errors import BundleError, DeviceError, StorageError
from myosem_edge.keys import TrustedKey, key_id, trust

# If either changes by one bit, boards in the field stop reading new bundles: raise the schema, never edit in passing.
GOLDEN_SHA256 = "b76026cfd6fca881cec3d33c7b86cfe025da6348e22ae711e02a1b60797b279e"
GOLDEN_MANIFEST = (
    b'{"descriptions":2,"encoder_id":"all-MiniLM-L6-v2","filter":{"frame_samples":5,"sections":[[0.5,0.0,-'
    b'0.5,1.0,-0.9,0.5]]},"front_ends":["myo"],"hop_ms":25.0,"key_id":"56475aa75463474c","members":{"MODEL'
    b'_CARD.md":{"sha256":"5983a5abae062260de588bfeaa0aab9f8c010c16ff42a350f68e3a219672b286","size":28},"d'
    b'escriptions.safetensors":{"sha256":"44c145df1d1d2e497a08edc2f4cdb5572ed14e639244695c94f72105e360471c'
    b'","size":88},"descriptions.txt":{"sha256":"4e1c9edbc2e2967aa7320dd590a81969be4694d16c61455855ccfe71b'
    b'77768ea","size":35},"encoder.onnx":{"sha256":"983ee1314033bc31897541657d850ee5c5d92908b08af633175d7b'
    b'61be51c81f","size":86},"encoder.safetensors":{"sha256":"37c0d02b9807639337a4bf7220cfbfc7b191a9442a57'
    b'7644ed75c105264fc978","size":72},"golden.safetensors":{"sha256":"2def8e77a425257ab991cc949085a72624c'
    b'd32792255e21c9ca42f04b3725e1e","size":144},"grips.toml":{"sha256":"d8e1f0434ad3629fcd2e6ac3e04ac7549'
    b'13daa46ecd1ed824bcdc8416cbb037d","size":44}},"metrics":{"measured_on":"nothing real","retrieval":{"g'
    b'allery":12,"r_at_1":0.5}},"model":"shipped","montage":{"channels":8,"device":"myo","layout":"ring","'
    b'prefiltered":"50 Hz notch in the armband","rate_hz":200.0,"unit":"counts"},"name":"tiny","operating_'
    b'point":{"smoothing":0.6,"thresholds":{"open":0.55,"power":0.8},"votes":3},"quantisation":{"activatio'
    b'ns":"int8","scheme":"int8 QDQ","weights":"int8"},"schema":1,"sizes":{"h":2,"log_features":8,"z":2},"'
    b'texts_sha256":"abababababababababababababababababababababababababababababababab","tolerance":{"cosin'
    b'e_min":0.999,"equal_decisions_min":0.999},"tool_version":"0.1.0","version":"1.2.0","window_ms":400.0'
    b"}"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny-1.2.0.myosem"
    write_bundle(path, forge.tiny_manifest(), forge.tiny_members(), forge.KEY)
    return path


def test_golden_bytes(file: Path) -> None:
    data = file.read_bytes()
    assert forge.parts()["manifest.json"] == GOLDEN_MANIFEST
    assert data[:30] == bytes.fromhex("504b0304140000000000000021006f5ab55b") + data[18:26] + b"\x0d\x00\x00\x00"
    assert hashlib.sha256(data).hexdigest() == GOLDEN_SHA256


def test_the_returned_hash_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.myosem"
    digest = write_bundle(path, forge.tiny_manifest(), forge.tiny_members(), forge.KEY)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest() == read_bundle(path, forge.KEYS).sha256


def test_same_inputs_same_bytes_whatever_the_order_and_the_kind_of_number(tmp_path: Path, file: Path) -> None:
    members = dict(reversed(forge.tiny_members().items()))
    manifest = forge.tiny_manifest()
    montage = replace(manifest.montage, rate_hz=200)
    manifest = replace(manifest, montage=montage, hop_ms=np.float64(25.0), window_ms=400, front_ends=["myo"])  # type: ignore[arg-type]
    write_bundle(tmp_path / "again.myosem", manifest, members, forge.KEY)
    assert (tmp_path / "again.myosem").read_bytes() == file.read_bytes()


def test_what_was_written_is_read_back(file: Path) -> None:
    bundle = read_bundle(file, forge.KEYS)
    assert (bundle.key_name, bundle.is_dev) == ("factory", False)
    assert {name: bundle.member(name) for name in bundle.members} == forge.tiny_members()
    assert replace(bundle.manifest, members={}, key_id="") == forge.tiny_manifest()
    assert bundle.manifest.file_name == file.name
    assert bundle.manifest.key_id == key_id(forge.KEY.public_key())
    assert bundle.manifest.members["grips.toml"].size == len(forge.tiny_members()["grips.toml"])


def test_an_optional_member_travels_too(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="the [train] extra is not installed")
    from tflite_forge import tiny_tflite

    model = tiny_tflite()
    write_bundle(
        tmp_path / "a.myosem", forge.tiny_manifest(), {**forge.tiny_members(), "encoder.tflite": model}, forge.KEY
    )
    assert read_bundle(tmp_path / "a.myosem", forge.KEYS).member("encoder.tflite") == model


def test_an_absent_member_is_named(file: Path) -> None:
    with pytest.raises(BundleError, match=r"tiny-1.2.0.myosem: the bundle has no encoder.tflite"):
        read_bundle(file, forge.KEYS).member("encoder.tflite")


def test_a_bundle_cannot_be_changed_after_it_was_checked(file: Path) -> None:
    bundle = read_bundle(file, forge.KEYS)
    with pytest.raises(FrozenInstanceError):
        bundle.is_dev = False  # type: ignore[misc]


def test_the_fixture_graph_is_a_valid_onnx_model() -> None:
    onnx.checker.check_model(onnx.load_from_string(forge.TINY_ONNX))


def test_any_zip_program_can_open_it(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == list(forge.parts())
        assert archive.read("grips.toml") == forge.tiny_members()["grips.toml"]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_openssl_style_verification_needs_no_code_of_ours(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        forge.KEY.public_key().verify(archive.read("manifest.sig"), archive.read("manifest.json"))


def test_nothing_is_written_next_to_a_bundle_that_is_read(file: Path) -> None:
    before = set(file.parent.iterdir())
    read_bundle(file, forge.KEYS)
    assert set(file.parent.iterdir()) == before


@given(
    contents=st.lists(st.binary(max_size=50), min_size=1, max_size=4),
)
def test_pack_and_unpack_are_inverse(contents: list[bytes]) -> None:
    members = {f"m{place}": data for place, data in enumerate(contents)}
    caps = {f"m{place}": 50 for place in range(5)}
    data = pack(members)
    assert {name: bytes(view) for name, view in unpack(data, caps, "x").items()} == members


def test_a_member_may_be_as_large_as_its_cap_and_not_larger() -> None:
    assert unpack(pack({"a": bytes(10)}), {"a": 10}, "x")["a"] == bytes(10)
    with pytest.raises(BundleError, match=r"member a is too large \(found 11 bytes, expected at most 10\)"):
        unpack(pack({"a": bytes(11)}), {"a": 10}, "x")


# Keys


def test_development_key_is_marked(file: Path) -> None:
    keys = {key_id(forge.KEY.public_key()): TrustedKey("dev", forge.KEY.public_key(), True)}
    assert read_bundle(file, keys).is_dev
    assert "emulated hands only" in [check.detail for check in verify_bundle(file, keys)][2]


def test_the_right_key_is_found_among_several(file: Path) -> None:
    other = forge.STRANGER.public_key()
    keys = {key_id(other): TrustedKey("other", other, True), **forge.KEYS}
    assert (read_bundle(file, keys).key_name, read_bundle(file, keys).is_dev) == ("factory", False)


def test_without_trusted_keys_nothing_is_accepted_and_the_message_says_so(file: Path) -> None:
    with pytest.raises(BundleError, match=r"trusted keys: none.*myosem-edge keys trust FILE"):
        read_bundle(file, {})


def test_bundle_from_uses_the_keys_of_this_machine(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYOSEM_HOME", str(tmp_path / "home"))
    with pytest.raises(BundleError, match="no trusted key"):
        bundle_from(file)
    raw = tmp_path / "maker.pub"
    raw.write_text(forge.KEY.public_key().public_bytes_raw().hex())
    trust(raw)
    assert bundle_from(file).key_name == "maker"


# What is not a bundle


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such file"):
        read_bundle(tmp_path / "none.myosem", forge.KEYS)


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is a folder"):
        read_bundle(tmp_path, forge.KEYS)


def test_named_pipe_is_refused_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.myosem")
    with pytest.raises(BundleError, match="is no regular file"):
        read_bundle(tmp_path / "pipe.myosem", forge.KEYS)


def test_a_path_that_cannot_be_one() -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle("a\x00b", forge.KEYS)


def test_a_file_that_grows_while_it_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fstat

    def shorter(handle: int) -> os.stat_result:
        status = list(real(handle))
        status[6] -= 1
        return os.stat_result(status)

    monkeypatch.setattr(bundle_module.os, "fstat", shorter)
    with pytest.raises(BundleError, match="changed while it was read"):
        read_bundle(file, forge.KEYS)


def test_reading_leaves_no_descriptor_open(file: Path, tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in (file, tmp_path, tmp_path / "none"):
        tried(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def tried(path: Path) -> Bundle | None:
    try:
        return read_bundle(path, forge.KEYS)
    except BundleError:
        return None


# verify and inspect


def test_verify_lists_every_check_of_a_good_bundle(file: Path) -> None:
    checks = verify_bundle(file, forge.KEYS)
    assert [check.name for check in checks] == list(STEPS)
    assert all(check.ok and check.detail for check in checks)


@pytest.mark.parametrize(
    ("attack", "fails_at"),
    [
        ("truncated_half", "layout"),
        ("untrusted_key", "signature"),
        ("schema_unknown", "manifest"),
        ("member_swapped", "members"),
        ("external_data", "contents"),
    ],
)
def test_verify_stops_at_the_first_failure_and_keeps_what_passed(attack: str, fails_at: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.myosem"
    path.write_bytes(forge.ATTACKS[attack][0]())
    checks = verify_bundle(path, forge.KEYS, golden=never)
    assert [check.name for check in checks] == list(STEPS[: STEPS.index(fails_at) + 1])
    assert [check.ok for check in checks] == [True] * (len(checks) - 1) + [False]


def never(bundle: Bundle) -> Check:
    raise AssertionError("golden vectors of a bundle that did not pass")


def test_verify_runs_the_golden_vectors_last(file: Path) -> None:
    def golden(bundle: Bundle) -> Check:
        return Check(GOLDEN, False, f"cosine too small for {bundle.manifest.name}")

    assert verify_bundle(file, forge.KEYS, golden)[-1] == Check(GOLDEN, False, "cosine too small for tiny")


def test_a_golden_run_that_cannot_be_made_is_a_failure(file: Path) -> None:
    def golden(bundle: Bundle) -> Check:
        raise DeviceError("no encoder runtime here")

    assert verify_bundle(file, forge.KEYS, golden)[-1] == Check(GOLDEN, False, "no encoder runtime here")


def test_verify_of_a_missing_file(tmp_path: Path) -> None:
    (check,) = verify_bundle(tmp_path / "none.myosem", forge.KEYS)
    assert (check.name, check.ok) == ("file", False)


def test_inspect_of_a_trusted_bundle(file: Path) -> None:
    found = inspect_bundle(file, forge.KEYS)
    assert (found.distrust, found.key_name, found.is_dev) == (None, "factory", False)
    assert (found.size, found.sha256) == (file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())


def test_inspect_says_why_it_does_not_trust(file: Path, tmp_path: Path) -> None:
    unknown = inspect_bundle(file, {})
    assert unknown.key_name is None
    assert unknown.distrust == f"no trusted key signed it; it names the unknown key {key_id(forge.KEY.public_key())}"

    edited = tmp_path / "edited.myosem"
    edited.write_bytes(forge.ATTACKS["manifest_edited"][0]())
    assert "names the trusted key factory, which did not sign" in str(inspect_bundle(edited, forge.KEYS).distrust)

    edited.write_bytes(forge.ATTACKS["key_id_of_another"][0]())
    assert "factory signed it, but it names the key" in str(inspect_bundle(edited, forge.KEYS).distrust)


# Writing


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"encoder.onnx": forge.external_data()}, "another file"),
        ({"encoder.onnx": forge.foreign_node()}, "another library"),
        ({"grips.toml": b"= broken"}, "grips.toml: cannot be read"),
        ({"golden.safetensors": b""}, "claims a tensor header"),
        ({"MODEL_CARD.md": bytes(2_000_000)}, "MODEL_CARD.md is too large"),
        ({"encoder.pkl": b""}, "'encoder.pkl' is no member of a bundle"),
        ({"manifest.sig": bytes(64)}, "'manifest.sig' is no member of a bundle"),
    ],
)
def test_a_bundle_that_could_not_be_read_is_not_written(changed: dict[str, bytes], words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.myosem"
    with pytest.raises(BundleError, match=words):
        write_bundle(path, forge.tiny_manifest(), {**forge.tiny_members(), **changed}, forge.KEY)
    assert not list(tmp_path.iterdir())


def test_a_missing_member_is_not_written_around(tmp_path: Path) -> None:
    members = forge.tiny_members()
    del members["grips.toml"]
    with pytest.raises(BundleError, match=r"lacks members of a bundle \(found no grips.toml\)"):
        write_bundle(tmp_path / "a.myosem", forge.tiny_manifest(), members, forge.KEY)


def test_too_large_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_module, "FILE_CAP", 1000)
    with pytest.raises(BundleError, match="too large for a bundle"):
        write_bundle(tmp_path / "a.myosem", forge.tiny_manifest(), forge.tiny_members(), forge.KEY)


def test_disk_full_leaves_the_old_bundle(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        write_bundle(file, replace(forge.tiny_manifest(), version="2.0.0"), forge.tiny_members(), forge.KEY)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_killed_while_writing_leaves_the_old_bundle(file: Path) -> None:
    before = file.read_bytes()
    program = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[2]); import bundle_forge as forge;"
        "from myosem_edge.bundle import write_bundle; from dataclasses import replace;"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL);"
        "write_bundle(sys.argv[1], replace(forge.tiny_manifest(), version='2.0.0'), forge.tiny_members(), forge.KEY)"
    )
    folder = str(Path(__file__).parent / "attacks")
    # The forge itself writes a bundle when it is imported, before fsync is replaced.
    done = subprocess.run([sys.executable, "-c", program, str(file), folder], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert file.read_bytes() == before
    assert read_bundle(file, forge.KEYS).manifest.version == "1.2.0"
