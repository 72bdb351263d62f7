"""The BITalino driver: frames without a mark, believed for four bits of sequence and four of check sum."""

from __future__ import annotations

import random

import numpy as np
import pytest

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.bitalino import BitalinoEmulator, frame
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.bitalino import FRAME_BYTES, Bitalino, CheckedFrames, crc4
from tests.firmware_bridge.test_frontend_spec import Bench, FrontEndSpec, by_index

LSB = 3.3e6 / 1024 / 1009
# Sequence 5, I1 I2 O1 O2 = 1 0 1 0: what the maker's library takes for these values.
VALUES = [512, 1023, 0, 300, 33, 63]
VECTORS = {1: "00 A8 5D", 2: "FF 03 A8 50", 4: "C0 12 00 FF 03 A8 5A", 6: "7F C8 12 00 FF 03 A8 54"}


class TestBitalino(FrontEndSpec):
    frame_samples = 1
    visible_loss_frames = 15
    reach_frames = 1  # four bits of check sum and four of sequence are wrong once in 256 times
    trailing_frames = 1
    settle_frames = 2
    lsb = LSB

    def make(self) -> Bitalino:
        return Bitalino()

    def make_emulator(self, source: ArraySource) -> BitalinoEmulator:
        return BitalinoEmulator(source, driver=self.make())

    def split(self, stream: bytes) -> list[bytes]:
        length = FRAME_BYTES[self.make().info.channels]
        return [stream[i : i + length] for i in range(0, len(stream), length)]


class TestSixChannels(TestBitalino):
    """The last two have six bits, of which every step is sixteen of the others'."""

    lsb = 16 * LSB

    def make(self) -> Bitalino:
        return Bitalino(channels=6, rate_hz=100)


class TestThreeChannels(TestBitalino):
    """Six bits of a frame say nothing."""

    def make(self) -> Bitalino:
        return Bitalino(channels=3)


def bench(driver: Bitalino | None = None, *, faults: Faults | None = None, firmware: str = "5.2") -> Bench:
    driver = driver or Bitalino()
    emg = np.random.default_rng(1).normal(0.0, 400.0, (9973, driver.info.channels)).astype(np.float32)
    source = ArraySource(emg, driver.info.rate_hz)
    return Bench(driver, BitalinoEmulator(source, driver=driver, faults=faults, firmware=firmware))


def streaming(driver: Bitalino) -> Bitalino:
    driver.start(0.0)
    driver.tick(0.6)
    driver.receive(b"BITalino_v5.2\n", 0.7)
    driver.tick(0.9)
    driver.tick(1.1)
    return driver


@pytest.mark.parametrize("channels", VECTORS)
def test_a_frame_is_read_to_the_count(channels: int) -> None:
    vector = bytes.fromhex(VECTORS[channels])
    assert crc4(vector) == 0
    following = [frame(VALUES[:channels], sequence) for sequence in (6, 7)]
    (chunk,) = streaming(Bitalino(channels=channels)).receive(vector + b"".join(following), 2.0)
    expected = [(value / 1024 - 0.5) * 3.3e6 / 1009 for value in VALUES[:4]]
    expected += [(value / 64 - 0.5) * 3.3e6 / 1009 for value in VALUES[4:]]
    np.testing.assert_allclose(chunk.samples[0], expected[:channels], rtol=1e-6)


def test_the_check_sum_sees_every_burst_of_four_bits() -> None:
    vector = int.from_bytes(bytes.fromhex(VECTORS[6]))
    for burst in range(1, 16):
        for place in range(61):
            assert crc4((vector ^ burst << place).to_bytes(8)) != 0


def test_the_start_is_what_the_device_expects() -> None:
    table = bench()
    table.start()
    assert table.sent == [b"\x00", b"\x07", b"\xc3", b"\x3d"]
    assert table.driver.facts == {"firmware": "5.2"}
    slow = bench(Bitalino(channels=1, rate_hz=100))
    slow.start()
    assert slow.sent[2:] == [b"\x83", b"\x05"]


def test_old_firmware_starts_too() -> None:
    table = bench(firmware="4.2")
    table.start()
    assert table.driver.facts == {"firmware": "4.2"}


@pytest.mark.parametrize("options", [{"channels": 0}, {"channels": 7}, {"rate_hz": 10}, {"gain": -1.0}])
def test_what_no_bitalino_can_be_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match="has a wrong value"):
        Bitalino(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", FRAME_BYTES)
def test_a_row_of_random_bytes_is_next_to_never_taken_for_frames(channels: int) -> None:
    """A few times in a million places would be chance; a check sum alone passes in 60 000 of them."""
    noise = random.Random(channels).randbytes(200_000)
    assert len(list(CheckedFrames(FRAME_BYTES[channels]).feed(noise))) <= 12


def test_a_stream_is_taken_up_in_the_middle_of_a_frame() -> None:
    frames = [frame([512, 300 + i, 500, 512 - i], i) for i in range(40)]
    reader = CheckedFrames(FRAME_BYTES[4])
    taken = [each for each, _ in reader.feed(b"".join(frames)[3:])]
    assert taken == frames[1:-1]
    assert reader.rejected_bytes == 4


def test_a_device_that_still_streams_is_stopped_first() -> None:
    table = bench()
    table.start()
    table.run(1.0)
    table.driver = Bitalino()
    table.start()
    assert table.run(1.0)
    assert table.driver.counters.lost_samples == 0
    assert table.driver.counters.rejected_bytes == 0


@pytest.mark.parametrize(
    "fault", ["drop_probability", "cut_probability", "duplicate_probability", "text_probability", "garbage_probability"]
)
def test_what_happens_on_the_wire_is_counted_and_nothing_else_is_lost(fault: str) -> None:
    table = bench(faults=Faults(**{fault: 0.02}))
    table.start()
    chunks = table.run(20.0)
    by_index(chunks)
    counters = table.driver.counters
    assert sum(len(chunk.samples) for chunk in chunks) + counters.lost_samples == pytest.approx(20_000, abs=40)
    expected = 0.02 if fault in ("drop_probability", "cut_probability") else 0.0
    assert counters.lost_samples / 20_000 == pytest.approx(expected, abs=0.004)


def test_a_changed_byte_is_nearly_always_seen() -> None:
    """Of the changes to a byte, one in sixteen passes four bits of check sum."""
    table = bench(faults=Faults(corrupt_probability=0.02))
    table.start()
    chunks = table.run(20.0)
    lost = table.driver.counters.lost_samples
    assert lost / 20_000 == pytest.approx(0.02 * 15 / 16, abs=0.004)
    assert sum(len(chunk.samples) for chunk in chunks) + lost == pytest.approx(20_000, abs=40)


def test_a_device_that_went_away_is_started_again_and_its_gap_is_estimated() -> None:
    table = bench()
    table.start()
    before = table.run(1.0)
    table.run(3.0, mangle=lambda data: b"")
    after = table.run(4.0)
    assert table.driver.counters.notes["stalls"] == 1
    elapsed = (after[0].arrival_s - before[-1].arrival_s) * 1000.0
    assert after[0].first_sample - before[-1].first_sample == pytest.approx(elapsed, abs=12)
