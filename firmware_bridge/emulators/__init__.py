"""Emulated front ends, by the name of their driver: made of a source of EMG, a dial of faults, and the driver if it has
options, whose device they then are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from myosem_edge.firmware_bridge.emulators.ability import AbilityEmulator
from myosem_edge.firmware_bridge.emulators.base import Emulator
from myosem_edge.firmware_bridge.emulators.bitalino import BitalinoEmulator
from myosem_edge.firmware_bridge.emulators.brunel import BrunelEmulator
from myosem_edge.firmware_bridge.emulators.chords import ChordsEmulator
from myosem_edge.firmware_bridge.emulators.csv import CsvEmulator
from myosem_edge.firmware_bridge.emulators.cyton import CytonEmulator
from myosem_edge.firmware_bridge.emulators.dynamixel import DynamixelEmulator
from myosem_edge.firmware_bridge.emulators.freeeeg32 import FreeEeg32Emulator
from myosem_edge.firmware_bridge.emulators.hackeeg import HackEegEmulator
from myosem_edge.firmware_bridge.emulators.inspire import InspireEmulator
from myosem_edge.firmware_bridge.emulators.mia import MiaEmulator
from myosem_edge.firmware_bridge.emulators.myo import MyoEmulator
from myosem_edge.firmware_bridge.emulators.myosem_wire import MyosemWireEmulator
from myosem_edge.firmware_bridge.emulators.rohand import RoHandEmulator
from myosem_edge.firmware_bridge.emulators.servo import ServoEmulator, ServoWristEmulator
from myosem_edge.firmware_bridge.emulators.spikershield import SpikerShieldEmulator
from myosem_edge.firmware_bridge.emulators.two_channel import TwoChannelEmulator

EMULATED_FRONT_ENDS: dict[str, Callable[..., Emulator]] = {
    "bitalino": BitalinoEmulator,
    "chords": ChordsEmulator,
    "csv": CsvEmulator,
    "cyton": CytonEmulator,
    "cyton_daisy": partial(CytonEmulator, daisy=True),
    "freeeeg32": FreeEeg32Emulator,
    "hackeeg": HackEegEmulator,
    "myo": MyoEmulator,
    "myosem_wire": MyosemWireEmulator,
    "spikershield": SpikerShieldEmulator,
}

EMULATED_HANDS: dict[str, Callable[..., Emulator]] = {
    "ability": AbilityEmulator,
    "brunel": BrunelEmulator,
    "dynamixel": DynamixelEmulator,
    "inspire": InspireEmulator,
    "mia": MiaEmulator,
    "rohand": RoHandEmulator,
    "servo": ServoEmulator,
    "servo_wrist": ServoWristEmulator,
    "two_channel": TwoChannelEmulator,
}
