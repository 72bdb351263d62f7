"""The emulated dongle and armband: the bytes of the real ones, their state, and damage on a dial."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from myosem_edge.cli.emulate import emulate
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.myo import ANSWER_S, MyoEmulator
from myosem_edge.firmware_bridge.emulators.sources import ArraySource

CONNECT = "00 0F 06 03 66 55 44 33 22 D1 00 06 00 06 00 40 00 00 00"
RAW_EMG, NEVER_SLEEP = "01 03 03 00 00", "09 01 01"
SWITCHES = (0x2C, 0x2F, 0x32, 0x35)
RAMP = np.arange(16_000, dtype=np.float32).reshape(-1, 8) % 256 - 128


class Host:
    """Writes commands and collects what comes back, a step of time for each."""

    def __init__(self, *, emg: np.ndarray = RAMP, rate_hz: float = 200.0, **options: object) -> None:
        self.emulator = MyoEmulator(ArraySource(emg, rate_hz), **options)  # type: ignore[arg-type]
        self.now_s = 50.0

    def send(self, command: str) -> str:
        """The bytes that come at once."""
        self.emulator.receive(bytes.fromhex(command), self.now_s)
        return self.emulator.to_send().hex(" ").upper()

    def wait(self, seconds: float = ANSWER_S) -> str:
        """The bytes that come within a while, as one tick delivers them."""
        self.now_s += seconds
        self.emulator.tick(self.now_s)
        return self.emulator.to_send().hex(" ").upper()

    def connect(self) -> None:
        assert self.send(CONNECT) == "00 03 06 03 00 00 00"
        assert self.wait() == "80 10 03 00 00 05 66 55 44 33 22 D1 00 06 00 40 00 00 00 FF"

    def write(self, handle: int, value: str) -> str:
        """Write an attribute and wait for what follows the dongle's own answer."""
        data = bytes.fromhex(value)
        head = bytes((0, 4 + len(data), 4, 5, 0, handle, 0, len(data)))
        assert self.send((head + data).hex()) == "00 03 04 05 00 00 00"
        return self.wait()

    def start_emg(self, switches: tuple[int, ...] = SWITCHES) -> None:
        self.connect()
        for handle in switches:
            self.write(handle, "01 00")
        self.write(0x19, NEVER_SLEEP)
        assert self.write(0x19, RAW_EMG) == "80 05 04 01 00 00 00 19 00"


def frames(text: str) -> list[bytes]:
    stream = bytes.fromhex(text)
    assert len(stream) % 25 == 0
    return [stream[i : i + 25] for i in range(0, len(stream), 25)]


def test_nothing_to_end_nothing_to_disconnect() -> None:
    host = Host()
    assert host.send("00 00 06 04") == "00 02 06 04 81 01"
    assert host.send("00 01 03 00 02") == "00 03 03 00 02 86 01"
    assert host.send("00 03 04 04 00 17 00") == "00 03 04 04 00 86 01"
    assert host.send("00 06 04 05 00 2C 00 02 01 00") == "00 03 04 05 00 86 01"
    assert host.wait(1.0) == ""


def test_scan_hears_a_myo_among_others_ten_times_a_second() -> None:
    host = Host()
    assert host.wait(1.0) == ""
    assert host.send("00 01 06 02 01") == "00 02 06 02 00 00"
    myo = "80 20 06 00 D3 00 66 55 44 33 22 D1 00 FF 15 02 01 06 11 06 42 48 12 4A 7F 2C 48 47 B9 DE 04 A9 01 00 06 D5"
    other = "80 19 06 00 B0 00 0A 0B 0C 0D 0E 4F 00 FF 0E 02 01 1A 0A FF 4C 00 10 05 01 18 1C 00 00"
    assert host.wait(0.0) == f"{other} {myo}"
    assert [host.wait(0.051).count(myo) for _ in range(6)] == [0, 1, 0, 1, 0, 1]
    assert host.send("00 00 06 04") == "00 02 06 04 00 00"
    assert host.wait(1.0) == ""


def test_connecting_while_scanning_is_refused() -> None:
    host = Host()
    host.send("00 01 06 02 01")
    assert host.send(CONNECT) == "00 03 06 03 81 01 00"
    host.send("00 00 06 04")
    host.connect()
    assert host.emulator.connected
    assert host.send(CONNECT) == "00 03 06 03 81 01 00"


def test_connecting_to_somebody_else_waits_until_it_is_ended() -> None:
    host = Host()
    assert host.send(CONNECT.replace("66", "67")) == "00 03 06 03 00 00 00"
    assert host.wait(100.0) == ""
    assert host.send("00 00 06 04") == "00 02 06 04 00 00"
    host.connect()


