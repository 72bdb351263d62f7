"""A signed bundle small enough to be made anew in every test of `run`."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

sys.path.insert(0, str(Path(__file__).parents[1] / "attacks"))

import bundle_forge as forge

from myosem_edge.bundle import write_bundle
from tests.runtime.loop_bench import GRIPS

DESCRIPTIONS = "".join(f"{action}\tdo {action}\n" for action in GRIPS.actions)
HAND_KEY, DEV_KEY = Ed25519PrivateKey.from_private_bytes(b"h" * 32), Ed25519PrivateKey.from_private_bytes(b"d" * 32)


def bundle(folder: Path, key: Ed25519PrivateKey = HAND_KEY, **changes: Any) -> Path:
    """Write one; `changes` are fields of its manifest, and `members`."""
    members = forge.tiny_members() | {"descriptions.txt": DESCRIPTIONS.encode(), "grips.toml": GRIPS.to_toml().encode()}
    members |= changes.pop("members", {})
    path = folder / "tiny.myosem"
    write_bundle(path, dataclasses.replace(forge.tiny_manifest(), **changes), members, key)
    return path
