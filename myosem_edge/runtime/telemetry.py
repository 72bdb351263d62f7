"""What the loop tells, and the process that listens: log and console, neither of which can hold up the loop.

The loop writes one JSON line per event into a pipe that never waits: what does not fit is dropped and counted. The
listener (`python -m myosem_edge.runtime.telemetry`) writes the log, then shows. It ends when the pipe does.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import json
import math
import os
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

from myosem_edge.errors import MyosemError, StorageError
from myosem_edge.files import settle_folder
from myosem_edge.runtime.child import child_command, child_environment
from myosem_edge.runtime.gate_log import LOG_ONLY, OURS
from myosem_edge.runtime.view import LineView, LiveView

MODES = ("live", "lines", "json", "none")
PIPE_BYTES = 1 << 20  # half a minute of events with the gate's inputs; the kernel may grant less
LOG_BYTES = 32 << 20  # two files of half that: ten minutes of an armband, whose packets make 110 steps a second
SETTLE_S = 1.0  # no more than this is lost when the power goes
REMNANT_BYTES = 1 << 20  # more than is written until a new log settles for the first time
FAREWELL_S = 2.0
REDRAW_S = 0.1
NO_SIZE = 80  # columns, where a terminal does not tell
STDOUT = 1

Event = dict[str, Any]


class Telemetry:
    """The loop's end of the pipe. No method waits, but for `close`.

    `shown_fd` is where the listener shows. Once nobody reads there any more, or the listener itself is gone, `lost` is
    the error to end with: a hand must not be driven while nobody is told its status (SR-19).
    """

    def __init__(self, fd: int, process: subprocess.Popen[bytes] | None = None, shown_fd: int | None = None) -> None:
        self.dropped = 0
        self.written = 0
        self.lost: MyosemError | BrokenPipeError | None = None
        self._fd: int | None = fd
        self._shown_fd = shown_fd
        self._broken = select.poll()
        for watched in (fd, shown_fd):
            # A terminal that hangs up is the business of the wearer's input; a file is always there.
            if watched is not None and _is_pipe(watched):
                self._broken.register(watched, 0)  # errors are always reported
        self._process = process
        self._untold = 0
        os.set_blocking(fd, False)

    @classmethod
    def start(cls, mode: str, log: Path | None = None, log_bytes: int = LOG_BYTES) -> Telemetry:
        """Start the listener; it shows on this process's standard output.

        Raises:
            StorageError: the log cannot be written.
        """
        arguments = [f"--mode={mode}"]
        if log is not None:
            check_log(log)
            arguments += [f"--log={log}", f"--log-bytes={log_bytes}"]
        command = child_command("myosem_edge.runtime.telemetry", *arguments)
        reading_fd, writing_fd = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(writing_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        try:
            process = subprocess.Popen(command, stdin=reading_fd, env=child_environment())
        except OSError:
            os.close(writing_fd)
            raise
        finally:
            os.close(reading_fd)
        return cls(writing_fd, process, None if mode == "none" else STDOUT)

    def send(self, events: Iterable[Event]) -> None:
        """Write them as far as the pipe takes them. A gap is told of as soon as there is room again.

        Raises:
            MyosemError, BrokenPipeError: `lost`, every time, also without events.
        """
        for event in events:
            # The gap and the event after it in one write: a nearly full pipe is not filled up with gaps.
            gap = encode({"event": "dropped", "count": self._untold}) if self._untold else b""
            if self._write(gap + encode(event)):
                self.written += 1
                self._untold = 0
            else:
                self.dropped += 1
                self._untold += 1
        if self._fd is not None:
            self._look()
        if self.lost is not None:
            raise self.lost

    def close(self) -> int | None:
        """End the pipe and let the listener write what is left; its exit code, or None while it still works."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        if self._process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(FAREWELL_S)
            if code not in (0, StorageError.exit_code):
                self.lost = self.lost or _listener_gone()
            return code
        return None

    def _look(self) -> None:
        broken = {fd for fd, _ in self._broken.poll(0)}
        if self._fd in broken:
            self.lost = self.lost or _listener_gone()
        elif broken:
            self.lost = self.lost or BrokenPipeError("nobody reads what is shown")

    def _write(self, data: bytes) -> bool:
        # Up to PIPE_BUF bytes go in whole or not at all (POSIX); more could be torn.
        if self._fd is None or len(data) > select.PIPE_BUF:
            return False
        try:
            return os.write(self._fd, data) == len(data)
        except OSError:  # full, or nobody listens any more; `_look` tells which
            return False


def encode(event: Event) -> bytes:
    """One line of JSON; a number that is none becomes null."""
    try:
        text = json.dumps(event, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(event), separators=(",", ":"))
    return text.encode() + b"\n"


