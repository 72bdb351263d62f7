"""The file of one wearer: what was written is read back, the rest has a sentence, and nothing in it is a limit."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import typing
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_model
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from myosem_edge.bundle import Bundle
from myosem_edge.calibration import profile as module
from myosem_edge.calibration.enrol import EnrolmentReport
from myosem_edge.calibration.migrations import Step, migrate
from myosem_edge.calibration.profile import MAGIC, MAX_BYTES, MAX_SCALE, MIN_SCALE, Profile, montage_of
from myosem_edge.errors import ProfileError
from myosem_edge.firmware_bridge.frontends.myo import Myo
from myosem_edge.firmware_bridge.hands.base import HandLimits
from myosem_edge.manifest import Manifest
from myosem_edge.runtime.decoder import Decoder, Model
from myosem_edge.runtime.discriminant import Lda
from myosem_edge.runtime.encoder import Fit
from myosem_edge.runtime.limits import Limits
from myosem_edge.runtime.match import Enrolment
from myosem_edge.signal.montage import Montage

Contents = tuple[dict[str, Any], dict[str, np.ndarray]]


def small() -> Profile:
    """A profile of round numbers, written out so that its bytes can be."""
    channels, actions = 2, ("rest", "fist")
    owners = (0, 1, 0)
    heads = {
        "h": Lda(np.array([[0.0], [2.0], [1.0]]), np.array([[4.0]]), owners),
        "z": Lda(np.array([[0.5], [0.25], [0.0]]), np.array([[2.0]]), owners),
        "log_features": Lda(np.arange(18.0).reshape(3, 6), np.eye(6), owners),
        "log_covariance": Lda(np.arange(9.0).reshape(3, 3), np.eye(3), owners),
    }
    enrolment = Enrolment(Fit(True, 1, np.array([1.5, 2.0])), actions, heads, 4.0, 3.0, 0.25, (0.25, 1.0))
    return Profile(
        "pair", Montage("pair", channels, "ring", 100.0, "uV", ""), "cd" * 32, "tiny-1.0.myosem",
        "2026-01-02T03:04:05+00:00", enrolment,
        EnrolmentReport(1, 0.5, ("rest", "fist"), 16.0, {"rest": 90, "fist": 90}), "", "0.1.0",
    )  # fmt: skip


def opened(data: bytes) -> Contents:
    body = data[40:]
    header = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
    return json.loads(header["__metadata__"]["profile"]), load(body)


def sealed(metadata: object, tensors: dict[str, np.ndarray], entries: dict[str, str] | None = None) -> bytes:
    """A file with a right checksum around any contents, as whoever can write files could make one."""
    body = save(tensors, entries if entries is not None else {"profile": json.dumps(metadata)})
    return MAGIC + hashlib.sha256(body).digest() + body


def resealed(body: bytes) -> bytes:
    return MAGIC + hashlib.sha256(body).digest() + body


def same(a: Profile, b: Profile) -> bool:
    return a.to_bytes() == b.to_bytes()


def test_golden_bytes() -> None:
    data = small().to_bytes()
    body = data[40:]
    assert data[:8] == b"MYOPROF1"
    assert data[8:40] == hashlib.sha256(body).digest()
    metadata, tensors = opened(data)
    assert metadata == {
        "schema": 2,
        "front_end": "pair",
        "montage": {
            "device": "pair", "channels": 2, "layout": "ring", "rate_hz": 100.0, "unit": "uV", "prefiltered": "",
        },
        "side": "left",
        "bundle_sha256": "cd" * 32,
        "bundle_name": "tiny-1.0.myosem",
        "created": "2026-01-02T03:04:05+00:00",
        "tool_version": "0.1.0",
        "actions": ["rest", "fist"],
        "ring_shift": 1,
        "text_weight": 4.0,
        "typical_distance": 3.0,
        "rest_rms": 0.25,
        "report": {
            "ring_clarity": 0.5, "closest": ["rest", "fist"], "separation": 16.0, "hops": {"rest": 90, "fist": 90},
        },
        "notes": "",
    }  # fmt: skip
    widths = {"h": 1, "z": 1, "log_features": 6, "log_covariance": 3}
    shapes = {"scale": (2,), "active_rms": (2,)}
    shapes |= {f"{name}.means": (3, width) for name, width in widths.items()}  # rest has a second row
    shapes |= {f"{name}.precision": (width, width) for name, width in widths.items()}
    assert {name: array.shape for name, array in tensors.items()} == shapes
    # If this changes by one bit, boards in the field stop reading new profiles: raise the schema and add a migration.
    assert hashlib.sha256(data).hexdigest() == "eabead9602abd129d53b4235669419d5508d15d1de9147923cd5a5c92c51c8d1"


def test_what_was_written_is_read_back(profile: Profile) -> None:
    read = Profile.from_bytes(profile.to_bytes())
    assert same(read, profile)
    assert read.enrolment.actions == profile.enrolment.actions
    assert read.report == profile.report
    for name, head in profile.enrolment.heads.items():
        assert np.array_equal(read.enrolment.heads[name].precision, head.precision)
        assert read.enrolment.heads[name].owners == head.owners
    assert (read.side, read.notes, read.tool_version) == ("right", "after lunch", "0.1.0")


def test_the_same_profile_has_the_same_bytes(profile: Profile) -> None:
    assert profile.to_bytes() == profile.to_bytes()


def test_a_profile_that_was_read_decodes_as_the_one_that_was_written(model: Model, profile: Profile) -> None:
    signal = tiny_model.Muscle(8).play("fist", 1.0)
    read = Profile.from_bytes(profile.to_bytes())
    for enrolment in (profile.enrolment, read.enrolment):
        Decoder(model, enrolment, backend="reference")
    one, two = (model.encoder(e.fit, "reference").whole(signal) for e in (profile.enrolment, read.enrolment))
    assert np.array_equal(one.h, two.h)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"", "is not a profile"),
        (lambda data: data[:39], "is damaged"),
        (lambda data: data[:-1], "is damaged"),
        (lambda data: data + b"\0", "is damaged"),
        (lambda data: b"MYOPROF2" + data[8:], "is not a profile .found b'MYOPROF2', expected b'MYOPROF1'"),
        (lambda data: b"PK\x03\x04" + data[4:], "is not a profile"),
        (lambda data: data + bytes(MAX_BYTES), "too large"),
        (lambda data: resealed(b""), "header that cannot be"),
        (lambda data: resealed(b"\xff" * 8 + data[48:]), "header that cannot be"),
        (lambda data: resealed((2).to_bytes(8, "little") + b"[]"), "cannot be read"),
        (lambda data: resealed((2).to_bytes(8, "little") + b"{}"), "cannot be read"),
        (lambda data: resealed((4).to_bytes(8, "little") + b"null"), "cannot be read"),
        (lambda data: resealed(data[40:-8]), "cannot be read"),
        (lambda data: resealed((20_000).to_bytes(8, "little") + b"[" * 20_000), "cannot be read"),
    ],
)
def test_damage_is_refused(damage: Callable[[bytes], bytes], words: str) -> None:
    with pytest.raises(ProfileError, match=words) as caught:
        Profile.from_bytes(damage(small().to_bytes()), where="a.profile")
    assert "a.profile" in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 7))
def test_every_flipped_bit_is_found(place: int, bit: int) -> None:
    data = bytearray(small().to_bytes())
    data[place % len(data)] ^= 1 << bit
    with pytest.raises(ProfileError):
        Profile.from_bytes(bytes(data))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 100_000), st.binary(min_size=1, max_size=4))
@example(0, b"")
def test_damage_under_a_right_checksum_is_refused_or_harmless(place: int, patch: bytes) -> None:
    body = bytearray(small().to_bytes()[40:])
    place %= len(body)
    body[place : place + len(patch)] = patch
    try:
        read = Profile.from_bytes(resealed(bytes(body)))
    except ProfileError:
        return
    read.to_bytes()  # whatever is accepted could be written again


def edited(key: str, value: object) -> bytes:
    metadata, tensors = opened(small().to_bytes())
    *path, last = key.split("/")
    table = metadata
    for step in path:
        table = table[step]
    if value is KeyError:
        del table[last]
    else:
        table[last] = value
    return sealed(metadata, tensors)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("schema", 3, "another schema .found 3, expected 2"),
        ("schema", 1, "another schema"),
        ("schema", 0, "another schema"),
        ("schema", True, "schema"),
        ("schema", 1.0, "schema"),
        ("schema", None, "another schema"),
        ("schema", KeyError, "another schema"),
        ("side", "both", "side is wrong"),
        ("side", ["left"], "side is wrong"),
        ("bundle_sha256", "ab", "bundle_sha256 is wrong"),
        ("bundle_sha256", "AB" * 32, "bundle_sha256 is wrong"),
        ("bundle_name", "", "bundle_name is wrong"),
        ("bundle_name", 5, "bundle_name is wrong"),
        ("front_end", "x" * 201, "front_end is wrong"),
        ("tool_version", None, "tool_version is wrong"),
        ("notes", "x" * 2001, "notes is wrong"),
        ("created", "yesterday", "created is wrong"),
        ("created", "2026-01-02T03:04:05", "created is wrong"),
        ("created", 5, "created is wrong"),
        ("actions", [], "actions is wrong"),
        ("actions", "rest", "actions is wrong"),
        ("actions", ["rest", "rest"], "each action once"),
        ("actions", ["rest", ""], "actions is wrong"),
        ("actions", ["rest", "../fist"], "actions is wrong"),
        ("actions", ["rest", "fist", "hand_open"], "h.means is wrong"),
        ("ring_shift", 2, "ring_shift is wrong .found 2, expected 0 to 1"),
        ("ring_shift", -1, "ring_shift is wrong"),
        ("ring_shift", 0.0, "ring_shift is wrong"),
        ("ring_shift", True, "ring_shift is wrong"),
        ("text_weight", -0.1, "text_weight is wrong"),
        ("text_weight", 4.1, "text_weight is wrong .found 4.1, expected 0 to 4"),
        ("typical_distance", 0.0, "typical_distance is wrong"),
        ("typical_distance", 10**400, "typical_distance is wrong"),
        ("typical_distance", float("inf"), "cannot be read"),
        ("rest_rms", -0.1, "rest_rms is wrong"),
        ("rest_rms", float("nan"), "cannot be read"),
        ("rest_rms", True, "rest_rms is wrong"),
        ("montage", [], "montage is wrong"),
        ("montage/channels", 3, "scale is wrong .found 'shape .2,.'"),
        ("montage/channels", 0, "montage.channels is wrong"),
        ("montage/rate_hz", "fast", "montage.rate_hz is wrong"),
        ("montage/unit", "", "montage.unit is wrong"),
        ("montage/layout", KeyError, "montage.layout is wrong"),
        ("report", None, "report is wrong"),
        ("report/closest", ["rest"], "report.closest is wrong"),
        ("report/closest", ["rest", "point"], "report.closest is wrong"),
        ("report/separation", -1, "report.separation is wrong"),
        ("report/ring_clarity", 3.0, "report.ring_clarity is wrong"),
        ("report/hops", {"rest": 1}, "report.hops is wrong"),
        ("report/hops", {"rest": 1, "fist": -1}, "report.hops.fist is wrong"),
    ],
)
def test_a_wrong_value_is_named(key: str, value: object, words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        Profile.from_bytes(edited(key, value))


def test_the_unedited_contents_are_fine() -> None:
    assert same(Profile.from_bytes(edited("notes", "")), small())


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("scale", lambda a: a * np.nan, "scale is wrong"),
        ("scale", lambda a: a * 0 + MIN_SCALE * 0.99, "scale is wrong"),
        ("scale", lambda a: a * 0 + MAX_SCALE * 1.01, "scale is wrong"),
        ("scale", lambda a: -a, "scale is wrong"),
        ("scale", lambda a: a.astype(np.float32), "found 'float32'|found dtype"),
        ("scale", lambda a: a[:1], "scale is wrong"),
        ("scale", lambda a: None, "scale is wrong .found 'nothing'"),
        ("active_rms", lambda a: -a, "active_rms is wrong"),
        ("active_rms", lambda a: a[:, None], "active_rms is wrong"),
        ("h.means", lambda a: a[:, :0], "no feature"),
        ("h.means", lambda a: a[0], "h.means is wrong"),
        ("h.means", lambda a: None, "h.means is wrong"),
        ("h.means", lambda a: a + np.inf, "h.means is wrong"),
        ("h.precision", lambda a: -a, "symmetric and positive definite"),
        ("h.precision", lambda a: a * 0, "symmetric and positive definite"),
        ("log_features.precision", lambda a: a + np.triu(a + 1, 1), "symmetric and positive definite"),
        ("log_features.precision", lambda a: a[:5, :5], "log_features.precision is wrong"),
        ("log_features.means", lambda a: a[:, :3], "log_features.means is wrong"),
        ("log_covariance.means", lambda a: a[:2], "log_covariance.means is wrong"),
        ("z.precision", lambda a: None, "z.precision is wrong"),
        ("extra", lambda a: np.zeros(1), "tensors is wrong"),
    ],
)
def test_a_wrong_array_is_named(name: str, change: Callable[[Any], np.ndarray | None], words: str) -> None:
    metadata, tensors = opened(small().to_bytes())
    changed = change(tensors.get(name))
    tensors = {key: array for key, array in tensors.items() if key != name}
    if changed is not None:
        tensors[name] = np.ascontiguousarray(changed)
    with pytest.raises(ProfileError, match=words):
        Profile.from_bytes(sealed(metadata, tensors))


@pytest.mark.parametrize("scale", [MIN_SCALE, MAX_SCALE])
def test_the_bounds_of_the_scale_are_inside(scale: float) -> None:
    metadata, tensors = opened(small().to_bytes())
    assert Profile.from_bytes(sealed(metadata, tensors | {"scale": np.full(2, scale)})).enrolment.fit.scale[0] == scale


@pytest.mark.parametrize(
    "entries", [{}, {"profile": "{}", "limits": "{}"}, {"profile": "[]"}, {"profile": '{"schema":1,"schema":1}'}]
)
def test_other_metadata_entries_are_refused(entries: dict[str, str]) -> None:
    _, tensors = opened(small().to_bytes())
    with pytest.raises(ProfileError, match="cannot be read"):
        Profile.from_bytes(sealed(None, tensors, entries))


def test_writing_refuses_what_reading_would() -> None:
    profile = small()
    broken = replace(profile, enrolment=replace(profile.enrolment, rest_rms=float("nan")))
    with pytest.raises(ProfileError, match="the new profile: rest_rms is wrong"):
        broken.to_bytes()


# SR-16: calibration cannot widen a limit.

LIMIT_NAMES = {field.name for kind in (Limits, HandLimits) for field in dataclasses.fields(kind)}


def all_fields(kind: object) -> set[tuple[str, object]]:
    found: set[tuple[str, object]] = set()
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            found |= {(field.name, hints[field.name])} | all_fields(hints[field.name])
    return found


@pytest.mark.sr("SR-16")
def test_a_profile_has_no_field_for_a_limit_a_grip_or_a_threshold() -> None:
    fields = all_fields(Profile)
    names = {name for name, _ in fields}
    assert len(names) > 20  # the walk reached the parts
    assert not names & LIMIT_NAMES
    words = ("limit", "grip", "threshold", "force", "speed", "max", "min_")
    assert not [name for name in names if any(word in name for word in words)]
    assert not [kind for _, kind in fields if kind in (Limits, HandLimits)]


@pytest.mark.sr("SR-16")
@pytest.mark.parametrize("table", ["", "montage/", "report/"])
@pytest.mark.parametrize("key", [*sorted(LIMIT_NAMES)[:6], "limits", "grips", "threshold", "__class__", "\x1b[2J"])
def test_a_key_that_no_profile_has_is_refused_by_name(table: str, key: str) -> None:
    with pytest.raises(ProfileError, match="a key that no profile has") as caught:
        Profile.from_bytes(edited(table + key, 1.0))
    assert "\x1b" not in str(caught.value)


@pytest.mark.sr("SR-16")
@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*sorted(LIMIT_NAMES), "notes", "rest_rms", "created", "actions"]),
        st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20), st.booleans()),
        max_size=3,
    )
)
def test_no_profile_file_changes_a_limit(changes: dict[str, object]) -> None:
    before = asdict(Limits()), asdict(HandLimits())
    metadata, tensors = opened(small().to_bytes())
    try:
        read = Profile.from_bytes(sealed(metadata | changes, tensors))
    except ProfileError:
        read = None
    assert (asdict(Limits()), asdict(HandLimits())) == before
    if set(changes) & LIMIT_NAMES:
        assert read is None


@pytest.mark.sr("SR-16")
def test_the_code_that_reads_profiles_does_not_know_the_gate() -> None:
    imported: set[str] = set()
    for path in Path(str(module.__file__)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    assert "myosem_edge.runtime.match" in imported
    assert not [name for name in imported if any(word in name for word in ("gate", "grips", "hands", "shaper"))]


# Migrations


def test_an_older_schema_is_migrated_step_by_step_and_told() -> None:
    steps = {
        -1: Step("the ring was called band", lambda m, t: ({"ring_shift": m["band"], "schema": -1}, t)),
        0: Step("notes begin empty", lambda m, t: (m | {"notes": ""}, t)),
    }
    told: list[str] = []
    metadata, _ = migrate({"schema": -1, "band": 3}, {}, 1, told.append, where="x", steps=steps)
    assert metadata == {"schema": 1, "ring_shift": 3, "notes": ""}
    assert told == ["profile schema -1 to 0: the ring was called band", "profile schema 0 to 1: notes begin empty"]


def test_a_gap_in_the_migrations_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"another schema \(found 0, expected 1\)"):
        migrate({"schema": -1}, {}, 1, lambda told: None, where="x", steps={-1: Step("", lambda m, t: (m, t))})


def test_a_current_profile_is_not_migrated() -> None:
    told: list[str] = []
    Profile.from_bytes(small().to_bytes(), note=told.append)
    assert told == []


# Fit to a bundle and a front end


def bundle(sha256: str = "ab" * 32, **montage: object) -> Bundle:
    facts = {
        "device": "myo", "channels": 8, "layout": "ring", "rate_hz": 200.0, "unit": "counts", "prefiltered": "",
    } | montage  # fmt: skip
    manifest = object.__new__(Manifest)
    for name, value in {
        "montage": Montage(**facts), "front_ends": ("myo",), "name": "tiny", "version": "0.1.0",
    }.items():  # fmt: skip
        object.__setattr__(manifest, name, value)
    return Bundle(manifest, sha256, "maker", False, {})


def test_a_profile_fits_what_it_was_made_with(profile: Profile) -> None:
    profile.require_fits(bundle(), Myo.info)


def test_another_bundle_is_refused_and_says_to_calibrate(profile: Profile) -> None:
    with pytest.raises(ProfileError, match=r"was made with another bundle \(found .*Calibrate again with this bundle"):
        profile.require_fits(bundle("ef" * 32), Myo.info)


def test_another_front_end_is_refused(profile: Profile) -> None:
    with pytest.raises(ProfileError, match=r"was made with another front end \(found myo, expected other\)"):
        profile.require_fits(bundle(), replace(Myo.info, id="other"))


@pytest.mark.parametrize("change", [{"channels": 16}, {"layout": "sites"}, {"rate_hz": 1000.0}, {"unit": "uV"}])
def test_another_montage_is_refused(profile: Profile, change: dict[str, Any]) -> None:
    with pytest.raises(ProfileError, match=f"montage differs in {next(iter(change))}"):
        profile.require_fits(bundle(), replace(Myo.info, **change))
    with pytest.raises(ProfileError, match=f"montage differs in {next(iter(change))}"):
        profile.require_fits(bundle(**change), Myo.info)


def test_a_bundle_for_other_front_ends_is_refused_until_somebody_is_calibrated() -> None:
    other = replace(Myo.info, id="other")
    with pytest.raises(ProfileError, match=r"not made for this front end \(found other, expected myo\).*Calibrate"):
        module.require_montage(bundle(), other)
    module.require_montage(bundle(), other, calibrated=True)
    assert montage_of(Myo.info).device == "myo"


@pytest.mark.parametrize("change", [{"channels": 16}, {"layout": "sites"}, {"rate_hz": 1000.0}, {"unit": "uV"}])
def test_a_front_end_of_another_kind_is_refused_whoever_is_calibrated(change: dict[str, Any]) -> None:
    with pytest.raises(ProfileError, match=f"montage differs in {next(iter(change))}"):
        module.require_montage(bundle(), replace(Myo.info, id="other", **change), calibrated=True)


def test_a_profile_of_a_foreign_front_end_fits_that_one_and_no_other(profile: Profile) -> None:
    other = replace(Myo.info, id="other")
    foreign = replace(profile, front_end="other", montage=montage_of(other))
    foreign.require_fits(bundle(), other)
    with pytest.raises(ProfileError, match=r"another front end \(found other, expected myo\)"):
        foreign.require_fits(bundle(), Myo.info)


def test_a_foreign_front_end_has_a_sentence() -> None:
    said = module.foreign_front_end(bundle(), replace(Myo.info, id="other"))
    assert said.startswith("the bundle was trained for myo, worn is other: ")
    assert module.foreign_front_end(bundle(), Myo.info) == ""
