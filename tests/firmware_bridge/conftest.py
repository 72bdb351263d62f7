"""What the tests of drivers share."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def brainflow(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Its package asks setuptools, before Python 3.12, where its library lies; newer setuptools cannot say."""
    found = pytest.importorskip("brainflow")
    places = types.ModuleType("pkg_resources")
    places.resource_filename = lambda module, path: str(Path(found.__file__).parent / path)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pkg_resources", places)
    return found
