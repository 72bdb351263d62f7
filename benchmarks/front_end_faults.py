"""What faults on the wire cost each front end, and whether it notices: `python benchmarks/front_end_faults.py`.

Driver and emulated device are wired back to back on a virtual clock and play the same random samples twice, without
and with the fault. What the driver then delivers is laid beside what it delivers undisturbed, sample by sample.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from myosem_edge.files import write_atomic
from myosem_edge.firmware_bridge.emulators import EMULATED_FRONT_ENDS
from myosem_edge.firmware_bridge.emulators.faults import Faults
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.firmware_bridge.frontends import make_front_end
from myosem_edge.firmware_bridge.frontends.base import FrontEnd, Phase
from myosem_edge.firmware_bridge.frontends.options import options_of

PAGE = Path("docs/results/front-end-faults.md")
STEP_S = 0.005
START_S = 60.0  # no handshake takes longer
BEFORE_S, FAULTY_S, AFTER_S = 1.0, 20.0, 5.0
MOST_SAMPLES = 10_000  # with the fault; a SpikerShield sends as many a second
SHARE = 0.01  # of the frames
FILLED = 0.9  # of the full scale
NEAR = 40  # samples around one that came twice
# What cannot be said without being told how the sketch on the other side was written.
OPTIONS = {"csv": "csv:channels=4,rate_hz=250,bits=12"}
FAULTS = {
    "frame lost": Faults(drop_probability=SHARE),
    "frame twice": Faults(duplicate_probability=SHARE),
    "a byte changed": Faults(corrupt_probability=SHARE),
    "a byte lost": Faults(cut_probability=SHARE),
    "1 to 16 random bytes": Faults(garbage_probability=SHARE),
    "a line of text": Faults(text_probability=SHARE),
    "50 ms late": Faults(delay_ms=50.0),
    "held back for 16 ms": Faults(burst_ms=16.0),
    "counter stuck": Faults(stuck_counter=True),
    "a second of silence": Faults(silent=True),
}
HEADING = ("fault", "frames", "faulty", "samples missing", "counted lost", "wrong", "twice", "bytes rejected", "noted")
TEXT = f"""# Faults on the wire

Made by `python benchmarks/front_end_faults.py`: each front end's driver and its emulated device back to back on a
virtual clock, {SHARE:.0%} of the frames with the fault for {FAULTY_S:.0f} s (fewer from a device above
{MOST_SAMPLES / FAULTY_S:.0f} Hz), random samples, so that a wrong one is known. What is delivered is laid beside what
is delivered without the fault.

- *frames*: what the device put on the wire meanwhile, and in the clean seconds after. One holds ten samples with
  `myosem_wire`, two with `myo`, half a sample with `cyton_daisy`, one elsewhere.
- *samples missing*: not delivered, or not as they were sent. *counted lost*: by the driver; this is what the gate sees
  (SR-04). Where it is more than are missing, bytes that nobody sent as a frame looked like one.
- *wrong*: delivered, and never sent. **Only `myosem_wire` has a check worth the name**: a Cyton, a FreeEEG32 or Chords
  with a changed byte among its data delivers that as a sample, and nobody can know. BITalino has a check of four bits.
- *twice*: delivered again, by devices without a counter, or with one of two bits as a Myo.
- *noted*: what else the driver says, from the rate of the samples by the clock or of its own state.

A stuck counter is no stream to a driver that counts by it: it starts the device anew, some times, and then reports a
failure; `run` goes on trying. A device without a counter cannot have one that sticks.

