"""Recordings of real people, one file per data set. `DATASETS` maps a name to its loader."""

from __future__ import annotations

import difflib

from myosem_edge.errors import InputError
from myosem_edge.learn.datasets import (
    emg2pose,
    flexemg64,
    myo_cotelallard7,
    myo_kanoga22,
    myo_readings8,
    ninapro_db1,
    ninapro_db2,
    ninapro_db3,
    ninapro_db5,
    ninapro_db6,
    ninapro_db7,
    own,
    unibo_inail4,
)
from myosem_edge.learn.datasets.recording import DataSet, Recording

__all__ = ["DATASETS", "DataSet", "Recording", "data_set"]

DATASETS: dict[str, DataSet] = {
    loader.DATASET.name: loader.DATASET
    for loader in (
        *(myo_readings8, myo_kanoga22, myo_cotelallard7, unibo_inail4, flexemg64),
        *(ninapro_db1, ninapro_db2, ninapro_db3, ninapro_db5, ninapro_db6, ninapro_db7, emg2pose),
        own,
    )
}


def data_set(name: str) -> DataSet:
    """Raises:
    InputError: no such data set; names the nearest one.
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        raise InputError(
            f"'{name}' is not a known data set",
            expected=", ".join(DATASETS),
            todo=f"Did you mean '{near[0]}'?" if near else None,
        )
    return DATASETS[name]
