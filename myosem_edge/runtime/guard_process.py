"""The loop's end of the guard: start it, feed it, say good-bye."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from myosem_edge.errors import DeviceError

START_S = 10.0  # a cold interpreter on a Pi Zero takes more than a second
GOODBYE_S = 1.0


class Guard:
    """A running guard. Feed `beat` after each complete healthy cycle, from nowhere else.

    `with Guard.start(...) as guard:` says good-bye only when the block ends without an exception: a loop that failed
    leaves the guard to do its work.
    """

    def __init__(self, process: subprocess.Popen[bytes], heartbeat_fd: int) -> None:
        self.process = process
        self._heartbeat_fd: int | None = heartbeat_fd

    @classmethod
    def start(
        cls,
        hand_fd: int,
        neutral: bytes,
        *,
        halt: bytes = b"",
        release: bytes = b"",
        timeout_ms: int = 100,
        hold_ms: int = 2000,
    ) -> Guard:
        """Start the guard on the hand's open descriptor and wait until it watches; silence counts from the first beat.

        It sends `neutral`, or `halt` where the last beat was that of a locked hand, and `release` last.

        Raises:
            DeviceError: it did not come up.
        """
        reading_fd, writing_fd = os.pipe()
        os.set_blocking(writing_fd, False)
        numbers = {"hand-fd": hand_fd, "heartbeat-fd": reading_fd, "timeout-ms": timeout_ms, "hold-ms": hold_ms}
        arguments = [f"--{name}={value}" for name, value in numbers.items()]
        frames = {"neutral": neutral, "halt": halt or neutral, "release": release}
        arguments += [f"--{name}={frame.hex()}" for name, frame in frames.items()]
        try:
            # Isolated and without site-packages: nothing that is installed can delay or break it.
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py")), *arguments],
                pass_fds=(hand_fd, reading_fd),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            os.close(writing_fd)
            raise DeviceError(f"the guard process cannot be started: {error.strerror}") from error
        finally:
            os.close(reading_fd)
        assert process.stdout is not None
        with process.stdout as said:
            up = bool(select.select((said,), (), (), START_S)[0]) and said.read1(64) == b"ready\n"  # type: ignore[attr-defined]
        if not up:
            os.close(writing_fd)
            process.kill()
            raise DeviceError("the guard process did not come up", found=f"exit code {process.wait()}")
        return cls(process, writing_fd)

    def beat(self, locked: bool = False) -> bool:
        """Say that the loop is well, and whether the hand is locked. Never blocks and never raises; False if the guard
        is gone or does not listen.
        """
        if self._heartbeat_fd is None:
            return False
        try:
            os.write(self._heartbeat_fd, b"l" if locked else b".")
        except OSError:
            return False
        return True

    def close(self) -> int | None:
        """Say good-bye and return the guard's exit code (see `guard`), or None if it is still at work."""
        if self._heartbeat_fd is not None:
            with contextlib.suppress(OSError):
                os.write(self._heartbeat_fd, b"q")
            os.close(self._heartbeat_fd)
            self._heartbeat_fd = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(GOODBYE_S)
        return None

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._heartbeat_fd is not None:
            os.close(self._heartbeat_fd)
            self._heartbeat_fd = None
