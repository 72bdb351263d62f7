"""`myosem-edge emulate`: play a front end or a hand on a pseudo-terminal, for any program to open as a serial port."""

from __future__ import annotations

import functools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

from myosem_edge.cli._output import json_option
from myosem_edge.cli._types import FiniteRange
from myosem_edge.errors import InputError, StorageError
from myosem_edge.firmware_bridge.arrays import read_recording
from myosem_edge.firmware_bridge.emulators import EMULATED_FRONT_ENDS, EMULATED_HANDS
from myosem_edge.firmware_bridge.emulators.base import Emulator
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends import FRONT_ENDS, make_front_end
from myosem_edge.firmware_bridge.frontends.options import options_of
from myosem_edge.firmware_bridge.hands import HANDS

STATUS_S = 0.1
LINGER_S = 1.0  # after the last sample, so that whoever reads gets it before the port goes away


class _Devices(click.Group):
    """Commands for devices, each also under its name with what --front-end is told of it."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name, told, _ = cmd_name.partition(":")
        if told and name in EMULATED_FRONT_ENDS:
            return _front_end_command(cmd_name)
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Devices)
def emulate() -> None:
    """Play a front end or a hand on a pseudo-terminal.

    The port is printed; open it as you would the real one's. Ctrl-C unplugs the device. What --front-end is told of a
    device is told in the same words here: emulate myo:address=D1:22:33:44:55:66.
    """


def _faults(command: Callable[..., None]) -> Callable[..., None]:
    """The dial of faults, as options of a command; the command gets them as `faults`."""

    @functools.wraps(command)
    def with_faults(**options: Any) -> None:
        chosen = {name: options.pop(name) for name in FAULT_OPTIONS}
        command(faults=Faults(**{name: value for name, value in chosen.items() if value is not None}), **options)

    for option in reversed(FAULT_OPTIONS.values()):
        with_faults = option(with_faults)
    return with_faults


def _probability(name: str, text: str) -> Callable[..., Any]:
    flag = f"--{name.removesuffix('_probability')}"
    return click.option(flag, name, type=FiniteRange(0, 1), metavar="P", help=f"Probability that a frame {text}.")


def _number(name: str, metavar: str, text: str) -> Callable[..., Any]:
    return click.option(f"--{name.replace('_', '-')}", name, type=FiniteRange(0, 1e6), metavar=metavar, help=text)


def _channels(name: str, text: str) -> Callable[..., Any]:
    help_text = f"Channel N, counted from 0, {text}; may be given again."
    channel = click.IntRange(0, 255)
    return click.option(
        f"--{name}-channel", f"{name}_channels", type=channel, multiple=True, metavar="N", help=help_text
    )


FAULT_OPTIONS: dict[str, Callable[..., Any]] = {
    "drop_probability": _probability("drop_probability", "is lost"),
    "duplicate_probability": _probability("duplicate_probability", "comes twice"),
    "corrupt_probability": _probability("corrupt_probability", "has one byte changed"),
    "cut_probability": _probability("cut_probability", "misses one byte"),
    "garbage_probability": _probability("garbage_probability", "comes after random bytes"),
    "text_probability": _probability("text_probability", "comes after a line of text"),
    "delay_ms": _number("delay_ms", "MS", "Frames arrive so much later."),
    "burst_ms": _number("burst_ms", "MS", "Frames are held back and arrive together this often; FTDI chips: 16."),
    "stuck_counter": click.option("--stuck-counter", is_flag=True, help="The device's counter does not move."),
    "rotate": click.option(
        "--rotate", type=click.IntRange(-64, 64), metavar="N", help="The ring is turned by so many electrodes."
    ),
    "noise": _number("noise", "RMS", "White noise instead of EMG, in the device's unit."),
    "repeat_ms": _number("repeat_ms", "MS", "The first so many milliseconds again and again."),
    "hum_hz": _number("hum_hz", "HZ", "Frequency of mains hum on every channel."),
    "hum": _number("hum", "AMPLITUDE", "How strong the hum is, in the device's unit."),
    "artefact_hz": _number("artefact_hz", "HZ", "Frequency of a motion artefact on every channel; people: 2."),
    "artefact": _number("artefact", "AMPLITUDE", "How strong the artefact is, in the device's unit."),
    "flat": click.option("--flat", is_flag=True, help="Every channel reads zero."),
    "flat_channels": _channels("flat", "reads zero"),
    "railing_channels": _channels("railing", "reads its largest value"),
    "seed": click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="The same seed does the same damage."),
}  # fmt: skip


def _front_end_command(text: str) -> click.Command:
    """`emulate NAME[:OPTION=VALUE,...]`: a recording is played as this device would send it.

    Raises:
        InputError: the options are wrong.
    """
    name, told, _ = text.partition(":")
    info = make_front_end(text).info if told else FRONT_ENDS[name].info
    open_ended = not told and any(option.required for option in options_of(FRONT_ENDS[name]).values())
    kind = "channels and rate as told" if open_ended else f"{info.channels} channels at {info.rate_hz:g} Hz"

    @click.command(text, help=f"{info.name}, playing a recording: {kind}.")
    @click.option(
        "--recording",
        type=click.Path(path_type=Path),
        required=True,
        help="What the wearer does: an .npz, .npy or .csv file, or a folder of .npz files.",
    )
    @click.option("--subject", metavar="NAME", help="Which subject, where the recording is a folder.")
    @click.option(
        "--recording-hz",
        type=FiniteRange(1, 1e5),
        help="Rate of the recording if not the device's: resampled.",
    )
    @click.option(
        "--recording-channels",
        type=click.IntRange(1, 256),
        help="Channels of the recording, where they are not as many as the device's: repeated in order, or the first.",
    )
    @click.option(
        "--scale", type=FiniteRange(0, 1e6, min_open=True), default=1.0, show_default=True,
        help=f"One unit of the recording in the device's ({info.unit}).",
    )  # fmt: skip
    @click.option("--loop/--once", default=True, help="Begin again at the end (default), or unplug there.")
    @click.option(
        "--link", type=click.Path(path_type=Path), help="A name for the port that stays when it is plugged in again."
    )
    @click.option(
        "--unplug-after", "unplug_after_s", type=FiniteRange(0, 1e6, min_open=True), metavar="S",
        help="Pull the plug after so many seconds.",
    )  # fmt: skip
    @click.option(
        "--replug-after", "replug_after_s", type=FiniteRange(0, 1e6), metavar="S",
        help="Plug it in again so many seconds later, for ever in turn; needs --link.",
    )  # fmt: skip
    @_faults
    @json_option
    def command(
        recording: Path,
        subject: str | None,
        recording_hz: float | None,
        recording_channels: int | None,
        scale: float,
        loop: bool,
        link: Path | None,
        unplug_after_s: float | None,
        replug_after_s: float | None,
        faults: Faults,
        as_json: bool,
    ) -> None:
        if replug_after_s is not None and (link is None or unplug_after_s is None):
            raise click.UsageError("--replug-after needs --link and --unplug-after: the port's own name changes")
        driver = make_front_end(text)
        info = driver.info
        emg = read_recording(recording, channels=recording_channels or info.channels, subject=subject) * scale
        emg = np.resize(emg.T, (info.channels, len(emg))).T if recording_channels else emg
        if recording_hz is not None and recording_hz != info.rate_hz:
            emg = _resampled(emg, recording_hz, info.rate_hz)
        source = ArraySource(emg, info.rate_hz, loop=loop)
        options = {"driver": driver} if options_of(type(driver)) else {}
        emulator = EMULATED_FRONT_ENDS[name](source, faults=faults, **options)
        _play(
            emulator, name, as_json, lambda: source.finished,
            link=link, unplug_after_s=unplug_after_s, replug_after_s=replug_after_s,
        )  # fmt: skip

    return command


for _name in EMULATED_FRONT_ENDS:
    emulate.add_command(_front_end_command(_name))


def _hand_command(name: str, make: Callable[..., Emulator]) -> click.Command:
    """`emulate NAME` for one hand, showing where its fingers are."""
    info = HANDS[name].info

    @click.command(name, help=f"{info.name}, showing where its fingers are.")
    @click.option("--object-mm", type=FiniteRange(0, 100, min_open=True), help="Put an object this wide into the hand.")
    @json_option
    def command(object_mm: float | None, as_json: bool) -> None:
        _play(make(object_width_mm=object_mm), name, as_json, lambda: False)

    return command


for _name, _make in EMULATED_HANDS.items():
    emulate.add_command(_hand_command(_name, _make))


def _resampled(emg: np.ndarray, from_hz: float, to_hz: float) -> np.ndarray:
    """The recording `(n, channels)` at the device's rate, through its spectrum: it is played in a circle anyway."""
    n = max(1, round(len(emg) * to_hz / from_hz))
    return (np.fft.irfft(np.fft.rfft(emg, axis=0), n, axis=0) * (n / len(emg))).astype(np.float32)


