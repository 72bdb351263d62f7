"""OpenBCI's old Python client reads our emulated boards over a pseudo-terminal. Real time: only counts and values."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import threading
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from myosem_edge.firmware_bridge.emulators.cyton import CytonEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.cyton import CHANNELS, UV_PER_COUNT

pytestmark = [pytest.mark.peer, pytest.mark.timeout(90)]

SAMPLES = 300
HOPELESS_S = 60.0


@pytest.fixture
def client() -> ModuleType:
    """Its module for the Cyton alone: the package wants Bluetooth and Wi-Fi libraries for other boards."""
    try:
        files = importlib.metadata.files("pyOpenBCI") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("pyOpenBCI is not installed")
    path = next(str(file.locate()) for file in files if file.name == "cyton.py")
    spec = importlib.util.spec_from_file_location("pyopenbci_cyton", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("daisy", [False, True])
def test_pyopenbci_reads_every_sample(client: ModuleType, daisy: bool) -> None:
    channels = 2 * CHANNELS if daisy else CHANNELS
    played = np.random.default_rng(3).normal(0.0, 200.0, (20_000, channels)).astype(np.float32)
    emulator = CytonEmulator(ArraySource(played, 125.0 if daisy else 250.0), daisy=daisy)
    found: list[Any] = []
    with OnPty(emulator) as device:
        board = client.OpenBCICyton(port=device.port, daisy=daisy, timeout=HOPELESS_S)
        if daisy:
            board.write_command("C")  # the emulated board, like the real one, is asked to send its Daisy's channels

        def take(sample: Any) -> None:
            found.append((sample.id, sample.channels_data))
            if len(found) == SAMPLES:
                board.stop_stream()

        reader = threading.Thread(target=board.start_stream, args=(take,), daemon=True)
        reader.start()
        reader.join(HOPELESS_S)
        board.streaming = False
        board.disconnect()
    assert len(found) == SAMPLES
    assert set(np.diff([number for number, _ in found]) % 256) == {2 if daisy else 1}, "a frame is missing"
    received = np.array([counts for _, counts in found]) * UV_PER_COUNT
    offset = int(np.argmin(np.abs(played - received[0]).sum(axis=1)))
    np.testing.assert_allclose(received, played[offset : offset + SAMPLES], atol=0.02)
