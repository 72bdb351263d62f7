"""The Myo driver: the exact bytes it sends, and what it makes of everything that can go wrong on the way."""

from __future__ import annotations

import numpy as np
import pytest

from myosem_edge.clock import VirtualClock
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.myo import MyoEmulator
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.base import Chunk, Phase
from myosem_edge.firmware_bridge.frontends.myo import Myo
from tests.firmware_bridge.test_frontend_spec import Bench, FrontEndSpec

ADDRESS = "66 55 44 33 22 D1"  # D1:22:33:44:55:66 as it goes over the wire
WRITTEN = {  # handle -> the completion event that a dongle sends
    handle: f"80 05 04 01 00 00 00 {handle:02X} 00" for handle in (0x12, 0x2C, 0x2F, 0x32, 0x35, 0x19)
}
WRITE_ACCEPTED, READ_ACCEPTED = "00 03 04 05 00 00 00", "00 03 04 04 00 00 00"
SCAN_RESPONSE = f"80 20 06 00 D3 00 {ADDRESS} 00 FF 15 02 01 06 11 06 42 48 12 4A 7F 2C 48 47 B9 DE 04 A9 01 00 06 D5"
STATUS = f"80 10 03 00 00 05 {ADDRESS} 00 06 00 40 00 00 00 FF"

# What the driver sends, and what the dongle answers to it: the whole start, byte by byte.
START = [
    ("00 00 06 04", ["00 02 06 04 81 01"]),  # nothing to end
    ("00 01 03 00 00", ["00 03 03 00 00 86 01"]),  # not connected
    ("00 01 03 00 01", ["00 03 03 00 01 86 01"]),
    ("00 01 03 00 02", ["00 03 03 00 02 86 01"]),
    ("00 01 06 02 01", ["00 02 06 02 00 00", SCAN_RESPONSE]),
    ("00 00 06 04", ["00 02 06 04 00 00"]),
    (f"00 0F 06 03 {ADDRESS} 00 06 00 06 00 40 00 00 00", ["00 03 06 03 00 00 00", STATUS]),
    ("00 03 04 04 00 17 00", [READ_ACCEPTED, "80 0D 04 05 00 17 00 00 08 01 00 05 00 B2 07 02 00"]),
    ("00 03 04 04 00 03 00", [READ_ACCEPTED, "80 08 04 05 00 03 00 00 03 4D 79 6F"]),
    ("00 03 04 04 00 11 00", [READ_ACCEPTED, "80 06 04 05 00 11 00 00 01 57"]),
    ("00 06 04 05 00 12 00 02 01 00", [WRITE_ACCEPTED, WRITTEN[0x12]]),
    ("00 06 04 05 00 2C 00 02 01 00", [WRITE_ACCEPTED, WRITTEN[0x2C]]),
    ("00 06 04 05 00 2F 00 02 01 00", [WRITE_ACCEPTED, WRITTEN[0x2F]]),
    ("00 06 04 05 00 32 00 02 01 00", [WRITE_ACCEPTED, WRITTEN[0x32]]),
    ("00 06 04 05 00 35 00 02 01 00", [WRITE_ACCEPTED, WRITTEN[0x35]]),
    ("00 07 04 05 00 19 00 03 09 01 01", [WRITE_ACCEPTED, WRITTEN[0x19]]),  # never sleep
    ("00 07 04 05 00 19 00 03 03 01 01", [WRITE_ACCEPTED, WRITTEN[0x19]]),  # vibrate, short
    ("00 09 04 05 00 19 00 05 01 03 03 00 00", [WRITE_ACCEPTED, WRITTEN[0x19]]),  # raw EMG
]
EMG_TURNS = (0x2B, 0x2E, 0x31, 0x34)


def notification(turn: int, values: bytes = bytes(16)) -> bytes:
    return bytes.fromhex(f"80 15 04 05 00 {EMG_TURNS[turn % 4]:02X} 00 01 10") + values


