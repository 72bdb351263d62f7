"""How much faster several processes train than one. `python benchmarks/training.py --processes 1 --processes 2`

The default recipe on the sample that ships, without files: the same steps each time, divided over the processes, each
with one thread. A window is what the encoder sees at once, 0.65 s of EMG; a step has episodes x ways x (1 + queries) of
them. CPU time is that of all processes together, less that of a training of two steps; where other work keeps the
machine busy, it says more than the clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from myosem_edge.cli._output import json_option, print_json, table

WARM_STEPS = 2


@click.command()
@click.option(
    "--processes", type=click.IntRange(1), multiple=True, default=(1, 2), show_default=True, help="The first is 1.00."
)
@click.option("--steps", type=click.IntRange(WARM_STEPS + 2), default=30, show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--compile", "compiled", is_flag=True, help="Compile the encoder.")
@click.option("--child", type=click.Path(path_type=Path), hidden=True)
@json_option
def main(
    processes: tuple[int, ...],
    steps: int,
    device: str,
    precision: str,
    compiled: bool,
    child: Path | None,
    as_json: bool,
) -> None:
    """Steps and windows per second of one training in several processes."""
    if child is not None:
        _train(child, steps, device, precision, compiled)
        return
    rows = []
    for count in processes:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "found.json"
            launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
            options = ["--steps", str(steps), "--device", device, "--precision", precision]
            command = [sys.executable, *launch, __file__, "--child", str(out), *options]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run([*command, *(["--compile"] if compiled else [])], env=environment, check=True)
            rows.append({"processes": count, **json.loads(out.read_text())})
    if as_json:
        print_json(rows)
        return
    lines = [
        (
            str(row["processes"]),
            f"{row['steps_per_s']:.2f}",
            f"{row['windows_per_s']:.0f}",
            f"{row['steps_per_s'] / rows[0]['steps_per_s']:.2f}",
            f"{row['cpu_s_a_step']:.3f}",
            f"{row['loss']:.5f}",
        )
        for row in rows
    ]
    click.echo(table(lines, ("processes", "steps/s", "windows/s", "ratio", "CPU s a step", "last loss")))


def _train(out: Path, steps: int, device: str, precision: str, compiled: bool) -> None:
    import torch

    from myosem_edge.actions.catalogue import load_catalogue
    from myosem_edge.actions.table import load_table
    from myosem_edge.learn.corpus.folders import load_sessions
    from myosem_edge.learn.sample import PACK, sample_folder
    from myosem_edge.learn.teacher import parallel
    from myosem_edge.learn.teacher.train import TrainConfig, train

    torch.set_num_threads(1)
    device = parallel.own_device(device)
    config = replace(TrainConfig(), precision=precision)
    moments: list[float] = []
    losses: list[float] = []

    def progress(step: int, numbers: dict[str, float]) -> None:
        moments.append(time.monotonic())
        losses.append(numbers["loss"])

    with parallel.joined(device):
        sessions = load_sessions(sample_folder(), [PACK])
        cpu_s = []
        for count in (WARM_STEPS, WARM_STEPS, steps):  # the very first meets cold caches
            moments.clear()
            begun = time.process_time()
            train(
                replace(config, steps=count),
                sessions,
                load_catalogue(),
                load_table(),
                family="shipped",
                provenance={},
                device=device,
                compiled=compiled,
                progress=progress,
            )
            cpu_s.append(time.process_time() - begun)
        spent = parallel.total({"cpu": torch.tensor(cpu_s[2] - cpu_s[1], device=device)})["cpu"]
        first = parallel.is_first()
    if first:
        steps_per_s = 1 / float(np.median(np.diff(moments)[WARM_STEPS:]))
        windows = config.episodes * config.ways * (1 + config.queries)
        found: dict[str, Any] = {
            "steps_per_s": steps_per_s,
            "windows_per_s": steps_per_s * windows,
            "cpu_s_a_step": spent / (steps - WARM_STEPS),
            "loss": losses[-1],
        }
        out.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
