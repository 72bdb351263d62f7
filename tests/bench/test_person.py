"""The stream that everybody is measured on: what is labelled is one settled repetition of every action, and rest."""

from __future__ import annotations

import numpy as np

from myosem_edge.bench.person import EDGE_S, RATE_HZ, REST_S, load_stream
from myosem_edge.bench.service import NO_LABEL


def test_eight_actions_of_one_repetition_and_as_much_again_to_decide_on() -> None:
    stream = load_stream()
    assert stream.actions[0] == "rest" and stream.actions[7] == "fist" and len(set(stream.actions)) == 8
    counts = np.bincount(stream.labels[stream.labels != NO_LABEL])
    assert counts[0] == REST_S * RATE_HZ
    assert ((counts[1:] > 4 * RATE_HZ) & (counts[1:] < 5 * RATE_HZ)).all()
    assert len(load_stream(3).emg) > len(stream.emg) > 2 * counts.sum()
    assert np.array_equal(load_stream(3).labels[:2000], stream.labels[:2000])


def test_a_label_is_never_at_the_edge_of_a_cue() -> None:
    labels = load_stream().labels
    changes = np.flatnonzero(np.diff(labels)) + 1
    lengths = np.diff(changes)
    # Between two labelled stretches there is at least the time in which a muscle follows its cue.
    unlabelled = lengths[labels[changes[:-1]] == NO_LABEL]
    assert unlabelled.min() >= EDGE_S * RATE_HZ - 1


def test_a_hop_has_a_label_if_all_its_samples_have_it() -> None:
    stream = load_stream()
    data = stream.labelled(5)
    whole = stream.labels[: 5 * len(data.action)].reshape(-1, 5)
    assert all((row == label).all() for row, label in zip(whole, data.action, strict=True) if label != NO_LABEL)
    assert data.samples.dtype == np.float32 and data.samples.shape == stream.emg.shape