def play_start(driver: Myo, script: list[tuple[str, list[str]]], now_s: float = 0.0) -> None:
    """Answer every command of the script, and insist that nothing is sent before the answer is complete."""
    driver.start(now_s)
    for command, answers in script:
        assert driver.to_send().hex(" ").upper() == command
        for answer in answers:
            assert driver.to_send() == b"", f"something was sent before {answer}"
            driver.receive(bytes.fromhex(answer), now_s)


@pytest.fixture
def streaming() -> Myo:
    driver = Myo()
    play_start(driver, START)
    return driver


class TestMyo(FrontEndSpec):
    frame_samples = 2
    visible_loss_frames = 3

    def make(self) -> Myo:
        return Myo()

    def make_emulator(self, source: ArraySource) -> MyoEmulator:
        return MyoEmulator(source)

    def split(self, stream: bytes) -> list[bytes]:
        assert len(stream) % 25 == 0
        return [stream[i : i + 25] for i in range(0, len(stream), 25)]


def bench(*, faults: Faults | None = None, driver: Myo | None = None, **options: object) -> Bench:
    emg = np.random.default_rng(3).integers(-128, 127, (20_000, 8)).astype(np.float32)
    return Bench(driver or Myo(), MyoEmulator(ArraySource(emg, 200.0), faults=faults, **options))  # type: ignore[arg-type]


def test_start_is_this_byte_for_byte(streaming: Myo) -> None:
    assert streaming.phase is Phase.STREAMING
    assert streaming.to_send() == b""
    assert streaming.facts == {
        "address": "D1:22:33:44:55:66",
        "firmware": "1.5.1970.2",
        "name": "Myo",
        "battery": "87 %",
    }


def test_filtered_mode_is_another_byte_and_another_description() -> None:
    driver = Myo(mode="filtered")
    play_start(driver, [*START[:-1], ("00 09 04 05 00 19 00 05 01 03 02 00 00", [WRITE_ACCEPTED, WRITTEN[0x19]])])
    assert driver.phase is Phase.STREAMING
    assert driver.info.prefiltered != Myo.info.prefiltered


def test_stop_is_this_byte_for_byte(streaming: Myo) -> None:
    streaming.stop(0.0)
    assert streaming.to_send() == bytes.fromhex("00 01 03 00 00")
    scanning = Myo()
    scanning.start(0.0)
    scanning.to_send()
    scanning.stop(0.0)
    assert scanning.to_send() == bytes.fromhex("00 00 06 04")
    scanning.stop(0.0)
    assert scanning.to_send() == b""


def test_notification_is_two_samples_of_signed_bytes(streaming: Myo) -> None:
    values = bytes.fromhex("00 01 7F 80 FF 02 FE 64 0A F6 14 EC 1E E2 28 D8")
    (chunk,) = streaming.receive(notification(0, values), 5.0)
    np.testing.assert_array_equal(
        chunk.samples, [[0, 1, 127, -128, -1, 2, -2, 100], [10, -10, 20, -20, 30, -30, 40, -40]]
    )


def test_stream_may_begin_anywhere_in_the_cycle(streaming: Myo) -> None:
    (chunk,) = streaming.receive(notification(2) + notification(3) + notification(0), 5.0)
    assert (chunk.first_sample, chunk.lost, len(chunk.samples)) == (0, 0, 6)


def test_emg_of_other_connections_lengths_and_kinds_is_no_emg(streaming: Myo) -> None:
    good = notification(0)
    other_connection = good[:4] + b"\x01" + good[5:]
    a_read_value = good[:7] + b"\x00" + good[8:]
    short = bytes.fromhex("80 0D 04 05 00 2B 00 01 08") + bytes(8)
    assert streaming.receive(other_connection + a_read_value + short, 5.0) == []
    assert streaming.counters.samples == 0
    assert streaming.counters.rejected_bytes == 0


def test_battery_reports_are_kept_and_cost_no_sample(streaming: Myo) -> None:
    report = bytes.fromhex("80 06 04 05 00 11 00 01 01 2A")
    (chunk,) = streaming.receive(notification(0) + report + notification(1), 5.0)
    assert (len(chunk.samples), chunk.lost) == (4, 0)
    assert streaming.facts["battery"] == "42 %"


