"""Which electrodes, on which side, at what rate: what a model was trained for and what a front end delivers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from myosem_edge.errors import ProfileError


@dataclass(frozen=True)
class Montage:
    """Electrodes of one device. `layout` is "ring" (neighbours are neighbours on the arm) or "sites".

    This is what a board can be told: one ring, or sites, of raw EMG. `RecordedMontage` says more of a data set.
    """

    device: str
    channels: int
    layout: str
    rate_hz: float
    unit: str
    prefiltered: str

    @property
    def rings(self) -> int:
        """Rings that lie one after the other in the channels, all of the same size and turning together."""
        return 1

    @property
    def envelope(self) -> bool:
        """Whether the device rectifies and smooths: samples are then amplitudes, not EMG."""
        return False

    @property
    def turning_rings(self) -> int:
        """Rings that can be worn rotated; 0 where every electrode has a place of its own."""
        return self.rings if self.layout == "ring" else 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})

    def require_same(self, other: Montage, *, where: object) -> None:
        """Raises:
        ProfileError: `other` differs in what the encoder depends on (channels, layout, rings, rate, unit, envelope).
        """
        for name in ("channels", "layout", "rings", "rate_hz", "unit", "envelope"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ProfileError(
                    f"montage differs in {name}",
                    where=where,
                    found=theirs,
                    expected=mine,
                    todo="Use the front end this bundle was made for, or calibrate again",
                )


@dataclass(frozen=True)
class RecordedMontage(Montage):
    """Electrodes of a data set, which may be several rings, or envelopes; no bundle can be made for those."""

    rings: int = 1
    envelope: bool = False


MYO = Montage("myo", 8, "ring", 200.0, "counts", "50 Hz notch in the armband; no band-pass")


def ring_order(channels: int, shift: int, mirrored: bool, rings: int = 1) -> np.ndarray:
    """Indices that bring a worn ring to the canonical one: `canonical = worn[..., ring_order(...)]`.

    A left arm wears the ring mirrored; `shift` counts electrodes towards higher channel numbers. Several rings turn
    together; without a ring (`rings` 0) every electrode stays where it is.
    """
    if rings == 0:
        return np.arange(channels)
    size = channels // rings
    order = np.arange(size)
    if mirrored:
        order = (-order) % size
    order = order[(np.arange(size) + shift) % size]
    return (size * np.arange(rings)[:, None] + order).reshape(-1)


def input_scale(power: np.ndarray) -> np.ndarray:
    """What each channel is divided by (channels,), from its mean square: the RMS, a dead channel not blown up."""
    return np.asarray(np.sqrt(np.maximum(power, 0.01 * power.mean() + 1e-12)))
