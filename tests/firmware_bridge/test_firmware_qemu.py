"""The reference firmware on three emulated boards: every sample is known beforehand, so every loss has to show.

Real time. What is asserted is counts: no host, however busy, may lose a sample without saying so.
"""

from __future__ import annotations

import re
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from myosem_edge.firmware_bridge import wire
from myosem_edge.firmware_bridge.frontends.base import Chunk, FrontEnd, Phase
from myosem_edge.firmware_bridge.frontends.cyton import UV_PER_COUNT, Cyton
from myosem_edge.firmware_bridge.frontends.myosem_wire import DEFAULT, MyosemWire
from myosem_edge.firmware_bridge.port import SerialPort
from tests.export.c_tools import tool
from tests.firmware_bridge.firmware_host import make, pattern
from tests.firmware_bridge.test_frontend_myosem_wire import LEFT_OUT
from tests.firmware_bridge.test_peer_brainflow import read

pytestmark = [pytest.mark.full, pytest.mark.peer, pytest.mark.timeout(180)]

BOARDS = {"mps2_an385": "mps2-an385", "lm3s6965evb": "lm3s6965evb", "stm32f405": "netduinoplus2"}
READ_S, PAUSE_S = 5.0, 3.0
LATE_SAMPLES = 1500  # what the ring and the ports between may hold
PORT_S = 10.0


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tool("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    tool("qemu-system-arm", "qemu-system-arm")
    tool("make", "make")
    folder = tmp_path_factory.mktemp("images")
    for arguments in (
        ["all", "EXTRA=-fanalyzer"],
        ["BOARD=stm32f405", "SOURCE=pattern"],
        ["BOARD=stm32f405", "SOURCE=adc"],
    ):
        made = make(folder, *arguments)
        assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-4000:]
    return folder


