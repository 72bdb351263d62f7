"""Recordings of real people, one file per data set. `DATASETS` maps a name to its loader."""

from __future__ import annotations

import difflib

from myosem_edge.errors import InputError
from myosem_edge.learn.datasets import myo_cotelallard7, myo_kanoga22, myo_readings8
from myosem_edge.learn.datasets.recording import DataSet, Recording

__all__ = ["DATASETS", "DataSet", "Recording", "data_set"]

DATASETS: dict[str, DataSet] = {
    loader.DATASET.name: loader.DATASET for loader in (myo_readings8, myo_kanoga22, myo_cotelallard7)
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
