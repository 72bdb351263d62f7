"""Signed big-endian integers of three bytes, as 24-bit converters send them."""

from __future__ import annotations

import numpy as np

LARGEST, SMALLEST = 2**23 - 1, -(2**23)


def unpack_i24(data: np.ndarray) -> np.ndarray:
    """Bytes `(n, 3 k)` as counts `(n, k)` int32."""
    wide = np.zeros((len(data), data.shape[1] // 3, 4), np.uint8)
    wide[:, :, :3] = data.reshape(len(data), -1, 3)
    return wide.view(">i4")[:, :, 0] >> 8


def pack_i24(values: np.ndarray) -> bytes:
    """Numbers `(k,)` as the nearest counts that fit, one after the other."""
    counts = np.clip(np.rint(values), SMALLEST, LARGEST).astype(">i4")
    return counts.view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
