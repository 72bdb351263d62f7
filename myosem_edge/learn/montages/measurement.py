"""What a checkpoint is worth on montages that it was not made for, beside log-feature LDA on the same electrodes.

Judged are people whom the checkpoint has never seen, with electrodes taken away, dead or turned, and rings of another
device that the encoder was never trained on. A model of places is settled on each montage. One that knows electrodes by
number falls back: what is missing of its ring is zero, and another ring is interpolated to its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from myosem_edge.actions.catalogue import Catalogue
from myosem_edge.actions.table import DescriptionTable
from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.folders import load_sessions
from myosem_edge.learn.corpus.sessions import Session
from myosem_edge.learn.corpus.splits import Split
from myosem_edge.learn.datasets import data_set
from myosem_edge.learn.montages import virtual
from myosem_edge.learn.report.document import Block, Heading, Table, Text
from myosem_edge.learn.scoring.embed import SETTLE_FRAMES, Embedded, Encode, embed, torch_encode, worn_scale
from myosem_edge.learn.scoring.fewshot import HEAD, TEST_AFTER, Calibrated, budget_rows, calibrate_rows
from myosem_edge.learn.scoring.metrics import balanced, emg_to_text, over_people, paired
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.learn.teacher.spatial import HARMONIC
from myosem_edge.learn.teacher.train import session_map
from myosem_edge.runtime.encoder import Fit
from myosem_edge.signal.montage import electrode_positions

BUDGETS = ("1 s", "1")  # both of the first repetition: they share scale and turn
LDA = "log-feature LDA"
SIX = (0, 1, 2, 4, 5, 6)  # two that face each other are missing
TURNS = 8  # rotations that are tried, at least
GRID = "flexemg64"
GRID_RINGS = (4, 8, 16)  # electrodes of the rings that are judged of a grid of 16 around the arm

People = dict[str, float]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Way:
    """How the electrodes lie on the model's ring: turned by `turn` turns, counted backwards where `mirrored`."""

    turn: float = 0.0
    mirrored: bool = False

    def on_ring(self, positions: np.ndarray) -> np.ndarray:
        """Positions (channels, 2) as the model's ring has them."""
        angle = -positions[:, 0] if self.mirrored else positions[:, 0]
        return np.stack((angle - self.turn, positions[:, 1]), axis=1)


@dataclass
class Row:
    """One montage of one data set: percent right per hop, balanced over actions, by person."""

    dataset: str
    montage: str
    electrodes: int
    how: str  # what the model does with them
    actions: tuple[str, ...]
    zero_shot: People = field(default_factory=dict)  # as worn
    turned: People = field(default_factory=dict)  # scale and rotation from the first repetition
    calibrated: dict[str, dict[str, People]] = field(default_factory=dict)  # budget, head

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "actions": list(self.actions), "chance": 100 / len(self.actions)}


def settled(trained: Trained, positions: np.ndarray) -> Trained:
    """A model of places as an ordinary one for electrodes at positions (channels, 2), templates included.

    Raises:
        InputError: the model knows electrodes by number, or cannot take so many.
    """
    ring = trained.encoder.config.channels
    encoder = trained.encoder.settled(torch.from_numpy(positions).float())
    weights = virtual.ring_interpolation(positions[:, 0], ring)
    templates = {action: (weights @ row).astype(np.float32) for action, row in trained.ring_templates.items()}
    return replace(trained, encoder=encoder, ring_templates=templates)


def on_ring(session: Session, way: Way, ring: int) -> tuple[np.ndarray, str]:
    """How a ring of `ring` electrodes is made up for a model that knows them by number: (ring, channels), and in words.

    Raises:
        InputError: sites that do not lie where electrodes of the ring are.
    """
    montage = session.montage
    places = way.on_ring(electrode_positions(montage))[:, 0]
    wanted = np.arange(ring) / ring
    apart = (wanted[:, None] - places[None, :] + 0.5) % 1.0 - 0.5
    matrix = (np.abs(apart) < 1e-6).astype(float)
    if montage.channels == ring and matrix.sum() == ring:
        return matrix, "as it is"
    if montage.turning_rings == 1:
        worn = -(wanted + way.turn) if way.mirrored else wanted + way.turn
        return virtual.ring_interpolation(worn, montage.channels), "interpolated"
    if matrix.sum() == montage.channels:
        return matrix, "missing ones zero"
    raise InputError("these electrodes are not on the model's ring", found=montage.device, expected=f"{ring} places")


