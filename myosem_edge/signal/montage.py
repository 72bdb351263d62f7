"""Which electrodes, on which side, at what rate: what a model was trained for and what a front end delivers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from myosem_edge.errors import ProfileError


@dataclass(frozen=True)
class Montage:
    """Electrodes of one device. `layout` is "ring" (neighbours are neighbours on the arm) or "sites"."""

    device: str
    channels: int
    layout: str
    rate_hz: float
    unit: str
    prefiltered: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Montage:
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})

    def require_same(self, other: Montage, *, where: object) -> None:
        """Raises:
        ProfileError: `other` differs in what the encoder depends on (channels, layout, rate, unit).
        """
        for name in ("channels", "layout", "rate_hz", "unit"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ProfileError(
                    f"montage differs in {name}",
                    where=where,
                    found=theirs,
                    expected=mine,
                    todo="Use the front end this bundle was made for, or calibrate again",
                )


MYO = Montage("myo", 8, "ring", 200.0, "counts", "50 Hz notch in the armband; no band-pass")


def ring_order(channels: int, shift: int, mirrored: bool) -> np.ndarray:
    """Indices that bring a worn ring to the canonical one: `canonical = worn[..., ring_order(...)]`.

    A left arm wears the ring mirrored; `shift` counts electrodes towards higher channel numbers.
    """
    order = np.arange(channels)
    if mirrored:
        order = (-order) % channels
    return order[(np.arange(channels) + shift) % channels]


def input_scale(power: np.ndarray) -> np.ndarray:
    """What each channel is divided by (channels,), from its mean square: the RMS, a dead channel not blown up."""
    return np.asarray(np.sqrt(np.maximum(power, 0.01 * power.mean() + 1e-12)))
