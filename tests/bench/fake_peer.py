"""A peer that decides nothing, greets where it must not, and fails or dies when asked to."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from myosem_edge.bench.service import answers_only, serve

ANSWERS = answers_only()
print("hello from a library")


class Peer:
    def load(self, emg: list[list[int]], labels: list[int], frame: int, window: int) -> Mapping[str, Any]:
        if not emg:
            raise ValueError("nothing to load")
        if len(emg) == 1:
            print("out of memory", file=sys.stderr, flush=True)
            os._exit(3)
        return {"frames": len(emg) // frame, "labels": len(labels), "window": window}

    def decide(self, frame: int) -> int:
        print("a decision")
        return frame


serve(Peer(), ANSWERS)
