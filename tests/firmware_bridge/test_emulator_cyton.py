"""The emulated Cyton answers what host programs say to it."""

from __future__ import annotations

import numpy as np
import pytest

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.cyton import CytonEmulator
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.cyton import UV_PER_COUNT

COUNTS = np.array([[1, -1, 2**23 - 1, -(2**23), 0, 4474, -4474, 100000]])


class Host:
    def __init__(self, daisy: bool = False, faults: Faults | None = None) -> None:
        emg = np.tile(COUNTS * UV_PER_COUNT, (1000, 2 if daisy else 1))
        self.emulator = CytonEmulator(ArraySource(emg, 125.0 if daisy else 250.0), daisy=daisy, faults=faults)
        self.now_s = 0.0

    def say(self, text: str, wait_s: float = 0.0) -> bytes:
        self.emulator.receive(text.encode(), self.now_s)
        self.now_s += wait_s
        self.emulator.tick(self.now_s)
        return self.emulator.to_send()


def test_a_frame_holds_counts_big_endian() -> None:
    host = Host()
    host.say("b")
    frame = host.say("", 0.004)
    assert frame.hex().upper() == "A000" + "000001FFFFFF7FFFFF80000000000000117AFFEE860186A0" + "000000001F40" + "C0"


def test_a_pair_is_the_daisy_first() -> None:
    host = Host(daisy=True)
    host.say("b")
    pair = host.say("", 0.008)
    assert (len(pair), pair[1], pair[34]) == (66, 0, 1)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("d", b"updating channel settings to default$$$"),
        ("x1060110X", b"Success: Channel set for 1$$$"),
        ("xQ000110X", b"Success: Channel set for 9$$$"),
        ("x1060110Y", b"Failure: Channel set, wrong characters$$$"),
        ("z110Z", b"Success: Lead off set for 1$$$"),
        ("~6", b"Success: Sample rate is 250Hz$$$"),
        ("/2", b"Success: analog$$$"),
        ("C", b"8$$$"),
        ("V", b"v3.1.2$$$"),
        ("D", b"060110$$$"),
    ],
)
def test_commands_are_answered(said: str, answer: bytes) -> None:
    assert Host().say(said) == answer


def test_a_reset_takes_half_a_second() -> None:
    host = Host(daisy=True)
    assert host.say("v") == b""
    assert b"On Daisy ADS1299" in host.say("", 0.6)


def test_half_a_command_is_given_up() -> None:
    host = Host()
    host.say("x106")
    assert host.say("", 1.1).startswith(b"Timeout")
    assert host.say("V") == b"v3.1.2$$$"


def test_gain_and_switch_change_what_is_sent() -> None:
    host = Host()
    host.say("x6000110X")  # gain 1
    host.say("8")  # off
    host.say("b")
    frame = host.say("", 0.004)
    counts = [int.from_bytes(frame[2 + 3 * i : 5 + 3 * i], "big", signed=True) for i in range(8)]
    assert counts[5] == round(4474 / 24)
    assert counts[7] == 0


def test_a_recording_of_other_channels_is_refused() -> None:
    with pytest.raises(InputError, match="does not fit the device"):
        CytonEmulator(ArraySource(np.ones((5, 3)), 250.0))


def test_no_text_while_streaming() -> None:
    host = Host()
    host.say("b")
    assert host.say("V") == b""
