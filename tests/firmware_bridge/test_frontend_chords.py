"""The Chords driver: a frame's bytes, what a board is asked and told, and which board it must be."""

from __future__ import annotations

import numpy as np
import pytest

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.chords import ChordsEmulator
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.base import Phase
from myosem_edge.firmware_bridge.frontends.chords import BOARDS, Chords
from tests.firmware_bridge.test_frontend_spec import Bench, FrontEndSpec, by_index

# Counter 7, six channels of ten bits.
VECTOR = bytes.fromhex("C7 7C 07 0000 0200 03FF 0064 00C8 012C 01")
VECTOR_COUNTS = [-512, 0, 511, -412, -312, -212]
FOLLOWING = VECTOR[:2] + b"\x08" + VECTOR[3:]


class TestChords(FrontEndSpec):
    frame_samples = 1
    visible_loss_frames = 30
    settle_frames = 1

    def make(self) -> Chords:
        return Chords()

    def make_emulator(self, source: ArraySource) -> ChordsEmulator:
        return ChordsEmulator(source, driver=self.make())

    def split(self, stream: bytes) -> list[bytes]:
        length = 4 + 2 * self.make().info.channels
        return [stream[i : i + length] for i in range(0, len(stream), length)]


class TestChordsInMicrovolts(TestChords):
    """Sixteen channels of twelve bits; two bytes of sync may then stand in data."""

    lsb = 3.3e6 / 4096 / 1000

    def make(self) -> Chords:
        return Chords(board="STM32G4-CORE-BOARD", vref_v=3.3, gain=1000)


class TestChordsOfSixteenBits(TestChords):
    """Every value is possible: C7 7C occurs as one."""

    def make(self) -> Chords:
        return Chords(board="GIGA-R1")


def bench(driver: Chords, *, board: Chords | None = None, faults: Faults | None = None) -> Bench:
    device = board or driver
    emg = np.random.default_rng(1).integers(-400, 400, (20_000, device.info.channels)).astype(np.float32)
    return Bench(driver, ChordsEmulator(ArraySource(emg, device.info.rate_hz), driver=device, faults=faults))


def streaming(driver: Chords) -> Chords:
    driver.start(0.0)
    driver.tick(2.0)  # STOP has no answer
    driver.receive(b"UNO-R3\r\n", 3.0)
    return driver


def test_a_frame_is_read_as_counts_around_the_middle() -> None:
    (chunk,) = streaming(Chords()).receive(VECTOR + FOLLOWING, 4.0)
    assert chunk.samples.tolist() == [VECTOR_COUNTS, VECTOR_COUNTS]


def test_microvolts_need_reference_and_gain() -> None:
    driver = streaming(Chords(vref_v=5.0, gain=1000.0))
    assert driver.info.unit == "uV"
    assert driver.info.full_scale == pytest.approx(2500.0)
    (chunk,) = driver.receive(VECTOR + FOLLOWING, 4.0)
    np.testing.assert_allclose(chunk.samples[0], np.array(VECTOR_COUNTS) * 5e6 / 1024 / 1000, rtol=1e-6)


def test_a_board_is_stopped_asked_and_started_and_nothing_else_is_said_to_it() -> None:
    table = bench(Chords())
    table.start()
    assert table.run(10.0)
    assert table.sent == [b"STOP\n", b"WHORU\n", b"START\n"]
    assert table.driver.facts == {"board": "UNO-R3"}


def test_a_value_of_more_bits_than_the_board_has_is_no_frame() -> None:
    driver = streaming(Chords())
    damaged = VECTOR[:3] + b"\x04" + VECTOR[4:]
    after = [VECTOR[:2] + bytes((counter,)) + VECTOR[3:] for counter in range(8, 12)]
    before = VECTOR[:2] + b"\x06" + VECTOR[3:]
    chunks = driver.receive(before + damaged + b"".join(after), 4.0)
    assert [chunk.lost for chunk in chunks] == [0, 1]
    assert sum(len(chunk.samples) for chunk in chunks) == 5


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_every_board_is_played_as_its_maker_built_it(name: str) -> None:
    driver = Chords(board=name)
    assert (driver.info.channels, driver.info.rate_hz) == (BOARDS[name].channels, BOARDS[name].rate_hz)
    table = bench(driver)
    table.start()
    chunks = table.run(2.0)
    assert driver.facts["board"] == name
    assert sum(len(chunk.samples) for chunk in chunks) == pytest.approx(2 * driver.info.rate_hz, abs=2)


