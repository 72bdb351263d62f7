"""From one encoded hop to one distribution over actions: the wearer's calibrated head and the description table.

P(enrolled) says whether this looks like anything that was calibrated: logistic in the Mahalanobis distance to the
nearest calibrated action and in how much better the best calibrated description fits than the best other one (semantic
negatives). Inside the enrolled actions the head decides, outside them the descriptions do:
p(k) = P(enrolled) softmax(head / T)_k for enrolled k, (1 - P(enrolled)) softmax(cosines / t)_k for the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from myosem_edge.errors import InputError
from myosem_edge.runtime.discriminant import Experts, Lda, log_softmax
from myosem_edge.runtime.encoder import Encoded, Fit

HEADS = ("h", "z", "log_features", "log_covariance")  # of `Encoded`, each with a discriminant of its own
PRIOR_TEMPERATURE = 0.05  # of cosines, where descriptions stand beside a calibration


@dataclass(frozen=True)
class MatchConstants:
    """Measured at export on people, part of the operating point."""

    text_temperature: float  # of cosines
    head_temperature: float  # of the summed log posteriors
    enrolled_bias: float
    enrolled_distance: float  # weight of log(distance / distance of the wearer's own calibration)
    enrolled_text: float  # weight of the difference of cosines


@dataclass(frozen=True)
class Enrolment:
    """What calibration learnt about one wearer, as the runtime needs it."""

    fit: Fit
    actions: tuple[str, ...]
    heads: Mapping[str, Lda]  # by name of HEADS
    text_weight: float  # of the descriptions beside the discriminants: less, the more repetitions there were
    typical_distance: float  # median squared Mahalanobis distance of held-out calibration hops to their own action
    rest_rms: float
    active_rms: tuple[float, ...]  # per action: a comfortable contraction

    @cached_property
    def experts(self) -> Experts:
        return Experts(self.heads)


@dataclass(frozen=True)
class Gallery:
    """The descriptions that may be retrieved: ids and unit prototypes (n, embedding); `learnt` are the ids that were
    trained on, whose cosines can be trusted beside a calibration.
    """

    ids: tuple[str, ...]
    prototypes: np.ndarray
    learnt: frozenset[str] = frozenset()

    def rows(self, ids: Sequence[str]) -> list[int]:
        missing = [name for name in ids if name not in self.ids]
        if missing:
            raise InputError(
                f"'{missing[0]}' has no description in this bundle", expected="one of: " + ", ".join(self.ids)
            )
        return [self.ids.index(name) for name in ids]


class Matcher:
    """`match(encoded) -> (probabilities over gallery ids, cosines)`."""

    def __init__(self, gallery: Gallery, constants: MatchConstants, enrolment: Enrolment | None = None) -> None:
        self.gallery, self.constants, self.enrolment = gallery, constants, enrolment
        self._prototypes = gallery.prototypes.T
        self._enrolled = np.zeros(len(gallery.ids), dtype=bool)
        self._evidence = np.array([constants.enrolled_bias, constants.enrolled_distance, constants.enrolled_text])
        if enrolment is not None:
            self._rows = gallery.rows(enrolment.actions)
            self._enrolled[self._rows] = True
            self._learnt = np.array([name in gallery.learnt for name in enrolment.actions])
        self._others = np.flatnonzero(~self._enrolled)

    def match(self, encoded: Encoded) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and cosines, both (hops, gallery)."""
        cosines = encoded.z @ self._prototypes
        c, e = self.constants, self.enrolment
        if e is None:
            return np.exp(log_softmax(cosines / c.text_temperature)), cosines
        probabilities = np.empty(cosines.shape)
        others = self._others
        enrolled = np.ones(len(cosines))
        if len(others):
            enrolled = _sigmoid(enrolled_evidence(e, self._enrolled, encoded.h, cosines) @ self._evidence)
            inside = np.exp(log_softmax(cosines[:, others] / c.text_temperature))
            probabilities[:, others] = (1.0 - enrolled)[:, None] * inside
        scores = head_scores(e, encoded, cosines[:, self._rows], self._learnt)
        head = np.exp(log_softmax(scores / c.head_temperature))
        probabilities[:, self._rows] = enrolled[:, None] * head
        return probabilities, cosines


def head_scores(enrolment: Enrolment, encoded: Encoded, cosines: np.ndarray, learnt: np.ndarray) -> np.ndarray:
    """Summed log posteriors (n, actions) of the discriminants and, weighted, of the enrolled descriptions.

    cosines (n, actions) of the enrolled actions; `learnt` (actions,) bool as in `text_scores`. A product of experts
    (Hinton 2002): what the wearer showed and what the population knows, each able to veto.
    """
    shown = log_softmax(enrolment.experts.scores(encoded))
    return np.asarray(np.add.reduce(shown) + enrolment.text_weight * text_scores(cosines, learnt))


def text_scores(cosines: np.ndarray, learnt: np.ndarray) -> np.ndarray:
    """Log probabilities (n, actions) of descriptions; one that was never trained on gets neither bonus nor malus."""
    count = np.count_nonzero(learnt)
    if count == len(learnt) and count:
        return log_softmax(cosines / PRIOR_TEMPERATURE)
    scores = np.full(cosines.shape, -np.log(max(cosines.shape[1], 1)))
    if count:
        scores[:, learnt] = log_softmax(cosines[:, learnt] / PRIOR_TEMPERATURE) + np.log(count / len(learnt))
    return scores


def enrolled_evidence(enrolment: Enrolment, enrolled: np.ndarray, h: np.ndarray, cosines: np.ndarray) -> np.ndarray:
    """(n, 3): one, log relative distance to the nearest enrolled action, lead of the best enrolled description."""
    lead = np.maximum.reduce(cosines[:, enrolled], axis=1)
    if not enrolled.all():
        lead = lead - np.maximum.reduce(cosines[:, ~enrolled], axis=1)
    evidence = np.ones((len(h), 3))
    evidence[:, 1] = np.log(np.maximum(enrolment.heads["h"].nearest(h) / enrolment.typical_distance, 1e-6))
    evidence[:, 2] = lead
    return evidence


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-np.minimum(np.maximum(x, -60.0), 60.0))))
