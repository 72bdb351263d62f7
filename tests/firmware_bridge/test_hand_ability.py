from __future__ import annotations

import functools
import itertools
import math
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from myosem_edge.firmware_bridge.hands import ability, ppp
from myosem_edge.firmware_bridge.hands.ability import JOINTS, AbilityHand
from tests.firmware_bridge.test_hand_spec import HandSpec

GRIPS = {
    "open": 0, "power": 1, "lateral": 2, "pinch": 3, "tripod_open": 4, "horns": 5, "cylinder": 6, "mouse": 7,
    "point": 9, "hook": 0x0B, "relax": 0x0C, "sleeve": 0x0D, "peace": 0x0E, "tripod": 0x0F, "hang_loose": 0x10,
    "handshake": 0x11, "fixed_pinch": 0x12, "trigger": 0x18,
}  # fmt: skip


def framed(body: bytes) -> bytes:
    """Check byte and stuffing, byte by byte from the document."""
    out = bytearray([0x7E])
    for byte in [*body, -sum(body) % 256]:
        out += bytes([0x7D, byte ^ 0x20]) if byte in (0x7D, 0x7E) else bytes([byte])
    return bytes(out + b"\x7e")


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


@functools.cache
def all_legal() -> frozenset[bytes]:
    grips = {framed(bytes([0x50, 0x1D, code, speed])) for code in GRIPS.values() for speed in range(256)}
    return frozenset(grips | {hexed("7E 50 A2 0E 7E"), hexed("7E 50 7C 34 7E")})


def variant_1(header: int = 0x10, status: int = 0) -> bytes:
    """Positions 10, 20, .., 60 deg, currents 0.1, .., 0.6 A, touch counts 0..29 x 100."""
    pairs = [n for joint in range(6) for n in (round((joint + 1) * 2184.4667), round((joint + 1) * 62.0606))]
    bits = sum((sensor * 100) << (12 * sensor) for sensor in range(30))
    return bytes([header]) + struct.pack("<12h", *pairs) + bits.to_bytes(45, "little") + bytes([status])


def variant_3(rotors: tuple[int, ...] = (0,) * 6, status: int = 0) -> bytes:
    return b"\xa2" + struct.pack("<12h", *[-2184, 62] * 6) + struct.pack("<6h", *rotors) + bytes([status])


class TestAbilityHand(HandSpec):
    def make(self) -> AbilityHand:
        return AbilityHand()

    def legal_frames(self) -> frozenset[bytes]:
        return all_legal()

    def may_move(self, frame: bytes) -> bool:
        # Neither body needs stuffing at these places: flag, address, command, code, speed.
        return frame[2] == 0x1D and frame[4] != 0

    def replies(self) -> list[bytes]:
        return [
            framed(variant_3()),
            framed(variant_1()),
            framed(variant_1(header=0x11)),
            framed(variant_3(status=0x3F)),
        ]


class TestVectors:
    """Frames written down in the protocol reference; most were accepted or produced by the vendor's own software."""

    hand = AbilityHand()

    @pytest.mark.parametrize(
        ("frame", "expected"),
        [
            (hand.poll(), "7E 50 A2 0E 7E"),
            (hand.poll(), "7E 50 A0 10 7E"),
            (hand.poll(), "7E 50 A2 0E 7E"),
            (hand.release(), "7E 50 7C 34 7E"),
            (hand.stop(), "7E 50 1D 00 00 93 7E"),
            (hand.open_hand(1.0), "7E 50 1D 00 FF 94 7E"),
            (hand.grip("power", 1.0, 1.0), "7E 50 1D 01 FF 93 7E"),
            (hand.grip("pinch", 128.5 / 255, 1.0), "7E 50 1D 03 80 10 7E"),
            (
                hand.positions([10, 20, 30, 40, 50, -60], variant=1),
                "7E 50 10 88 08 10 11 99 19 21 22 AA 2A CE CC 8C 7E",
            ),
            (hand.duties([-10] * 5 + [10], variant=1), "7E 50 40 9E FE 9E FE 9E FE 9E FE 9E FE 62 01 01 7E"),
            (hand.currents([0.1] * 5 + [-0.1], variant=1), "7E 50 30 3E 00 3E 00 3E 00 3E 00 3E 00 C2 FF 89 7E"),
            (hand.velocities([1500, -1500, 0, 0, 0, 0]), "7E 50 22 FF 3F 01 C0 00 00 00 00 00 00 00 00 8F 7E"),
            (hand.thumb_upsampling(on=True), "7E 50 C2 EE 7E"),
            (hand.thumb_upsampling(on=False), "7E 50 C3 ED 7E"),
            (hand.register_read(61), "7E 50 DA 3D 00 00 00 99 7E"),
            (hand.register_write(1, -2), "7E 50 DE 01 00 00 00 FE FF FF FF D6 7E"),
        ],
    )
    def test_encoded(self, frame: bytes, expected: str) -> None:
        assert frame == hexed(expected), frame.hex(" ")

    def test_stuffing(self) -> None:
        body = hexed("50 10 7E 00 00 7D 00 00 00 00 00 00 00 00 A5")
        frame = hexed("7E 50 10 7D 5E 00 00 7D 5D 00 00 00 00 00 00 00 00 A5 7E")
        assert ppp.stuff(body) == frame
        assert ppp.Unstuffer().feed(frame) == [body]
        assert ability.check_holds(body)

    def test_grip_codes_are_the_command_numbering(self) -> None:
        assert ability.GRIP_CODES == GRIPS