def test_a_lost_byte_lets_one_damaged_notification_through_but_never_two(streaming: Myo) -> None:
    values = [bytes([n]) * 16 for n in range(1, 5)]
    frames = [notification(n, values[n]) for n in range(4)]
    chunks = streaming.receive(frames[0] + frames[1][:-1] + frames[2] + frames[3], 5.0)
    rows = np.concatenate([chunk.samples for chunk in chunks])
    assert rows[:, 0].tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert rows[3].tolist() == [2] * 7 + [-128]  # the head of the next message in the place of the lost byte
    assert streaming.counters.lost_samples == 0
    assert streaming.counters.resyncs == 1


def test_whole_start_survives_garbage_before_every_answer() -> None:
    driver = Myo()
    driver.start(0.0)
    for _, answers in START:
        for answer in answers:
            driver.receive(b"\x31\x41\x59" + bytes.fromhex(answer), 0.0)
    assert driver.phase is Phase.STREAMING
    assert driver.counters.rejected_bytes == 3 * sum(len(answers) for _, answers in START)


@pytest.mark.parametrize("step", range(len(START)))
def test_every_unanswered_step_is_repeated_then_explained(step: int) -> None:
    driver = Myo()
    play_start(driver, START[:step])
    clock = VirtualClock(0.0)
    sent = []
    while driver.phase is Phase.CONNECTING:
        sent.append(driver.to_send())
        driver.tick(clock.advance(0.02))
    command = bytes.fromhex(START[step][0])
    repeats = sum(data.endswith(command) for data in sent)
    scanning = step == 4
    assert repeats == (1 if scanning else 3)
    assert driver.phase is Phase.FAILED
    assert driver.failure is not None
    assert ("silent" in driver.failure) == (step == 0)
    assert ("no Myo heard in 10 s: is it awake and near?" in driver.failure) == scanning
    assert clock.now_s() == pytest.approx(10.0 if scanning else 9.0 if step == 6 else 3.0, abs=0.1)


@pytest.mark.parametrize("step", range(6, len(START)))
def test_every_refused_step_is_repeated_then_explained(step: int) -> None:
    driver = Myo()
    play_start(driver, START[:step])
    response = START[step][1][0]
    at = 4 if step == 6 else 5
    raw = bytearray.fromhex(response)
    raw[at : at + 2] = b"\x81\x01"
    clock = VirtualClock(0.0)
    refused = 0
    while driver.phase is Phase.CONNECTING and clock.now_s() < 5:
        if bytes.fromhex(START[step][0]) in driver.to_send():
            refused += 1
            driver.receive(bytes(raw), clock.now_s())
        driver.tick(clock.advance(0.02))
    assert refused == 3
    assert driver.phase is Phase.FAILED
    assert clock.now_s() < 1.0  # it was told no, there is nothing to wait for


def test_write_that_completes_with_an_error_is_repeated() -> None:
    driver = Myo()
    play_start(driver, START[:11])
    driver.to_send()
    for answer in (WRITE_ACCEPTED, "80 05 04 01 00 01 04 2C 00"):
        driver.receive(bytes.fromhex(answer), 0.0)
    assert driver.to_send() == b""
    driver.tick(0.3)
    assert driver.to_send().hex(" ").upper() == START[11][0]
    for _, answers in START[11:]:
        for answer in answers:
            driver.receive(bytes.fromhex(answer), 0.3)
    assert driver.phase is Phase.STREAMING
    assert driver.counters.notes == {"retries": 1}


def test_completion_of_another_attribute_completes_nothing() -> None:
    driver = Myo()
    play_start(driver, START[:11])
    driver.to_send()
    driver.receive(bytes.fromhex(WRITE_ACCEPTED + WRITTEN[0x12]), 0.0)
    assert driver.to_send() == b""
    driver.receive(bytes.fromhex(WRITTEN[0x2C]), 0.0)
    assert driver.to_send().hex(" ").upper() == START[12][0]


