"""The manifest: every field is known, in its range and printable, and one manifest has one sequence of bytes."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "attacks"))

import bundle_forge as forge

from myosem_edge.bundle import write_bundle
from myosem_edge.errors import BundleError
from myosem_edge.manifest import Manifest, canonical, manifest_from


def rewritten(**changes: Any) -> dict[str, Any]:
    fields = asdict(replace(forge.tiny_manifest(), key_id="0" * 16))
    for name, value in changes.items():
        forge.retyped(fields, name.replace("__", "."), value)
    return fields


def test_manifest_is_canonical_and_comes_back() -> None:
    manifest = replace(forge.tiny_manifest(), key_id="0" * 16)
    data = manifest.to_bytes()
    assert data == canonical(asdict(Manifest.from_bytes(data)))
    assert Manifest.from_bytes(data) == manifest
    assert data.isascii()
    assert b" " not in data.replace(b"50 Hz notch in the armband", b"").replace(b"int8 QDQ", b"").replace(
        b"nothing real", b""
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "Tiny"}, "manifest.json: name"),
        ({"name": ""}, "manifest.json: name"),
        ({"version": "1/2"}, "manifest.json: version"),
        ({"model": "other"}, r"manifest.json: model: a value that cannot be \(found 'other', expected one of shipped"),
        ({"model": ["shipped"]}, "manifest.json: model"),
        ({"montage": []}, "montage"),
        ({"montage__channels": 0}, "montage: channels"),
        ({"montage__channels": 65}, "a whole number from 1 to 64"),
        ({"montage__channels": 8.0}, "montage: channels"),
        ({"montage__layout": "circle"}, "one of ring, sites"),
        ({"montage__unit": "V"}, "one of uV, counts"),
        ({"montage__rate_hz": 0.5}, "montage: rate_hz"),
        ({"montage__rate_hz": True}, "montage: rate_hz"),
        ({"montage__rate_hz": "200"}, "montage: rate_hz"),
        ({"montage__device": ""}, "montage: device"),
        ({"montage__device": 7}, "montage: device"),
        ({"montage__rate": 200}, r"unknown field 'rate' \(expected 'rate_hz', the nearest\)"),
        ({"filter__sections": 5}, "a list of at most 32 sections"),
        ({"filter__sections": [[1.0, 0, 0, 1.0, 0, 0]] * 33}, "a list of at most 32 sections"),
        ({"filter__sections": [[1.0, 0, 0, 1.0, 0]]}, r"sections\[0\].*six numbers"),
        ({"filter__sections": [[1.0, 0, 0, 2.0, 0, 0]]}, "a0 = 1"),
        ({"filter__sections": [[1.0, 0, 0, 1.0, -2.0, 1.0]]}, "stable"),
        ({"filter__sections": [[1.0, 0, 0, 1.0, 1.6, 0.6]]}, "stable"),
        ({"filter__sections": [[None, 0, 0, 1.0, 0, 0]]}, r"sections\[0\]"),
        ({"filter__frame_samples": 0}, "frame_samples"),
        ({"window_ms": -1.0}, "window_ms"),
        ({"hop_ms": float("nan")}, "hop_ms"),
        ({"hop_ms": 10**400}, "hop_ms"),
        ({"sizes__z": 0}, "sizes: z"),
        ({"quantisation__scheme": ""}, "quantisation: scheme"),
        ({"descriptions": 0}, "descriptions"),
        ({"texts_sha256": "AB" * 32}, "texts_sha256"),
        ({"operating_point": 3}, "operating_point"),
        ({"operating_point__votes": "three"}, "operating_point.votes"),
        ({"operating_point__votes": float("inf")}, "operating_point.votes"),
        ({"operating_point__thresholds": {"a": {"b": 1}}}, "less nesting"),
        ({"operating_point__": 1}, "operating_point"),
        ({"metrics__x": None}, "metrics.x"),
        ({"metrics__x": [1]}, "metrics.x"),
        ({"metrics__x": float("-inf")}, "metrics.x"),
        ({"metrics": {"a": {"b": {"c": {"d": {"e": {"f": {}}}}}}}}, "less nesting"),
        ({"metrics__x": "\x1b[31m"}, "plain printable text"),
        ({"tolerance__cosine_min": 1.1}, "tolerance: cosine_min"),
        ({"front_ends": "myo"}, "front_ends"),
        ({"front_ends": [""]}, "front_ends"),
        ({"members": {"a": {"sha256": "0" * 64, "size": -1}}}, "members: a: size"),
        ({"members": {"a": {"sha256": "0" * 63, "size": 1}}}, "members: a: sha256"),
        ({"members": {"a": {"sha256": "0" * 64, "size": 1, "path": "/"}}}, "unknown field 'path'"),
        ({"key_id": "xyz"}, "key_id"),
        ({"extra": 1}, "unknown field 'extra'"),
        ({"windows_ms": 1}, "'window_ms', the nearest"),
    ],
)
def test_every_wrong_field_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BundleError, match=words):
        manifest_from(rewritten(**change), "manifest.json")


@pytest.mark.parametrize("name", sorted(Manifest.__dataclass_fields__))
def test_no_field_may_be_left_out(name: str) -> None:
    fields = rewritten()
    del fields[name]
    with pytest.raises(BundleError, match="another schema" if name == "schema" else f"field '{name}' is missing"):
        Manifest.from_bytes(canonical(fields))


def test_a_number_of_a_foreign_kind_is_refused_before_it_is_signed(tmp_path: Path) -> None:
    manifest = replace(forge.tiny_manifest(), metrics={"r_at_1": np.float32(0.5)})
    with pytest.raises(BundleError, match=r"metrics.r_at_1"):
        write_bundle(tmp_path / "a.myosem", manifest, forge.tiny_members(), forge.KEY)


@given(radius=st.floats(0.0, 0.999), angle=st.floats(0.0, 3.14159))
def test_every_section_with_poles_inside_the_unit_circle_is_accepted(radius: float, angle: float) -> None:
    a1, a2 = -2 * radius * float(np.cos(angle)), radius * radius
    fields = rewritten(filter__sections=[[1.0, 0.0, 0.0, 1.0, a1, a2]])
    assert Manifest.from_bytes(canonical(fields)).filter.sections == ((1.0, 0.0, 0.0, 1.0, a1, a2),)


@given(radius=st.floats(1.001, 3.0), angle=st.floats(0.0, 3.14159))
def test_every_section_with_poles_outside_is_refused(radius: float, angle: float) -> None:
    a1, a2 = -2 * radius * float(np.cos(angle)), radius * radius
    with pytest.raises(BundleError, match="stable"):
        Manifest.from_bytes(canonical(rewritten(filter__sections=[[1.0, 0.0, 0.0, 1.0, a1, a2]])))


@given(
    metrics=st.dictionaries(
        st.from_regex(r"[a-z@ ]{1,8}", fullmatch=True),
        st.one_of(st.integers(-(10**9), 10**9), st.floats(-1e12, 1e12), st.just("µV ✓")),
        max_size=5,
    )
)
@settings(deadline=None)
def test_any_finite_metrics_survive_the_journey(metrics: dict[str, Any]) -> None:
    manifest = replace(forge.tiny_manifest(), metrics=metrics, key_id="0" * 16)
    assert Manifest.from_bytes(manifest.to_bytes()).metrics == metrics