class TestSpeed:
    def test_the_byte_runs_from_1_to_255_and_is_never_faster_than_asked(self) -> None:
        assert [ability.speed_byte(n / 255) for n in (1, 2, 254, 255)] == [1, 2, 254, 255]
        assert ability.speed_byte(1e-9) == 1
        assert ability.speed_byte(0.999) == 254

    @given(st.floats(min_value=0, max_value=1, exclude_min=True), st.floats(min_value=0, max_value=1, exclude_min=True))
    def test_faster_is_never_slower(self, a: float, b: float) -> None:
        slow, fast = sorted((a, b))
        slow_s, fast_s = (ability.movement_time_s(ability.speed_byte(s)) for s in (slow, fast))
        assert slow_s >= fast_s

    def test_speed_zero_is_a_stop_and_no_grip(self) -> None:
        with pytest.raises(ValueError, match="speed 0"):
            AbilityHand().grip("power", 0, 0.5)

    def test_movement_times(self) -> None:
        assert ability.movement_time_s(1) == 2.0
        assert ability.movement_time_s(254) == pytest.approx(0.29)
        assert ability.movement_time_s(255) == 0.2


class TestMotorFrames:
    @pytest.mark.sr("SR-11")
    def test_they_are_complete_but_never_whitelisted(self) -> None:
        hand = AbilityHand()
        motors = (hand.positions, hand.velocities, hand.currents, hand.duties)
        frames = [motor([0] * 6, variant) for motor in motors for variant in (1, 2, 3)]
        assert len(set(frames)) == 12
        frames += [hand.thumb_upsampling(True), hand.register_read(1), hand.register_write(1, 1)]
        assert not any(hand.may_send(frame) for frame in frames)

    @pytest.mark.sr("SR-11")
    @pytest.mark.parametrize("code", sorted(set(range(256)) - set(GRIPS.values())))
    def test_a_grip_that_is_not_in_the_table_is_refused(self, code: int) -> None:
        assert not any(AbilityHand().may_send(framed(bytes([0x50, 0x1D, code, speed]))) for speed in (0, 1, 255))

    @pytest.mark.sr("SR-11")
    def test_another_address_is_refused(self) -> None:
        here, there = AbilityHand(), AbilityHand(address=0x51)
        assert there.may_send(there.stop())
        assert not here.may_send(there.stop())
        assert not here.may_send(there.poll())

    @pytest.mark.parametrize("address", [0x7D, 0x7E, 0x01, 0xFF])
    def test_an_address_that_needs_stuffing_works(self, address: int) -> None:
        hand = AbilityHand(address)
        assert hand.may_send(hand.stop())
        assert hand.stop() == framed(bytes([address, 0x1D, 0, 0]))

    @pytest.mark.parametrize("address", [0, -1, 256])
    def test_an_impossible_address_is_refused(self, address: int) -> None:
        with pytest.raises(ValueError, match="address"):
            AbilityHand(address)

    @pytest.mark.parametrize(
        ("method", "low", "high", "rotator_low", "rotator_high"),
        [
            ("positions", 0, 100, -100, 0),
            ("velocities", -3000, 3000, -3000, 3000),
            ("currents", -1, 1, -1, 1),
            ("duties", -100, 100, -100, 100),
        ],
    )
    def test_values_outside_a_motors_range_are_refused(
        self, method: str, low: float, high: float, rotator_low: float, rotator_high: float
    ) -> None:
        encode = getattr(AbilityHand(), method)
        for joint in range(6):
            bottom, top = (rotator_low, rotator_high) if joint == 5 else (low, high)
            for value in (bottom, top):
                assert encode([0] * joint + [value] + [0] * (5 - joint))
            for value in (bottom - 0.01, top + 0.01, math.nan, math.inf):
                with pytest.raises(ValueError, match=JOINTS[joint]):
                    encode([0] * joint + [value] + [0] * (5 - joint))

    def test_wrong_counts_and_variants_are_refused(self) -> None:
        with pytest.raises(ValueError, match="5 values for 6 motors"):
            AbilityHand().positions([0] * 5)
        for variant in (0, 4):
            with pytest.raises(ValueError, match="variant"):
                AbilityHand().positions([0] * 6, variant)

    def test_registers_are_32_bit(self) -> None:
        for register in (-1, 2**32):
            with pytest.raises(ValueError, match="32 bits"):
                AbilityHand().register_read(register)
        with pytest.raises(ValueError, match="32 bits"):
            AbilityHand().register_write(1, 2**31)


