"""Front ends behind a library: a real stream of the Lab Streaming Layer, real sessions of BrainFlow. In real time where
a library has a clock of its own: only counts and values."""

from __future__ import annotations

import contextlib
import sys
import time
import types
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from myosem_edge.clock import MonotonicClock, VirtualClock
from myosem_edge.errors import DeviceError, InputError
from myosem_edge.firmware_bridge import lsl_port
from myosem_edge.firmware_bridge.frontends import make_front_end
from myosem_edge.firmware_bridge.frontends.base import Chunk, FrontEnd, Phase
from myosem_edge.firmware_bridge.ports import open_front_end
from myosem_edge.runtime.reading import read_chunks
from tests.firmware_bridge.test_frontend_spec import by_index

HOPELESS_S = 30.0


def read(driver: FrontEnd, samples: int, before: Callable[[], object] = lambda: None) -> list[Chunk]:
    chunks: list[Chunk] = []
    hopeless_s = time.monotonic() + HOPELESS_S
    with (
        open_front_end(driver, None, MonotonicClock()) as wire,
        contextlib.closing(read_chunks(driver, wire, MonotonicClock(), time.sleep, where="here")) as reading,
    ):
        for _, arrived in reading:
            before()
            chunks += arrived
            assert time.monotonic() < hopeless_s, f"{driver.counters.samples} samples in {HOPELESS_S:.0f} s"
            if driver.counters.samples >= samples:
                break
    return chunks


@pytest.mark.peer
@pytest.mark.timeout(60)
class TestLsl:
    @pytest.fixture
    def outlet(self) -> Any:
        pylsl = pytest.importorskip("pylsl")
        name = f"test-{uuid.uuid4()}"
        return pylsl.StreamOutlet(pylsl.StreamInfo(name, "EMG", 4, 200.0, pylsl.cf_float32, name))

    def test_every_sample_of_a_stream_is_read(self, outlet: Any) -> None:
        sent: list[list[float]] = []

        def send() -> None:
            for _ in range(5):
                sent.append([float(len(sent)), -1.0, 0.5, 1e-3])
                outlet.push_sample(sent[-1])

        name = outlet.get_info().name()
        driver = make_front_end(f"lsl:name={name},channels=4,rate_hz=200,scale=1000")
        chunks = read(driver, 200, send)
        received = np.concatenate([chunk.samples for chunk in chunks])
        begin = int(received[0, 0] / 1000)
        expected = 1000 * np.array(sent[begin : begin + len(received)], np.float32)
        np.testing.assert_array_equal(received, expected)
        assert by_index(chunks).keys() == set(range(len(received)))
        assert (driver.info.unit, driver.info.rate_hz, driver.info.channels) == ("uV", 200.0, 4)

    @pytest.mark.parametrize(
        ("told", "said"),
        [
            ("channels=8,rate_hz=200", r"other channels.*found 4.*expected 8.*channels=4"),
            ("channels=4,rate_hz=250", r"other rate_hz.*found 200.*expected 250"),
        ],
    )
    def test_another_stream_than_was_told_is_refused(self, told: str, said: str, outlet: Any) -> None:
        with pytest.raises(DeviceError, match=said):
            open_front_end(make_front_end(f"lsl:name={outlet.get_info().name()},{told}"), None, VirtualClock())

    def test_a_stream_that_nobody_sends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("pylsl")
        monkeypatch.setattr(lsl_port, "FIND_S", 0.2)
        with pytest.raises(DeviceError, match="no such stream"):
            open_front_end(make_front_end("lsl:name=nobody,channels=4,rate_hz=200"), None, VirtualClock())


