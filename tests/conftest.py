"""What every test folder shares: the header that says which versions a report is about."""

from __future__ import annotations

import importlib.metadata
import platform

HEADER = ("numpy", "onnxruntime", "torch", "cryptography", "pyserial", "hypothesis")


def pytest_report_header() -> str:
    versions = []
    for name in HEADER:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    return f"myosem-edge on {platform.machine()}: {', '.join(versions)}"
