"""`emulate`: every front end has the same options, a recording is made to fit, and the plug can be pulled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from myosem_edge.cli.emulate import emulate
from myosem_edge.cli.main import main
from myosem_edge.errors import MyosemError
from myosem_edge.firmware_bridge.emulators import EMULATED_FRONT_ENDS
from myosem_edge.firmware_bridge.frontends import FRONT_ENDS, make_front_end
from myosem_edge.firmware_bridge.port import SerialPort

HOPELESS_S = 30.0


@contextmanager
def playing(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    start = "from myosem_edge.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", start, "emulate", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def recording(tmp_path: Path) -> str:
    np.save(tmp_path / "emg.npy", np.random.default_rng(0).normal(0, 30, (2000, 8)))
    return str(tmp_path / "emg.npy")


def test_every_front_end_can_be_emulated() -> None:
    assert set(EMULATED_FRONT_ENDS) == set(FRONT_ENDS)
    assert set(FRONT_ENDS) <= set(emulate.commands)


TOLD = {"csv": "csv:channels=4,rate_hz=500,bits=10"}  # those that have to be told


@pytest.mark.parametrize("name", sorted(FRONT_ENDS))
def test_a_recording_of_other_channels_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    np.save(tmp_path / "odd.npy", np.ones((50, 77)))
    with pytest.raises(MyosemError, match="wrong number of channels"):
        CliRunner().invoke(
            main, ["emulate", TOLD.get(name, name), "--recording", str(tmp_path / "odd.npy")], standalone_mode=False,
            catch_exceptions=False,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("myo:adress=1", "expected address=, mode="),
        ("cyton:channels=8", "expected no options"),
        ("csv", "has to be told more.*channels=, rate_hz="),
        ("csv:channels=4,rate_hz=500", "bits has a wrong value.*one of bits= and largest="),
    ],
)
def test_what_a_device_cannot_be_told_is_refused(device: str, said: str, recording: str) -> None:
    with pytest.raises(MyosemError, match=said):
        CliRunner().invoke(
            main, ["emulate", device, "--recording", recording], standalone_mode=False, catch_exceptions=False
        )


@pytest.mark.peer
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "device",
    [
        "bitalino:channels=2,rate_hz=100",
        "chords:board=UNO-R4,channels=2",
        "csv:channels=2,rate_hz=200,bits=12,lsb_uv=2",
        "spikershield:channels=2",
    ],
)
def test_a_device_is_read_by_the_driver_that_was_told_the_same(device: str, tmp_path: Path) -> None:
    """In whole steps of the coarsest of them, and in an order that occurs once."""
    driver = make_front_end(device)
    played = (np.random.default_rng(2).integers(-100, 100, (5000, 2)) * 2).astype(np.float32)
    np.save(tmp_path / "emg.npy", played)
    received: list[np.ndarray] = []
    with playing(device, "--recording", str(tmp_path / "emg.npy")) as process:
        assert process.stdout is not None
        with SerialPort(process.stdout.readline().strip(), driver.info.baud) as port:
            driver.start(time.monotonic())
            hopeless_s = time.monotonic() + HOPELESS_S
            while sum(map(len, received)) < 200:
                assert time.monotonic() < hopeless_s, (driver.phase, driver.failure)
                port.write_some(driver.to_send())
                time.sleep(0.005)
                received += [chunk.samples for chunk in driver.receive(port.read_available(), time.monotonic())]
                driver.tick(time.monotonic())
    assert driver.counters.lost_samples == 0
    samples = np.concatenate(received)[:200]
    step = 3.3e6 / 1024 / 1009 if driver.info.id == "bitalino" else 0.0
    rows = np.flatnonzero((np.abs(played - samples[0]) <= step).all(axis=1))
    assert any((np.abs(np.resize(np.roll(played, -row, axis=0), (200, 2)) - samples) <= step).all() for row in rows)


def test_plugging_in_again_needs_a_name_that_stays(recording: str) -> None:
    result = CliRunner().invoke(main, ["emulate", "cyton", "--recording", recording, "--replug-after", "1"])
    assert result.exit_code == 2
    assert "--link" in result.output


def test_a_name_that_is_taken_is_left_alone(recording: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(MyosemError, match="is no link"):
        CliRunner().invoke(
            main, ["emulate", "cyton", "--recording", recording, "--link", str(tmp_path / "mine")],
            standalone_mode=False, catch_exceptions=False,
        )  # fmt: skip
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.mark.peer
@pytest.mark.timeout(60)
def test_a_pulled_plug_comes_back_under_its_name(recording: str, tmp_path: Path) -> None:
    link = tmp_path / "ttyEMG"
    arguments = (
        "cyton",
        "--recording",
        recording,
        "--link",
        str(link),
        "--unplug-after",
        "0.3",
        "--replug-after",
        "0.1",
    )
    with playing(*arguments, "--json") as process:
        assert process.stdout is not None
        for _ in range(3):
            port = json.loads(process.stdout.readline())["port"]
            hopeless_s = time.monotonic() + HOPELESS_S
            while not link.is_symlink() and time.monotonic() < hopeless_s:
                time.sleep(0.001)
            assert port.startswith("/dev/")
        process.send_signal(signal.SIGINT)
        assert process.wait(HOPELESS_S) == 130
    assert not link.is_symlink()


@pytest.mark.peer
@pytest.mark.timeout(60)
def test_a_recording_is_resampled_scaled_and_spread(tmp_path: Path) -> None:
    """Five seconds at 100 Hz of two channels become five seconds of eight at 250 Hz, in microvolts."""
    rows = np.tile([[10.0, -20.0]], (500, 1))
    np.save(tmp_path / "two.npy", rows)
    options = ("--recording-channels", "2", "--recording-hz", "100", "--scale", "3", "--once")
    with playing("cyton", "--recording", str(tmp_path / "two.npy"), *options) as process:
        assert process.stdout is not None
        device = os.open(process.stdout.readline().strip(), os.O_RDWR)
        os.write(device, b"b")
        received = b""
        while len(received) < 33 * 1000:
            received += os.read(device, 4096)
        os.close(device)
    frame = received[33 * 500 : 33 * 501]
    counts = [int.from_bytes(frame[2 + 3 * i : 5 + 3 * i], "big", signed=True) for i in range(8)]
    expected = [30.0, -60.0] * 4
    np.testing.assert_allclose([0.0223517 * count for count in counts], expected, rtol=0.01)