def _play(
    emulator: Emulator,
    device: str,
    as_json: bool,
    over: Callable[[], bool],
    *,
    link: Path | None = None,
    unplug_after_s: float | None = None,
    replug_after_s: float | None = None,
) -> None:
    """Keep the device plugged in until `over()` or Ctrl-C; on a terminal, show its status on one line."""
    while True:
        with OnPty(emulator) as pty, _named(link, pty.port):
            click.echo(json.dumps({"device": device, "port": pty.port}) if as_json else str(link or pty.port))
            _watch(emulator, pty, as_json, over, math.inf if unplug_after_s is None else unplug_after_s)
            if over() and pty.error is None:
                time.sleep(LINGER_S)
        if over() or replug_after_s is None:
            return
        time.sleep(replug_after_s)


def _watch(emulator: Emulator, pty: OnPty, as_json: bool, over: Callable[[], bool], limit_s: float) -> None:
    end_s = time.monotonic() + limit_s
    show_status = sys.stderr.isatty() and not as_json
    try:
        while not over() and pty.error is None and time.monotonic() < end_s:
            time.sleep(min(STATUS_S, max(0.0, end_s - time.monotonic())))
            if show_status:
                click.echo(f"\r{emulator.status()}\x1b[K", nl=False, err=True)
    finally:
        if show_status:
            click.echo(err=True)


@contextmanager
def _named(link: Path | None, port: str) -> Iterator[None]:
    """`link` names the port while it is plugged in.

    Raises:
        InputError: something that is no link has that name, or the place cannot be written.
    """
    if link is None:
        yield
        return
    if link.exists() and not link.is_symlink():
        raise InputError("exists already and is no link", where=link, todo="Choose another name")
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(port)
    except OSError as error:
        raise StorageError(f"cannot be made: {error.strerror}", where=link) from error
    try:
        yield
    finally:
        link.unlink(missing_ok=True)
