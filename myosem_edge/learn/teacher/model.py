"""The MyoSem encoder: an implementation of the idea, reconstructed from the published abstract; every reconstructed
choice is a field of ModelConfig and can be switched off.

Front (float): learned FIR bank shared over channels, learned spatial mixtures, their power over the last two frames of
25 ms and over the last ten, logarithm.
Activation-aware: a gate driven by the log power of each electrode opens or closes features with the level of
contraction.
With spatial="harmonic" mixtures and gate are functions of where an electrode sits (`spatial`): one model then takes
any ring or sites; `Encoder.settled` makes an ordinary model for one montage of it.
Body: residual blocks of depthwise causal convolutions over frames. Semantic queries: one per view of the descriptions,
each attending over the most recent frames and landing in its own subspace of the shared space.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from myosem_edge.actions.catalogue import VIEWS
from myosem_edge.errors import InputError
from myosem_edge.learn.teacher import parallel
from myosem_edge.learn.teacher.config import require_between
from myosem_edge.learn.teacher.spatial import ELECTRODES, HARMONIC, basis, basis_size, ring_positions, shares
from myosem_edge.signal.front import FAST_FRAMES, MOST_SLOW_FRAMES, POWER_FLOOR
from myosem_edge.signal.montage import Montage

_SPANS = ("channels", "frame_samples", "taps", "slow_frames", "smooth_frames", "query_frames")
MOST = 65_536  # of any size: more is a slip of the finger, and no memory holds it
SIZES = (*_SPANS, "filters", "mixtures", "width", "embedding")


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and switches. A hop is one frame."""

    channels: int = 8
    frame_samples: int = 5
    filters: int = 6
    taps: int = 9
    mixtures: int = 32
    slow_frames: int = 10  # of the second, steadier power of every mixture, beside that of the last two frames
    width: int = 96  # of h; 160 gains nothing: docs/results/students.md
    dilations: tuple[int, ...] = (1, 2, 4)
    embedding: int = 128  # of z, shared equally by the views
    smooth_frames: int = 1  # causal mean over the last frames of h: steadier holds, later onsets
    activation_aware: bool = True
    semantic_queries: bool = False
    query_frames: int = 8  # how far back a semantic query may look
    text_width: int = 384
    text_whitening: float = 0.2  # how far the projection starts from ignoring how the views of one action differ
    spatial: str = ELECTRODES  # whose weights the front learns: of electrodes by number, or "harmonic": of places

    def __post_init__(self) -> None:
        require_between(self, {**dict.fromkeys(SIZES, (1, MOST)), "slow_frames": (1, MOST_SLOW_FRAMES)})
        if not self.dilations or min(self.dilations) < 1 or self.embedding % len(VIEWS):
            raise InputError(
                "sizes that make no encoder",
                found=f"dilations {list(self.dilations)}, embedding {self.embedding}",
                expected=f"at least one dilation of at least 1, an embedding that {len(VIEWS)} views can share",
            )
        if self.spatial not in (ELECTRODES, HARMONIC):
            raise InputError(f"'{self.spatial}' is no kind of spatial weights", expected=f"{ELECTRODES} or {HARMONIC}")
        if self.spatial == HARMONIC and self.channels < 3:
            raise InputError("too few electrodes for harmonics", found=self.channels, expected="at least 3")

    @property
    def receptive_frames(self) -> int:
        """Frames that influence one decision, the newest included."""
        frames = max(FAST_FRAMES, self.slow_frames) + sum(2 * dilation for dilation in self.dilations)
        return frames + (self.query_frames - 1 if self.semantic_queries else 0) + (self.smooth_frames - 1)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        return cls(**{**values, "dilations": tuple(values["dilations"])})


