"""What a bundle says about itself: `manifest.json`, schema 1, as frozen dataclasses that refuse what they do not know.

The JSON is canonical (sorted keys, no spaces, ASCII, no NaN), so one manifest has one sequence of bytes to sign.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from myosem_edge import __version__
from myosem_edge.errors import BundleError
from myosem_edge.signal.montage import Montage

SCHEMA = 1
MODELS = ("shipped", "research", "own")
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
SHA256 = re.compile(r"[0-9a-f]{64}")
KEY_ID = re.compile(r"[0-9a-f]{16}")
LARGEST = 1e15  # no honest number of a manifest comes near; keeps integers exact in a float
MAX_DEPTH = 6
MAX_SECTIONS = 32


@dataclass(frozen=True)
class Filter:
    """Causal filter as second-order sections `(sections, 6)`, each b0 b1 b2 1 a1 a2; frames in samples."""

    sections: tuple[tuple[float, ...], ...]
    frame_samples: int


@dataclass(frozen=True)
class Sizes:
    """Widths of what the encoder returns: embedding `z`, the layer before it `h`, and the log features."""

    h: int
    z: int
    log_features: int


@dataclass(frozen=True)
class Quantisation:
    """How the encoder was made small, in words: "int8 QDQ, per channel", "int8", "int8"."""

    scheme: str
    activations: str
    weights: str


@dataclass(frozen=True)
class Tolerance:
    """How far a board may be from the golden vectors: least cosine, least share of equal decisions (both 0..1)."""

    cosine_min: float
    equal_decisions_min: float


@dataclass(frozen=True)
class Member:
    """What the manifest says of another member; `size` in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """Everything a board must know before it opens another member.

    `window_ms` is the encoder's receptive field, `hop_ms` how often it is asked. `operating_point` maps names to
    numbers, or to one more such mapping; every figure in `metrics` was measured at it. `metrics` nests freely and holds
    numbers and words. `members` and `key_id` are filled in by `write_bundle`.
    """

    name: str
    version: str
    model: str
    montage: Montage
    filter: Filter
    window_ms: float
    hop_ms: float
    sizes: Sizes
    quantisation: Quantisation
    descriptions: int
    encoder_id: str
    texts_sha256: str
    operating_point: Mapping[str, Any]
    tolerance: Tolerance
    front_ends: tuple[str, ...]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    members: Mapping[str, Member] = field(default_factory=dict)
    key_id: str = ""
    tool_version: str = __version__
    schema: int = SCHEMA

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.version}.myosem"

    def to_bytes(self) -> bytes:
        """Canonical JSON of this manifest, checked on the way out as it will be on the way in.

        Raises:
            BundleError: a field holds what `from_bytes` would refuse.
        """
        return canonical(asdict(manifest_from(asdict(self), "manifest")))

    @classmethod
    def from_bytes(cls, data: bytes, where: object = "manifest.json") -> Manifest:
        """Read canonical JSON.

        Raises:
            BundleError: not JSON, not canonical, another schema, or a field that is missing, unknown or wrong.
        """
        try:
            value = json.loads(data.decode("ascii"), parse_constant=_refuse_constant)
            same = canonical(value) == data
        except (ValueError, RecursionError) as error:
            raise BundleError("is not JSON that a manifest may hold", where=where, found=str(error)) from error
        if not same:
            raise BundleError(
                "is not canonical", where=where, expected="sorted keys, no spaces, no key twice, plain ASCII"
            )
        return manifest_from(value, where)


