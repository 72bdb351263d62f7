"""What calibration learnt about one wearer, as one file: `MYOPROF1`, sha256 of the rest, then safetensors.

The safetensors header holds one metadata entry, `profile`: canonical JSON with every fact that is not an array. Nothing
in a profile is a limit, a grip or a threshold, and a key that is not known is refused, so no profile can move a hand in
a way that the limits set elsewhere do not allow. Nothing is unpickled or executed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, NoReturn

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from myosem_edge import __version__
from myosem_edge.bundle import Bundle
from myosem_edge.calibration.enrol import TEXT_WEIGHT, EnrolmentReport
from myosem_edge.calibration.migrations import migrate
from myosem_edge.errors import ProfileError
from myosem_edge.firmware_bridge.frontends.base import FrontEndInfo
from myosem_edge.runtime.decision import REST
from myosem_edge.runtime.discriminant import Lda
from myosem_edge.runtime.encoder import Fit
from myosem_edge.runtime.match import Enrolment
from myosem_edge.signal.covariance import MOST_CHANNELS
from myosem_edge.signal.montage import Montage

MAGIC = b"MYOPROF1"
SCHEMA = 2
MAX_BYTES = 8 * 1024 * 1024  # a discriminant of 1000 features would not fit; shipped ones have below 300
MAX_HEADER_BYTES = 64 * 1024
MIN_SCALE, MAX_SCALE = 0.01, 1000.0  # RMS of a contraction in the front end's unit: below is no electrode, above no arm
MAX_NOTES = 2000  # characters
ENTRY = "profile"
RIGHT, LEFT = "right", "left"

_ID = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PARTS = ("means", "precision")
_KEYS = frozenset({
    "schema", "front_end", "montage", "side", "bundle_sha256", "bundle_name", "created", "tool_version", "actions",
    "ring_shift", "text_weight", "typical_distance", "rest_rms", "report", "notes",
})  # fmt: skip
_REPORT_KEYS = frozenset({"ring_clarity", "closest", "separation", "hops"})
_MONTAGE_KEYS = frozenset(field.name for field in fields(Montage))


@dataclass(frozen=True)
class Profile:
    """One wearer, one front end, one bundle. `created` is ISO 8601 with a zone, given by whoever makes the profile."""

    front_end: str
    montage: Montage
    bundle_sha256: str
    bundle_name: str
    created: str
    enrolment: Enrolment
    report: EnrolmentReport
    notes: str = ""
    tool_version: str = __version__

    @property
    def side(self) -> str:
        """The arm that wears the front end."""
        return LEFT if self.enrolment.fit.mirrored else RIGHT

    def to_bytes(self) -> bytes:
        """The file's contents, checked on the way out as they will be on the way in.

        Raises:
            ProfileError: a value is one that `from_bytes` would refuse.
        """
        e = self.enrolment
        metadata = {
            "schema": SCHEMA,
            "front_end": self.front_end,
            "montage": asdict(self.montage),
            "side": self.side,
            "bundle_sha256": self.bundle_sha256,
            "bundle_name": self.bundle_name,
            "created": self.created,
            "tool_version": self.tool_version,
            "actions": list(e.actions),
            "ring_shift": e.fit.shift,
            "text_weight": e.text_weight,
            "typical_distance": e.typical_distance,
            "rest_rms": e.rest_rms,
            "report": {
                "ring_clarity": self.report.ring_clarity,
                "closest": list(self.report.closest),
                "separation": self.report.separation,
                "hops": dict(self.report.hops),
            },
            "notes": self.notes,
        }
        arrays: dict[str, Any] = {"scale": e.fit.scale, "active_rms": e.active_rms}
        arrays |= {f"{name}.{part}": getattr(head, part) for name, head in e.heads.items() for part in _PARTS}
        tensors = {name: np.ascontiguousarray(array, np.float64) for name, array in arrays.items()}
        _profile_from(metadata, tensors, "the new profile")
        text = json.dumps(metadata, sort_keys=True, separators=(",", ":"), allow_nan=False)
        body = save_tensors(tensors, {ENTRY: text})
        return MAGIC + hashlib.sha256(body).digest() + body

    @classmethod
    def from_bytes(
        cls, data: bytes, *, where: object = "profile", note: Callable[[str], None] = lambda sentence: None
    ) -> Profile:
        """Read a profile; `note` is told every migration.

        Raises:
            ProfileError: not a profile, damaged, of a schema that nothing leads on from, or a value is wrong.
        """
        todo = "Calibrate again, or take the one before: myosem-edge profile undo NAME"
        if len(data) > MAX_BYTES:
            raise ProfileError("too large", where=where, found=f"{len(data)} bytes", expected=f"at most {MAX_BYTES}")
        if data[: len(MAGIC)] != MAGIC:
            raise ProfileError(
                "is not a profile", where=where, found=ascii(data[: len(MAGIC)]), expected=ascii(MAGIC), todo=todo
            )
        begin = len(MAGIC) + hashlib.sha256().digest_size
        listed, body = data[len(MAGIC) : begin], data[begin:]
        actual = hashlib.sha256(body).digest()
        if listed != actual:
            raise ProfileError("is damaged", where=where, found=actual.hex(), expected=listed.hex(), todo=todo)
        metadata, tensors = migrate(*_open(body, where), SCHEMA, note, where=where)
        return _profile_from(metadata, tensors, where)

    def require_fits(self, bundle: Bundle, info: FrontEndInfo, *, where: object = "profile") -> None:
        """Check that this profile was made with this bundle and with a front end like this one, which need not be one
        that the bundle was trained for.

        Raises:
            ProfileError: another bundle, front end or montage.
        """
        if self.bundle_sha256 != bundle.sha256:
            raise ProfileError(
                "was made with another bundle",
                where=where,
                found=f"{self.bundle_name}, sha256 {self.bundle_sha256[:16]}",
                expected=f"{bundle.manifest.file_name}, sha256 {bundle.sha256[:16]}",
                todo="Calibrate again with this bundle: myosem-edge calibrate",
            )
        if self.front_end != info.id:
            raise ProfileError(
                "was made with another front end",
                where=where,
                found=self.front_end,
                expected=info.id,
                todo="Use that front end, or calibrate again with this one: myosem-edge calibrate",
            )
        montage_of(info).require_same(self.montage, where=where)
        require_montage(bundle, info, calibrated=True)


def montage_of(info: FrontEndInfo) -> Montage:
    """The electrodes of a front end."""
    return Montage(info.id, info.channels, info.layout, info.rate_hz, info.unit, info.prefiltered)


def foreign_front_end(bundle: Bundle, info: FrontEndInfo) -> str:
    """What a wearer must be told where the bundle was trained for other front ends than this one; else empty."""
    trained_for = bundle.manifest.front_ends
    if info.id in trained_for:
        return ""
    return (
        f"the bundle was trained for {' or '.join(trained_for) or 'no front end'}, worn is {info.id}: only what was "
        "calibrated counts, descriptions of anything else are not trusted"
    )


def require_montage(bundle: Bundle, info: FrontEndInfo, *, calibrated: bool = False) -> None:
    """Check that a front end delivers what a bundle's encoder was trained on. One of another make will do for whoever
    is `calibrated` with it, or is about to be; `foreign_front_end` has the sentence for them.

    Raises:
        ProfileError: it differs in channels, layout, rate or unit, or is not among the bundle's front ends.
    """
    manifest = bundle.manifest
    if info.id not in manifest.front_ends and not calibrated:
        raise ProfileError(
            "the bundle is not made for this front end",
            where=manifest.file_name,
            found=info.id,
            expected=" or ".join(manifest.front_ends),
            todo="Calibrate with it first: myosem-edge calibrate, then run --profile NAME",
        )
    Montage.from_dict(asdict(manifest.montage)).require_same(montage_of(info), where=manifest.file_name)


def _open(body: bytes, where: object) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Metadata and arrays of a safetensors file whose checksum was right."""
    length = int.from_bytes(body[:8], "little")
    if len(body) < 8 or length > min(MAX_HEADER_BYTES, len(body) - 8):
        raise ProfileError("claims a header that cannot be", where=where, found=f"{length} bytes")
    try:
        header = json.loads(body[8 : 8 + length], object_pairs_hook=_once)
        entries = header["__metadata__"]
        if list(entries) != [ENTRY]:
            raise ValueError(f"entries {', '.join(map(ascii, entries))}")
        metadata = json.loads(entries[ENTRY], object_pairs_hook=_once, parse_constant=_no_constant)
        tensors = load_tensors(body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise ProfileError("cannot be read", where=where, found=ascii(str(error)), todo="Calibrate again") from error
    if not isinstance(metadata, dict):
        raise ProfileError("cannot be read", where=where, found=type(metadata).__name__, expected="a JSON object")
    return metadata, tensors


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _profile_from(metadata: Mapping[str, Any], tensors: Mapping[str, np.ndarray], where: object) -> Profile:
    check = _Checker(where)
    check.keys(metadata, _KEYS, "")
    check.whole("schema", metadata["schema"], SCHEMA, SCHEMA)
    montage, report = metadata["montage"], metadata["report"]
    check.keys(montage, _MONTAGE_KEYS, "montage")
    check.keys(report, _REPORT_KEYS, "report")
    side = metadata["side"]
    check.that(side in (RIGHT, LEFT), "side", side, f"{RIGHT} or {LEFT}")
    check.that(_matches(_SHA256, metadata["bundle_sha256"]), "bundle_sha256", metadata["bundle_sha256"], "64 digits")
    for name in ("front_end", "bundle_name", "tool_version"):
        check.text(name, metadata[name], 200)
    check.text("notes", metadata["notes"], MAX_NOTES, empty=True)
    check.that(_is_moment(metadata["created"]), "created", metadata["created"], "ISO 8601 with a zone")
    for name in ("device", "layout", "unit", "prefiltered"):
        check.text(f"montage.{name}", montage[name], 200, empty=name == "prefiltered")
    channels = check.whole("montage.channels", montage["channels"], 1, 64)
    check.number("montage.rate_hz", montage["rate_hz"], 1.0, 1e5)
    actions = check.actions(metadata["actions"])
    shift = check.whole("ring_shift", metadata["ring_shift"], 0, channels - 1)
    widths: dict[str, int | None] = {"h": None, "z": None, "log_features": 3 * channels}
    if channels <= MOST_CHANNELS:
        widths["log_covariance"] = channels * (channels + 1) // 2
    enrolment = Enrolment(
        Fit(side == LEFT, shift, check.array(tensors, "scale", (channels,), MIN_SCALE, MAX_SCALE)),
        actions,
        {name: check.head(tensors, name, actions, width) for name, width in widths.items()},
        check.number("text_weight", metadata["text_weight"], 0.0, TEXT_WEIGHT),
        check.number("typical_distance", metadata["typical_distance"], 1e-9, 1e12),
        check.number("rest_rms", metadata["rest_rms"], 0.0, 1e6),
        tuple(check.array(tensors, "active_rms", (len(actions),), 0.0, 1e6).tolist()),
    )
    known = ["scale", "active_rms", *(f"{name}.{part}" for name in widths for part in _PARTS)]
    check.that(sorted(tensors) == sorted(known), "tensors", sorted(tensors), ", ".join(known))
    return Profile(
        metadata["front_end"],
        Montage(**montage),
        metadata["bundle_sha256"],
        metadata["bundle_name"],
        metadata["created"],
        enrolment,
        check.report(report, actions, shift),
        metadata["notes"],
        metadata["tool_version"],
    )


@dataclass(frozen=True)
class _Checker:
    """Every check of a value, so that every complaint names the file and the key."""

    where: object

    def that(self, good: bool, key: str, found: object, expected: object) -> None:
        if not good:
            raise ProfileError(
                f"{key} is wrong",
                where=self.where,
                found=ascii(found)[:120],
                expected=expected,
                todo="Calibrate again",
            )

    def keys(self, table: object, known: frozenset[str], key: str) -> None:
        prefix = f"{key}." if key else ""
        self.that(isinstance(table, dict), key or "profile", type(table).__name__, "a table")
        assert isinstance(table, dict)
        for name in sorted(set(table) - known):
            self.that(False, f"{prefix}{ascii(name)[:80]}", "a key that no profile has", ", ".join(sorted(known)))
        for name in sorted(known - set(table)):
            self.that(False, f"{prefix}{name}", "nothing", "a value")

    def text(self, key: str, value: object, most: int, *, empty: bool = False) -> None:
        good = isinstance(value, str) and len(value) <= most and (empty or bool(value))
        self.that(good, key, value, f"text of at most {most} characters")

    def number(self, key: str, value: object, least: float, most: float) -> float:
        good = isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
        self.that(good, key, value, f"{least:g} to {most:g}")
        assert isinstance(value, int | float)
        return float(value)

    def whole(self, key: str, value: object, least: int, most: int) -> int:
        self.that(type(value) is int and least <= value <= most, key, value, f"{least} to {most}")
        assert isinstance(value, int)
        return value

    def actions(self, value: object) -> tuple[str, ...]:
        good = isinstance(value, list) and len(value) > 0 and all(_matches(_ID, name) for name in value)
        self.that(good, "actions", value, "action ids, at least one")
        assert isinstance(value, list)
        self.that(len(set(value)) == len(value), "actions", value, "each action once")
        return tuple(value)

    def array(
        self, tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], least: float, most: float
    ) -> np.ndarray:
        array = tensors.get(name)
        self.that(array is not None, name, "nothing", "a tensor")
        assert array is not None
        self.that(array.dtype == np.float64, name, array.dtype, "float64")
        self.that(array.shape == shape, name, f"shape {array.shape}", f"shape {shape}")
        inside = np.isfinite(array) & (array >= least) & (array <= most)
        self.that(bool(inside.all()), name, array[~inside][:1].tolist(), f"finite, {least:g} to {most:g}")
        return array

    def head(self, tensors: Mapping[str, np.ndarray], name: str, actions: tuple[str, ...], width: int | None) -> Lda:
        """A row of means for each action and, where rest is among them, one more for rest at half its level."""
        classes = len(actions)
        owners = (*range(classes), actions.index(REST)) if REST in actions else ()
        means = tensors.get(f"{name}.means")
        if width is None:
            width = means.shape[1] if means is not None and means.ndim == 2 else 1
        self.that(width > 0, f"{name}.means", "no feature", "at least one")
        means = self.array(tensors, f"{name}.means", (len(owners) or classes, width), -1e9, 1e9)
        precision = self.array(tensors, f"{name}.precision", (width, width), -1e15, 1e15)
        try:  # distances under anything but a positive definite matrix could be negative
            np.linalg.cholesky((precision + precision.T) / 2.0)
            definite = bool(np.allclose(precision, precision.T, rtol=1e-3, atol=1e-6 * float(np.abs(precision).max())))
        except np.linalg.LinAlgError:
            definite = False
        self.that(definite, f"{name}.precision", "another matrix", "symmetric and positive definite")
        return Lda(means, precision, owners)

    def report(self, value: Mapping[str, Any], actions: tuple[str, ...], shift: int) -> EnrolmentReport:
        closest, hops = value["closest"], value["hops"]
        good = isinstance(closest, list) and len(closest) == 2 and all(name in actions for name in closest)
        self.that(good, "report.closest", closest, "two of the actions")
        good = isinstance(hops, dict) and set(hops) == set(actions)
        self.that(good, "report.hops", hops, "a number for each action")
        return EnrolmentReport(
            shift,
            self.number("report.ring_clarity", value["ring_clarity"], 0.0, 2.0),
            (closest[0], closest[1]),
            self.number("report.separation", value["separation"], 0.0, 1e15),
            {name: self.whole(f"report.hops.{name}", hops[name], 0, 10**9) for name in hops},
        )


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_moment(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
