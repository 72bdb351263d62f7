"""`record`: from a port to a file and back from the file, however it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from myosem_edge.cli.main import main
from myosem_edge.firmware_bridge.emulators.cyton import CytonEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.runtime.recorder import journal_of

PATIENCE_S = 60.0
EMG = np.random.default_rng(2).normal(0, 100, (1000, 8)).astype(np.float32)


@pytest.fixture
def cyton() -> Iterator[OnPty]:
    with OnPty(CytonEmulator(ArraySource(EMG, 250.0))) as device:
        yield device


def record(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["record", *map(str, arguments)])


@pytest.mark.peer
def test_so_many_seconds_are_recorded_and_recorded_again_from_the_file(cyton: OnPty, tmp_path: Path) -> None:
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    result = record("--port", cyton.port, "--front-end", "cyton", "--out", first, "--seconds", 1.5)
    assert result.exit_code == 0, result.output
    assert "Connected to the OpenBCI Cyton (firmware v3.1.2" in result.output
    assert f"Wrote {first}: 1.5 s, 375 samples, 0 lost." in result.output
    result = record("--front-end", f"file:{first}", "--out", second, "--json")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.output.splitlines()]
    assert [line["event"] for line in lines] == ["note", "progress", "result"]
    assert lines[-1] == {
        "event": "result", "file": str(second), "samples": 375, "lost": 0, "recordings": 1, "seconds": 1.5,
        "torn_bytes": 0,
    }  # fmt: skip
    with np.load(first) as ours, np.load(second) as again:
        np.testing.assert_array_equal(ours["emg"], again["emg"])
        about = json.loads(str(ours["about"]))
    assert (about["told"], about["info"]["rate_hz"], about["facts"]["daisy"]) == ("cyton", 250.0, "no")
    assert not journal_of(first).exists()


@pytest.mark.peer
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_what_was_recorded_is_kept(number: signal.Signals, cyton: OnPty, tmp_path: Path) -> None:
    out = tmp_path / "kim.npz"
    command = [sys.executable, "-m", "myosem_edge", "record", "--port", cyton.port, "--front-end", "cyton", "--json"]
    with subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "progress":
                process.send_signal(number)
                break
        result = json.loads(process.stdout.read().splitlines()[-1])
        assert process.wait(PATIENCE_S) == (130 if number == signal.SIGINT else 0)
    with np.load(out) as arrays:
        assert len(arrays["emg"]) == result["samples"] > 200
    assert not cyton.emulator.streaming  # type: ignore[attr-defined]


@pytest.mark.peer
def test_a_killed_recording_is_recovered(cyton: OnPty, tmp_path: Path) -> None:
    out = tmp_path / "kim.npz"
    command = [sys.executable, "-m", "myosem_edge", "record", "--port", cyton.port, "--front-end", "cyton", "--json"]
    with subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = 0
        for line in process.stdout:
            seen += json.loads(line)["event"] == "progress"
            if seen == 2:
                process.kill()
                break
    assert not out.exists()
    again = record("--port", cyton.port, "--front-end", "cyton", "--out", out)
    assert again.exit_code == 3
    assert "--recover" in again.output
    result = record("--out", out, "--recover")
    assert result.exit_code == 0, result.output
    with np.load(out) as arrays:
        assert len(arrays["emg"]) > 200


@pytest.mark.peer
def test_a_pulled_plug_keeps_what_came_before(cyton: OnPty, tmp_path: Path) -> None:
    out = tmp_path / "kim.npz"
    emulator = cyton.emulator
    assert isinstance(emulator, CytonEmulator)

    class Pulled(ArraySource):
        def read(self, n: int) -> np.ndarray:
            if self._at > 300:
                raise RuntimeError("pulled")
            return super().read(n)

    emulator.source = Pulled(EMG, 250.0)
    result = record("--port", cyton.port, "--front-end", "cyton", "--out", out)
    cyton.error = None
    assert result.exit_code == 6, result.output
    assert f"Wrote {out}" in result.output
    with np.load(out) as arrays:
        assert len(arrays["emg"]) > 200


def test_what_cannot_be_recorded_is_said_before_anything_is_opened(tmp_path: Path) -> None:
    out = tmp_path / "kim.npz"
    result = record("--front-end", "cyton", "--out", out)
    assert (result.exit_code, "on which port is the OpenBCI Cyton?" in result.output) == (2, True)
    result = record("--front-end", f"file:{out}", "--out", tmp_path / "b.npz")
    assert (result.exit_code, str(out) in result.output) == (3, True)
    result = record("--front-end", "cyton", "--port", "/dev/nothing", "--out", out)
    assert result.exit_code == 6
    assert list(tmp_path.iterdir()) == []
    out.write_text("precious")
    result = record("--front-end", "cyton", "--port", "/dev/nothing", "--out", out)
    assert (result.exit_code, "is there already" in result.output) == (3, True)
