"""The HackEEG driver: a sample's bytes in both forms, what the board is told, lead-off, and what no sample can be."""

from __future__ import annotations

import base64
import json
import re
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.hackeeg import HackEegEmulator
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.base import Chunk, Phase
from myosem_edge.firmware_bridge.frontends.hackeeg import BACK, HOLES, SLIPS, HackEeg, command, lead_off_bits
from tests.firmware_bridge.test_frontend_spec import Bench, FrontEndSpec, by_index

# 16 909 060 us, number 42, electrodes 8P and 1N off, GPIO 5; counts +1, -1, largest, smallest, 0, 4474, -4474, 100000.
SAMPLE = bytes.fromhex(
    "04030201 2A000000 C80015 000001 FFFFFF 7FFFFF 800000 000000 00117A FFEE86 0186A0".replace(" ", "")
)
LINE = b'{"C":200,"D":"BAMCASoAAADIABUAAAH///9///+AAAAAAAAAEXr/7oYBhqA="}\n'
PACKED = bytes.fromhex("82 A1 43 CC C8 A1 44 C4 23") + SAMPLE
SAMPLE_UV = [0.02235, -0.02235, 187500.0, -187500.02, 0.0, 100.0017, -100.0017, 2235.174]
MODES = ("jsonlines", "messagepack")


class TestHackEeg(FrontEndSpec):
    frame_samples = 1
    visible_loss_frames = 30
    settle_frames = 1
    lsb = 4.5e6 / (2**23 - 1) / 24

    def make(self) -> HackEeg:
        return HackEeg()

    def make_emulator(self, source: ArraySource) -> HackEegEmulator:
        return HackEegEmulator(source, driver=self.make())

    def split(self, stream: bytes) -> list[bytes]:
        return stream.splitlines(keepends=True)


class TestHackEegMessagePack(TestHackEeg):
    """44 bytes a sample instead of 65; nothing closes one."""

    lsb = 4.5e6 / (2**23 - 1) / 2

    def make(self) -> HackEeg:
        return HackEeg(mode="messagepack", rate_hz=2000, gain=2)

    def split(self, stream: bytes) -> list[bytes]:
        return [stream[i : i + 44] for i in range(0, len(stream), 44)]


def sent(number: int, clock_us: int | None = None, mode: str = "jsonlines", status: str = "C00000") -> bytes:
    """A sample of zeros as the board sends it; at 1 kHz, if the clock is not told."""
    data = struct.pack("<II", (1000 * number if clock_us is None else clock_us) % 2**32, number % 2**32)
    data += bytes.fromhex(status) + bytes(24)
    if mode == "messagepack":
        return PACKED[:9] + data
    return b'{"C":200,"D":"' + base64.b64encode(data) + b'"}\n'


def streaming(driver: HackEeg) -> HackEeg:
    driver.start(0.0)
    now_s = 0.0
    while driver.to_send():
        now_s += 0.4
        driver.tick(now_s)
        driver.receive(b'{"STATUS_CODE":200,"STATUS_TEXT":"Ok","DATA":62}\r\n', now_s)
    assert driver.phase is Phase.CONNECTING
    return driver


def read(driver: HackEeg, *samples: bytes) -> list[Chunk]:
    return driver.receive(b"".join(samples), 99.0)


def bench(driver: HackEeg, faults: Faults | None = None, *, board: HackEeg | None = None) -> Bench:
    emg = np.random.default_rng(1).normal(0.0, 100.0, (20_000, 8)).astype(np.float32)
    return Bench(driver, HackEegEmulator(ArraySource(emg, driver.info.rate_hz), driver=board or driver, faults=faults))


@pytest.mark.parametrize(("mode", "first"), [("jsonlines", LINE), ("messagepack", PACKED)])
def test_a_sample_is_read_to_the_microvolt(mode: str, first: bytes) -> None:
    driver = streaming(HackEeg(mode=mode))  # type: ignore[arg-type]
    (chunk,) = read(driver, first, sent(43, 16_909_060 + 1000, mode))
    np.testing.assert_allclose(chunk.samples[0], SAMPLE_UV, rtol=1e-6, atol=1e-5)
    assert driver.counters.rejected_bytes == 0


