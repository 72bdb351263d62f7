"""The maker's own host program reads our emulated board over a pseudo-terminal. Real time: only counts and values."""

from __future__ import annotations

import importlib.util
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from myosem_edge.firmware_bridge.emulators.chords import ChordsEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.chords import Chords

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]

SAMPLES = 500
HOPELESS_S = 30.0


@pytest.fixture
def serial_module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Its serial module alone: the package brings windows and web servers. It takes Ctrl-C for itself."""
    package = importlib.util.find_spec("chordspy")
    if package is None or package.origin is None:
        pytest.skip("chordspy is not installed")
    spec = importlib.util.spec_from_file_location("chords_serial", Path(package.origin).parent / "chords_serial.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "chords_serial", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)
    return module


@pytest.mark.parametrize("board", ["UNO-R3", "STM32F4-BLACK-PILL"])
def test_chordspy_reads_every_sample(board: str, serial_module: Any) -> None:
    driver = Chords(board=board)
    half = driver.kind.bits - 1
    played = np.random.default_rng(5).integers(-(2**half), 2**half, (20_000, driver.info.channels))
    emulator = ChordsEmulator(ArraySource(played, driver.info.rate_hz), driver=driver, thinks_s=0.5)
    with OnPty(emulator) as device:
        client = serial_module.Chords_USB()
        assert client.connect_hardware(device.port, driver.info.baud)
        assert (client.board, client.num_channels) == (board, driver.info.channels)
        client.send_command("START")
        hopeless_s = time.monotonic() + HOPELESS_S
        while emulator.samples_sent < 2 * SAMPLES:
            assert time.monotonic() < hopeless_s, f"{emulator.samples_sent} samples in {HOPELESS_S:.0f} s"
            client.read_data()
        client.send_command("STOP")
        client.ser.close()
    received = client.data.T[-SAMPLES:] - 2**half
    offset = int(np.flatnonzero((played == received[0]).all(axis=1))[0])
    np.testing.assert_array_equal(received, played[offset : offset + SAMPLES])
