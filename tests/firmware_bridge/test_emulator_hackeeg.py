"""The emulated HackEEG answers as its firmware does, in plain text and in JSON, and has registers that act."""

from __future__ import annotations

import json

import numpy as np
import pytest

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.hackeeg import HackEegEmulator
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.hackeeg import command
from myosem_edge.firmware_bridge.i24 import unpack_i24


class Host:
    def __init__(self, text: bool = False, emg: np.ndarray | None = None) -> None:
        played = np.full((100, 8), 1000.0) if emg is None else emg
        self.emulator = HackEegEmulator(ArraySource(played, 250.0))
        self.now_s = 0.0
        assert self.say(b"") == b"Ready\r\n"
        if not text:
            assert self.say(b"jsonlines\n") == b'{"STATUS_CODE":200,"STATUS_TEXT":"Ok"}\r\n'

    def say(self, data: bytes, wait_s: float = 0.0) -> bytes:
        self.emulator.receive(data, self.now_s)
        self.now_s += wait_s
        self.emulator.tick(self.now_s)
        return self.emulator.to_send()

    def counts(self) -> list[int]:
        """Of the next sample, in MessagePack."""
        sample = self.say(b"", 0.004)[-24:]
        return [int(count) for count in unpack_i24(np.frombuffer(sample, np.uint8).reshape(1, 24))[0]]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"nop\n", b"200 Ok\r\n"),
        (b"NOP\r\n", b"200 Ok\r\n"),
        (b"rreg 00\n", b"200 Ok\r\n3E\r\n"),
        (b"wreg 05 60\n", b"200 Ok\r\n"),
        (b"rreg zz\n", b"402 Error\r\n"),
        (b"juggle\n", b"406 Error\r\n\r\n"),
        (b"\n", b""),
    ],
)
def test_plain_text_is_answered_in_plain_text(said: bytes, answer: bytes) -> None:
    assert Host(text=True).say(said) == answer


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (command("nop"), {"STATUS_CODE": 200, "STATUS_TEXT": "Ok"}),
        (b'{"COMMAND": "nop"}\n', {"STATUS_CODE": 200, "STATUS_TEXT": "Ok"}),
        (command("rreg", 0), {"STATUS_CODE": 200, "STATUS_TEXT": "Ok", "DATA": 0x3E}),
        (command("rreg", 5), {"STATUS_CODE": 200, "STATUS_TEXT": "Ok", "DATA": 0x61}),
        (command("rreg", 99), {"STATUS_CODE": 200, "STATUS_TEXT": "Ok", "DATA": 0}),
        (command("juggle"), {"STATUS_CODE": 406, "STATUS_TEXT": "Unrecognized command"}),
        (command("rdatac"), {"STATUS_CODE": 502, "STATUS_TEXT": "No Active Channels"}),
        (b"jsonlines\n", {"STATUS_CODE": 400, "STATUS_TEXT": "Bad Request"}),
        (b"[]\n", {"STATUS_CODE": 400, "STATUS_TEXT": "Bad Request"}),
        (b'{"COMMAND": "rreg", "PARAMETERS": ["x"]}\n', {"STATUS_CODE": 400, "STATUS_TEXT": "Bad Request"}),
    ],
)
def test_json_is_answered_in_json(said: bytes, answer: dict[str, object]) -> None:
    assert json.loads(Host().say(said)) == answer


def test_registers_keep_what_is_written_but_not_while_samples_flow() -> None:
    host = Host()
    host.say(command("wreg", 5, 0x40))
    assert json.loads(host.say(command("rreg", 5)))["DATA"] == 0x40
    host.say(command("rdatac"))
    host.say(command("wreg", 5, 0x61))
    host.say(command("sdatac"))
    assert json.loads(host.say(command("rreg", 5)))["DATA"] == 0x40
    host.say(command("wreg", 0, 0x11))
    assert json.loads(host.say(command("rreg", 0)))["DATA"] == 0x3E
    host.say(command("reset"))
    assert json.loads(host.say(command("rreg", 5)))["DATA"] == 0x61


def test_gain_switch_and_short_change_what_is_sent() -> None:
    host = Host()
    for channel, setting in enumerate((0x00, 0x10, 0x60, 0x81, 0x61, 0x05)):
        host.say(command("wreg", 5 + channel, setting))
    host.say(command("messagepack") + command("rdatac"))
    one = round(1000.0 * (2**23 - 1) / 4.5e6)
    counts = host.counts()
    assert counts[0] == one
    assert counts[1] == pytest.approx(2 * one, abs=1)
    assert counts[2] == pytest.approx(24 * one, abs=12)
    assert counts[3:] == [0] * 5


def test_start_counts_samples_from_zero_and_stop_ends_them() -> None:
    host = Host()
    host.say(command("wreg", 5, 0) + command("messagepack") + command("rdatac"))
    assert host.say(b"", 0.04)[-31:-27] == (9).to_bytes(4, "little")
    host.say(command("start"))
    assert host.say(b"", 0.004)[-31:-27] == bytes(4)
    host.say(command("stop"))
    assert host.say(b"", 1.0) == b""


def test_a_recording_of_other_channels_is_refused() -> None:
    with pytest.raises(InputError, match="does not fit the device"):
        Host(emg=np.ones((5, 4)))
