"""The driver of the wire protocol: what the info frame decides, changes while it streams, and every kind of loss."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge import wire
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.myosem_wire import MyosemWireEmulator
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.base import Chunk, Phase
from myosem_edge.firmware_bridge.frontends.myosem_wire import DEFAULT, FOREIGN, MyosemWire
from tests.firmware_bridge.test_frontend_spec import Bench, FrontEndSpec, by_index

LSB = float(DEFAULT.uv_per_count[0])
LEFT_OUT = "samples that the device left out"
SATURATED = "frames with a saturated channel"
WENT_BACK = "times that the sequence went back"


def frames(stream: bytes) -> list[bytes]:
    """Whole frames, 00 at both ends included."""
    return [b"\0" + block + b"\0" for block in stream.split(b"\0") if block]


def body(sent: bytes) -> bytes:
    (found,) = wire.Deframer().feed(sent)
    return found


class TestMyosemWire(FrontEndSpec):
    frame_samples = 10
    visible_loss_frames = 38
    lsb = LSB

    def make(self) -> MyosemWire:
        return MyosemWire()

    def make_emulator(self, source: ArraySource) -> MyosemWireEmulator:
        return MyosemWireEmulator(source)

    def split(self, stream: bytes) -> list[bytes]:
        whole: list[bytes] = []
        for each in frames(stream):
            if body(each)[0] & 15 == wire.Kind.DATA:
                whole.append(each)
            else:
                whole[-1] += each
        return whole


class TestElevenChannels(TestMyosemWire):
    """The same promises for a device of another shape: eleven channels in a ring, three samples a frame."""

    frame_samples = 3
    _recorded = None  # not that of the eight

    def make(self) -> MyosemWire:
        return MyosemWire(channels=11, rate_hz=300.0, layout="ring")

    def make_emulator(self, source: ArraySource) -> MyosemWireEmulator:
        return MyosemWireEmulator(source, driver=self.make())


def table(
    *,
    channels: int = 8,
    rate_hz: float = 1000.0,
    faults: Faults | None = None,
    layout: Literal["sites", "ring"] = "sites",
) -> tuple[Bench, MyosemWire, MyosemWireEmulator]:
    emg = np.random.default_rng(1).normal(0.0, 100.0, (20_000, channels)).astype(np.float32)
    told = MyosemWire(layout=layout)
    driver, device = MyosemWire(), MyosemWireEmulator(ArraySource(emg, rate_hz), driver=told, faults=faults)
    return Bench(driver, device), driver, device


class Hand:
    """Frames made by hand, to a driver whose device has acknowledged the start."""

    def __init__(self) -> None:
        self.driver, self.now_s = MyosemWire(), 0.0
        self.sequence = self.clock_us = 0
        self.driver.start(0.0)
        for answer in (wire.frame(DEFAULT), b""):
            asked = wire.parse(body(self.driver.to_send()))
            assert isinstance(asked, wire.Command)
            self.driver.receive(answer + wire.frame(wire.Acknowledge(asked.request, asked.order)), 0.0)

    def data(self, value: int = 1, n: int = 10, **fields: int | bool) -> bytes:
        counts = np.full((n, self.driver.info.channels), value, np.int32)
        self.clock_us += 1000 * n
        numbers = {"epoch": 0, "sequence": self.sequence, "overflow": 0} | fields
        self.sequence = (int(numbers["sequence"]) + n) % wire.WRAP
        return wire.frame(wire.Data(clock_us=self.clock_us, counts=counts, **numbers))  # type: ignore[arg-type]

    def give(self, *sent: bytes) -> list[Chunk]:
        return self.driver.receive(b"".join(sent), self.now_s)


@pytest.mark.parametrize("option", [{"channels": 0}, {"channels": 33}, {"rate_hz": 0.5}, {"rate_hz": 2e4}, {"baud": 9}])
def test_what_no_device_can_be_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(option))} has a wrong value"):
        MyosemWire(**option)


def test_what_is_expected_is_there_before_the_device_has_spoken_and_gives_way() -> None:
    driver = MyosemWire(channels=4, rate_hz=500.0, layout="ring", baud=921600)
    assert (driver.info.channels, driver.info.rate_hz, driver.info.layout) == (4, 500.0, "ring")
    bench, _, device = table()
    bench = Bench(driver, device)
    bench.start()
    assert (driver.info.channels, driver.info.rate_hz, driver.info.layout) == (8, 1000.0, "sites")
    assert driver.info.baud == 921600


def test_the_device_is_asked_what_it_is_and_then_started() -> None:
    bench, driver, device = table()
    bench.start()
    asked = [wire.parse(body(each)) for sent in bench.sent for each in frames(sent)]
    assert [each.order for each in asked if isinstance(each, wire.Command)] == [wire.Order.GET_INFO, wire.Order.START]
    assert driver.facts == {"firmware": "emulated 1", "hardware": "none", "lead-off drive": "off"}
    driver.stop(bench.clock.now_s())
    bench.run(0.1)
    assert not device.streaming


def test_channels_rate_layout_and_scale_are_the_device_s() -> None:
    bench, driver, device = table(channels=4, rate_hz=500.0, layout="ring")
    device.configure(gains=(1.0, 2.0, 4.0, 24.0))
    bench.start()
    chunks = bench.run(2.0)
    info = driver.info
    assert (info.channels, info.rate_hz, info.layout) == (4, 500.0, "ring")
    assert info.full_scale == pytest.approx(4_500_000, rel=1e-6)
    received = np.concatenate([chunk.samples for chunk in chunks])
    assert len(received) == pytest.approx(1000, abs=20)
    played = device.source._emg  # type: ignore[attr-defined]
    offset = int(np.argmin(np.abs(played - received[0]).sum(axis=1)))
    errors = np.abs(received - played[offset : offset + len(received)]).max(axis=0)
    assert (errors <= 0.51 * np.array([24.0, 12.0, 6.0, 1.0]) * LSB).all()
    assert not driver.counters.notes
    assert MyosemWire.info.channels == 8


def test_a_new_gain_while_it_streams_costs_no_sample_and_no_microvolt() -> None:
    bench, driver, device = table()
    chunks = bench.start() + bench.run(1.0)
    device.receive(wire.frame(wire.set_gain(200, 1.0)), bench.clock.now_s())
    chunks += bench.run(1.0)
    assert driver.info.full_scale == pytest.approx(4_500_000, rel=1e-6)
    assert driver.counters.lost_samples == 0
    samples = np.array(list(by_index(chunks).values()))
    played = device.source._emg  # type: ignore[attr-defined]
    offset = int(np.argmin(np.abs(played - samples[0]).sum(axis=1)))
    assert np.abs(samples - played[offset : offset + len(samples)]).max() <= 0.51 * 24 * LSB
    assert len(samples) == pytest.approx(2000, abs=30)


def test_samples_of_another_epoch_wait_for_their_info_which_is_asked_for_once() -> None:
    hand = Hand()
    assert hand.give(hand.data(), hand.data())[0].samples[0, 0] == np.float32(LSB)
    assert hand.give(hand.data(epoch=1)) == []
    asked = wire.parse(body(hand.driver.to_send()))
    assert isinstance(asked, wire.Command) and asked.order == wire.Order.GET_INFO
    assert hand.give(hand.data(epoch=1)) == []
    assert hand.driver.to_send() == b""
    (chunk,) = hand.give(wire.frame(replace(DEFAULT, epoch=1, gains=(12.0,) * 8)))
    assert (chunk.first_sample, len(chunk.samples), chunk.lost) == (20, 20, 0)
    np.testing.assert_allclose(chunk.samples, 2 * LSB, rtol=1e-6)


def test_samples_whose_info_never_comes_are_lost_and_counted() -> None:
    hand = Hand()
    hand.give(hand.data(), hand.data())
    assert hand.give(hand.data(epoch=1), hand.data(epoch=2)) == []
    (chunk,) = hand.give(wire.frame(replace(DEFAULT, epoch=2)))
    assert (chunk.first_sample, chunk.lost) == (30, 10)


def test_a_device_that_never_says_what_it_measures_holds_no_more_than_some_seconds() -> None:
    hand = Hand()
    hand.give(hand.data(), hand.data())
    for _ in range(1000):
        assert hand.give(hand.data(epoch=1)) == []
    assert len(hand.driver._frames._waiting) == 512
    (chunk,) = hand.give(wire.frame(replace(DEFAULT, epoch=1)))
    assert chunk.lost + len(chunk.samples) == 10_000


def test_changes_that_come_together_are_each_decoded_by_their_own_info() -> None:
    hand = Hand()
    steps = [hand.data(), hand.data()]
    for epoch, gain in ((1, 12.0), (2, 6.0), (3, 1.0)):
        steps += [wire.frame(replace(DEFAULT, epoch=epoch, gains=(gain,) * 8)), hand.data(epoch=epoch)]
    whole, alone = copy.deepcopy(hand), copy.deepcopy(hand)
    together = by_index(whole.give(*steps))
    assert together == by_index([chunk for step in steps for chunk in alone.give(step)])
    np.testing.assert_allclose([together[i][0] / LSB for i in (0, 20, 30, 40)], [1, 2, 4, 24], rtol=1e-6)


def test_a_device_that_becomes_another_one_says_so() -> None:
    hand = Hand()
    hand.give(hand.data(), hand.data())
    four = replace(DEFAULT, epoch=1, rate_hz=250.0, gains=(24.0,) * 4)
    hand.give(wire.frame(four))
    assert (hand.driver.info.channels, hand.driver.info.rate_hz) == (4, 250.0)
    (chunk,) = hand.give(hand.data(epoch=1))
    assert chunk.samples.shape == (10, 4)
    eight = np.zeros((10, 8), np.int32)
    assert hand.give(wire.frame(wire.Data(1, hand.sequence, 0, 0, eight))) == []


def test_gaps_are_counted_in_samples_whatever_a_frame_holds() -> None:
    hand = Hand()
    hand.sequence = 65_530
    hand.give(hand.data(n=3), hand.data(n=10))
    hand.data(n=7)
    (chunk,) = hand.give(hand.data(n=1))
    assert (chunk.lost, chunk.first_sample) == (7, 20)
    assert hand.driver.counters.lost_samples == 7


def test_what_the_device_left_out_is_noted() -> None:
    hand = Hand()
    hand.give(hand.data(overflow=65_530), hand.data(overflow=65_530))
    hand.data(n=8)
    (chunk,) = hand.give(hand.data(overflow=2))
    assert chunk.lost == 8
    assert hand.driver.counters.notes == {LEFT_OUT: 8}


def test_a_saturated_channel_is_noted() -> None:
    hand = Hand()
    hand.give(hand.data(saturated=1), hand.data(), hand.data(saturated=6))
    assert hand.driver.counters.notes == {SATURATED: 2}
    bench, driver, _ = table(faults=Faults(railing_channels=(2,)))
    bench.start()
    bench.run(1.0)
    assert driver.counters.notes[SATURATED] > 90


def test_a_frame_that_came_twice_is_taken_once() -> None:
    hand = Hand()
    first, second = hand.data(), hand.data()
    chunks = hand.give(first, second, second, hand.data())
    assert sum(len(chunk.samples) for chunk in chunks) == 30
    assert hand.driver.counters.lost_samples == 0


def test_a_sequence_that_goes_back_is_noted() -> None:
    hand = Hand()
    hand.sequence = 500
    hand.give(hand.data(), hand.data())
    (chunk,) = hand.give(hand.data(sequence=0))
    assert (chunk.lost, hand.driver.counters.notes) == (0, {WENT_BACK: 1})


@pytest.mark.parametrize(
    ("off", "sense", "shown"),
    [
        ((0b0101, 0b1000), (0xFF, 0xFF), 0b1101),
        ((0b0101, 0b1000), (0b0001, 0), 0b0001),
        ((0xFF, 0xFF), (0, 0), 0),
    ],
)
def test_electrodes_are_off_only_where_that_is_sensed(off: tuple[int, int], sense: tuple[int, int], shown: int) -> None:
    bench, driver, device = table()
    device.off_p, device.off_n = off
    device.configure(sense_p=sense[0], sense_n=sense[1], drive_on=True)
    bench.start()
    assert {chunk.lead_off for chunk in bench.run(0.5)} == {shown}
    assert driver.facts["lead-off drive"] == "on"


@pytest.mark.parametrize("fault", ["drop_probability", "cut_probability", "corrupt_probability", "garbage_probability"])
def test_what_is_lost_on_the_wire_is_counted(fault: str) -> None:
    bench, driver, _ = table(faults=Faults(**{fault: 0.03}))
    driver.start(0.0)
    bench.run(10.0, until=Phase.STREAMING)
    chunks = bench.run(20.0)
    by_index(chunks)
    received = sum(len(chunk.samples) for chunk in chunks)
    assert received + driver.counters.lost_samples == pytest.approx(20_000, abs=40)
    if fault == "garbage_probability":
        assert driver.counters.lost_samples == 0
    else:
        assert 0.01 < driver.counters.lost_samples / 20_000 < 0.06


def test_an_unplugged_device_is_started_again_and_its_gap_is_estimated() -> None:
    bench, driver, _ = table()
    bench.start()
    before = bench.run(2.0)
    bench.run(3.0, mangle=lambda data: b"")
    after = bench.run(4.0)
    assert driver.counters.notes["stalls"] == 1
    elapsed = (after[0].arrival_s - before[-1].arrival_s) * 1000.0
    assert after[0].first_sample - before[-1].first_sample == pytest.approx(elapsed, abs=30)


def test_a_sequence_that_stands_still_is_said() -> None:
    bench, driver, _ = table(faults=Faults(stuck_counter=True))
    driver.start(0.0)
    bench.run(60.0, until=Phase.FAILED)
    assert "the sequence of every frame is the same" in (driver.failure or "")


def answering(change: Callable[[bytes], bytes | None]) -> str:
    """The failure of a driver whose device's frames are changed; None takes one away."""

    def mangle(stream: bytes) -> bytes:
        changed = [change(body(each)) for each in frames(stream)]
        return b"".join(wire.frame_of(each) for each in changed if each is not None)

    bench, driver, _ = table()
    driver.start(0.0)
    bench.run(60.0, mangle=mangle, until=Phase.FAILED)
    assert driver.failure is not None
    return driver.failure


def test_another_version_is_refused_in_plain_words() -> None:
    assert "version 2" in answering(lambda sent: bytes((sent[0] + 0x10,)) + sent[1:])


def test_a_device_without_info_is_told_from_one_that_is_silent() -> None:
    failure = answering(lambda sent: None if sent[0] & 15 == wire.Kind.INFO else sent)
    assert "does not say what it measures" in failure


def test_a_start_that_is_refused_is_said() -> None:
    refused = bytes((wire.Result.IMPOSSIBLE,))
    failure = answering(lambda sent: sent[:3] + refused if sent[:1] == b"\x13" and sent[2] == 1 else sent)
    assert "does not start" in failure


def test_a_converter_that_stands_still_is_said() -> None:
    failure = answering(lambda sent: None if sent[0] & 15 == wire.Kind.DATA else sent)
    assert "sends no samples" in failure


def test_another_device_is_foreign() -> None:
    bench, driver, _ = table()
    driver.start(0.0)
    bench.run(60.0, mangle=lambda data: wire.frame_of(b"\x1f") + b"\xa0\x01\xc0" * 9, until=Phase.FAILED)
    assert driver.failure == FOREIGN
