"""The EMG sample that ships: a few people of myo_readings8 (MIT), cut from the full pack.

`python -m myosem_edge.learn.sample DATA_FOLDER` writes it again, byte for byte the same arrays.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np

from myosem_edge.errors import InputError
from myosem_edge.files import write_atomic
from myosem_edge.learn.corpus.splits import SHIPPED_HELD_OUT

PACK = "myo_readings8"
# People the shipped teacher was trained on: the student is distilled and its constants are measured on them.
DISTIL = ("p10101", "p14478", "p21547", "p45612", "p66666", "p95142")
# People whom neither teacher nor student has seen.
JUDGES = tuple(subject for subject in SHIPPED_HELD_OUT if subject != "p12548")
PLAY = ("p12548",)  # the person of the demo
KEPT = ("emg", "label", "repetition")


def sample_folder() -> Path:
    return Path(__file__).parents[1] / "sample"


def sample_roles(folder: Path | None = None) -> dict[str, list[str]]:
    """Subjects by role: "distil", "judge", "play".

    Raises:
        InputError: the folder holds no sample.
    """
    path = (folder or sample_folder()) / "roles.json"
    try:
        roles = json.loads(path.read_text())
        return {role: [str(subject) for subject in roles[role]] for role in ("distil", "judge", "play")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"does not say who plays which part ({error})",
            where=path,
            expected='{"distil": [...], "judge": [...], "play": [...]}',
        ) from error


def make_sample(data: Path, out: Path) -> None:
    """Session 1 of every chosen person."""
    for subject in (*DISTIL, *JUDGES, *PLAY):
        with np.load(data / PACK / f"{subject}.npz", allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        chosen = np.flatnonzero(arrays["rec_session"] == arrays["rec_session"].min())
        pointers = arrays["rec_ptr"]
        rows = np.concatenate([np.arange(pointers[i], pointers[i + 1]) for i in chosen])
        lengths = np.diff(pointers)[chosen]
        cut = {name: arrays[name][rows] for name in KEPT}
        cut["rec_ptr"] = np.concatenate(([0], np.cumsum(lengths)))
        cut |= {
            name: values[chosen] for name, values in arrays.items() if name.startswith("rec_") and name != "rec_ptr"
        }
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **cut)
        write_atomic(out / PACK / f"{subject}.npz", buffer.getvalue())
    shutil.copyfile(data / PACK / "LICENSE", out / PACK / "LICENSE")
    roles = {"distil": DISTIL, "judge": JUDGES, "play": PLAY}
    write_atomic(out / "roles.json", (json.dumps(roles, indent=2) + "\n").encode())


if __name__ == "__main__":
    make_sample(Path(sys.argv[1]), sample_folder())