def test_attributes_are_the_armbands() -> None:
    host = Host(name="Left", firmware=(1, 2, 300, 4), battery_percent=55)
    host.connect()
    for handle, value in (("17", "08 01 00 02 00 2C 01 04 00"), ("03", "04 4C 65 66 74"), ("11", "01 37")):
        assert host.send(f"00 03 04 04 00 {handle} 00") == "00 03 04 04 00 00 00"
        length = 5 + len(bytes.fromhex(value)) - 1
        assert host.wait() == f"80 {length:02X} 04 05 00 {handle} 00 00 {value}"


def test_unknown_attribute_completes_with_an_error() -> None:
    host = Host()
    host.connect()
    assert host.send("00 03 04 04 00 7F 00") == "00 03 04 04 00 00 00"
    assert host.wait() == "80 05 04 01 00 01 04 7F 00"
    assert host.write(0x7F, "01 00") == "80 05 04 01 00 01 04 7F 00"


def test_second_command_before_the_first_completes_is_refused() -> None:
    host = Host()
    host.connect()
    host.send("00 06 04 05 00 2C 00 02 01 00")
    assert host.send("00 06 04 05 00 2F 00 02 01 00") == "00 03 04 05 00 81 01"
    assert host.wait() == "80 05 04 01 00 00 00 2C 00"
    assert host.send("00 06 04 05 00 2F 00 02 01 00") == "00 03 04 05 00 00 00"


def test_commands_may_arrive_in_pieces_after_noise() -> None:
    host = Host()
    assert host.send("FF 13 00") == ""
    assert host.send("00 06") == ""
    assert host.send("04 00 01 03") == "00 02 06 04 81 01"
    assert host.send("00 00") == "00 03 03 00 00 86 01"


def test_first_notifications_are_these_bytes() -> None:
    host = Host()
    host.start_emg()
    assert host.wait(0.009) == ""  # one sample is due, and a notification takes two
    assert host.wait(0.001) == ("80 15 04 05 00 2B 00 01 10 80 81 82 83 84 85 86 87 88 89 8A 8B 8C 8D 8E 8F")
    assert host.wait(0.03).count("80 15 04 05 00") == 3


@settings(max_examples=30, deadline=None)
@given(steps_ms=st.lists(st.integers(0, 700), min_size=1, max_size=40))
def test_as_many_samples_as_are_due_in_order_however_it_is_ticked(steps_ms: list[int]) -> None:
    host = Host()
    host.start_emg()
    received = [frame for step_ms in steps_ms for frame in frames(host.wait(step_ms / 1000))]
    assert len(received) == int(sum(steps_ms) / 1000 * 200 + 1e-6) // 2
    assert [frame[5] for frame in received] == [(0x2B, 0x2E, 0x31, 0x34)[i % 4] for i in range(len(received))]
    values = np.frombuffer(b"".join(frame[9:] for frame in received), np.int8).reshape(-1, 8)
    np.testing.assert_array_equal(values, RAMP[np.arange(len(values)) % len(RAMP)])
    assert host.emulator.samples_sent == len(values)


def test_samples_are_rounded_and_clipped_to_a_signed_byte() -> None:
    emg = np.array([[-1000, -128.4, -0.6, 0, 0.4, 126.6, 128, 1e6]] * 2, np.float32)
    host = Host(emg=emg)
    host.start_emg()
    (frame,) = frames(host.wait(0.01))
    assert np.frombuffer(frame[9:17], np.int8).tolist() == [-128, -128, -1, 0, 0, 127, 127, 127]


def test_source_sets_the_rate_and_has_eight_channels() -> None:
    host = Host(rate_hz=1000.0)
    host.start_emg()
    assert len(frames(host.wait(1.0))) == 500
    with pytest.raises(ValueError, match="8 channels"):
        MyoEmulator(ArraySource(np.zeros((4, 16)), 200.0))


def test_only_characteristics_that_were_asked_for_notify() -> None:
    host = Host()
    host.start_emg(switches=(0x2C, 0x32))
    assert {frame[5] for frame in frames(host.wait(1.0))} == {0x2B, 0x31}
    host.write(0x2C, "00 00")
    assert {frame[5] for frame in frames(host.wait(1.0))} == {0x31}


def test_mode_off_ends_the_stream_and_disconnecting_forgets_everything() -> None:
    host = Host()
    host.start_emg()
    assert host.emulator.streaming
    host.write(0x19, "01 03 00 00 00")
    assert not host.emulator.streaming
    assert host.wait(1.0) == ""
    assert host.send("00 01 03 00 00") == "00 03 03 00 00 00 00 80 03 03 04 00 16 02"
    host.connect()
    host.write(0x19, RAW_EMG)
    assert host.wait(1.0) == "", "a new connection starts with every notification switched off"


