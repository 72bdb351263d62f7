"""What the student costs against its teacher, and the constants of its operating point, measured on people.

Constants come from the people it was distilled on; costs are judged on people whom neither teacher nor student has
seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.sessions import NO_ACTION, Session
from myosem_edge.learn.scoring.embed import Embedded, Encode, embed, worn_scale, worn_shift
from myosem_edge.learn.scoring.fewshot import HEAD, TEST_AFTER, budget_rows, calibrate_rows, few_shot
from myosem_edge.learn.scoring.metrics import emg_to_text, over_people
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.quantize.network import IntBody
from myosem_edge.runtime.decision import REST
from myosem_edge.runtime.decoder import OperatingPoint
from myosem_edge.runtime.discriminant import log_softmax
from myosem_edge.runtime.encoder import Fit, view_scale, weigh_views
from myosem_edge.runtime.match import MatchConstants, enrolled_evidence
from myosem_edge.signal.front import FrontState, FrontWeights, step_front

SMOOTHING_HOPS = 1  # none: the gate's votes see to a single odd hop, and a mean delays every onset
SETTLE_HOPS = 24  # receptive field of the encoder and window of the features are full by then
MIN_MARGIN = 0.1
MIN_LEVEL = 0.4  # of a comfortable contraction: relaxed muscles tremble below this
COSINE_PERCENTILE = 5.0  # of true actions: one in twenty honest matches may be called unknown
KNOWN_PERCENTILE = 5.0  # of the onsets of calibrated actions: so many honest hops may look like none of them
HIDDEN_ACTIONS = 2  # actions kept out of an enrolment to learn what an unknown action looks like


def int8_encode(front: FrontWeights, body: IntBody, view_weights: np.ndarray) -> Encode:
    """The integer student as an `Encode`, on the numpy reference: the oracle of every board."""
    scale = view_scale(view_weights)

    def encode(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frames = x.reshape(-1, front.frame_samples, front.channels)
        features, _ = step_front(front, frames, FrontState.start(front))
        h, z, _ = body.step(features, body.start())
        return h, weigh_views(z, scale)

    return encode


@dataclass(frozen=True)
class Cost:
    """One row of the cost table: percent right, people averaged. `calibrated` is after one repetition an action."""

    zero_shot: float
    calibrated: float
    log_lda: float
    hudgins_lda: float
    people: dict[str, float]  # calibrated accuracy by person


def cost(
    sessions: Sequence[Session],
    trained: Trained,
    encode: Encode,
    ids: tuple[str, ...],
    gallery: Sequence[int],
    prototypes: np.ndarray,
) -> Cost:
    """Zero-shot R@1 in the gallery (ring and scale as worn) and accuracy after one repetition, both per hop."""
    zero: dict[str, list[float]] = {}
    for session in sessions:
        e = embed(session, encode)
        truth = np.searchsorted(np.asarray(gallery), e.action)
        zero.setdefault(session.person, []).append(emg_to_text(e.z @ prototypes[list(gallery)].T, truth)["R@1"])
    windows = few_shot(sessions, trained, encode, ids, prototypes, budgets=("1",))["1"]["window"]
    mean = {head: over_people(people).mean for head, people in windows.items()}
    return Cost(
        over_people([float(np.mean(v)) for v in zero.values()]).mean,
        mean["calibrated head"],
        mean["log-feature LDA"],
        mean["Hudgins LDA"],
        windows["calibrated head"],
    )


def operating_point(
    sessions: Sequence[Session],
    trained: Trained,
    encode: Encode,
    ids: tuple[str, ...],
    gallery: Sequence[int],
    prototypes: np.ndarray,
) -> OperatingPoint:
    """Temperatures, evidence weights and thresholds from labelled sessions (each calibrated on its first repetition).

    Raises:
        InputError: no session has enough repetitions.
    """
    rng = np.random.default_rng(0)
    heads: list[tuple[np.ndarray, np.ndarray]] = []
    texts: list[tuple[np.ndarray, np.ndarray]] = []
    evidence: list[np.ndarray] = []
    known: list[np.ndarray] = []
    begins: list[np.ndarray] = []
    rows = np.asarray(gallery)
    for session in sessions:
        fit = Fit(False, worn_shift(session, trained, ids, {1}), worn_scale(session, {1}))
        e = embed(session, encode, scale=fit.scale, shift=fit.shift)
        judged = e.repetition > TEST_AFTER
        if not judged.any():
            continue
        cosines = e.z @ prototypes[rows].T
        texts.append((cosines[judged], np.searchsorted(rows, e.action[judged])))
        present = [int(a) for a in np.unique(e.action) if ids[a] != REST]
        ways_in = _ways_in(session, encode, fit, ids)
        for _ in range(2):
            hidden = set(rng.permutation(present)[:HIDDEN_ACTIONS].tolist())
            shown = budget_rows(e, "1") & ~np.isin(e.action, list(hidden))
            fitted = calibrate_rows(e, shown, encode, ids, prototypes, trained, fit)
            inside = np.isin(e.action, fitted.classes)
            enrolled = np.isin(rows, fitted.classes)
            for part in (e, *ways_in):
                chosen = part.repetition > TEST_AFTER
                h, z, action = part.h[chosen].astype(float), part.z[chosen], part.action[chosen]
                evidence.append(enrolled_evidence(fitted.enrolment, enrolled, h, z @ prototypes[rows].T))
                known.append(np.isin(action, fitted.classes))
                begins.append(np.full(len(action), part is not e))
            own = judged & inside
            heads.append((fitted.posteriors(own)[HEAD], np.searchsorted(fitted.classes, e.action[own])))
    if not heads:
        raise InputError("no session has enough repetitions to measure the operating point")
    facts, inside, onset = np.concatenate(evidence), np.concatenate(known), np.concatenate(begins)
    bias, distance, text = _logistic(facts, inside, onset)
    # The evidence must not cost more than KNOWN_PERCENTILE of what was calibrated, whatever it costs in rejection. It
    # is the way into a hold that is dear: there evidence is poorest, and what is rejected there is delay.
    dear = inside & onset if (inside & onset).any() else inside
    bias = round(bias - float(np.percentile(facts[dear] @ [bias, distance, text], KNOWN_PERCENTILE)), 4)
    own_cosine = np.concatenate([cosines[np.arange(len(truth)), truth] for cosines, truth in texts])
    return OperatingPoint(
        smoothing_hops=SMOOTHING_HOPS,
        min_margin=MIN_MARGIN,
        min_level=MIN_LEVEL,
        settle_hops=SETTLE_HOPS,
        min_cosine=round(float(np.percentile(own_cosine, COSINE_PERCENTILE)), 4),
        typical_rms=round(float(np.median([session.scale.mean() for session in sessions])), 3),
        match=MatchConstants(_temperature(texts), _temperature(heads), bias, distance, text),
    )


def _ways_in(session: Session, encode: Encode, fit: Fit, ids: tuple[str, ...]) -> list[Embedded]:
    """The hops on the way into a hold, as one more embedding; none where a session was not cued."""
    rest = ids.index(REST)
    clips = [replace(clip, action=np.where(clip.early == rest, NO_ACTION, clip.early)) for clip in session.clips]
    if not any((clip.action >= 0).any() for clip in clips):
        return []
    return [embed(replace(session, clips=clips), encode, scale=fit.scale, shift=fit.shift)]


def _temperature(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """What makes softmax probabilities honest: least Brier score, every action the same weight.

    Not the likelihood: a discriminant fitted on seconds is now and then wrong with great confidence, and the logarithm
    would pay for those few hops with the confidence of all others.
    """
    grid = np.geomspace(0.01, 100.0, 60)
    loss = np.zeros(len(grid))
    for scores, truth in pairs:
        weight = 1.0 / np.bincount(truth)[truth]
        wanted = np.eye(scores.shape[1])[truth]
        for i, t in enumerate(grid):
            error = np.square(np.exp(log_softmax(scores / t)) - wanted).sum(axis=1)
            loss[i] += (weight * error).sum() / weight.sum()
    return round(float(grid[loss.argmin()]), 4)


def _logistic(x: np.ndarray, y: np.ndarray, onset: np.ndarray) -> tuple[float, float, float]:
    """Weights of a logistic regression, lightly regularised. Both outcomes weigh the same, and so do holds and onsets:
    an onset is a tenth of the hops, but it is where a command is made or missed.
    """
    group = 2 * onset + y
    weight = 1.0 / np.bincount(group, minlength=4)[group]
    weight /= weight.sum()
    sign = np.where(y, 1.0, -1.0)

    def loss(w: np.ndarray) -> float:
        return float((weight * np.logaddexp(0.0, -sign * (x @ w))).sum() + 1e-3 * (w[1:] ** 2).sum())

    found = minimize(loss, np.zeros(x.shape[1]), method="BFGS").x
    a, b, c = (round(float(v), 4) for v in found)
    return a, b, c
