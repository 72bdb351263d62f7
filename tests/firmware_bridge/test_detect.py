"""Each emulated front end is recognised as itself and as nothing else, and no hand moves at being asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myosem_edge.firmware_bridge.detect import Detection, steps
from myosem_edge.firmware_bridge.emulators import EMULATED_FRONT_ENDS, EMULATED_HANDS
from myosem_edge.firmware_bridge.emulators.bitalino import BitalinoEmulator
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends import DRIVERS, FRONT_ENDS, make_front_end
from myosem_edge.firmware_bridge.frontends.base import FrontEnd
from myosem_edge.firmware_bridge.frontends.options import options_of
from myosem_edge.firmware_bridge.frontends.recognition import Identity
from myosem_edge.firmware_bridge.hands import HANDS

STEP_S = 0.01
LONGEST_S = 25.0
OPTIONS = {"csv": "csv:channels=4,rate_hz=250,bits=12"}
PAGE = Path(__file__).parents[2] / "docs" / "front-ends.md"
# Seen by nobody, and not among the bytes that end a line or a frame: what is left is what hands obey.
CODES = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789?#@*,+~\r")
BAD_CABLE = Faults(drop_probability=0.01, text_probability=0.005, cut_probability=0.005)


def front_end(name: str, faults: Faults | None = None) -> Any:
    driver = make_front_end(OPTIONS.get(name, name))
    info = driver.info
    emg = np.random.default_rng(1).normal(0, 0.05 * min(info.full_scale, 1e4), (int(5 * info.rate_hz), info.channels))
    options = {"driver": driver} if options_of(type(driver)) else {}
    source = ArraySource(emg.astype(np.float32), info.rate_hz)
    return EMULATED_FRONT_ENDS[name](source, faults=faults, **options)


def asked(device: Any, kinds: Sequence[type[FrontEnd]] = DRIVERS, now_s: float = 1000.0) -> tuple[Detection, float]:
    """The verdict, and how long it took. The device hears and is heard at every baud rate, as one on USB itself."""
    begun_s = now_s
    device.tick(now_s)
    detection = Detection(now_s, kinds)
    while True:
        sent = detection.advance(device.to_send(), now_s)
        if detection.finished:
            return detection, now_s - begun_s
        now_s += STEP_S
        device.receive(sent, now_s)
        device.tick(now_s)


def names(detection: Detection) -> list[str]:
    return [found.info.id for found in detection.found]


class Saying:
    """Something that says `words()` at every tick, and hears nothing."""

    def __init__(self, words: Callable[[], bytes]) -> None:
        self._words = words

    def receive(self, data: bytes, now_s: float) -> None: ...

    def tick(self, now_s: float) -> None: ...

    def to_send(self) -> bytes:
        return self._words()


@cache
def matrix() -> dict[str, list[str]]:
    """By emulated device: every driver that recognises it when nobody else is asked, so that no order helps."""
    return {
        name: [kind.info.id for kind in DRIVERS if names(asked(front_end(name), (kind,))[0])]
        for name in sorted(EMULATED_FRONT_ENDS)
    }


@pytest.mark.parametrize("name", sorted(EMULATED_FRONT_ENDS))
def test_every_driver_recognises_its_own_device_and_no_other(name: str) -> None:
    assert matrix()[name] == [name]


def test_the_matrix_is_in_the_docs() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("one is recognised as")[2].partition("##")[0]
    (_, *columns), *cells = [
        [cell.strip(" `") for cell in row.split("|")] for row in re.findall(r"^\| (.*) \|$", section, re.MULTILINE)
    ]
    told = {name: [column for column, mark in zip(columns, marks, strict=True) if mark] for name, *marks in cells}
    assert columns == [*sorted(FRONT_ENDS), "unknown"]
    hands = {name: ["unknown"] for name in EMULATED_HANDS}
    assert told == matrix() | {"any emulated hand": ["unknown"], "silence, garbage": ["unknown"]}
    assert {name: names(asked(make())[0]) or ["unknown"] for name, make in EMULATED_HANDS.items()} == hands


@pytest.mark.parametrize("name", sorted(EMULATED_FRONT_ENDS))
def test_what_is_found_makes_a_driver_for_the_device(name: str) -> None:
    detection, seconds = asked(front_end(name))
    (found,) = detection.found
    assert found.info.id == name and seconds < LONGEST_S
    if found.missing:
        assert name == "csv" and "about 25" in found.missing and "channels=4" in found.missing
        return
    told, played = make_front_end(found.told).info, make_front_end(name).info
    assert (told.channels, told.rate_hz, told.layout) == (played.channels, played.rate_hz, played.layout)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", sorted(EMULATED_FRONT_ENDS))
def test_on_a_bad_cable_it_is_itself_or_unknown_and_never_another(name: str, seed: int) -> None:
    faults = Faults(**{**vars(BAD_CABLE), "seed": seed})
    assert names(asked(front_end(name, faults))[0]) in ([name], [])


@pytest.mark.parametrize("name", sorted(EMULATED_FRONT_ENDS))
def test_a_device_that_still_streams_from_before_is_itself(name: str) -> None:
    device, driver, now_s = front_end(name), make_front_end(OPTIONS.get(name, name)), 900.0
    driver.start(now_s)
    for _ in range(1000):
        now_s += STEP_S
        device.receive(driver.to_send(), now_s)
        device.tick(now_s)
        driver.receive(device.to_send(), now_s)
        driver.tick(now_s)
    assert device.streaming
    assert names(asked(device, now_s=now_s)[0]) == [name]


@pytest.mark.parametrize("mode", ["jsonlines", "messagepack"])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_hackeeg_that_was_left_in_another_language_is_itself(mode: str, streaming: bool) -> None:
    device = front_end("hackeeg")
    device.receive(f"{mode}\n".encode(), 999.0)
    if streaming:
        device.receive(b'{"COMMAND":"wreg","PARAMETERS":[5,96]}\n{"COMMAND":"rdatac"}\n', 999.0)
    assert device.streaming == streaming and device.mode == mode
    assert names(asked(device)[0]) == ["hackeeg"]


class Restarting:
    """A board that opening its port has restarted: it neither hears nor speaks for two seconds."""

    def __init__(self, device: Any, until_s: float) -> None:
        self._device, self._until_s, self._now_s = device, until_s, 0.0

    def receive(self, data: bytes, now_s: float) -> None:
        if now_s >= self._until_s:
            self._device.receive(data, now_s)

    def tick(self, now_s: float) -> None:
        self._now_s = now_s
        if now_s >= self._until_s:
            self._device.tick(now_s)

    def to_send(self) -> bytes:
        return bytes(self._device.to_send()) if self._now_s >= self._until_s else b""


@pytest.mark.parametrize("name", sorted(EMULATED_FRONT_ENDS))
def test_a_board_that_was_restarted_by_opening_its_port_is_itself(name: str) -> None:
    assert names(asked(Restarting(front_end(name), 1002.0))[0]) == [name]


def test_a_bitalino_is_left_as_it_was() -> None:
    device = front_end("bitalino")
    assert isinstance(device, BitalinoEmulator)
    assert names(asked(device)[0]) == ["bitalino"]
    assert not device.streaming and device.battery_threshold == 0, "as its driver sets it"


def sent(kinds: Sequence[type[FrontEnd]] = DRIVERS) -> list[bytes]:
    return [step.send for step in steps(kinds) if step.send]


def require_unmoved(device: Any) -> None:
    if hasattr(device, "closure"):
        assert set(device.closure) == {0.0} and not device.moving
        assert getattr(device, "altered", []) == []
    else:
        assert set(device.state().position_deg.values()) == {0.0}
        assert device.state().last_command_s is None


@pytest.mark.sr("SR-11")
@pytest.mark.parametrize("name", sorted(EMULATED_HANDS))
def test_no_hand_moves_at_any_question_or_is_taken_for_a_front_end(name: str) -> None:
    device = EMULATED_HANDS[name]()
    detection, _ = asked(device)
    assert names(detection) == [] and detection.said == sent(), "everything was asked"
    require_unmoved(device)
    assert detection.repeats == (name == "brunel")


@pytest.mark.sr("SR-11")
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_hand_moves_at_questions_in_any_order_and_any_cut(data: st.DataObject) -> None:
    said = b"".join(data.draw(st.lists(st.sampled_from(sent()), min_size=1, max_size=20)))
    cut = data.draw(st.integers(0, len(said)))
    for make in EMULATED_HANDS.values():
        device = make()
        for now_s, part in ((1.0, said[cut:]), (1.1, said[:cut]), (1.2, b"")):
            device.receive(part, now_s)
            device.tick(now_s)
        require_unmoved(device)


def sampled(data: bytes, sent_baud: int, heard_baud: int, keep_broken: bool) -> bytes:
    """What a UART at another baud rate makes of 8N1 bytes that follow one another: each bit is read in its middle."""
    line = [1, *(bit for byte in data for bit in (0, *(byte >> i & 1 for i in range(8)), 1))]

    def level(bits: float) -> int:
        return line[int(bits)] if bits < len(line) else 1

    heard, at, share = bytearray(), 0.0, sent_baud / heard_baud
    while at < len(line):
        if level(at):
            at += share / 16  # how finely such receivers look for a start
            continue
        bits = [level(at + (i + 0.5) * share) for i in range(10)]
        if not bits[0] and (bits[9] or keep_broken):
            heard.append(sum(bit << i for i, bit in enumerate(bits[1:9])))
        at += 9.5 * share
    return bytes(heard)


def test_what_is_heard_at_the_right_baud_rate_is_what_was_said() -> None:
    assert sampled(bytes(range(256)), 9600, 9600, False) == bytes(range(256))
    assert sampled(b"\nwhoru\n", 230400, 115200, False) != b"\nwhoru\n"


@pytest.mark.sr("SR-11")
@pytest.mark.parametrize("keep_broken", [False, True])
@pytest.mark.parametrize("heard_baud", [9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600, 1_000_000])
def test_no_hand_moves_at_what_it_makes_of_questions_at_other_baud_rates(heard_baud: int, keep_broken: bool) -> None:
    heard = [sampled(step.send, step.baud, heard_baud, keep_broken) for step in steps() if step.send]
    for make in EMULATED_HANDS.values():
        device = make()
        for number, data in enumerate(heard):
            device.receive(data, 1.0 + number)
            device.tick(1.5 + number)
        require_unmoved(device)


@pytest.mark.sr("SR-11")
@pytest.mark.parametrize("name", sorted(HANDS))
def test_no_question_is_a_command_or_part_of_one(name: str) -> None:
    hand = HANDS[name]()
    for question in sent():
        assert not CODES & set(question), question
        for line in (question, question.strip(), question.strip() + b"\n", question.strip() + b"\r"):
            assert not hand.may_send(line), line


def test_a_silent_port_is_given_up_in_bounded_time() -> None:
    detection, seconds = asked(Saying(lambda: b""))
    assert detection.found == [] and detection.heard_of == {}
    assert seconds < sum(step.limit_s + STEP_S for step in detection.steps) < LONGEST_S + 10


def test_what_talks_without_end_is_given_up_in_bounded_time() -> None:
    detection, seconds = asked(Saying(lambda: b"\r\nStartUp!\r\nU\xaa\x55\x7e" * 200))
    assert detection.found == []
    assert seconds <= sum(step.limit_s + STEP_S for step in detection.steps)


def noise(seed: int) -> Iterator[Callable[[], bytes]]:
    random = np.random.default_rng(seed)
    yield lambda: random.bytes(60)
    yield lambda: bytes(random.integers(0x20, 0x7F, 40, np.uint8))  # letters and signs
    yield lambda: bytes(random.integers(0x30, 0x3A, 40, np.uint8)) + b"\n"  # one long number a line
    yield lambda: bytes(random.choice(list(b"\xa0\xc0\xc7\x7c\x01\x00\x80"), 60).astype(np.uint8))  # marks of frames
    yield lambda: b"\0" * 50
    yield lambda: b"\xff" * 50


@pytest.mark.parametrize("seed", range(3))
def test_garbage_is_unknown(seed: int) -> None:
    for words in noise(seed):
        found = asked(Saying(words))[0].found
        # Whole numbers, one a line, are what `csv` reads, and a person has to say what they mean.
        assert [each.told for each in found if not each.missing] == []


class Loop(Saying):
    """Receive and transmit joined: everything comes back."""

    def __init__(self) -> None:
        super().__init__(self._take)
        self._waiting = bytearray()

    def receive(self, data: bytes, now_s: float) -> None:
        self._waiting += data

    def _take(self) -> bytes:
        data = bytes(self._waiting)
        self._waiting.clear()
        return data


def test_a_loop_is_unknown() -> None:
    detection, _ = asked(Loop())
    assert detection.found == [] and detection.repeats


def knight() -> Iterator[bytes]:
    """A board that nobody here reads: marks and end of a Cyton and a FreeEEG32, frames of 21 bytes."""
    random, counter = np.random.default_rng(2), 0
    while True:
        yield b"".join(b"\xa0" + bytes(((counter + i) % 256,)) + random.bytes(18) + b"\xc0" for i in range(2))
        counter += 2


def words_and_numbers() -> Iterator[bytes]:
    number = 0
    while True:
        number += 1
        yield b"%d,%d\r\n" % (number, number) + (b"servo %d moved to its place\r\n" % number) * (number % 2)


def numbers_of_every_length() -> Iterator[bytes]:
    number = 0
    while True:
        number += 1
        yield b",".join(b"%d" % number for _ in range(1 + number % 4)) + b"\n"


@pytest.mark.parametrize("stream", [knight, words_and_numbers, numbers_of_every_length])
def test_a_stream_that_is_nobodys_is_unknown(stream: Callable[[], Iterator[bytes]]) -> None:
    sending = stream()
    assert names(asked(Saying(lambda: next(sending)))[0]) == []


def test_a_hand_that_streams_its_positions_is_unknown() -> None:
    hand = EMULATED_HANDS["mia"]()
    hand.receive(b"@ADP1...........*\r", 999.0)
    hand.tick(1000.0)
    assert hand.to_send().startswith(b"e pos")
    assert names(asked(hand)[0]) == []


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=3000), seconds=st.floats(1e-3, 10))
def test_no_driver_recognises_random_bytes_or_raises(data: bytes, seconds: float) -> None:
    for kind in DRIVERS:
        assert kind.identity is not None
        assert kind.identity.recognise(data, seconds) is None


def test_two_that_cannot_be_told_apart_are_both_named() -> None:
    class Twin(FRONT_ENDS["cyton"]):  # type: ignore[name-defined,misc]
        pass

    assert names(asked(front_end("cyton"), (FRONT_ENDS["cyton"], Twin))[0]) == ["cyton", "cyton"]


def test_streams_come_before_questions_and_single_bytes_before_words() -> None:
    order = [step.send for step in steps() if step.kinds]
    listened = order.count(b"")
    assert listened and order[:listened] == [b""] * listened
    words = [len(send.strip()) > 3 and send.strip().isalpha() for send in order]
    assert words == sorted(words)


def test_what_is_asked_alike_is_asked_once() -> None:
    assert sent().count(b"v") == 1
    (step,) = [step for step in steps() if step.send == b"v"]
    assert [kind.info.id for kind in step.kinds] == ["cyton", "cyton_daisy"]


def test_every_driver_says_how_it_is_recognised() -> None:
    assert all(isinstance(kind.identity, Identity) for kind in DRIVERS)
    for kind in DRIVERS:
        assert kind.identity is not None
        assert not kind.identity.bauds or "baud" in options_of(kind), "what is found at another rate has to be told it"