def canonical(value: object) -> bytes:
    """Sorted, compact ASCII JSON; ValueError where a number is not finite."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def manifest_from(value: object, where: object) -> Manifest:
    """The manifest in a decoded JSON object.

    Raises:
        BundleError: another schema, or a field that is missing, unknown or wrong.
    """
    if isinstance(value, dict) and (type(value.get("schema")) is not int or value["schema"] != SCHEMA):
        raise BundleError(
            "a manifest of another schema",
            where=where,
            found=ascii(value.get("schema")),
            expected=SCHEMA,
            todo="Use the myosem-edge version that made the bundle, or export it again",
        )
    table = _Table(value, where, Manifest.__dataclass_fields__)
    montage = table.table("montage", Montage.__dataclass_fields__)
    quantisation = table.table("quantisation", Quantisation.__dataclass_fields__)
    sizes = table.table("sizes", Sizes.__dataclass_fields__)
    tolerance = table.table("tolerance", Tolerance.__dataclass_fields__)
    return Manifest(
        name=table.text("name", pattern=NAME),
        version=table.text("version", pattern=VERSION),
        model=table.text("model", choices=MODELS),
        montage=Montage(
            device=montage.text("device"),
            channels=montage.whole("channels", 1, 64),
            layout=montage.text("layout", choices=("ring", "sites")),
            rate_hz=montage.number("rate_hz", 1.0, 100_000.0),
            unit=montage.text("unit", choices=("uV", "counts")),
            prefiltered=montage.text("prefiltered", empty=True),
        ),
        filter=_filter(table.table("filter", Filter.__dataclass_fields__)),
        window_ms=table.number("window_ms", 1.0, 60_000.0),
        hop_ms=table.number("hop_ms", 1.0, 10_000.0),
        sizes=Sizes(**{name: sizes.whole(name, 1, 4096) for name in Sizes.__dataclass_fields__}),
        quantisation=Quantisation(**{name: quantisation.text(name) for name in Quantisation.__dataclass_fields__}),
        descriptions=table.whole("descriptions", 1, 100_000),
        encoder_id=table.text("encoder_id"),
        texts_sha256=table.text("texts_sha256", pattern=SHA256),
        operating_point=table.free("operating_point", words=False),
        tolerance=Tolerance(**{name: tolerance.number(name, 0.0, 1.0) for name in Tolerance.__dataclass_fields__}),
        front_ends=tuple(table.words("front_ends")),
        metrics=table.free("metrics", words=True),
        members=_members(table),
        key_id=table.text("key_id", pattern=KEY_ID),
        tool_version=table.text("tool_version", pattern=VERSION),
        schema=SCHEMA,
    )


def _members(table: _Table) -> dict[str, Member]:
    every = table.table("members", table.mapping("members"))
    members: dict[str, Member] = {}
    for name in table.mapping("members"):
        member = every.table(name, Member.__dataclass_fields__)
        members[name] = Member(member.text("sha256", pattern=SHA256), member.whole("size", 0, 1 << 31))
    return members


def _filter(table: _Table) -> Filter:
    raw = table.value("sections")
    if not isinstance(raw, list | tuple) or len(raw) > MAX_SECTIONS:
        raise table.wrong("sections", raw, f"a list of at most {MAX_SECTIONS} sections")
    sections = []
    for place, row in enumerate(raw):
        if not isinstance(row, list | tuple) or len(row) != 6:
            raise table.wrong(f"sections[{place}]", row, "six numbers")
        numbers = tuple(table.as_number(f"sections[{place}]", number, -LARGEST, LARGEST) for number in row)
        one, a1, a2 = numbers[3:]
        # Both poles lie inside the unit circle (the stability triangle); anything else rings for ever on a board.
        if one != 1.0 or not (abs(a2) < 1.0 and abs(a1) < 1.0 + a2):
            raise table.wrong(f"sections[{place}]", list(numbers), "a0 = 1 and a stable section")
        sections.append(numbers)
    return Filter(tuple(sections), table.whole("frame_samples", 1, 1_000_000))


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a finite number")


class _Table:
    """One JSON object being read: every key is expected, no key is missing, every value has its type and range."""

    def __init__(self, value: object, where: object, keys: Collection[str]) -> None:
        if not isinstance(value, dict):
            raise BundleError("is not a table", where=where, found=type(value).__name__, expected="an object")
        self._value, self._where = value, where
        for key in value:
            if key not in keys:
                near = difflib.get_close_matches(str(key), keys, n=1)
                raise BundleError(
                    f"unknown field {ascii(key)[:80]}",
                    where=where,
                    expected=f"{near[0]!r}, the nearest" if near else f"one of {', '.join(sorted(keys))}",
                )
        for key in keys:
            if key not in value:
                raise BundleError(f"field {key!r} is missing", where=where)

    def wrong(self, key: str, found: object, expected: str) -> BundleError:
        return BundleError(
            "a value that cannot be", where=f"{self._where}: {key}", found=ascii(found)[:120], expected=expected
        )

    def value(self, key: str) -> object:
        return self._value[key]

    def mapping(self, key: str) -> dict[str, object]:
        value = self._value[key]
        if not isinstance(value, dict):
            raise self.wrong(key, value, "an object")
        return value

    def table(self, key: str, keys: Collection[str]) -> _Table:
        return _Table(self.mapping(key), f"{self._where}: {key}", keys)

    def text(
        self, key: str, *, choices: Collection[str] = (), pattern: re.Pattern[str] | None = None, empty: bool = False
    ) -> str:
        value = self._value[key]
        if choices and value not in choices:
            raise self.wrong(key, value, f"one of {', '.join(choices)}")
        if not isinstance(value, str) or (pattern is not None and not pattern.fullmatch(value)):
            raise self.wrong(key, value, f"text like {pattern.pattern}" if pattern is not None else "text")
        return self._plain(key, value, empty)

    def words(self, key: str) -> list[str]:
        value = self._value[key]
        if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
            raise self.wrong(key, value, "a list of texts")
        return [self._plain(key, word) for word in value]

    def number(self, key: str, low: float, high: float) -> float:
        return self.as_number(key, self._value[key], low, high)

    def whole(self, key: str, low: int, high: int) -> int:
        value = self._value[key]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(key, value, f"a whole number from {low} to {high}")
        return value

    def as_number(self, key: str, value: object, low: float, high: float) -> float:
        # Written so that NaN fails the comparison and a huge integer is never converted.
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.wrong(key, value, f"a number from {low:g} to {high:g}")
        return float(value)

    def free(self, key: str, *, words: bool) -> dict[str, Any]:
        """A mapping of names to finite numbers, to such mappings, and where `words` to plain texts."""
        return self._free(key, self.mapping(key), words, MAX_DEPTH if words else 2)

    def _free(self, key: str, value: dict[str, object], words: bool, depth: int) -> dict[str, Any]:
        if not depth:
            raise self.wrong(key, "deeper tables", "less nesting")
        result: dict[str, Any] = {}
        for name, item in value.items():
            inner = f"{key}.{self._plain(key, name)}"
            if isinstance(item, dict):
                result[name] = self._free(inner, item, words, depth - 1)
            elif words and isinstance(item, str):
                result[name] = self._plain(inner, item, empty=True)
            else:
                number = self.as_number(inner, item, -LARGEST, LARGEST)
                result[name] = item if isinstance(item, int) else number
        return result

    def _plain(self, key: str, value: object, empty: bool = False) -> str:
        # Printable alone: what a bundle says of itself is shown on a terminal before anyone trusts it.
        if not isinstance(value, str) or not value.isprintable() or not (value or empty):
            raise self.wrong(key, value, "plain printable text")
        return value
