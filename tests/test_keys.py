"""Keys: private ones stay private, trust is deliberate, and no file however broken ends in anything but a sentence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge import keys
from myosem_edge.errors import InputError, MyosemError, RefusedError, StorageError

RAW = "1a" * 32


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MYOSEM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_nothing_is_trusted_at_first(home: Path) -> None:
    assert keys.trusted_keys() == {}
    keys.trust_folder().mkdir(parents=True)
    assert keys.trusted_keys() == {}


def test_new_key_is_private_and_trusted(home: Path) -> None:
    private = keys.new_key("factory")
    pem = home / "keys" / "factory.pem"
    assert pem.stat().st_mode & 0o777 == 0o600
    assert pem.parent.stat().st_mode & 0o777 == 0o700
    assert b"PRIVATE" not in (home / "keys.d" / "factory.pub").read_bytes()
    identity = keys.key_id(private.public_key())
    assert keys.trusted_keys() == {identity: ("factory", private.public_key(), False)}
    assert keys.load_private("factory").sign(b"x") == private.sign(b"x")


def test_key_id_is_the_start_of_the_hash_of_the_raw_key() -> None:
    private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    # RFC 8032 arithmetic of the all-zero seed: the key is 3b6a27bc..., whatever library computes it.
    assert raw.hex().startswith("3b6a27bcceb6a42d62a3a8d02a6f0d73")
    assert keys.key_id(private.public_key()) == hashlib.sha256(raw).hexdigest()[:16] == "139e3940e64b5491"


@pytest.mark.parametrize("half", ["keys/factory.pem", "keys.d/factory.pub"])
def test_a_key_is_never_overwritten(home: Path, half: str) -> None:
    keys.new_key("factory")
    before = (home / half).read_bytes()
    other = "keys.d/factory.pub" if half.endswith("pem") else "keys/factory.pem"
    (home / other).unlink()
    with pytest.raises(RefusedError, match="exists already"):
        keys.new_key("factory")
    assert (home / half).read_bytes() == before
    assert not (home / other).exists()


@pytest.mark.parametrize(
    ("name", "is_dev"),
    [("dev", True), ("dev-laptop", True), ("development", False), ("factory-dev", False), ("de", False)],
)
def test_which_names_are_for_emulated_hands_only(name: str, is_dev: bool) -> None:
    keys.new_key(name)
    (key,) = keys.trusted_keys().values()
    assert key.is_dev is is_dev


@pytest.mark.parametrize("name", ["", "Dev", "DEV", "../dev", "a/b", ".hidden", "a b", "dev\n", "é", "a" * 64, "-x"])
def test_names_that_are_none(name: str, tmp_path: Path) -> None:
    file = tmp_path / "some.pub"
    file.write_text(RAW)
    for use in (keys.new_key, keys.load_private, keys.forget, lambda name: keys.trust(file, name)):
        with pytest.raises(InputError, match="not a name for a key"):
            use(name)


def test_dev_key_is_made_once_and_stays() -> None:
    first = keys.ensure_dev_key()
    assert keys.ensure_dev_key().private_bytes_raw() == first.private_bytes_raw()
    assert keys.trusted_keys()[keys.key_id(first.public_key())].is_dev


def test_dev_key_is_trusted_again_when_it_is_used_again() -> None:
    first = keys.ensure_dev_key()
    keys.forget("dev")
    assert keys.trusted_keys() == {}
    keys.ensure_dev_key()
    assert list(keys.trusted_keys()) == [keys.key_id(first.public_key())]


def test_private_key_that_others_can_read_is_refused(home: Path) -> None:
    keys.new_key("factory")
    for mode in (0o640, 0o604, 0o660):
        (home / "keys" / "factory.pem").chmod(mode)
        with pytest.raises(RefusedError, match=rf"mode {mode:04o}, expected 0600"):
            keys.load_private("factory")


def test_missing_private_key_says_how_to_make_one() -> None:
    with pytest.raises(InputError, match="myosem-edge keys new factory"):
        keys.load_private("factory")


def private_pem(key: object, password: bytes | None = None) -> bytes:
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)  # type: ignore[attr-defined, no-any-return]


ED = ed25519.Ed25519PrivateKey.generate()
CURVE = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a private key"),
        (b"\x00\xff" * 50, "not a private key"),
        (private_pem(ED)[:-30], "not a private key"),
        (private_pem(ED, b"secret"), "protected by a password"),
        (private_pem(CURVE), "a key of another kind"),
        (bytes(20_000), "too large for a key file"),
    ],
)
def test_broken_private_keys(home: Path, data: bytes, words: str) -> None:
    keys.new_key("factory")
    (home / "keys" / "factory.pem").write_bytes(data)
    with pytest.raises(InputError, match=words) as caught:
        keys.load_private("factory")
    assert "factory.pem" in str(caught.value)


def public_pem(key: object) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a public key"),
        (b"1a" * 31, "not a public key"),
        (b"zz" * 32, "not a public key"),
        (public_pem(ED)[:-30], "not a public key"),
        (public_pem(CURVE), "a key of another kind"),
        (bytes(20_000), "too large for a key file"),
    ],
)
def test_broken_public_keys_are_named_wherever_they_turn_up(home: Path, data: bytes, words: str) -> None:
    keys.new_key("good")
    bad = home / "keys.d" / "maker.pub"
    bad.write_bytes(data)
    for use in (keys.trusted_keys, lambda: keys.trust(bad, "other")):
        with pytest.raises(InputError, match=words) as caught:
            use()
        assert "maker.pub" in str(caught.value)


def test_a_broken_trusted_key_can_be_forgotten(home: Path) -> None:
    keys.new_key("good")
    (home / "keys.d" / "maker.pub").write_text("broken")
    with pytest.raises(InputError, match="myosem-edge keys forget maker"):
        keys.trusted_keys()
    keys.forget("maker")
    assert [key.name for key in keys.trusted_keys().values()] == ["good"]


@pytest.mark.parametrize("text", [RAW, RAW.upper(), f"{RAW}\n", public_pem(ED).decode()])
def test_trust_takes_pem_and_hexadecimal(tmp_path: Path, text: str) -> None:
    file = tmp_path / "maker.pub"
    file.write_text(text)
    key = keys.trust(file)
    assert key.name == "maker"
    assert keys.trusted_keys() == {keys.key_id(key.public): key}
    assert keys.trust(file) == key  # once more changes nothing


def test_hexadecimal_files_put_there_by_hand_count(home: Path) -> None:
    keys.trust_folder().mkdir(parents=True)
    (home / "keys.d" / "hand.pub").write_text(RAW)
    (home / "keys.d" / "README").write_text("not a key, not a .pub")
    assert [key.name for key in keys.trusted_keys().values()] == ["hand"]


def test_of_a_private_key_only_the_public_half_is_kept(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.pem"
    file.write_bytes(private_pem(ED))
    assert keys.trust(file).public == ED.public_key()
    assert (home / "keys.d" / "mine.pub").read_bytes() == public_pem(ED)


def test_a_development_key_cannot_pass_under_a_second_name(home: Path) -> None:
    keys.ensure_dev_key()
    file = home / "keys.d" / "dev.pub"
    with pytest.raises(RefusedError, match="trusted already, as dev"):
        keys.trust(file, "factory")
    (home / "keys.d" / "factory.pub").write_bytes(file.read_bytes())
    with pytest.raises(InputError, match=r"the same key as dev\.pub"):
        keys.trusted_keys()


def test_trust_never_replaces_a_key(tmp_path: Path) -> None:
    keys.new_key("factory")
    before = keys.trusted_keys()
    file = tmp_path / "factory.pub"
    file.write_text(RAW)
    with pytest.raises(RefusedError, match="another key called factory"):
        keys.trust(file)
    assert keys.trusted_keys() == before


def test_forget_keeps_the_private_half(home: Path) -> None:
    keys.new_key("factory")
    assert keys.forget("factory") == home / "keys.d" / "factory.pub"
    assert keys.trusted_keys() == {}
    keys.load_private("factory")
    with pytest.raises(InputError, match="no trusted key called factory"):
        keys.forget("factory")


def test_folders_and_absent_files_in_place_of_keys(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        keys.trust(tmp_path / "none.pub")
    (home / "keys.d" / "folder.pub").mkdir(parents=True)
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        keys.trusted_keys()
    with pytest.raises(InputError, match="cannot be removed"):
        keys.forget("folder")


def test_a_trust_folder_that_cannot_be_listed_is_not_an_empty_one(home: Path) -> None:
    home.mkdir()
    (home / "keys.d").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="cannot be read: Not a directory"):
        keys.trusted_keys()


@pytest.mark.parametrize(
    "use",
    [
        keys.trusted_keys,
        keys.ensure_dev_key,
        lambda: keys.new_key("a"),
        lambda: keys.load_private("a"),
        lambda: keys.forget("a"),
    ],
)
@pytest.mark.parametrize(("place", "reason"), [("", "is no folder"), ("inside", "cannot be used: Not a directory")])
def test_a_file_in_place_of_the_users_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[], object], place: str, reason: str
) -> None:
    home.write_text("a file where the folder should be")
    monkeypatch.setenv("MYOSEM_HOME", str(home / place))
    with pytest.raises(StorageError, match=f"{reason}.*Set MYOSEM_HOME"):
        use()


def test_a_folder_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYOSEM_HOME", "/proc/nowhere")
    with pytest.raises(StorageError, match=r"/proc/nowhere/keys: cannot be made.*Set MYOSEM_HOME"):
        keys.new_key("a")
    assert keys.trusted_keys() == {}


def test_a_badly_named_file_in_the_folder_is_named(home: Path) -> None:
    keys.trust_folder().mkdir(parents=True)
    (home / "keys.d" / "Dev.pub").write_text(RAW)
    with pytest.raises(InputError, match=r"Dev.pub: not a name for a key"):
        keys.trusted_keys()


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_key_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("keys") / "x.pub"
    file.write_bytes(data)
    try:
        keys.trust(file)
    except MyosemError as error:
        assert "x.pub" in str(error)
