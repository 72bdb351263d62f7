"""Quantisation-aware training: the body learns to say, with every rounding in place, what it said in floats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor

from myosem_edge.quantize.fake_body import FakeBody

RATE = 3e-4


def train_rounded(
    body: FakeBody,
    batches: Iterator[Tensor],
    steps: int,
    settled: int,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> FakeBody:
    """A copy of `body`, whose scales are set and stay, after `steps` of `batches` of features (batch, width, frames).

    The target is the exact body itself, h for calibration and z for descriptions; the first `settled` frames only fill
    it.
    """
    rounded = deepcopy(body)
    optimiser = torch.optim.Adam(rounded.parameters(), lr=RATE)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - step / steps)
        features = next(batches)
        with torch.no_grad():
            wanted_h, wanted_z = (value[:, settled:] for value in body(features))
            spread = wanted_h.flatten(0, 1).std(dim=0) + 1e-3
        h, z = (value[:, settled:] for value in rounded(features, rounded.places))
        loss = ((h - wanted_h) / spread).square().mean() + (1 - F.cosine_similarity(z, wanted_z, dim=-1)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        progress(step + 1, float(loss.detach()))
    return rounded
