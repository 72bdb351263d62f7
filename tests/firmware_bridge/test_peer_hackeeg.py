"""The makers' own client sets and reads our emulated board over a pseudo-terminal. In real time, so only counts and
values are asserted."""

from __future__ import annotations

import time

import numpy as np
import pytest

from myosem_edge.firmware_bridge.emulators.hackeeg import HackEegEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.hackeeg import HackEeg

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]

SAMPLES = 500
HOPELESS_S = 30.0


@pytest.mark.parametrize("messagepack", [False, True])
def test_the_makers_client_reads_every_sample(messagepack: bool) -> None:
    hackeeg = pytest.importorskip("hackeeg")
    from hackeeg import ads1299

    counts = np.random.default_rng(6).integers(-400_000, 400_000, (20_000, 8))
    played = counts * 4.5e6 / (2**23 - 1) / 12
    emulator = HackEegEmulator(ArraySource(played, 250.0), driver=HackEeg(rate_hz=250))
    with OnPty(emulator) as device:
        client = hackeeg.HackEEGBoard(device.port)
        client.connect()
        assert client.mode == client.JsonLinesMode
        assert client.rreg(ads1299.ID)["DATA"] == 0x3E
        client.wreg(ads1299.CONFIG1, ads1299.HIGH_RES_250_SPS | ads1299.CONFIG1_const)
        for channel in range(1, 9):
            client.enable_channel(channel, ads1299.GAIN_12X)
        client.wreg(ads1299.MISC1, 0)
        if messagepack:
            client.messagepack_mode()
        assert client.ok(client.start())
        assert client.ok(client.rdatac())
        samples = []
        hopeless_s = time.monotonic() + HOPELESS_S
        while len(samples) < SAMPLES:
            assert time.monotonic() < hopeless_s, f"{len(samples)} samples in {HOPELESS_S:.0f} s"
            told = client.read_rdatac_response() or {}
            if "sample_number" in told:
                samples.append(told)
        client.raw_serial_port.close()
    numbers = [sample["sample_number"] for sample in samples]
    assert numbers == list(range(numbers[0], numbers[0] + SAMPLES))
    assert {sample["extra"] for sample in samples} == {0xC}
    received = np.array([sample["channel_data"] for sample in samples])
    offset = int(np.abs(counts - received[0]).sum(axis=1).argmin())
    np.testing.assert_array_equal(received, counts[offset : offset + SAMPLES])
