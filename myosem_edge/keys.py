"""The ed25519 keys that sign bundles, and the ones this machine trusts.

`$MYOSEM_HOME/keys/<name>.pem` holds private keys (mode 0600), `$MYOSEM_HOME/keys.d/<name>.pub` the trusted public keys,
one per file, as PEM or as 64 hexadecimal digits. A key called `dev` or `dev-something` is for emulated hands only.
Names are lower case, so that no spelling of `dev` slips past that rule.
"""

from __future__ import annotations

import hashlib
import re
import stat
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from myosem_edge.errors import InputError, RefusedError, StorageError
from myosem_edge.files import user_folder, write_atomic

DEV_KEY = "dev"
UNREADABLE = (ValueError, UnsupportedAlgorithm, InternalError)  # what damaged PEM makes cryptography raise
KEY_FILE_CAP = 16 * 1024  # bytes; an ed25519 PEM file has 119
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
HEX = re.compile(r"[0-9a-fA-F]{64}")


class TrustedKey(NamedTuple):
    """A public key that this machine accepts; `is_dev` keys drive emulated hands only."""

    name: str
    public: Ed25519PublicKey
    is_dev: bool


def private_path(name: str) -> Path:
    """Where a private key lies, there or not.

    Raises:
        InputError: not a name for a key.
        StorageError: the user's folder can hold no keys.
    """
    return _home() / "keys" / f"{_checked_name(name)}.pem"


def public_path(name: str) -> Path:
    return trust_folder() / f"{_checked_name(name)}.pub"


def trust_folder() -> Path:
    return _home() / "keys.d"


def is_dev_name(name: str) -> bool:
    return name == DEV_KEY or name.startswith(f"{DEV_KEY}-")


def key_id(public: Ed25519PublicKey) -> str:
    """First 16 hexadecimal digits of the sha256 of the 32 raw bytes."""
    return hashlib.sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def new_key(name: str) -> Ed25519PrivateKey:
    """Make a key pair, keep the private half, trust the public half.

    Raises:
        RefusedError: a key of that name exists already; keys are never overwritten.
        StorageError: the folder cannot be written.
    """
    for path in (private_path(name), public_path(name)):
        if path.exists():
            raise RefusedError(f"a key called {name} exists already", where=path, todo="Choose another name")
    private = Ed25519PrivateKey.generate()
    folder = private_path(name).parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot be made: {error.strerror}", where=folder, todo="Set MYOSEM_HOME to a folder of your own"
        ) from error
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_atomic(private_path(name), pem, mode=0o600)
    _write_public(name, private.public_key())
    return private


def ensure_dev_key() -> Ed25519PrivateKey:
    """The development key of this machine, made and trusted on first use."""
    if not private_path(DEV_KEY).exists():
        return new_key(DEV_KEY)
    private = load_private(DEV_KEY)
    if not public_path(DEV_KEY).exists():
        _write_public(DEV_KEY, private.public_key())
    return private


