"""EMG acquisition devices, by name."""

from __future__ import annotations

import difflib

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.frontends.base import FrontEnd
from myosem_edge.firmware_bridge.frontends.bitalino import Bitalino
from myosem_edge.firmware_bridge.frontends.brainflow import BrainFlow
from myosem_edge.firmware_bridge.frontends.chords import Chords
from myosem_edge.firmware_bridge.frontends.csv import Csv
from myosem_edge.firmware_bridge.frontends.cyton import Cyton, CytonDaisy
from myosem_edge.firmware_bridge.frontends.file import Playback
from myosem_edge.firmware_bridge.frontends.freeeeg32 import FreeEeg32
from myosem_edge.firmware_bridge.frontends.hackeeg import HackEeg
from myosem_edge.firmware_bridge.frontends.lsl import Lsl
from myosem_edge.firmware_bridge.frontends.myo import Myo
from myosem_edge.firmware_bridge.frontends.myosem_wire import MyosemWire
from myosem_edge.firmware_bridge.frontends.options import read_options
from myosem_edge.firmware_bridge.frontends.spikershield import SpikerShield

DRIVERS: tuple[type[FrontEnd], ...] = (
    Bitalino,
    Chords,
    Csv,
    Cyton,
    CytonDaisy,
    FreeEeg32,
    HackEeg,
    Myo,
    MyosemWire,
    SpikerShield,
)
FRONT_ENDS = {driver.info.id: driver for driver in DRIVERS}
# What has no serial port of its own, and so no emulator: `firmware_bridge.ports` opens it.
SOURCES: dict[str, type[FrontEnd]] = {driver.info.id: driver for driver in (BrainFlow, Playback, Lsl)}


def front_end(name: str) -> type[FrontEnd]:
    """The driver of that name.

    Raises:
        InputError: there is none; names the nearest one.
    """
    known = FRONT_ENDS | SOURCES
    try:
        return known[name]
    except KeyError:
        near = difflib.get_close_matches(name, known, n=1)
        raise InputError(
            "no such front end",
            found=repr(name),
            expected=" or ".join(sorted(known)),
            todo=f"Did you mean {near[0]!r}?" if near else None,
        ) from None


def make_front_end(text: str) -> FrontEnd:
    """A driver by `NAME`, `NAME:option=value,option=value` or `file:PATH`, as `--front-end` has it.

    Raises:
        InputError: there is no such front end, or its options are wrong.
    """
    name, _, options = text.partition(":")
    driver = front_end(name)
    return driver(**read_options(driver, options))