def encode_of(trained: Trained, session: Session, way: Way, repetitions: set[int] | None) -> tuple[Encode, str]:
    """The encoder for a session's own channels, each divided by the scale of these repetitions; and how, in words."""
    if trained.encoder.config.spatial == HARMONIC:
        return torch_encode(settled(trained, way.on_ring(electrode_positions(session.montage)))), "by place"
    matrix, how = on_ring(session, way, trained.encoder.config.channels)
    own = worn_scale(session, repetitions)
    if how == "interpolated":  # what lies between electrodes is weaker than they are
        ring = virtual.remixed(session, matrix, session.montage)
        matrix = matrix * own / worn_scale(ring, repetitions)[:, None]
    encode, weights = torch_encode(trained), matrix.astype(np.float32).T
    return (lambda x: encode(x @ weights)), how


def find_way(session: Session, trained: Trained, ids: tuple[str, ...], repetitions: set[int], *, mirrored: bool) -> Way:
    """How the electrodes lie, from labelled repetitions against the model's templates. `mirrored`: that is open, too.

    The rotation is searched as `calibration.ring.best_shift` does, for electrodes that need not make a ring.
    """
    worn = session_map(session, lambda action, repetition: repetition in repetitions)
    common = [k for k in sorted(worn) if ids[k] in trained.ring_templates]
    if len(common) < 2:
        return Way()
    rows = _levelled(np.stack([worn[k] for k in common]))
    templates = np.stack([trained.ring_templates[ids[k]] for k in common])
    positions = electrode_positions(session.montage)
    steps = max(TURNS, session.montage.channels if session.montage.turning_rings == 1 else 0)
    ways = [Way(s / steps, side) for side in ((False, True) if mirrored else (False,)) for s in range(steps)]

    def agreement(way: Way) -> float:
        weights = virtual.ring_interpolation(way.on_ring(positions)[:, 0], templates.shape[1])
        there = _levelled(templates @ weights.T)
        return float((rows * there).sum() / (np.linalg.norm(rows) * np.linalg.norm(there) + 1e-12))

    return max(ways, key=agreement)


def _levelled(rows: np.ndarray) -> np.ndarray:
    """(actions, channels) without each channel's own gain and without each action's own force."""
    rows = rows - rows.mean(axis=0, keepdims=True)
    return rows - rows.mean(axis=1, keepdims=True)


class Judge:
    """Judges one montage of one data set after the other."""

    def __init__(self, trained: Trained, catalogue: Catalogue, table: DescriptionTable) -> None:
        self.trained, self.ids = trained, catalogue.ids
        self.prototypes = trained.prototypes(table).numpy()

    def row(
        self, dataset: str, montage: str, sessions: Sequence[Session], *, open_side: bool = False, days: bool = False
    ) -> Row:
        """One line. `days`: calibrated on the first session of a person, judged on what follows and on all others;
        else every session is calibrated by itself and judged after repetition TEST_AFTER.
        """
        gallery = np.array(sorted({int(a) for s in sessions for c in s.clips for a in np.unique(c.action) if a >= 0}))
        row = Row(dataset, montage, sessions[0].montage.channels, "", tuple(self.ids[k] for k in gallery))
        found: dict[str, dict[str, list[float]]] = {}

        def note(what: str, person: str, value: float) -> None:
            found.setdefault(what, {}).setdefault(person, []).append(value)

        for session in sessions:
            encode, row.how = encode_of(self.trained, session, Way(), None)
            note("zero-shot", session.person, _zero_shot(session, encode, self.prototypes, gallery))
        for group in _calibrations(sessions, days):
            self._calibrate(group, gallery, open_side, days, note)
        means = {what: {p: float(np.mean(v)) for p, v in people.items()} for what, people in found.items()}
        row.zero_shot, row.turned = means.pop("zero-shot"), means.pop("turned")
        for budget in BUDGETS:
            heads = {head: means[f"{budget} {head}"] for head in (HEAD, LDA) if f"{budget} {head}" in means}
            if heads:
                row.calibrated[budget] = heads
        return row

    def _calibrate(
        self,
        group: Sequence[Session],
        gallery: np.ndarray,
        open_side: bool,
        days: bool,
        note: Callable[[str, str, float], None],
    ) -> None:
        first = group[0]
        repetitions, person = {1}, first.person
        scale = worn_scale(first, repetitions)
        way = find_way(first, self.trained, self.ids, repetitions, mirrored=open_side)
        encode, _ = encode_of(self.trained, first, way, repetitions)
        fitted = [embed(session, encode, scale=scale) for session in group]
        for e in fitted:
            truth = np.searchsorted(gallery, e.action)
            note("turned", person, emg_to_text(e.z @ self.prototypes[gallery].T, truth)["R@1"])
        for budget in BUDGETS:
            rows = budget_rows(fitted[0], budget)
            fit = Fit(False, 0, scale)
            c = calibrate_rows(fitted[0], rows, encode, self.ids, self.prototypes, self.trained, fit)
            for number, e in enumerate(fitted):
                later = (e.repetition > 1) if days else (e.repetition > TEST_AFTER)
                judged = (later | (number > 0)) & np.isin(e.action, c.classes)
                if judged.any():
                    for head, score in _right(c, judged, e if number else None).items():
                        note(f"{budget} {head}", person, score)


