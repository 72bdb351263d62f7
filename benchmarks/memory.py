"""How much memory converting and training take, for two sizes of data. `python benchmarks/memory.py --gb 5 --gb 10`

Files in the layout of EMG2Pose are made from the EMG of the shipped sample (200 Hz interpolated to 2 kHz, its channels
twice, noise on top), a file at a time; they are converted and trained on at 2 kHz. Every step is a process of its own
and reports its peak resident memory (ru_maxrss). The files are removed at the end.
"""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from myosem_edge.cli._output import json_option, print_json, table

RATE_HZ, CHANNELS, FILE_S = 2000, 16, 60
ROW = np.dtype([("time", "<f8"), ("joint_angles", "<f8", (20,)), ("emg", "<f4", (CHANNELS,))])
STAGES, TAKES = 6, 3  # a user: 18 files of a minute, 0.5 GB
STEPS = ("make", "convert", "train")


@click.command()
@click.option("--gb", "sizes", type=float, multiple=True, default=(5.0, 10.0), show_default=True, help="Source data.")
@click.option("--steps", type=click.IntRange(1), default=20, show_default=True, help="Training steps.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the files go (default: the temporary folder).")
@click.option("--child", type=click.Choice(STEPS), hidden=True)
@json_option
def main(sizes: tuple[float, ...], steps: int, folder: Path | None, child: str | None, as_json: bool) -> None:
    """Peak memory of conversion and training for several sizes of source data."""
    if child is not None:
        assert folder is not None
        print_json(_child(child, folder, sizes[0], steps))
        return
    rows = []
    for gb in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            found: dict[str, Any] = {"GB": gb}
            for step in STEPS:
                command = [sys.executable, __file__, "--child", step, "--folder", place, "--gb", str(gb)]
                done = subprocess.run([*command, "--steps", str(steps)], stdout=subprocess.PIPE, text=True, check=True)
                found[step] = json.loads(done.stdout)
            rows.append(found)
    if as_json:
        print_json(rows)
        return
    lines = []
    for row in rows:
        made, converted, trained = (row[step] for step in STEPS)
        lines.append(
            (
                f"{made['source_gb']:.2f}",
                f"{converted['store_gb']:.2f}",
                f"{trained['hours']:.2f}",
                f"{converted['peak_mb']:.0f}",
                f"{trained['peak_mb']:.0f}",
                f"{converted['seconds']:.0f}",
                f"{trained['ms_a_step']:.0f}",
            )
        )
    header = (
        "source, GB",
        "store, GB",
        "hours",
        "convert, peak MB",
        "train, peak MB",
        "convert, s",
        "train, ms a step",
    )
    click.echo(table(lines, header))


def _child(step: str, folder: Path, gb: float, steps: int) -> dict[str, Any]:
    begun = time.monotonic()
    found = {"make": _make, "convert": _convert, "train": _train}[step](folder, gb, steps)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000  # kB on Linux
    return {**found, "peak_mb": peak_mb, "seconds": time.monotonic() - begun}


def _make(folder: Path, gb: float, steps: int) -> dict[str, Any]:
    import h5py

    from myosem_edge.learn.datasets import emg2pose
    from myosem_edge.learn.datasets.recording import read_arrays
    from myosem_edge.learn.sample import PACK, sample_folder

    real = [read_arrays(path)["emg"] for path in sorted((sample_folder() / PACK).glob("*.npz"))]
    raw = folder / "raw" / emg2pose.NAME
    raw.mkdir(parents=True)
    samples = FILE_S * RATE_HZ
    files = max(1, round(gb * 1e9 / (samples * ROW.itemsize)))
    users = -(-files // (STAGES * TAKES))
    rng = np.random.default_rng(0)
    series = np.zeros(samples, ROW)
    series["joint_angles"] = rng.normal(0, 0.3, (samples, 20))
    rows, total = [], 0
    for i in range(files):
        user, stage = f"user-{i % users:03d}", emg2pose.STAGES[i // users % STAGES]
        name = f"file-{i:05d}"
        series["time"] = i * FILE_S + np.arange(samples) / RATE_HZ
        series["emg"] = _signal(real[i % len(real)], samples, rng)
        facts = {"session": f"session-{user}", "user": user, "stage": stage, "side": "right"}
        with h5py.File(raw / f"{name}.hdf5", "w") as file:
            group = file.create_group("emg2pose")
            group.create_dataset("timeseries", data=series, chunks=(4096,))
            group.attrs.update({**facts, "num_channels": CHANNELS, "sample_rate": float(RATE_HZ)})
        total += (raw / f"{name}.hdf5").stat().st_size
        rows.append({"filename": name, **facts, "start": i, "split": "train", "generalization": ""})
    with (raw / emg2pose.METADATA).open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return {"source_gb": total / 1e9, "files": files}


def _signal(emg: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """(samples, 16) from int8 EMG (n, 8) at 200 Hz: a stretch at random, interpolated, twice, with noise."""
    ratio = RATE_HZ // 200
    first = int(rng.integers(0, len(emg) - samples // ratio - 1))
    part = emg[first : first + samples // ratio + 1].astype(np.float32)
    share = (np.arange(ratio, dtype=np.float32) / ratio)[None, :, None]
    line = part[:-1, None] * (1 - share) + part[1:, None] * share
    both = np.concatenate([line.reshape(samples, -1)] * 2, axis=1)
    return both + rng.standard_normal(both.shape, dtype=np.float32)


def _convert(folder: Path, gb: float, steps: int) -> dict[str, Any]:
    from myosem_edge.learn.corpus.ingest import ingest, plan, require_room
    from myosem_edge.learn.datasets import emg2pose

    jobs = plan(folder / "raw", [emg2pose.NAME])
    require_room(folder / "stores", jobs)
    rows = ingest(folder / "stores", jobs, folder / "raw")
    return {"store_gb": sum(row["size"] for row in rows) / 1e9}


def _train(folder: Path, gb: float, steps: int) -> dict[str, Any]:
    import torch

    from myosem_edge.actions.catalogue import load_catalogue
    from myosem_edge.actions.table import load_table
    from myosem_edge.learn.corpus.folders import load_sessions
    from myosem_edge.learn.datasets import emg2pose
    from myosem_edge.learn.teacher.model import ModelConfig
    from myosem_edge.learn.teacher.train import TrainConfig, train

    torch.set_num_threads(1)
    sessions = load_sessions(folder / "stores", [emg2pose.NAME])
    model = ModelConfig(channels=CHANNELS, frame_samples=RATE_HZ // 40)
    config = TrainConfig(model=model, steps=steps, episodes=2, ways=4)
    moments = [time.monotonic()]
    train(
        config,
        sessions,
        load_catalogue(),
        load_table(),
        family="research",
        provenance={},
        progress=lambda step, numbers: moments.append(time.monotonic()),
    )
    frames = sum(len(clip.action) for session in sessions for clip in session.clips)
    return {"hours": frames / 40 / 3600, "ms_a_step": 1000 * float(np.median(np.diff(moments)[1:] if steps > 1 else 0))}


if __name__ == "__main__":
    main()
