"""The reference firmware's portable part, on this computer: byte by byte beside the host's half, sanitizers on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from myosem_edge.firmware_bridge import wire
from myosem_edge.firmware_bridge.emulators.myosem_wire import MyosemWireEmulator
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.cyton import UV_PER_COUNT, Cyton
from myosem_edge.firmware_bridge.frontends.myosem_wire import DEFAULT, MyosemWire
from tests.export.c_tools import tool
from tests.firmware_bridge.firmware_host import (
    FIRMWARE,
    FirmwareDevice,
    HostFirmware,
    build_programs,
    make,
    pattern,
)
from tests.firmware_bridge.test_frontend_cyton import TestCyton as CytonSpec
from tests.firmware_bridge.test_frontend_myosem_wire import TestMyosemWire as WireSpec

# One program serves every example; none leaves anything behind that the next could see.
LASTING = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
START, STOP, GET_INFO = (wire.Command(7, order) for order in (wire.Order.START, wire.Order.STOP, wire.Order.GET_INFO))


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_programs(tmp_path_factory.mktemp("firmware"))


@pytest.fixture
def device(build: Path) -> Iterator[HostFirmware]:
    host = HostFirmware(build)
    yield host
    host.close()


def data_of(messages: list[wire.Message]) -> list[wire.Data]:
    return [each for each in messages if isinstance(each, wire.Data)]


def numbers_of(frames: list[wire.Data]) -> np.ndarray:
    """The number of every sample, unwrapped; the first frame's is taken as it is."""
    numbers: list[int] = []
    for frame in frames:
        before = numbers[-1] if numbers else frame.sequence - 1
        first = before + 1 + (frame.sequence - before - 1) % wire.WRAP
        numbers += range(first, first + len(frame.counts))
    return np.array(numbers)


def assert_pattern(frames: list[wire.Data]) -> np.ndarray:
    numbers = numbers_of(frames)
    np.testing.assert_array_equal(np.concatenate([frame.counts for frame in frames]), pattern(numbers))
    return numbers


# Every promise that a front end keeps, with the firmware as its device


class TestFirmwareBehindOurDriver(WireSpec):
    _recorded = None

    @pytest.fixture(autouse=True)
    def _programs(self, build: Path) -> Iterator[None]:
        self._build, self._hosts = build, list[HostFirmware]()
        yield
        for host in self._hosts:
            host.close()

    def emg(self) -> np.ndarray:
        return (pattern(np.arange(60_000)) * float(DEFAULT.uv_per_count[0])).astype(np.float32)

    def make(self) -> MyosemWire:
        return MyosemWire()

    def make_emulator(self, source: ArraySource) -> FirmwareDevice:  # type: ignore[override]
        self._hosts.append(HostFirmware(self._build))
        return FirmwareDevice(self._hosts[-1])


class TestFirmwareAsACyton(CytonSpec):
    _recorded = None
    _programs = TestFirmwareBehindOurDriver._programs

    def emg(self) -> np.ndarray:
        return (pattern(np.arange(15_000)) * UV_PER_COUNT).astype(np.float32)

    def make(self) -> Cyton:
        return Cyton()

    def make_emulator(self, source: ArraySource) -> FirmwareDevice:  # type: ignore[override]
        self._hosts.append(HostFirmware(self._build))
        return FirmwareDevice(self._hosts[-1], wire.Mode.CYTON)


# Frames and ring


def test_check_sum(device: HostFirmware) -> None:
    assert device.ask(f"crc {b'123456789'.hex()}") == "29b1"


@LASTING
@given(st.one_of(st.binary(max_size=448), st.binary(min_size=230, max_size=300).map(lambda b: b.replace(b"\0", b"\1"))))
def test_frames_are_coded_as_the_host_does(device: HostFirmware, body: bytes) -> None:
    assert bytes.fromhex(device.ask(f"encode {body.hex()}")) == wire.frame_of(body)


