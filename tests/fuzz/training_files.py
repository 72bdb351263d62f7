"""Readers of the training side: data sets in the formats of others, checkpoints, grids. They need the `train` extra."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from myosem_edge.cli._training import shipped_teacher
from myosem_edge.learn.corpus.store import FIGURES, SCHEMA, read_index
from myosem_edge.learn.datasets import DATASETS
from myosem_edge.learn.datasets.ninapro import read_mat
from myosem_edge.learn.datasets.recording import read_arrays
from myosem_edge.learn.protocols.ablation import default_grid, read_grid
from myosem_edge.learn.sample import sample_folder
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.learn.teacher.config import configure
from myosem_edge.learn.teacher.train import TrainConfig
from tests.fuzz.files import folder
from tests.fuzz.target import FILE, Target, drained, on_file

SAMPLES = 400


def checkpoint() -> Target:
    return Target(
        "checkpoint", [shipped_teacher().read_bytes()[:60000]], on_file(folder() / "t.safetensors", Trained.load), FILE
    )


def pack() -> Target:
    """A pack with everything that one has, short, through the loader of a data set."""
    source = DATASETS["myo_readings8"]
    subject = sorted(path.stem for path in (sample_folder() / source.name).glob("*.npz"))[0]
    whole = read_arrays(sample_folder() / source.name / f"{subject}.npz")
    where = folder() / source.name
    where.mkdir(exist_ok=True)
    path = where / f"{subject}.npz"
    pointers = whole["rec_ptr"]
    short = {name: array[:SAMPLES] if len(array) == len(whole["emg"]) else array[:2] for name, array in whole.items()}
    np.savez(path, **{**short, "rec_ptr": np.array([0, SAMPLES], pointers.dtype)})
    take = on_file(path, lambda file: drained(source.read(where, subject)))
    return Target("pack", [path.read_bytes()], take, FILE)


def mat() -> Target:
    """Format 7.3 of MATLAB, which is HDF5. Format 5 is read by scipy, whose compiled reader dies of some damaged files
    (a segmentation fault of scipy 1.17): nothing here could catch that, and docs/datasets.md says so.
    """
    path = folder() / "seven.mat"
    arrays = {"emg": np.random.default_rng(0).normal(size=(40, 4)), "stimulus": np.ones((40, 1), np.uint8)}
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array.T, chunks=True, compression="gzip")

    def read(path: Path) -> None:
        if h5py.is_hdf5(path):
            read_mat(path, ("emg", "stimulus", "repetition"))

    return Target("mat", [path.read_bytes()], on_file(folder() / "read.mat", read), FILE)


def store_index() -> Target:
    where = folder() / "store"
    where.mkdir(exist_ok=True)
    subjects = {"s1": {**dict.fromkeys(FIGURES, 1), "notes": [], "sources": []}}
    document = {"schema": SCHEMA, "dataset": "x", "wanted": ["s1"], "subjects": subjects, "settings": {"rate_hz": 1.0}}
    return Target(
        "store index", [json.dumps(document).encode()],
        on_file(where / "store.json", lambda path: read_index(path.parent)), FILE,
    )  # fmt: skip


def grid() -> Target:
    base = TrainConfig()
    take = on_file(folder() / "grid.toml", lambda path: read_grid(path, base))
    return Target("grid", [default_grid().read_bytes()], take, FILE)


def setting() -> Target:
    """What `--set` is told; it is text, and as good as a file."""
    base = TrainConfig()
    names = (b"steps=10", b"model.width=96", b"model.dilations=[1,2,4]", b"augment.subset=0.5", b"families=[1]")

    def take(data: bytes) -> None:
        configure(base, [data.decode("utf-8", "replace")])

    return Target("setting", names, take, FILE)


def training_targets() -> dict[str, Callable[[], Target]]:
    makers = (checkpoint, pack, mat, store_index, grid, setting)
    return {maker.__name__.replace("_", " "): maker for maker in makers}