def test_another_board_than_was_told_is_named() -> None:
    table = bench(Chords(), board=Chords(board="NANO-CLONE"))
    table.driver.start(0.0)
    table.run(20.0, until=Phase.FAILED)
    assert table.driver.failure == "the board calls itself NANO-CLONE: use --front-end chords:board=NANO-CLONE"


def test_a_board_of_the_same_kind_will_do() -> None:
    table = bench(Chords(), board=Chords(board="UNO-CLONE"))
    table.start()
    assert table.driver.facts["board"] == "UNO-CLONE"


def test_firmware_built_otherwise_is_told() -> None:
    built = Chords(channels=3, rate_hz=500.0)
    table = bench(built)
    table.start()
    assert table.run(1.0)[0].samples.shape[1] == 3
    table = bench(Chords(), board=built)
    table.driver.start(0.0)
    table.run(60.0, until=Phase.FAILED)
    assert "sends no frames of 6 channels" in (table.driver.failure or "")


def test_a_board_that_nobody_knows_has_to_be_described() -> None:
    new = Chords(board="UNO-R9", channels=4, rate_hz=500.0, bits=12)
    table = bench(new)
    table.start()
    assert table.driver.facts["board"] == "UNO-R9"
    table = bench(Chords(channels=4), board=new)
    table.driver.start(0.0)
    table.run(20.0, until=Phase.FAILED)
    assert "UNO-R9, which is not known here" in (table.driver.failure or "")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"board": "UNO-R9"}, "board has a wrong value"),
        ({"channels": 0}, "channels has a wrong value"),
        ({"channels": 17}, "channels has a wrong value"),
        ({"rate_hz": 0.5}, "rate_hz has a wrong value"),
        ({"bits": 24}, "bits has a wrong value"),
        ({"gain": 1000.0}, "vref_v has a wrong value.*together"),
        ({"vref_v": 5.0}, "gain has a wrong value.*together"),
        ({"vref_v": 5.0, "gain": 0.0}, "gain has a wrong value"),
        ({"vref_v": 5000.0, "gain": 1.0}, "vref_v has a wrong value"),
    ],
)
def test_what_no_board_can_be_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Chords(**options)  # type: ignore[arg-type]


def test_a_board_that_still_streams_is_stopped_first() -> None:
    table = bench(Chords())
    table.start()
    table.run(1.0)
    table.driver = Chords()
    table.start()
    assert table.run(1.0)
    assert table.driver.counters.lost_samples == 0
    assert table.driver.counters.rejected_bytes == 0


def test_a_board_that_was_reset_is_started_again() -> None:
    """It forgets that it streamed; an Arduino also misses what is said in the two seconds after."""
    table = bench(Chords())
    table.start()
    before = table.run(1.0)
    table.run(0.5, mangle=lambda data: b"")
    table.emulator = ChordsEmulator(ArraySource(np.ones((5, 6)), 250.0))
    after = table.run(9.0)
    assert table.driver.counters.notes["stalls"] == 1
    elapsed = (after[0].arrival_s - before[-1].arrival_s) * 250.0
    assert after[0].first_sample - before[-1].first_sample == pytest.approx(elapsed, abs=8)


@pytest.mark.parametrize("fault", ["drop_probability", "cut_probability", "duplicate_probability", "text_probability"])
def test_what_happens_on_the_wire_is_counted_and_nothing_else_is_lost(fault: str) -> None:
    table = bench(Chords(), faults=Faults(**{fault: 0.02}))
    table.start()
    chunks = table.run(20.0)
    by_index(chunks)
    counters = table.driver.counters
    assert sum(len(chunk.samples) for chunk in chunks) + counters.lost_samples == pytest.approx(5000, abs=8)
    expected = 0.02 if fault in ("drop_probability", "cut_probability") else 0.0
    assert counters.lost_samples / 5000 == pytest.approx(expected, abs=0.01)
