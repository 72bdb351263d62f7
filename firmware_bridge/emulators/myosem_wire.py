"""An emulated device with the wire protocol: the reference firmware's half of `docs/wire-protocol.md` in Python.

Its rate is its source's and cannot be set; gains, lead-off and epochs are as in the specification. The Cyton's
language is not spoken here.
"""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np

from myosem_edge.firmware_bridge import wire
from myosem_edge.firmware_bridge.emulators.base import SampleSource
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.streaming import StreamingEmulator
from myosem_edge.firmware_bridge.frontends.myosem_wire import DEFAULT, MyosemWire

GAINS = (1, 2, 4, 6, 8, 12, 24)  # of an ADS1299
INFO_S = 1.0
FRAME_S = 0.010


class MyosemWireEmulator(StreamingEmulator):
    """Plays `source` in microvolts, as many channels as it has, in the layout that `driver` expects.

    `off_p` and `off_n` are electrodes that are off.
    """

    def __init__(self, source: SampleSource, *, driver: MyosemWire | None = None, faults: Faults | None = None) -> None:
        self.channels = source.channels
        self.samples_per_frame = max(1, min(16, int(source.rate_hz * FRAME_S)))
        self.setting = replace(
            DEFAULT,
            rate_hz=source.rate_hz,
            gains=(24.0,) * source.channels,
            samples_per_frame=self.samples_per_frame,
            ring=driver is not None and driver.info.layout == "ring",
            name="emulated",
            version="1",
            hardware="none",
        )
        self.full_scale = self.setting.full_scale_uv
        super().__init__(source, faults=faults)
        self.off_p = self.off_n = 0
        self._deframer = wire.Deframer()
        self._info_s = self._now_s = 0.0
        self._made = 0  # frames since the start, whatever the counter says

    def receive(self, data: bytes, now_s: float) -> None:
        self._now_s = now_s
        for body in self._deframer.feed(data):
            if body[0] & 15 != wire.Kind.COMMAND or len(body) < 3:
                continue
            command = wire.Command.from_body(body)
            if wire.version_of(body) == wire.VERSION:
                result = self._carry_out(command)
            else:
                result = wire.Result.OTHER_VERSION
            self._say(wire.Acknowledge(command.request, command.order, result))

    def tick(self, now_s: float) -> None:
        self._now_s = now_s
        if self.streaming and now_s >= self._info_s:
            self._say_info()
        super().tick(now_s)

    def configure(self, **changes: object) -> None:
        """Another setting from the next sample on, as after a command; names are those of `wire.Info`."""
        epoch = (self.setting.epoch + 1) % 256
        self.setting = replace(self.setting, epoch=epoch, **changes)  # type: ignore[arg-type]
        self.full_scale = self.setting.full_scale_uv
        self._say_info()

    def _say(self, message: wire.Message) -> None:
        self.wire.put(wire.frame(message), self._now_s, self.faults)

    def _say_info(self) -> None:
        self._info_s = self._now_s + INFO_S
        self._say(replace(self.setting, streaming=self.streaming))

    def _carry_out(self, command: wire.Command) -> wire.Result:
        order, arguments = command.order, command.arguments
        masks = (self.channels + 7) // 8
        lengths: dict[int, int] = {
            wire.Order.START: 0,
            wire.Order.STOP: 0,
            wire.Order.GET_INFO: 0,
            wire.Order.SET_RATE: 4,
            wire.Order.SET_GAIN: 5,
            wire.Order.SET_LEAD_OFF: 1 + 2 * masks,
            wire.Order.SET_MODE: 1,
        }
        if order not in lengths:
            return wire.Result.UNKNOWN
        if len(arguments) != lengths[order]:
            return wire.Result.MALFORMED
        if order == wire.Order.START and not self.streaming:
            self._counter = self._made = 0
            self._begin(self._now_s)
            self._info_s = self._now_s + INFO_S
        elif order == wire.Order.STOP:
            self._end()
        elif order == wire.Order.GET_INFO:
            self._say_info()
        elif order == wire.Order.SET_RATE:
            return wire.Result(wire.Result.IMPOSSIBLE * (_u32(arguments) != round(1000 * self.setting.rate_hz)))
        elif order == wire.Order.SET_GAIN:
            return self._set_gain(*struct.unpack("<BI", arguments))
        elif order == wire.Order.SET_LEAD_OFF:
            sense_p, sense_n = (int.from_bytes(arguments[1 + i * masks :][:masks], "little") for i in range(2))
            self.configure(drive_on=bool(arguments[0] & 1), sense_p=sense_p, sense_n=sense_n)
        elif order == wire.Order.SET_MODE and arguments[0] != wire.Mode.WIRE:
            return wire.Result.IMPOSSIBLE
        elif order == wire.Order.SET_MODE:
            self._end()
            self.configure(gains=(24.0,) * self.channels, drive_on=False, sense_p=0, sense_n=0)
        return wire.Result.DONE

    def _set_gain(self, channel: int, thousandths: int) -> wire.Result:
        if thousandths not in [1000 * gain for gain in GAINS]:
            return wire.Result.IMPOSSIBLE
        if channel >= self.channels and channel != wire.ALL_CHANNELS:
            return wire.Result.IMPOSSIBLE
        chosen = range(self.channels) if channel == wire.ALL_CHANNELS else (channel,)
        gains = tuple(thousandths / 1000 if at in chosen else gain for at, gain in enumerate(self.setting.gains))
        self.configure(gains=gains)
        return wire.Result.DONE

    def _frame(self, samples: np.ndarray, counter: int) -> bytes:
        setting = self.setting
        limit = 2 ** (setting.bits - 1)
        counts = np.clip(np.rint(samples.astype(float) / setting.uv_per_count), -limit, limit - 1).astype(np.int32)
        at_limit = ((counts == -limit) | (counts == limit - 1)).any(axis=0)
        first, begun_s = counter * self.samples_per_frame, self._begun_s or 0.0
        clock_s = begun_s + self._made * self.samples_per_frame / setting.rate_hz
        self._made += 1
        data = wire.Data(
            setting.epoch,
            first % wire.WRAP,
            int(clock_s * 1e6) % 2**32,
            0,
            counts,
            setting.drive_on,
            self.off_p,
            self.off_n,
            sum(1 << int(channel) for channel in np.flatnonzero(at_limit)),
        )
        return wire.frame(data)


def _u32(data: bytes) -> int:
    return int.from_bytes(data, "little")
