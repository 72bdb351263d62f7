"""What a hand still does when the program dies or a cable is pulled in the middle of a motion.

A real `myosem-edge run` with scripted decisions drives every emulated hand over a pseudo-terminal, is killed or cut off
while the fingers close, and the hand is watched for some seconds more. `python -m tests.cli.hand_faults --write` makes
the page `docs/results/hand-faults.md`; the promises in it are tests. Minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from myosem_edge.files import write_atomic
from myosem_edge.firmware_bridge.emulators import EMULATED_HANDS
from myosem_edge.firmware_bridge.emulators.ability import AbilityEmulator
from myosem_edge.firmware_bridge.emulators.myo import MyoEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from tests.cli.tiny_bundle import DEV_KEY, bundle
from tests.runtime.loop_bench import noise

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results" / "hand-faults.md"
PATIENCE_S = 60.0
WATCH_S = 3.0  # the guard speaks for two, an Ability Hand falls back to its own mode after 0.3
PLUGGED_S = 3.0  # a vanished port is looked for every half second at first, then less often
MOVED = 0.002  # of the stroke
BEGUN = (0.1, 0.6)  # the fault comes while the most closed joint is between
SPEED = "0.3"
GRIP_FILE = """
[actions.rest]
grip = "none"
threshold = 0.6
why = "meaning"
[actions.hand_open]
grip = "open"
threshold = 0.6
why = "meaning"
[actions.fist]
grip = "power"
threshold = 0.8
why = "meaning"
"""
FAULTS = (
    "the program is killed (kill -9)",
    "the program hangs (SIGSTOP)",
    "program and guard are killed together",
    "the hand's cable is pulled, and plugged in again",
    "the cable of the front end is pulled",
)
KILLED, HUNG, BOTH, HAND_CABLE, FRONT_CABLE = FAULTS


@dataclass(frozen=True)
class Outcome:
    """Closures are fractions of the stroke. `began`: of the most closed joint at the fault. `moved`: the farthest any
    joint went from there; `for_s`: when the last motion was, after the fault. `after_plug`: how far any joint went in
    the seconds after the cable was back, nobody having armed; None where no cable came back.
    """

    began: float
    moved: float
    for_s: float
    after_plug: float | None = None


@dataclass
class Watched:
    """An emulated hand on a pseudo-terminal, and where its joints were when. It lives on while its plug is pulled."""

    hand: str
    story: list[tuple[float, tuple[float, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.emulator: Any = EMULATED_HANDS[self.hand]()

    def plugged(self) -> OnPty:
        return OnPty(self.emulator, before_tick=self.note)

    def note(self, now_s: float) -> None:
        self.story.append((now_s, closures(self.emulator)))

    def live(self, seconds: float) -> None:
        """Let time pass for a hand that no port belongs to."""
        until_s = time.monotonic() + seconds
        while (now_s := time.monotonic()) < until_s:
            self.emulator.tick(now_s)
            self.emulator.to_send()
            self.note(now_s)
            time.sleep(0.005)

    def moved(self, since_s: float, until_s: float) -> tuple[float, float]:
        """The farthest any joint got from where it was at `since_s`, and the time of the last motion after it."""
        before = [closure for time_s, closure in self.story if time_s <= since_s][-1]
        after = [(time_s, closure) for time_s, closure in self.story if since_s < time_s <= until_s]
        farthest, last_s, previous = 0.0, 0.0, before
        for time_s, closure in after:
            farthest = max(farthest, *(abs(a - b) for a, b in zip(closure, before, strict=True)))
            if max(abs(a - b) for a, b in zip(closure, previous, strict=True)) > MOVED:
                last_s, previous = time_s - since_s, closure
        return farthest, last_s


def closures(emulator: Any) -> tuple[float, ...]:
    """Of each joint, 0 open to 1 closed."""
    if isinstance(emulator, AbilityEmulator):
        return tuple(abs(degrees) / 100 for degrees in emulator.state().position_deg.values())
    return tuple(emulator.closure)


class Trial:
    """One run of one hand, until its fingers close."""

    def __init__(self, hand: str, home: Path) -> None:
        pem = DEV_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        write_atomic(home / "keys.d" / "dev.pub", pem)
        grips = home / "grips.toml"
        write_atomic(grips, GRIP_FILE.encode())
        self.watched, self.link = Watched(hand), home / "hand"
        self.armband, self.port = OnPty(MyoEmulator(ArraySource(noise(), 200.0))), self.watched.plugged()
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(self.port.port)
        self.events: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self.armband.__enter__()
        self.port.__enter__()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.scripted_run", "fist", "--bundle", str(bundle(home, DEV_KEY)),
             "--port", self.armband.port, "--hand", hand, "--hand-port", str(self.link), "--grips", str(grips),
             "--max-speed", SPEED, "--json", "--keys-from-stdin"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True,
            env={**os.environ, "MYOSEM_HOME": str(home)},
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.armband.unplug()
        self.port.unplug()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            return next((event for event in self.events if wanted(event)), None)

        with self._news:
            assert self._news.wait_for(found, PATIENCE_S), self.events[-3:]
            event = found()
        assert event is not None
        return event

    def move(self) -> None:
        """Arm, and wait until the hand is on its way."""
        assert self.process.stdin is not None
        streaming = self.wait_for(lambda event: event["event"] == "front end" and event["phase"] == "streaming")
        self.wait_for(lambda event: event["time_s"] > streaming["time_s"] + 1.5)
        self.process.stdin.write("a")
        self.process.stdin.flush()
        until_s = time.monotonic() + PATIENCE_S
        while max(closures(self.watched.emulator)) < BEGUN[0]:
            assert time.monotonic() < until_s, (self.process.poll(), self.events[-3:])
            time.sleep(0.001)

    def suffer(self, fault: str) -> Outcome:
        since_s, back_s = time.monotonic(), None
        if fault == KILLED:
            self.process.send_signal(signal.SIGKILL)
        elif fault == HUNG:
            self.process.send_signal(signal.SIGSTOP)
        elif fault == BOTH:
            guards = self._guards()
            for pid in (*guards, self.process.pid):
                os.kill(pid, signal.SIGKILL)
        elif fault == FRONT_CABLE:
            self.armband.unplug()
        else:
            back_s = self._replug()
        until_s = since_s + WATCH_S if back_s is None else back_s
        while back_s is None and time.monotonic() < until_s:
            time.sleep(0.01)
        moved, for_s = self.watched.moved(since_s, until_s)
        began = max([closure for time_s, closure in self.watched.story if time_s <= since_s][-1])
        after = None if back_s is None else self.watched.moved(back_s, time.monotonic())[0]
        return Outcome(began, moved, for_s, after)

    def _replug(self) -> float:
        """Pull the hand's cable, plug it in again, and wait until the program has found it; when that was."""
        self.port.unplug()
        self.link.unlink()
        self.watched.live(WATCH_S)
        back_s = time.monotonic()
        self.port = self.watched.plugged()
        self.link.symlink_to(self.port.port)
        self.port.__enter__()
        self.wait_for(lambda event: event["event"] == "link" and event["state"] == "back")
        time.sleep(PLUGGED_S)
        return back_s

    def _guards(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(each) for each in children if b"guard.py" in Path(f"/proc/{each}/cmdline").read_bytes()]


