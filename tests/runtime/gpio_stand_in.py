"""A stand-in for the two classes of `gpiod` that touch hardware, and it says so: no kernel takes part.

`gpiod.Chip` and its `LineRequest` are replaced; settings, enums and edge events are the package's own. The descriptor
of a request is a real pipe, so that what waits for it really waits. What the kernel does (pull-ups, debouncing,
polarity) is not played: a test presses a button, not a wire. Whoever imports this is skipped where gpiod is missing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

gpiod = pytest.importorskip("gpiod", reason="the [gpio] extra is not installed")


@dataclass
class StandInInfo:
    used: bool = False
    consumer: str = ""


class StandInRequest:
    """`press` and `release_button` are the wearer's finger, by line offset; `vanish` is the chip going away."""

    is_a_stand_in = True

    def __init__(self, settings: dict[int | str, gpiod.LineSettings], offsets: list[int]) -> None:
        self.settings, self.offsets = settings, offsets
        self.held: set[int] = set()
        self.events: list[gpiod.EdgeEvent] = []
        self.released = self.gone = False
        self.fd, self._writing = os.pipe()
        os.set_blocking(self.fd, False)

    def press(self, offset: int) -> None:
        self.held.add(offset)
        self._edge(offset, gpiod.EdgeEvent.Type.RISING_EDGE)

    def let_go(self, offset: int) -> None:
        self.held.discard(offset)
        self._edge(offset, gpiod.EdgeEvent.Type.FALLING_EDGE)

    def tap(self, offset: int) -> None:
        """Shorter than a cycle."""
        self.press(offset)
        self.let_go(offset)

    def vanish(self) -> None:
        self.gone = True
        os.close(self._writing)  # the descriptor then reads as hung up, as the kernel's does

    def read_edge_events(self, max_events: int | None = None) -> list[gpiod.EdgeEvent]:
        self._check()
        assert os.read(self.fd, 1 << 16), "the real one would have waited here"
        events, self.events = self.events, []
        return events

    def get_values(self, lines: Iterable[int | str] | None = None) -> list[gpiod.line.Value]:
        self._check()
        values = gpiod.line.Value
        return [values.ACTIVE if line in self.held else values.INACTIVE for line in lines or self.offsets]

    def release(self) -> None:
        if not self.released:
            self.released = True
            os.close(self.fd)
            if not self.gone:
                os.close(self._writing)

    def _check(self) -> None:
        assert not self.released
        if self.gone:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    def _edge(self, offset: int, kind: gpiod.EdgeEvent.Type) -> None:
        self.events.append(gpiod.EdgeEvent(kind.value, 0, offset, 0, 0))
        os.write(self._writing, b"e")


@dataclass
class StandInChip:
    """A chip with lines 0 to 53, named GPIO0 to GPIO53. `error` is what opening it, `busy` what a line brings."""

    path: str = "/dev/gpiochip0"
    error: OSError | None = None
    busy: dict[int, str] = field(default_factory=dict)
    refuse: OSError | None = None
    request: StandInRequest | None = None
    closed: bool = False
    is_a_stand_in = True

    def __enter__(self) -> StandInChip:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def line_offset_from_id(self, line: int | str) -> int:
        if isinstance(line, str):
            number = line.removeprefix("GPIO")
            if not number.isdigit():
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            line = int(number)
        if not 0 <= line < 54:
            raise ValueError("line offset of out range")
        return line

    def get_line_info(self, offset: int) -> StandInInfo:
        return StandInInfo(offset in self.busy, self.busy.get(offset, ""))

    def request_lines(self, config: dict[Any, gpiod.LineSettings], consumer: str) -> StandInRequest:
        assert consumer == "myosem-edge"
        if self.refuse is not None:
            raise self.refuse
        for settings in config.values():
            gpiod.line_settings._line_settings_to_ext(settings)  # what the package would refuse, it refuses
        self.request = StandInRequest(dict(config), [self.line_offset_from_id(line) for line in config])
        return self.request

    def installed(self, monkeypatch: pytest.MonkeyPatch) -> StandInChip:
        """Take the place of `gpiod.Chip` for one test."""

        def opened(path: str) -> StandInChip:
            if self.error is not None:
                raise self.error
            self.path = path
            return self

        monkeypatch.setattr(gpiod, "Chip", opened)
        return self
