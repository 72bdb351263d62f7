"""The bundle: the one signed file between the training side and the board.

A bundle is a zip of the exact layout in `myosem_edge.archive`. Reading goes from the outside in, and nothing is given
to a parser before the check ahead of it has passed: size of the file, layout and caps, signature over the exact bytes
of the manifest, the manifest itself, size and sha256 of every member, then what is inside the graph, the tensors and
the texts. Nothing is unpacked to disk, unpickled or executed.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from myosem_edge.archive import pack, unpack
from myosem_edge.errors import BundleError, MyosemError
from myosem_edge.files import write_atomic
from myosem_edge.keys import TrustedKey, key_id, trusted_keys
from myosem_edge.manifest import Manifest, Member
from myosem_edge.onnx_scan import scan_onnx
from myosem_edge.tflite_scan import scan_tflite

KIB, MIB = 1024, 1024 * 1024
FILE_CAP = 64 * MIB
SIGNATURE_SIZE = 64  # bytes of an ed25519 signature
TENSOR_HEADER_CAP = MIB

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
# Largest size of each member in bytes, in the order in which they lie in the file.
CAPS = {
    MANIFEST: 256 * KIB,
    SIGNATURE: SIGNATURE_SIZE,
    "encoder.onnx": 24 * MIB,
    "encoder.tflite": 24 * MIB,
    "encoder.safetensors": 24 * MIB,
    "descriptions.safetensors": 16 * MIB,
    "descriptions.txt": 4 * MIB,
    "grips.toml": 256 * KIB,
    "golden.safetensors": 16 * MIB,
    "MODEL_CARD.md": MIB,
}
OPTIONAL = ("encoder.tflite",)
PAYLOAD = tuple(name for name in CAPS if name not in (MANIFEST, SIGNATURE))
REQUIRED = tuple(name for name in PAYLOAD if name not in OPTIONAL)

# What is checked, in this order. The last one needs an encoder and is supplied by the caller of `verify_bundle`.
STEPS = ("file", "layout", "signature", "manifest", "members", "contents")
GOLDEN = "golden vectors"


@dataclass(frozen=True)
class Check:
    """One thing that was checked about a bundle."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Bundle:
    """A bundle that passed every check, in memory. `sha256` is that of the whole file."""

    manifest: Manifest
    sha256: str
    key_name: str
    is_dev: bool  # signed by a development key: emulated hands only
    members: Mapping[str, bytes]

    def member(self, name: str) -> bytes:
        """The bytes of one member.

        Raises:
            BundleError: the bundle has no such member.
        """
        if name not in self.members:
            raise BundleError(
                f"the bundle has no {name}", where=self.manifest.file_name, found=f"members {', '.join(self.members)}"
            )
        return self.members[name]


@dataclass(frozen=True)
class Inspection:
    """What a whole but perhaps untrusted bundle says of itself. It holds no members, so nothing can be run from it.

    `distrust` is None where a trusted key signed the bundle, else the reason in one sentence.
    """

    manifest: Manifest
    sha256: str
    size: int
    key_name: str | None
    is_dev: bool
    distrust: str | None


def write_bundle(
    path: Path | str, manifest: Manifest, members: Mapping[str, bytes], private_key: Ed25519PrivateKey
) -> str:
    """Sign and write a bundle; returns its sha256. The same inputs give the same bytes.

    `members` are all but `manifest.json` and `manifest.sig`; the manifest's `members` and `key_id` are filled in here.

    Raises:
        BundleError: `read_bundle` would refuse the result; nothing was written.
        StorageError: the file cannot be written; what was there before is untouched.
    """
    path = Path(path)
    for name in members:
        if name not in PAYLOAD:
            raise BundleError(f"{name!a} is no member of a bundle", where=path, expected=f"one of {', '.join(PAYLOAD)}")
    public = private_key.public_key()
    payload = {name: bytes(members[name]) for name in PAYLOAD if name in members}
    filled = replace(
        manifest,
        members={name: Member(hashlib.sha256(data).hexdigest(), len(data)) for name, data in payload.items()},
        key_id=key_id(public),
    )
    signed = filled.to_bytes()
    data = pack({MANIFEST: signed, SIGNATURE: private_key.sign(signed), **payload})
    if len(data) > FILE_CAP:
        raise _too_large(path, len(data))
    _read(data, path, {filled.key_id: TrustedKey("the signer", public, False)}, _ignore)
    write_atomic(path, data)
    return hashlib.sha256(data).hexdigest()


