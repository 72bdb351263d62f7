"""A training that begins from a trained model: what fits is taken over, also where the sampling rate differs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.learn.teacher.model import DescriptionProjection, Encoder

FILTERS = "front.filters"


def begin_from(encoder: Encoder, projection: DescriptionProjection, start: Trained) -> list[str]:
    """Take over every tensor that has the same shape; returns the names of those that begin anew.

    The filters of the front are stretched to the new sampling rate: a filter passes the frequencies it passed before.
    Descriptions keep their place where the embedding is as large as it was.
    """
    old = dict(start.encoder.state_dict())
    ratio = start.encoder.config.frame_samples / encoder.config.frame_samples  # of the sampling rates: frames are 25 ms
    old[FILTERS] = stretched(old[FILTERS], ratio)
    fresh = _take(encoder, old)
    if projection.matrix.shape == start.projection.matrix.shape:
        projection.load_state_dict(start.projection.state_dict())
    else:
        fresh.append("projection.matrix")
    return fresh


def stretched(filters: Tensor, ratio: float) -> Tensor:
    """Filters (filters, taps) whose last tap is the newest sample, at a rate `1 / ratio` times theirs; same shape.

    Read between the taps by straight lines; beyond the oldest tap there is nothing. The gain of what they pass stays.
    """
    if ratio == 1.0:
        return filters
    taps = filters.shape[1]
    ago = np.arange(taps - 1, -1, -1) * ratio  # in old samples before the newest
    place = np.arange(taps - 1, -1, -1)
    rows = [np.interp(-ago, -place, row, left=0.0) * ratio for row in filters.numpy().astype(float)]
    return torch.from_numpy(np.array(rows, np.float32))


def digest(start: Trained) -> str:
    """What a run began from, for its identity."""
    found = hashlib.sha256()
    for name, value in sorted(start.encoder.state_dict().items()):
        found.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _take(module: nn.Module, old: Mapping[str, Tensor]) -> list[str]:
    own = module.state_dict()
    fitting = {name: old[name] for name, value in own.items() if name in old and old[name].shape == value.shape}
    module.load_state_dict(own | fitting)
    return [name for name in own if name not in fitting]
