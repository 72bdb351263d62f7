"""The emulated device answers as the specification says."""

from __future__ import annotations

import numpy as np
import pytest

from myosem_edge.firmware_bridge import wire
from myosem_edge.firmware_bridge.emulators.myosem_wire import MyosemWireEmulator
from myosem_edge.firmware_bridge.emulators.sources import ArraySource


class Host:
    def __init__(self, channels: int = 8, rate_hz: float = 1000.0) -> None:
        emg = np.arange(4000 * channels, dtype=np.float32).reshape(-1, channels) % 1000
        self.device = MyosemWireEmulator(ArraySource(emg, rate_hz))
        self.now_s = 0.0

    def say(self, command: wire.Command, version: int = wire.VERSION) -> list[wire.Message]:
        said = bytearray(command.body())
        said[0] = version << 4 | wire.Kind.COMMAND
        self.device.receive(wire.frame_of(bytes(said)), self.now_s)
        return self.wait(0.0)

    def wait(self, seconds: float) -> list[wire.Message]:
        self.now_s += seconds
        self.device.tick(self.now_s)
        read = [wire.parse(body) for body in wire.Deframer().feed(self.device.to_send())]
        assert None not in read
        return read  # type: ignore[return-value]


def test_it_is_silent_until_it_is_started_and_after_it_is_stopped() -> None:
    host = Host()
    assert host.wait(5.0) == []
    assert host.say(wire.Command(1, wire.Order.START)) == [wire.Acknowledge(1, wire.Order.START)]
    assert host.wait(0.1)
    assert host.say(wire.Command(2, wire.Order.STOP))[-1] == wire.Acknowledge(2, wire.Order.STOP)
    assert host.wait(5.0) == []


def test_starting_again_changes_nothing() -> None:
    host = Host()
    host.say(wire.Command(1, wire.Order.START))
    first = host.wait(0.05)
    assert host.say(wire.Command(2, wire.Order.START)) == [wire.Acknowledge(2, wire.Order.START)]
    second = host.wait(0.05)
    sequences = [each.sequence for each in first + second if isinstance(each, wire.Data)]
    assert sequences == list(range(0, 100, 10))


def test_it_says_what_it_is_once_a_second_and_when_asked() -> None:
    host = Host()
    info, acknowledge = host.say(wire.Command(1, wire.Order.GET_INFO))
    assert isinstance(info, wire.Info) and not info.streaming
    assert (info.channels, info.rate_hz, info.samples_per_frame) == (8, 1000.0, 10)
    assert acknowledge == wire.Acknowledge(1, wire.Order.GET_INFO)
    host.say(wire.Command(2, wire.Order.START))
    infos = [each for _ in range(500) for each in host.wait(0.01) if isinstance(each, wire.Info)]
    assert len(infos) in (4, 5) and all(each.streaming for each in infos)


def test_gain_and_lead_off_change_the_epoch_and_say_so_before_the_acknowledge() -> None:
    host = Host()
    host.say(wire.Command(1, wire.Order.START))
    info, acknowledge = host.say(wire.set_gain(2, 12.0, channel=3))
    assert isinstance(info, wire.Info) and isinstance(acknowledge, wire.Acknowledge)
    assert (info.epoch, info.gains[2], info.gains[3]) == (1, 24.0, 12.0)
    info, _ = host.say(wire.set_lead_off(3, 8, drive_on=True, sense_p=3, sense_n=128))
    assert isinstance(info, wire.Info)
    assert (info.epoch, info.drive_on, info.sense_p, info.sense_n) == (2, True, 3, 128)
    (data,) = host.wait(0.01)
    assert isinstance(data, wire.Data) and data.epoch == 2 and data.drive_on


@pytest.mark.parametrize(
    ("command", "result"),
    [
        (wire.Command(9, 99), wire.Result.UNKNOWN),
        (wire.Command(9, wire.Order.START, b"\0"), wire.Result.MALFORMED),
        (wire.Command(9, wire.Order.SET_LEAD_OFF, b"\0\0"), wire.Result.MALFORMED),
        (wire.set_rate(9, 500.0), wire.Result.IMPOSSIBLE),
        (wire.set_rate(9, 1000.0), wire.Result.DONE),
        (wire.set_gain(9, 5.0), wire.Result.IMPOSSIBLE),
        (wire.set_gain(9, 6.0, channel=8), wire.Result.IMPOSSIBLE),
        (wire.set_mode(9, wire.Mode.CYTON), wire.Result.IMPOSSIBLE),
        (wire.set_mode(9, wire.Mode.WIRE), wire.Result.DONE),
    ],
)
def test_commands_are_answered(command: wire.Command, result: wire.Result) -> None:
    assert Host().say(command)[-1] == wire.Acknowledge(9, command.order, result)


def test_another_version_is_answered_in_our_own() -> None:
    answer = Host().say(wire.Command(4, wire.Order.START), version=3)
    assert answer == [wire.Acknowledge(4, wire.Order.START, wire.Result.OTHER_VERSION)]


def test_what_is_no_command_is_not_answered() -> None:
    host = Host()
    host.device.receive(b"b\0v\0" + wire.frame(wire.Acknowledge(1, 1)) + wire.frame_of(b"\x18\x01"), 0.0)
    assert host.wait(0.1) == []


def test_its_clock_runs_with_its_samples() -> None:
    host = Host(rate_hz=500.0)
    host.now_s = 7.0
    host.say(wire.Command(1, wire.Order.START))
    clocks = [each.clock_us for each in host.wait(0.05) if isinstance(each, wire.Data)]
    assert clocks == [7_000_000 + 10_000 * i for i in range(5)]
