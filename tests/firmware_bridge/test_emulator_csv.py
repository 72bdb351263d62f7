"""The emulated sketch prints what a driver was told to expect."""

from __future__ import annotations

import numpy as np
import pytest

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.csv import BANNER, CsvEmulator
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.csv import Csv


def printed(driver: Csv, row: list[float], **style: str) -> bytes:
    emulator = CsvEmulator(ArraySource(np.array([row]), driver.info.rate_hz), driver=driver, **style)
    emulator.tick(0.0)
    assert emulator.to_send() == BANNER
    emulator.receive(b"stop\n", 0.0)
    emulator.tick(0.01)
    return emulator.to_send()


def test_a_converter_prints_whole_numbers() -> None:
    driver = Csv(channels=3, rate_hz=100, bits=10, lsb_uv=2.0)
    assert printed(driver, [-1024.0, 0.0, 9999.0]) == b"0,512,1023\r\n"


def test_decimals_are_printed_without_exponents() -> None:
    driver = Csv(channels=4, rate_hz=100, largest=1e6)
    assert printed(driver, [1e6, -0.5, 1e-5, 0.1], separator="\t", end="\n") == b"1000000\t-0.5\t0.00001\t0.1\n"


def test_a_recording_of_other_channels_is_refused() -> None:
    with pytest.raises(InputError, match="does not fit the device"):
        CsvEmulator(ArraySource(np.ones((5, 3)), 100.0), driver=Csv(channels=4, rate_hz=100, bits=10))
