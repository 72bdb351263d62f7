"""What a board installs: the wheel in a fresh environment, its size on disk, and how long its imports take."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# What `run` needs before its first decision, and what of it is the encoder runtime's own.
IMPORTS = {"board package": "myosem_edge.runtime.decoder", "ONNX Runtime": "onnxruntime"}
TIMED = "import time; begun = time.perf_counter(); import {module}; print(time.perf_counter() - begun)"
LISTED = """
import importlib.metadata, json
sizes = {}
for each in importlib.metadata.distributions():
    files = [each.locate_file(file) for file in each.files or ()]
    sizes[each.metadata["Name"]] = sum(file.stat().st_size for file in files if file.is_file())
print(json.dumps(sizes))
"""
TOOLS = {"pip", "setuptools", "wheel"}


def measure_installation(folder: Path, repeats: int) -> dict[str, Any]:
    """Build the wheel, install it with pip into an environment of its own below `folder`, look, and remove it.

    Raises:
        subprocess.CalledProcessError: the wheel cannot be built, or a package cannot be had; stderr says why.
    """
    shutil.rmtree(folder, ignore_errors=True)
    copy = folder / "source"
    left_out = shutil.ignore_patterns(".git", ".venv", "build", "dist", "runs", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, copy, symlinks=True, ignore=left_out)
    _run([sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(copy)])
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    python = str(folder / "venv" / "bin" / "python")
    _run([python, "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(wheel)])
    sizes = {name: size for name, size in json.loads(_run([python, "-I", "-c", LISTED])).items() if name not in TOOLS}
    times = {
        name: [float(_run([python, "-I", "-c", TIMED.format(module=module)])) for _ in range(repeats + 1)][1:]
        for name, module in IMPORTS.items()  # the first import of all writes byte code
    }
    found = {"wheel_mb": wheel.stat().st_size / 1e6, "installed_mb": {n: s / 1e6 for n, s in sizes.items()}}
    shutil.rmtree(folder)
    return found | {"import_s": times}


def _run(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