@contextmanager
def board(image: Path) -> Iterator[str]:
    """An emulated board with that image in its flash; its port."""
    machine = BOARDS[image.stem.partition("-")[0]]
    command = ["qemu-system-arm", "-M", machine, "-display", "none", "-monitor", "none", "-nodefaults"]
    process = subprocess.Popen(
        [*command, "-serial", "pty", "-kernel", str(image)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        said = ""
        while (port := re.search(r"/dev/pts/\d+", said)) is None:
            line = process.stdout.readline()
            assert line, said
            said += line
        yield port[0]
    finally:
        process.kill()
        process.wait()


def test_the_images_weigh_what_the_page_says(build: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "firmware.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+-\w+)` \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    assert len(rows) == len(BOARDS)
    for image, flash, ram in rows:
        command = ["arm-none-eabi-size", str(build / f"{image}.elf")]
        weighed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1].split()
        text, data, bss = map(int, weighed[:3])
        # Another compiler weighs a little differently.
        assert int(flash) == pytest.approx(text + data, rel=0.05) and int(ram) == pytest.approx(data + bss, rel=0.02)


class Session:
    """A driver at a port, and every chunk that it gave."""

    def __init__(self, driver: FrontEnd, port: str) -> None:
        self.driver, self.port = driver, SerialPort(port, driver.info.baud)
        self.chunks: list[Chunk] = []

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end_s = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.port, selectors.EVENT_READ)
            while time.monotonic() < end_s and not until():
                selector.select(0.005)
                now_s = time.monotonic()
                self.chunks += self.driver.receive(self.port.read_available(), now_s)
                self.driver.tick(now_s)
                self.port.write_some(self.driver.to_send())

    def start(self, limit_s: float = 20.0) -> None:
        self.driver.start(time.monotonic())
        self.run(limit_s, until=lambda: self.driver.phase in (Phase.STREAMING, Phase.FAILED))

    def check(self, lsb: float) -> tuple[int, int]:
        """Every sample is the one that its number says; samples received and lost."""
        first = round(self.chunks[0].samples[0, 0] / lsb)
        for chunk in self.chunks:
            counts = np.rint(chunk.samples / lsb).astype(np.int64)
            numbers = first + chunk.first_sample + np.arange(len(counts))
            # float32 holds 24 bits: the largest counts come back within one.
            np.testing.assert_allclose(counts, pattern(numbers), atol=1)
            np.testing.assert_array_equal(counts[:, 0], numbers)
        return sum(len(chunk.samples) for chunk in self.chunks), self.driver.counters.lost_samples


@pytest.mark.parametrize("name", BOARDS)
def test_a_thousand_samples_a_second_of_eight_channels(name: str, build: Path) -> None:
    """A host that pauses overfills the ring: what is then missing is what the device says it left out."""
    with board(build / f"{name}-pattern.elf") as port:
        session = Session(MyosemWire(), port)
        session.start()
        assert session.driver.phase is Phase.STREAMING, session.driver.failure
        session.run(READ_S)
        before = session.driver.counters.lost_samples
        time.sleep(PAUSE_S)
        session.run(READ_S)
    counters = session.driver.counters
    received, lost = session.check(float(DEFAULT.uv_per_count[0]))
    elapsed_s = session.chunks[-1].arrival_s - session.chunks[0].arrival_s
    print(f"\n{name}: {counters.frames} frames, {received} samples, {lost} lost, {before} of them before the pause")
    assert (counters.rejected_bytes, counters.resyncs) == (0, 0)
    assert lost == counters.notes.get(LEFT_OUT, 0)
    assert abs(received + lost - 1000.0 * elapsed_s) < LATE_SAMPLES
    assert "stalls" not in counters.notes


def speak_cyton(port: str) -> None:
    """Tell a board to be a Cyton, as often as it takes to boot."""
    request = 0
    with SerialPort(port, 460800) as open_port:
        reader, end_s = wire.Deframer(), time.monotonic() + PORT_S
        while time.monotonic() < end_s:
            request += 1
            open_port.write_some(wire.frame(wire.set_mode(request, wire.Mode.CYTON)))
            again_s = time.monotonic() + 0.5
            while time.monotonic() < again_s:
                for body in reader.feed(open_port.read_available()):
                    if wire.parse(body) == wire.Acknowledge(request, wire.Order.SET_MODE):
                        return
                time.sleep(0.01)
    pytest.fail("the board does not answer")


@pytest.mark.parametrize("name", BOARDS)
def test_brainflow_reads_it_as_a_cyton(name: str, build: Path, brainflow: Any) -> None:
    with board(build / f"{name}-pattern.elf") as port:
        speak_cyton(port)
        microvolts, counters = read(brainflow, "cyton", port, 1000)
    counts = np.rint(microvolts / UV_PER_COUNT).astype(np.int64)
    np.testing.assert_array_equal(counts, pattern(counts[:, 0]))
    np.testing.assert_array_equal(counters, counts[:, 0] % 256)
    missing = int((np.diff(counts[:, 0]) - 1).sum())
    shown = int((np.diff(counters) % 256 - 1).sum())
    print(f"\n{name}, read by BrainFlow: {len(counts)} frames, {missing} lost")
    assert missing == shown


def test_our_own_cyton_driver_reads_it_too(build: Path) -> None:
    with board(build / "stm32f405-pattern.elf") as port:
        speak_cyton(port)
        session = Session(Cyton(), port)
        session.start()
        assert session.driver.phase is Phase.STREAMING, session.driver.failure
        session.run(READ_S)
    received, lost = session.check(UV_PER_COUNT)
    assert session.driver.counters.rejected_bytes == 0
    assert received + lost == pytest.approx(250 * READ_S, abs=LATE_SAMPLES / 4)


def test_a_board_without_its_converter_says_so(build: Path) -> None:
    with board(build / "stm32f405-ads129x.elf") as port:
        session = Session(MyosemWire(), port)
        session.start()
    assert session.driver.facts["hardware"] == "no ADS129x on STM32F405"
    assert "does not start" in (session.driver.failure or "")


def test_the_converter_of_the_microcontroller_is_read(build: Path) -> None:
    """QEMU's converter gives numbers of its own; that they are twelve bits and none is lost unseen is what counts."""
    with board(build / "stm32f405-adc.elf") as port:
        session = Session(MyosemWire(), port)
        session.start()
        assert session.driver.phase is Phase.STREAMING, session.driver.failure
        session.run(2.0)
    counts = np.concatenate([chunk.samples for chunk in session.chunks]) / (3.3e6 / 4096 / 1000)
    assert np.abs(counts - np.rint(counts)).max() < 1e-2 and counts.min() >= -2048 and counts.max() <= 2047
    counters = session.driver.counters
    assert counters.rejected_bytes == 0
    assert counters.lost_samples == counters.notes.get(LEFT_OUT, 0)
