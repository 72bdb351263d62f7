"""Programs that share no code with us, or no process: pyomyo reads our emulator, our driver reads the command line's.

Real time, so only counts, values and order are asserted.
"""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from myosem_edge.clock import MonotonicClock
from myosem_edge.firmware_bridge.emulators.myo import MyoEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.base import Phase
from myosem_edge.firmware_bridge.frontends.myo import Myo
from myosem_edge.firmware_bridge.port import SerialPort

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]

EMG = np.random.default_rng(11).integers(-128, 127, (20_000, 8), endpoint=True).astype(np.int8)
HOPELESS_S = 30.0


def assert_played_in_order(received: np.ndarray) -> None:
    """`received` is one piece of the recording, from its beginning but for what was sent before the reader listened."""
    offset = int(np.flatnonzero((received[0] == EMG).all(axis=1))[0])
    assert offset < len(EMG) // 2
    np.testing.assert_array_equal(received, EMG[offset : offset + len(received)])


@pytest.mark.parametrize("mode", ["RAW", "FILTERED"])
def test_pyomyo_reads_every_sample(mode: str) -> None:
    pyomyo = pytest.importorskip("pyomyo")
    emulator = MyoEmulator(ArraySource(EMG, 200.0))
    samples: list[tuple[int, ...]] = []
    quaternions: list[tuple[int, ...]] = []
    levels: list[int] = []
    with OnPty(emulator) as device:
        armband = pyomyo.Myo(tty=device.port, mode=pyomyo.emg_mode[mode])
        armband.connect()
        assert (emulator.connected, emulator.streaming) == (True, True)
        armband.add_emg_handler(lambda emg, moving: samples.append(emg))
        armband.add_imu_handler(lambda quaternion, acceleration, rotation: quaternions.append(quaternion))
        armband.add_battery_handler(levels.append)
        while len(samples) < 300:
            armband.run()
        emulator.set_battery(33, MonotonicClock().now_s())
        while not levels:
            armband.run()
        armband.vibrate(1)
        armband.disconnect()
        assert not emulator.connected
        armband.bt.ser.close()
    # While pyomyo waits for the answer to a command it hands out what arrives twice: only the time before counts.
    assert_played_in_order(np.array(samples[:300]))
    assert set(quaternions) == {(16384, 0, 0, 0)}
    assert levels == [33]
    assert emulator.vibrations == 1


@contextmanager
def command_line(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`myosem-edge emulate ...` in its own process."""
    start = "from myosem_edge.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", start, "emulate", *arguments],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_port(port: SerialPort, driver: Myo, samples: int) -> np.ndarray:
    """Drive `driver` from a real port, as the loop does, until it has delivered enough."""
    driver.start(time.monotonic())
    received: list[np.ndarray] = []
    hopeless_s = time.monotonic() + HOPELESS_S
    while sum(map(len, received)) < samples:
        assert time.monotonic() < hopeless_s, (driver.phase, driver.failure)
        port.write_some(driver.to_send())
        select.select([port], [], [], 0.02)
        received += [chunk.samples for chunk in driver.receive(port.read_available(), time.monotonic())]
        driver.tick(time.monotonic())
    return np.concatenate(received)


def test_driver_reads_the_armband_of_the_command_line(tmp_path: Path) -> None:
    recording = tmp_path / "p1.npz"
    np.savez(recording, emg=EMG)
    with command_line("myo", "--recording", str(recording), "--json") as process:
        assert process.stdout is not None
        announced = json.loads(process.stdout.readline())
        assert announced["device"] == "myo"
        driver = Myo()
        with SerialPort(announced["port"], driver.info.baud) as port:
            received = read_port(port, driver, 200)
            driver.stop(time.monotonic())
            port.write_some(driver.to_send())
        process.send_signal(signal.SIGINT)
        assert process.wait(HOPELESS_S) == 130
    assert driver.phase is Phase.IDLE
    assert driver.counters.lost_samples == 0
    assert_played_in_order(received)


def test_recording_that_is_played_once_ends_the_command(tmp_path: Path) -> None:
    recording = tmp_path / "short.npy"
    np.save(recording, EMG[:200])
    with command_line("myo", "--recording", str(recording), "--once") as process:
        assert process.stdout is not None
        driver = Myo()
        with SerialPort(process.stdout.readline().strip(), driver.info.baud) as port:
            received = read_port(port, driver, 50)
            assert process.wait(HOPELESS_S) == 0
    assert_played_in_order(received)


def test_hand_of_the_command_line_answers() -> None:
    with command_line("ability", "--json") as process:
        assert process.stdout is not None
        announced = json.loads(process.stdout.readline())
        assert announced["device"] == "ability"
        with SerialPort(announced["port"], 460800) as port:
            port.write_some(bytes.fromhex("7E 50 A0 10 7E"))
            assert select.select([port], [], [], HOPELESS_S)[0]
            assert port.read_available()
