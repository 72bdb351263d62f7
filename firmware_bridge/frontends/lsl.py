"""A stream of the Lab Streaming Layer, whatever sends it: any device that a program on this network reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from myosem_edge.firmware_bridge.frontends.base import FrontEndInfo
from myosem_edge.firmware_bridge.frontends.hosted import HostedFrontEnd
from myosem_edge.firmware_bridge.frontends.options import require_option

UNKNOWN_FULL_SCALE = 1e9  # railing electrodes are then not seen
CLOCK_SHARE = 0.06  # of the rate, in samples: senders' clocks are off by up to some per cent


class Lsl(HostedFrontEnd):
    """The stream of that `name`. Its channels and rate are checked against what was told when it is found.

    One unit of the stream is `scale` of `unit`; without `full_scale`, in that unit, railing electrodes are not seen.

    Raises:
        InputError: a value is wrong.
    """

    info = FrontEndInfo(
        id="lsl",
        name="A Lab Streaming Layer stream",
        channels=8,
        rate_hz=200.0,
        unit="uV",
        full_scale=UNKNOWN_FULL_SCALE,
        layout="sites",
        baud=0,
        prefiltered="what its sender has done",
        loss_visible_by="time only",
    )
    caution = "anybody on this network can send a stream of that name, and nothing says who did"
    first_frame_s = 10.0
    silent = "the stream exists but sends nothing: start its device"
    foreign = silent

    def __init__(
        self,
        *,
        name: str,
        channels: int,
        rate_hz: float,
        unit: Literal["uV", "counts"] = "uV",
        scale: float = 1.0,
        full_scale: float = UNKNOWN_FULL_SCALE,
        layout: Literal["sites", "ring"] = "sites",
    ) -> None:
        here = self.info.id
        require_option(bool(name), here, "name", repr(name), "the name of a stream")
        require_option(1 <= channels <= 256, here, "channels", channels, "1 to 256")
        require_option(1 <= rate_hz <= 100_000, here, "rate_hz", rate_hz, "1 to 100000")
        require_option(0 < scale <= 1e9, here, "scale", scale, "above 0, at most 1e9")
        require_option(0 < full_scale <= 1e12, here, "full_scale", full_scale, "above 0, at most 1e12")
        self.name, self.scale = name, scale
        self.clock_tolerance_samples = CLOCK_SHARE * rate_hz
        self.info = replace(
            self.info,
            name=f"stream {name}",
            channels=channels,
            rate_hz=float(rate_hz),
            unit=unit,
            full_scale=full_scale,
            layout=layout,
        )
        super().__init__()