def _right(c: Calibrated, judged: np.ndarray, other: Embedded | None) -> dict[str, float]:
    """Percent right per hop of the calibrated head and of log-feature LDA, on `other` where that is a session."""
    test = other or c.embedded
    truth = test.action[judged]
    scores = c.posteriors(judged, test)
    return {head: 100 * balanced(c.classes[scores[head].argmax(axis=1)] == truth, truth) for head in (HEAD, LDA)}


def _zero_shot(session: Session, encode: Encode, prototypes: np.ndarray, gallery: np.ndarray) -> float:
    """R@1 as worn, in percent. The features that `embed` makes as well are not needed here."""
    similarities, truths = [], []
    for clip in session.clips:
        keep = clip.action >= 0
        keep[:SETTLE_FRAMES] = False
        if keep.any():
            _, z = encode(session.canonical(clip, shift=0))
            similarities.append(z[keep] @ prototypes[gallery].T)
            truths.append(np.searchsorted(gallery, clip.action[keep]))
    return emg_to_text(np.concatenate(similarities), np.concatenate(truths))["R@1"]


def _calibrations(sessions: Sequence[Session], days: bool) -> list[list[Session]]:
    """Sessions that one calibration serves, the calibrated one first."""
    if not days:
        return [[session] for session in sessions]
    people: dict[str, list[Session]] = {}
    for session in sorted(sessions, key=lambda s: s.name):
        people.setdefault(session.person, []).append(session)
    return list(people.values())


def ring_montages(sessions: Sequence[Session]) -> dict[str, list[Session]]:
    """The virtual montages that rings are judged on, by what to call them. Who has the dead electrode where takes
    turns.
    """
    n = sessions[0].montage.channels
    numbered = list(enumerate(sessions))
    found = {f"{n} as they are": list(sessions)}
    if n == 8:
        found["6 of 8"] = [virtual.subset(s, SIX) for s in sessions]
    found[f"{n // 2} of {n}"] = [virtual.subset(s, range(0, n, 2)) for s in sessions]
    found["one dead"] = [virtual.present(virtual.dead(s, i % n)) for i, s in numbered]
    found["turned by one"] = [virtual.shifted(s, 1) for s in sessions]
    found["turned by a half"] = [virtual.shifted(s, 0.5) for s in sessions]
    return found


