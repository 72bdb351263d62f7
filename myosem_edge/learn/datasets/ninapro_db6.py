"""NinaPro DB6: 10 intact people, fourteen Trigno electrodes at 2 kHz, seven grasps twice a day on five days.

Files are named by subject, day and time of day: S1_D1_T1.mat. Of the 16 columns two are empty by design. The labels
1, 3, 4, 6, 9, 10 and 11 are grasps, but which is which is stated nowhere that could be checked: the catalogue lists
them as unverified.
"""

from __future__ import annotations

import re
from pathlib import Path

from myosem_edge.learn.datasets.ninapro import TRIGNO, Database, Trial, Trials, data_set_of
from myosem_edge.learn.datasets.ninapro_db2 import UV_PER_V
from myosem_edge.signal.montage import Montage

MONTAGE = Montage("Trigno, DB6 placement", 14, "sites", 2000.0, "uV", TRIGNO)
UNUSED = (8, 9)


class DayTrials(Trials):
    """Files named by subject, day and time of day; each is a donning of its own."""

    pattern = re.compile(r"S(\d+)_D(\d+)_T(\d+)\.mat", re.IGNORECASE)
    example = "S1_D1_T1.mat"

    @staticmethod
    def groups(match: re.Match[str]) -> tuple[str, ...]:
        return match.groups()

    def trial(self, path: Path, key: tuple[int, ...], subject: int) -> Trial:
        day, time = key
        return Trial(path, f"d{day}t{time}", None, {"day": day, "time": time, "amputee": self.amputee(subject)})


DATASET = data_set_of(Database("ninapro_db6", MONTAGE, {}, to_unit=UV_PER_V, unused=UNUSED), DayTrials)
