"""One training over the processes that `torchrun` starts; where there is one process, nothing here does anything.

Every process computes its part of the loss of the whole batch, so that the parts add up to it. Whatever else crosses
processes is a sum whose gradient is a sum, too; gradients of the weights are therefore added, never averaged.
"""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from myosem_edge.errors import InputError, MyosemError

# What torchrun tells each process; nothing else is read.
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def launched() -> bool:
    """Whether this process was started as one of several."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def own_device(device: str) -> str:
    """The device of this process: of several GPUs, the one with its number on this machine.

    Raises:
        InputError: a certain GPU for all of them, or fewer GPUs than processes.
    """
    if not launched() or not device.startswith("cuda"):
        return device
    if device != "cuda":
        raise InputError("several processes cannot share a GPU", found=device, expected="cuda")
    here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if here > gpus:
        raise InputError(f"{here} processes on this machine", expected=f"at most one for each of its {gpus} GPUs")
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Meet the other processes of `torchrun`: over NCCL with GPUs, else over gloo. Alone: nothing.

    Raises:
        InputError: started as one of several, but not by `torchrun`, or the others cannot be reached.
    """
    if not launched():
        yield
        return
    if missing := [name for name in VARIABLES if name not in os.environ]:
        todo = "Start it with: torchrun --standalone --nproc-per-node N -m myosem_edge train ..."
        raise InputError(f"one of several processes, without {', '.join(missing)}", todo=todo)
    gpu = device.startswith("cuda")
    if gpu:
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if gpu else "gloo", device_id=torch.device(device) if gpu else None)
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise InputError("the processes do not find each other", where=where, found=_line(error)) from error
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # how torchrun ends us: tidily, as with Ctrl-C
    yield
    # Only after success: after a failure the others may never answer, and this process ends anyway.
    signal.signal(signal.SIGTERM, before)
    dist.destroy_process_group()


def world() -> int:
    """Processes of this training."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world() > 1 else 0


def is_first() -> bool:
    """Whether this process writes files and speaks."""
    return rank() == 0


def share(count: int) -> range:
    """Which of `count` episodes are this process's own; shares differ by one at most.

    Raises:
        InputError: fewer episodes than processes.
    """
    if count < world():
        raise InputError(
            "a process would have no episode",
            found=f"{world()} processes, {count} episodes a step",
            todo=f"Start at most {count} processes, or use --set episodes={world()} or more",
        )
    return range(rank() * count // world(), (rank() + 1) * count // world())


def gathered(rows: Tensor, first: int, total: int) -> Tensor:
    """`rows` of all processes, (total, ...), this one's at `first`; gradients flow back to where rows came from.

    A sum over zeros: exact, and shares may differ in size.
    """
    if world() == 1:
        return rows
    after = total - first - len(rows)
    return _summed(torch.cat((rows.new_zeros(first, *rows.shape[1:]), rows, rows.new_zeros(after, *rows.shape[1:]))))


@torch.compiler.disable
def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x (batch, channels, frames) normalised by the statistics of all processes; these, and of how many values.

    Mean and (biased) variance are (channels,), the count is a scalar; no gradient flows back through these three.
    """
    result: tuple[Tensor, Tensor, Tensor, Tensor] = _BatchNorm.apply(x, weight, bias, eps)
    return result


def add_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add the gradients of all processes up, in place."""
    if world() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = _all_reduced(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, whole in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(whole.view_as(gradient))


def total(parts: dict[str, Tensor]) -> dict[str, float]:
    """Numbers of which every process has a part."""
    values = torch.stack([value.detach() for value in parts.values()])
    return dict(zip(parts, (values if world() == 1 else _all_reduced(values)).tolist(), strict=True))


def begin_alike(module: nn.Module, device: str, *facts: Any) -> None:
    """Take the weights of the first process: other processors may have initialised theirs to other last bits.

    Raises:
        InputError: the processes do not agree on `facts`: other recordings, or another interrupted run.
    """
    if world() == 1:
        return
    digest = hashlib.sha256(repr(facts).encode()).digest()
    mine = torch.tensor(list(digest), dtype=torch.int32, device=device)
    first = mine.clone()
    _broadcast(first)
    differing = _all_reduced((mine != first).any().to(torch.int32)[None])
    if differing.item():
        raise InputError(
            "the processes are not of the same run",
            found="other recordings, configuration or interrupted run on some of them",
            todo="Give all machines the same data and the same --out folder",
        )
    with torch.no_grad():
        for tensor in module.state_dict().values():
            _broadcast(tensor)


class _Sum(torch.autograd.Function):
    """Sum over processes. As every process's loss is a part of one sum, so is the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _all_reduced(x.clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _all_reduced(gradients[0].clone(memory_format=torch.contiguous_format))


class _BatchNorm(torch.autograd.Function):
    """torch's own kernels with given statistics, and what these add to the gradient: composed of single operations it
    takes twice the time.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, ...]:
        mean = x.mean((0, 2))
        scatter = (x - mean[:, None]).square_().sum((0, 2))
        own = torch.cat((x.new_full((1,), len(x) * x.shape[2]), mean, scatter))
        counts, means, scatters = gathered(own[None], rank(), world()).split([1, len(mean), len(mean)], dim=1)
        count = counts.sum()
        mean = (counts * means).sum(0) / count
        scatter = (scatters + counts * (means - mean).square()).sum(0)  # about the common mean (Chan et al. 1979)
        variance = scatter / count
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, count)
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, count = ctx.saved_tensors
        dx, dweight, dbias = torch.ops.aten.native_batch_norm_backward(
            gradients[0].contiguous(), x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        by_scale, by_shift = _all_reduced(torch.stack((dweight, dbias))) / count
        gain = weight * torch.rsqrt(variance + ctx.eps)
        slope = -gain * torch.rsqrt(variance + ctx.eps) * by_scale
        shift = -gain * by_shift - mean * slope
        return dx + torch.addcmul(shift[:, None], x, slope[:, None]), dweight, dbias, None


@torch.compiler.disable
def _summed(x: Tensor) -> Tensor:
    result: Tensor = _Sum.apply(x)
    return result


def _all_reduced(x: Tensor) -> Tensor:
    with _others():
        dist.all_reduce(x)
    return x


def _broadcast(x: Tensor) -> None:
    with _others():
        dist.broadcast(x, 0)


@contextmanager
def _others() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise MyosemError(
            "another process of this training ended or is out of reach",
            found=_line(error),
            todo="Its own message says why; the same command goes on from the last checkpoint",
        ) from error


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
