"""A recording that says of what device it is: the `.npz` that `myosem-edge record` writes, read back sample by sample.

It has the pack schema (emg, label, repetition, rec_ptr), and beside it: `lost` (samples,) marks samples that were lost
and stand there as zeros, `rec_first_sample` numbers each recording's first sample, `lead_off` (samples,) has one bit a
channel, and `about` is JSON. A hole that is too long to fill parts recordings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.arrays import checked_emg, read_arrays, require_borders
from myosem_edge.firmware_bridge.frontends.base import FrontEndInfo

SCHEMA = 1
ARRAYS = ("emg", "lost", "lead_off", "rec_ptr", "rec_first_sample", "about")


@dataclass(frozen=True)
class About:
    """What a recording says of itself. `told` is what `--front-end` had, `facts` what the device said, `notes` what the
    driver counted; `began` is UTC."""

    info: FrontEndInfo
    told: str = ""
    began: str = ""
    tool_version: str = ""
    facts: Mapping[str, str] | None = None
    notes: Mapping[str, int] | None = None

    def to_json(self) -> str:
        return json.dumps({"schema": SCHEMA, **asdict(self)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, where: object) -> About:
        """Raises:
        InputError: damaged, or of another schema.
        """
        try:
            told: dict[str, Any] = json.loads(text)
            schema = told.pop("schema")
            if schema != SCHEMA:
                raise InputError("was written by another version", where=where, found=f"schema {schema}",
                                 expected=f"schema {SCHEMA}")  # fmt: skip
            about = cls(**{**told, "info": _info(told["info"])})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"says nothing of its device that can be read ({error})", where=where) from error
        return about


@dataclass(frozen=True)
class Recorded:
    """What arrived: emg (samples, channels) float32, the number of every sample (samples,), and its lead-off bits."""

    about: About
    emg: np.ndarray
    numbers: np.ndarray
    lead_off: np.ndarray


def read_recorded(path: Path) -> Recorded:
    """Raises:
    InputError: unreadable, or not what `myosem-edge record` writes.
    """
    arrays = read_arrays(path, ARRAYS)
    if "about" not in arrays:
        raise InputError(
            "does not say of what device it is",
            where=path,
            expected="a file that myosem-edge record has written",
            todo="Play other recordings with: myosem-edge emulate NAME --recording FILE",
        )
    about = About.from_json(str(arrays["about"]), path)
    emg = checked_emg(arrays["emg"], path, about.info.channels)
    borders = arrays.get("rec_ptr", np.array([0, len(emg)]))
    require_borders(borders, len(emg), path)
    lost = _whole(arrays, "lost", len(emg), path).astype(bool)
    lead_off = _whole(arrays, "lead_off", len(emg), path)
    first = _whole(arrays, "rec_first_sample", len(borders) - 1, path).astype(np.int64)
    lengths = np.diff(borders)
    numbers = np.repeat(first - borders[:-1], lengths) + np.arange(len(emg))
    numbers, kept = numbers[~lost], emg[~lost]
    if not len(numbers) or numbers[0] < 0 or (np.diff(numbers) <= 0).any():
        raise InputError("its samples are not numbered in order", where=path)
    return Recorded(about, kept, numbers, lead_off[~lost])


def _whole(arrays: Mapping[str, np.ndarray], name: str, count: int, where: Path) -> np.ndarray:
    """(count,) whole numbers; zeros where there are none."""
    values = arrays.get(name, np.zeros(count, np.uint8))
    if values.shape != (count,) or values.dtype.kind not in "iub":
        found = f"{values.dtype} {values.shape}"
        raise InputError(f"{name} is not one whole number each", where=where, found=found, expected=f"({count},)")
    return values


def _info(values: Mapping[str, Any]) -> FrontEndInfo:
    """Raises:
    ValueError, TypeError, KeyError: no device is like that.
    """
    info = FrontEndInfo(**{each.name: values[each.name] for each in fields(FrontEndInfo)})
    words = (info.id, info.name, info.unit, info.layout, info.prefiltered, info.loss_visible_by)
    right = (
        all(isinstance(word, str) for word in words)
        and isinstance(info.channels, int)
        and 1 <= info.channels <= 256
        and 1 <= info.rate_hz <= 100_000
        and 0 < info.full_scale < math.inf
        and info.layout in ("ring", "sites")
    )
    if not right:
        raise ValueError("numbers that no device has")
    return info
