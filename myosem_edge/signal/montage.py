"""Which electrodes, on which side, at what rate: what a model was trained for and what a front end delivers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from myosem_edge.errors import InputError, ProfileError

RING_GAP_MM = 20.0  # between neighbouring rings of a data set that does not say


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
    def positions(self) -> tuple[tuple[float, float], ...]:
        """Where every electrode sits, as `electrode_positions` has it; empty where it follows from the rings."""
        return ()

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
    """Electrodes of a data set, which may be several rings, or envelopes; no bundle can be made for those.

    `positions` say where sites are: angle in turns around the forearm, millimetres along it.
    """

    rings: int = 1
    envelope: bool = False
    positions: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.positions and len(self.positions) != self.channels:
            raise InputError("not one position an electrode", found=len(self.positions), expected=self.channels)
        object.__setattr__(self, "positions", tuple((float(a), float(b)) for a, b in self.positions))

    def to_dict(self) -> dict[str, Any]:
        """Positions only where there are any: stores that were written before have none."""
        return {name: value for name, value in asdict(self).items() if name != "positions" or value}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        known = {name: values[name] for name in cls.__dataclass_fields__ if name != "positions"}
        return cls(**known, positions=values.get("positions", ()))


MYO = Montage("myo", 8, "ring", 200.0, "counts", "50 Hz notch in the armband; no band-pass")


def electrode_positions(montage: Montage) -> np.ndarray:
    """(channels, 2): angle in turns around the forearm, millimetres along it from the middle of the electrodes.

    Rings lie RING_GAP_MM apart unless the montage says where its electrodes are.

    Raises:
        InputError: sites of which nobody has said where they are.
    """
    if montage.positions:
        return np.array(montage.positions)
    if montage.layout != "ring":
        raise InputError(
            "nobody has said where these electrodes sit",
            found=f"{montage.device}, {montage.channels} {montage.layout}",
            todo="Give the montage positions",
        )
    size = montage.channels // montage.rings
    angle = np.tile(np.arange(size) / size, montage.rings)
    along = RING_GAP_MM * (np.arange(montage.rings) - (montage.rings - 1) / 2)
    return np.stack((angle, np.repeat(along, size)), axis=1)


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
