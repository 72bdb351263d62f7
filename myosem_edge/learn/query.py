"""Retrieval in both directions over recordings: which descriptions fit, and where a description occurs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors

from myosem_edge.bundle import Bundle
from myosem_edge.calibration.ring import unlabelled_shift
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.arrays import checked_emg, read_arrays, require_borders
from myosem_edge.runtime.decoder import Model
from myosem_edge.runtime.encoder import Fit, view_scale, weigh_views

STRETCH_S = 1.0  # a stretch is at least this long: shorter ones are transitions
SMOOTH_HOPS = 12


@dataclass(frozen=True)
class Stream:
    """One uninterrupted recording: samples (n, channels) and, where the file has them, its own labels (n,)."""

    name: str
    samples: np.ndarray
    labels: np.ndarray | None


@dataclass(frozen=True)
class Stretch:
    """A part of a recording, its mean cosine to the description, and the label of most of it ("" without labels)."""

    recording: str
    start_s: float
    stop_s: float
    cosine: float
    label: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_streams(path: Path, channels: int, rate_hz: float) -> Iterator[Stream]:
    """Recordings of an .npz with the packs' schema, or one from .npy/.csv (samples, channels), as `emulate` reads them.

    Raises:
        InputError: unreadable, wrong number of channels, empty or not finite.
    """
    arrays = read_arrays(path, ("emg", "label", "rec_ptr"))
    emg, labels = checked_emg(arrays["emg"], path, channels), arrays.get("label")
    if len(emg) < rate_hz:
        raise InputError("is shorter than a second", where=path, found=f"{len(emg)} samples")
    if labels is not None and (labels.shape != (len(emg),) or labels.dtype.kind not in "iu"):
        raise InputError("label is not one whole number a sample", where=path, found=labels.shape, expected=len(emg))
    borders = arrays.get("rec_ptr", np.array([0, len(emg)]))
    require_borders(borders, len(emg), path)
    for i, (a, b) in enumerate(pairwise(borders)):
        if b - a >= rate_hz:
            yield Stream(f"{path.stem}[{i}]", emg[a:b], None if labels is None else labels[a:b])


def embeddings(model: Model, stream: Stream, backend: str, shift: int = 0) -> np.ndarray:
    """Unit z (hops, embedding); the input scale is the recording's own level, the ring turned by `shift`."""
    samples = stream.samples.astype(np.float64)
    level = np.sqrt(np.square(model.filter.whole(samples)).mean(axis=0))
    fit = Fit(False, shift, np.maximum(level, 0.1 * level.mean() + 1e-9))
    return model.encoder(fit, backend).whole(samples).z


def find_ring(model: Model, streams: Sequence[Stream], backend: str) -> int:
    """How a band that is one ring was turned in all these recordings, without labels: electrodes, as in `Fit`."""
    if not streams:
        raise InputError("no recording is long enough to find the ring in", expected="at least a second each")
    learnt = model.gallery.prototypes[model.gallery.rows(sorted(model.gallery.learnt.intersection(model.gallery.ids)))]

    def cosines_at(shift: int) -> np.ndarray:
        return np.concatenate([embeddings(model, stream, backend, shift) for stream in streams]) @ learnt.T

    return unlabelled_shift(cosines_at, model.front.channels)


def find_descriptions(model: Model, stream: Stream, backend: str, top: int, shift: int = 0) -> list[tuple[str, float]]:
    """The descriptions nearest to the mean embedding of the recording's louder half: rest tells nothing."""
    z = embeddings(model, stream, backend, shift)
    size = model.filter.frame_samples
    power = np.square(model.filter.whole(stream.samples.astype(np.float64))).mean(axis=1)
    power = power.reshape(-1, size).mean(axis=1)[: len(z)]
    active = z[power >= np.median(power)].mean(axis=0)
    cosines = model.gallery.prototypes @ (active / np.linalg.norm(active))
    return [(model.gallery.ids[i], float(cosines[i])) for i in np.argsort(cosines)[::-1][:top]]


def find_stretches(
    model: Model, streams: Sequence[Stream], prototype: np.ndarray, backend: str, top: int, shift: int = 0
) -> list[Stretch]:
    """The stretches of at least a second with the highest mean cosine, best first, never overlapping."""
    hop_s = model.hop_s
    length = round(STRETCH_S / hop_s)
    found = []
    for stream in streams:
        cosine = embeddings(model, stream, backend, shift) @ prototype
        cosine = np.convolve(cosine, np.ones(SMOOTH_HOPS) / SMOOTH_HOPS, "same")
        mean = np.convolve(cosine, np.ones(length) / length, "valid")
        while len(mean) and mean.max() > -1.0:
            begin = int(mean.argmax())
            a, b = begin * model.filter.frame_samples, (begin + length) * model.filter.frame_samples
            label = "" if stream.labels is None else str(int(np.bincount(stream.labels[a:b].astype(int)).argmax()))
            found.append(Stretch(stream.name, begin * hop_s, (begin + length) * hop_s, float(mean[begin]), label))
            mean[max(0, begin - length + 1) : begin + length] = -1.0
            if sum(s.recording == stream.name for s in found) >= top:
                break
    return sorted(found, key=lambda s: -s.cosine)[:top]


def free_text_prototype(bundle: Bundle, text: str | None, action: str | None = None) -> np.ndarray:
    """Unit prototype (embedding,) of a free sentence (used for every view) or of a catalogue action of the bundle.

    A sentence goes the way the descriptions went: same encoder, frozen mean, projection and view weights. It is no view
    of anything, so that it is centred on the mean of the views' means (`Trained.place` does the same).

    Raises:
        InputError: the text encoder is not installed, or it is not the one the bundle was made with.
    """
    tensors = load_tensors(bundle.member("descriptions.safetensors"))
    ids = [line.partition("\t")[0] for line in bundle.member("descriptions.txt").decode().splitlines()]
    if text is None:
        return np.asarray(tensors["prototypes"][ids.index(str(action))])
    from myosem_edge.learn.text import ENCODER_ID, TextEncoder, find_text_encoder

    if bundle.manifest.encoder_id != ENCODER_ID:
        raise InputError(
            "the bundle was made with another text encoder", found=bundle.manifest.encoder_id, expected=ENCODER_ID
        )
    vector = TextEncoder(find_text_encoder()).encode([text])[0]
    views = np.repeat((vector - tensors["mean"].mean(axis=0))[None], len(tensors["mean"]), axis=0)
    parts = np.einsum("vt,vet->ve", views, tensors["projection"])
    return weigh_views(parts.reshape(1, -1), view_scale(tensors["view_weights"]))[0]
