"""Python processes of our own: none of them imports what happens to lie in the current folder."""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Mapping
from pathlib import Path

import myosem_edge


def child_command(module: str, *arguments: str) -> list[str]:
    """What starts `module` in this interpreter; -P keeps the current folder off its import path."""
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for it: what runs from a source tree has to be found there again."""
    root = str(Path(myosem_edge.__file__).resolve().parents[1])
    child = dict(environment)
    if root not in _installed():
        # An empty entry would be the current folder.
        entries = [root, *(each for each in child.get("PYTHONPATH", "").split(os.pathsep) if each)]
        child["PYTHONPATH"] = os.pathsep.join(entries)
    return child


def _installed() -> set[str]:
    """The folders where packages are installed: what lies there is found without being told."""
    return {str(Path(folder).resolve()) for folder in (*site.getsitepackages(), site.getusersitepackages())}