@pytest.mark.parametrize(("mode", "expected"), [("jsonlines", LINE), ("messagepack", PACKED)])
def test_the_emulated_board_sends_that_sample(mode: str, expected: bytes) -> None:
    played = np.tile(np.array(SAMPLE_UV), (100, 1))
    emulator = HackEegEmulator(ArraySource(played, 1000.0), driver=HackEeg())
    for line in (b"jsonlines\n", command(mode), command("wreg", 0x0F, 0xFF), command("wreg", 0x10, 0xFF)):
        emulator.receive(line, 0.0)
    for channel in range(8):
        emulator.receive(command("wreg", 5 + channel, 0x60), 0.0)
    emulator.off_p, emulator.off_n = 0x80, 0x01
    emulator.receive(command("rdatac"), 16.86706)
    emulator.to_send()
    emulator.tick(16.86706 + 0.0431)
    ours, theirs = emulator.to_send()[42 * len(expected) :][: len(expected)], expected
    if mode == "jsonlines":
        ours, theirs = (base64.b64decode(json.loads(each)["D"]) for each in (ours, theirs))
    else:
        ours, theirs = ours[9:], theirs[9:]
    assert abs(int.from_bytes(ours[:4], "little") - 16_909_060) <= 1
    assert ours[4:10] == theirs[4:10]
    assert ours[10] & 0xF0 == theirs[10] & 0xF0  # it has nothing on its GPIO
    assert ours[11:] == theirs[11:]


