"""How an armband sits: the rotation that brings a worn ring to the canonical one.

Ring rotation is the first-order nuisance of armbands. Each action leaves a pattern of log amplitude around the arm; the
rotation is the one whose patterns agree best with the population's, given a few labelled seconds. Without any label it
is the one at which the descriptions tell most about the signal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from myosem_edge.runtime.discriminant import log_softmax
from myosem_edge.signal.montage import ring_order

# Chosen on development people. The prior matters: without it bands that sit well are turned.
INFORMATION_TEMPERATURE = 0.1  # of cosines
PLACEMENT_PRIOR = 0.03  # nats an electrode of rotation must bring


def activity_map(energy: np.ndarray, actions: np.ndarray) -> dict[int, np.ndarray]:
    """Mean log RMS (channels,) per action, from mean-square energy (frames, channels) and frame labels (frames,)."""
    log_rms = 0.5 * np.log(energy + 1e-12)
    return {int(k): log_rms[actions == k].mean(axis=0) for k in np.unique(actions) if k >= 0}


def best_shift(
    worn: Mapping[int, np.ndarray], templates: Mapping[int, np.ndarray], prior: float = 0.0, rings: int = 1
) -> tuple[int, float]:
    """Electrodes to rotate (`canonical[i] = worn[i + shift]`) and how clearly it wins over the runner-up (cosines).

    `prior` is subtracted per electrode of rotation: bands are usually worn about as the maker shows. Several `rings`
    turn together; without a ring (0) nothing can turn.

    Raises:
        ValueError: no action in common.
    """
    common = sorted(set(worn) & set(templates))
    if not common:
        raise ValueError("no action in common with the ring templates")
    a, b = _centred([worn[k] for k in common]), _centred([templates[k] for k in common])
    if rings == 0:
        return 0, 0.0
    channels, size = a.shape[1], a.shape[1] // rings
    norm = np.linalg.norm(a) * np.linalg.norm(b) + 1e-12
    scores = np.array([(a[:, ring_order(channels, s, False, rings)] * b).sum() / norm for s in range(size)])
    distance = np.minimum(np.arange(size), size - np.arange(size))
    scores = scores - prior * distance
    order = np.argsort(scores)[::-1]
    return int(order[0]), float(scores[order[0]] - scores[order[1]])


def information(cosines: np.ndarray) -> float:
    """Mutual information, in nats, of hops and descriptions, from cosines (hops, descriptions).

    High where each hop is sure of its description and the hops differ in it (Bridle, Heading and MacKay 1991).
    """
    logs = log_softmax(cosines / INFORMATION_TEMPERATURE)
    shares = np.exp(logs)
    mean = shares.mean(axis=0)
    return float((shares * logs).sum(axis=1).mean() - (mean * np.log(mean + 1e-12)).sum())


def unlabelled_shift(cosines_at: Callable[[int], np.ndarray], size: int, prior: float = PLACEMENT_PRIOR) -> int:
    """Electrodes to rotate, as in `best_shift`, from minutes of varied movement without a label.

    `cosines_at(shift)` (hops, descriptions) is what an encoder that was trained on aligned rings makes of them; `size`
    electrodes in a ring, 0 without one.
    """
    if size == 0:
        return 0
    scores = [information(cosines_at(s)) - prior * min(s, size - s) for s in range(size)]
    return int(np.argmax(scores))


def align_rings(
    maps: Sequence[Mapping[int, np.ndarray]], iterations: int = 10, rings: int = 1
) -> tuple[list[int], dict[int, np.ndarray]]:
    """Generalised Procrustes over rotations: a shift per session and the mean maps (templates) they agree on.

    Starts from the bands as worn, so the commonest placement stays where it is.
    """
    shifts = [0] * len(maps)
    templates = _mean_maps(maps, shifts, rings)
    for _ in range(iterations):
        found = [best_shift(worn, templates, rings=rings)[0] for worn in maps]
        if found == shifts:
            break
        shifts = found
        templates = _mean_maps(maps, shifts, rings)
    return shifts, templates


def _mean_maps(maps: Sequence[Mapping[int, np.ndarray]], shifts: Sequence[int], rings: int) -> dict[int, np.ndarray]:
    actions = sorted({k for worn in maps for k in worn})
    # Level out each session first: a strong arm must not own the template.
    rows: dict[int, list[np.ndarray]] = {k: [] for k in actions}
    for worn, shift in zip(maps, shifts, strict=True):
        level = np.mean(list(worn.values()))
        for k, row in worn.items():
            rows[k].append((row - level)[ring_order(len(row), shift, False, rings)])
    return {k: np.mean(rows[k], axis=0) for k in actions}


def _centred(rows: Sequence[np.ndarray]) -> np.ndarray:
    """(actions, channels) without each channel's own gain and without each action's own force."""
    table = np.stack(rows)
    if len(table) > 1:
        table = table - table.mean(axis=0, keepdims=True)
    return table - table.mean(axis=1, keepdims=True)
