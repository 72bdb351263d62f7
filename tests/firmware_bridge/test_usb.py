"""What a USB id suggests: one thing for a device with an id of its own, anything for a converter chip."""

from __future__ import annotations

import pytest

from myosem_edge.firmware_bridge.frontends import FRONT_ENDS
from myosem_edge.firmware_bridge.hands import HANDS
from myosem_edge.firmware_bridge.usb import BOARDS, CONVERTERS, suggestion


def test_a_device_with_an_id_of_its_own_is_named_alone() -> None:
    found = suggestion("2458:0001")
    assert (found.front_ends, found.hands, found.words) == (("myo",), (), "myo")


@pytest.mark.parametrize(("usb_id", "chip"), [("10c4:ea60", "CP210x"), ("0403:6001", "FTDI"), ("1a86:7523", "CH340")])
def test_a_converter_suggests_everything_without_an_id_of_its_own(usb_id: str, chip: str) -> None:
    found = suggestion(usb_id)
    assert chip in found.chip and set(found.front_ends) == set(FRONT_ENDS) - {"myo"} and set(found.hands) == set(HANDS)
    assert "any front end but myo, or any hand" in found.words


@pytest.mark.parametrize("usb_id", ["", "dead:beef"])
def test_what_nobody_knows_suggests_nothing_in_words(usb_id: str) -> None:
    assert suggestion(usb_id).chip == suggestion(usb_id).words == ""


def test_a_vendor_is_known_once() -> None:
    assert not CONVERTERS.keys() & BOARDS.keys()
    assert all(len(vendor) == 4 and vendor == vendor.lower() for vendor in (*CONVERTERS, *BOARDS))
