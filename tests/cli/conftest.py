"""What the tests of commands share: a bundle of made-up weights, a folder of packs with made-up people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from myosem_edge.keys import new_key
from tests.calibration import tiny_model


def person(path: Path, label: np.ndarray, repetition: np.ndarray, seed: int, **facts: list[int]) -> None:
    """Noise whose pattern around the arm depends on the label, in recordings of equal length."""
    patterns = 3.0 + 20.0 * np.random.default_rng(9).random((8, 8)) * (np.arange(8) > 0)[:, None]
    recordings = len(next(iter(facts.values())))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        emg=np.clip(np.random.default_rng(seed).normal(0, patterns[label]), -127, 127).astype(np.int8),
        label=label.astype(np.uint8),
        repetition=repetition.astype(np.uint8),
        rec_ptr=np.linspace(0, len(label), recordings + 1).astype(int),
        **{f"rec_{name}": np.array(values) for name, values in facts.items()},
    )


@pytest.fixture
def tiny_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of made-up weights, trusted here, and a user folder of its own."""
    monkeypatch.setenv("MYOSEM_HOME", str(tmp_path / "home"))
    path = tmp_path / "tiny-0.1.0.myosem"
    tiny_model.bundle_file(path, new_key("maker"))
    return path


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all three packs with made-up people, in their true schema."""
    folder = tmp_path_factory.mktemp("data")
    gestures, repetitions, hold = (1, 2, 7), 5, 500
    cued = np.concatenate([np.tile(np.repeat([0, g], hold), repetitions) for g in gestures])
    count = np.tile(np.repeat(np.arange(1, repetitions + 1), 2 * hold), len(gestures)) * (cued > 0)
    for i, name in enumerate(("p10000", "p10101", "p12548", "p35622")):
        ones = [1] * len(gestures)
        person(
            folder / "myo_readings8" / f"{name}.npz",
            cued,
            count,
            i,
            session=ones,
            hand=[0] * len(gestures),
            gesture=list(gestures),
        )
    short = np.concatenate([np.repeat([0, 1, 2, 7], 300) for _ in range(repetitions)])
    trial = np.repeat(np.arange(1, repetitions + 1), 1200)
    person(folder / "myo_kanoga22" / "sub1.npz", short, trial, 7, day=[1] * 20)
    person(folder / "myo_cotelallard7" / "E_Male0.npz", np.minimum(short, 5), trial, 8, set=[0] * 20)
    return folder
