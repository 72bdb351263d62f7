"""The SpikerShield driver: frames marked by a top bit, messages in the stream, and no counter at all."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.emulators.spikershield import SpikerShieldEmulator
from myosem_edge.firmware_bridge.frontends.spikershield import BANNER, CLOSE, OPEN, MarkedFrames, SpikerShield
from tests.firmware_bridge.test_frontend_spec import Bench, FrontEndSpec, by_index

TWO = bytes.fromhex("87 7F 00 03")  # 1023 and 3
NEXT = b"\x84"


class TestSixChannels(FrontEndSpec):
    frame_samples = 1
    visible_loss_frames = 0
    reach_frames = 1  # a lost mark runs a frame into the one before
    trailing_frames = 1
    streams_at_once = True
    configured = True
    deaf_s = 0.5

    def make(self) -> SpikerShield:
        return SpikerShield(channels=6)

    def make_emulator(self, source: ArraySource) -> SpikerShieldEmulator:
        return SpikerShieldEmulator(source, driver=self.make())

    def split(self, stream: bytes) -> list[bytes]:
        length = 2 * self.make().info.channels
        return [stream[i : i + length] for i in range(0, len(stream), length)]


class TestTwoChannels(TestSixChannels):
    def make(self) -> SpikerShield:
        return SpikerShield(channels=2)


def bench(channels: int, faults: Faults | None = None) -> Bench:
    driver = SpikerShield(channels=channels)
    emg = np.random.default_rng(1).integers(-500, 500, (9973, channels)).astype(np.float32)
    source = ArraySource(emg, driver.info.rate_hz)
    return Bench(driver, SpikerShieldEmulator(source, driver=driver, faults=faults))


def streaming(channels: int) -> SpikerShield:
    driver = SpikerShield(channels=channels)
    driver.start(0.0)
    driver.to_send()
    driver.tick(0.3)
    return driver


def values(driver: SpikerShield, stream: bytes) -> list[list[float]]:
    """What is read, as the converter's own counts."""
    return [(row + 512).tolist() for chunk in driver.receive(stream, 1.0) for row in chunk.samples]


def test_frames_are_read_to_the_count() -> None:
    assert values(streaming(1), bytes.fromhex("84 00") + NEXT) == [[512]]
    assert values(streaming(2), TWO + NEXT) == [[1023, 3]]


def test_the_board_is_told_how_many_channels_and_nothing_else() -> None:
    table = bench(6)
    table.start()
    table.run(5.0)
    table.driver.stop(table.clock.now_s())
    table.step()
    assert table.sent == [b"conf s:10000;c:6;\n"]
    assert SpikerShield(channels=6).info.rate_hz == pytest.approx(1666.67, abs=0.01)


def test_one_channel_is_ten_thousand_samples_a_second() -> None:
    table = bench(1)
    table.start()
    assert sum(len(chunk.samples) for chunk in table.run(2.0)) == pytest.approx(20_000, abs=60)
    assert table.driver.counters.rejected_bytes == 0


@pytest.mark.parametrize("channels", [0, 7])
def test_what_no_board_can_be_is_refused(channels: int) -> None:
    with pytest.raises(InputError, match="channels has a wrong value"):
        SpikerShield(channels=channels)


def test_a_message_is_lifted_out_of_the_middle_of_a_frame() -> None:
    driver = streaming(2)
    message = OPEN + b"HWT:MUSCLESS;FWV:1.2;" + CLOSE
    assert values(driver, TWO[:3] + message + TWO[3:] + TWO + NEXT) == [[1023, 3], [1023, 3]]
    assert driver.facts == {"hardware": "MUSCLESS", "firmware": "1.2"}
    assert driver.counters.rejected_bytes == driver.counters.lost_samples == 0


@given(cuts=st.sets(st.integers(1, 40)))
def test_a_message_is_lifted_out_however_it_is_cut(cuts: set[int]) -> None:
    stream = TWO + OPEN + b"EVNT:1;" + CLOSE + TWO + BANNER + TWO + NEXT
    heard: list[bytes] = []
    reader = MarkedFrames(2, heard.append)
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    frames = [frame for a, b in pairwise(places) for frame, _ in reader.feed(stream[a:b])]
    assert frames == [TWO] * 3
    assert heard == [b"EVNT:1;", BANNER]
    assert reader.rejected_bytes == 0


def test_a_message_that_never_ends_costs_little() -> None:
    driver = streaming(2)
    read = values(driver, TWO * 10 + OPEN + TWO * 100 + NEXT)
    assert len(read) >= 108
    assert driver.counters.resyncs == 1


def test_a_lost_byte_costs_its_frame_and_a_lost_mark_two() -> None:
    stream = TWO * 5 + TWO[:2] + TWO[3:] + TWO * 5 + NEXT
    driver = streaming(2)
    assert len(values(driver, stream)) == 10
    assert driver.counters.lost_samples == 1
    driver = streaming(2)
    assert len(values(driver, TWO * 5 + TWO[1:] + TWO * 5 + NEXT)) == 9
    assert driver.counters.lost_samples == 2


def test_a_value_of_more_than_ten_bits_is_damage() -> None:
    driver = streaming(2)
    assert len(values(driver, TWO + bytes.fromhex("87 7F 08 03") + bytes.fromhex("88 7F 00 03") + TWO + NEXT)) == 2
    assert driver.counters.lost_samples == 2


def test_bytes_without_a_mark_do_not_pile_up() -> None:
    reader = MarkedFrames(6, lambda text: None)
    for _ in range(1000):
        assert not list(reader.feed(b"\x05" * 100))
    assert reader.rejected_bytes > 99_000


def test_a_board_that_was_reset_is_told_again() -> None:
    """It has fallen back to one channel, which is two bytes a frame."""
    table = bench(6)
    table.start()
    table.run(2.0)
    table.emulator = SpikerShieldEmulator(ArraySource(np.ones((5, 6)), 10_000 / 6), driver=SpikerShield(channels=6))
    chunks = table.run(6.0)
    assert table.driver.counters.notes["board restarts"] == 1
    assert table.driver.counters.notes["stalls"] == 1
    assert table.sent.count(b"conf s:10000;c:6;\n") == 2
    assert chunks[-1].samples[-1].tolist() == [1.0] * 6


@pytest.mark.parametrize("fault", ["cut_probability", "corrupt_probability", "text_probability"])
def test_damage_never_costs_more_than_the_frames_it_touches(fault: str) -> None:
    table = bench(6, faults=Faults(**{fault: 0.02}))
    table.start()
    chunks = table.run(10.0)
    by_index(chunks)
    received, sent = sum(len(chunk.samples) for chunk in chunks), 10 * 10_000 / 6
    assert received == pytest.approx(sent * (1 - 0.025), abs=0.02 * sent)
    if fault == "cut_probability":
        assert received + table.driver.counters.lost_samples == pytest.approx(sent, abs=0.002 * sent)