def test_what_concerns_something_else_completes_nothing() -> None:
    battery_report = "80 06 04 05 00 11 00 01 01 2A"
    for step, other in [
        (1, "80 03 03 04 02 16 02"),  # another connection ended
        (6, f"80 10 03 00 00 00 {ADDRESS} 00 06 00 40 00 00 00 FF"),  # the status is: not connected
        (6, f"80 10 03 00 01 05 {ADDRESS} 00 06 00 40 00 00 00 FF"),  # another connection
        (7, battery_report),
        (11, "80 05 04 01 00 01 04 12 00"),  # an old write failed
        (11, "80 05 04 01 01 00 00 2C 00"),  # a write over another connection
    ]:
        driver = Myo()
        play_start(driver, START[:step])
        driver.to_send()
        accepted = "00 03 03 00 00 00 00" if step == 1 else START[step][1][0]
        driver.receive(bytes.fromhex(accepted + other), 0.0)
        driver.tick(0.3)
        assert driver.to_send() == b"", other
        ended = "80 03 03 04 00 16 02" if step == 1 else START[step][1][1]
        driver.receive(bytes.fromhex(ended), 0.0)
        assert driver.to_send().hex(" ").upper() == START[step + 1][0], other


def test_second_attempt_to_connect_ends_the_first() -> None:
    driver = Myo()
    play_start(driver, START[:6])
    driver.to_send()
    driver.receive(bytes.fromhex(START[6][1][0]), 0.0)
    driver.tick(3.0)
    assert driver.to_send().hex(" ").upper() == f"00 00 06 04 {START[6][0]}"


def test_half_an_answer_does_not_spoil_the_next_attempt() -> None:
    driver = Myo()
    driver.start(0.0)
    driver.receive(bytes.fromhex("80 10 03 00 00"), 0.0)  # eleven bytes of it never come
    driver.tick(1.1)
    driver.receive(bytes.fromhex(START[0][1][0]), 1.1)
    assert driver.to_send().endswith(bytes.fromhex(START[1][0]))


def test_old_connection_is_closed_before_anything_else() -> None:
    table = bench()
    table.start()
    table.run(0.5)
    table.driver = Myo()  # the program was killed and starts again: the dongle still streams
    table.start()
    assert table.run(1.0)
    assert table.driver.counters.notes == {}


def test_old_connection_that_does_not_confirm_its_end_is_not_waited_for_long() -> None:
    driver = Myo()
    play_start(driver, START[:1])
    driver.to_send()
    driver.receive(bytes.fromhex("00 03 03 00 00 00 00"), 0.0)
    driver.tick(0.9)
    assert driver.to_send() == b""
    driver.tick(1.0)
    assert driver.to_send() == bytes.fromhex(START[2][0])


def test_other_devices_in_the_air_are_not_taken() -> None:
    driver = Myo()
    play_start(driver, START[:4])
    driver.to_send()
    telephone = "80 19 06 00 B0 00 0A 0B 0C 0D 0E 4F 00 FF 0E 02 01 1A 0A FF 4C 00 10 05 01 18 1C 00 00"
    name_only = "80 10 06 00 B0 00 0A 0B 0C 0D 0E 4F 00 FF 05 04 09 4D 79 6F"
    broken = "80 0D 06 00 B0 00 0A 0B 0C 0D 0E 4F 00 FF 02 30 06"
    for advertisement in ("00 02 06 02 00 00", telephone, name_only, broken):
        driver.receive(bytes.fromhex(advertisement), 0.0)
    assert driver.to_send() == b""
    driver.receive(bytes.fromhex(SCAN_RESPONSE.replace("11 06 42", "11 07 42")), 0.0)  # a complete list of services
    assert driver.to_send() == bytes.fromhex("00 00 06 04")


def test_the_emulated_armband_of_a_driver_is_the_one_it_wants() -> None:
    driver = Myo(address="D2:00:00:00:00:01")
    table = Bench(driver, MyoEmulator(ArraySource(np.zeros((1, 8)), 200.0), driver=driver))
    table.start()
    assert driver.facts["address"] == "D2:00:00:00:00:01"