def grid_montages(sessions: Sequence[Session]) -> dict[str, list[list[Session]]]:
    """Rings of GRID_RINGS electrodes of a grid; each of the grid's rings is a montage of its own."""
    rings = sessions[0].montage.rings
    around = sessions[0].montage.channels // rings
    alone = [[virtual.one_ring(s, number) for s in sessions] for number in range(rings)]
    return {
        f"ring of {n} of {around} x {rings}": [[virtual.every(s, around // n) for s in ring] for ring in alone]
        for n in GRID_RINGS
    }


def unseen_people(trained: Trained, split: Split, sessions: Sequence[Session], catalogue: Catalogue) -> list[Session]:
    """Sessions of the people whom the split kept apart, with a hop that is judged at all.

    Raises:
        InputError: nobody, a split that judges the people it trains on, or somebody who was trained on after all.
    """
    judged = [] if split.same_people else split.judged(sessions, catalogue)
    judged = [s for s in judged if any((clip.action[SETTLE_FRAMES:] >= 0).any() for clip in s.clips)]
    trained_on = {f"{name}/{who}" for name, people in trained.provenance.get("people", {}).items() for who in people}
    both = sorted(trained_on & {session.person for session in judged})
    if both or not judged:
        raise InputError(
            "other montages are judged on people whom the checkpoint has not seen",
            found=", ".join(both[:5]) or f"nobody (split {split.kind})",
            todo="Give the folder of the training, and a checkpoint of a split by people",
        )
    if judged[0].montage.turning_rings != 1:
        raise InputError("only rings can be judged on other montages", found=judged[0].montage.device)
    return judged


def grid_sessions(data: Path, people: Sequence[Session], catalogue: Catalogue) -> list[Session]:
    """The device of GRID at the rate of these people; none where its recordings are not there, or cannot be compared
    with envelopes or with a higher rate.
    """
    montage, source = people[0].montage, data_set(GRID)
    if montage.envelope or montage.rate_hz > source.montage.rate_hz or not (data / GRID).is_dir():
        return []
    return load_sessions(data, (GRID,), catalogue=catalogue, rate_hz=montage.rate_hz)


def judge_montages(
    judge: Judge,
    people: Sequence[Session],
    grid: Sequence[Session],
    progress: Progress = lambda stage, done, total: None,
) -> list[Row]:
    """Every montage of the judged people, data set by data set, then of another device's grid.

    Raises:
        InputError: nobody to judge.
    """
    if not people and not grid:
        raise InputError("nobody is left to be judged", todo="Choose other data sets")
    datasets: dict[str, list[Session]] = {}
    for session in people:
        datasets.setdefault(session.dataset, []).append(session)
    rows = []
    for dataset, sessions in datasets.items():
        montages = ring_montages(sessions)
        for number, (name, changed) in enumerate(montages.items()):
            progress(dataset, number, len(montages))
            rows.append(judge.row(dataset, name, changed))
        progress(dataset, len(montages), len(montages))
    if grid:
        montages_of_grid = grid_montages(grid)
        for number, (name, rings) in enumerate(montages_of_grid.items()):
            progress(grid[0].dataset, number, len(montages_of_grid))
            found = [judge.row(grid[0].dataset, name, ring, open_side=True, days=True) for ring in rings]
            rows.append(_mean_row(found))
        progress(grid[0].dataset, len(montages_of_grid), len(montages_of_grid))
    return rows


def _mean_row(rows: Sequence[Row]) -> Row:
    """Rows of the same people on equal montages, averaged person by person."""

    def mean(values: Sequence[Mapping[str, float]]) -> People:
        return {person: float(np.mean([each[person] for each in values])) for person in values[0]}

    calibrated = {
        budget: {head: mean([row.calibrated[budget][head] for row in rows]) for head in heads}
        for budget, heads in rows[0].calibrated.items()
    }
    return replace(
        rows[0],
        zero_shot=mean([row.zero_shot for row in rows]),
        turned=mean([row.turned for row in rows]),
        calibrated=calibrated,
    )


def blocks(trained: Trained, rows: Sequence[Row]) -> list[Block]:
    """The table of all rows, as a page."""
    spatial = trained.encoder.config.spatial
    header = ["data set", "electrodes", "how", "chance", "R@1 as worn", "R@1 turned"]
    header += [f"{budget}: {head}" for budget in map(_budget, BUDGETS) for head in ("head", "LDA", "head - LDA")]
    lines = []
    for row in rows:
        cells = [row.dataset, row.montage, row.how, f"{100 / len(row.actions):.1f}"]
        cells += [f"{over_people(row.zero_shot).mean:.1f}", f"{over_people(row.turned).mean:.1f}"]
        for budget in BUDGETS:
            heads = row.calibrated.get(budget)
            cells += ["-"] * 3 if heads is None else _against(heads)
        lines.append(cells)
    words = (
        f'spatial="{spatial}". Percent right per hop, actions balanced, mean over people. R@1: descriptions alone, as '
        "worn, and with the rotation found on the first repetition. Calibrated on one second or one repetition of each "
        "action; head minus LDA is paired over people, with its 95 % bootstrap interval where there are five."
    )
    return [Heading("Other montages", 1), Text(words), Table(header, lines)]


def _against(heads: Mapping[str, People]) -> list[str]:
    gap = paired(heads[HEAD], heads[LDA])
    interval = "" if gap.low != gap.low else f" [{gap.low:+.1f}, {gap.high:+.1f}]"
    return [f"{over_people(heads[name]).mean:.1f}" for name in (HEAD, LDA)] + [f"{gap.mean:+.1f}{interval}"]


def _budget(budget: str) -> str:
    return budget if budget.endswith("s") else f"{budget} repetition"
