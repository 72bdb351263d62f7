"""The reference firmware on this computer: built with the sanitizers that there are, moved by a virtual clock."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from myosem_edge.firmware_bridge import wire
from myosem_edge.firmware_bridge.emulators.base import Emulator
from tests.export.c_tools import compiler, tool

FIRMWARE = Path(__file__).parents[2] / "firmware_bridge" / "firmware"
SOURCES = ("pattern", "ads129x", "adc")


def make(build: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "-C", str(FIRMWARE), f"BUILD={build}", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def build_programs(build: Path) -> Path:
    """`host-pattern`, `host-ads129x` and `host-adc` in that folder."""
    tool("make", "make")
    arguments = ("check", f"CC={compiler()}", "OPTIMISE=-O1")
    made = make(build, *arguments)
    if made.returncode and ("sanitize" in made.stderr or "asan" in made.stderr):
        made = make(build, *arguments, "SANITIZE=-g")
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-4000:]
    return build


def pattern(numbers: np.ndarray) -> np.ndarray:
    """Counts `(n, 8)` of these samples, as `source/pattern.c` makes them."""
    number = np.asarray(numbers, np.uint32)[:, None]
    mixed = (number * np.uint32(8) + np.arange(8, dtype=np.uint32)) * np.uint32(2654435761)
    mixed ^= mixed >> np.uint32(15)
    counts = (mixed >> np.uint32(8)).astype(np.int32) - 2**23
    counts[:, 0] = number[:, 0] & 0x7FFFFF
    counts[(number[:, 0] & 4095) == 4095, 7] = 2**23 - 1
    return counts


class HostFirmware:
    """One program, asked line by line; `check/host.c` has the lines."""

    def __init__(self, build: Path, source: str = "pattern", chip: int | None = None) -> None:
        self._process = subprocess.Popen(
            [str(build / f"host-{source}")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        if chip is not None:
            self.ask(f"chip {chip}")

    def ask(self, line: str) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            assert self._process.stderr is not None
            pytest.fail(f"the firmware ended at {line[:200]!r}: {self._process.stderr.read()[-4000:]}")
        return answer.strip()

    def receive(self, data: bytes) -> None:
        self.ask(f"rx {data.hex()}")

    def at(self, now_us: int) -> None:
        self.ask(f"at {now_us % 2**32}")

    def sent(self) -> bytes:
        return bytes.fromhex(self.ask("tx"))

    def say(self, command: wire.Command) -> list[wire.Message]:
        self.receive(wire.frame(command))
        return self.messages()

    def messages(self) -> list[wire.Message]:
        """Everything said since, of which every byte has to be a frame."""
        reader = wire.Deframer()
        found = [wire.parse(body) for body in reader.feed(self.sent())]
        assert reader.rejected_bytes == 0
        return [message for message in found if message is not None]

    def close(self) -> None:
        """Ends it; a sanitizer that has something to say at the end fails the test."""
        assert self._process.stderr is not None
        self._process.communicate(timeout=20)
        assert self._process.returncode == 0


class FirmwareDevice(Emulator):
    """The firmware in the place of an emulated device."""

    def __init__(self, host: HostFirmware, mode: wire.Mode = wire.Mode.WIRE) -> None:
        super().__init__()
        self.host = host
        host.receive(wire.frame(wire.set_mode(1, mode)))
        host.sent()

    def receive(self, data: bytes, now_s: float) -> None:
        self.host.receive(data)

    def tick(self, now_s: float) -> None:
        self.host.at(round(now_s * 1e6))
        self._outgoing += self.host.sent()

    def status(self) -> str:
        return "firmware"