def measured(hand: str, fault: str) -> Outcome:
    """One trial."""
    with tempfile.TemporaryDirectory() as home, Trial(hand, Path(home)) as trial:
        trial.move()
        return trial.suffer(fault)


HEAD = f"""# When the program dies or a cable is pulled

Made by `python -m tests.cli.hand_faults --write`: a real `run` closes each emulated hand at {SPEED} of its speed over a
pseudo-terminal, and the fault comes in the middle of that motion. The hand is then watched for {WATCH_S:.0f} s. *Moved
on* is the farthest that any joint went after the fault, in percent of its stroke, and when it moved last. After a cable
was plugged in again nobody arms: *then* is how far any joint went in {PLUGGED_S:.0f} s and more.

Emulated hands stop as their documents say; no hand of metal was cut off. Real time on a shared machine: a few
milliseconds more or less mean nothing.

An Ability Hand that nobody talks to falls back to its own mode after 0.3 s and may finish its grip, which is what the
emulated one does: **nothing on this side covers that.** All others stop by themselves.

"""


def page() -> str:
    text = HEAD
    for fault in FAULTS:
        text += f"## {fault[0].upper()}{fault[1:]}\n\n| hand | moved on | last moved, ms |"
        text += " then |\n|---|---|---|---|\n" if fault == HAND_CABLE else "\n|---|---|---|\n"
        for hand in EMULATED_HANDS:
            found = measured(hand, fault)
            print(fault, hand, found, file=sys.stderr)
            text += f"| `{hand}` | {100 * found.moved:.1f} % | {1000 * found.for_s:.0f} |"
            text += "\n" if found.after_plug is None else f" {100 * found.after_plug:.1f} % |\n"
        text += "\n"
    return text.rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", required=True)
    parser.parse_args()
    write_atomic(PAGE, page().encode())


if __name__ == "__main__":
    main()
