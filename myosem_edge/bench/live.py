"""A real `run` between an emulated armband and an emulated hand: start-up, memory, lateness, delay of a command.

Delay is counted from the moment the newest sample's bytes are written to the armband's pseudo-terminal to the moment
the bytes of a command have been read from the hand's. Only commands that change the speed of a grip count: those follow
from a decision at once, while a new grip may have waited for the gate's pause between two grips, and a repeated one is
a keep-alive. `run` tells every change of its verdict with the time of the cycle that took it: the newest samples are
those that had been written by then, however long the command took from there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from myosem_edge.bench.person import RATE_HZ, WEARER, Stream
from myosem_edge.bench.timing import quantile
from myosem_edge.bundle import Bundle
from myosem_edge.calibration.enrol import enrol
from myosem_edge.calibration.profile import Profile, montage_of
from myosem_edge.calibration.store import Store
from myosem_edge.clock import Clock, MonotonicClock
from myosem_edge.errors import DeviceError
from myosem_edge.firmware_bridge.emulators.ability import AbilityEmulator, AbilityState
from myosem_edge.firmware_bridge.emulators.myo import MyoEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends.myo import Myo
from myosem_edge.keys import trust_folder
from myosem_edge.runtime.child import child_command, child_environment
from myosem_edge.runtime.decoder import Model

CREATED = "2000-01-01T00:00:00+00:00"  # a profile that is thrown away
START_TIMEOUT_S = ARM_TIMEOUT_S = 60.0
MB_PER_KIB = 1.024e-3  # what /proc calls kB is 1024 bytes
ALONE = "PSS with children, alone, MB"
ARM_AGAIN_S = 0.5  # a press is refused until everything has been healthy for a second


class StampedMyo(MyoEmulator):
    """Keeps when samples were handed to the wire."""

    def __init__(self, source: ArraySource, clock: Clock) -> None:
        super().__init__(source)
        self._clock, self._told = clock, 0
        self.written_s: list[float] = []

    def to_send(self) -> bytes:
        data = super().to_send()
        if data and self.samples_sent != self._told:
            self._told = self.samples_sent
            self.written_s.append(self._clock.now_s())
        return data


@dataclass
class Seen:
    """What was observed of one `run`."""

    first_decision_s: float = 0.0
    memory_mb: dict[str, float] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    delays_s: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Raises:
        DeviceError: nothing followed from a decision, so there is no delay.
        """
        if not self.delays_s:
            counts = self.summary.get("counts") or {}
            raise DeviceError(
                "no command followed from a decision",
                found=", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or None,
                todo="Let it run longer (--seconds), on a computer that is not busy with other programs",
            )
        late, processing = self.summary["late"], self.summary["processing"]
        return {
            "first decision, s": self.first_decision_s,
            **self.memory_mb,
            "loop late p99, ms": late["p99_ms"],
            "loop late max, ms": late["max_ms"],
            "sample to command inside run p50, ms": processing["p50_ms"],
            "sample to command inside run p99, ms": processing["p99_ms"],
            "sample byte to command byte p50, ms": 1000 * quantile(self.delays_s, 0.5),
            "sample byte to command byte p99, ms": 1000 * quantile(self.delays_s, 0.99),
            "commands counted": float(len(self.delays_s)),
            "decisions": float(self.summary["counts"]["decisions"]),
        }


def delays(
    written_s: Sequence[float], verdicts: Sequence[Mapping[str, Any]], hand: Sequence[AbilityState]
) -> list[float]:
    """From the newest samples of each verdict that changes the speed of a grip to the hand's change of speed."""
    obeyed_s = [
        after.time_s
        for before, after in pairwise(hand)
        if after.control == before.control == "grip"
        and after.grip == before.grip
        and after.speed_byte != before.speed_byte
    ]
    decided_s = [
        after["time_s"]
        for before, after in pairwise(verdicts)
        if after["command"]["kind"] == before["command"]["kind"] == "grip"
        and after["command"]["grip"] == before["command"]["grip"]
        and after["command"]["speed"] != before["command"]["speed"]
    ]
    found = []
    for cycle_s, next_s in pairwise((*decided_s, float("inf"))):
        place, newest = bisect_left(obeyed_s, cycle_s), bisect_right(written_s, cycle_s)
        if newest and place < len(obeyed_s) and obeyed_s[place] < next_s:
            found.append(obeyed_s[place] - written_s[newest - 1])
    return found


def observe(
    bundle: Bundle, bundle_path: Path, stream: Stream, backend: str, seconds: float, board: Sequence[str] = ()
) -> Seen:
    """Calibrate the person in a folder of its own, run for so long, and look on.

    Raises:
        MyosemError: `run` fails, or cannot be armed.
    """
    with tempfile.TemporaryDirectory() as home:
        wear(Path(home), bundle, stream, backend)
        clock = MonotonicClock()
        history: list[AbilityState] = []
        armband = StampedMyo(ArraySource(stream.emg.astype("float32"), RATE_HZ), clock)
        with OnPty(armband, clock=clock) as front_end, OnPty(AbilityEmulator(history=history.append)) as hand:
            command = child_command("myosem_edge", "run", "--bundle", str(bundle_path), "--profile", WEARER, "--json")
            command += ["--port", front_end.port, "--hand-port", hand.port, "--backend", backend, *board]
            seen = _watch([*command, "--keys-from-stdin"], child_environment() | {"MYOSEM_HOME": home}, seconds)
        seen.delays_s = delays(armband.written_s, seen.verdicts, history)
    return seen


