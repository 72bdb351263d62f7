"""What every hand keeps. A hand's own test file inherits `HandSpec`, says what is legal, and gets all tests."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.hands import HANDS, hand
from myosem_edge.firmware_bridge.hands.base import ROTATIONS, Hand, Neutral

# One or two real commands of every hand whose protocol is public, by hand id; a driver refuses all but its own.
FRAMES_BY_HAND = {
    "ability": ["7E 50 1D 01 FF 93 7E", "7E 50 1D 00 00 93 7E", "7E 50 A2 0E 7E", "7E 50 7C 34 7E"],
    "rohand": ["02 10 04 6F 00 06 0C 00 00 FF FF FF FF FF FF FF FF 00 00 51 BD", "02 03 04 79 00 06 15 12"],
    "ohand": ["55 AA 02 01 4C 04 01 30 75 FF F0"],
    "brunel": [b"F0 P80\nF1 P100\nF2 P0\nF3 P7\n".hex(), b"A6\n".hex()],
    "brunel grips": [b"G0 C P100 S255\n".hex(), b"G0 O\n".hex(), b"F1 P50\r".hex()],
    "mia": [b"@1P+099940......*\r@2P+000040......*\r@3P+050040......*\r".hex(), b"@?AreYouPlugged?*\r".hex()],
    "mia grasps": [b"@AGCA10050......*\r".hex()],
    "inspire": ["EB 90 01 0F 12 CE 05 00 00 00 00 00 00 00 00 00 00 00 00 F5", "EB 90 01 04 11 0A 06 0C 32"],
    "servo": [b"P 0 0 1800 1800 900 0\n".hex()],
    "servo_wrist": [b"P 0 0 1800 1800 900 0 450\n".hex()],
    "two_channel": [b"A 0000 3000\n".hex(), b"A 0000 0000\n".hex()],
    "qb": ["3A 3A 01 03 80 03 83", "3A 3A 01 06 82 4A 38 00 00 F0"],
    "dynamixel": [],
    "dynamixel ping": ["FF FF FD 00 01 03 00 01 19 4E"],
    "feetech": ["FF FF 01 05 03 2A 00 08 C4"],
}
# Every hand runs the same inherited properties: that is what a specification class is for.
INHERITED = settings(deadline=None, suppress_health_check=[HealthCheck.differing_executors])
OUTSIDE = [-0.001, -1.0, 1.001, 255.0, math.nan, math.inf, -math.inf]


class HandSpec(ABC):
    """Thirty seconds of reading, then three things to say about a new hand."""

    @abstractmethod
    def make(self) -> Hand:
        """A fresh driver."""

    @abstractmethod
    def legal_frames(self) -> frozenset[bytes]:
        """Every frame the driver may ever put on the wire, built from the protocol and not by the driver."""

    @abstractmethod
    def may_move(self, frame: bytes) -> bool:
        """Whether a legal frame asks for motion, read from the protocol and not by the driver."""

    @abstractmethod
    def replies(self) -> list[bytes]:
        """Some well-formed frames from the hand that carry feedback."""

    def is_legal(self, frame: bytes) -> bool:
        """Whether the driver may ever put it on the wire; a hand with too many frames to list says so by other means,
        and `legal_frames` are some of them.
        """
        return frame in self.legal_frames()

    def formed(self, driver: Hand, name: str) -> bytes:
        """The last of what is sent to form a grip at full speed."""
        return driver.grip(name, 1.0, 1.0)

    def legal_sample(self) -> Iterable[bytes]:
        """Legal frames for the costly tests: spread over all of them, both ends included."""
        frames = sorted(self.legal_frames())
        return [*frames[:: max(1, len(frames) // 300)], frames[-1]]

    def test_every_listed_grip_encodes_at_every_speed_and_is_whitelisted(self) -> None:
        driver = self.make()
        for name, percent in itertools.product(driver.info.grips, range(1, 101)):
            frame = driver.grip(name, percent / 100, force=0.5)
            assert driver.may_send(frame), (name, percent, frame.hex())
            assert self.is_legal(frame), (name, percent, frame.hex())

    def test_grips_and_their_frames_are_distinct(self) -> None:
        driver = self.make()
        assert len({self.formed(self.make(), name) for name in driver.info.grips}) == len(driver.info.grips)
        assert {"open", "power"} <= set(driver.info.grips)

    @pytest.mark.parametrize("name", ["", "Power", "power ", "fist of fury", "0x01"])
    def test_an_unknown_grip_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="unknown grip"):
            self.make().grip(name, 0.5, 0.5)

    @pytest.mark.sr("SR-10")
    @pytest.mark.parametrize("value", OUTSIDE)
    def test_speed_and_force_outside_their_range_are_refused_not_clipped(self, value: float) -> None:
        driver = self.make()
        for name in driver.info.grips:
            with pytest.raises(ValueError, match="speed"):
                driver.grip(name, value, 0.5)
            with pytest.raises(ValueError, match="force"):
                driver.grip(name, 0.5, value)
        with pytest.raises(ValueError, match="speed"):
            driver.open_hand(value)

    @pytest.mark.sr("SR-14")
    def test_every_listed_neutral_encodes_and_is_whitelisted(self) -> None:
        driver = self.make()
        assert Neutral.FREEZE in driver.info.neutrals
        for choice in driver.info.neutrals:
            assert driver.may_send(driver.neutral(choice)), choice
        assert driver.neutral(Neutral.FREEZE) == driver.stop()

    @pytest.mark.sr("SR-01")
    def test_start_stop_poll_and_release_ask_for_no_motion(self) -> None:
        driver = self.make()
        assert driver.stop()
        assert not self.may_move(driver.stop())
        for frame in filter(None, (driver.start(), driver.poll(), driver.release())):
            assert driver.may_send(frame)
            assert not self.may_move(frame)
        assert all(self.may_move(driver.grip(name, 1.0, 1.0)) for name in driver.info.grips)

    @pytest.mark.sr("SR-11")
    def test_all_legal_frames_pass(self) -> None:
        driver = self.make()
        assert [frame.hex() for frame in self.legal_frames() if not driver.may_send(frame)] == []

    @pytest.mark.sr("SR-11")
    def test_a_flipped_bit_passes_only_as_another_legal_frame(self) -> None:
        driver = self.make()
        for frame in self.legal_sample():
            for bit in range(8 * len(frame)):
                flipped = bytearray(frame)
                flipped[bit // 8] ^= 1 << bit % 8
                assert driver.may_send(bytes(flipped)) == self.is_legal(bytes(flipped)), (frame.hex(), bit)

    @pytest.mark.sr("SR-11")
    def test_a_part_of_a_frame_or_more_than_one_is_refused(self) -> None:
        driver = self.make()
        assert not driver.may_send(b"")
        for frame in self.legal_sample():
            parts = {frame[:cut] for cut in range(len(frame))} | {frame[cut:] for cut in range(1, len(frame))}
            more = {frame + frame, frame + b"\x00", b"\x00" + frame, frame + frame[:1], frame[:1] + frame}
            for other in parts | more:
                assert self.is_legal(other) or not driver.may_send(other), (frame.hex(), other.hex())

    @pytest.mark.sr("SR-11")
    @given(data=st.binary(max_size=24))
    @settings(INHERITED, max_examples=300)
    def test_random_bytes_are_refused_unless_legal(self, data: bytes) -> None:
        assert self.make().may_send(data) == self.is_legal(data)

    @pytest.mark.sr("SR-11")
    def test_every_other_hands_frames_are_refused(self) -> None:
        driver = self.make()
        # A question of its own is no foreign frame, whoever else asks in the same words.
        own = {driver.poll(), *(bytes.fromhex(text) for text in FRAMES_BY_HAND[driver.info.id])}
        assert all(driver.may_send(frame) for frame in own)
        foreign = {bytes.fromhex(text) for frames in FRAMES_BY_HAND.values() for text in frames} - own
        for kind in HANDS.values():
            other = kind()
            if other.info.id != driver.info.id:
                foreign |= {other.stop()} | {bytes.fromhex(text) for text in FRAMES_BY_HAND[other.info.id]}
        assert [frame.hex() for frame in foreign - own if driver.may_send(frame)] == []

    @given(chunks=st.lists(st.binary(max_size=200), max_size=8))
    @settings(INHERITED, max_examples=200)
    def test_random_bytes_never_raise_and_never_stop_the_next_reply(self, chunks: list[bytes]) -> None:
        driver = self.make()
        for chunk in chunks:
            driver.receive(chunk, 1.0)
        reply = self.replies()[0]
        # The first reply may complete whatever the garbage began.
        assert len(driver.receive(reply + reply + reply, 2.0)) >= 2

    @given(cuts=st.lists(st.integers(min_value=0, max_value=2000), max_size=12), noise=st.binary(max_size=12))
    @settings(INHERITED, max_examples=200)
    def test_chunked_equals_whole(self, cuts: list[int], noise: bytes) -> None:
        stream = noise.join([b"", *self.replies(), b""])
        edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        whole, chunked = self.make(), self.make()
        expected = whole.receive(stream, 3.0)
        found = [f for a, b in itertools.pairwise(edges) for f in chunked.receive(stream[a:b], 3.0)]
        assert found == expected

    def test_a_hand_that_turns_the_wrist_says_so_and_turns_both_ways(self) -> None:
        info = self.make().info
        assert set(ROTATIONS) & set(info.grips) == (set(ROTATIONS) if info.rotates_wrist else set())

    def test_feedback_carries_the_arrival_time(self) -> None:
        feedback = [f for reply in self.replies() for f in self.make().receive(reply, 12.5)]
        assert len(feedback) == len(self.replies())
        assert {f.arrival_s for f in feedback} == {12.5}

    def test_facts_are_sane(self) -> None:
        info = self.make().info
        assert HANDS[info.id] is type(self.make())
        assert 0 < info.limits.max_speed <= 1
        assert 0 < info.limits.max_force <= 1
        assert info.keep_alive_s is None or info.keep_alive_s > 0
        assert info.notes


def test_a_hand_is_made_by_its_id() -> None:
    for name, kind in HANDS.items():
        assert type(hand(name)) is kind
        assert hand(name).info.id == name


@pytest.mark.parametrize(("found", "nearest"), [("abilty", "ability"), ("Ability", "ability")])
def test_a_misspelt_hand_names_the_nearest(found: str, nearest: str) -> None:
    with pytest.raises(InputError, match=f"found '{found}'.*Did you mean '{nearest}'"):
        hand(found)


def test_an_unknown_hand_lists_those_that_exist() -> None:
    with pytest.raises(InputError) as caught:
        hand("zzz")
    assert "Did you mean" not in str(caught.value)
    assert all(name in str(caught.value) for name in HANDS)
