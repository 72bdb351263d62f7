"""A recording played as if its device were there: `file:PATH`, of what `myosem-edge record` wrote."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from myosem_edge.firmware_bridge.frontends.base import FrontEndInfo
from myosem_edge.firmware_bridge.frontends.hosted import HostedFrontEnd
from myosem_edge.firmware_bridge.frontends.recording import read_recorded
from myosem_edge.firmware_bridge.frontends.streaming import Reader


class Playback(HostedFrontEnd):
    """Every sample comes under its number, when it is due; lost ones are lost again. After the last it ends.

    Raises:
        InputError: the file at `path` is no such recording.
    """

    takes_all = "path"
    info = FrontEndInfo(
        id="file",
        name="A recording",
        channels=8,
        rate_hz=200.0,
        unit="counts",
        full_scale=128.0,
        layout="ring",
        baud=0,
        prefiltered="as it was recorded",
        loss_visible_by="what was lost when it was recorded",
    )
    # A hole in a recording may be as long as it likes.
    first_frame_s = stall_s = math.inf
    clock_tolerance_samples = math.inf
    silent = foreign = "the recording cannot be played"
    over = "the recording is over"

    def __init__(self, *, path: str) -> None:
        self.path, self.recorded = path, read_recorded(Path(path))
        info = self.recorded.about.info
        self.info = replace(info, name=f"recording of {info.name}")
        super().__init__()

    def _new_reader(self) -> Reader:
        self.facts.update(self.recorded.about.facts or {})
        return super()._new_reader()
