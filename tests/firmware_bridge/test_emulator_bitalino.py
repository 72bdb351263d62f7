"""The emulated BITalino answers what host programs say to it, and its frames are the maker's."""

from __future__ import annotations

import numpy as np
import pytest

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.bitalino import BitalinoEmulator, frame
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.bitalino import Bitalino, crc4
from tests.firmware_bridge.test_frontend_bitalino import VALUES, VECTORS

UV = 3.3e6 / 1009


class Host:
    def __init__(self, channels: int = 6, firmware: str = "5.2") -> None:
        row = [(value / (1024 if i < 4 else 64) - 0.5) * UV for i, value in enumerate(VALUES[:channels])]
        source = ArraySource(np.array([row]), 1000.0)
        self.emulator = BitalinoEmulator(source, driver=Bitalino(channels=channels), firmware=firmware)
        self.now_s = 0.0

    def say(self, text: str, wait_s: float = 0.0) -> bytes:
        self.emulator.receive(bytes.fromhex(text), self.now_s)
        self.now_s += wait_s
        self.emulator.tick(self.now_s)
        return self.emulator.to_send()


@pytest.mark.parametrize("channels", VECTORS)
def test_a_frame_is_that_of_the_maker(channels: int) -> None:
    assert frame(VALUES[:channels], 5, (1, 0, 1, 0)) == bytes.fromhex(VECTORS[channels])
    host = Host(channels)
    host.say("BB")  # O2 on; the inputs I1 and I2 read 0
    length = len(bytes.fromhex(VECTORS[channels]))
    sent = host.say(f"{(1 << channels) - 1 << 2 | 1:02X}", 0.006)[5 * length :]
    assert sent == frame(VALUES[:channels], 5, (0, 0, 0, 1))


def test_the_sequence_goes_round() -> None:
    stream = Host().say("05", 0.018)
    assert [last >> 4 for last in stream[2::3]] == [*range(16), 0, 1]
    assert not any(crc4(stream[i : i + 3]) for i in range(0, len(stream), 3))


def test_the_inputs_that_are_asked_for_are_sent() -> None:
    host = Host()
    assert host.say("15", 0.001) == frame([VALUES[0], VALUES[2]], 0)
    assert host.say("00", 0.01) == b""
    assert host.say("21", 0.001) == frame([VALUES[3]], 0), "A4 alone"


@pytest.mark.parametrize(("rate", "count"), [("03", 1), ("43", 10), ("83", 100), ("C3", 1000)])
def test_a_lower_rate_leaves_samples_out(rate: str, count: int) -> None:
    host = Host()
    host.say(rate)
    assert len(host.say("05", 1.0)) == 3 * count


def test_version_and_state_are_told_when_idle() -> None:
    host = Host()
    assert host.say("07") == b"BITalino_v5.2\n"
    host.say("7C")  # threshold 31
    state = host.say("0B")
    assert len(state) == 17
    assert state[14] == 31
    assert crc4(state) == 0
    assert len(Host(firmware="4.2").say("0B")) == 16
    host.say("05")
    assert host.say("07") == host.say("0B") == b"", "not while it streams"


def test_outputs_and_their_pulse_can_be_set_at_any_time() -> None:
    host = Host()
    host.say("05")
    host.say("BF")
    host.say("A3")
    host.say("07")
    assert (host.emulator.outputs, host.emulator.pulse) == ([1, 1], 7)


def test_idle_ends_every_mode() -> None:
    host = Host()
    host.say("05")
    host.say("FF")
    assert not host.emulator.streaming
    host.say("01")
    assert not host.emulator.streaming, "no input was asked for"


def test_a_recording_of_other_channels_is_refused() -> None:
    with pytest.raises(InputError, match="does not fit the device"):
        BitalinoEmulator(ArraySource(np.ones((5, 3)), 1000.0))
