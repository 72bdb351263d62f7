"""What emulated front ends have in common that send frames at their source's rate once they are told to."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.base import Emulator, SampleSource
from myosem_edge.firmware_bridge.emulators.faults import Distortion, Faults, Wire


class StreamingEmulator(Emulator):
    """Plays `source`, paced by the time that `tick` is given: at any moment exactly (elapsed x rate) samples have been
    read from it since streaming began, however seldom `tick` is called. `faults` may be exchanged at any time.

    Raises:
        InputError: the source has another number of channels.
    """

    channels: int
    full_scale: float  # of one channel, in the source's unit
    samples_per_frame = 1

    def __init__(self, source: SampleSource, *, faults: Faults | None = None) -> None:
        super().__init__()
        if source.channels != self.channels:
            raise InputError("the recording does not fit the device", found=source.channels, expected=self.channels)
        self.source = source
        self.faults = faults or Faults()
        self.samples_sent = 0  # handed to the wire since the emulator was made; lost ones count
        self._distortion = Distortion(source.rate_hz, self.full_scale)
        self.wire = Wire()
        self._begun_s: float | None = None
        self._frames = 0  # since streaming began
        self._counter = 0

    @property
    def streaming(self) -> bool:
        return self._begun_s is not None

    def status(self) -> str:
        return f"{'streaming' if self.streaming else 'waiting'}, {self.samples_sent} samples sent"

    @abstractmethod
    def _frame(self, samples: np.ndarray, counter: int) -> bytes:
        """The frame of `samples` `(samples_per_frame, channels)`; `counter` counts frames without end."""

    def _packets(self, samples: np.ndarray, counter: int) -> tuple[bytes, ...]:
        """What can be lost by itself: the frame, unless the device sends it in pieces."""
        return (self._frame(samples, counter),)

    def _begin(self, now_s: float) -> None:
        if self._begun_s is None:
            self._begun_s, self._frames = now_s, 0

    def _end(self) -> None:
        self._begun_s = None
        self.wire.clear()

    def tick(self, now_s: float) -> None:
        if self._begun_s is not None:
            elapsed = int((now_s - self._begun_s) * self.source.rate_hz + 1e-6)
            due = elapsed // self.samples_per_frame - self._frames
            if due > 0:
                samples = self._distortion.apply(self.source.read(due * self.samples_per_frame), self.faults)
                for frame in samples.reshape(due, self.samples_per_frame, self.channels):
                    for packet in self._packets(frame, self._counter):
                        self.wire.put(packet, now_s, self.faults)
                    self._counter += not self.faults.stuck_counter
                self._frames += due
                self.samples_sent += len(samples)
        self._outgoing += self.wire.take(now_s, self.faults)

    def to_send(self) -> bytes:
        data = super().to_send()
        return b"" if self.faults.silent else data
