"""Run an encoder and the two baselines over a session: every decision with its label, execution and repetition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from myosem_edge.calibration.ring import best_shift, unlabelled_shift
from myosem_edge.learn.corpus.sessions import NO_ACTION, Session, balanced_scale
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.learn.teacher.train import session_map
from myosem_edge.runtime.encoder import Encoded
from myosem_edge.signal.covariance import log_covariance
from myosem_edge.signal.features import hudgins_features, log_features, window_sums

SETTLE_FRAMES = 10  # after the start of a recording nobody is judged: windows and states are still filling


@dataclass(frozen=True)
class Embedded:
    """Decisions of one session (n rows): h (n, width), z (n, embedding) unit, features of the baselines, labels."""

    session: Session
    h: np.ndarray
    z: np.ndarray
    log_features: np.ndarray
    log_covariance: np.ndarray
    hudgins: np.ndarray
    action: np.ndarray
    repetition: np.ndarray
    execution: np.ndarray

    def encoded(self, rows: np.ndarray | slice = slice(None)) -> Encoded:
        """Some rows as the runtime has them."""
        rms = np.exp(self.log_features[rows, -self.session.montage.channels :]).mean(axis=1)
        return Encoded(self.h[rows], self.z[rows], self.log_features[rows], self.log_covariance[rows], rms)


def mean_by_execution(execution: np.ndarray, action: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of values (n, ...) over each execution (n,) -> (executions, ...), and the action of each."""
    numbers, first, inverse = np.unique(execution, return_index=True, return_inverse=True)
    total = np.zeros((len(numbers), *values.shape[1:]))
    np.add.at(total, inverse, values)
    return total / np.bincount(inverse)[(...,) + (None,) * (values.ndim - 1)], action[first]


Encode = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # canonical x (samples, channels) -> h, z per frame


def torch_encode(trained: Trained) -> Encode:
    @torch.no_grad()
    def encode(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        h, z = trained.encoder(torch.from_numpy(np.ascontiguousarray(x.T))[None])
        return h[0].numpy(), z[0].numpy()

    return encode


def calibration_rows(session: Session, repetitions: set[int]) -> Callable[[int, int], bool]:
    """Which (action, repetition) a calibration on these repetitions has seen."""
    return lambda action, repetition: repetition in repetitions


def worn_scale(session: Session, repetitions: set[int] | None = None) -> np.ndarray:
    """Input scale (channels,): RMS of the given repetitions, every action the same; None = of the whole session."""
    if repetitions is None:
        return session.scale
    parts = []
    for clip in session.clips:
        keep = np.isin(clip.repetition, list(repetitions)) & (clip.action >= 0)
        parts.append((clip.x, np.where(keep, clip.action, NO_ACTION)))
    return balanced_scale(parts)


def worn_shift(session: Session, trained: Trained, ids: tuple[str, ...], repetitions: set[int]) -> int:
    """Ring rotation found from labelled repetitions against the model's templates."""
    worn = session_map(session, calibration_rows(session, repetitions))
    templates = {ids.index(action): row for action, row in trained.ring_templates.items()}
    return best_shift(worn, templates, rings=session.montage.turning_rings)[0]


def found_shift(
    session: Session, trained: Trained, ids: tuple[str, ...], encode: Encode, prototypes: np.ndarray, scale: np.ndarray
) -> int:
    """Ring rotation found without labels, from everything the session holds; prototypes (catalogue, embedding)."""
    rings = session.montage.turning_rings
    learnt = prototypes[sorted(ids.index(action) for action in trained.ring_templates)]

    def cosines_at(shift: int) -> np.ndarray:
        encoded = [encode(session.canonical(clip, scale=scale, shift=shift))[1] for clip in session.clips]
        return np.concatenate(encoded) @ learnt.T

    return unlabelled_shift(cosines_at, session.montage.channels // rings if rings else 0)


def embed(
    session: Session,
    encode: Encode | None,
    *,
    scale: np.ndarray | None = None,
    shift: int = 0,
    everything: bool = False,
) -> Embedded:
    """Every believed decision of a session, recordings encoded from a cold start exactly as a stream would be; with
    `everything` also those whose label cannot be believed and those that are still settling.

    Without an encoder h and z are empty (n, 0): for baselines alone.
    """
    rows: list[tuple[np.ndarray, ...]] = []
    for clip in session.clips:
        keep = clip.action >= 0
        keep[:SETTLE_FRAMES] = False
        keep |= everything
        if not keep.any():
            continue
        x = session.canonical(clip, scale=scale, shift=shift)
        h, z = encode(x) if encode else (np.zeros((len(keep), 0)), np.zeros((len(keep), 0)))
        frames = x.reshape(len(clip.action), -1, x.shape[1]).astype(np.float64)
        sums = window_sums(frames)
        logs, hudgins = log_features(sums, frames.shape[1]), hudgins_features(sums, frames.shape[1])
        labels = (clip.action, clip.repetition, clip.execution)
        rows.append(tuple(v[keep] for v in (h, z, logs, log_covariance(frames), hudgins, *labels)))
    return Embedded(session, *(np.concatenate(column) for column in zip(*rows, strict=True)))
