"""Compilers and emulators of the system; a test without them is skipped and says which package it lacks."""

from __future__ import annotations

import shutil

import pytest

from myosem_edge.export.c_host import COMPILERS


def compiler() -> str:
    for name in COMPILERS:
        if found := shutil.which(name):
            return found
    pytest.skip("no C compiler is installed (apt install gcc)")


def tool(name: str, packages: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (apt install {packages})")
