"""What every EMG front end keeps. A device's own test file inherits `FrontEndSpec` and names its parts.

Driver and emulator are wired back to back on a virtual clock: no port, no thread, no waiting.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from myosem_edge.clock import VirtualClock
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.detect import Detection
from myosem_edge.firmware_bridge.emulators.base import Emulator
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends import FRONT_ENDS, front_end, make_front_end
from myosem_edge.firmware_bridge.frontends.base import Chunk, FrontEnd, Phase

STEP_S = 0.005
# Every device runs the same inherited properties: that is what a specification class is for.
INHERITED = settings(deadline=None, suppress_health_check=[HealthCheck.differing_executors])
FRAMES = 40  # recorded
MOST_COUNTS = 2**20  # float32 still tells neighbours apart, whatever the LSB


class Bench:
    """A driver and an emulator wired to each other."""

    def __init__(self, driver: FrontEnd, emulator: Emulator) -> None:
        self.driver, self.emulator, self.clock = driver, emulator, VirtualClock()
        self.sent: list[bytes] = []  # what the driver sent, one entry per step in which it sent something

    def run(
        self, seconds: float, *, mangle: Callable[[bytes], bytes] = bytes, until: Phase | None = None
    ) -> list[Chunk]:
        """Let time pass and bytes flow; `mangle` sees what the device sends. Ends early in phase `until`."""
        chunks: list[Chunk] = []
        for _ in range(round(seconds / STEP_S)):
            chunks += self.step(mangle)
            if self.driver.phase is until:
                break
        return chunks

    def step(self, mangle: Callable[[bytes], bytes] = bytes) -> list[Chunk]:
        now_s = self.clock.advance(STEP_S)
        if data := self.driver.to_send():
            self.sent.append(data)
            self.emulator.receive(data, now_s)
        self.emulator.tick(now_s)
        received = mangle(self.emulator.to_send())
        chunks = self.driver.receive(received, now_s) if received else []
        self.driver.tick(now_s)
        return chunks

    def start(self, limit_s: float = 30.0) -> list[Chunk]:
        """Until samples may flow; returns those that came with the last step."""
        self.driver.start(self.clock.now_s())
        chunks = self.run(limit_s, until=Phase.STREAMING)
        assert self.driver.phase is Phase.STREAMING, self.driver.failure
        return chunks


def by_index(chunks: list[Chunk]) -> dict[int, tuple[float, ...]]:
    """Sample number -> sample; fails if a number comes twice or goes back."""
    samples: dict[int, tuple[float, ...]] = {}
    for chunk in chunks:
        for offset, row in enumerate(chunk.samples):
            number = chunk.first_sample + offset
            assert not samples or number > max(samples), f"sample {number} after {max(samples)}"
            samples[number] = tuple(row.tolist())
    return samples


@dataclass(frozen=True)
class Recorded:
    """A streaming driver, and the frames that its device sends next with the samples in them."""

    driver: FrontEnd
    now_s: float
    frames: tuple[bytes, ...]
    samples: dict[int, tuple[float, ...]]  # by sample number, as an undisturbed driver numbers them
    first: int  # number of the first sample of the first frame

    def receive(self, pieces: list[bytes]) -> tuple[FrontEnd, list[Chunk]]:
        """What comes of these bytes, without the samples of earlier frames that the driver still held back."""
        driver = copy.deepcopy(self.driver)
        chunks: list[Chunk] = []
        for chunk in (chunk for piece in pieces for chunk in driver.receive(piece, self.now_s)):
            early = max(0, self.first - chunk.first_sample)
            if early < len(chunk.samples):
                chunks.append(replace(chunk, samples=chunk.samples[early:], first_sample=chunk.first_sample + early))
        return driver, chunks


class FrontEndSpec(ABC):
    """Thirty seconds of reading, then four things to say about a new device."""

    frame_samples: int  # samples in one frame
    visible_loss_frames: int  # the longest gap that the frames themselves show; 0 from a device without a counter
    reach_frames: int = 0  # beside a damaged one that the damage may cost as well
    trailing_frames: int = 0  # that must have come before a frame is believed, damage or not
    settle_frames: int = 0  # after damage, a frame that does not continue the last one waits for so many more
    lsb: float = 1.0  # one count in the front end's unit
    streams_at_once: bool = False  # a device that is not told to stream, and cannot be told to stop
    configured: bool = False  # one of those that is told something all the same
    deaf_s: float = 0.1  # of a stream may pass before the driver is ready
    foreign: bytes = b"\r\nStartUp!\r\nU\xaa\x55\x7e" * 8  # what this device would never send

    @abstractmethod
    def make(self) -> FrontEnd:
        """A fresh driver."""

    @abstractmethod
    def make_emulator(self, source: ArraySource) -> Emulator:
        """A fresh device without faults."""

    @abstractmethod
    def split(self, stream: bytes) -> list[bytes]:
        """An undamaged stream as whole frames; what is between frames goes with the frame before."""

    _recorded: Recorded | None = None

    def emg(self) -> np.ndarray:
        """Three minutes of noise in whole counts, in which every sample is different."""
        info = self.make().info
        high = min(math.ceil(info.full_scale / self.lsb) - 1, MOST_COUNTS)
        rows = np.random.default_rng(7).integers(
            -high - 1, high, (int(180 * info.rate_hz), info.channels), endpoint=True
        )
        return (rows * self.lsb).astype(np.float32)

    def bench(self) -> Bench:
        driver = self.make()
        return Bench(driver, self.make_emulator(ArraySource(self.emg(), driver.info.rate_hz)))

    def recorded(self) -> Recorded:
        """Forty frames after the start, recorded once per device."""
        cls = type(self)
        if vars(cls).get("_recorded") is None:  # not that of a device that this one inherits from
            bench = self.bench()
            bench.start()
            bench.run(0.2)
            base = copy.deepcopy(bench.driver)
            stream = b""
            while len(frames := self.split(stream)) < FRAMES + self.trailing_frames:
                bench.emulator.tick(bench.clock.advance(STEP_S))
                stream += bench.emulator.to_send()
            chunks = bench.driver.receive(stream, bench.clock.now_s())
            first = chunks[0].first_sample + self.trailing_frames * self.frame_samples
            samples = {number: row for number, row in by_index(chunks).items() if number >= first}
            cls._recorded = Recorded(base, bench.clock.now_s(), tuple(frames), samples, first)
            assert len(samples) == (len(frames) - self.trailing_frames) * self.frame_samples
        assert cls._recorded is not None
        return cls._recorded

    def frame_of(self, number: int) -> int:
        return (number - self.recorded().first) // self.frame_samples

    def without(self, *frames: int) -> dict[int, tuple[float, ...]]:
        """The recorded samples but for those of some frames."""
        return {number: row for number, row in self.recorded().samples.items() if self.frame_of(number) not in frames}

    def around(self, frame: int) -> dict[int, tuple[float, ...]]:
        """The recorded samples but for those that damage to a frame may cost."""
        return self.without(*range(frame - self.reach_frames, frame + self.reach_frames + 1))

    def require_kept(self, chunks: list[Chunk], expected: dict[int, tuple[float, ...]]) -> None:
        """Every expected sample is among those received: under its number, or in order where nothing is numbered."""
        received = by_index(chunks)
        if self.visible_loss_frames:
            assert {number: received.get(number) for number in expected} == expected
        else:
            rows = iter(received.values())
            assert all(row in rows for row in expected.values())

    def test_delivers_every_sample_as_it_was_played(self) -> None:
        bench = self.bench()
        first, then = bench.start(), bench.run(5.0)
        received = np.concatenate([chunk.samples for chunk in first + then])
        played = self.emg()
        offset = int(np.flatnonzero((played == received[0]).all(axis=1))[0])
        assert offset < self.deaf_s * bench.driver.info.rate_hz  # what the device sent before the driver was ready
        np.testing.assert_array_equal(received, played[offset : offset + len(received)])
        steady = sum(len(chunk.samples) for chunk in then)
        rate_hz = bench.driver.info.rate_hz
        assert abs(steady - 5.0 * rate_hz) <= 2 * self.frame_samples + STEP_S * rate_hz

    def test_chunks_are_what_the_contract_says(self) -> None:
        bench = self.bench()
        chunks = bench.start()
        for _ in range(200):
            for chunk in bench.step():
                assert chunk.arrival_s == bench.clock.now_s()
                chunks.append(chunk)
        assert chunks[0].first_sample == 0
        for before, after in pairwise(chunks):
            assert after.first_sample == before.first_sample + len(before.samples)
        for chunk in chunks:
            assert chunk.samples.dtype == np.float32
            assert chunk.samples.shape[1:] == (bench.driver.info.channels,)
            assert np.abs(chunk.samples).max() <= bench.driver.info.full_scale
            assert chunk.lost == 0
        counters = bench.driver.counters
        assert counters.samples == sum(len(chunk.samples) for chunk in chunks)
        assert counters.frames * self.frame_samples == counters.samples
        assert (counters.lost_samples, counters.rejected_bytes, counters.resyncs) == (0, 0, 0)
        assert not counters.notes

    @settings(INHERITED, max_examples=60)
    @given(data=st.data())
    def test_any_cut_of_any_stream_gives_the_same_samples(self, data: st.DataObject) -> None:
        recorded = self.recorded()
        damaged = bytearray(b"".join(recorded.frames))
        for _ in range(data.draw(st.integers(0, 4), label="damages")):
            at = data.draw(st.integers(0, len(damaged)))
            damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=6))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(damaged)), max_size=30), label="cuts"))
        pieces = [bytes(damaged[a:b]) for a, b in pairwise([0, *cuts, len(damaged)])]
        whole_driver, whole = recorded.receive([bytes(damaged)])
        cut_driver, cut = recorded.receive(pieces)
        assert by_index(cut) == by_index(whole)
        assert cut_driver.counters == whole_driver.counters

    def test_a_byte_at_a_time_gives_the_same_samples(self) -> None:
        recorded = self.recorded()
        _, chunks = recorded.receive([bytes((byte,)) for byte in b"".join(recorded.frames)])
        assert by_index(chunks) == recorded.samples

    @settings(INHERITED, max_examples=100)
    @given(frame=st.integers(0, FRAMES - 1), at=st.integers(0, 200), garbage=st.binary(min_size=1, max_size=40))
    def test_bytes_too_many_cost_at_most_the_frame_they_hit(self, frame: int, at: int, garbage: bytes) -> None:
        frame = min(frame, FRAMES - 1 - 2 * self.settle_frames)
        frames = list(self.recorded().frames)
        at %= len(frames[frame])
        frames[frame] = frames[frame][:at] + garbage + frames[frame][at:]
        _, chunks = self.recorded().receive([b"".join(frames)])
        self.require_kept(chunks, self.around(frame) if at or self.reach_frames else self.recorded().samples)

    @settings(INHERITED, max_examples=100)
    @given(frame=st.integers(0, FRAMES - 1), at=st.integers(0, 200), count=st.integers(1, 8))
    def test_missing_bytes_cost_at_most_the_frame_they_hit(self, frame: int, at: int, count: int) -> None:
        frame = min(frame, FRAMES - 1 - 2 * self.settle_frames)
        frames = list(self.recorded().frames)
        at %= len(frames[frame])
        frames[frame] = frames[frame][:at] + frames[frame][at + count :]
        _, chunks = self.recorded().receive([b"".join(frames)])
        self.require_kept(chunks, self.around(frame))

    @settings(INHERITED, max_examples=100)
    @given(frame=st.integers(0, FRAMES - 1), at=st.integers(0, 200), flip=st.integers(1, 255))
    def test_a_changed_byte_costs_at_most_its_frame(self, frame: int, at: int, flip: int) -> None:
        """Only the order is promised here: a changed counter may look like a gap."""
        frame = min(frame, FRAMES - 1 - 2 * self.settle_frames)
        frames = list(self.recorded().frames)
        changed = bytearray(frames[frame])
        changed[at % len(changed)] ^= flip
        frames[frame] = bytes(changed)
        _, chunks = self.recorded().receive([b"".join(frames)])
        received = iter(by_index(chunks).values())
        assert all(row in received for row in self.around(frame).values())

    @settings(INHERITED, max_examples=50)
    @given(data=st.data())
    def test_lost_frames_are_counted_and_placed(self, data: st.DataObject) -> None:
        recorded = self.recorded()
        count = data.draw(st.integers(1, self.visible_loss_frames or FRAMES // 2), label="frames lost")
        first = data.draw(st.integers(0, FRAMES - 1 - self.settle_frames - count), label="first frame lost")
        kept = [frame for i, frame in enumerate(recorded.frames) if not first <= i < first + count]
        driver, chunks = recorded.receive([b"".join(kept)])
        if not self.visible_loss_frames:
            assert list(by_index(chunks).values()) == list(self.without(*range(first, first + count)).values())
            assert driver.counters.lost_samples == 0, "a loss that cannot be seen"
            return
        assert by_index(chunks) == self.without(*range(first, first + count))
        assert [chunk.lost for chunk in chunks if chunk.lost] == [count * self.frame_samples]
        after = next(chunk for chunk in chunks if chunk.lost)
        assert self.frame_of(after.first_sample) == first + count
        assert driver.counters.lost_samples == count * self.frame_samples

    def test_a_second_that_is_lost_is_counted_or_noted(self) -> None:
        bench = self.bench()
        bench.start()
        bench.run(5.0)
        bench.run(1.0, mangle=lambda data: b"")
        bench.run(5.0)
        counters = bench.driver.counters
        counted = counters.lost_samples > 0.9 * bench.driver.info.rate_hz
        assert counted or counters.notes["samples missing by the clock"] == 1

    @settings(INHERITED, max_examples=60)
    @given(pieces=st.lists(st.binary(max_size=64), max_size=20), streaming=st.booleans())
    def test_random_bytes_never_raise(self, pieces: list[bytes], streaming: bool) -> None:
        driver = copy.deepcopy(self.recorded().driver) if streaming else self.make()
        now_s = self.recorded().now_s
        driver.receive(b"".join(pieces), now_s)
        driver.start(now_s)
        for piece in pieces:
            now_s += 0.3
            driver.receive(piece, now_s)
            driver.tick(now_s)
            driver.to_send()
        driver.stop(now_s)
        assert driver.phase is Phase.IDLE

    def test_a_silent_port_fails_with_a_sentence(self) -> None:
        bench = self.bench()
        bench.driver.start(bench.clock.now_s())
        bench.run(60.0, mangle=lambda data: b"", until=Phase.FAILED)
        assert bench.driver.phase is Phase.FAILED
        assert bench.driver.failure is not None
        assert "silent" in bench.driver.failure
        assert "\n" not in bench.driver.failure

    def test_foreign_bytes_fail_with_another_sentence(self) -> None:
        bench = self.bench()
        bench.driver.start(bench.clock.now_s())
        bench.run(60.0, mangle=lambda data: self.foreign, until=Phase.FAILED)
        assert bench.driver.phase is Phase.FAILED
        assert bench.driver.failure is not None
        assert "silent" not in bench.driver.failure
        assert "\n" not in bench.driver.failure

    def test_a_failed_driver_is_quiet_and_can_be_started_again(self) -> None:
        bench = self.bench()
        bench.driver.start(bench.clock.now_s())
        bench.run(60.0, mangle=lambda data: b"", until=Phase.FAILED)
        bench.driver.to_send()
        bench.run(10.0)
        assert bench.driver.phase is Phase.FAILED
        bench.start()
        assert bench.driver.failure is None
        assert bench.run(1.0)

    def test_on_a_port_it_is_recognised_as_itself_and_as_nothing_else(self) -> None:
        """By its own `Identity`, which sends nothing that a hand obeys: `test_detect.py` plays it to every hand."""
        device, now_s = self.bench().emulator, 1000.0
        device.tick(now_s)
        detection = Detection(now_s)
        while not detection.finished:
            sent = detection.advance(device.to_send(), now_s)
            now_s += STEP_S
            device.receive(sent, now_s)
            device.tick(now_s)
        (found,) = detection.found
        assert found.info.id == self.make().info.id
        assert found.missing or make_front_end(found.told).info.id == found.info.id

    def test_starting_twice_is_starting_once(self) -> None:
        bench = self.bench()
        bench.driver.start(0.0)
        assert bool(bench.driver.to_send()) == (self.configured or not self.streams_at_once)
        bench.driver.start(0.0)
        assert bench.driver.to_send() == b""
        bench = self.bench()
        bench.start()
        bench.driver.to_send()
        bench.driver.start(bench.clock.now_s())
        assert bench.driver.to_send() == b""
        assert bench.driver.phase is Phase.STREAMING

    def test_stopping_ends_the_stream_and_it_starts_again_from_zero(self) -> None:
        bench = self.bench()
        bench.start()
        bench.run(1.0)
        bench.driver.stop(bench.clock.now_s())
        assert bench.driver.phase is Phase.IDLE
        assert bench.run(1.0) == []
        bench.emulator.tick(bench.clock.advance(1.0))
        assert bool(bench.emulator.to_send()) == self.streams_at_once, "a device that can be stopped still streams"
        chunks = bench.start() + bench.run(1.0)
        assert chunks[0].first_sample == 0
        assert bench.driver.counters.samples == sum(len(chunk.samples) for chunk in chunks)


def test_front_ends_are_found_by_their_own_id() -> None:
    assert FRONT_ENDS
    for name, driver in FRONT_ENDS.items():
        assert front_end(name) is driver
        assert driver.info.id == name


def test_unknown_front_end_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"Did you mean 'myo'\?"):
        front_end("mio")
    with pytest.raises(InputError, match="no such front end"):
        front_end("stethoscope")
