"""The guard: a second process that sends the hand its neutral when the loop dies or falls silent (SR-13).

Run as `python -I -S guard.py`, with the hand's file descriptor and the reading end of a heartbeat pipe inherited.
Any byte is a beat, `l` that of a locked hand, which is halted whatever its neutral is; `q` is good-bye. Most hands
hold their last target for ever when the host dies; nothing else stops them.
Exit codes: 0 never needed, 3 stepped in and the loop came back, 4 the loop is gone, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import select
import signal
import sys
import termios
import time

REPEAT_S = 0.050  # a frame can be cut by the one that the loop left half-written; the next is whole
NEVER_NEEDED, CAME_BACK, LOOP_GONE = 0, 3, 4


def send(hand_fd: int, data: bytes) -> None:
    """Write what the port takes within one repeat; a full or vanished port is no reason to stop guarding."""
    until_s = time.monotonic() + REPEAT_S
    with contextlib.suppress(OSError):
        while data and time.monotonic() < until_s:
            try:
                data = data[os.write(hand_fd, data) :]
            except BlockingIOError:
                select.select((), (hand_fd,), (), 0.005)


def watch(
    hand_fd: int, heartbeat_fd: int, frames: tuple[bytes, ...], timeout_s: float, hold_s: float, repeat_s: float
) -> int:
    """Guard until good-bye or until the loop is given up; returns the exit code. Silence counts from the first beat.
    `frames` are neutral, the halt of a locked hand, and release.
    """
    neutral, halt, release = frames
    poller = select.poll()
    poller.register(heartbeat_fd, select.POLLIN)
    beat_s: float | None = None
    acting_since_s: float | None = None  # None while the loop is in charge
    next_s = 0.0
    locked = stepped_in = False
    while True:
        due_s = next_s if acting_since_s is not None else None if beat_s is None else beat_s + timeout_s
        wait_ms = None if due_s is None else max(0, math.ceil((due_s - time.monotonic()) * 1000))
        gone = False
        for _ in poller.poll(wait_ms):
            beats = os.read(heartbeat_fd, 65536)
            if b"q" in beats:
                return CAME_BACK if stepped_in else NEVER_NEEDED
            if beats:
                beat_s, acting_since_s, locked = time.monotonic(), None, beats.endswith(b"l")
            else:
                gone = True
                poller.unregister(heartbeat_fd)
        now_s = time.monotonic()
        silent = beat_s is not None and now_s - beat_s >= timeout_s
        if acting_since_s is None and (gone or silent):
            acting_since_s, next_s, stepped_in = now_s, now_s, True
            # Motion that still waits in the port's queue must not come first. A pipe has no such queue.
            with contextlib.suppress(OSError, termios.error):
                termios.tcflush(hand_fd, termios.TCOFLUSH)
        if acting_since_s is not None and now_s - acting_since_s >= hold_s:
            send(hand_fd, release)
            return LOOP_GONE
        if acting_since_s is not None and now_s >= next_s:
            send(hand_fd, halt if locked else neutral)
            next_s = now_s + repeat_s


def main() -> int:
    """Read the arguments, say `ready` on standard output, and watch."""
    parser = argparse.ArgumentParser(description="Sends a hand its neutral when the loop that drives it dies.")
    parser.add_argument("--hand-fd", type=int, required=True)
    parser.add_argument("--heartbeat-fd", type=int, required=True)
    parser.add_argument("--neutral", type=bytes.fromhex, required=True, help="bytes as hexadecimal")
    parser.add_argument("--halt", type=bytes.fromhex, default=b"", help="bytes in place of it for a locked hand")
    parser.add_argument("--release", type=bytes.fromhex, default=b"", help="bytes sent last, as hexadecimal")
    parser.add_argument("--timeout-ms", type=int, default=100)
    parser.add_argument("--hold-ms", type=int, default=2000)
    options = parser.parse_args()
    # Ctrl-C and a service manager's SIGTERM reach the whole group; the guard must outlive the loop.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    os.write(sys.stdout.fileno(), b"ready\n")
    fds = (options.hand_fd, options.heartbeat_fd)
    frames = (options.neutral, options.halt, options.release)
    return watch(*fds, frames, options.timeout_ms / 1000, options.hold_ms / 1000, REPEAT_S)


if __name__ == "__main__":
    sys.exit(main())
