"""What is fuzzed: something that takes bytes, real bytes to begin from, and what it may raise."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from myosem_edge.errors import MyosemError
from tests.fuzz.damage import Damage

MOST_CPU_S = 5.0  # of one input: anything near it is quadratic, or never ends
MOST_GROWTH_KIB = 400 * 1024  # of the process, while one target is fuzzed
CHECK_EVERY = 500


@dataclass(frozen=True)
class Target:
    """`take` is called with damaged input after damaged input and raises nothing but `allowed`; what it keeps is
    its own business. `check`, now and then, raises AssertionError where something went wrong that raised nothing.
    """

    name: str
    seeds: Sequence[bytes]
    take: Callable[[bytes], object]
    allowed: tuple[type[Exception], ...] = ()
    check: Callable[[], None] = lambda: None


FILE = (MyosemError,)


class Found(Exception):
    """An input that did what none may do."""

    def __init__(self, target: Target, number: int, data: bytes, why: str) -> None:
        super().__init__(f"{target.name}, input {number} of {len(data)} bytes: {why}")
        self.data = data


def fuzz(target: Target, inputs: int, seed: int, note: Callable[[int], None] = lambda done: None) -> int:
    """Feed so many damaged inputs; returns how many of them were refused with an allowed error.

    Raises:
        Found: something else was raised, a check failed, an input took too long, or the process has grown too much.
    """
    damage, refused = Damage(target.seeds, seed), 0
    begun_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(inputs):
        data = damage.next()
        begun_s = time.process_time()
        try:
            target.take(data)
            if number % CHECK_EVERY == CHECK_EVERY - 1 or number == inputs - 1:
                target.check()
        except target.allowed:
            refused += 1
        except Exception as error:
            raise Found(target, number, data, f"{type(error).__name__}: {error}"[:300]) from error
        if (took_s := time.process_time() - begun_s) > MOST_CPU_S:
            raise Found(target, number, data, f"took {took_s:.1f} s")
        if number % CHECK_EVERY == 0:
            note(number)
            grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begun_kib
            if grown_kib > MOST_GROWTH_KIB:
                raise Found(target, number, data, f"the process has grown by {grown_kib >> 10} MiB")
    note(inputs)
    return refused


def on_file(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A reader of files as one that takes bytes."""

    def take(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return take


def drained(items: Iterator[object]) -> None:
    """Read a lazy reader to its end."""
    for _ in items:
        pass
