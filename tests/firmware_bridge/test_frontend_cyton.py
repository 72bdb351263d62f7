"""The Cyton driver: a frame's bytes and microvolts, the start, pairs of a Daisy, and faults seen in the field."""

from __future__ import annotations

import numpy as np
import pytest

from myosem_edge.firmware_bridge.emulators.cyton import CytonEmulator
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.base import Chunk, Phase
from myosem_edge.firmware_bridge.frontends.cyton import UV_PER_COUNT, Cyton, CytonDaisy
from tests.firmware_bridge.test_frontend_spec import Bench, FrontEndSpec, by_index

# Counter 2A, counts +1, -1, largest, smallest, 0, 4474, -4474, 100000; the arm lies still.
VECTOR = bytes.fromhex("A0 2A 000001 FFFFFF 7FFFFF 800000 000000 00117A FFEE86 0186A0 0010 FFF0 1FF0 C0")
VECTOR_UV = [0.02235, -0.02235, 187500.0, -187500.02, 0.0, 100.0017, -100.0017, 2235.174]
FOLLOWING = bytes((0xA0, 0x2B)) + VECTOR[2:]


class TestCyton(FrontEndSpec):
    frame_samples = 1
    visible_loss_frames = 30
    settle_frames = 1
    lsb = UV_PER_COUNT

    def make(self) -> Cyton:
        return Cyton()

    def make_emulator(self, source: ArraySource) -> CytonEmulator:
        return CytonEmulator(source)

    def split(self, stream: bytes) -> list[bytes]:
        return [stream[i : i + 33] for i in range(0, len(stream), 33)]


class TestCytonDaisy(FrontEndSpec):
    frame_samples = 1
    visible_loss_frames = 30
    settle_frames = 1
    lsb = UV_PER_COUNT

    def make(self) -> CytonDaisy:
        return CytonDaisy()

    def make_emulator(self, source: ArraySource) -> CytonEmulator:
        return CytonEmulator(source, daisy=True)

    def split(self, stream: bytes) -> list[bytes]:
        return [stream[i : i + 66] for i in range(0, len(stream), 66)]


def bench(driver: Cyton, *, faults: Faults | None = None, daisy: bool = False, board_off: bool = False) -> Bench:
    emg = np.random.default_rng(1).normal(0.0, 100.0, (5000, 16 if daisy else 8)).astype(np.float32)
    source = ArraySource(emg, 125.0 if daisy else 250.0)
    return Bench(driver, CytonEmulator(source, daisy=daisy, board_off=board_off, faults=faults))


def streaming(driver: Cyton) -> Cyton:
    driver.start(0.0)
    for now_s in (0.5, 1.0):  # `s` has no answer
        driver.tick(now_s)
    driver.receive(b"OpenBCI V3\r\nFirmware: v3.1.2\r\n$$$", 1.1)
    driver.receive(b"defaults$$$", 1.2)
    return driver


def test_a_frame_is_read_to_the_microvolt() -> None:
    (chunk,) = streaming(Cyton()).receive(VECTOR + FOLLOWING, 2.0)
    assert chunk.samples.shape == (2, 8)
    np.testing.assert_allclose(chunk.samples[0], VECTOR_UV, rtol=1e-6, atol=1e-5)


def test_the_start_is_what_the_board_expects() -> None:
    table = bench(Cyton())
    table.start()
    assert table.sent == [b"s", b"v", b"d", b"b"]
    assert table.driver.facts == {"firmware": "v3.1.2", "daisy": "no"}


def test_a_daisy_is_asked_for_and_switched_on() -> None:
    table = bench(CytonDaisy(), daisy=True)
    table.start()
    assert table.sent == [b"s", b"v", b"d", b"Cb"] or table.sent == [b"s", b"v", b"d", b"C", b"b"]


def test_a_daisy_that_is_not_wanted_is_left_off() -> None:
    table = bench(Cyton(), daisy=True)
    table.start()
    assert b"c" in table.sent
    chunks = table.run(1.0)
    assert sum(len(chunk.samples) for chunk in chunks) == pytest.approx(250, abs=4)
    assert table.driver.counters.lost_samples == 0


def test_a_missing_daisy_is_said() -> None:
    table = bench(CytonDaisy())
    table.driver.start(0.0)
    table.run(20.0, until=Phase.FAILED)
    assert "no Daisy" in (table.driver.failure or "")


def test_a_board_that_is_off_is_told_from_a_dongle_that_is_missing() -> None:
    table = bench(Cyton(), board_off=True)
    table.driver.start(0.0)
    table.run(20.0, until=Phase.FAILED)
    assert "the dongle answers but the board does not" in (table.driver.failure or "")


def test_a_board_that_still_streams_is_stopped_first() -> None:
    table = bench(Cyton())
    table.start()
    table.run(1.0)
    table.driver = Cyton()
    table.start()
    assert table.run(1.0)
    assert table.driver.counters.lost_samples == 0


@pytest.mark.parametrize("driver", [Cyton(), CytonDaisy()])
def test_a_counter_that_never_moves_names_the_firmware(driver: Cyton) -> None:
    table = bench(driver, faults=Faults(stuck_counter=True), daisy=isinstance(driver, CytonDaisy))
    table.driver.start(0.0)
    table.run(60.0, until=Phase.FAILED)
    assert "firmware" in (table.driver.failure or "")


def test_text_in_the_stream_costs_no_sample() -> None:
    table = bench(Cyton(), faults=Faults(text_probability=0.05))
    table.start()
    chunks = table.run(5.0)
    by_index(chunks)
    assert table.driver.counters.lost_samples == 0
    assert table.driver.counters.rejected_bytes > 0


def test_a_frame_that_came_twice_is_taken_once() -> None:
    table = bench(Cyton(), faults=Faults(duplicate_probability=0.1))
    table.start()
    chunks = table.run(5.0)
    assert table.driver.counters.lost_samples == 0
    assert sum(len(chunk.samples) for chunk in chunks) == pytest.approx(1250, abs=4)


@pytest.mark.parametrize("daisy", [False, True])
@pytest.mark.parametrize("fault", ["drop_probability", "cut_probability", "corrupt_probability"])
def test_what_is_lost_on_the_wire_is_counted(fault: str, daisy: bool) -> None:
    driver = CytonDaisy() if daisy else Cyton()
    table = bench(driver, faults=Faults(**{fault: 0.02}), daisy=daisy)
    table.start()
    chunks = table.run(20.0)
    received = sum(len(chunk.samples) for chunk in chunks)
    expected = 20.0 * driver.info.rate_hz
    assert received + driver.counters.lost_samples == pytest.approx(expected, abs=8)
    if fault != "corrupt_probability":  # most changed bytes are data, which nothing can show
        assert 0.005 < driver.counters.lost_samples / expected < 0.05


def test_an_unplugged_board_is_started_again_and_its_gap_is_estimated() -> None:
    table = bench(Cyton())
    table.start()
    before = table.run(2.0)
    table.run(3.0, mangle=lambda data: b"")
    after: list[Chunk] = table.run(4.0)
    assert table.driver.counters.notes["stalls"] == 1
    assert after[0].lost > 500
    last, first = before[-1], after[0]
    elapsed = (first.arrival_s - last.arrival_s) * 250.0
    assert first.first_sample - last.first_sample == pytest.approx(elapsed, abs=8)
