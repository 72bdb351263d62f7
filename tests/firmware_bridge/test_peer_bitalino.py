"""The maker's own library reads our emulated device over a pseudo-terminal. Real time: only counts and values."""

from __future__ import annotations

import time

import numpy as np
import pytest

from myosem_edge.firmware_bridge.emulators.bitalino import BitalinoEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.bitalino import BITS, Bitalino

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]

SAMPLES = 1000


@pytest.mark.parametrize("channels", [1, 4, 6])
def test_the_makers_library_reads_every_sample(channels: int) -> None:
    bitalino = pytest.importorskip("bitalino")
    driver = Bitalino(channels=channels)
    halves = 2 ** (np.array(BITS[:channels]) - 1)
    played = np.random.default_rng(5).integers(-halves, halves, (20_000, channels))
    emulator = BitalinoEmulator(ArraySource(played / halves * driver.info.full_scale, 1000.0), driver=driver)
    with OnPty(emulator) as device:
        client = bitalino.BITalino(device.port, timeout=10)
        assert (client.isBitalino2, client.isBitalino52) == (True, True)
        client.battery(30)
        state = client.state()
        client.start(1000, list(range(channels)))
        read = client.read(SAMPLES)  # raises where the check sum is wrong
        client.stop()
        time.sleep(0.05)
        client.close()
    assert (state["battery"], state["batteryThreshold"]) == (645, 30)
    np.testing.assert_array_equal(read[:, 0], np.arange(SAMPLES) % 16)
    np.testing.assert_array_equal(read[:, 5:] - halves, played[:SAMPLES])
