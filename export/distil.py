"""Teach a small streaming student what the teacher knows.

The student starts with whatever of the teacher fits its size (filters and mixtures always, the whole trunk where it is
as wide) and learns the rest from three signals on real EMG: the teacher's embedding, its similarities to every
description (Hinton et al. 2015), and its hidden layer through a linear map (Romero et al. 2015), because calibration
stands on that layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from myosem_edge.actions.table import DescriptionTable
from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.sessions import Session
from myosem_edge.learn.teacher.batches import AugmentConfig, Sampler
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.learn.teacher.loss import EpisodicRidge
from myosem_edge.learn.teacher.model import Encoder, ModelConfig

# Width of the hidden layer by the name of the size, which is about the number of parameters.
SIZES = {"15k": 48, "50k": 96, "120k": 160}  # width by rounded number of parameters
TEACHER = "teacher"  # as large as the teacher, and then it is the teacher
WARM_FRAMES = 12


@dataclass(frozen=True)
class DistilConfig:
    size: str = TEACHER  # training that size directly beats distilling to it: docs/results/students.md
    steps: int = 300
    seed: int = 0
    learning_rate: float = 2e-3
    episodes: int = 6
    ways: int = 7
    segment_frames: int = 30
    temperature: float = 0.1  # of the cosines whose distribution is handed down
    embedding_weight: float = 5.0
    similarity_weight: float = 1.0
    hidden_weight: float = 1.0
    episodic_weight: float = 0.5
    augment: AugmentConfig = field(default_factory=AugmentConfig)


def student_config(teacher: ModelConfig, size: str) -> ModelConfig:
    """Raises:
    InputError: unknown size.
    """
    if size not in (TEACHER, *SIZES):
        raise InputError(f"'{size}' is not a student size", expected=", ".join((TEACHER, *SIZES)))
    width = teacher.width if size == TEACHER else SIZES[size]
    return replace(teacher, width=width, semantic_queries=False, smooth_frames=1)


def size_name(config: ModelConfig) -> str:
    """What a table calls a student: "50k", or "70 wide" for a width that has no name."""
    return {width: name for name, width in SIZES.items()}.get(config.width, f"{config.width} wide")


def distil(
    teacher: Trained,
    sessions: Sequence[Session],
    table: DescriptionTable,
    config: DistilConfig,
    progress: Callable[[int, dict[str, float]], None] = lambda step, numbers: None,
) -> Trained:
    """A student of the teacher, trained on sessions whose rings are aligned already.

    A student as large as its teacher is the teacher: going on from there brings nothing (measured, see docs/results).
    """
    shape = student_config(teacher.encoder.config, config.size)
    if shape == teacher.encoder.config:
        return teacher
    torch.manual_seed(config.seed)
    student = Encoder(shape)
    _inherit(student, teacher.encoder)
    hint = nn.Linear(student.config.width, teacher.encoder.config.width)
    ridge = EpisodicRidge()
    parameters = [*student.parameters(), *hint.parameters(), *ridge.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.01)
    sampler = Sampler(sessions, config.segment_frames, WARM_FRAMES, config.augment)
    prototypes = teacher.prototypes(table)
    teacher.encoder.eval()
    student.train()
    for step in range(config.steps):
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * (0.5 * (1 + math.cos(math.pi * step / config.steps)) + 1e-3)
        rng = np.random.default_rng([config.seed, step])
        x, _ = sampler.episodes([rng] * config.episodes, config.ways)
        losses = _losses(config, teacher.encoder, student, hint, ridge, prototypes, torch.from_numpy(x))
        optimiser.zero_grad()
        losses["loss"].backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        progress(step + 1, {name: float(value.detach()) for name, value in losses.items()})
    student.eval()
    return replace(teacher, encoder=student)


def _losses(
    config: DistilConfig,
    teacher: Encoder,
    student: Encoder,
    hint: nn.Linear,
    ridge: EpisodicRidge,
    prototypes: Tensor,
    x: Tensor,
) -> dict[str, Tensor]:
    episodes, ways, repetitions = x.shape[:3]
    flat = x.flatten(0, 2)
    with torch.no_grad():
        teacher_h, teacher_z = teacher(flat)
        teacher_h, teacher_z = teacher_h[:, WARM_FRAMES:], teacher_z[:, WARM_FRAMES:]
        spread = teacher_h.flatten(0, 1).std(dim=0) + 1e-3
        target = F.softmax(teacher_z @ prototypes.T / config.temperature, dim=-1)
    h, z = student(flat)
    h, z = h[:, WARM_FRAMES:], z[:, WARM_FRAMES:]
    embedding = (1 - (z * teacher_z).sum(-1)).mean()
    predicted = F.log_softmax(z @ prototypes.T / config.temperature, dim=-1)
    similarity = F.kl_div(predicted.flatten(0, 1), target.flatten(0, 1), reduction="batchmean")
    hidden = ((hint(h) - teacher_h) / spread).square().mean()
    frames = h[:, ::4].reshape(episodes, ways, repetitions, -1, h.shape[-1])
    local = torch.arange(ways)[None, :, None, None].expand(frames.shape[:4])
    episodic = ridge(
        frames[:, :, 0].flatten(1, 2),
        local[:, :, 0].flatten(1, 2),
        frames[:, :, 1:].flatten(1, 3),
        local[:, :, 1:].flatten(1, 3),
        ways,
    )
    loss = (
        config.embedding_weight * embedding
        + config.similarity_weight * similarity
        + config.hidden_weight * hidden
        + config.episodic_weight * episodic
    )
    return {"loss": loss, "cosine": 1 - embedding, "hidden": hidden, "episodic": episodic}


def _inherit(student: Encoder, teacher: Encoder) -> None:
    """Start from whatever of the teacher fits: filters and mixtures always, the whole trunk where widths agree."""
    own = student.state_dict()
    fitting = {
        name: value for name, value in teacher.state_dict().items() if name in own and own[name].shape == value.shape
    }
    student.load_state_dict(own | fitting)
    # Descriptions and embeddings must be weighed alike, and the descriptions' weights are the teacher's.
    student.view_weights.requires_grad_(False)