def read_bundle(path: Path | str, keys: Mapping[str, TrustedKey]) -> Bundle:
    """Read a bundle signed by one of `keys` (as `trusted_keys()` returns them).

    Raises:
        BundleError: any check fails; the message says what, where, found and expected.
    """
    return _read(_load(Path(path)), path, keys, _ignore)


def bundle_from(path: Path | str) -> Bundle:
    """`read_bundle` with the keys that this machine trusts."""
    return read_bundle(path, trusted_keys())


def verify_bundle(
    path: Path | str, keys: Mapping[str, TrustedKey], golden: Callable[[Bundle], Check] | None = None
) -> list[Check]:
    """Every check in order, up to and including the first that fails. `golden` runs the golden vectors, last."""
    passed: list[Check] = []

    def note(step: str, detail: str) -> None:
        passed.append(Check(step, True, detail))

    try:
        data = _load(Path(path))
        note("file", f"{len(data)} bytes, at most {FILE_CAP}")
        bundle = _read(data, path, keys, note)
    except BundleError as error:
        return [*passed, Check(STEPS[len(passed)], False, str(error))]
    if golden is None:
        return passed
    try:
        return [*passed, golden(bundle)]
    except MyosemError as error:
        return [*passed, Check(GOLDEN, False, str(error))]


def inspect_bundle(path: Path | str, keys: Mapping[str, TrustedKey]) -> Inspection:
    """What a bundle says of itself, whoever signed it. Damage is still refused.

    Raises:
        BundleError: the file is not a whole bundle.
    """
    data = _load(Path(path))
    parts = unpack(data, CAPS, path)
    _require(parts, path)
    signer = _signer(parts, keys)
    manifest = Manifest.from_bytes(bytes(parts[MANIFEST]), _inside(path, MANIFEST))
    _check_members(parts, manifest, path)
    distrust = None
    if signer is None and manifest.key_id in keys:
        distrust = f"it names the trusted key {keys[manifest.key_id].name}, which did not sign this manifest"
    elif signer is None:
        distrust = f"no trusted key signed it; it names the unknown key {manifest.key_id}"
    elif keys.get(manifest.key_id) != signer:
        distrust = f"{signer.name} signed it, but it names the key {manifest.key_id}"
    return Inspection(
        manifest=manifest,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        key_name=signer.name if signer is not None else None,
        is_dev=signer is not None and signer.is_dev,
        distrust=distrust,
    )


def _load(path: Path) -> bytes:
    """The whole file, after its kind and size were checked on the open descriptor."""
    try:
        # Non-blocking, so that a named pipe is refused instead of waited for.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
                raise BundleError(f"is {kind}", where=path, expected="a .myosem bundle")
            if status.st_size > FILE_CAP:
                raise _too_large(path, status.st_size)
            with os.fdopen(handle, "rb", closefd=False) as file:
                data = file.read(status.st_size + 1)
        finally:
            os.close(handle)
    except FileNotFoundError:
        raise BundleError("no such file", where=path, expected="a .myosem bundle") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise BundleError(f"cannot be read: {error}", where=path) from error
    if len(data) != status.st_size:
        raise BundleError("changed while it was read", where=path, todo="Wait until it is written, then try again")
    return data