def check_log(path: Path) -> None:
    """See that a log can be written, and that nothing is there that is not a log of ours.

    Raises:
        StorageError: the log cannot be opened for writing; or it, or the name of its older half, is something else.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for each in (path, _older(path)):
            if each.exists():
                _require_log(each)
        _append_to(path).close()
    except OSError as error:
        raise StorageError(
            f"the log cannot be written: {error.strerror}", where=path, todo="Choose another place with --log"
        ) from error


class Log:
    """JSON lines in `path`, and the half before it in `path` + ".1": the newest `most_bytes` at most, never more.

    The first line of a file is on the card at once, what else was written `SETTLE_S` later. A line that power once cut
    off is ended, so that the next one is whole; if nothing else is left of a log, it begins anew. `now_s` is a
    monotonic clock.
    """

    def __init__(self, path: Path, most_bytes: int = LOG_BYTES, now_s: Callable[[], float] = time.monotonic) -> None:
        self._path, self._half, self._now_s = path, most_bytes // 2, now_s
        self._file: BinaryIO | None = _append_to(path)
        self._size = os.fstat(self._file.fileno()).st_size
        self._settled_s = now_s()
        self.problem: str | None = None
        try:
            if self._size and _is_remnant(path):
                self._file.truncate(0)
                self._size = 0
            elif _is_torn(path, self._size):  # here, whatever its size: a file must not begin with the end of a line
                self._size += self._file.write(b"\n")
            self._begin()
        except OSError as error:
            self._give_up(error)

    def write(self, line: bytes) -> None:
        """Append one line. A full or broken card ends the log, not the listener."""
        try:
            if self._file is not None and self._size + len(line) > self._half and self._size:
                self.close()
                self._path.replace(_older(self._path))
                self._file, self._size = _append_to(self._path), 0
                self._begin()
            if self._file is not None:
                written = self._file.write(line)
                self._size += len(line)
                if written != len(line):
                    raise OSError(errno.ENOSPC, "only part of a line could be written")
                self._settle()
        except OSError as error:
            self._give_up(error)

    def _begin(self) -> None:
        """Where a file is new: its name settles now, and its first line as soon as it is written."""
        if not self._size:
            self._settled_s = -math.inf
            with contextlib.suppress(OSError):  # not every file system can
                settle_folder(self._path.parent)

    def _give_up(self, error: OSError) -> None:
        self.problem = error.strerror or str(error)
        self.close()

    def _settle(self) -> None:
        if self._file is not None and (now_s := self._now_s()) - self._settled_s >= SETTLE_S:
            os.fsync(self._file.fileno())
            self._settled_s = now_s

    def close(self) -> None:
        """What was written is on the card when this returns."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._file.fileno())
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def listen(source: int, out: int, mode: str, log: Log | None) -> None:
    """Log and show every line that comes from the descriptor `source` until it ends; say when the log does."""
    live = LiveView() if mode == "live" else None
    lines = LineView() if mode == "lines" else None
    partial, drawn = b"", False
    while True:
        readable = select.select((source,), (), (), REDRAW_S)[0]
        data = os.read(source, 65536) if readable else None
        *whole, partial = (partial + (data or b"")).split(b"\n")
        for line in whole:
            if log is not None and log.problem is None:
                log.write(line + b"\n")
                if log.problem is not None:
                    trouble = f"the log ends here, it is not complete: {log.problem}"
                    sys.stderr.write(f"{trouble}\n")
                    sys.stderr.flush()
                    if live is not None:
                        live.take({"event": "failure", "error": trouble})
            event = json.loads(line)
            if event["event"] in LOG_ONLY:
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
    return StorageError.exit_code if log is not None and log.problem else 0


def _append_to(path: Path) -> BinaryIO:
    """Open for appending, unbuffered; never waits, whatever has got that name meanwhile. Raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY
    return os.fdopen(os.open(path, flags, 0o666), "ab", buffering=0)


def _is_torn(path: Path, size: int) -> bool:
    if not size:
        return False
    with path.open("rb") as file:
        file.seek(size - 1)
        return file.read(1) != b"\n"


def _is_remnant(path: Path) -> bool:
    """Whether all of a file is what a power cut leaves of a log's first line: no bytes, its first ones, or zeros.

    One brace is not enough to tell: so begin the files of many.
    """
    with path.open("rb") as file:
        data = file.read(REMNANT_BYTES + 1)
    return len(data) <= REMNANT_BYTES and (not data.strip(b"\0") or (OURS.startswith(data) and len(data) > 1))


def _require_log(path: Path) -> None:
    """Raises StorageError for what exists and is neither empty nor an earlier log; OSError where it cannot be read."""
    found = "no ordinary file"
    if stat.S_ISREG(path.stat().st_mode):
        with path.open("rb") as file:
            head = file.read(len(OURS))
        if head == OURS or _is_remnant(path):
            return
        found = "a file that is no log"
    raise StorageError(
        "the log would go into something else",
        where=path,
        found=found,
        expected="a new name, an empty file or an earlier log",
        todo="Choose another name with --log",
    )


def _older(path: Path) -> Path:
    return path.with_name(path.name + ".1")


def _is_pipe(fd: int) -> bool:
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _listener_gone() -> MyosemError:
    return MyosemError("the process that shows the status and keeps the log has ended", todo="Start the program again")


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
