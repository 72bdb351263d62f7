"""NinaPro DB2: 40 intact people, twelve Trigno electrodes at 2 kHz, six repetitions.

Channels 1 to 8 are an even ring at the radio-humeral joint; then flexor digitorum, extensor digitorum, biceps, triceps.
Exercise 1 holds labels 1 to 17, exercise 2 goes on with 18 to 40, exercise 3 is the force plate.
"""

from __future__ import annotations

from myosem_edge.learn.datasets.ninapro import TRIGNO, Database, Exercise, Trials, data_set_of
from myosem_edge.signal.montage import Montage

MONTAGE = Montage("Trigno, DB2 placement", 12, "sites", 2000.0, "uV", TRIGNO)
EXERCISES = {1: Exercise(1, 17), 2: Exercise(18, 23), 3: Exercise(41, 9, force=True)}
UV_PER_V = 1e6
DATASET = data_set_of(Database("ninapro_db2", MONTAGE, EXERCISES, to_unit=UV_PER_V), Trials)
