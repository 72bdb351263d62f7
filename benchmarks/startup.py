"""How long until `run` has its first decision, and what it holds in memory. `python benchmarks/startup.py BUNDLE`

Both devices are emulated on pseudo-terminals, so the link's own start sequence is included.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import click
import numpy as np

from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.cli._types import backend_option
from myosem_edge.demo.wearer import load_person
from myosem_edge.firmware_bridge.emulators.ability import AbilityEmulator
from myosem_edge.firmware_bridge.emulators.myo import MyoEmulator
from myosem_edge.firmware_bridge.emulators.pty import OnPty
from myosem_edge.firmware_bridge.emulators.sources import ArraySource
from myosem_edge.learn.sample import sample_folder, sample_roles
from myosem_edge.runtime.child import child_command, child_environment

SETTLE_S = 3.0


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True)
@backend_option
@json_option
def main(bundle: Path, runs: int, backend: str, as_json: bool) -> None:
    """Start-up and memory of `myosem-edge run`, without a profile."""
    person = load_person(sample_folder(), sample_roles()["play"][0])
    rows = [_once(bundle, person.resting, backend) for _ in range(runs)]
    summary = {name: sorted(row[name] for row in rows) for name in rows[0]}
    if as_json:
        print_json(summary)
        return
    lines = [(name, *(f"{np.percentile(v, p):.2f}" for p in (0, 50, 100))) for name, v in summary.items()]
    click.echo(table(lines, ("what", "least", "median", "most")))


def _once(bundle: Path, resting: tuple[np.ndarray, ...], backend: str) -> dict[str, float]:
    source = ArraySource(np.concatenate(resting).astype(np.float32), 200.0)
    with OnPty(MyoEmulator(source)) as armband, OnPty(AbilityEmulator()) as hand:
        command = child_command("myosem_edge", "run", "--bundle", str(bundle), "--no-profile", "--json")
        command += ["--keys-from-stdin"]
        command += ["--port", armband.port, "--hand-port", hand.port, "--backend", backend]
        begun = time.monotonic()
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=child_environment()
        ) as process:
            assert process.stdout is not None and process.stdin is not None
            first = next(time.monotonic() for line in process.stdout if '"decision"' in line)
            end = time.monotonic() + SETTLE_S
            for _ in process.stdout:
                if time.monotonic() > end:
                    break
            memory = _memory_mb(process.pid)
            process.stdin.write("q")
            process.stdin.flush()
            process.stdout.read()
    return {"first decision, s": first - begun, **memory}


def _memory_mb(pid: int) -> dict[str, float]:
    """RSS and PSS of the loop, and PSS of the loop with its guard and telemetry."""
    family = [pid, *(int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def field(path: str, name: str) -> float:
        return (
            next(int(line.split()[1]) for line in Path(path).read_text().splitlines() if line.startswith(name)) / 1000
        )

    pss = [field(f"/proc/{p}/smaps_rollup", "Pss:") for p in family]
    return {
        "RSS, MB": field(f"/proc/{pid}/status", "VmRSS:"),
        "PSS, MB": pss[0],
        "PSS with guard and telemetry, MB": sum(pss),
    }


if __name__ == "__main__":
    main()
