"""What one decision costs in multiply-adds, counted from the weights that a board holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from myosem_edge.quantize.network import IntBody
from myosem_edge.signal.front import FAST_FRAMES, FrontWeights


@dataclass(frozen=True)
class Operations:
    """Multiply-adds of one decision, of the float front and the integer body, and how many frames it depends on."""

    front: int
    body: int
    receptive_frames: int

    @property
    def streaming(self) -> int:
        """As it is done: the new frame only, the rest is remembered."""
        return self.front + self.body

    @property
    def windowed(self) -> int:
        """The same decision from its whole window of samples anew, as a classifier without memory makes it."""
        return self.streaming * self.receptive_frames

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"streaming": self.streaming, "windowed": self.windowed}


def count_operations(front: FrontWeights, body: IntBody) -> Operations:
    """Additions of biases, of powers and of residuals are left out, as is custom."""
    gate = 0 if front.gate is None else front.gate.size
    of_front = front.kernel.size * front.frame_samples + front.expand.size + gate
    of_body = sum(block.taps.size + block.mix.size for block in body.blocks) + body.project.size
    frames = max(FAST_FRAMES, front.slow_frames) + sum(block.history for block in body.blocks)
    return Operations(of_front, of_body, frames)
