"""NinaPro DB3: 11 people without a hand, recorded like DB2; some movements and electrodes are missing.

Which two people have ten electrodes is told differently by different sources, so it is read from the columns.
"""

from __future__ import annotations

from myosem_edge.learn.datasets.ninapro import Database, Trials, data_set_of
from myosem_edge.learn.datasets.ninapro_db2 import EXERCISES, MONTAGE, UV_PER_V

DATABASE = Database("ninapro_db3", MONTAGE, EXERCISES, to_unit=UV_PER_V, fewest=10, amputees=None)
DATASET = data_set_of(DATABASE, Trials)
