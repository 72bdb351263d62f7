"""`myosem-edge emulate`: play a front end or a hand on a pseudo-terminal, for any program to open as a serial port."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from myosem_edge.cli._output import json_option
from myosem_edge.cli._types import FiniteRange
from myosem_edge.firmware_bridge.emulators.ability import AbilityEmulator
from myosem_edge.firmware_bridge.emulators.base import Emulator
from myosem_edge.firmware_bridge.emulators.myo import CHANNELS, MyoEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import ArraySource, read_recording

MYO_RATE_HZ = 200.0
STATUS_S = 0.1
LINGER_S = 1.0  # after the last sample, so that whoever reads gets it before the port goes away


@click.group()
def emulate() -> None:
    """Play a front end or a hand on a pseudo-terminal.

    The port is printed; open it as you would the real one's. Ctrl-C unplugs the device.
    """


@emulate.command()
@click.option(
    "--recording",
    type=click.Path(path_type=Path),
    required=True,
    help="What the wearer does: an .npz, .npy or .csv file of 8 channels at 200 Hz, or a folder of .npz files.",
)
@click.option("--subject", metavar="NAME", help="Which subject, where the recording is a folder.")
@click.option("--loop/--once", default=True, help="Begin again at the end (default), or unplug there.")
@json_option
def myo(recording: Path, subject: str | None, loop: bool, as_json: bool) -> None:
    """A Myo armband behind its BLED112 dongle, playing a recording."""
    emg = read_recording(recording, channels=CHANNELS, subject=subject)
    source = ArraySource(emg, MYO_RATE_HZ, loop=loop)
    emulator = MyoEmulator(source)

    def status() -> str:
        state = "streaming" if emulator.streaming else "connected" if emulator.connected else "advertising"
        return f"{state}, {emulator.samples_sent} samples sent"

    _play(emulator, "myo", as_json, status, lambda: source.finished)


@emulate.command()
@click.option("--object-mm", type=FiniteRange(0, 100, min_open=True), help="Put an object this wide into the hand.")
@json_option
def ability(object_mm: float | None, as_json: bool) -> None:
    """A PSYONIC Ability Hand, showing where its fingers are."""
    emulator = AbilityEmulator(object_width_mm=object_mm)

    def status() -> str:
        state = emulator.state()
        fingers = "  ".join(f"{joint} {degrees:4.0f}°" for joint, degrees in state.position_deg.items())
        return f"{state.grip or state.control:<10} {fingers}"

    _play(emulator, "ability", as_json, status, lambda: False)


def _play(emulator: Emulator, device: str, as_json: bool, status: Callable[[], str], over: Callable[[], bool]) -> None:
    """Keep the device plugged in until `over()` or Ctrl-C; on a terminal, show `status()` on one line."""
    with OnPty(emulator) as pty:
        click.echo(json.dumps({"device": device, "port": pty.port}) if as_json else pty.port)
        show_status = sys.stderr.isatty() and not as_json
        try:
            for _ in _until(lambda: over() or pty.error is not None):
                if show_status:
                    click.echo(f"\r{status()}\x1b[K", nl=False, err=True)
        finally:
            if show_status:
                click.echo(err=True)
        if pty.error is None:
            time.sleep(LINGER_S)


def _until(over: Callable[[], bool]) -> Iterator[None]:
    while not over():
        yield
        time.sleep(STATUS_S)
