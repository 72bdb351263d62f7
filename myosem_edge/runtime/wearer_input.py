"""The keyboard as wearer input: stop, open, arm, lock, quit. A machine of bytes and time, and a holder of the terminal.

A terminal tells when a key goes down, never when it comes up. Stop, arm and lock are edges and need no more; open is
held for as long as the slowest hand takes to open, or until another key is pressed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import stat
import termios
import tty
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from myosem_edge.runtime.gate import Wearer

READ_BYTES = 256
ARM_ALONE_S = 0.1  # nobody types so fast on purpose; pasted text and split escape sequences come faster
OPEN_HOLD_S = 2.0  # a full movement at the slowest speed of the Ability Hand
STOP_KEYS, OPEN_KEY, ARM_KEY, LOCK_KEY, QUIT_KEY, ESCAPE = b" s", ord("o"), ord("a"), ord("l"), ord("q"), 0x1B
HELP = "space or s stop   o open   a arm   l lock   q quit"


@dataclass(frozen=True)
class Pressed:
    """What the wearer wants now, and whether the program is to end."""

    wearer: Wearer = field(default_factory=Wearer)
    quit: bool = False


class Keys:
    """Bytes of a keyboard to wearer input. What is not a key of ours is ignored."""

    def __init__(self) -> None:
        self._stop = self._arm = self._lock = self._quit = False
        self._open_until_s: float | None = None
        self._other_s = -float("inf")  # when something else than the arming key was typed last

    def feed(self, data: bytes, now_s: float) -> None:
        """Take what one read brought, in order: the later of two keys that contradict each other counts, stop always.

        Arming and locking have to be typed alone: an `a` in pasted text or in what an arrow key sends is none. In an
        escape sequence, and in whatever came with it, nothing but stop counts.
        """
        alone = not data.strip(bytes((ARM_KEY,))) or not data.strip(bytes((LOCK_KEY,)))
        escaped = False
        for key in data:
            escaped = escaped or key == ESCAPE
            if key in STOP_KEYS:
                self._stop, self._arm, self._lock, self._open_until_s = True, False, False, None
            elif escaped:
                continue
            elif key == OPEN_KEY:
                self._arm, self._lock, self._open_until_s = False, False, now_s + OPEN_HOLD_S
            elif key in (ARM_KEY, LOCK_KEY) and alone and now_s - self._other_s >= ARM_ALONE_S:
                self._arm, self._lock, self._open_until_s = key == ARM_KEY, key == LOCK_KEY, None
            elif key == QUIT_KEY:
                self._quit = True
        if not alone:
            self._other_s = now_s

    def stop(self) -> None:
        """As if stop had been pressed: the wearer can no longer reach us."""
        self.feed(STOP_KEYS[:1], 0.0)

    def take(self, now_s: float) -> Pressed:
        """What holds now. Edges are handed out once; a stop goes out alone, so that nothing arms in the same step."""
        if self._open_until_s is not None and now_s >= self._open_until_s:
            self._open_until_s = None
        stop = self._stop
        arm, lock = self._arm and not stop, self._lock and not stop
        self._stop = False
        self._arm, self._lock = self._arm and not arm, self._lock and not lock
        held = self._open_until_s is not None and not stop
        return Pressed(Wearer(stop=stop, open=held, arm=arm, lock=lock), self._quit)


class WearerInput:
    """Reads keys from a descriptor: a terminal, which is put into cbreak mode and always put back, or a pipe.

    A pipe has to be asked for with `from_pipe`: text that was meant for another program must not move a hand. The end
    of a pipe only means that nobody will press a key any more; a terminal that hangs up is a stop. Any other kind of
    file (a service has /dev/null) and a terminal whose foreground is somebody else's give no keys.
    """

    def __init__(self, fd: int, *, from_pipe: bool = False, keys: Keys | None = None) -> None:
        self.keys = keys or Keys()
        self._fd: int | None = None
        self._saved: list[Any] | None = None
        with contextlib.suppress(OSError, termios.error):
            if os.isatty(fd):
                # From the background, changing the terminal or reading from it would suspend the loop.
                if os.tcgetpgrp(fd) == os.getpgrp():
                    self._take_terminal(fd)
            elif from_pipe and (stat.S_ISFIFO(mode := os.fstat(fd).st_mode) or stat.S_ISSOCK(mode)):
                self._fd = fd

    def __enter__(self) -> WearerInput:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def listening(self) -> bool:
        """Whether keys can still come."""
        return self._fd is not None

    def fileno(self) -> int:
        """The descriptor to wait for, or -1 where none is left."""
        return -1 if self._fd is None else self._fd

    def read(self, now_s: float) -> None:
        """Take what was typed. Call it only when the descriptor is readable: it must not wait."""
        if self._fd is None:
            return
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # EIO: the terminal has hung up
            data = b""
        if data:
            self.keys.feed(data, now_s)
            return
        if self._saved is not None:
            self.keys.stop()
        self.close()

    def close(self) -> None:
        """Put the terminal back as it was. Idempotent; also called when the interpreter ends."""
        if self._saved is not None and self._fd is not None:
            with contextlib.suppress(OSError, termios.error):
                # Without waiting for output, which Ctrl-S may have halted; keys that nobody read are not for the shell.
                termios.tcsetattr(self._fd, termios.TCSANOW, self._saved)
                termios.tcflush(self._fd, termios.TCIFLUSH)
        self._fd = self._saved = None
        atexit.unregister(self.close)

    def _take_terminal(self, fd: int) -> None:
        saved = termios.tcgetattr(fd)
        self._fd, self._saved = fd, saved
        atexit.register(self.close)
        tty.setcbreak(fd, termios.TCSANOW)
        changed = termios.tcgetattr(fd)
        # Ctrl-Z and Ctrl-\ would end the loop in mid-motion and leave the terminal changed; Ctrl-C ends it properly.
        changed[6][termios.VSUSP] = changed[6][termios.VQUIT] = b"\0"
        termios.tcsetattr(fd, termios.TCSANOW, changed)
