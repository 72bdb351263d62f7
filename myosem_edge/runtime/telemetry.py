"""What the loop tells, and the process that listens: log and console, neither of which can hold up the loop.

The loop writes one JSON line per event into a pipe that never waits: what does not fit is dropped and counted. The
listener (`python -m myosem_edge.runtime.telemetry`) writes the log, then shows. It ends when the pipe does.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import math
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from myosem_edge.errors import StorageError
from myosem_edge.runtime.gate import Command, Inputs, Limits, Request, State, Wearer, step
from myosem_edge.runtime.view import LineView, LiveView

MODES = ("live", "lines", "json", "none")
PIPE_BYTES = 1 << 20  # half a minute of events with the gate's inputs; the kernel may grant less
LOG_BYTES = 32 << 20  # two files of half that: an hour and more on any card
FAREWELL_S = 2.0
REDRAW_S = 0.1
NO_SIZE = 80  # columns, where a terminal does not tell
STEP = "step"  # the gate's inputs: for the log alone
_NUMBERS = ("now_s", "sample_age_s", "lost_fraction", "loop_late_s")

Event = dict[str, Any]


class Telemetry:
    """The loop's end of the pipe. No method waits, but for `close`."""

    def __init__(self, fd: int, process: subprocess.Popen[bytes] | None = None) -> None:
        self.dropped = 0
        self.written = 0
        self._fd: int | None = fd
        self._process = process
        self._untold = 0
        os.set_blocking(fd, False)

    @classmethod
    def start(cls, mode: str, log: Path | None = None, log_bytes: int = LOG_BYTES) -> Telemetry:
        """Start the listener; it shows on this process's standard output.

        Raises:
            StorageError: the log cannot be written.
        """
        command = [sys.executable, "-m", "myosem_edge.runtime.telemetry", f"--mode={mode}"]
        if log is not None:
            check_log(log)
            command += [f"--log={log}", f"--log-bytes={log_bytes}"]
        reading_fd, writing_fd = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(writing_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        try:
            process = subprocess.Popen(command, stdin=reading_fd)
        except OSError:
            os.close(writing_fd)
            raise
        finally:
            os.close(reading_fd)
        return cls(writing_fd, process)

    def send(self, events: Iterable[Event]) -> None:
        """Write them as far as the pipe takes them. A gap is told of as soon as there is room again."""
        for event in events:
            # The gap and the event after it in one write: a nearly full pipe is not filled up with gaps.
            gap = encode({"event": "dropped", "count": self._untold}) if self._untold else b""
            if self._write(gap + encode(event)):
                self.written += 1
                self._untold = 0
            else:
                self.dropped += 1
                self._untold += 1

    def close(self) -> int | None:
        """End the pipe and let the listener write what is left; its exit code, or None while it still works."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        if self._process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(FAREWELL_S)
        return None

    def _write(self, data: bytes) -> bool:
        # Up to PIPE_BUF bytes go in whole or not at all (POSIX); more could be torn.
        if self._fd is None or len(data) > select.PIPE_BUF:
            return False
        try:
            return os.write(self._fd, data) == len(data)
        except OSError:  # full, or nobody listens any more
            return False


def encode(event: Event) -> bytes:
    """One line of JSON; a number that is none becomes null."""
    try:
        text = json.dumps(event, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(event), separators=(",", ":"))
    return text.encode() + b"\n"


def check_log(path: Path) -> None:
    """Raises:
    StorageError: the log cannot be opened for writing.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        raise StorageError(
            f"the log cannot be written: {error.strerror}", where=path, todo="Choose another place with --log"
        ) from error


class Log:
    """JSON lines in `path`, and the half before it in `path` + ".1": the newest `most_bytes` at most, never more."""

    def __init__(self, path: Path, most_bytes: int = LOG_BYTES) -> None:
        self._path, self._half = path, most_bytes // 2
        self._file: BinaryIO | None = path.open("ab", buffering=0)
        self._size = self._file.tell()
        self.problem: str | None = None

    def write(self, line: bytes) -> None:
        """Append one line. A full or broken card ends the log, not the listener."""
        try:
            if self._file is not None and self._size + len(line) > self._half and self._size:
                self.close()
                self._path.replace(self._path.with_name(self._path.name + ".1"))
                self._file, self._size = self._path.open("ab", buffering=0), 0
            if self._file is not None:
                self._file.write(line)
                self._size += len(line)
        except OSError as error:
            self.problem = error.strerror or str(error)
            self.close()

    def close(self) -> None:
        """What was written is on the card when this returns."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._file.fileno())
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def replay(events: Iterable[Event], limits: Limits, grips: frozenset[str]) -> Iterator[tuple[Event, bool]]:
    """Step a fresh gate through the logged inputs (SR-18): each `step` event, and whether the gate says the same again.

    The log has to be whole from its start on: a `dropped` event or an older half that is gone breaks the chain.
    """
    state = State()
    for event in events:
        if event["event"] != STEP:
            continue
        values: dict[str, Any] = dict(event["inputs"])
        values |= {"request": Request(**values["request"]), "wearer": Wearer(**values["wearer"])}
        # What was no number was logged as null; only a hand that reports nothing has no age.
        values |= {name: math.nan for name in _NUMBERS if values[name] is None}
        state, command, reasons = step(state, Inputs(**values), limits, grips)
        same = command == Command(**event["command"]) and [reason.page for reason in reasons] == event["reasons"]
        yield event, same


def listen(source: int, out: int, mode: str, log: Log | None) -> None:
    """Log and show every line that comes from the descriptor `source` until it ends."""
    live = LiveView() if mode == "live" else None
    lines = LineView() if mode == "lines" else None
    partial, drawn = b"", False
    while True:
        readable = select.select((source,), (), (), REDRAW_S)[0]
        data = os.read(source, 65536) if readable else None
        *whole, partial = (partial + (data or b"")).split(b"\n")
        for line in whole:
            if log is not None:
                log.write(line + b"\n")
            event = json.loads(line)
            if event["event"] == STEP:
                continue
            if live is not None:
                live.take(event)
            elif lines is not None:
                for text in lines.take(event):
                    _show(out, text.encode() + b"\n")
            elif mode == "json":
                _show(out, line + b"\n")
        # A terminal that was halted with Ctrl-S is not waited for; the next picture holds the newest state anyway.
        if live is not None and (live.is_due(REDRAW_S) or data == b"") and select.select((), (out,), (), 0)[1]:
            _show(out, live.draw(os.get_terminal_size(out).columns or NO_SIZE, again=drawn).encode())
            drawn = True
        if data == b"":
            return


def main() -> int:
    """The listener. Exit code 0, or 8 when the log is not complete."""
    parser = argparse.ArgumentParser(description="Logs and shows what the loop tells on standard input.")
    parser.add_argument("--mode", choices=MODES, default="none")
    parser.add_argument("--log", type=Path)
    parser.add_argument("--log-bytes", type=int, default=LOG_BYTES)
    options = parser.parse_args()
    # Ctrl-C and a hang-up reach the whole group; the last lines of the loop are still to come.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    log = Log(options.log, options.log_bytes) if options.log else None
    try:
        listen(sys.stdin.fileno(), sys.stdout.fileno(), options.mode, log)
    finally:
        if log is not None:
            log.close()
    if log is not None and log.problem:
        sys.stderr.write(f"the log {options.log} is not complete: {log.problem}\n")
        return StorageError.exit_code
    return 0


def _show(out: int, data: bytes) -> None:
    """A reader that has gone away ends the showing, never the log."""
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(out, data) :]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    sys.exit(main())
