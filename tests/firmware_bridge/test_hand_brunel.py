"""The Brunel hand: percentages outright, never a toggle; `brunel_hand` moves and reads the emulated one."""

from __future__ import annotations

import contextlib
import re
import time

import pytest

from myosem_edge.firmware_bridge.emulators.brunel import BrunelEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.hands.brunel import BrunelHand
from tests.firmware_bridge.stepped_spec import SteppedSpec

LINES = re.compile(rb"F0 P(\d+)\nF1 P(\d+)\nF2 P(\d+)\nF3 P(\d+)\n")


class TestBrunel(SteppedSpec):
    resolution = 0.01
    garbage = bytes(set(range(256)) - set(b"ACDFGHMOPRTUX"))  # a letter is a command, wherever it stands

    def fresh(self) -> BrunelHand:
        return BrunelHand()

    def emulator(self) -> BrunelEmulator:
        return BrunelEmulator()

    def asks(self) -> frozenset[bytes]:
        return frozenset({b"A6\n"})

    def closures(self, frame: bytes) -> list[float] | None:
        match = LINES.fullmatch(frame)
        if match is None or any(text != b"%d" % int(text) or int(text) > 100 for text in match.groups()):
            return None
        return [int(text) / 100 for text in match.groups()]

    def replies(self) -> list[bytes]:
        return [b"\nA6\r\n50,500,973,200,\r\n", b"60,60,60,60,\r\n"]


def test_a_report_is_read() -> None:
    (feedback,) = BrunelHand().receive(b"\nA6\r\n50,973,511,50,\r\n", 1.0)
    assert list(feedback.position_deg) == ["thumb", "index", "middle", "ring_little"]
    assert list(feedback.position_deg.values()) == pytest.approx([0.0, 90.0, 90 * 461 / 923, 0.0])


def test_a_bare_code_toggles_the_emulated_hand_as_it_does_the_real_one() -> None:
    hand = BrunelEmulator()
    for expected in (1.0, 0.0, 1.0):
        hand.receive(b"F1\n", 0.0)
        assert hand.servos[1].target == expected


def test_words_in_capitals_move_the_emulated_hand_as_they_do_the_real_one() -> None:
    for word in (b'{"COMMAND": "nop"}\n', b"D", b"\rG\n"):
        hand = BrunelEmulator()
        hand.receive(word + b"\n", 0.0)
        assert hand.servos[1].target == 1.0, word


def test_a_modifier_waits_for_the_next_finger() -> None:
    hand = BrunelEmulator()
    hand.receive(b"C\nF1 P50\nF2 P50\nF3 P25\n", 0.0)
    assert [servo.target for servo in hand.servos] == [0.0, 1.0, 0.5, 0.25]


@pytest.mark.parametrize(
    ("line", "altered"),
    [(b"WHORU", ["R"]), (b"START", ["R"]), (b"M1", ["M1"]), (b"A4", ["A4"]), (b"A6", []), (b"status", [])],
)
def test_what_changes_its_settings_is_listed(line: bytes, altered: list[str]) -> None:
    hand = BrunelEmulator()
    hand.receive(line + b"\n", 0.0)
    assert hand.altered == altered and max(servo.target for servo in hand.servos) == 0.0


@pytest.mark.peer
@pytest.mark.timeout(30)
def test_brunel_hand_moves_and_reads_it() -> None:
    brunel_hand = pytest.importorskip("brunel_hand")
    emulator = BrunelEmulator()
    with OnPty(emulator) as device:
        peer = brunel_hand.BrunelHand(device.port, baudrate=115200)
        peer.index.flex = 50
        position = [0, 0, 0, 0]
        hopeless_s = time.monotonic() + 15.0
        while time.monotonic() < hopeless_s:
            with contextlib.suppress(ValueError):  # it empties its buffer in the middle of a report, and reads its rest
                position = peer.get_finger_position()
            if len(position) == 4 and position[1] >= 511:
                break
        peer._serial.close()
    assert len(position) == 4
    assert position[1] == pytest.approx(50 + 0.5 * 923, abs=2)
    assert position[0] == 50
