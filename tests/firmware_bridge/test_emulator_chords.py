"""The emulated Chords board answers as its firmware does: late, and never in the middle of a stream."""

from __future__ import annotations

import numpy as np
import pytest

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.chords import ChordsEmulator
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.chords import Chords

COUNTS = np.array([[-512, 0, 511, -412, -312, -212]])


class Host:
    def __init__(self, driver: Chords | None = None, emg: np.ndarray = COUNTS) -> None:
        self.emulator = ChordsEmulator(ArraySource(emg, 250.0), driver=driver)
        self.now_s = 0.0

    def say(self, text: str, wait_s: float = 0.0) -> bytes:
        self.emulator.receive(text.encode(), self.now_s)
        self.now_s += wait_s
        self.emulator.tick(self.now_s)
        return self.emulator.to_send()


def started() -> Host:
    host = Host()
    assert host.say("START\n", 1.0) == b""
    return host


def test_a_frame_is_unsigned_and_big_endian() -> None:
    host = started()
    frames = host.say("", 0.032)
    assert frames[7 * 16 :].hex().upper() == "C77C07" + "0000020003FF006400C8012C" + "01"


def test_the_counter_goes_round() -> None:
    frames = started().say("", 0.004 * 258)
    assert list(frames[2::16]) == [*range(256), 0, 1]


@pytest.mark.parametrize(
    ("said", "answer"), [("WHORU\n", b"UNO-R3\r\n"), ("STATUS\r\n", b"STOP\r\n"), ("HELLO\n", b"")]
)
def test_commands_are_answered_a_second_later(said: str, answer: bytes) -> None:
    host = Host()
    assert host.say(said, 0.9) == b""
    assert host.say("", 0.2) == answer


def test_two_commands_within_a_second_are_none() -> None:
    host = Host()
    host.say("STOP\n", 0.5)
    assert host.say("WHORU\n", 2.0) == b""


def test_any_byte_ends_the_stream() -> None:
    host = started()
    assert host.say("", 0.1)
    host.say("x")
    assert host.say("", 0.5) == b""
    assert host.say("", 5.0) == b""


def test_what_the_converter_cannot_hold_is_its_end() -> None:
    host = Host(emg=np.tile([[-5000.0, 5000.0, 0, 0, 0, 0]], (10, 1)))
    host.say("START\n", 1.0)
    assert host.say("", 0.004)[3:7].hex().upper() == "000003FF"


def test_a_recording_of_other_channels_is_refused() -> None:
    with pytest.raises(InputError, match="does not fit the device"):
        Host(Chords(board="NANO-CLONE"))
