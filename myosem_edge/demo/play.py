"""Play a person through real bytes: emulated armband, calibrate, run, emulated hand; keep truth and deeds."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from myosem_edge.demo.wearer import Clip, Person
from myosem_edge.errors import DeviceError, MyosemError
from myosem_edge.firmware_bridge.emulators.ability import AbilityEmulator, AbilityState
from myosem_edge.firmware_bridge.emulators.myo import MyoEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import WearerSource
from myosem_edge.runtime.child import child_command, child_environment
from myosem_edge.signal.montage import MYO

CALIBRATION_REPETITION = 1
ARM_TIMEOUT_S = 30.0
PAUSE_S = 1.0  # of rest between two executions
POLL_S = 0.02

Say = Callable[[str], None]


@dataclass(frozen=True)
class Performed:
    """One execution as it was played: monotonic times of the first sample of the clip, of cue, onset and end."""

    clip: Clip
    start_s: float

    def time_s(self, sample: int) -> float:
        return self.start_s + sample / MYO.rate_hz


@dataclass
class Session:
    """Everything that was observed."""

    performed: list[Performed] = field(default_factory=list)
    hand: list[AbilityState] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    calibration: list[dict[str, Any]] = field(default_factory=list)
    begun_s: float = 0.0
    ended_s: float = 0.0


class Stage:
    """An armband on a person and a hand on a table, both emulated, each on its own pseudo-terminal."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.session = Session()
        self._source = WearerSource(person.resting, MYO.rate_hz)
        self._armband = OnPty(MyoEmulator(self._source))
        self._hand = OnPty(AbilityEmulator(history=self.session.hand.append))

    def __enter__(self) -> Stage:
        self._armband.__enter__()
        self._hand.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._hand.__exit__(*exc)
        self._armband.__exit__(*exc)

    def calibrate(self, bundle: Path, profile: str, say: Say) -> None:
        """`myosem-edge calibrate` with one repetition of each action, the wearer following its prompts.

        Raises:
            MyosemError: the command failed.
        """
        actions = ",".join(("rest", *self.person.actions))
        command = [
            "calibrate",
            "--bundle",
            str(bundle),
            "--port",
            self._armband.port,
            "--profile",
            profile,
            "--actions",
            actions,
            "--side",
            "left" if self.person.mirrored else "right",
            "--accept",
            "--json",
        ]
        with _start(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for line in process.stdout:
                event = json.loads(line)
                self.session.calibration.append(event)
                if event.get("event") == "prompt":
                    if event["kind"] == "hold" and event["action"] != "rest":
                        clip = self.person.clips[event["action"], CALIBRATION_REPETITION]
                        self._source.perform(clip.samples[clip.cue :], event["action"])
                    elif event["kind"] in ("relax", "prepare"):
                        self._source.rest()
                    if event.get("text"):
                        say(f"  {event['text']}")
        _check(process, "calibrate")

    def run(
        self,
        bundle: Path,
        profile: str,
        log: Path,
        repetitions: Sequence[int],
        progress: Callable[[int, int, str], None],
    ) -> None:
        """`myosem-edge run` on other repetitions of the same person, its live view on this terminal.

        Raises:
            MyosemError: the command failed or could not be armed.
        """
        command = [
            "run",
            "--bundle",
            str(bundle),
            "--port",
            self._armband.port,
            "--hand-port",
            self._hand.port,
            "--profile",
            profile,
            "--log",
            str(log),
            "--keys-from-stdin",
        ]
        todo = [
            self.person.clips[action, r]
            for r in repetitions
            for action in self.person.actions
            if (action, r) in self.person.clips
        ]
        self.session.begun_s = time.monotonic()
        with _start(command, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            try:
                self._arm(process, log)
                for done, clip in enumerate(todo):
                    self._rest(PAUSE_S, process)
                    progress(done, len(todo), clip.action)
                    self._perform(clip, process)
                self._rest(PAUSE_S, process)
                _type(process, "q")
                process.wait(10)
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait(5)
        self.session.ended_s = time.monotonic()
        _check(process, "run")
        self.session.events = read_log(log)

    def _arm(self, process: subprocess.Popen[str], log: Path) -> None:
        """Arming is deliberate and only works after a healthy second: press until the gate says armed."""
        deadline = time.monotonic() + ARM_TIMEOUT_S
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.5)
            _type(process, "a")
            if any(event.get("armed") for event in read_log(log) if event.get("event") == "verdict"):
                return
        if process.poll() is None:
            raise DeviceError(
                "the gate could not be armed",
                found=f"not armed after {ARM_TIMEOUT_S:.0f} s",
                where=log,
                todo="The computer is probably too busy for the loop: close other programs and repeat",
            )
        _check(process, "run")

    def _perform(self, clip: Clip, process: subprocess.Popen[str]) -> None:
        self._source.perform(clip.samples, f"{clip.action}/{clip.repetition}")
        while self._source.performing and process.poll() is None:
            time.sleep(POLL_S)
        played = next(
            entry for entry in reversed(self._source.log) if entry.label == f"{clip.action}/{clip.repetition}"
        )
        self.session.performed.append(Performed(clip, played.time_s))

    def _rest(self, seconds: float, process: subprocess.Popen[str]) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and process.poll() is None:
            time.sleep(POLL_S)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Events of a run's log that are complete so far; the newest line may still be on its way."""
    if not path.exists():
        return []
    events = []
    for line in path.read_text().splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            break
    return events


def _start(command: Sequence[str], **streams: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(child_command("myosem_edge", *command), text=True, env=child_environment(), **streams)


def _type(process: subprocess.Popen[str], key: str) -> None:
    if process.stdin is not None and process.poll() is None:
        process.stdin.write(key)
        process.stdin.flush()


def _check(process: subprocess.Popen[str], name: str) -> None:
    if process.returncode:
        raise MyosemError(
            f"myosem-edge {name} ended with exit code {process.returncode}", todo="Its own message stands above"
        )