def test_chosen_armband_is_waited_for() -> None:
    near = bench(driver=Myo(address="d1:22:33:44:55:66"))
    near.start()
    assert near.driver.facts["address"] == "D1:22:33:44:55:66"
    absent = bench(driver=Myo(address="D1:00:00:00:00:01"))
    absent.driver.start(absent.clock.now_s())
    absent.run(20.0, until=Phase.FAILED)
    assert absent.driver.failure == (
        "the Myo D1:00:00:00:00:01 was not heard in 10 s (others heard: D1:22:33:44:55:66): is it awake and near?"
    )


def test_address_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="not a Bluetooth address"):
        Myo(address="D1:22")


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(InputError, match="no such Myo mode"):
        Myo(mode="hidden")  # type: ignore[arg-type]


def test_sleeping_armband_is_not_heard_until_it_wakes() -> None:
    table = bench()
    assert isinstance(table.emulator, MyoEmulator)
    table.emulator.awake = False
    table.driver.start(table.clock.now_s())
    table.run(20.0, until=Phase.FAILED)
    assert table.driver.failure == "no Myo heard in 10 s: is it awake and near?"
    table.emulator.wake()
    table.start()


def test_lost_link_is_made_again_and_the_gap_is_counted() -> None:
    table = bench()
    table.start()
    before = table.run(2.0)
    assert isinstance(table.emulator, MyoEmulator)
    table.emulator.lose_link()
    table.step()
    assert table.driver.phase is Phase.CONNECTING
    after = table.run(3.0)
    assert table.driver.phase is Phase.STREAMING
    assert table.driver.counters.notes == {"reconnects": 1, "disconnections": 1}
    assert after[0].lost > 0
    assert all(chunk.lost == 0 for chunk in after[1:])
    gap_s = after[0].arrival_s - before[-1].arrival_s
    numbered = after[0].first_sample - before[-1].first_sample
    assert numbered == pytest.approx(gap_s * 200, abs=4)
    assert table.driver.counters.lost_samples == after[0].lost


def test_gap_of_a_reconnection_is_counted_by_the_clock_alone(streaming: Myo) -> None:
    for gap_s, lost in ((0.0, 2), (1.0, 198)):
        streaming.receive(notification(0), 10.0)
        streaming.receive(bytes.fromhex("80 03 03 04 00 08 02"), 10.0)
        streaming.to_send()
        for _, answers in START:
            for answer in answers:
                streaming.receive(bytes.fromhex(answer), 10.0)
        (chunk,) = streaming.receive(notification(3), 10.0 + gap_s)  # a new connection may begin anywhere in the cycle
        assert chunk.lost == lost


def test_link_may_be_lost_any_number_of_times() -> None:
    table = bench()
    table.start()
    assert isinstance(table.emulator, MyoEmulator)
    for _ in range(5):
        table.run(0.1)
        table.emulator.lose_link()
        table.step()
        table.run(5.0, until=Phase.STREAMING)
    assert table.driver.phase is Phase.STREAMING
    assert table.driver.counters.notes["reconnects"] == 5


def test_same_armband_is_taken_after_a_lost_link() -> None:
    table = bench()
    table.start()
    table.emulator = MyoEmulator(ArraySource(np.zeros((10, 8)), 200.0), address="D1:00:00:00:00:01")
    table.run(20.0, until=Phase.FAILED)
    assert table.driver.failure is not None
    assert "others heard: D1:00:00:00:00:01" in table.driver.failure


def test_stream_that_dries_up_is_made_again() -> None:
    table = bench()
    table.start()
    table.run(0.5)
    table.run(2.1, mangle=lambda data: b"")
    assert table.driver.counters.notes["stalls"] == 1
    chunks = table.run(4.0)
    assert table.driver.phase is Phase.STREAMING
    assert chunks[0].lost > 400


def test_unplugged_dongle_is_noticed_while_streaming() -> None:
    table = bench()
    table.start()
    table.run(0.5)
    table.run(20.0, mangle=lambda data: b"", until=Phase.FAILED)
    assert table.driver.failure is not None
    assert "silent" in table.driver.failure


