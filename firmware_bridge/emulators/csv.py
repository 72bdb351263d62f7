"""An emulated board that prints lines of numbers, after a banner."""

from __future__ import annotations

import numpy as np

from myosem_edge.firmware_bridge.emulators.base import SampleSource
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.streaming import StreamingEmulator
from myosem_edge.firmware_bridge.frontends.csv import Csv

BANNER = b"Ready, 1 sample a line\r\n"


class CsvEmulator(StreamingEmulator):
    """What `driver` was told to expect: whole numbers of a converter, or decimal ones on both sides of zero."""

    def __init__(
        self,
        source: SampleSource,
        *,
        driver: Csv,
        separator: str = ",",
        end: str = "\r\n",
        faults: Faults | None = None,
    ) -> None:
        self.channels, self.full_scale = driver.info.channels, driver.info.full_scale
        super().__init__(source, faults=faults)
        self._driver, self._separator, self._end_of_line = driver, separator, end

    def receive(self, data: bytes, now_s: float) -> None:
        """It does not listen."""

    def tick(self, now_s: float) -> None:
        if not self.streaming:
            self._outgoing += BANNER
            self._begin(now_s)
        super().tick(now_s)

    def _frame(self, samples: np.ndarray, counter: int) -> bytes:
        values = np.clip(samples[0].astype(float) / self._driver.lsb + self._driver.middle, *self._driver.range)
        if self._driver.bits is None:
            texts = [np.format_float_positional(np.float32(value), trim="-") for value in values]
        else:
            texts = [str(round(value)) for value in values.tolist()]
        return (self._separator.join(texts) + self._end_of_line).encode()