def load_private(name: str) -> Ed25519PrivateKey:
    """Read a private key of this machine.

    Raises:
        InputError: no such key, damaged, protected by a password, or of another kind.
        RefusedError: other users of this machine can read it.
    """
    path = private_path(name)
    if not path.exists():
        raise InputError(f"no private key called {name}", where=path, todo=f"Make one: myosem-edge keys new {name}")
    data = _read(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise RefusedError(
            "other users can read this private key",
            where=path,
            found=f"mode {mode:04o}",
            expected="0600",
            todo=f"chmod 600 {path}, and make a new key if the machine is shared",
        )
    return _parse_private(data, path)


def trusted_keys() -> dict[str, TrustedKey]:
    """Key id -> trusted key. No folder and an empty folder both mean that nothing is trusted.

    Raises:
        InputError: a file there is damaged, is not a public key, or repeats a key under a second name.
    """
    found: dict[str, TrustedKey] = {}
    for path in _public_files():
        name = _checked_name(path.stem, path)
        public = _parse_public(_read(path), path)
        identity = key_id(public)
        if identity in found:
            # Two names for one key would let a development key pass as another.
            raise InputError(
                f"the same key as {found[identity].name}.pub",
                where=path,
                expected="each key once",
                todo="Forget one of the two: myosem-edge keys forget NAME",
            )
        found[identity] = TrustedKey(name, public, is_dev_name(name))
    return found


def trust(file: Path | str, name: str | None = None) -> TrustedKey:
    """Trust the public key in `file` under `name`, by default the file's own; of a private key only the public half.

    Raises:
        InputError: the file cannot be read or holds no ed25519 key.
        RefusedError: the name is taken by another key, or the key is trusted under another name.
    """
    file = Path(file)
    name = _checked_name(file.stem if name is None else name, file)
    data = _read(file)
    public = _parse_private(data, file).public_key() if b"PRIVATE KEY" in data else _parse_public(data, file)
    known = trusted_keys()
    same = known.get(key_id(public))
    if same is not None and same.name != name:
        raise RefusedError(f"this key is trusted already, as {same.name}", where=file, todo="Forget that name first")
    if same is None and public_path(name).exists():
        raise RefusedError(
            f"another key called {name} is trusted", where=public_path(name), todo="Choose another --name"
        )
    _write_public(name, public)
    return TrustedKey(name, public, is_dev_name(name))


def forget(name: str) -> Path:
    """Stop trusting the key called `name`; a private key of that name stays where it is.

    Raises:
        InputError: no such key is trusted.
    """
    path = public_path(name)
    try:
        path.unlink()
    except FileNotFoundError:
        names = ", ".join(file.stem for file in _public_files()) or "none"
        raise InputError(f"no trusted key called {name}", where=trust_folder(), found=f"keys: {names}") from None
    except OSError as error:
        raise InputError(f"cannot be removed: {error.strerror}", where=path) from error
    return path


def _home() -> Path:
    """The user's folder. None yet is none yet; a file, or what nobody may enter, must not look like "no keys".

    Raises:
        StorageError: it is no folder, or cannot be looked into.
    """
    home, todo = user_folder(), "Set MYOSEM_HOME to a folder of your own"
    try:
        mode = home.stat().st_mode
    except FileNotFoundError:
        return home
    except OSError as error:
        raise StorageError(f"cannot be used: {error.strerror}", where=home, todo=todo) from error
    if not stat.S_ISDIR(mode):
        raise StorageError("is no folder", where=home, todo=todo)
    return home


def _public_files() -> list[Path]:
    try:
        return sorted(file for file in trust_folder().iterdir() if file.suffix == ".pub")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", where=trust_folder()) from error


def _write_public(name: str, public: Ed25519PublicKey) -> None:
    write_atomic(public_path(name), public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def _checked_name(name: str, where: object = None) -> str:
    if not NAME.fullmatch(name):
        raise InputError(
            "not a name for a key",
            where=where,
            found=ascii(name[:80]),
            expected="lower-case letters, digits, dot, dash or underscore, at most 63",
        )
    return name


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(KEY_FILE_CAP + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path, expected="a key file") from error
    if len(data) > KEY_FILE_CAP:
        raise InputError("too large for a key file", where=path, expected=f"at most {KEY_FILE_CAP} bytes")
    return data


def _parse_private(data: bytes, path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        raise InputError("the private key is protected by a password", where=path, expected="one without") from None
    except UNREADABLE:
        raise InputError("not a private key, or damaged", where=path, expected="an ed25519 key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("a key of another kind", where=path, found=type(key).__name__, expected="ed25519")
    return key


def _parse_public(data: bytes, path: Path) -> Ed25519PublicKey:
    text = data.decode("ascii", "replace").strip()
    if HEX.fullmatch(text):
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    try:
        key = load_pem_public_key(data)
    except UNREADABLE:
        raise InputError(
            "not a public key, or damaged",
            where=path,
            expected="an ed25519 key in PEM, or 64 hexadecimal digits",
            todo=f"Forget it: myosem-edge keys forget {path.stem}" if path.parent == trust_folder() else None,
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError("a key of another kind", where=path, found=type(key).__name__, expected="ed25519")
    return key