@pytest.mark.peer
@pytest.mark.timeout(60)
class TestBrainFlow:
    def test_the_synthetic_board_is_read(self, brainflow: Any) -> None:
        driver = make_front_end("brainflow:board=synthetic")
        assert (driver.info.channels, driver.info.rate_hz) == (16, 250.0)
        chunks = read(driver, 250)
        samples = np.concatenate([chunk.samples for chunk in chunks])
        assert samples.shape[1] == 16
        assert (samples.std(axis=0) > 0).all()
        assert by_index(chunks).keys() == set(range(len(samples)))
        assert read(driver, 50)[0].first_sample == 0  # it can be started again

    def test_a_file_is_played_sample_by_sample(self, brainflow: Any, tmp_path: Path) -> None:
        rows = brainflow.BoardShim.get_num_rows(-1)
        data = np.round(np.random.default_rng(4).normal(0, 100, (rows, 1000)), 3)
        data[brainflow.BoardShim.get_timestamp_channel(-1)] = 1.7e9 + np.arange(1000) / 250.0
        brainflow.DataFilter.write_file(data, str(tmp_path / "played.csv"), "w")
        told = f"brainflow:board=playback_file,master=synthetic,file={tmp_path / 'played.csv'}"
        received = np.concatenate([chunk.samples for chunk in read(make_front_end(told), 100)])
        emg = data[brainflow.BoardShim.get_emg_channels(-1)].T
        begin = int(np.abs(emg - received[0]).sum(axis=1).argmin())
        np.testing.assert_allclose(received, emg[begin : begin + len(received)], atol=0.01)

    def test_a_board_is_known_by_name_and_number(self, brainflow: Any) -> None:
        for told in ("ganglion_native", "GANGLION_NATIVE_BOARD", "46"):
            info = make_front_end(f"brainflow:board={told},address=00:11:22:33:44:55").info
            assert (info.channels, info.rate_hz, info.name) == (4, 200.0, "BrainFlow board ganglion_native")

    def test_what_brainflow_does_not_know_is_refused(self, brainflow: Any) -> None:
        with pytest.raises(InputError, match=r"board has a wrong value.*synthetic"):
            make_front_end("brainflow:board=toaster")
        with pytest.raises(InputError, match="nothing to decode"):
            make_front_end("brainflow:board=playback_file")
        with pytest.raises(DeviceError, match="BrainFlow board cyton: cannot be opened"):
            open_front_end(make_front_end("brainflow:board=cyton"), "/dev/nothing", VirtualClock())


def test_a_stream_that_stalls_is_asked_again_and_its_gap_estimated() -> None:
    from myosem_edge.firmware_bridge.frontends.chunk_stream import pack_chunk
    from myosem_edge.firmware_bridge.frontends.hosted import START

    driver = make_front_end("lsl:name=a,channels=2,rate_hz=100")
    driver.start(0.0)
    assert driver.to_send() == START
    first, again = (pack_chunk(Chunk(np.ones((10, 2), np.float32), number, 0.0)) for number in (0, 10))
    assert len(driver.receive(first, 0.1)) == 1
    driver.tick(2.5)
    assert (driver.phase, driver.to_send()) == (Phase.CONNECTING, START)
    (chunk,) = driver.receive(again, 3.1)
    assert driver.phase is Phase.STREAMING
    assert chunk.lost == pytest.approx(300, abs=2)
    assert driver.counters.notes == {"stalls": 1}


@pytest.mark.parametrize("library", ["pylsl", "brainflow"])
def test_a_missing_library_names_its_extra(library: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from myosem_edge.cli.main import main

    for name in [each for each in sys.modules if each.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    told = {"pylsl": "lsl:name=a,channels=2,rate_hz=100", "brainflow": "brainflow:board=synthetic"}[library]
    result = CliRunner().invoke(main, ["record", "--front-end", told, "--out", str(tmp_path / "a.npz")])
    assert result.exit_code == 3
    extra = {"pylsl": "lsl", "brainflow": "brainflow"}[library]
    assert f"pip install 'myosem-edge[{extra}]'" in result.output
    assert "Traceback" not in result.output


def test_a_python_that_lacks_what_brainflow_asks_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "brainflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "brainflow", types.ModuleType("brainflow"))

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            if name == "brainflow.board_shim":
                raise ModuleNotFoundError("No module named 'pkg_resources'", name="pkg_resources")

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    sys.modules["brainflow"].__path__ = []
    with pytest.raises(InputError, match="setuptools<81"):
        make_front_end("brainflow:board=synthetic")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("lsl:name=a", "has to be told more.*channels=, rate_hz="),
        ("lsl:name=a,channels=0,rate_hz=1", "channels has a wrong value"),
        ("lsl:name=a,channels=1,rate_hz=0", "rate_hz has a wrong value"),
        ("lsl:name=,channels=1,rate_hz=1", "name has a wrong value"),
        ("lsl:name=a,channels=1,rate_hz=1,scale=0", "scale has a wrong value"),
        ("lsl:name=a,channels=1,rate_hz=1,unit=V", "unit has a wrong value"),
    ],
)
def test_what_no_stream_can_be_is_refused(told: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_front_end(told)
