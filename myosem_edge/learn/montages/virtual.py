"""Other montages out of recorded ones: some of the electrodes, a dead one, a turned ring, other gains, another ring.

Between electrodes the signal of a ring is that of the trigonometric polynomial through its electrodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.sessions import Clip, Session, balanced_scale
from myosem_edge.signal.montage import Montage, RecordedMontage, electrode_positions


def ring_interpolation(turns: np.ndarray, electrodes: int) -> np.ndarray:
    """(len(turns), electrodes): what a ring of `electrodes` shows at these angles; exactly an electrode's own at its
    place.
    """
    gap = 2 * np.pi * (np.asarray(turns, dtype=float)[:, None] - np.arange(electrodes) / electrodes)
    weight = 1.0 + 2.0 * sum((np.cos(k * gap) for k in range(1, (electrodes - 1) // 2 + 1)), np.zeros_like(gap))
    if electrodes % 2 == 0:
        weight = weight + np.cos(electrodes // 2 * gap)
    return weight / electrodes


def remixed(session: Session, matrix: np.ndarray, montage: Montage) -> Session:
    """The session as electrodes that hear `matrix` (new channels, channels) of the recorded ones would have it."""
    weights = matrix.astype(np.float32).T
    clips = [replace(clip, x=np.asarray(clip.x) @ weights, energy=None) for clip in session.clips]
    mask = (matrix != 0).any(axis=1) & ~((matrix != 0) @ ~session.mask)
    return replace(session, montage=montage, clips=clips, scale=scale_of(clips), shift=0, mask=mask)


def scale_of(clips: Sequence[Clip]) -> np.ndarray:
    """Input scale (channels,) of whole clips."""
    return balanced_scale([(clip.x, clip.action) for clip in clips])


def subset(session: Session, electrodes: Sequence[int]) -> Session:
    """Only some of the electrodes, in the order given, each where it was.

    Raises:
        InputError: an electrode that is not there, or twice.
    """
    montage, wanted = session.montage, list(electrodes)
    if not wanted or len(set(wanted)) < len(wanted) or not 0 <= min(wanted) <= max(wanted) < montage.channels:
        raise InputError("no such set of electrodes", found=wanted, expected=f"different ones below {montage.channels}")
    places = electrode_positions(montage)[wanted]
    fewer = _changed(montage, f"{len(wanted)} of {montage.channels}", len(wanted), "sites", places)
    return remixed(session, np.eye(montage.channels)[wanted], fewer)


def every(session: Session, step: int, first: int = 0) -> Session:
    """A ring of every `step`-th electrode of a ring."""
    _require_ring(session.montage)
    wanted = np.arange(first, session.montage.channels, step)
    ring = _changed(session.montage, f"every {step}", len(wanted), "ring")
    return remixed(session, np.eye(session.montage.channels)[wanted], ring)


def one_ring(session: Session, number: int) -> Session:
    """One of several rings."""
    montage = session.montage
    size = montage.channels // montage.rings
    if montage.layout != "ring" or not 0 <= number < montage.rings:
        raise InputError("no such ring", found=number, expected=f"0 to {montage.rings - 1}")
    ring = _changed(montage, f"ring {number + 1} of {montage.rings}", size, "ring")
    return remixed(session, np.eye(montage.channels)[number * size : (number + 1) * size], ring)


def dead(session: Session, electrode: int) -> Session:
    """One electrode is silent, and known to be."""
    matrix = np.eye(session.montage.channels)
    matrix[electrode] = 0.0
    return remixed(session, matrix, session.montage)


def shifted(session: Session, electrodes: float) -> Session:
    """A ring that is worn turned by so many electrodes, a fraction included: channel c hears what c + electrodes would
    have heard.
    """
    _require_ring(session.montage)
    n = session.montage.channels
    return remixed(session, ring_interpolation((np.arange(n) + electrodes) / n, n), session.montage)


def gained(session: Session, gains: np.ndarray) -> Session:
    """Each channel louder by its factor, gains (channels,)."""
    return remixed(session, np.diag(gains), session.montage)


def ring_of(session: Session, electrodes: int) -> Session:
    """A ring of another number of electrodes, interpolated; the first stays where it is."""
    _require_ring(session.montage)
    ring = _changed(session.montage, f"as {electrodes}", electrodes, "ring")
    return remixed(session, ring_interpolation(np.arange(electrodes) / electrodes, session.montage.channels), ring)


def present(session: Session) -> Session:
    """Without the electrodes that are not there."""
    return session if session.mask.all() else subset(session, np.flatnonzero(session.mask).tolist())


def _require_ring(montage: Montage) -> None:
    if montage.turning_rings != 1:
        raise InputError(
            "only one ring can be turned or interpolated", found=f"{montage.rings} x {montage.layout}, {montage.device}"
        )


def _changed(
    montage: Montage, how: str, channels: int, layout: str, positions: np.ndarray | None = None
) -> RecordedMontage:
    return RecordedMontage(
        f"{montage.device}, {how}",
        channels,
        layout,
        montage.rate_hz,
        montage.unit,
        montage.prefiltered,
        envelope=montage.envelope,
        positions=() if positions is None else tuple((float(a), float(b)) for a, b in positions),
    )
