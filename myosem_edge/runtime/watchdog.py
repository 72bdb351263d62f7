"""Tell the service manager that the loop is alive: the sd_notify protocol, with the standard library alone.

A message is lines of `KEY=value` in one datagram to the socket that `$NOTIFY_SOCKET` names. Where nobody listens, every
call is a no-op, so the loop is the same under systemd and on a desk.

SR-15: only the loop feeds, after a complete healthy cycle. A fault therefore shows as silence, and the service manager
ends the process; the guard then sends the hand its neutral.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from myosem_edge.errors import InputError

STATUS_BYTES = 256  # a status is one line in `systemctl status`, and a datagram has to stay small
ADDRESS_BYTES = 107  # sun_path holds 108 with its closing zero


class Notifier:
    """One datagram socket to the service manager. No method blocks or raises; each tells whether the message left.

    `timeout_s` is the silence after which the service manager acts, `interval_s` how often to feed at most (half of
    it, as sd_watchdog_enabled(3) advises); both are None when it does not watch this process.
    """

    def __init__(self, address: str | bytes | None, timeout_s: float | None = None) -> None:
        self.timeout_s = timeout_s
        self.interval_s = None if timeout_s is None else timeout_s / 2
        self.unsent = 0  # messages that did not leave: a full or vanished socket
        self._address = address
        self._last_fed_s: float | None = None
        self._socket: socket.socket | None = None
        if address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, pid: int | None = None) -> Notifier:
        """Read `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`; called once, at start.

        A watchdog that is meant for another process (`WATCHDOG_PID`) is not ours to feed.

        Raises:
            InputError: a variable is there but makes no sense: better no start than an unwatched loop.
        """
        path = environ.get("NOTIFY_SOCKET", "")
        if not path:
            return cls(None)
        if path[0] not in "/@" or len(path) < 2:
            raise InputError(
                "is not a local socket", where="NOTIFY_SOCKET", found=repr(path), expected="a path, or @ and a name"
            )
        if len(os.fsencode(path)) > ADDRESS_BYTES:
            raise InputError(
                "is too long", where="NOTIFY_SOCKET", found=len(path), expected=f"at most {ADDRESS_BYTES} bytes"
            )
        # "@" stands for the leading zero byte of an abstract name.
        address: str | bytes = b"\0" + os.fsencode(path[1:]) if path[0] == "@" else path
        timeout_us = _whole(environ, "WATCHDOG_USEC")
        watched_pid = _whole(environ, "WATCHDOG_PID")
        own_pid = os.getpid() if pid is None else pid
        if timeout_us is None or (watched_pid is not None and watched_pid != own_pid):
            return cls(address)
        return cls(address, timeout_us / 1e6)

    @property
    def listening(self) -> bool:
        """Whether there is a service manager at all."""
        return self._socket is not None

    def ready(self) -> bool:
        """The loop runs; the watchdog counts from here."""
        return self._send("READY=1")

    def status(self, text: str) -> bool:
        """One line for `systemctl status`; anything that would end the line is made a space."""
        line = " ".join(text.split()).encode("utf-8", "replace")[:STATUS_BYTES].decode("utf-8", "ignore")
        return self._send(f"STATUS={line}")

    def feed(self, now_s: float | None = None) -> bool:
        """The loop has just finished a complete healthy cycle.

        With the time (monotonic), a message leaves only once per quarter of the time-out, so that a cycle of 20 ms
        does not wake the service manager fifty times a second. Without it, every call sends.
        """
        if now_s is None or self.timeout_s is None or self._last_fed_s is None:
            due = True
        else:
            due = not 0 <= now_s - self._last_fed_s < self.timeout_s / 4
        if not due:
            return True
        left = self._send("WATCHDOG=1")
        # A message that did not leave is tried again on the next healthy cycle, not a quarter later.
        self._last_fed_s = now_s if left else None
        return left

    def stopping(self) -> bool:
        """The loop is ending on purpose."""
        return self._send("STOPPING=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> bool:
        if self._socket is None or self._address is None:
            return False
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError:  # nobody there, or its queue is full: the loop must neither wait nor fall over this
            self.unsent += 1
            return False
        return True


def _whole(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise InputError("is not a positive whole number", where=name, found=repr(text))
    return int(text)
