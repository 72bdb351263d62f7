"""The emulated SpikerShield streams by itself, and takes the commands of its firmware."""

from __future__ import annotations

import numpy as np
import pytest

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.emulators.spikershield import SpikerShieldEmulator
from myosem_edge.firmware_bridge.frontends.spikershield import BANNER, CLOSE, OPEN, SpikerShield


class Host:
    def __init__(self, *row: float) -> None:
        channels = len(row)
        source = ArraySource(np.array([row]), 10_000 / channels)
        self.emulator = SpikerShieldEmulator(source, driver=SpikerShield(channels=channels))
        self.emulator.tick(0.0)
        self.banner = self.emulator.to_send()
        self.now_s = 0.0

    def say(self, text: str) -> bytes:
        self.emulator.receive(text.encode(), self.now_s)
        self.now_s += 0.001
        self.emulator.tick(self.now_s)
        return self.emulator.to_send()


def test_it_streams_one_channel_after_its_banner() -> None:
    host = Host(0.0)
    assert host.banner == BANNER
    assert host.say("") == bytes.fromhex("84 00") * 10


def test_channels_are_set_and_only_the_first_byte_is_marked() -> None:
    host = Host(511, -509)
    assert host.say("conf s:10000;c:2;\n") == bytes.fromhex("87 7F 00 03") * 5


def test_an_input_without_a_recording_reads_the_middle() -> None:
    host = Host(511, -509)
    assert host.say("conf s:10000;c:3;\n")[:6] == bytes.fromhex("87 7F 00 03 04 00")


@pytest.mark.parametrize("command", ["conf s:10000;c:9;\n", "conf c:two;\n", "p:1;\n", "hello\n"])
def test_other_commands_change_nothing(command: str) -> None:
    assert Host(0.0).say(command) == bytes.fromhex("84 00") * 10


def test_a_question_is_answered_within_the_stream() -> None:
    assert Host(0.0).say("b:;\n").startswith(OPEN + b"HWT:MUSCLESS;" + CLOSE + b"\x84")


def test_what_the_converter_cannot_hold_is_its_end() -> None:
    assert Host(9000.0).say("")[:2] == bytes.fromhex("87 7F")
    assert Host(-9000.0).say("")[:2] == bytes.fromhex("80 00")


def test_a_recording_of_other_channels_is_refused() -> None:
    with pytest.raises(InputError, match="does not fit the device"):
        SpikerShieldEmulator(ArraySource(np.ones((5, 3)), 250.0))