"""


@dataclass(frozen=True)
class Cost:
    """Of one fault for one front end: `faulty` of `frames`; samples by what became of them; what the driver says."""

    frames: int
    faulty: int
    missing: int
    wrong: int
    twice: int
    counted: int
    rejected_bytes: int
    noted: tuple[str, ...]


def cost(name: str, faults: Faults, seconds: float = FAULTY_S) -> Cost:
    """One front end under one fault, beside what it delivers without."""
    seconds = 1.0 if faults.silent else seconds
    sent = undisturbed(name, seconds)
    found, driver, emulator = delivered(name, faults, seconds)
    missing, wrong, twice = compared(sent, found)
    wire, counters = emulator.wire, driver.counters
    return Cost(
        wire.frames, wire.faulty, missing, wrong, twice,
        counters.lost_samples, counters.rejected_bytes, tuple(counters.notes),
    )  # fmt: skip


@cache
def undisturbed(name: str, seconds: float) -> np.ndarray:
    return delivered(name, Faults(), seconds)[0]


def delivered(name: str, faults: Faults, seconds: float) -> tuple[np.ndarray, FrontEnd, Any]:
    """Samples `(n, channels)` of so many seconds with the fault and some clean ones around them, driver and emulator.

    What is counted, by either, is counted from the fault's beginning on.
    """
    driver = make_front_end(OPTIONS.get(name, name))
    info = driver.info
    seconds = min(seconds, MOST_SAMPLES / info.rate_hz)
    high = FILLED * min(info.full_scale, 2.0**20)
    shape = (int((START_S + FAULTY_S + AFTER_S) * info.rate_hz), info.channels)
    source = ArraySource(np.random.default_rng(7).uniform(-high, high, shape).astype(np.float32), info.rate_hz)
    options = {"driver": driver} if options_of(type(driver)) else {}
    emulator: Any = EMULATED_FRONT_ENDS[name](source, **options)
    rows: list[np.ndarray] = []
    now_s = 0.0

    def run(until_s: float, until: Phase | None = None) -> None:
        nonlocal now_s
        while now_s < until_s and driver.phase is not until:
            now_s += STEP_S
            emulator.receive(driver.to_send(), now_s)
            emulator.tick(now_s)
            rows.extend(chunk.samples for chunk in driver.receive(emulator.to_send(), now_s))
            driver.tick(now_s)

    driver.start(now_s)
    run(START_S, Phase.STREAMING)
    if driver.phase is not Phase.STREAMING:
        raise SystemExit(f"{name} does not stream: {driver.failure}")
    run(now_s + BEFORE_S)
    driver.counters.rejected_bytes = driver.counters.lost_samples = emulator.wire.frames = emulator.wire.faulty = 0
    driver.counters.notes.clear()
    emulator.faults = faults
    run(now_s + seconds)
    emulator.faults = Faults()
    run(now_s + AFTER_S)
    return np.concatenate(rows), driver, emulator


def compared(sent: np.ndarray, found: np.ndarray) -> tuple[int, int, int]:
    """How many samples are missing, wrong, and there twice."""
    expected, keys = ([row.tobytes() for row in rows] for rows in (sent, found))
    blocks = SequenceMatcher(None, expected, keys, autojunk=False).get_matching_blocks()
    good = {at for block in blocks for at in range(block.b, block.b + block.size)}
    others = [at for at in range(len(keys)) if at not in good]
    twice = sum(keys[at] in keys[max(0, at - NEAR) : at] + keys[at + 1 : at + NEAR] for at in others)
    return len(expected) - len(good), len(others) - twice, twice


def rows(name: str) -> list[tuple[str, ...]]:
    """One line for every fault."""
    lines = []
    for what, faults in FAULTS.items():
        found = cost(name, faults)
        every = faults.delay_ms or faults.burst_ms or faults.stuck_counter or faults.silent
        numbers = (found.missing, found.counted, found.wrong, found.twice, found.rejected_bytes)
        faulty = "all" if every else str(found.faulty)
        lines.append((what, str(found.frames), faulty, *map(str, numbers), ", ".join(found.noted)))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PAGE)
    out = parser.parse_args().out
    page = TEXT
    for name in EMULATED_FRONT_ENDS:
        print(name, file=sys.stderr)
        lines = [HEADING, ("---",) * len(HEADING), *rows(name)]
        page += f"## {name}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n\n"
    write_atomic(out, (page.rstrip() + "\n").encode())


if __name__ == "__main__":
    main()