def test_dongle_that_restarts_is_started_again(streaming: Myo) -> None:
    streaming.receive(bytes.fromhex("80 0C 00 00 01 00 03 00 02 00 7B 00 03 00 01 01"), 1.0)
    assert streaming.phase is Phase.CONNECTING
    assert streaming.to_send() == bytes.fromhex(START[0][0])


def test_armband_that_leaves_during_every_start_is_given_up() -> None:
    driver = Myo()
    play_start(driver, START[:7])
    for _ in range(3):
        assert driver.phase is Phase.CONNECTING
        driver.to_send()
        driver.receive(bytes.fromhex("80 03 03 04 00 3E 02"), 0.0)
        for _, answers in START[:7]:
            for answer in answers:
                driver.receive(bytes.fromhex(answer), 0.0)
    assert driver.phase is Phase.FAILED
    assert driver.failure == "the Myo disconnects again and again: charge it and bring it nearer"


def hours(driver: Myo, seconds: float, missing: range = range(0), rate_hz: float = 100.0) -> list[Chunk]:
    """Feed notifications on time, but for the numbers in `missing`."""
    chunks = []
    for number in range(int(seconds * rate_hz)):
        if number not in missing:
            chunks += driver.receive(notification(number), number / rate_hz)
    return chunks


def test_loss_of_whole_cycles_shows_by_the_clock(streaming: Myo) -> None:
    chunks = hours(streaming, 20.0, missing=range(900, 904))
    assert all(chunk.lost == 0 for chunk in chunks)
    assert streaming.counters.notes == {"samples missing by the clock": 1}


def test_clock_is_content_with_a_good_stream_and_with_a_visible_loss(streaming: Myo) -> None:
    hours(streaming, 20.0, missing=range(900, 903))
    assert streaming.counters.lost_samples == 6
    assert streaming.counters.notes == {}


def test_clock_is_content_with_late_and_lumpy_arrival(streaming: Myo) -> None:
    for lump in range(100):
        data = b"".join(notification(number) for number in range(lump * 20, lump * 20 + 20))
        streaming.receive(data, lump * 0.2 + (0.1 if lump % 3 else 0.0))
    assert streaming.counters.notes == {}


@pytest.mark.parametrize(("rate_hz", "note"), [(90.0, "missing"), (110.0, "too many")])
def test_wrong_rate_shows_by_the_clock(rate_hz: float, note: str, streaming: Myo) -> None:
    hours(streaming, 20.0, rate_hz=rate_hz)
    assert list(streaming.counters.notes) == [f"samples {note} by the clock"]


@pytest.mark.parametrize("seed", range(3))
def test_dropped_notifications_are_accounted_for(seed: int) -> None:
    table = bench(faults=Faults(drop_probability=0.05, seed=seed))
    table.start()
    chunks = table.run(20.0)
    counters = table.driver.counters
    assert isinstance(table.emulator, MyoEmulator)
    assert counters.lost_samples > 0
    numbered = chunks[-1].first_sample + len(chunks[-1].samples)
    assert counters.samples + counters.lost_samples == numbered
    hidden = table.emulator.samples_sent - numbered
    assert hidden >= 0
    assert hidden % 8 <= 2 or hidden % 8 >= 6  # whole cycles, but for the ends of the stream
    for chunk in chunks:
        assert chunk.lost in (0, 2, 4, 6)


def test_hailstorm_is_survived() -> None:
    table = bench(faults=Faults(drop_probability=0.02, corrupt_probability=0.1, garbage_probability=0.2, seed=5))
    table.start()
    table.run(30.0)
    assert table.driver.phase is Phase.STREAMING
    counters = table.driver.counters
    assert "reconnects" not in counters.notes
    assert counters.resyncs > 300
    assert counters.samples > 0.85 * 6000


def test_message_inside_a_sound_message_is_never_taken(streaming: Myo) -> None:
    leaving = bytes.fromhex("80 03 03 04 00 08 02")
    streaming.receive(notification(0, leaving + bytes(9)) + b"\x55" + notification(1), 5.0)
    assert streaming.phase is Phase.STREAMING
    assert (streaming.counters.samples, streaming.counters.lost_samples) == (4, 0)