class TestReplies:
    def test_variant_1(self) -> None:
        hand = AbilityHand()
        (feedback,) = hand.receive(framed(variant_1(header=0x40, status=0b100001)), 7.0)
        for joint, name in enumerate(JOINTS):
            assert feedback.position_deg[name] == pytest.approx(10 * (joint + 1), abs=0.005)
            assert feedback.current_a[name] == pytest.approx(0.1 * (joint + 1), abs=0.001)
        assert feedback.limited == ("index", "thumb_rotator")
        assert not feedback.moving
        assert hand.last_reply is not None
        assert hand.last_reply.header == 0x40
        assert hand.last_reply.rotor_rad_s is None
        assert hand.last_reply.touch_v == pytest.approx([n * 100 * 3.3 / 4096 for n in range(30)])

    def test_variant_2_has_velocities_in_place_of_currents(self) -> None:
        hand = AbilityHand()
        (feedback,) = hand.receive(framed(variant_1(header=0xA1)), 7.0)
        assert hand.last_reply is not None
        assert hand.last_reply.rotor_rad_s == (15.5, 31.0, 46.5, 62.0, 77.5, 93.0)
        assert hand.last_reply.current_a is None
        assert feedback.current_a == {}
        assert len(hand.last_reply.touch_v or ()) == 30

    def test_variant_3(self) -> None:
        hand = AbilityHand()
        (feedback,) = hand.receive(framed(variant_3(rotors=(2000, -4, 0, 0, 0, 0))), 7.0)
        assert feedback.position_deg["pinky"] == pytest.approx(-10, abs=0.005)
        assert feedback.moving
        assert hand.last_reply is not None
        assert hand.last_reply.rotor_rad_s == (500.0, -1.0, 0, 0, 0, 0)
        assert hand.last_reply.touch_v is None

    def test_what_one_reply_lacks_is_as_the_other_had_it(self) -> None:
        """Velocities and touch are in different replies, and the questions for them take turns."""
        hand = AbilityHand()
        seen = [
            hand.receive(framed(body), 0.0)[0]
            for body in (variant_1(), variant_3(rotors=(2000, 0, 0, 0, 0, 0)), variant_1(), variant_3())
        ]
        assert [feedback.moving for feedback in seen] == [False, True, True, False]
        hardest = {joint: (6 * finger + 5) * 100 * 3.3 / 4096 for finger, joint in enumerate(JOINTS[:5])}
        for feedback in seen:
            assert feedback.touch_v == pytest.approx(hardest)

    @pytest.mark.parametrize("sign", [1, -1])
    def test_moving_begins_at_two_degrees_per_second_of_the_joint(self, sign: int) -> None:
        for joint, ratio in enumerate([649.0] * 5 + [162.45]):
            edge = math.radians(2.0) * ratio * 4
            for count, moving in ((math.floor(edge), False), (math.ceil(edge), True)):
                rotors = tuple(sign * count if motor == joint else 0 for motor in range(6))
                (feedback,) = AbilityHand().receive(framed(variant_3(rotors=rotors)), 0.0)
                assert feedback.moving is moving, (joint, count)

    def test_touch_bytes_unpack_low_bits_first(self) -> None:
        assert ability.unpack_touch(hexed("34 12 AB" * 15))[:2] == [0x234, 0xAB1]

    @pytest.mark.parametrize("stray", [1, 2, 3, 7])
    def test_stray_zeros_around_and_inside_the_flags_are_tolerated(self, stray: int) -> None:
        hand, zeros = AbilityHand(), bytes(stray)
        for body in (variant_3(), variant_1()):
            frame = framed(body)
            inside = frame[:1] + zeros + frame[1:-1] + zeros + frame[-1:]
            for noisy in (zeros + frame + zeros, inside):
                assert len(hand.receive(noisy, 0.0)) == 1
        assert hand.frames_good == 4
        assert hand.frames_bad == 0

    def test_nothing_but_zeros_is_no_reply(self) -> None:
        assert ability.decode_reply(bytes(39)) is None

    @pytest.mark.sr("SR-04")
    def test_damaged_replies_are_counted_and_dropped(self) -> None:
        good = variant_3()
        for bad in (
            ppp.stuff(good + b"\x00"),  # wrong check byte
            framed(good[:-1]),  # too short
            framed(good + b"\x01"),  # too long
            ppp.stuff(ability.with_check(good) + b"\x01"),  # something behind the check byte
            framed(b"\xa3" + good[1:]),  # no such variant
            framed(b"\x50" + good[1:]),  # no such header
            b"\x7e" + bytes(300) + b"\x01\x7e",  # endless
            framed(good)[:-1] + b"\x7d\x7e",  # cut off inside an escape
            ppp.stuff(hexed("11 22 33 44")),  # neither telemetry nor a register
        ):
            hand = AbilityHand()
            assert hand.receive(bad, 0.0) == []
            assert (hand.frames_good, hand.frames_bad) == (0, 1), bad.hex(" ")
            assert len(hand.receive(framed(good), 0.0)) == 1

    def test_register_replies(self) -> None:
        hand = AbilityHand()
        for text, expected in (
            ("A4 FE 11 4E", ability.RegisterReply(True)),
            ("FF FF 17 FA", ability.RegisterReply(False)),
            ("A4 FE 11 4E FE FF FF FF 04", ability.RegisterReply(True, -2)),
            ("FF FF 17 FA 00 00 00 00 F1", ability.RegisterReply(False, 0)),
        ):
            assert hand.receive(ppp.stuff(hexed(text)), 0.0) == []
            assert hand.last_register == expected, text
        assert (hand.frames_good, hand.frames_bad) == (4, 0)
        hand.receive(ppp.stuff(hexed("A4 FE 11 4E FE FF FF FF 05")), 0.0)
        assert hand.frames_bad == 1


