"""The port of a recording: it hands over what is due by its clock."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from myosem_edge.clock import Clock
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.firmware_bridge.frontends.chunk_stream import END, pack_chunk
from myosem_edge.firmware_bridge.frontends.recording import Recorded
from myosem_edge.firmware_bridge.host_port import HostPort

MOST_SAMPLES = 4096  # at once: after a long stall of the program it catches up in pieces


class PlaybackPort(HostPort):
    """Plays `recorded` from its beginning, as often as it is started."""

    def __init__(self, recorded: Recorded, clock: Clock) -> None:
        super().__init__()
        self._recorded, self._clock = recorded, clock
        self._begun_s: float | None = None
        self._at = self._next_number = 0

    def start(self) -> None:
        self._begun_s = self._clock.now_s()
        self._at = self._next_number = 0

    def stop(self) -> None:
        self._begun_s = None

    def read_available(self) -> bytes:
        if self._begun_s is None:
            return b""
        recorded = self._recorded
        due = int((self._clock.now_s() - self._begun_s) * recorded.about.info.rate_hz + 1e-6)
        end = min(int(np.searchsorted(recorded.numbers, due)), self._at + MOST_SAMPLES)
        borders = (
            self._at
            + 1
            + np.flatnonzero(
                (np.diff(recorded.numbers[self._at : end]) != 1) | (np.diff(recorded.lead_off[self._at : end]) != 0)
            )
        )
        edges = [self._at, *borders.tolist(), end] if end > self._at else []
        played = b"".join(self._record(begin, until) for begin, until in pairwise(edges))
        self._at = end
        if end == len(recorded.numbers):
            self.stop()
            return played + END
        return played

    def _record(self, begin: int, end: int) -> bytes:
        recorded = self._recorded
        first = int(recorded.numbers[begin])
        lost, self._next_number = first - self._next_number, int(recorded.numbers[end - 1]) + 1
        return pack_chunk(Chunk(recorded.emg[begin:end], first, 0.0, lost, int(recorded.lead_off[begin])))
