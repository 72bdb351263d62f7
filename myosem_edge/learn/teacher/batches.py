"""Random training batches: segments of real executions, and what can be wrong with an armband: rotation, gain, mixing,
electrodes that are missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.sessions import Session, frame_samples
from myosem_edge.learn.teacher.config import require_between
from myosem_edge.signal.montage import ring_order

ONSET_JITTER_FRAMES = 3
FEWEST_PRESENT = 3  # electrodes of an episode that lacks some


@dataclass(frozen=True)
class AugmentConfig:
    """Nuisances of wearing an armband, drawn once per session and batch (an episode shares them)."""

    ring_jitter: int = 0  # electrodes either way: helps bands worn turned and costs everything else
    gain_sigma: float = 0.2  # of the natural logarithm, per channel
    mixing: float = 0.4  # largest share of a neighbouring electrode: rotation by a fraction
    noise: float = 0.0  # of the wearer's own RMS, white
    onsets: float = 0.5  # share of query segments whose judged frames begin at the onset, where it is known
    channel_dropout: float = 0.0  # probability of every electrode to be missing from an episode
    subset: float = 0.0  # probability that an episode has only some of the ring: half of it, or all but two

    def __post_init__(self) -> None:
        shares = ("mixing", "onsets", "channel_dropout", "subset")
        wide = ("ring_jitter", "gain_sigma", "noise")
        require_between(self, {**dict.fromkeys(shares, (0.0, 1.0)), **dict.fromkeys(wide, (0.0, 1e3))})


@dataclass(frozen=True)
class Execution:
    """A stretch of one action: frames start..stop of a clip."""

    session: int
    clip: int
    action: int
    repetition: int
    start: int
    stop: int
    onset: int  # where it begins, `start` being where it is steady


def find_executions(sessions: Sequence[Session], min_frames: int) -> list[Execution]:
    found = []
    for s, session in enumerate(sessions):
        for c, clip in enumerate(session.clips):
            for number in np.unique(clip.execution[clip.execution >= 0]):
                frames = np.flatnonzero(clip.execution == number)
                if len(frames) >= min_frames:
                    first, action = int(frames[0]), int(clip.action[frames[0]])
                    onset = first
                    while onset > 0 and clip.early[onset - 1] == action:
                        onset -= 1
                    found.append(
                        Execution(s, c, action, int(clip.repetition[first]), first, int(frames[-1]) + 1, onset)
                    )
    return found


class Sampler:
    """Draws batches from sessions. An episode is a function of its generator: runs can be resumed and divided."""

    def __init__(
        self, sessions: Sequence[Session], segment_frames: int, warm_frames: int, augment: AugmentConfig
    ) -> None:
        self.sessions = sessions
        self.segment_frames, self.warm_frames, self.augment = segment_frames, warm_frames, augment
        self.executions = find_executions(sessions, segment_frames - warm_frames)
        self._by_session: list[dict[int, dict[int, list[Execution]]]] = [{} for _ in sessions]
        for e in self.executions:
            self._by_session[e.session].setdefault(e.action, {}).setdefault(e.repetition, []).append(e)
        # Many donnings of one person teach less than one donning of many people.
        donnings = Counter(session.person for session in sessions)
        self._weight = np.array([donnings[session.person] ** -0.5 for session in sessions])

    def fair_ways(self, ways: int, queries: int) -> int:
        """`ways`, or as many actions as the poorest data set can fill an episode with: none is left out in silence."""
        richest: Counter[str] = Counter()
        for session, actions in zip(self.sessions, self._by_session, strict=True):
            usable = sum(len(repetitions) > queries for repetitions in actions.values())
            richest[session.dataset] = max(richest[session.dataset], usable)
        return min([ways, *(count for count in richest.values() if count > 1)])

    def episodes(
        self, generators: Sequence[np.random.Generator], ways: int, queries: int = 2
    ) -> tuple[np.ndarray, np.ndarray]:
        """x (episodes, ways, 1 + queries, channels, samples), action (episodes, ways): an episode from each generator.
        Missing electrodes are zero.

        Entry 0 of the third axis is the support repetition, the others are other repetitions of the same session.

        Raises:
            InputError: no session has enough actions with enough repetitions.
        """
        x, actions, _ = self.masked_episodes(generators, ways, queries)
        return x, actions

    def masked_episodes(
        self, generators: Sequence[np.random.Generator], ways: int, queries: int = 2
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """As `episodes`, and which electrodes are there: (episodes, channels) bool, or None: nothing takes any away."""
        able = [
            s
            for s, actions in enumerate(self._by_session)
            if sum(len(repetitions) > queries for repetitions in actions.values()) >= ways
        ]
        if not able:
            raise InputError(
                f"no session has {ways} actions with {queries + 1} repetitions",
                todo="Choose fewer ways or queries, or other recordings",
            )
        weight = self._weight[able] / self._weight[able].sum()
        xs, labels, masks = [], [], []
        for rng in generators:
            s = int(rng.choice(able, p=weight))
            usable = [a for a, repetitions in self._by_session[s].items() if len(repetitions) > queries]
            nuisance = self._nuisance(rng)
            rows = []
            chosen = rng.permutation(usable)[:ways]
            for action in chosen:
                repetitions = self._by_session[s][int(action)]
                picks = rng.permutation(list(repetitions))[: 1 + queries]
                pools = [repetitions[int(r)] for r in picks]
                picked = [pool[rng.integers(len(pool))] for pool in pools]
                # A wearer is calibrated on steady holds and then judged on how the hold begins, too.
                early = [False] + [bool(rng.random() < self.augment.onsets) for _ in range(queries)]
                rows.append(np.stack([self._segment(e, rng, nuisance, o) for e, o in zip(picked, early, strict=True)]))
            xs.append(np.stack(rows))
            labels.append(chosen)
            if self.augment.channel_dropout or self.augment.subset:
                masks.append(self._present(rng, xs[-1].shape[2]))
                xs[-1][:, :, ~masks[-1]] = 0.0
        return np.stack(xs), np.array(labels), np.stack(masks) if masks else None

    def _present(self, rng: np.random.Generator, channels: int) -> np.ndarray:
        """(channels,) electrodes of one episode; never fewer than FEWEST_PRESENT where there are as many."""
        present = np.ones(channels, dtype=bool)
        if rng.random() < self.augment.subset:
            if rng.random() < 0.5:
                present[int(rng.integers(2)) :: 2] = False
            else:
                present[rng.permutation(channels)[:2]] = False
        dropped = present & (rng.random(channels) < self.augment.channel_dropout)
        if (present & ~dropped).sum() >= min(FEWEST_PRESENT, present.sum()):
            present &= ~dropped
        return present

    def _nuisance(self, rng: np.random.Generator) -> tuple[int, np.ndarray, float, int]:
        a = self.augment
        channels = self.sessions[0].montage.channels
        shift = int(rng.integers(-a.ring_jitter, a.ring_jitter + 1)) if a.ring_jitter else 0
        gain = np.exp(rng.normal(0.0, a.gain_sigma, channels)).astype(np.float32)
        return shift, gain, float(rng.uniform(0, a.mixing)), 1 if rng.random() < 0.5 else -1

    def _segment(
        self, e: Execution, rng: np.random.Generator, nuisance: tuple[int, np.ndarray, float, int], early: bool
    ) -> np.ndarray:
        session = self.sessions[e.session]
        n = frame_samples(session.montage.rate_hz)
        judged = self.segment_frames - self.warm_frames
        last_start = max(e.start, e.stop - judged)
        if early and e.onset < e.start:
            first, last_start = e.onset, min(e.onset + ONSET_JITTER_FRAMES, last_start)
        else:
            first = e.start
        begin = int(rng.integers(first, last_start + 1)) - self.warm_frames
        end = begin + self.segment_frames
        # Only what is drawn is read: a clip may lie in a store on disk that no memory could hold.
        x = session.canonical(session.clips[e.clip], samples=slice(max(begin, 0) * n, end * n))
        if begin < 0:  # before the recording began there was nothing
            x = np.concatenate((np.zeros((-begin * n, x.shape[1]), np.float32), x))
        missing = self.segment_frames * n - len(x)
        if missing > 0:
            x = np.concatenate((np.zeros((missing, x.shape[1]), np.float32), x))
        shift, gain, mixing, side = nuisance
        rings = session.montage.turning_rings
        if rings:  # electrodes with places of their own have no neighbours to turn to
            x = x[:, ring_order(x.shape[1], -shift, False, rings)]
            x = (1 - mixing) * x + mixing * x[:, ring_order(x.shape[1], -side, False, rings)]
        x = x * gain
        if self.augment.noise:
            x = x + rng.normal(0.0, self.augment.noise, x.shape).astype(np.float32)
        return np.ascontiguousarray(x.T, dtype=np.float32)