@LASTING
@given(st.data(), st.lists(st.binary(min_size=1, max_size=70), min_size=1, max_size=6))
def test_frames_are_read_as_the_host_does(device: HostFirmware, draw: st.DataObject, sent: list[bytes]) -> None:
    damaged = bytearray(b"".join(wire.frame_of(body) for body in sent))
    for _ in range(draw.draw(st.integers(0, 3))):
        at = draw.draw(st.integers(0, len(damaged)))
        damaged[at : at + draw.draw(st.integers(0, 2))] = draw.draw(st.binary(max_size=3))
    read = [bytes.fromhex(text) for text in device.ask(f"decode {damaged.hex()}").split()]
    blocks = [block for block in bytes(damaged).split(b"\0")[:-1] if 0 < len(block) <= 64]
    assert read == [body for block in blocks for body in wire.Deframer().feed(block + b"\0")]


def test_the_ring_is_a_queue(build: Path) -> None:
    class Ring(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.host, self.model = HostFirmware(build), b""

        @rule(data=st.binary(max_size=17))
        def put(self, data: bytes) -> None:
            fits = len(self.model) + len(data) <= 16
            assert self.host.ask(f"put {data.hex()}") == str(int(fits))
            self.model += data if fits else b""

        @rule(count=st.integers(0, 16))
        def drop(self, count: int) -> None:
            count = min(count, len(self.model))
            self.host.ask(f"drop {count}")
            self.model = self.model[count:]

        @rule()
        def look(self) -> None:
            assert int(self.host.ask("used")) == len(self.model)
            front = bytes.fromhex(self.host.ask("front"))
            assert self.model.startswith(front) and bool(front) == bool(self.model)

        def teardown(self) -> None:
            self.host.close()

    run_state_machine_as_test(Ring, settings=settings(max_examples=15, stateful_step_count=40, deadline=None))


# What it says and does


def test_it_is_silent_until_it_is_asked(device: HostFirmware) -> None:
    device.at(10_000_000)
    assert device.sent() == b""
    info, acknowledge = device.say(GET_INFO)
    assert acknowledge == wire.Acknowledge(7, wire.Order.GET_INFO)
    assert isinstance(info, wire.Info)
    assert (info.channels, info.rate_hz, info.samples_per_frame) == (8, 1000.0, 10)
    assert (info.vref_uv, info.bits) == (4_500_000, 24)
    assert (info.name, info.version, info.hardware) == ("myosem-frontend", "0.1.0", "this computer")
    assert not (info.streaming or info.drive_on or info.ring or info.sense_p or info.sense_n)
    assert info.gains == (24.0,) * 8


def test_the_version_it_tells_is_the_one_in_the_changes() -> None:
    header = (FIRMWARE / "core" / "device.h").read_text()
    assert re.search(r'DEVICE_VERSION "(\d+\.\d+\.\d+)"', header)


def test_samples_begin_one_period_after_the_start_and_carry_their_time(device: HostFirmware) -> None:
    device.at(5_000_000)
    assert device.say(START) == [wire.Acknowledge(7, wire.Order.START)]
    device.at(5_009_999)
    assert device.messages() == []
    device.at(5_010_000)
    (frame,) = data_of(device.messages())
    assert (frame.sequence, frame.clock_us, len(frame.counts), frame.overflow) == (0, 5_001_000, 10, 0)
    assert_pattern([frame])


@LASTING
@given(
    st.lists(st.one_of(st.integers(0, 3000), st.integers(0, 900_000)), min_size=1, max_size=20),
    st.sampled_from([0, 2**32 - 500_000]),
    st.sampled_from([1.0, 31.25, 250.0, 333.333, 500.0, 1000.0, 1999.999, 2000.0]),
)
def test_as_many_samples_as_the_clock_says_however_seldom_it_is_looked_at(
    device: HostFirmware, steps: list[int], begun_us: int, rate_hz: float
) -> None:
    device.say(STOP)
    device.at(begun_us)
    assert device.say(wire.set_rate(9, rate_hz))[-1] == wire.Acknowledge(9, wire.Order.SET_RATE)
    device.say(START)
    now_us, frames = begun_us, list[wire.Data]()
    for step in steps:
        now_us += step
        for _ in range(1 + step * round(rate_hz) // 400_000_000):
            device.at(now_us)
        while new := data_of(device.messages()):
            frames += new
            device.at(now_us)
    device.say(STOP)
    frames += data_of(device.messages())
    frames += data_of(device.say(STOP))
    due = (now_us - begun_us) * round(1000 * rate_hz) // 10**9
    size = max(1, min(16, round(1000 * rate_hz) // 100_000))
    received = sum(len(frame.counts) for frame in frames)
    assert due - size < received <= due
    if frames:
        numbers = assert_pattern(frames)
        assert numbers[0] == 0 and numbers[-1] == received - 1
        for frame, number in zip(frames, numbers[:: len(frames[0].counts)], strict=False):
            expected = begun_us + (int(number) + 1) * 10**9 // round(1000 * rate_hz)
            assert (frame.clock_us - expected) % 2**32 <= 1 or (expected - frame.clock_us) % 2**32 <= 1


def test_starting_again_changes_nothing_and_stopping_sends_what_there_is(device: HostFirmware) -> None:
    device.say(START)
    device.at(8_000)
    assert device.say(START) == [wire.Acknowledge(7, wire.Order.START)]
    device.at(13_000)
    first = data_of(device.messages())
    last, acknowledge = device.say(STOP)
    assert acknowledge == wire.Acknowledge(7, wire.Order.STOP)
    assert isinstance(last, wire.Data)
    np.testing.assert_array_equal(assert_pattern([*first, last]), np.arange(13))
    device.at(60_000_000)
    assert device.sent() == b""
    device.say(START)
    device.at(60_010_000)
    assert data_of(device.messages())[0].sequence == 0


def test_it_says_once_a_second_what_it_is(device: HostFirmware) -> None:
    device.say(START)
    infos = 0
    for now_us in range(0, 5_000_001, 20_000):
        device.at(now_us)
        infos += sum(isinstance(each, wire.Info) and each.streaming for each in device.messages())
    assert infos == 5


def test_a_change_ends_the_frame_tells_what_changed_and_goes_on(device: HostFirmware) -> None:
    device.say(START)
    device.at(14_000)
    before = data_of(device.messages())
    messages = device.say(wire.set_rate(9, 500.0))
    kinds = [type(each) for each in messages]
    assert kinds == [wire.Data, wire.Info, wire.Acknowledge]
    before += data_of(messages)
    info = messages[1]
    assert isinstance(info, wire.Info) and (info.epoch, info.rate_hz, info.samples_per_frame) == (1, 500.0, 5)
    device.at(34_000)
    after = data_of(device.messages())
    np.testing.assert_array_equal(assert_pattern(before + after), np.arange(24))
    assert [frame.epoch for frame in before + after] == [0, 0, 1, 1]
    assert [frame.clock_us for frame in before + after] == [1_000, 11_000, 16_000, 26_000]


def test_another_gain_does_not_move_the_samples_in_time(device: HostFirmware) -> None:
    device.say(START)
    device.at(14_500)
    messages = device.messages() + device.say(wire.set_gain(9, 6.0))
    device.at(24_000)
    frames = data_of(messages + device.messages())
    np.testing.assert_array_equal(assert_pattern(frames), np.arange(24))
    assert [frame.clock_us for frame in frames] == [1_000, 11_000, 15_000]


def test_a_channel_at_the_end_of_its_range_is_saturated(device: HostFirmware) -> None:
    device.say(START)
    frames = list[wire.Data]()
    for now_us in range(0, 9_000_001, 50_000):
        device.at(now_us)
        frames += data_of(device.messages())
    assert [frame.sequence // 10 for frame in frames if frame.saturated] == [409, 819]
    assert {frame.saturated for frame in frames} == {0, 0x80}


def test_lead_off_is_told_with_what_is_sensed(device: HostFirmware) -> None:
    info, _ = device.say(wire.set_lead_off(9, 8, drive_on=True, sense_p=0x0F, sense_n=0x80))
    assert isinstance(info, wire.Info)
    assert (info.drive_on, info.sense_p, info.sense_n) == (True, 0x0F, 0x80)
    device.say(START)
    device.at(520_000)
    frames = data_of(device.messages())
    while new := data_of(device.messages()):
        frames += new
    device.at(520_000)
    frames += data_of(device.messages())
    assert all(frame.drive_on for frame in frames)
    assert {frame.off_p for frame in frames} <= {1, 2, 3} and frames[0].off_p == 1


@pytest.mark.parametrize(
    ("command", "result"),
    [
        (wire.Command(9, 0), wire.Result.UNKNOWN),
        (wire.Command(9, 8), wire.Result.UNKNOWN),
        (wire.Command(9, 255), wire.Result.UNKNOWN),
        (wire.Command(9, wire.Order.STOP, b"\0"), wire.Result.MALFORMED),
        (wire.Command(9, wire.Order.SET_RATE, b"\0" * 3), wire.Result.MALFORMED),
        (wire.Command(9, wire.Order.SET_LEAD_OFF, b"\1" * 5), wire.Result.MALFORMED),
        (wire.set_rate(9, 0.0), wire.Result.IMPOSSIBLE),
        (wire.set_rate(9, 2000.001), wire.Result.IMPOSSIBLE),
        (wire.set_gain(9, 5.0), wire.Result.IMPOSSIBLE),
        (wire.set_gain(9, 6.0, channel=8), wire.Result.IMPOSSIBLE),
        (wire.set_mode(9, 2), wire.Result.IMPOSSIBLE),  # type: ignore[arg-type]
    ],
)
def test_a_command_that_cannot_be_is_refused_and_changes_nothing(
    device: HostFirmware, command: wire.Command, result: wire.Result
) -> None:
    before = device.say(GET_INFO)[0]
    assert device.say(command) == [wire.Acknowledge(9, command.order, result)]
    assert device.say(GET_INFO)[0] == before


def test_another_version_is_answered_in_its_own(device: HostFirmware) -> None:
    device.receive(wire.frame_of(bytes((0x38, 5, 1))))
    assert device.messages() == [wire.Acknowledge(5, 1, wire.Result.OTHER_VERSION)]


SAME = st.one_of(
    st.sampled_from([wire.Order.START, wire.Order.STOP, wire.Order.GET_INFO, 99]).map(lambda o: wire.Command(3, o)),
    st.tuples(st.sampled_from([0.0, 1.0, 5.0, 6.0, 24.0, 1e6]), st.sampled_from([0, 7, 8, 255])).map(
        lambda each: wire.set_gain(4, *each)
    ),
    st.tuples(st.booleans(), st.integers(0, 255), st.integers(0, 255)).map(
        lambda each: wire.set_lead_off(5, 8, drive_on=each[0], sense_p=each[1], sense_n=each[2])
    ),
    st.tuples(st.integers(0, 12), st.binary(max_size=6))
    .map(lambda each: wire.Command(6, *each))
    .filter(lambda each: each.order not in (wire.Order.SET_RATE, wire.Order.SET_MODE)),
)


@settings(LASTING, max_examples=40)
@given(st.lists(st.tuples(SAME, st.integers(0, 30_000)), max_size=12))
def test_firmware_and_emulated_device_answer_alike(build: Path, script: list[tuple[wire.Command, int]]) -> None:
    host = HostFirmware(build)
    emulated = MyosemWireEmulator(ArraySource(np.zeros((10, 8), np.float32), 1000.0))
    now_us = 0
    for command, wait_us in script:
        host.receive(wire.frame(command))
        emulated.receive(wire.frame(command), now_us / 1e6)
        emulated.tick(now_us / 1e6)
        assert said(host.messages()) == said(read(emulated.to_send()))
        now_us += wait_us
        host.at(now_us)
        emulated.tick(now_us / 1e6)
        host.sent()
        emulated.to_send()
    host.close()


def read(stream: bytes) -> list[wire.Message]:
    return [message for message in map(wire.parse, wire.Deframer().feed(stream)) if message is not None]


def said(messages: list[wire.Message]) -> list[tuple[object, ...]]:
    """Acknowledges and what info frames say of the setting."""
    told: list[tuple[object, ...]] = []
    for each in messages:
        if isinstance(each, wire.Acknowledge):
            told.append((each.request, each.order, each.result))
        elif isinstance(each, wire.Info):
            told.append((each.epoch, each.gains, each.drive_on, each.sense_p, each.sense_n, each.streaming))
    return told


# Losses


@pytest.mark.parametrize("pause_us", [1_000_000, 3_000_000, 40_000_000])
def test_a_host_that_does_not_read_costs_samples_that_are_all_accounted_for(
    device: HostFirmware, pause_us: int
) -> None:
    device.say(START)
    device.ask("room 0")
    for now_us in range(0, pause_us + 1, 10_000):
        device.at(now_us)
    device.ask("room -1")
    frames = data_of(device.messages())
    for now_us in range(pause_us, pause_us + 2_000_001, 10_000):
        device.at(now_us)
        frames += data_of(device.messages())
    numbers = assert_pattern(frames)
    received, produced = len(numbers), int(numbers[-1]) + 1
    gaps = int((np.diff(numbers, prepend=-1) - 1).sum())
    assert received + gaps == produced == (pause_us + 2_000_000) // 1000
    assert frames[-1].overflow == gaps % wire.WRAP
    assert gaps == 0 if pause_us == 1_000_000 else gaps > 0
    held = next((i for i, step in enumerate(np.diff(numbers)) if step > 1), 500)
    assert held >= 500, "less than half a second is kept"


def test_stop_is_heard_and_acknowledged_with_a_full_ring(device: HostFirmware) -> None:
    device.say(START)
    device.ask("room 0")
    for now_us in range(0, 5_000_001, 10_000):
        device.at(now_us)
    device.receive(wire.frame(STOP))
    device.at(60_000_000)
    device.ask("room -1")
    device.at(60_000_001)
    messages = device.messages()
    assert messages[-1] == wire.Acknowledge(7, wire.Order.STOP)
    assert device.messages() == []


def test_a_port_that_takes_little_by_little_gets_whole_frames(device: HostFirmware) -> None:
    device.ask("room 0")
    device.receive(wire.frame(START))
    sent = b""
    for now_us in range(0, 300_001, 1_000):
        device.at(now_us)
        device.ask("room 30")
        sent += device.sent()
    reader = wire.Deframer()
    frames = data_of([m for m in map(wire.parse, reader.feed(sent)) if m])
    assert reader.rejected_bytes == 0 and len(frames) > 25
    assert_pattern(frames)


@settings(LASTING, max_examples=40)
@given(
    st.lists(st.one_of(st.binary(max_size=120), st.binary(max_size=60).map(wire.frame_of)), max_size=10),
    st.sampled_from(list(wire.Mode)),
)
@pytest.mark.parametrize("source", ["pattern", "ads129x", "adc"])
def test_no_bytes_break_it(build: Path, source: str, pieces: list[bytes], mode: wire.Mode) -> None:
    host = HostFirmware(build, source)
    host.receive(wire.frame(wire.set_mode(1, mode)))
    now_us = 1_000_000
    for piece in pieces:
        now_us += 7_000
        host.at(now_us)
        host.receive(piece)
    host.receive(b"\0" + wire.frame(wire.set_mode(2, wire.Mode.WIRE)))
    host.sent()
    assert host.say(GET_INFO)[-1] == wire.Acknowledge(7, wire.Order.GET_INFO)
    host.close()


# The Cyton's language


def as_cyton(host: HostFirmware) -> HostFirmware:
    said = host.say(wire.set_mode(1, wire.Mode.CYTON))
    assert said == [wire.Acknowledge(1, wire.Order.SET_MODE)]
    return host


def test_the_baud_rate_changes_after_the_acknowledge(device: HostFirmware) -> None:
    assert device.ask("baud") == "460800"
    device.ask("room 0")
    device.receive(wire.frame(wire.set_mode(1, wire.Mode.CYTON)))
    assert device.ask("baud") == "460800"
    device.ask("room -1")
    assert device.messages() == [wire.Acknowledge(1, wire.Order.SET_MODE)]
    device.at(1)
    assert device.ask("baud") == "115200"


def test_the_way_back_is_a_command_of_the_wire_protocol(device: HostFirmware) -> None:
    as_cyton(device)
    device.receive(b"b")
    device.at(100_000)
    assert len(device.sent()) == 25 * 33
    device.receive(wire.frame(GET_INFO))
    assert device.sent() == b""
    info, acknowledge = device.say(wire.set_mode(5, wire.Mode.WIRE))
    assert acknowledge == wire.Acknowledge(5, wire.Order.SET_MODE)
    assert isinstance(info, wire.Info) and info.rate_hz == 1000.0 and not info.streaming
    device.at(2_000_000)
    assert device.sent() == b"" and device.ask("baud") == "460800"


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("d", b"updating channel settings to default$$$"),
        ("x1060110X", b"Success: Channel set for 1$$$"),
        ("x8000110X", b"Success: Channel set for 8$$$"),
        ("x9060110X", b"Failure: Channel set, wrong characters$$$"),
        ("x1070110X", b"Failure: Channel set, wrong characters$$$"),
        ("x1060110Y", b"Failure: Channel set, wrong characters$$$"),
        ("z110Z", b"Failure: lead-off is not set in this mode$$$"),
        ("~6", b"Success: Sample rate is 250Hz$$$"),
        ("~~", b"Success: Sample rate is 250Hz$$$"),
        ("~4", b"Failure: 250Hz alone$$$"),
        ("/2", b"Success: analog$$$"),
        ("/5", b"Success: BLE$$$"),
        ("/6", b"Success: default$$$"),
        ("C", b"8$$$"),
        ("V", b"v3.1.2$$$"),
        ("D", b"060110$$$"),
        ("8!", b""),
        ("\n\x00", b""),
    ],
)
def test_cyton_commands_are_answered(device: HostFirmware, said: str, answer: bytes) -> None:
    as_cyton(device).receive(said.encode())
    assert device.sent() == answer


def test_half_a_command_is_given_up(device: HostFirmware) -> None:
    as_cyton(device).receive(b"x106")
    device.at(1_000_000)
    assert device.sent() == b""
    device.at(1_000_001)
    assert device.sent().startswith(b"Timeout")
    device.receive(b"V")
    assert device.sent() == b"v3.1.2$$$"


def test_a_channel_that_is_off_reads_zero_and_a_reset_brings_it_back(device: HostFirmware) -> None:
    as_cyton(device).receive(b"2x4160110Xx5160110X%b")
    device.sent()
    device.at(4_000)
    frame = device.sent()
    expected = pattern(np.array([0]))[0]
    assert frame[:2] == b"\xa0\0" and frame[-1] == 0xC0 and len(frame) == 33
    counts = [int.from_bytes(frame[2 + 3 * c : 5 + 3 * c], "big", signed=True) for c in range(8)]
    assert counts == [expected[c] if c not in (1, 3) else 0 for c in range(8)]
    device.receive(b"v")
    assert b"ADS1299" in device.sent()
    device.receive(b"b")
    device.at(8_000)
    assert device.sent()[5:8] == int(expected[1]).to_bytes(3, "big", signed=True)


# The converters


@pytest.fixture
def ads(build: Path) -> Iterator[HostFirmware]:
    host = HostFirmware(build, "ads129x", chip=0x3E)
    yield host
    host.close()


def registers(host: HostFirmware) -> list[int]:
    return [int(host.ask(f"register {at}")) for at in range(0x18)]


def conversions(numbers: np.ndarray) -> np.ndarray:
    """Counts `(n, 8)` that the simulated converter gives."""
    values = np.asarray(numbers)[:, None] * 16 + np.arange(8)
    return np.where(np.arange(8) % 2, -values, values)


def test_an_ads1299_is_set_up(ads: HostFirmware) -> None:
    info, _ = ads.say(GET_INFO)
    assert isinstance(info, wire.Info)
    assert (info.hardware, info.vref_uv, info.gains) == ("ADS1299 on this computer", 4_500_000, (12.0,) * 8)
    expected = [0x3E, 0x94, 0xC0, 0xEC, 0x00, *[0x50] * 8, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert registers(ads) == expected
    ads.say(wire.set_gain(1, 24.0, channel=2))
    ads.say(wire.set_rate(1, 2000.0))
    ads.say(wire.set_lead_off(1, 8, drive_on=True, sense_p=0x21, sense_n=0x02))
    ads.say(START)
    set_up = registers(ads)
    assert (set_up[1], set_up[7], set_up[6]) == (0x93, 0x60, 0x50)
    assert (set_up[0x0F], set_up[0x10], set_up[0x17]) == (0x21, 0x02, 0x02)


def test_an_ads1298_has_another_reference_other_gains_and_other_codes(build: Path) -> None:
    host = HostFirmware(build, "ads129x", chip=0x92)
    info, _ = host.say(GET_INFO)
    assert isinstance(info, wire.Info) and info.hardware.startswith("ADS1298") and info.vref_uv == 2_400_000
    set_up = registers(host)
    assert set_up[1:6] == [0x85, 0x00, 0xCC, 0x03, 0x60]
    assert host.say(wire.set_gain(1, 24.0)) == [wire.Acknowledge(1, wire.Order.SET_GAIN, wire.Result.IMPOSSIBLE)]
    assert host.say(wire.set_gain(1, 3.0))[-1] == wire.Acknowledge(1, wire.Order.SET_GAIN)
    assert host.say(wire.set_mode(1, wire.Mode.CYTON))[-1].result == wire.Result.IMPOSSIBLE  # type: ignore[union-attr]
    host.say(wire.set_rate(1, 250.0))
    host.say(START)
    assert registers(host)[1] == 0x06
    host.close()


def test_no_converter_is_said_and_cannot_be_started(build: Path) -> None:
    host = HostFirmware(build, "ads129x", chip=0)
    info, _ = host.say(GET_INFO)
    assert isinstance(info, wire.Info) and info.hardware == "no ADS129x on this computer"
    assert host.say(START) == [wire.Acknowledge(7, wire.Order.START, wire.Result.IMPOSSIBLE)]
    host.close()


def run_ads(host: HostFirmware, begun_us: int, milliseconds: int, every_us: int = 500) -> list[wire.Data]:
    frames: list[wire.Data] = []
    for now_us in range(begun_us, begun_us + 1000 * milliseconds + 1, every_us):
        host.at(now_us)
        frames += data_of(host.messages())
    return frames


BEGUN_US = 10_000_000


def started(host: HostFirmware) -> HostFirmware:
    host.at(BEGUN_US)
    host.say(START)
    return host


def check_conversions(frames: list[wire.Data], produced: int) -> int:
    """All values right, and every missing one counted by the device; how many are missing."""
    numbers = numbers_of(frames)
    np.testing.assert_array_equal(np.concatenate([frame.counts for frame in frames]), conversions(numbers))
    gaps = int((np.diff(numbers, prepend=-1) - 1).sum())
    assert frames[-1].overflow == gaps
    assert abs(len(numbers) + gaps - produced) <= 10
    return gaps


def test_every_conversion_is_read_in_time(ads: HostFirmware) -> None:
    frames = run_ads(started(ads), BEGUN_US, 500)
    assert check_conversions(frames, 500) == 0
    assert all(frame.saturated == 0 for frame in frames)


def test_lead_off_bits_come_from_the_status_word(ads: HostFirmware) -> None:
    ads.ask(f"status {0xA55A}")
    frames = run_ads(started(ads), BEGUN_US, 50)
    assert {(frame.off_p, frame.off_n) for frame in frames} == {(0xA5, 0x5A)}


def test_sensing_is_driving(ads: HostFirmware) -> None:
    for drive_on, sense_p, done in ((True, 1, True), (False, 0, True), (True, 0, False), (False, 1, False)):
        *_, answer = ads.say(wire.set_lead_off(2, 8, drive_on=drive_on, sense_p=sense_p))
        expected = wire.Result.DONE if done else wire.Result.IMPOSSIBLE
        assert answer == wire.Acknowledge(2, wire.Order.SET_LEAD_OFF, expected)


def test_a_slip_of_the_bus_costs_that_conversion(ads: HostFirmware) -> None:
    frames = run_ads(started(ads), BEGUN_US, 100)
    ads.ask("slips 3")
    frames += run_ads(ads, BEGUN_US + 100_500, 200)
    assert check_conversions(frames, 300) == 3
    assert int(ads.ask("resets")) == 2


def test_a_bus_that_goes_on_slipping_is_set_up_anew(ads: HostFirmware) -> None:
    frames = run_ads(started(ads), BEGUN_US, 100)
    ads.ask("slips 8")
    run_ads(ads, BEGUN_US + 100_500, 100)
    assert int(ads.ask("resets")) == 4
    assert registers(ads)[1:6] == [0x94, 0xC0, 0xEC, 0x00, 0x50]
    after = run_ads(ads, BEGUN_US + 201_000, 100)
    assert len(after) >= 9 and frames[-1].overflow < after[-1].overflow < 30


def test_conversions_that_came_and_went_are_left_out(ads: HostFirmware) -> None:
    frames = run_ads(started(ads), BEGUN_US, 100)
    frames += run_ads(ads, BEGUN_US + 107_000, 100)
    assert check_conversions(frames, 207) in (5, 6)


def test_a_conversion_that_ends_while_it_is_read_is_not_believed(ads: HostFirmware) -> None:
    frames = run_ads(started(ads), BEGUN_US, 100)
    ads.ask("late 2")
    frames += run_ads(ads, BEGUN_US + 100_500, 100)
    assert check_conversions(frames, 200) >= 2


def test_the_adc_gives_the_newest_value_and_counts_the_others(build: Path) -> None:
    host = HostFirmware(build, "adc")
    info, _ = host.say(GET_INFO)
    assert isinstance(info, wire.Info) and (info.bits, info.gains) == (12, (1000.0,) * 8)
    assert float(info.uv_per_count[0]) == pytest.approx(3.3e6 / 4096 / 1000, rel=1e-5)
    host.say(START)
    frames = list[wire.Data]()
    for millisecond in range(1, 101):
        host.ask(f"analog {2000 + millisecond}")
        host.at(1000 * millisecond)
        frames += data_of(host.messages())
    counts = np.concatenate([frame.counts for frame in frames])
    np.testing.assert_array_equal(counts, np.arange(1, 101)[:, None] - 48 + np.arange(8))
    host.ask("analog 4095")
    host.at(104_000)
    (frame,) = data_of(host.say(STOP))
    assert (frame.sequence, frame.overflow, len(frame.counts), frame.saturated) == (103, 3, 1, 0b11)
    assert frame.counts[0, :3].tolist() == [2047, -2048, -2047]
    assert host.say(wire.set_rate(1, 2000.0))[-1] == wire.Acknowledge(1, wire.Order.SET_RATE)
    for command in (
        wire.set_gain(1, 24.0),
        wire.set_rate(1, 2000.001),
        wire.set_rate(1, 0.0),
        wire.set_lead_off(1, 8, drive_on=True),
        wire.set_lead_off(1, 8, drive_on=False, sense_p=1),
        wire.set_lead_off(1, 8, drive_on=False, sense_n=1),
        wire.set_mode(1, wire.Mode.CYTON),
    ):
        assert host.say(command) == [wire.Acknowledge(1, command.order, wire.Result.IMPOSSIBLE)]
    host.close()


# The text


def test_it_is_plain_c_without_heap_floats_recursion_or_more_of_the_library_than_it_says() -> None:
    for path in [*FIRMWARE.glob("core/*"), *FIRMWARE.glob("source/*"), FIRMWARE / "main.c"]:
        code = re.sub(r'/\*.*?\*/|"(?:[^"\\]|\\.)*"', "", path.read_text(), flags=re.DOTALL)
        assert not re.search(r"\b(float|double|malloc|free|alloca|printf|goto|union|setjmp)\b", code), path.name
        headers = {"stdint.h", "stdbool.h", "stddef.h", "stdatomic.h", "string.h"}
        assert set(re.findall(r"#include <(\S+)>", code)) <= headers, path.name
        assert set(re.findall(r"\b(?:mem|str)[a-z]+(?=\()", code)) <= {"memcpy", "memset", "strlen"}, path.name


def test_every_file_names_the_licence() -> None:
    for path in FIRMWARE.rglob("*.[chl]*"):
        assert "SPDX-License-Identifier: Apache-2.0" in path.read_text(), path.name


@pytest.mark.parametrize("analyser", ["analyse", pytest.param("cppcheck", marks=pytest.mark.full)])
def test_an_analyser_finds_nothing(analyser: str, tmp_path: Path) -> None:
    tool("make", "make")
    tool(*{"analyse": ("gcc", "gcc"), "cppcheck": ("cppcheck", "cppcheck")}[analyser])
    made = make(tmp_path, analyser, "CC=gcc")
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]


def test_pairs_of_modules_do_not_include_each_other_upwards() -> None:
    """Frames, ring and sampler know nothing of the device."""
    for lower, higher in pairwise((("frame", "ring", "sampler", "source"), ("device", "wire", "cyton"))):
        for name in lower:
            for path in FIRMWARE.glob(f"core/{name}.*"):
                included = set(re.findall(r'#include "(?:.*/)?(\w+)\.h"', path.read_text()))
                assert not included & set(higher), path.name