def test_imu_and_arm_events_come_only_if_asked_for() -> None:
    host = Host()
    host.start_emg()
    assert " 1C 00 01 14 " not in host.wait(1.0)
    host.write(0x1D, "01 00")
    host.write(0x24, "02 00")
    assert host.write(0x19, "01 03 00 01 01").endswith("80 0B 04 05 00 23 00 02 06 01 01 01 00 00 00")
    imu = "80 19 04 05 00 1C 00 01 14 00 40 00 00 00 00 00 00 00 00 00 00 00 08 00 00 00 00 00 00"
    assert host.wait(1.0) == " ".join([imu] * 50)


def test_battery_level_is_reported_when_asked_for() -> None:
    host = Host()
    host.connect()
    host.emulator.set_battery(40, host.now_s)
    assert host.wait() == ""
    host.write(0x12, "01 10")
    host.emulator.set_battery(39, host.now_s)
    assert host.wait() == "80 06 04 05 00 11 00 01 01 27"


def test_armband_that_was_not_told_to_stay_awake_leaves() -> None:
    host = Host(sleep_after_s=30.0)
    host.connect()
    assert host.wait(29.0) == ""
    assert host.wait(1.0) == "80 03 03 04 00 13 02"
    assert not host.emulator.connected
    host.send("00 01 06 02 01")
    assert "D5" not in host.wait(0.2)
    host.emulator.wake()
    assert host.wait(0.2).endswith("D5")


def test_armband_that_was_told_to_stay_awake_stays_until_told_otherwise() -> None:
    host = Host(sleep_after_s=30.0)
    host.connect()
    host.write(0x19, NEVER_SLEEP)
    assert host.wait(1000.0) == ""
    host.write(0x19, "09 01 00")
    assert not host.emulator.connected


def test_orders_to_vibrate_are_counted_and_deep_sleep_obeyed() -> None:
    host = Host()
    host.connect()
    assert host.write(0x19, "03 01 01") == "80 05 04 01 00 00 00 19 00"
    assert host.emulator.vibrations == 1
    assert host.send("00 06 04 05 00 19 00 02 04 00") == "00 03 04 05 00 00 00 80 03 03 04 00 13 02"
    assert not host.emulator.awake


def test_lost_link_is_told_once() -> None:
    host = Host()
    host.start_emg()
    host.emulator.lose_link()
    assert host.wait(1.0) == "80 03 03 04 00 08 02"
    host.emulator.lose_link()
    assert host.wait(1.0) == ""


def test_silent_sends_nothing_and_flat_sends_zeros() -> None:
    host = Host(faults=Faults(flat=True))
    host.start_emg()
    assert {frame[9:] for frame in frames(host.wait(1.0))} == {bytes(16)}
    host.emulator.faults = replace(host.emulator.faults, silent=True)
    assert host.wait(1.0) == ""
    host.emulator.faults = Faults()
    assert len(frames(host.wait(1.0))) == 100


def test_bursts_hold_samples_back_and_lose_none() -> None:
    host = Host(faults=Faults(burst_ms=200))
    host.start_emg()
    arrivals = [len(frames(host.wait(0.01))) for _ in range(400)]
    assert sum(arrivals) >= 400 - 20
    assert sum(count > 0 for count in arrivals) in (20, 21)


@pytest.mark.parametrize(
    ("faults", "low", "high"),
    [
        (Faults(drop_probability=0.1), -0.12 * 25_000, -0.08 * 25_000),
        (Faults(garbage_probability=0.1), 0.08 * 8_500, 0.12 * 8_500),
        (Faults(corrupt_probability=0.5), 0, 0),
    ],
)
def test_faults_do_the_damage_on_the_dial_and_the_same_again(faults: Faults, low: float, high: float) -> None:
    def stream(seed: int) -> str:
        host = Host(faults=replace(faults, seed=seed))
        host.start_emg()
        return host.wait(10.0)

    damaged = stream(1)
    assert damaged == stream(1)
    assert damaged != stream(2)
    assert low <= len(bytes.fromhex(damaged)) - 25_000 <= high


@pytest.mark.parametrize("faults", [Faults(corrupt_probability=1.0)])
def test_corruption_changes_exactly_one_byte(faults: Faults) -> None:
    host, sound = Host(faults=faults), Host()
    host.start_emg()
    sound.start_emg()
    for damaged, good in zip(frames(host.wait(1.0)), frames(sound.wait(1.0)), strict=True):
        assert sum(a != b for a, b in zip(damaged, good, strict=True)) == 1


def test_command_line_explains_a_recording_it_cannot_play(tmp_path: object) -> None:
    result = CliRunner().invoke(emulate, ["myo", "--recording", f"{tmp_path}/absent.npz"])
    assert isinstance(result.exception, InputError)
    assert "absent.npz" in str(result.exception)
    assert CliRunner().invoke(emulate, ["myo"]).exit_code == 2
