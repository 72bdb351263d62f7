"""What makes the encoder's forward pass faster: bfloat16 and compilation. Losses stay in float32."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from myosem_edge.errors import InputError

PRECISIONS = ("fp32", "bf16")

Encode = Callable[..., tuple[Tensor, Tensor]]


def require_precision(precision: str, device: str) -> None:
    """Raises:
    InputError: no such precision, or the device cannot calculate in it.
    """
    if precision not in PRECISIONS:
        raise InputError("no such precision", found=precision, expected=" or ".join(PRECISIONS))
    kind = torch.device(device).type
    able = kind == "cpu" or (kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False))
    if precision == "bf16" and not able:
        raise InputError(f"{device} does not calculate in bfloat16", todo="Use --precision fp32")


def accelerated(encoder: nn.Module, precision: str, device: str, compiled: bool) -> Encode:
    """What the encoder takes -> its h and z, in float32 whatever it calculates in.

    What is returned raises InputError where torch cannot compile.
    """
    forward = torch.compile(encoder) if compiled else encoder

    def encode(*inputs: Tensor | None) -> tuple[Tensor, Tensor]:
        try:
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16"):
                h, z = forward(*inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            found = str(error).strip().splitlines()[0]
            raise InputError("torch cannot compile here", found=found, todo="Leave --compile out") from error
        return h.float(), z.float()

    return encode
