"""The dongle's language: what is a message, what is not, and where to look for the next one."""

from __future__ import annotations

import uuid

import pytest

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge import bgapi

NOTIFICATION = bytes.fromhex("80 15 04 05 00 2B 00 01 10") + bytes(16)


def test_reader_counts_every_byte_it_could_not_use() -> None:
    reader = bgapi.Reader()
    noise = bytes(range(1, 0x80))
    assert list(reader.feed(noise)) == []
    (message,) = reader.feed(bytes.fromhex("00 02 06 04 81 01"))
    assert (message.event, message.key, message.result()) == (False, bgapi.END_PROCEDURE, 0x0181)
    assert (reader.rejected_bytes, reader.resyncs) == (len(noise), 1)
    reader.forget()
    assert reader.rejected_bytes == len(noise)
    list(reader.feed(b"\x80\x15\x04"))
    reader.forget()
    assert reader.rejected_bytes == len(noise) + 3
    list(reader.feed(bytes.fromhex("00 02 06 04 00 00")))
    assert reader.resyncs == 2


def test_length_that_no_message_has_is_not_waited_for() -> None:
    reader = bgapi.Reader()
    impossible = bytes.fromhex("80 80 04 05 00 2B 00 01 7B")
    assert len(list(reader.feed(impossible + NOTIFICATION))) == 1
    assert reader.rejected_bytes == len(impossible)


@pytest.mark.parametrize("event", ["80 03 03 04 00 08 02", "80 05 04 01 00 00 00 2C 00"])
def test_events_carry_no_result(event: str) -> None:
    (message,) = bgapi.Reader().feed(bytes.fromhex(event))
    assert message.event
    assert message.result() == 0


def test_result_of_a_response_stands_where_its_class_puts_it() -> None:
    reader = bgapi.Reader()
    responses = bytes.fromhex("00 02 06 02 81 01  00 03 03 00 05 86 01  00 03 04 05 05 01 04  00 03 06 03 02 02 05")
    assert [message.result() for message in reader.feed(responses)] == [0x0181, 0x0186, 0x0401, 0x0202]


def test_advertised_services_are_found_among_other_structures() -> None:
    one, two = uuid.UUID(int=0x1234 << 64), uuid.UUID(int=99)
    data = b"\x02\x01\x06" + b"\x21\x06" + one.bytes[::-1] + two.bytes[::-1] + b"\x11\x07" + two.bytes[::-1]
    assert bgapi.advertised_services(data) == [one, two, two]
    assert bgapi.advertised_services(data[:-1]) == [one, two]
    assert bgapi.advertised_services(b"") == []
    assert bgapi.advertised_services(b"\x00" * 5 + data) == []  # a zero length ends an advertisement


def test_address_is_sent_backwards_and_shown_forwards() -> None:
    assert bgapi.parse_address("d1:22:33:44:55:06") == bytes.fromhex("06 55 44 33 22 D1")
    assert bgapi.show_address(bytes.fromhex("06 55 44 33 22 D1")) == "D1:22:33:44:55:06"


@pytest.mark.parametrize("text", ["", "D1:22", "D1:22:33:44:55:GG", "D1:22:33:44:55:66:77", "1D1:22:33:44:55:66"])
def test_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a Bluetooth address"):
        bgapi.parse_address(text)
