"""NinaPro DB7: 20 intact people and 2 without a hand (21 and 22), twelve Trigno electrodes at 2 kHz, 40 movements."""

from __future__ import annotations

from myosem_edge.learn.datasets.ninapro import Database, Trials, data_set_of
from myosem_edge.learn.datasets.ninapro_db2 import EXERCISES, MONTAGE, UV_PER_V

AMPUTEES = frozenset({21, 22})
FREE_MOVEMENTS = {number: EXERCISES[number] for number in (1, 2)}
DATABASE = Database("ninapro_db7", MONTAGE, FREE_MOVEMENTS, to_unit=UV_PER_V, amputees=AMPUTEES)
DATASET = data_set_of(DATABASE, Trials)
