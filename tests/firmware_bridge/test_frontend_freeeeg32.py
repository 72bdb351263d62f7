"""The FreeEEG32 driver: a frame's bytes and microvolts, frames of any length, what the field does to a stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.freeeeg32 import FreeEeg32Emulator
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.base import Phase
from myosem_edge.firmware_bridge.frontends.freeeeg32 import (
    LONGEST_BYTES,
    ROW,
    SHORTEST_BYTES,
    UV_PER_COUNT,
    FreeEeg32,
)
from tests.firmware_bridge.test_frontend_spec import Bench, FrontEndSpec, by_index

# Counts +1, -1, largest, smallest, 0, 26844, -26844, 100000, four times.
EIGHT = bytes.fromhex("000001 FFFFFF 7FFFFF 800000 000000 0068DC FF9724 0186A0")
EIGHT_UV = [0.03725, -0.03725, 312500.0, -312500.04, 0.0, 1000.017, -1000.017, 3725.29]
STILL = bytes.fromhex("0000 0000 4000")


class TestFreeEeg32(FrontEndSpec):
    """105 bytes, as the published firmware sends."""

    frame_samples = 1
    visible_loss_frames = 30
    settle_frames = 1
    lsb = UV_PER_COUNT
    streams_at_once = True
    trailer = STILL

    def make(self) -> FreeEeg32:
        return FreeEeg32()

    def make_emulator(self, source: ArraySource) -> FreeEeg32Emulator:
        return FreeEeg32Emulator(source, trailer=self.trailer)

    def split(self, stream: bytes) -> list[bytes]:
        length = SHORTEST_BYTES + len(self.trailer)
        return [stream[i : i + length] for i in range(0, len(stream), length)]


class TestShortFrames(TestFreeEeg32):
    """Nothing after the channels."""

    trailer = b""


class TestFramesFullOfBorders(TestFreeEeg32):
    """After the channels there is what looks like the end of a frame and the beginning of the next one."""

    # It does not count on: what does, three bytes further, cannot be told from a frame once three bytes are missing.
    trailer = b"\xc0\xa0\x01\xc0\xa0\x01\xc0\xa0"


def frame(counter: int, trailer: bytes = STILL) -> bytes:
    return bytes((0xA0, counter % 256)) + 4 * EIGHT + trailer + b"\xc0"


def bench(faults: Faults | None = None) -> Bench:
    emg = np.random.default_rng(1).normal(0.0, 100.0, (20_000, 32)).astype(np.float32)
    return Bench(FreeEeg32(), FreeEeg32Emulator(ArraySource(emg, 512.0), faults=faults))


def test_a_frame_is_read_to_the_microvolt() -> None:
    driver = FreeEeg32()
    driver.start(0.0)
    (chunk,) = driver.receive(b"".join(map(frame, range(254, 258))), 0.1)
    assert chunk.samples.shape == (4, 32)
    np.testing.assert_allclose(chunk.samples, 4 * [4 * EIGHT_UV], rtol=2e-6, atol=1e-5)


def test_the_emulated_board_sends_that_frame() -> None:
    played = np.tile(np.array(EIGHT_UV), (10, 4))
    emulator = FreeEeg32Emulator(ArraySource(played, 512.0))
    emulator.tick(0.0)
    emulator.tick(0.002)
    assert emulator.to_send() == frame(0)


@settings(deadline=None)
@given(
    length=st.integers(SHORTEST_BYTES, LONGEST_BYTES),
    before=st.binary(max_size=120),
    seed=st.integers(0, 2**32 - 1),
    cut=st.integers(1, 400),
)
def test_the_length_of_frames_is_found_wherever_the_stream_is_met(
    length: int, before: bytes, seed: int, cut: int
) -> None:
    trailer = np.random.default_rng(seed).bytes(length - SHORTEST_BYTES)
    stream = before + b"".join(frame(counter, trailer) for counter in range(21))
    driver = FreeEeg32()
    driver.start(0.0)
    chunks = [chunk for i in range(0, len(stream), cut) for chunk in driver.receive(stream[i : i + cut], 0.1)]
    assert by_index(chunks).keys() >= set(range(20))  # the last one may wait for what follows
    assert driver.counters.rejected_bytes == len(before)


def test_a_length_is_believed_after_four_frames() -> None:
    driver = FreeEeg32()
    driver.start(0.0)
    assert driver.receive(b"".join(map(frame, range(ROW - 1))), 0.1) == []
    assert driver.phase is Phase.CONNECTING
    assert len(driver.receive(frame(ROW - 1), 0.1)[0].samples) == ROW


def test_another_firmware_may_be_plugged_in() -> None:
    table = bench()
    table.start()
    table.run(1.0)
    table.run(1.0, mangle=lambda data: b"")
    source = ArraySource(np.ones((5, 32)), 512.0)
    table.emulator = FreeEeg32Emulator(source, trailer=b"")
    table.run(3.0)
    assert table.run(1.0)
    assert table.driver.phase is Phase.STREAMING


@pytest.mark.parametrize("fault", ["drop_probability", "cut_probability", "duplicate_probability", "text_probability"])
def test_what_happens_on_the_wire_is_counted_and_nothing_else_is_lost(fault: str) -> None:
    table = bench(Faults(**{fault: 0.02}))
    table.start()
    chunks = table.run(10.0)
    by_index(chunks)
    counters = table.driver.counters
    assert sum(len(chunk.samples) for chunk in chunks) + counters.lost_samples == pytest.approx(5120, abs=12)
    expected = 0.02 if fault in ("drop_probability", "cut_probability") else 0.0
    assert counters.lost_samples / 5120 == pytest.approx(expected, abs=0.01)