def _read(data: bytes, path: Path | str, keys: Mapping[str, TrustedKey], note: Callable[[str, str], None]) -> Bundle:
    parts = unpack(data, CAPS, path)
    _require(parts, path)
    note("layout", f"{len(parts)} members, nothing hidden")

    signer = _signer(parts, keys)
    if signer is None:
        raise BundleError(
            "no trusted key signed this bundle, or its manifest was changed",
            where=path,
            found=f"trusted keys: {', '.join(sorted(key.name for key in keys.values())) or 'none'}",
            todo="Trust its maker's public key: myosem-edge keys trust FILE",
        )
    note(
        "signature", f"signed by {signer.name}" + (", a development key: emulated hands only" if signer.is_dev else "")
    )

    manifest = Manifest.from_bytes(bytes(parts[MANIFEST]), _inside(path, MANIFEST))
    if manifest.key_id != key_id(signer.public):
        raise BundleError(
            "names another key than the one that signed it",
            where=_inside(path, MANIFEST),
            found=manifest.key_id,
            expected=key_id(signer.public),
        )
    note("manifest", f"{manifest.name} {manifest.version}, {manifest.model} model, schema {manifest.schema}")

    _check_members(parts, manifest, path)
    note("members", f"size and sha256 of {len(manifest.members)} members")

    members = {name: bytes(parts[name]) for name in PAYLOAD if name in parts}
    _check_contents(members, path)
    note("contents", "graphs without external data or foreign operators, tensors and texts readable")
    return Bundle(manifest, hashlib.sha256(data).hexdigest(), signer.name, signer.is_dev, members)


def _too_large(path: Path | str, size: int) -> BundleError:
    return BundleError("too large for a bundle", where=path, found=f"{size} bytes", expected=f"at most {FILE_CAP}")


def _ignore(step: str, detail: str) -> None:
    """For callers that want the bundle, not the story."""


def _inside(path: Path | str, member: str) -> str:
    return f"{path}: {member}"


def _require(parts: Mapping[str, memoryview], path: Path | str) -> None:
    missing = [name for name in (MANIFEST, SIGNATURE, *REQUIRED) if name not in parts]
    if missing:
        raise BundleError("lacks members of a bundle", where=path, found=f"no {', '.join(missing)}")


def _signer(parts: Mapping[str, memoryview], keys: Mapping[str, TrustedKey]) -> TrustedKey | None:
    """The key whose signature this is. All are tried: which one it names is inside what is not yet trusted."""
    signature, signed = bytes(parts[SIGNATURE]), bytes(parts[MANIFEST])
    for key in keys.values():
        try:
            key.public.verify(signature, signed)
        except InvalidSignature:
            continue
        return key
    return None


def _check_members(parts: Mapping[str, memoryview], manifest: Manifest, path: Path | str) -> None:
    present = [name for name in PAYLOAD if name in parts]
    if sorted(manifest.members) != sorted(present):
        raise BundleError(
            "lists other members than the file holds",
            where=_inside(path, MANIFEST),
            found=", ".join(sorted(manifest.members)),
            expected=", ".join(sorted(present)),
        )
    for name in present:
        listed, part = manifest.members[name], parts[name]
        digest = hashlib.sha256(part).hexdigest()
        if len(part) != listed.size or digest != listed.sha256:
            raise BundleError(
                "is not the member that was signed",
                where=_inside(path, name),
                found=f"{len(part)} bytes, sha256 {digest}",
                expected=f"{listed.size} bytes, sha256 {listed.sha256}",
            )


def _check_contents(members: Mapping[str, bytes], path: Path | str) -> None:
    scan_onnx(members["encoder.onnx"], _inside(path, "encoder.onnx"))
    if "encoder.tflite" in members:
        scan_tflite(members["encoder.tflite"], _inside(path, "encoder.tflite"))
    for name in members:
        if name.endswith(".safetensors"):
            _check_tensors(members[name], _inside(path, name))
    for name in ("descriptions.txt", "grips.toml", "MODEL_CARD.md"):
        try:
            text = members[name].decode("utf-8")
            if name == "grips.toml":
                tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError("cannot be read", where=_inside(path, name), found=str(error)) from error


def _check_tensors(data: bytes, where: str) -> None:
    """Header within its cap, every tensor inside the buffer without holes (https://github.com/huggingface/safetensors)."""
    from safetensors import SafetensorError, deserialize  # listing a bundle must not wait for it

    header_size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or header_size > min(TENSOR_HEADER_CAP, len(data) - 8):
        raise BundleError(
            "claims a tensor header that cannot be",
            where=where,
            found=f"{header_size} bytes",
            expected=f"at most {min(TENSOR_HEADER_CAP, max(len(data) - 8, 0))}",
        )
    try:
        deserialize(data)
    except SafetensorError as error:
        raise BundleError("holds damaged tensors", where=where, found=str(error)) from error
