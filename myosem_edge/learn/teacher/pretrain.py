"""A start without labels: before anything is named, the encoder learns to foresee the signal.

From what it has seen up to a frame it predicts the log power of every electrode some frames later (van den Oord et al.
2018, by regression instead of contrast). Only the encoder goes on from here; the predictor is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from myosem_edge.learn.teacher import parallel
from myosem_edge.learn.teacher.model import Encoder

AHEAD_FRAMES = (3, 8)  # beyond the two frames that a power is the mean of, and as far as a hold's level is a guess
RATE, WEIGHT_DECAY = 2e-3, 0.01


def foresight_loss(encoder: Encoder, predictor: nn.Module, x: Tensor, settled: int) -> Tensor:
    """Mean square error of the log powers to come, x (batch, channels, samples).

    The first `settled` frames only fill the encoder.
    """
    h = encoder.hidden(x)[:, settled : -max(AHEAD_FRAMES)]
    frames = h.shape[1]
    with torch.no_grad():
        power = encoder.front.log_powers(x)[1].transpose(1, 2)
        wanted = [power[:, settled + ahead : settled + ahead + frames] for ahead in AHEAD_FRAMES]
    return F.mse_loss(predictor(h), torch.cat(wanted, dim=-1))


def pretrain(
    encoder: Encoder,
    batches: Iterator[Tensor],
    steps: int,
    settled: int,
    share: float,
    schedule: Callable[[float], float],
    progress: Callable[[float], None] = lambda loss: None,
) -> None:
    """Change `encoder` in place over `steps` of `batches`, of whose every step this process has a `share` (0 to 1)."""
    device = encoder.view_weights.device
    predictor = nn.Linear(encoder.config.width, len(AHEAD_FRAMES) * encoder.config.channels).to(device)
    parallel.begin_alike(predictor, str(device))
    parts = nn.ModuleList([encoder, predictor])
    optimiser = torch.optim.AdamW(parts.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    encoder.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * schedule(step / steps)
        loss = share * foresight_loss(encoder, predictor, next(batches).to(device), settled)
        optimiser.zero_grad()
        loss.backward()
        parallel.add_gradients(parts.parameters())
        optimiser.step()
        progress(parallel.total({"loss": loss})["loss"])
