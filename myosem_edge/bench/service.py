"""A decoder in a process of its own, spoken to in lines of JSON: ours and everybody else's are timed by the same code.

The standard library only, since a peer runs it in its own environment. Requests are objects with `do`:

    {"do": "load", "emg": [[...], ...], "labels": [...], "frame": 5, "window": 50}   samples as worn, a label for each
    {"do": "cost", "decisions": 4000, "warm_up": 200}    -> cpu_us, p50_us, p99_us, decisions
    {"do": "pace", "decisions": 400}                     -> p50_ms, p99_ms
    {"do": "stages", "decisions": 1000}                  -> us by stage, of a decoder that has any

Labels are numbers of actions on the samples to calibrate with, -1 on all others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import IO, Any, Protocol, runtime_checkable

from myosem_edge.bench.timing import Clocks, cost, paced

NO_LABEL = -1


class Subject(Protocol):
    """Something that decides once a frame."""

    def load(self, emg: list[list[int]], labels: list[int], frame: int, window: int) -> Mapping[str, Any]:
        """Calibrate; returns facts to report."""

    def decide(self, frame: int) -> object:
        """The decision at the end of this frame of what was loaded, and of it again from its beginning."""


@runtime_checkable
class Staged(Subject, Protocol):
    """One that can tell how much of a hop each of its stages takes."""

    def stages(self, decisions: int, clocks: Clocks) -> Mapping[str, float]:
        """CPU time in us by stage."""


def answers_only() -> IO[str]:
    """Standard output for answers alone: whatever a library prints from now on goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def serve(
    subject: Subject, answers: IO[str], requests: Iterable[str] = sys.stdin, clocks: Clocks | None = None
) -> None:
    """Answer until the requests end. What fails is told as {"error": ...} and ends nothing."""
    clocks = clocks or Clocks()
    for line in requests:
        try:
            answer = _answer(subject, json.loads(line), clocks)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answer(subject: Subject, request: dict[str, Any], clocks: Clocks) -> dict[str, Any]:
    wanted = request.pop("do")
    if wanted == "load":
        return dict(subject.load(**request))
    if wanted == "cost":
        return cost(subject.decide, request["decisions"], request["warm_up"], clocks).to_dict()
    if wanted == "pace":
        return paced(subject.decide, request["decisions"], clocks).to_dict()
    if wanted == "stages" and isinstance(subject, Staged):
        return dict(subject.stages(request["decisions"], clocks))
    raise ValueError(f"nothing is known of {wanted!r}")


class ChildError(Exception):
    """A child does not start, or cannot do what it was asked."""


class Child:
    """The other end: one process, asked one thing at a time.

    Raises:
        ChildError: there is no such program.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed with the child)
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=self._said, text=True, env=environment
            )
        except OSError as error:
            self._said.close()
            raise ChildError(f"{command[0]}: {error.strerror}") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Raises:
        ChildError: it says why it cannot, or it has ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ChildError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ChildError(answer["error"])
        return answer

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def _last_words(self) -> str:
        code = self._process.wait()
        self._said.seek(0)
        said = self._said.read().strip().splitlines()
        return said[-1] if said else f"ended with exit code {code}"
