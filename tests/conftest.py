"""What every test folder shares: versions in the header, real recordings, the shipped sample, a bundle made from it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from myosem_edge.bundle import Bundle, read_bundle
from myosem_edge.keys import TrustedKey, key_id

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = {key_id(KEY.public_key()): TrustedKey("factory", KEY.public_key(), False)}


def shared_data(pack: str) -> Path:
    """Folder of one of the full data packs; skips the test where they are not."""
    data = Path(os.environ.get("MYOSEM_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (data / pack).is_dir():
        pytest.skip(f"the data pack {pack} is not here; MYOSEM_DATA names the folder of packs")
    return data / pack


@dataclass(frozen=True)
class Exported:
    """A bundle exported from the sample in a few steps, with what it was made of."""

    path: Path
    report: Any
    bundle: Bundle
    make: Callable[..., Any]  # the same export again: make(out, **changes)


@pytest.fixture(scope="session")
def sample() -> dict[str, list[Any]]:
    """Sessions of the shipped sample by role."""
    pytest.importorskip("torch", reason="the [train] extra is not installed")
    from myosem_edge.learn.corpus.folders import load_sessions
    from myosem_edge.learn.sample import PACK, sample_folder, sample_roles

    sessions = load_sessions(sample_folder(), [PACK])
    return {role: [s for s in sessions if s.subject in people] for role, people in sample_roles().items()}


@pytest.fixture(scope="session")
def teacher() -> Any:
    """The teacher that ships."""
    torch = pytest.importorskip("torch", reason="the [train] extra is not installed")
    from myosem_edge.cli._training import shipped_teacher
    from myosem_edge.learn.teacher.checkpoint import Trained

    torch.set_num_threads(1)
    return Trained.load(shipped_teacher())


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, sample: dict[str, list[Any]], teacher: Any) -> Exported:
    """A bundle of a barely distilled student: right in every number but its accuracy."""
    pytest.importorskip("onnx", reason="the [train] extra is not installed")
    pytest.importorskip("ai_edge_litert", reason="the [train] extra is not installed")
    from myosem_edge.actions.catalogue import load_catalogue
    from myosem_edge.export.distil import DistilConfig
    from myosem_edge.export.pipeline import export_bundle
    from myosem_edge.runtime.grips import default_grips_path, load_grip_map

    catalogue = load_catalogue()

    def make(out: Path, **changes: Any) -> Any:
        options = {
            "name": "small",
            "version": "1",
            "grips": load_grip_map(default_grips_path(), catalogue.ids, catalogue.grips),
            "config": DistilConfig(size="15k", steps=3, episodes=2),
            "max_int8_loss": 100.0,
            **changes,
        }
        people = options.pop("distil_sessions", sample["distil"][:2]), options.pop("judges", sample["judge"][:1])
        return export_bundle(teacher, *people, out, KEY, **options)

    path = tmp_path_factory.mktemp("exported") / "small-1.myosem"
    report = make(path)
    return Exported(path, report, read_bundle(path, KEYS), make)


@pytest.fixture(scope="session")
def shipped_size(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a student of the size that ships: right in what it costs and weighs. See `trusting`."""
    from myosem_edge.export.distil import DistilConfig

    path = tmp_path_factory.mktemp("sized") / "sized-1.myosem"
    exported.make(path, config=DistilConfig())
    return path


def trusting(home: Path) -> Path:
    """Make it the folder of a user ($MYOSEM_HOME) who trusts the signer of the bundles above."""
    (home / "keys.d").mkdir(parents=True)
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (home / "keys.d" / "factory.pub").write_bytes(public)
    return home


def pytest_report_header() -> str:
    """The versions that a report is about."""
    versions = []
    for name in ("numpy", "onnxruntime", "ai-edge-litert", "torch", "cryptography", "pyserial", "hypothesis"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    return f"myosem-edge on {platform.machine()}: {', '.join(versions)}"
