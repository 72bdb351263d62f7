"""NinaPro DB1: 27 intact people, ten Otto Bock electrodes at 100 Hz, whose samples are RMS envelopes and no raw EMG.

Every exercise file numbers its movements from 1: 12, 17 and 23 of them.
"""

from __future__ import annotations

from myosem_edge.learn.datasets.ninapro import Database, Exercise, Trials, data_set_of
from myosem_edge.signal.montage import RecordedMontage

MONTAGE = RecordedMontage("Otto Bock 13E200", 10, "sites", 100.0, "V", "RMS envelope in the electrode", envelope=True)
EXERCISES = {1: Exercise(1, 12), 2: Exercise(13, 17), 3: Exercise(30, 23)}
DATASET = data_set_of(Database("ninapro_db1", MONTAGE, EXERCISES, restarts=True), Trials)
