"""What a driver says of how its device is recognised on a port that somebody has named; `detect` does the asking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from myosem_edge.firmware_bridge.frontends.streaming import Reader

FRAMES_SHARE = 0.9  # of what is heard: less is another device's stream in which frames are found by chance


@dataclass(frozen=True)
class Recognised:
    """What a device has told of itself: options of its driver, and facts for whoever reads them.

    `missing` says what else its driver has to be told, by a person: then it cannot be used just so.
    """

    options: Mapping[str, object] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""


@dataclass(frozen=True)
class Identity:
    """How a device is recognised, as data of its driver.

    `recognise` gets what came in so many seconds: after `question`, or, where that is empty, of a stream that nobody
    asked for. `hush` ends a stream first; `quiet_s` lets it fade. `bauds` are tried beside the driver's own. A question
    changes nothing that the driver does not set again, and has neither capitals nor digits: those are what hands obey.
    """

    recognise: Callable[[bytes, float], Recognised | None]
    question: bytes = b""
    limit_s: float = 1.0
    hush: bytes = b""
    quiet_s: float = 0.0
    bauds: tuple[int, ...] = ()


def flows(reader: Reader, heard: bytes, least_frames: int) -> bool:
    """Whether `heard` is a stream of that reader's frames: so many of them, and little else."""
    frames = sum(1 for _ in reader.feed(heard))
    return frames >= least_frames and reader.rejected_bytes <= (1 - FRAMES_SHARE) * len(heard)
