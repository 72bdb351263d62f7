"""Spatial weights as functions of where an electrode sits instead of its number.

Around the arm: 1, cos k*theta and sin k*theta, as many as the model's ring has electrodes, so that on that ring every
set of per-electrode weights is one of these functions (the discrete Fourier transform). Along the arm: the distance,
and its product with the first harmonic. What electrodes contribute is averaged over those that are there, so that few
and many give powers of the same size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from myosem_edge.errors import InputError

ELECTRODES, HARMONIC = "electrodes", "harmonic"
ALONG_FUNCTIONS = 3
ALONG_UNIT_MM = 50.0  # brings distances along a forearm to the size of one
FEWEST, MOST = 4, 64  # electrodes that a model of places is meant for


def basis_size(ring: int) -> int:
    """Functions of a model whose ring has `ring` electrodes."""
    return ring + ALONG_FUNCTIONS


def ring_positions(electrodes: int) -> Tensor:
    """(electrodes, 2): one ring at distance 0, angle in turns and millimetres along the arm."""
    return torch.stack((torch.arange(electrodes) / electrodes, torch.zeros(electrodes)), dim=1)


def basis(positions: Tensor, ring: int) -> Tensor:
    """(functions, electrodes) at positions (electrodes, 2); on the ring of `ring` electrodes the first rows are
    orthonormal.

    Raises:
        InputError: fewer or more electrodes than a model of places is meant for, or not two numbers each.
    """
    if positions.ndim != 2 or positions.shape[1] != 2 or not FEWEST <= len(positions) <= MOST:
        raise InputError(
            "electrodes that a model of places cannot take",
            found=f"positions of shape {tuple(positions.shape)}",
            expected=f"{FEWEST} to {MOST} electrodes, angle in turns and millimetres along the arm of each",
        )
    theta, along = 2 * math.pi * positions[:, 0], positions[:, 1] / ALONG_UNIT_MM
    rows = [torch.ones_like(theta)]
    for k in range(1, (ring - 1) // 2 + 1):
        rows += [math.sqrt(2) * torch.cos(k * theta), math.sqrt(2) * torch.sin(k * theta)]
    if ring % 2 == 0:
        rows.append(torch.cos(ring // 2 * theta))
    rows += [along, along * rows[1], along * rows[2]]
    return torch.stack(rows) / math.sqrt(ring)


def shares(mask: Tensor | None, electrodes: int, ring: int, like: Tensor) -> Tensor:
    """What each electrode weighs, (electrodes,) or as mask (batch, electrodes): the ring's sum is kept, absent ones
    weigh nothing.
    """
    if mask is None:
        return torch.full((electrodes,), ring / electrodes, dtype=like.dtype, device=like.device)
    present = mask.to(like.dtype)
    return present * (ring / present.sum(dim=-1, keepdim=True).clamp(min=1.0))
