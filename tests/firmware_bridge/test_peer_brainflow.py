"""BrainFlow's own native drivers read our emulated boards over a pseudo-terminal. Real time: only counts and values."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from myosem_edge.firmware_bridge.emulators import EMULATED_FRONT_ENDS
from myosem_edge.firmware_bridge.emulators.base import Emulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends import FRONT_ENDS

pytestmark = [pytest.mark.peer, pytest.mark.timeout(90)]

BOARDS = {"cyton": 0, "cyton_daisy": 2, "freeeeg32": 17}
SAMPLES = 300
HOPELESS_S = 30.0


def noise(channels: int) -> np.ndarray:
    return np.random.default_rng(3).normal(0.0, 200.0, (20_000, channels)).astype(np.float32)


def read(brainflow: Any, name: str, port: str, samples: int = SAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """EMG `(n, channels)` and the counters `(n,)` as BrainFlow read them."""
    board_id = BOARDS[name]
    brainflow.BoardShim.disable_board_logger()
    parameters = brainflow.BrainFlowInputParams()
    parameters.serial_port = port
    board = brainflow.BoardShim(board_id, parameters)
    board.prepare_session()
    try:
        board.start_stream(45_000)
        hopeless_s = time.monotonic() + HOPELESS_S
        while board.get_board_data_count() < samples:
            assert time.monotonic() < hopeless_s, f"{board.get_board_data_count()} samples in {HOPELESS_S:.0f} s"
            time.sleep(0.02)
        board.stop_stream()
        data = board.get_board_data()
    finally:
        board.release_session()
    counters = data[brainflow.BoardShim.get_package_num_channel(board_id)].astype(int)
    return data[brainflow.BoardShim.get_exg_channels(board_id)].T, counters


@pytest.mark.parametrize("name", BOARDS)
def test_brainflow_reads_every_sample(name: str, brainflow: Any) -> None:
    info = FRONT_ENDS[name].info
    played = noise(info.channels)
    emulator: Emulator = EMULATED_FRONT_ENDS[name](ArraySource(played, info.rate_hz))
    with OnPty(emulator) as device:
        received, counters = read(brainflow, name, device.port)
    steps = np.diff(counters) % 256
    assert set(steps) == {int(steps[0])}, "a frame is missing"
    assert received.shape[1] == info.channels
    offset = int(np.argmin(np.abs(played - received[0]).sum(axis=1)))
    np.testing.assert_allclose(received, played[offset : offset + len(received)], atol=0.02)
