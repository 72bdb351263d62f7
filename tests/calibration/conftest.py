"""What the tests of calibration share: a model that nobody trained, labelled synthetic signal, and a profile."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import tiny_model

from myosem_edge.calibration.enrol import NONE, Labelled, enrol
from myosem_edge.calibration.profile import Profile, montage_of
from myosem_edge.firmware_bridge.frontends.myo import Myo
from myosem_edge.runtime.decoder import Model

ACTIONS = ("rest", "wrist_flexion", "wrist_extension", "fist")


@pytest.fixture(scope="session")
def model() -> Model:
    return tiny_model.build()


@pytest.fixture(scope="session")
def record() -> Callable[..., Labelled]:
    """A labelled recording of the synthetic wearer: 3 s of each action, the first 0.75 s unlabelled."""

    def make(
        seed: int = 0, actions: tuple[str, ...] = ACTIONS, repetitions: int = 1, played: tuple[str, ...] | None = None
    ) -> Labelled:
        muscle = tiny_model.Muscle(seed)
        samples, action, repetition = [], [], []
        for number in range(1, repetitions + 1):
            for k, name in enumerate(played or actions):
                samples.append(muscle.play(name, 3.0))
                action.append(np.where(np.arange(120) < 30, NONE, k))
                repetition.append(np.full(120, number))
        return Labelled(np.concatenate(samples), np.concatenate(action), np.concatenate(repetition), actions)

    return make


@pytest.fixture(scope="session")
def profile(model: Model, record: Callable[..., Labelled]) -> Profile:
    enrolment, report = enrol(model, record(), mirrored=False, backend="reference")
    return Profile(
        "myo", montage_of(Myo.info), "ab" * 32, "tiny-0.1.0.myosem", "2026-01-02T03:04:05+00:00", enrolment, report,
        "after lunch", "0.1.0",
    )  # fmt: skip


@pytest.fixture(scope="session")
def readings() -> Path:
    """Real EMG: the pack `myo_readings8`, in `MYOSEM_DATA` or beside the repository."""
    default = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("MYOSEM_DATA", default)) / "myo_readings8"
    if not folder.is_dir():
        pytest.skip("the data pack myo_readings8 is not here; MYOSEM_DATA names the folder of packs")
    return folder
