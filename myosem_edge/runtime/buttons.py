"""Buttons on GPIO lines as wearer input: stop, open, arm, lock. The kernel debounces; read is what is held and pressed.

Through libgpiod's Python package `gpiod` 2 (the extra `gpio`), which the kernel's character device serves
(https://docs.kernel.org/userspace-api/gpio/chardev.html). A button between the line and ground with the chip's own
pull-up is the default. Nothing here waits: edges are read when the descriptor is readable, levels every cycle.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from myosem_edge.errors import DeviceError, InputError
from myosem_edge.runtime.gate import Wearer

CHIP = "button chip"  # what the loop calls the device
# Push buttons bounce for up to some milliseconds; a quarter of a tick leaves a stop three quarters to be on time.
DEBOUNCE = timedelta(milliseconds=5)
CONSUMER = "myosem-edge"
STOP, OPEN, ARM, LOCK = "stop", "open", "arm", "lock"
BUTTONS = (STOP, OPEN, ARM, LOCK)
_ACTIVE = {("active", "low"), ("active", "high")}
FORM = "CHIP:stop=LINE,open=LINE,arm=LINE,lock=LINE[,active=high]; stop-nc=LINE for a stop that opens its contact"


@dataclass(frozen=True)
class ButtonSpec:
    """Which line is which button. A line is its offset on the chip, or its name there.

    `active_high`: the buttons lead to the supply and are pulled down. `stop_opens`: the contact of stop is closed until
    it is pressed, so that a broken wire stops.
    """

    chip: str
    lines: dict[str, int | str]
    active_high: bool = False
    stop_opens: bool = False

    def active_low(self, button: str) -> bool:
        """Whether that button is pressed while its line is low."""
        return self.active_high == (button == STOP and self.stop_opens)


def button_spec(text: str) -> ButtonSpec:
    """What `--gpio` says.

    Raises:
        InputError: it has another form, names one line twice, or has no stop.
    """
    chip, _, rest = text.partition(":")
    lines: dict[str, int | str] = {}
    active = "low"
    stop_opens = False
    for part in rest.split(",") if rest else []:
        name, _, value = part.partition("=")
        button = STOP if name == "stop-nc" else name
        if not value or button in lines or (button not in BUTTONS and (name, value) not in _ACTIVE):
            raise InputError("a button cannot be read", where="--gpio", found=repr(part), expected=FORM)
        if name == "active":
            active = value
            continue
        stop_opens = stop_opens or name == "stop-nc"
        lines[button] = int(value) if value.isascii() and value.isdigit() else value
    if not chip or not lines or len(set(lines.values())) != len(lines):
        raise InputError("no chip with a line for each button", where="--gpio", found=repr(text), expected=FORM)
    if STOP not in lines:
        raise InputError("buttons without a stop are not taken", where="--gpio", found=repr(text), expected=FORM)
    return ButtonSpec(chip, lines, active == "high", stop_opens)


class LineRequest(Protocol):
    """What is needed of a `gpiod.LineRequest`."""

    @property
    def fd(self) -> int: ...

    def read_edge_events(self, max_events: int | None = None) -> list[Any]: ...

    def get_values(self, lines: Iterable[int | str] | None = None) -> list[Any]: ...

    def release(self) -> None: ...


class Buttons:
    """Requested lines. `offsets` maps buttons to line offsets, which is what edges are told by."""

    def __init__(self, request: LineRequest, offsets: dict[str, int], chip: str) -> None:
        self._request: LineRequest | None = request
        self._offsets = offsets
        self.chip = chip

    def fileno(self) -> int:
        """The descriptor to wait for, or -1 after `close`."""
        return -1 if self._request is None else self._request.fd

    def take(self, readable: bool) -> Wearer:
        """What the wearer presses. `readable` says that the descriptor is: reading edges would wait otherwise.

        Stop and open count while they are held, and once where they were shorter than a cycle. Arm and lock are the
        edge alone: a button that is held, or stuck since before the start, does nothing. They do not count in a cycle
        in which another button moved: a cable that was pulled is no wish.

        Raises:
            DeviceError: the chip has vanished.
        """
        if self._request is None:
            raise DeviceError("the buttons are closed", where=self.chip)
        try:
            events = self._request.read_edge_events() if readable else []
            # Levels too: they know a button held since before the start, and fail in the cycle in which the chip goes.
            values = self._request.get_values(list(self._offsets.values()))
        except OSError as error:
            raise DeviceError(
                "the chip with the buttons has vanished",
                where=self.chip,
                found=error.strerror or str(error),
                todo="Without a stop button the hand is not driven: connect it and start again",
            ) from error
        held = {button for button, value in zip(self._offsets, values, strict=True) if value}
        moved = {button for button, offset in self._offsets.items() for event in events if event.line_offset == offset}
        rising = {event.line_offset for event in events if event.event_type is event.Type.RISING_EDGE}
        pressed = {button for button, offset in self._offsets.items() if offset in rising}
        if STOP in held | pressed:
            return Wearer(stop=True)
        alone = pressed if len(moved) == 1 else set()
        return Wearer(open=OPEN in held | pressed, arm=ARM in alone, lock=LOCK in alone)

    def close(self) -> None:
        """Give the lines back. Idempotent."""
        request, self._request = self._request, None
        if request is not None:
            with contextlib.suppress(OSError):
                request.release()


def open_buttons(spec: ButtonSpec) -> Buttons:
    """Ask the kernel for the lines: inputs, pulled, debounced, both edges.

    Raises:
        InputError: the package `gpiod` is not installed.
        DeviceError: there is no such chip or line, one is in use, or it is not permitted.
    """
    try:
        import gpiod
        from gpiod.line import Bias, Direction, Edge
    except ImportError:
        raise InputError("gpiod is not installed", todo="Install it: pip install 'myosem-edge[gpio]'") from None
    settings: dict[Any, Any] = {
        line: gpiod.LineSettings(
            direction=Direction.INPUT,
            edge_detection=Edge.BOTH,
            bias=Bias.PULL_DOWN if spec.active_high else Bias.PULL_UP,
            active_low=spec.active_low(button),
            debounce_period=DEBOUNCE,
        )
        for button, line in spec.lines.items()
    }
    where = spec.chip
    try:
        with gpiod.Chip(spec.chip) as chip:
            offsets = {}
            for button, line in spec.lines.items():
                where = f"{spec.chip}, line {line} ({button})"
                offsets[button] = chip.line_offset_from_id(line)
                info = chip.get_line_info(offsets[button])
                if info.used:
                    raise OSError(errno.EBUSY, f"in use by {info.consumer or 'the kernel'}")
            where = spec.chip
            request = chip.request_lines(settings, consumer=CONSUMER)
    except (OSError, ValueError) as error:
        raise _cannot_open(error, where, spec.chip) from error
    return Buttons(request, offsets, spec.chip)


def _cannot_open(error: OSError | ValueError, where: str, chip: str) -> DeviceError:
    code = error.errno if isinstance(error, OSError) else errno.EINVAL
    found = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if code in (errno.EACCES, errno.EPERM):
        todo = f"Who runs this needs the group that {chip} belongs to, often gpio; a service also DeviceAllow="
    elif code == errno.EBUSY:
        todo = "End the program that has it, or take another line"
    elif where != chip:
        todo = "`gpioinfo` lists the lines of every chip"
    else:
        todo = "`gpiodetect` lists the chips"
    return DeviceError("the buttons cannot be read", where=where, found=found, todo=todo)


def together(keys: Wearer, buttons: Wearer) -> Wearer:
    """Keys and buttons at once: whatever stops stops, and nothing else counts in that cycle."""
    if keys.stop or buttons.stop:
        return Wearer(stop=True)
    return Wearer(open=keys.open or buttons.open, arm=keys.arm or buttons.arm, lock=keys.lock or buttons.lock)