def wear(home: Path, bundle: Bundle, stream: Stream, backend: str) -> None:
    """Make `home` a user's folder: the person's calibrated profile in use, and the keys trusted that are trusted here.

    Raises:
        MyosemError: the bundle does not load, or nothing can be written there.
    """
    model = Model.from_bundle(bundle)
    data = stream.labelled(model.filter.frame_samples)
    enrolment, report = enrol(model, data, mirrored=False, backend=backend)
    info = Myo.info
    name = bundle.manifest.file_name
    profile = Profile(info.id, montage_of(info), bundle.sha256, name, CREATED, enrolment, report)
    store = Store(home / "profiles")
    store.save_provisional(WEARER, profile)
    store.accept(WEARER)
    if trust_folder().is_dir():
        shutil.copytree(trust_folder(), home / "keys.d")


def _watch(command: Sequence[str], environment: dict[str, str], seconds: float) -> Seen:
    """`seconds` count from the first arming on."""
    seen, armed, begun = Seen(), False, time.monotonic()
    asked_s = end_s = late_s = float("inf")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        press = _presser(process)
        assert process.stdout is not None
        try:
            for line in process.stdout:
                event, now_s = json.loads(line), time.monotonic()
                if event["event"] == "decision" and not seen.first_decision_s:
                    seen.first_decision_s = now_s - begun
                    asked_s, late_s = now_s, now_s + ARM_TIMEOUT_S
                elif event["event"] == "verdict":
                    armed = bool(event["armed"])
                    seen.verdicts.append(event)
                    if armed and late_s < float("inf"):
                        end_s, late_s = now_s + seconds, float("inf")
                elif event["event"] == "summary":
                    seen.summary = event
                if not armed and now_s - asked_s >= ARM_AGAIN_S:
                    asked_s = now_s
                    press("a")
                if now_s >= end_s:
                    end_s = float("inf")
                    seen.memory_mb = memory_mb(process.pid)
                    press("q")
                if not seen.first_decision_s and now_s - begun > START_TIMEOUT_S:
                    raise DeviceError("run does not decide", found=f"nothing after {START_TIMEOUT_S:.0f} s")
                if now_s >= late_s:
                    raise DeviceError(
                        "the gate could not be armed",
                        found=f"not armed after {ARM_TIMEOUT_S:.0f} s",
                        todo="The computer is probably too busy for the loop: close other programs and repeat",
                    )
        finally:
            if process.poll() is None and not seen.summary:
                process.terminate()
    if process.returncode or not seen.summary:
        raise DeviceError("run ended early", found=f"exit code {process.returncode}", todo="Its own message is above")
    return seen


def _presser(process: subprocess.Popen[str]) -> Callable[[str], None]:
    def press(key: str) -> None:
        assert process.stdin is not None
        process.stdin.write(key)
        process.stdin.flush()

    return press


def memory_mb(pid: int) -> dict[str, float]:
    """RSS and PSS of a process, and PSS of it with its children (of `run`: guard and telemetry).

    PSS counts a page of a library as half where a program that has nothing to do with it shows the same library, so it
    is smaller on a busy machine. ALONE is what it would be if nothing else ran, as on a board.
    """
    family = [pid, *(int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    pss = [_field_mb(f"/proc/{p}/smaps_rollup", "Pss:") for p in family]
    alone = alone_kib([Path(f"/proc/{p}/smaps").read_text() for p in family]) * MB_PER_KIB
    rss = _field_mb(f"/proc/{pid}/status", "VmRSS:")
    return {"RSS, MB": rss, "PSS, MB": pss[0], "PSS with children, MB": sum(pss), ALONE: alone}


def alone_kib(smaps: Sequence[str]) -> int:
    """KiB in memory of processes of which none was forked from another without an exec, from their /proc/PID/smaps.

    A process's own pages are nobody else's; of a stretch of a file all show the same pages, so the most that one of
    them has in memory counts. That is within 0.3 % of counting page frames (/proc/PID/pagemap, for which root is
    needed).
    """
    own, shown = 0, Counter[tuple[str, ...]]()
    for text in smaps:
        mine = Counter[tuple[str, ...]]()
        place, rss = ("", "", ""), 0
        for line in text.splitlines():
            name, *values = line.split()
            if not name.endswith(":"):  # a new mapping: range, rights, offset, device, inode
                place = (values[1], values[2], values[3])
            elif name == "Rss:":
                rss = int(values[0])
            elif name == "Anonymous:":
                own += int(values[0])
                mine[place] += rss - int(values[0])
        shown |= mine  # the larger of both
    return own + shown.total()


def _field_mb(path: str, name: str) -> float:
    line = next(line for line in Path(path).read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * MB_PER_KIB