class BatchNorm(nn.BatchNorm1d):
    """Of (batch, channels, frames), over the batch of all processes; in one process exactly `nn.BatchNorm1d`.

    (`nn.SyncBatchNorm` is for GPUs alone.)
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or parallel.world() == 1:
            return super().forward(x)
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        y, mean, variance, count = parallel.batch_norm(wide, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum or 0.0)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum or 0.0)
        return y.to(x.dtype)


class PowerFront(nn.Module):
    """(batch, channels, samples) -> features (batch, width, frames) and log channel power (batch, channels, frames).

    With spatial="harmonic", `positions` (channels, 2) say where electrodes sit (default: the ring of the
    configuration) and `mask` (channels,) or (batch, channels) which are there. Otherwise electrodes are known by
    number, and one that is not there is zero.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        functions = basis_size(config.channels) if config.spatial == HARMONIC else config.channels
        self.filters = nn.Parameter(torch.randn(config.filters, config.taps) / config.taps**0.5)
        self.mixing = nn.Parameter(
            torch.randn(config.mixtures, config.filters, functions) / (config.filters * config.channels) ** 0.5
        )
        self.norm = BatchNorm(2 * config.mixtures)  # fast powers, then slow ones
        self.expand = nn.Conv1d(2 * config.mixtures, config.width, 1)
        self.gate = nn.Conv1d(functions, config.width, 1)
        if config.spatial == HARMONIC:  # what one ring can teach nothing of must not speak on other montages
            with torch.no_grad():
                self.mixing[..., config.channels :] = 0.0
                self.gate.weight[:, config.channels :] = 0.0

    def basis(self, positions: Tensor | None = None) -> Tensor:
        """(functions, channels): what turns learnt coefficients into the weights of electrodes at these positions.

        Raises:
            InputError: the model knows electrodes by number, or cannot take so many.
        """
        if self.config.spatial == ELECTRODES:
            if positions is not None:
                raise InputError(
                    "the model knows electrodes by their number, not by their place",
                    todo=f'Train one with model.spatial="{HARMONIC}"',
                )
            return torch.eye(self.config.channels, dtype=self.mixing.dtype, device=self.mixing.device)
        if positions is None:
            positions = ring_positions(self.config.channels)
        return basis(positions.to(self.mixing), self.config.channels)

    def spatial_weights(self, positions: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """For one montage, mask (channels,): mixing (mixtures, filters, channels) and gate (width, channels)."""
        functions = self.basis(positions)
        if self.config.spatial == ELECTRODES:
            return self.mixing, self.gate.weight[..., 0]
        weights = functions * shares(mask, functions.shape[1], self.config.channels, functions)
        return self.mixing @ weights, self.gate.weight[..., 0] @ weights

    def kernel(self, positions: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Filter bank and mixtures as one convolution kernel (mixtures, channels, taps)."""
        return torch.einsum("ft,mfc->mct", self.filters, self.spatial_weights(positions, mask)[0])

    def log_powers(
        self, x: Tensor, positions: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Log power of the mixtures, fast then slow (batch, 2 * mixtures, frames), and of the channels."""
        config = self.config
        if mask is not None:
            x = x.masked_fill(~mask.bool()[..., None], 0.0)
        weighed = x
        if mask is not None and config.spatial == HARMONIC:  # each row of a batch may lack other electrodes
            weighed = x * (shares(mask, x.shape[1], config.channels, x) * (x.shape[1] / config.channels))[..., None]
        mixed = F.conv1d(F.pad(weighed, (config.taps - 1, 0)), self.kernel(positions))
        powers = F.avg_pool1d(mixed.square(), config.frame_samples)
        mixtures = torch.cat((_log_mean(powers, FAST_FRAMES), _log_mean(powers, config.slow_frames)), dim=1)
        return mixtures, _log_mean(F.avg_pool1d(x.square(), config.frame_samples), FAST_FRAMES)

    def forward(self, x: Tensor, positions: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mixtures, channels = self.log_powers(x, positions, mask)
        features = self.expand(self.norm(mixtures))
        if self.config.activation_aware:
            drive = channels
            if self.config.spatial == HARMONIC:
                share = shares(mask, x.shape[1], self.config.channels, x)
                drive = self.basis(positions) @ (channels * share[..., None])
            features = features * torch.sigmoid(self.gate(drive))
        return features, channels


class CausalBlock(nn.Module):
    """x + BN(1x1(ReLU(BN(depthwise causal convolution of three taps)))); integer arithmetic reproduces it."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        # Shifted multiply-adds: the same as a grouped convolution, whose backward pass is slow on a CPU.
        self.taps = nn.Parameter(torch.randn(width, 3) / 3**0.5)
        self.norm_taps = BatchNorm(width)
        self.mix = nn.Conv1d(width, width, 1, bias=False)
        self.norm_mix = BatchNorm(width)

    def depthwise(self, x: Tensor) -> Tensor:
        """The causal convolution of every channel by itself, (batch, width, frames) in and out."""
        d, frames = self.dilation, x.shape[-1]
        padded = F.pad(x, (2 * d, 0))
        oldest, older, now = (padded[..., k * d : k * d + frames] * self.taps[:, k, None] for k in range(3))
        return oldest + older + now

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm_mix(self.mix(F.relu(self.norm_taps(self.depthwise(x)))))


class Encoder(nn.Module):
    """EMG (batch, channels, samples) -> h (batch, frames, width) and unit z (batch, frames, embedding)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.front = PowerFront(config)
        self.blocks = nn.ModuleList(CausalBlock(config.width, dilation) for dilation in config.dilations)
        self.project = nn.Linear(config.width, config.embedding)
        if config.semantic_queries:
            self.queries = nn.Parameter(torch.randn(len(VIEWS), config.width) / config.width**0.5)
            self.keys = nn.Linear(config.width, config.width, bias=False)
            self.recency = nn.Parameter(torch.linspace(-2.0, 0.0, config.query_frames).repeat(len(VIEWS), 1))
        self.view_weights = nn.Parameter(torch.zeros(len(VIEWS)))

    @property
    def causal_blocks(self) -> list[CausalBlock]:
        """The body's blocks in order, with their type."""
        return [block for block in self.blocks if isinstance(block, CausalBlock)]

    def settled(self, positions: Tensor | None = None, mask: Tensor | None = None) -> Encoder:
        """The same network for one montage as an ordinary model of that many channels: what an export is made of.

        Raises:
            InputError: the model knows electrodes by number and positions are given, or it cannot take so many.
        """
        mixing, gate = (weight.detach() for weight in self.front.spatial_weights(positions, mask))
        settled = Encoder(replace(self.config, spatial=ELECTRODES, channels=mixing.shape[-1]))
        settled.load_state_dict(self.state_dict() | {"front.mixing": mixing, "front.gate.weight": gate[..., None]})
        return settled.train(self.training)

    def hidden(self, x: Tensor, positions: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """h (batch, frames, width)."""
        features, _ = self.front(x, positions, mask)
        for block in self.causal_blocks:
            features = block(features)
        n = self.config.smooth_frames
        if n > 1:
            features = F.avg_pool1d(F.pad(features, (n - 1, 0)), n, stride=1)
        return features.transpose(1, 2)

    def embed(self, h: Tensor) -> Tensor:
        """h (batch, frames, width) -> unit z (batch, frames, embedding)."""
        views = len(VIEWS)
        if self.config.semantic_queries:
            n = self.config.query_frames
            recent = F.pad(h, (0, 0, n - 1, 0)).unfold(1, n, 1)  # (batch, frames, width, n)
            keys = self.keys(h)
            scores = F.pad(keys @ self.queries.T, (0, 0, n - 1, 0), value=-1e4).unfold(1, n, 1)
            weights = torch.softmax(scores / self.config.width**0.5 + self.recency, dim=-1)  # (batch, frames, views, n)
            pooled = torch.einsum("btwn,btvn->btvw", recent, weights)
            matrix = self.project.weight.view(views, -1, self.config.width)
            z = torch.einsum("btvw,vew->btve", pooled, matrix) + self.project.bias.view(views, -1)
        else:
            z = self.project(h).unflatten(-1, (views, -1))
        return weigh_views(z, self.view_weights)

    def forward(self, x: Tensor, positions: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h = self.hidden(x, positions, mask)
        return h, self.embed(h)


class DescriptionProjection(nn.Module):
    """Centred sentence embeddings (actions, views, text) -> unit prototypes (actions, embedding).

    Starts as the principal axes of each view's texts and may only drift from there: a projection that is free to move
    favours the actions seen in training over all others. With `whitening` (0 to below 1) the axes are found, and
    applied, after dividing by the scatter of one action's views about their mean, which tells the style of a view and
    nothing about the action (within-class covariance normalisation, Hatch et al. 2006); the rest of the metric stays
    round.
    """

    def __init__(self, table: Tensor, embedding: int, whitening: float = 0.0) -> None:
        super().__init__()
        views, size = table.shape[1], embedding // table.shape[1]
        metric = within_metric(table, whitening)
        white = table @ metric
        axes = [torch.linalg.svd(white[:, v] - white[:, v].mean(0), full_matrices=True).Vh[:size] for v in range(views)]
        matrix = torch.stack(axes) @ metric
        self.matrix = nn.Parameter(matrix / matrix.norm(dim=-1).mean())  # (views, size, text)

    def forward(self, table: Tensor, view_weights: Tensor) -> Tensor:
        return weigh_views(torch.einsum("avt,vet->ave", table, self.matrix), view_weights)


def require_ring(config: ModelConfig, montage: Montage) -> None:
    """Raises:
    InputError: a model of places cannot learn from this montage: its coefficients are those of one ring.
    """
    if config.spatial == HARMONIC and montage.turning_rings != 1:
        raise InputError(
            "a model of places is trained on one ring",
            found=f"{montage.device}, {montage.rings} x {montage.layout}",
            todo=f'Use model.spatial="{ELECTRODES}" for these data sets',
        )


def within_metric(table: Tensor, whitening: float) -> Tensor:
    """Symmetric map (text, text) that shrinks the directions in which the views of one action differ.

    Inverse square root of `whitening` times their scatter plus the rest of its mean variance in every direction.
    """
    size = table.shape[-1]
    if not whitening:
        return torch.eye(size)
    # In doubles: the scatter has fewer dimensions than the space and its small eigenvalues are rounding.
    apart = (table - table.mean(dim=1, keepdim=True)).flatten(0, 1).double()
    scatter = apart.T @ apart / len(apart)
    mean_variance = scatter.diagonal().mean()
    values, vectors = torch.linalg.eigh(whitening * scatter + (1 - whitening) * mean_variance * torch.eye(size))
    return ((vectors * values.rsqrt()) @ vectors.T).to(table.dtype)


def spoken(table: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Centred texts (actions, views, text), of which a share, drawn anew, is said in one sentence as a user would:
    any one of the action's views stands in the place of all.
    """
    if not share:
        return table
    actions, views = table.shape[:2]
    one = np.repeat(rng.integers(views, size=(actions, 1)), views, axis=1)
    view = np.where(rng.random((actions, 1)) < share, one, np.arange(views))
    return table[torch.arange(actions)[:, None], torch.from_numpy(view)]


def weigh_views(parts: Tensor, view_weights: Tensor) -> Tensor:
    """(..., views, size) -> unit (..., views * size): a dot product is the weighted mean of the views' cosines."""
    weights = torch.softmax(view_weights, dim=0).sqrt()
    return (F.normalize(parts, dim=-1) * weights[:, None]).flatten(-2)


def _log_mean(power: Tensor, frames: int) -> Tensor:
    """Logarithm of the mean power of the last `frames` frames at every frame: (batch, c, frames) in and out."""
    return torch.log(F.avg_pool1d(F.pad(power, (frames - 1, 0)), frames, stride=1) + POWER_FLOOR)
