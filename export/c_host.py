"""The C kernel of a folder on this computer: compiled, loaded, called with arrays, for benchmarks and tests."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from myosem_edge.errors import InputError
from myosem_edge.export.c_arrays import scale_q16
from myosem_edge.export.c_folder import state_bytes
from myosem_edge.quantize.network import IntBody
from myosem_edge.runtime.decoder import Model
from myosem_edge.runtime.encoder import Fit

COMPILERS = ("cc", "gcc", "clang")
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic", "-Werror")


@dataclass(frozen=True)
class Ran:
    """k frames of C: features and h (k, width) u8, unit z (k, embedding), place of the nearest description (k,)."""

    features: np.ndarray
    h: np.ndarray
    z: np.ndarray
    nearest: np.ndarray


class HostKernel:
    """The kernel in `folder`, which was made from `model`."""

    def __init__(self, model: Model, folder: Path, options: Sequence[str] = ("-O2",)) -> None:
        """Raises:
        InputError: no C compiler, or it does not take the folder.
        """
        self.model, self._body = model, IntBody.from_tensors(model.tensors)
        self._library = ctypes.CDLL(str(_compile(folder, options)))
        self._state = np.zeros(state_bytes(model) // 8, np.uint64)

    def function(self, name: str, result: type | None = ctypes.c_uint32, *arguments: type) -> Any:
        found = getattr(self._library, name)
        found.restype, found.argtypes = result, list(arguments) or None
        return found

    def init(self, fit: Fit | None) -> bool:
        """A cold start; whether the kernel takes this fit."""
        state = _at(self._state)
        channels = self.model.front.channels

        class CFit(ctypes.Structure):
            _fields_ = (
                ("mirrored", ctypes.c_bool),
                ("shift", ctypes.c_uint32),
                ("scale_q16", ctypes.c_uint32 * channels),
            )

        given = None
        if fit is not None:
            scale = (ctypes.c_uint32 * channels)(*(int(q) for q in scale_q16(fit.scale)))
            given = ctypes.byref(CFit(fit.mirrored, fit.shift, scale))
        return bool(self.function("myosem_init", ctypes.c_bool)(state, given))

    def body(self, features: np.ndarray) -> np.ndarray:
        """The body alone from a cold start: features (k, width) u8 -> h (k, width) u8."""
        self.init(None)
        h = np.array(features, np.uint8)
        step = self.function("myosem_body_step", None)
        for row in h:
            step(_at(self._state), _at(row))
        return h

    def run(self, samples: np.ndarray, fit: Fit | None) -> Ran:
        """Everything from a cold start: raw samples (n, channels); a last partial frame is dropped."""
        front = self.model.front
        frames = np.ascontiguousarray(samples, np.int16)[: len(samples) // front.frame_samples * front.frame_samples]
        frames = frames.reshape(-1, front.frame_samples * front.channels)
        features = np.empty((len(frames), self._body.width), np.uint8)
        h, z = np.empty_like(features), np.empty((len(frames), len(self._body.project)), np.int16)
        nearest = np.empty(len(frames), np.int64)
        self.init(fit)
        front_step = self.function("myosem_front_step", None)
        for frame, row in zip(frames, features, strict=True):
            front_step(_at(self._state), _at(frame), _at(row))
        self.init(fit)
        push, find = self.function("myosem_push_frame", None), self.function("myosem_nearest")
        for i, frame in enumerate(frames):
            push(_at(self._state), _at(frame), _at(h[i]), _at(z[i]))
            nearest[i] = find(_at(z[i]), None)
        return Ran(features, h, z / np.float32(2**15), nearest)


def _compile(folder: Path, options: Sequence[str]) -> Path:
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        raise InputError("no C compiler is installed", expected=" or ".join(COMPILERS), todo="Install gcc")
    build = folder / "build"
    build.mkdir(exist_ok=True)
    sources = sorted(str(path.resolve()) for path in folder.glob("*.c"))
    library = build / "host.so"
    # Linked without the options: a library linked with -ffast-math makes the whole process flush small numbers to zero.
    for command in (
        [compiler, *WARNINGS, *options, "-fPIC", "-c", *sources],
        [compiler, "-shared", *(f"{Path(source).stem}.o" for source in sources), "-o", library.name],
    ):
        finished = subprocess.run(command, cwd=build, capture_output=True, text=True)
        if finished.returncode:
            raise InputError("the compiler refuses the folder", where=folder, found=finished.stderr[:2000])
    return library


def _at(values: np.ndarray) -> ctypes.c_void_p:
    assert values.flags.c_contiguous
    return ctypes.c_void_p(values.ctypes.data)