class TestStuffing:
    @given(st.binary(min_size=3, max_size=128))
    @example(b"\x7d" * 128)
    @example(b"\x7e" * 3)
    def test_round_trip(self, body: bytes) -> None:
        frame = ppp.stuff(body)
        assert frame.count(0x7E) == 2
        assert ppp.Unstuffer().feed(frame) == [body]
        byte_by_byte = ppp.Unstuffer()
        assert [found for byte in frame for found in byte_by_byte.feed(bytes([byte]))] == [body]

    @given(
        st.lists(st.sampled_from([b"\x7e", b"\x7d", b"\x00", b"\x5e", b"\x11" * 40, b"\x7d\x5d" * 30]), max_size=30),
        st.lists(st.integers(0, 600), max_size=10),
    )
    def test_any_cut_gives_the_same_bodies_and_the_same_losses(self, pieces: list[bytes], cuts: list[int]) -> None:
        stream = b"".join(pieces) + b"\x7e"
        whole, chunked = ppp.Unstuffer(longest=50), ppp.Unstuffer(longest=50)
        expected = whole.feed(stream)
        edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        found = [body for a, b in itertools.pairwise(edges) for body in chunked.feed(stream[a:b])]
        assert (found, chunked.rejected) == (expected, whole.rejected)

    def test_a_stream_without_flags_keeps_no_more_than_one_frame(self) -> None:
        unstuffer = ppp.Unstuffer(longest=50)
        for _ in range(100):
            unstuffer.feed(b"\x01" * 70)
        assert unstuffer.feed(b"\x7eabc\x7e") == [b"abc"]
        assert unstuffer.rejected == 1
