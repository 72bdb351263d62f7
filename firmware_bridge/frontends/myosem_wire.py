"""Whatever speaks the wire protocol of `docs/wire-protocol.md`, the reference firmware first of all.

Channels, rate and microvolts come from the device's info frame, so `info` of an instance may become another one than
that of the class.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from myosem_edge.firmware_bridge import wire
from myosem_edge.firmware_bridge.frontends.base import Chunk, FrontEndInfo, Phase
from myosem_edge.firmware_bridge.frontends.clockwatch import ClockWatch
from myosem_edge.firmware_bridge.frontends.options import require_option
from myosem_edge.firmware_bridge.frontends.recognition import Identity, Recognised
from myosem_edge.firmware_bridge.frontends.streaming import Reader, Step, StreamingFrontEnd

DEFAULT = wire.Info(0, 1000.0, 4_500_000, (24.0,) * 8, samples_per_frame=10)  # an ADS1299 as it is usually set
ANSWER_S = 1.0
QUESTIONS = 3  # how often an info frame is asked for that does not come with its acknowledge
MOST_HELD = 512  # frames without their info; at 100 a second a device has stalled long before
HALF = wire.WRAP // 2
MOST_HZ = 16_000.0  # of an ADS1299; the sequence wraps after 4 s then, longer than a stall takes to be seen

SILENT = "the port is silent: plug the device in again, and check that this is its port"
FOREIGN = "bytes arrive but no frame of the wire protocol: choose another port, or set the device to that protocol"
OTHER = "the device speaks version {} of the wire protocol and this program version 1: update the older one"
GONE = "the device does not answer any more: switch it off and on"
REFUSED = "the device answers but does not start: switch it off and on"
NO_INFO = "the device does not say what it measures: its firmware does not keep to the wire protocol"
NO_SAMPLES = "the device starts but sends no samples: its converter does not run, switch it off and on"
STUCK = "the sequence of every frame is the same: the device's firmware does not keep to the wire protocol"


def _recognised(heard: bytes, seconds: float) -> Recognised | None:
    infos = [message for message in _messages(heard) if isinstance(message, wire.Info)]
    if not infos:
        return None
    info = infos[-1]
    options = {"channels": info.channels, "rate_hz": info.rate_hz, "layout": "ring" if info.ring else "sites"}
    return Recognised(options, {"firmware": f"{info.name} {info.version}".strip(), "hardware": info.hardware})


class MyosemWire(StreamingFrontEnd):
    """One device. It is not told how to measure: what it is set to is what arrives.

    `channels`, `rate_hz` and `layout` are what it is expected to say, for whoever has to know before it has spoken;
    when it says something else, `info` does too.

    Raises:
        InputError: no device can be so.
    """

    clock_tolerance_samples = 250.0  # a quarter of a second in two: a converter that stands still
    silent, foreign = SILENT, FOREIGN
    identity = Identity(_recognised, wire.frame(wire.Command(0, wire.Order.GET_INFO)), ANSWER_S)
    info = FrontEndInfo(
        id="myosem_wire",
        name="Device with the myosem wire protocol",
        channels=DEFAULT.channels,
        rate_hz=DEFAULT.rate_hz,
        unit="uV",
        full_scale=DEFAULT.full_scale_uv,
        layout="sites",
        baud=460800,
        prefiltered="nothing but the converter's own low-pass at a quarter of the rate",
        loss_visible_by="a counter of 65536 samples, and one of those that the device left out",
    )

    def __init__(
        self,
        *,
        channels: int = DEFAULT.channels,
        rate_hz: float = DEFAULT.rate_hz,
        layout: Literal["sites", "ring"] = "sites",
        baud: int = 460800,
    ) -> None:
        name = self.info.id
        require_option(1 <= channels <= wire.MOST_CHANNELS, name, "channels", channels, f"1 to {wire.MOST_CHANNELS}")
        require_option(1 <= rate_hz <= MOST_HZ, name, "rate_hz", rate_hz, f"1 to {MOST_HZ:g}")
        require_option(1200 <= baud <= 4_000_000, name, "baud", baud, "1200 to 4000000")
        self.info = replace(self.info, channels=channels, rate_hz=rate_hz, layout=layout, baud=baud)
        super().__init__()

    def _new_reader(self) -> Reader:
        self._frames = _Frames()
        self._request = self._questions = 0
        self._asked: int | None = None  # the epoch whose info was asked for
        return self._frames

    def _start_steps(self) -> list[Step]:
        self._frames.info = None  # it may be another device, or the same after a fall
        return [self._step(wire.Order.GET_INFO, GONE), self._step(wire.Order.START, REFUSED)]

    def _stop_bytes(self) -> bytes:
        return wire.frame(wire.Command(self._next_request(), wire.Order.STOP))

    def receive(self, data: bytes, now_s: float) -> list[Chunk]:
        chunks = super().receive(data, now_s)
        # What one call decodes has one configuration: at a change the reader stops, and goes on in the next call.
        while self.phase in (Phase.CONNECTING, Phase.STREAMING) and (info := self._frames.take_change()) is not None:
            self._adopt(info)
            chunks += super().receive(b"", now_s)
        wanted = self._frames.wanted
        if wanted is not None and wanted != self._asked:
            self._asked = wanted
            self._outgoing += wire.frame(wire.Command(self._next_request(), wire.Order.GET_INFO))
        self.counters.notes.update(self._frames.notes)
        return chunks

    def _step(self, order: wire.Order, failure: str) -> Step:
        request = self._next_request()
        done = wire.frame(wire.Acknowledge(request, order))
        return Step(wire.frame(wire.Command(request, order)), ANSWER_S, done, failure)

    def _next_request(self) -> int:
        self._request = (self._request + 1) % 256
        return self._request

    def _heard(self, step: Step, answer: bytes) -> str | None:
        infos = [message for message in _messages(answer) if isinstance(message, wire.Info)]
        if infos:
            self._adopt(infos[-1])
        elif self._frames.info is None:
            self._questions += 1
            if self._questions >= QUESTIONS:
                return NO_INFO
            self._steps.appendleft(self._step(wire.Order.GET_INFO, GONE))
        return None

    def _adopt(self, info: wire.Info) -> None:
        self._frames.info = replace(info, streaming=True)
        self._asked = None
        if info.rate_hz != self.info.rate_hz:
            self._clock = ClockWatch(info.rate_hz, self.clock_tolerance_samples)
        self.info = replace(
            self.info,
            channels=info.channels,
            rate_hz=info.rate_hz,
            full_scale=info.full_scale_uv,
            layout="ring" if info.ring else "sites",
        )
        self.facts.update(firmware=f"{info.name} {info.version}".strip(), hardware=info.hardware)
        self.facts["lead-off drive"] = "on" if info.drive_on else "off"

    def _no_frames(self) -> str:
        return STUCK if self._frames.stuck_frames else NO_SAMPLES

    def _fail(self, failure: str) -> None:
        other = next((wire.version_of(body) for body in _bodies(bytes(self._text)) if _is_foreign(body)), None)
        super()._fail(OTHER.format(other) if other is not None else failure)

    def _decode(self, frames: Sequence[bytes]) -> np.ndarray:
        """Samples `(n, channels)` in microvolts, n of all frames together."""
        assert self._frames.info is not None
        counts = np.concatenate([wire.Data.from_body(body).counts for body in frames])
        return (counts * self._frames.info.uv_per_count).astype(np.float32)

    def _lead_off(self, frames: Sequence[bytes]) -> int:
        info, off = self._frames.info, 0
        assert info is not None
        for body in frames:
            data = wire.Data.from_body(body)
            off |= (data.off_p & info.sense_p) | (data.off_n & info.sense_n)
        return off


class _Frames:
    """Data frames of the configuration that `info` tells, their gaps counted in samples.

    What has another epoch waits until its info is there; `wanted` is that epoch. At a new info the reader stops until
    somebody has taken it with `take_change` and put it in place.
    """

    def __init__(self) -> None:
        self._deframer = wire.Deframer()
        self._waiting: deque[tuple[wire.Data | wire.Info, bytes]] = deque()
        self._change: wire.Info | None = None
        self.info: wire.Info | None = None
        self.wanted: int | None = None
        self.notes: dict[str, int] = {}
        self.stuck_frames = 0
        self._follow_nothing()

    @property
    def rejected_bytes(self) -> int:
        return self._deframer.rejected_bytes

    @property
    def resyncs(self) -> int:
        return self._deframer.resyncs

    def forget(self) -> None:
        self._deframer.forget()
        self._deframer.rejected_bytes += sum(len(body) for _, body in self._waiting)
        if self._first is not None:
            self._deframer.rejected_bytes += len(self._first[1])
        self._waiting.clear()
        self._change = self.wanted = None
        self._follow_nothing()

    def take_change(self) -> wire.Info | None:
        change, self._change = self._change, None
        return change

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        yield from self._hand_out()
        for body in self._deframer.feed(data):
            message = None if _is_foreign(body) else _parsed(body)
            if isinstance(message, wire.Data | wire.Info):
                self._waiting.append((message, body))
                yield from self._hand_out()
                if len(self._waiting) > MOST_HELD and self._change is None:
                    self._give_up()
            elif not isinstance(message, wire.Acknowledge):
                self._deframer.reject(len(body))

    def _hand_out(self) -> Iterator[tuple[bytes, int]]:
        while self._waiting and self._change is None:
            message, body = self._waiting[0]
            if isinstance(message, wire.Info):
                self._waiting.popleft()
                self.wanted = None
                if replace(message, streaming=True) != self.info:
                    self._change = message
            elif self.info is not None and message.epoch == self.info.epoch:
                self._waiting.popleft()
                if message.counts.shape[1] != self.info.channels:
                    self._deframer.reject(len(body))
                    continue
                yield from self._followed(message, body)
            elif not self._look_ahead(message.epoch):
                break

    def _look_ahead(self, epoch: int) -> bool:
        """An info that comes after its data: of this epoch it is taken at once, another one gives these data up."""
        found = next((message for message, _ in self._waiting if isinstance(message, wire.Info)), None)
        if found is None:
            self.wanted = epoch
            return False
        if found.epoch != epoch:
            self._give_up()
            return True
        self._waiting.remove(next(each for each in self._waiting if each[0] is found))
        self.wanted, self._change = None, found
        return True

    def _give_up(self) -> None:
        """The oldest that waits; where it was data, the sequence shows it as lost."""
        self._deframer.reject(len(self._waiting.popleft()[1]))

    def _follow_nothing(self) -> None:
        self._last: wire.Data | None = None
        self._first: tuple[wire.Data, bytes] | None = None  # believed when the next one counts on

    def _followed(self, data: wire.Data, body: bytes) -> Iterator[tuple[bytes, int]]:
        if self._first is not None and self._first[0].epoch != data.epoch:
            self._deframer.reject(len(self._first[1]))
            self._first = None
        before = self._last if self._first is None else self._first[0]
        if before is None:
            self._first = (data, body)
            return
        if data.sequence == before.sequence:
            self.stuck_frames += data.clock_us != before.clock_us  # else it came twice
            self._deframer.reject(len(body))
            return
        if self._first is not None:
            self._note("frames with a saturated channel", bool(self._first[0].saturated))
            yield self._first[1], 0
            self._first = None
        missing = (data.sequence - before.sequence - len(before.counts)) % wire.WRAP
        if missing >= HALF:
            self._note("times that the sequence went back", 1)
            missing = 0
        self._note("samples that the device left out", (data.overflow - before.overflow) % wire.WRAP)
        self._note("frames with a saturated channel", bool(data.saturated))
        self._last = data
        yield body, missing

    def _note(self, what: str, count: int) -> None:
        if count:
            self.notes[what] = self.notes.get(what, 0) + count


def _is_foreign(body: bytes) -> bool:
    return wire.version_of(body) != wire.VERSION


def _bodies(text: bytes) -> Iterator[bytes]:
    return wire.Deframer().feed(text)


def _messages(text: bytes) -> Iterator[wire.Message | None]:
    return (_parsed(body) for body in _bodies(text) if not _is_foreign(body))


def _parsed(body: bytes) -> wire.Message | None:
    try:
        return wire.parse(body)
    except wire.Malformed:
        return None
