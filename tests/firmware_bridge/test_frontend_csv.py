"""Lines of numbers: what a line may look like, what is skipped, and what is seen of damage."""

from __future__ import annotations

import numpy as np
import pytest

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.csv import CsvEmulator
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.base import Phase
from myosem_edge.firmware_bridge.frontends.csv import Csv
from tests.firmware_bridge.test_frontend_spec import Bench, FrontEndSpec, by_index


class TestWholeNumbers(FrontEndSpec):
    """Four channels of a converter of ten bits."""

    frame_samples = 1
    visible_loss_frames = 0
    reach_frames = 1  # a lost end of line runs the next one into it
    streams_at_once = True

    def make(self) -> Csv:
        return Csv(channels=4, rate_hz=500, bits=10)

    def make_emulator(self, source: ArraySource) -> CsvEmulator:
        return CsvEmulator(source, driver=self.make())

    def split(self, stream: bytes) -> list[bytes]:
        return stream.splitlines(keepends=True)


class TestDecimals(TestWholeNumbers):
    """Two channels of microvolts on both sides of zero, apart by tabs, ended by LF."""

    lsb = 0.25

    def make(self) -> Csv:
        return Csv(channels=2, rate_hz=1000, largest=2000, lsb_uv=0.25)

    def make_emulator(self, source: ArraySource) -> CsvEmulator:
        return CsvEmulator(source, driver=self.make(), separator="\t", end="\n")


def bench(faults: Faults | None = None, device: Csv | None = None) -> Bench:
    driver = Csv(channels=4, rate_hz=500, bits=10)
    device = device or driver
    emg = np.random.default_rng(1).integers(-500, 500, (9973, device.info.channels)).astype(np.float32)
    return Bench(driver, CsvEmulator(ArraySource(emg, device.info.rate_hz), driver=device, faults=faults))


def read(driver: Csv, text: bytes) -> list[list[float]]:
    driver.start(0.0)
    return [row.tolist() for chunk in driver.receive(text, 1.0) for row in chunk.samples]


def three(**options: float) -> Csv:
    return Csv(channels=3, rate_hz=100, **({"largest": 1000.0} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line",
    [
        b"1,-2.5,300",
        b"1;-2.5;300",
        b"1\t-2.5\t300",
        b"1 -2.5 300",
        b"  +1.0 ,  -2.50 ,\t300.  ",
        b"1,-2.5,300,",
        b"001,-2.5,0300\r",
    ],
)
def test_a_line_may_look_like(line: bytes) -> None:
    assert read(three(), b"first\n" + line + b"\n") == [[1.0, -2.5, 300.0]]


@pytest.mark.parametrize(
    "line", [b"1,2", b"1,2,3,4", b"1,,2,3", b"1,2,3e5", b"1,2,nan", b"1,2,0x3", b"1,2,1001", b"1,2,--3", b"1.2.3,4,5"]
)
def test_a_line_that_is_no_sample_is_none(line: bytes) -> None:
    driver = three()
    assert read(driver, b"first\n1,2,3\n" + line + b"\n1,2,3\n") == [[1.0, 2.0, 3.0]] * 2
    assert driver.counters.rejected_bytes == len(line) + 1


def test_the_first_line_may_have_begun_before() -> None:
    assert read(three(), b"7,2,3\n1,2,3\n") == [[1.0, 2.0, 3.0]]


def test_numbers_of_a_converter_are_taken_around_its_middle() -> None:
    assert read(three(largest=None, bits=10), b"\n0,512,1023\n0,512,1024\n") == [[-512.0, 0.0, 511.0]]
    driver = three(largest=None, bits=10, lsb_uv=2.0)
    assert read(driver, b"\n0,512,1023\n") == [[-1024.0, 0.0, 1022.0]]
    assert (driver.info.unit, driver.info.full_scale) == ("uV", 1024.0)


def test_one_channel_needs_nothing_between_numbers() -> None:
    driver = Csv(channels=1, rate_hz=1000, bits=10)
    assert read(driver, b"51\n512\n513\n512513\n514\n") == [[0.0], [1.0], [2.0]], "two lines in one are beyond ten bits"
    assert driver.counters.lost_samples == 1


def test_text_is_skipped_and_damage_is_counted() -> None:
    driver = three()
    read(driver, b"\n1,2,3\n")
    (chunk,) = driver.receive(b"\r\nStartUp! v1.2\r\n1,2,3\n", 1.1)
    assert chunk.lost == 0
    (chunk,) = driver.receive(b"1,2\n1,2,31,2,3\n1,2\x803\n1,2,3\n", 1.2)
    assert chunk.lost == 1 + 2 + 1
    assert driver.counters.resyncs == 1


def test_bytes_without_an_end_of_line_do_not_pile_up() -> None:
    whole, cut = three(), three()
    noise = b"1,2,3\n" + b"12," * 5000 + b"\n1,2,3\n"
    assert read(whole, b"\n" + noise) == [[1.0, 2.0, 3.0]] * 2
    read(cut, b"\n")
    for i in range(0, len(noise), 7):
        cut.receive(noise[i : i + 7], 1.0)
    assert cut.counters == whole.counters
    assert whole.counters.lost_samples == 1


@pytest.mark.parametrize(
    ("device", "said"),
    [
        (Csv(channels=3, rate_hz=500, bits=10), "lines of 3 numbers arrive, 4 were told"),
        (Csv(channels=4, rate_hz=500, bits=16), "which is beyond 0 to 1023"),
    ],
)
def test_what_was_told_wrong_is_said(device: Csv, said: str) -> None:
    table = bench(device=device)
    table.driver.start(0.0)
    table.run(30.0, until=Phase.FAILED)
    assert said in (table.driver.failure or "")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"channels": 0, "bits": 10}, "channels"),
        ({"rate_hz": 0, "bits": 10}, "rate_hz"),
        ({}, "one of bits= and largest="),
        ({"bits": 10, "largest": 3.0}, "one of bits= and largest="),
        ({"bits": 40}, "bits"),
        ({"largest": 0.0}, "largest"),
        ({"bits": 10, "lsb_uv": -1.0}, "lsb_uv"),
    ],
)
def test_what_no_sketch_can_be_is_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Csv(**({"channels": 1, "rate_hz": 100.0} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", ["cut_probability", "text_probability", "burst_ms"])
def test_damage_never_costs_more_than_the_lines_it_touches(fault: str) -> None:
    table = bench(Faults(**{fault: 16.0 if fault == "burst_ms" else 0.02}))
    table.start()
    chunks = table.run(20.0)
    by_index(chunks)
    counters, received = table.driver.counters, sum(len(chunk.samples) for chunk in chunks)
    assert received + counters.lost_samples == pytest.approx(10_000, abs=20)
    assert counters.lost_samples == 0 or fault == "cut_probability"
    assert not counters.notes


def test_a_rate_that_was_told_wrong_is_noted() -> None:
    table = bench(device=Csv(channels=4, rate_hz=450, bits=10))
    table.start()
    table.run(9.0)
    assert table.driver.counters.notes["samples missing by the clock"] >= 2
