"""What training minimises: multi-positive contrastive alignment with the descriptions, and an episodic loss.

Multi-positive: every description of a gallery against every frame, and every frame of the batch that shows an action is
a positive of its description (plain InfoNCE calls them negatives). Episodic: a ridge classifier in closed form, fitted
on one repetition of a session and judged on others, as calibration will be (Bertinetto et al. 2019).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def contrastive_loss(z: Tensor, labels: Tensor, prototypes: Tensor, scale: Tensor, text_to_emg: float = 0.3) -> Tensor:
    """z (n, e) unit, labels (n,) rows of prototypes (a, e) unit, scale a positive scalar."""
    logits = scale * z @ prototypes.T  # (n, a)
    loss = F.cross_entropy(logits, labels)
    present = torch.unique(labels)
    per_text = F.log_softmax(logits[:, present], dim=0)  # for each description, over all EMG of the batch
    positive = labels[:, None] == present
    return loss - text_to_emg * (per_text * positive).sum(0).div(positive.sum(0)).mean()


class EpisodicRidge(nn.Module):
    """The differentiable head: ridge regression to one-hot targets, dual form, learned regulariser and temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.log_ridge = nn.Parameter(torch.tensor(0.0))
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def forward(
        self, support: Tensor, support_labels: Tensor, query: Tensor, query_labels: Tensor, ways: int
    ) -> Tensor:
        """support (episodes, n, d), query (episodes, m, d), labels in 0..ways-1."""
        mean = support.mean(dim=1, keepdim=True)
        spread = (support - mean).square().mean(dim=(1, 2), keepdim=True).add(1e-6).sqrt()
        s, q = (support - mean) / spread, (query - mean) / spread
        targets = F.one_hot(support_labels, ways).to(s.dtype) - 1.0 / ways
        kernel = s @ s.transpose(1, 2) / s.shape[-1]
        ridge = self.log_ridge.exp() * torch.eye(kernel.shape[-1], dtype=s.dtype, device=s.device)
        weights = torch.linalg.solve(kernel + ridge, targets)  # (episodes, n, ways)
        logits = self.log_scale.exp() * (q @ s.transpose(1, 2) / s.shape[-1]) @ weights
        return F.cross_entropy(logits.flatten(0, 1), query_labels.flatten())
