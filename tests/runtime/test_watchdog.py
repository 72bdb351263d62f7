"""The service manager hears exactly what the loop says, and the loop never waits for it or falls over it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge.clock import VirtualClock
from myosem_edge.errors import InputError
from myosem_edge.runtime.watchdog import ADDRESS_BYTES, STATUS_BYTES, Notifier


class Manager:
    """The receiving end of the protocol, as a service manager holds it."""

    def __init__(self, address: str | bytes) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(address)

    def heard(self) -> list[bytes]:
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(65536))
            except BlockingIOError:
                return messages


@pytest.fixture
def path(tmp_path: Path) -> str:
    # Temporary folders can be deeper than a socket address is long.
    place = tmp_path / "notify"
    if len(os.fsencode(place)) > ADDRESS_BYTES:
        pytest.skip("the temporary folder's path is longer than a socket address")
    return str(place)


@pytest.fixture
def manager(path: str) -> Iterator[Manager]:
    manager = Manager(path)
    yield manager
    manager.socket.close()


def test_each_message_is_one_datagram_with_the_documented_bytes(path: str, manager: Manager) -> None:
    notifier = Notifier.from_env({"NOTIFY_SOCKET": path})
    assert notifier.listening
    assert notifier.ready() and notifier.status("neutral: cable") and notifier.feed() and notifier.stopping()
    assert manager.heard() == [b"READY=1", b"STATUS=neutral: cable", b"WATCHDOG=1", b"STOPPING=1"]
    assert notifier.unsent == 0


def test_an_abstract_name_begins_with_a_zero_byte() -> None:
    name = f"myosem-test-{os.getpid()}"
    manager = Manager(b"\0" + name.encode())
    try:
        assert Notifier.from_env({"NOTIFY_SOCKET": "@" + name}).feed()
        assert manager.heard() == [b"WATCHDOG=1"]
    finally:
        manager.socket.close()


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"WATCHDOG_USEC": "1000000"}])
def test_without_a_service_manager_every_call_is_a_no_op(environ: dict[str, str]) -> None:
    notifier = Notifier.from_env(environ)
    assert not notifier.listening and notifier.interval_s is None and notifier.timeout_s is None
    assert not any((notifier.ready(), notifier.status("x"), notifier.feed(), notifier.feed(1.0), notifier.stopping()))
    assert notifier.unsent == 0
    notifier.close()


def test_the_interval_is_half_the_time_out(path: str) -> None:
    notifier = Notifier.from_env({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"})
    assert (notifier.timeout_s, notifier.interval_s) == (1.0, 0.5)


@pytest.mark.parametrize(("watched", "fed"), [("41", False), ("42", True), (None, True)])
def test_a_watchdog_meant_for_another_process_is_not_ours(path: str, watched: str | None, fed: bool) -> None:
    environ = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"} | ({"WATCHDOG_PID": watched} if watched else {})
    assert (Notifier.from_env(environ, pid=42).interval_s is not None) is fed


@pytest.mark.parametrize(
    "environ",
    [
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"NOTIFY_SOCKET": "run/notify"},
        {"NOTIFY_SOCKET": "@"},
        {"NOTIFY_SOCKET": "/" + "x" * ADDRESS_BYTES},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "0"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "-5"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1s"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "²"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": ""},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "me"},
    ],
)
def test_a_senseless_environment_is_refused_at_start(environ: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"NOTIFY_SOCKET|WATCHDOG_"):
        Notifier.from_env(environ)


def test_the_longest_possible_address_is_accepted() -> None:
    assert Notifier.from_env({"NOTIFY_SOCKET": "/" + "x" * (ADDRESS_BYTES - 1)}).listening


@pytest.mark.sr("SR-15")
def test_a_vanished_manager_neither_raises_nor_blocks(path: str, manager: Manager) -> None:
    notifier = Notifier.from_env({"NOTIFY_SOCKET": path})
    manager.socket.close()
    assert not notifier.feed()
    Path(path).unlink()
    assert not notifier.feed()
    assert notifier.unsent == 2


@pytest.mark.sr("SR-15")
def test_a_manager_that_does_not_read_neither_raises_nor_blocks(path: str, manager: Manager) -> None:
    notifier = Notifier.from_env({"NOTIFY_SOCKET": path})
    sent = 0
    while notifier.feed():
        sent += 1
        assert sent < 100_000, "the queue of the socket has to be bounded"
    assert notifier.unsent == 1
    assert len(manager.heard()) == sent
    assert notifier.feed(), "once it reads again, the next healthy cycle is heard"


@pytest.mark.sr("SR-15")
def test_a_loop_that_is_not_healthy_is_silent(path: str, manager: Manager) -> None:
    Notifier.from_env({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"})
    assert manager.heard() == [], "nothing but feed() may feed"


def test_a_fast_loop_wakes_the_manager_four_times_per_time_out(path: str, manager: Manager) -> None:
    notifier, clock = Notifier.from_env({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"}), VirtualClock()
    heard = []
    for _ in range(500):  # ten seconds of healthy cycles
        assert notifier.feed(clock.now_s())
        heard += manager.heard()
        clock.advance(0.020)
    # 0.25 s are 12.5 cycles, so it is every 13th: 500 / 13, begun.
    assert heard == [b"WATCHDOG=1"] * 39


def test_a_message_that_did_not_leave_is_tried_on_the_next_cycle(path: str) -> None:
    notifier = Notifier.from_env({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"})
    assert not notifier.feed(10.0)
    manager = Manager(path)
    assert notifier.feed(10.02)
    assert manager.heard() == [b"WATCHDOG=1"]
    manager.socket.close()


def test_a_clock_that_goes_back_does_not_starve_the_watchdog(path: str, manager: Manager) -> None:
    notifier = Notifier.from_env({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"})
    assert notifier.feed(100.0) and notifier.feed(5.0)
    assert len(manager.heard()) == 2


def test_without_the_time_every_call_sends(path: str, manager: Manager) -> None:
    notifier = Notifier.from_env({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"})
    for _ in range(5):
        assert notifier.feed()
    assert len(manager.heard()) == 5


def test_after_close_calls_are_no_ops(path: str, manager: Manager) -> None:
    notifier = Notifier.from_env({"NOTIFY_SOCKET": path})
    notifier.close()
    notifier.close()
    assert not notifier.feed() and not notifier.listening
    assert manager.heard() == []


@given(st.text())
def test_a_status_can_never_smuggle_in_another_message(text: str) -> None:
    name = f"\0myosem-status-{os.getpid()}".encode()
    manager = Manager(name)
    try:
        notifier = Notifier(name)
        assert notifier.status(text)
        (message,) = manager.heard()
        notifier.close()
    finally:
        manager.socket.close()
    assert message.startswith(b"STATUS=") and len(message) <= len(b"STATUS=") + STATUS_BYTES
    assert b"\n" not in message
    message.decode()
