"""What a port's USB id suggests. Most boards show the id of a chip that a thousand others have.

Vendor ids are those of the public USB id list.
"""

from __future__ import annotations

from dataclasses import dataclass

from myosem_edge.firmware_bridge.frontends import FRONT_ENDS
from myosem_edge.firmware_bridge.hands import HANDS

CONVERTERS = {  # USB to a serial line, of whatever board
    "0403": "FTDI",
    "067b": "Prolific PL2303",
    "10c4": "Silicon Labs CP210x",
    "1a86": "WCH CH340 or CH910x",
}
BOARDS = {  # microcontrollers that speak USB themselves, with whatever firmware
    "0483": "STMicroelectronics",
    "2341": "Arduino",
    "239a": "Adafruit",
    "2a03": "Arduino",
    "2e8a": "Raspberry Pi",
    "303a": "Espressif",
}


@dataclass(frozen=True)
class Suggestion:
    """What may be behind a USB id, by the names that `--front-end` and `--hand` take; `chip` is empty if unknown."""

    chip: str
    front_ends: tuple[str, ...]
    hands: tuple[str, ...]

    @property
    def words(self) -> str:
        if not self.hands:
            return ", ".join(self.front_ends)
        return f"{self.chip}: any front end but {', '.join(_OWN)}, or any hand" if self.chip else ""


_OWN = tuple(name for name, kind in FRONT_ENDS.items() if kind.usb_ids)  # with an id of their own


def suggestion(usb_id: str) -> Suggestion:
    """`usb_id` as `port.PortInfo` has it. A port without one may be anything that has no USB id of its own."""
    exactly = tuple(name for name, kind in FRONT_ENDS.items() if usb_id in kind.usb_ids)
    chip = next((names[usb_id[:4]] for names in (CONVERTERS, BOARDS) if usb_id[:4] in names), "")
    if exactly:
        return Suggestion("", exactly, ())
    return Suggestion(chip, tuple(name for name in FRONT_ENDS if name not in _OWN), tuple(HANDS))