def test_the_board_is_stopped_asked_set_and_started() -> None:
    table = bench(HackEeg(rate_hz=500, gain=12, reference="srb1", lead_off="dc"))
    table.start()
    table.run(1.0)
    lines = b"".join(table.sent).decode().splitlines()
    assert lines[:2] == ["", "jsonlines"]
    told = [json.loads(line) for line in lines[2:]]
    names = [each["COMMAND"] for each in told]
    assert names == ["stop", "sdatac", "jsonlines", "rreg", *["wreg"] * 19, "start", "rdatac"]
    registers = {each["PARAMETERS"][0]: each["PARAMETERS"][1] for each in told if each["COMMAND"] == "wreg"}
    assert registers[0x01] == 0x95  # 500 Hz
    assert [registers[5 + channel] for channel in range(8)] == [0x50] * 8  # gain 12, electrodes
    assert (registers[0x0F], registers[0x10], registers[0x15], registers[0x17]) == (0xFF, 0x00, 0x20, 0x02)
    assert table.driver.facts == {"converter": "ADS1299, revision 1"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("before", ["text", *MODES])
def test_a_board_is_taken_over_in_any_state(before: str, mode: str) -> None:
    table = bench(HackEeg(mode=mode))  # type: ignore[arg-type]
    emulator = table.emulator
    now_s = table.clock.now_s()
    assert isinstance(emulator, HackEegEmulator)
    for line in (b"wreg 05 60\n", b"rdatac\n") if before == "text" else (
        b"jsonlines\n", command("wreg", 5, 0x60), command(before), command("rdatac"),
    ):  # fmt: skip
        emulator.receive(line, now_s)
    assert emulator.streaming
    emulator.receive(b'{"COMMAND": "no', now_s)  # what a program left behind that was killed
    table.start()
    chunks = table.run(2.0)
    assert sum(len(chunk.samples) for chunk in chunks) == pytest.approx(2000, abs=6)
    counters = table.driver.counters
    assert (counters.lost_samples, counters.rejected_bytes, counters.notes) == (0, 0, {})


def test_electrodes_that_are_off_show_where_they_are_sensed() -> None:
    off = bench(HackEeg())
    assert lead_off_bits(SAMPLE) == (0x80, 0x01)
    off.start()
    assert {chunk.lead_off for chunk in off.run(0.5)} == {0}  # nothing is sensed, whatever the converter says
    both = bench(HackEeg(lead_off="dc"))
    assert isinstance(both.emulator, HackEegEmulator)
    both.start()
    assert {chunk.lead_off for chunk in both.run(0.5)} == {0}
    both.emulator.off_p, both.emulator.off_n = 0x80, 0x01
    both.run(0.1)
    assert {chunk.lead_off for chunk in both.run(0.5)} == {0x81}
    against_one = bench(HackEeg(lead_off="dc", reference="srb1"))
    assert isinstance(against_one.emulator, HackEegEmulator)
    against_one.start()
    against_one.emulator.off_p, against_one.emulator.off_n = 0x80, 0x01
    against_one.run(0.1)
    assert {chunk.lead_off for chunk in against_one.run(0.5)} == {0x80}


@pytest.mark.parametrize("mode", MODES)
def test_a_slipped_bit_is_no_sample(mode: str) -> None:
    driver = streaming(HackEeg(mode=mode))  # type: ignore[arg-type]
    statuses = ["C00000"] * 3 + ["800000", "E00000"] + ["C00000"] * 3
    chunks = read(driver, *(sent(number, mode=mode, status=status) for number, status in enumerate(statuses)))
    assert by_index(chunks).keys() == {0, 1, 2, 5, 6, 7}
    assert [chunk.lost for chunk in chunks] == [0, 2]
    assert driver.counters.notes == {SLIPS: 2}


def test_a_stream_that_begins_with_a_slipped_bit_begins_after_it() -> None:
    driver = streaming(HackEeg())
    chunks = read(driver, sent(0, status="400000"), *map(sent, range(1, 5)))
    assert by_index(chunks).keys() == set(range(4))
    assert chunks[0].lost == 0


def test_what_the_board_left_out_shows_by_its_clock() -> None:
    """It counts what it has read. While the host did not listen it read nothing."""
    driver = streaming(HackEeg())
    clock_us = [1000 * n for n in range(5)] + [1000 * n for n in range(105, 110)]
    chunks = read(driver, *(sent(number, clock) for number, clock in enumerate(clock_us)))
    assert [chunk.lost for chunk in chunks] == [0, 100]
    assert chunks[1].first_sample == 105
    assert driver.counters.notes == {HOLES: 100}


@given(st.lists(st.integers(0, 999), min_size=3, max_size=40))
@settings(deadline=None)
def test_a_board_that_reads_late_has_left_nothing_out(late_us: list[int]) -> None:
    """A conversion can be read until the next one is there."""
    driver = streaming(HackEeg())
    chunks = read(driver, *(sent(n, 1000 * n + late) for n, late in enumerate(late_us)))
    assert by_index(chunks).keys() >= set(range(len(late_us) - 1))
    assert driver.counters.lost_samples == 0


def test_number_and_clock_go_round() -> None:
    driver = streaming(HackEeg())
    start = 2**32 - 3
    chunks = read(driver, *(sent(start + n, start + 1000 * n) for n in range(6)))
    assert by_index(chunks).keys() == set(range(6))
    assert not driver.counters.notes


def test_a_board_that_began_anew_is_followed() -> None:
    driver = streaming(HackEeg())
    chunks = read(driver, *map(sent, range(500, 505)), *map(sent, range(5)))
    assert sum(len(chunk.samples) for chunk in chunks) == 10
    assert driver.counters.lost_samples == 0
    assert driver.counters.notes == {BACK: 1}


def test_line_ends_of_either_kind_will_do() -> None:
    driver = streaming(HackEeg())
    chunks = read(driver, *(sent(n).replace(b"\n", b"\r\n") for n in range(5)))
    assert by_index(chunks).keys() == set(range(5))
    assert driver.counters.rejected_bytes == 0


@pytest.mark.parametrize("fault", ["drop_probability", "cut_probability", "duplicate_probability", "text_probability"])
@pytest.mark.parametrize("mode", MODES)
def test_what_happens_on_the_wire_is_counted_and_nothing_else_is_lost(mode: str, fault: str) -> None:
    table = bench(HackEeg(mode=mode, rate_hz=250), Faults(**{fault: 0.02}))  # type: ignore[arg-type]
    table.start()
    chunks = table.run(20.0)
    by_index(chunks)
    counters = table.driver.counters
    assert sum(len(chunk.samples) for chunk in chunks) + counters.lost_samples == pytest.approx(5000, abs=8)
    expected = 0.02 if fault in ("drop_probability", "cut_probability") else 0.0
    assert counters.lost_samples / 5000 == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"STATUS_CODE": 406, "STATUS_TEXT": "Unrecognized command"}, "refuses 'jsonlines' .*Unrecognized"),
        ({"STATUS_CODE": 500}, "refuses 'jsonlines'"),
        ({"STATUS_CODE": 200, "STATUS_TEXT": "Ok", "DATA": 0x92}, "0x92 instead of being an ADS1299"),
        ({"STATUS_CODE": 200, "STATUS_TEXT": "Ok"}, "instead of being an ADS1299"),
    ],
)
def test_what_a_board_refuses_is_said(answer: dict[str, object], said: str) -> None:
    driver = HackEeg()
    driver.start(0.0)
    for now_s in (0.4, 0.8):
        driver.tick(now_s)
    for now_s in (0.9, 1.0):
        driver.receive(json.dumps(answer).encode() + b"\r\n", now_s)
    assert driver.phase is Phase.FAILED
    assert re.search(said, driver.failure or ""), driver.failure


def test_an_answer_that_is_no_json_is_somebody_else() -> None:
    driver = HackEeg()
    driver.start(0.0)
    for now_s in (0.4, 0.8):
        driver.tick(now_s)
    driver.receive(b"function {}\r\n", 0.9)
    assert "not a HackEEG's" in (driver.failure or "")


def test_a_board_that_is_not_told_its_channels_sends_nothing() -> None:
    emulator = HackEegEmulator(ArraySource(np.ones((5, 8)), 250.0))
    emulator.receive(b"jsonlines\n" + command("rdatac"), 0.0)
    assert b'"STATUS_CODE":502' in emulator.to_send()
    assert not emulator.streaming


@pytest.mark.parametrize(
    "options", [{"rate_hz": 16000}, {"gain": 3}, {"mode": "text"}, {"reference": "ear"}, {"lead_off": "ac"}]
)
def test_what_no_board_can_be_told_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))} has a wrong value"):
        HackEeg(**options)  # type: ignore[arg-type]
