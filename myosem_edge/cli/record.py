"""`myosem-edge record`: keep what a front end sends, to look at it, decode it again or play it."""

from __future__ import annotations

import contextlib
import datetime
import json
import selectors
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from myosem_edge import __version__
from myosem_edge.cli._output import plain
from myosem_edge.cli._types import FiniteRange, front_end_from, front_end_option, port_option, require_port
from myosem_edge.clock import MonotonicClock
from myosem_edge.errors import DeviceError
from myosem_edge.firmware_bridge.frontends.base import Chunk, FrontEnd
from myosem_edge.firmware_bridge.frontends.recording import About
from myosem_edge.firmware_bridge.ports import open_front_end
from myosem_edge.runtime.reading import introduction, read_chunks
from myosem_edge.runtime.recorder import Kept, Recorder, finish, require_new
from myosem_edge.runtime.runner import Signals

PROGRESS_S = 1.0


@click.command()
@port_option
@front_end_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .npz to write; never one that exists.")
@click.option("--seconds", type=FiniteRange(0, 1e6, min_open=True), metavar="N", help="End by itself after so long.")
@click.option("--recover", is_flag=True, help="Write --out from what an interrupted recording has left.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def record(
    port: str | None, front_end_name: str, out: Path, seconds: float | None, recover: bool, as_json: bool
) -> None:
    """Record any front end until Ctrl-C, or for so many seconds.

    The file is played with --front-end file:PATH, decoded with replay, searched with query, and read by every loader.
    Lost samples stay lost: they are marked, and a long hole parts recordings. What was recorded is kept whatever ends
    the program; after a power cut, --recover brings it back.
    """
    screen = _Screen(as_json)
    if recover:
        screen.kept(out, finish(out))
        return
    device, front_end_name = front_end_from(front_end_name, port)
    where, clock = require_port(device, port), MonotonicClock()
    require_new(out)
    with Signals() as signals, open_front_end(device, port, clock) as wire, selectors.DefaultSelector() as selector:
        selector.register(wire, selectors.EVENT_READ)
        failure: DeviceError | None = None
        with contextlib.closing(read_chunks(device, wire, clock, selector.select, where=where)) as reading:
            recording = Recording(out, device, front_end_name, seconds, screen)
            try:
                for now_s, chunks in reading:
                    recording.add(chunks, now_s)
                    if recording.complete or signals.number is not None:
                        break
            except DeviceError as error:
                failure = error
    if (kept := recording.finish()) is not None:
        screen.kept(out, kept)
    if failure is not None:
        raise failure
    if signals.interrupted:
        raise KeyboardInterrupt


class Recording:
    """From the first sample on: what is kept of `device`, for `seconds` of samples, lost ones counted.

    Raises:
        DeviceError: from `add`, when a device says that it measures something else than before.
        StorageError: it cannot be written.
    """

    def __init__(self, out: Path, device: FrontEnd, told: str, seconds: float | None, screen: _Screen) -> None:
        self._out, self._device, self._told, self._seconds, self._screen = out, device, told, seconds, screen
        self._recorder: Recorder | None = None
        self._shown_s = 0.0
        self.complete = False

    def add(self, chunks: list[Chunk], now_s: float) -> None:
        if self._recorder is None:
            if not chunks:
                return
            self._began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            self._info = self._device.info
            self._recorder, self._shown_s = Recorder(self._out, self._about(), now_s), now_s
            self._screen.say(introduction(self._device))
        self._info.require_same(self._device.info)
        self._recorder.add(self._wanted(chunks), now_s)
        if now_s - self._shown_s >= PROGRESS_S:
            self._shown_s = now_s
            self._screen.progress(self._recorder, self._info.rate_hz)

    def finish(self) -> Kept | None:
        """The file, if there was a sample."""
        if self._recorder is None:
            return None
        self._recorder.close()
        return finish(self._out, self._about())

    def _about(self) -> About:
        facts, notes = dict(self._device.facts), dict(self._device.counters.notes)
        return About(self._info, self._told, self._began, __version__, facts, notes)

    def _wanted(self, chunks: list[Chunk]) -> list[Chunk]:
        """Without what comes after the end."""
        if self._seconds is None:
            return chunks
        end = max(1, round(self._seconds * self._info.rate_hz))
        wanted = [
            replace(chunk, samples=chunk.samples[: end - chunk.first_sample])
            for chunk in chunks
            if chunk.first_sample < end
        ]
        self.complete = any(chunk.first_sample + len(chunk.samples) >= end for chunk in chunks)
        return wanted


class _Screen:
    """Lines, JSON, or on a terminal one line that is written again and again."""

    def __init__(self, as_json: bool) -> None:
        self._json, self._live = as_json, sys.stdout.isatty() and not as_json
        self._open = False

    def say(self, text: str) -> None:
        if self._json:
            self._line({"event": "note", "text": text})
        else:
            click.echo(plain(text))

    def progress(self, recorder: Recorder, rate_hz: float) -> None:
        seconds = (recorder.samples + recorder.lost) / rate_hz
        if self._json:
            self._line({"event": "progress", "samples": recorder.samples, "lost": recorder.lost, "seconds": seconds})
        elif self._live:
            self._open = True
            click.echo(f"\r{seconds:.0f} s, {recorder.samples} samples, {recorder.lost} lost\x1b[K", nl=False)

    def kept(self, out: Path, kept: Kept) -> None:
        if self._open:
            click.echo()
        if self._json:
            self._line({"event": "result", "file": str(out), **asdict(kept)})
            return
        parts = "" if kept.recordings == 1 else f", parted {kept.recordings - 1} times by long holes"
        torn = f", {kept.torn_bytes} torn bytes left out" if kept.torn_bytes else ""
        self.say(f"Wrote {out}: {kept.seconds:.1f} s, {kept.samples} samples, {kept.lost} lost{parts}{torn}.")

    def _line(self, value: dict[str, Any]) -> None:
        click.echo(json.dumps(value, allow_nan=False))
        sys.stdout.flush()
