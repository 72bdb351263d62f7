"""Made-up sessions with known structure, for tests that need no real data, and the real sample where people matter."""

import numpy as np
import pytest

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.learn.corpus.sessions import NO_ACTION, Clip, Session, balanced_scale, frame_samples
from myosem_edge.signal.montage import MYO

NAMES = ("rest", "wrist_flexion", "wrist_extension", "fist")


def made_up_session(
    seed=0, repetitions=4, subject="s1", dataset="made_up", actions=NAMES, shift=0, name="0", montage=MYO, frames=40
):
    """White noise whose power around the ring depends on the action: trivial to decode, right in shape."""
    ids = load_catalogue().ids
    rng = np.random.default_rng(seed)
    clips = []
    number = 0
    size = frame_samples(montage.rate_hz)
    for a, action_id in enumerate(actions):
        pattern = 1.0 + 9.0 * (np.arange(montage.channels) // 2 == a % (montage.channels // 2)) * (a > 0)
        pattern = np.roll(pattern, shift)
        for repetition in range(1, repetitions + 1):
            x = rng.normal(0, 1, (frames * size, montage.channels)).astype(np.float32) * pattern.astype(np.float32)
            action = np.full(frames, ids.index(action_id))
            action[:2] = NO_ACTION
            execution = np.where(action >= 0, number, NO_ACTION)
            clips.append(Clip(x, action, np.full(frames, repetition), execution, np.full(frames, -1)))
            number += 1
    scale = balanced_scale([(clip.x, clip.action) for clip in clips])
    return Session(dataset, subject, name, montage, clips, scale)


@pytest.fixture
def catalogue():
    return load_catalogue()
