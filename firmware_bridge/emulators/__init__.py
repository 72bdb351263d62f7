"""Emulated front ends, by the name of their driver: made of a source of EMG, a dial of faults, and the driver if it has
options, whose device they then are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from myosem_edge.firmware_bridge.emulators.base import Emulator
from myosem_edge.firmware_bridge.emulators.chords import ChordsEmulator
from myosem_edge.firmware_bridge.emulators.cyton import CytonEmulator
from myosem_edge.firmware_bridge.emulators.freeeeg32 import FreeEeg32Emulator
from myosem_edge.firmware_bridge.emulators.hackeeg import HackEegEmulator
from myosem_edge.firmware_bridge.emulators.myo import MyoEmulator
from myosem_edge.firmware_bridge.emulators.myosem_wire import MyosemWireEmulator

EMULATED_FRONT_ENDS: dict[str, Callable[..., Emulator]] = {
    "chords": ChordsEmulator,
    "cyton": CytonEmulator,
    "cyton_daisy": partial(CytonEmulator, daisy=True),
    "freeeeg32": FreeEeg32Emulator,
    "hackeeg": HackEegEmulator,
    "myo": MyoEmulator,
    "myosem_wire": MyosemWireEmulator,
}
