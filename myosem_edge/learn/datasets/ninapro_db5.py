"""NinaPro DB5: 10 intact people, two Myo armbands (16 channels) at 200 Hz, the movements of DB1.

Channels 1 to 8 are the band near the elbow, 9 to 16 the one below it, turned by half an electrode.
"""

from __future__ import annotations

from myosem_edge.learn.datasets.ninapro import Database, Trials, data_set_of
from myosem_edge.learn.datasets.ninapro_db1 import EXERCISES
from myosem_edge.signal.montage import MYO, RecordedMontage

MONTAGE = RecordedMontage("two myo", 16, "ring", 200.0, "counts", MYO.prefiltered, rings=2)
DATASET = data_set_of(Database("ninapro_db5", MONTAGE, EXERCISES, restarts=True), Trials)
