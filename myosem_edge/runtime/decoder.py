"""From a verified bundle to decisions: chunks of samples in, one decision per hop out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors

from myosem_edge.bundle import Bundle
from myosem_edge.errors import BundleError, ProfileError
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.runtime.decision import REST, Decision
from myosem_edge.runtime.encoder import EncoderState, Fit, StreamingEncoder, make_body
from myosem_edge.runtime.match import Enrolment, Gallery, MatchConstants, Matcher
from myosem_edge.signal.blockfilter import BlockFilter
from myosem_edge.signal.front import FrontWeights

# Decoder's own reasons for not accepting; the gate has its own.
SETTLING, UNKNOWN, AMBIGUOUS, WEAK = "settling", "unknown", "ambiguous", "weak"
MAX_FILL_SAMPLES = 20  # 100 ms at 200 Hz: a longer hole restarts the encoder instead of being papered over
NEAREST = 3


@dataclass(frozen=True)
class OperatingPoint:
    """The settings at which every figure of the bundle was measured."""

    smoothing_hops: int  # mean of the joint distribution over so many hops
    min_margin: float  # in probability, to the runner-up
    min_cosine: float  # to the description, where no calibration vouches for the action
    min_level: float  # of the wearer's comfortable contraction: below it, a calibrated action is not meant
    settle_hops: int  # after a cold start nothing is accepted
    typical_rms: float  # input scale while nobody has calibrated, in the front end's unit
    match: MatchConstants

    def to_dict(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "match"}
        return values | {"match": {name: getattr(self.match, name) for name in self.match.__dataclass_fields__}}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> OperatingPoint:
        plain = {name: values[name] for name in cls.__dataclass_fields__ if name != "match"}
        plain["smoothing_hops"], plain["settle_hops"] = int(plain["smoothing_hops"]), int(plain["settle_hops"])
        return cls(**plain, match=MatchConstants(**values["match"]))


@dataclass(frozen=True)
class Model:
    """The parsed contents of a bundle that decoding needs."""

    filter: BlockFilter
    front: FrontWeights
    onnx: bytes
    tensors: dict[str, np.ndarray]
    view_weights: np.ndarray
    gallery: Gallery
    ring_templates: dict[str, np.ndarray]  # by action id
    operating_point: OperatingPoint
    rate_hz: float
    tflite: bytes | None = None  # bundles of before have none

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Model:
        """Raises:
        BundleError: a tensor is missing or of the wrong shape.
        """
        manifest = bundle.manifest
        try:
            tensors = _numbers(load_tensors(bundle.member("encoder.safetensors")))
            descriptions = _numbers(load_tensors(bundle.member("descriptions.safetensors")))
            ids = tuple(line.split("\t", 1)[0] for line in bundle.member("descriptions.txt").decode().splitlines())
            rows = descriptions["gallery"]
            templates = {ids[i]: row for i, row in zip(tensors["ring.actions"], tensors["ring.templates"], strict=True)}
            prototypes = descriptions["prototypes"][rows]
            _require_shapes(tensors, prototypes, templates, manifest.montage.channels)
            gallery = Gallery(tuple(ids[i] for i in rows), prototypes, frozenset(templates))
            frame = manifest.filter.frame_samples
            model = cls(
                BlockFilter(np.array(manifest.filter.sections), frame),
                FrontWeights.from_tensors(tensors, frame, manifest.montage.channels),
                bundle.member("encoder.onnx"),
                tensors,
                tensors["view_weights"],
                gallery,
                templates,
                OperatingPoint.from_dict(dict(manifest.operating_point)),
                manifest.montage.rate_hz,
                bundle.members.get("encoder.tflite"),
            )
        except (KeyError, IndexError, ValueError, TypeError, OverflowError) as error:
            raise BundleError(
                f"the encoder's numbers do not fit together ({error!r})", where=manifest.file_name
            ) from error
        return model

    def encoder(self, fit: Fit | None = None, backend: str = "onnxruntime") -> StreamingEncoder:
        fit = fit or Fit.unknown(self.front.channels, self.operating_point.typical_rms)
        body = make_body(backend, self.onnx, self.tflite, self.tensors)
        return StreamingEncoder(self.filter, self.front, body, self.view_weights, fit)

    @property
    def hop_s(self) -> float:
        return self.filter.frame_samples / self.rate_hz


class Decoder:
    """Holds the stream's state. `feed(chunk)` returns the decisions that the chunk completes."""

    def __init__(self, model: Model, enrolment: Enrolment | None = None, *, backend: str = "onnxruntime") -> None:
        self.model, self.enrolment = model, enrolment
        if enrolment is not None and len(enrolment.fit.scale) != model.front.channels:
            raise ProfileError(
                "the profile has another number of channels",
                found=len(enrolment.fit.scale),
                expected=model.front.channels,
            )
        self.encoder = model.encoder(enrolment.fit if enrolment else None, backend)
        self.matcher = Matcher(model.gallery, model.operating_point.match, enrolment)
        self._pending = np.zeros((0, model.front.channels), np.float32)
        self._index = 0
        self.restarts = 0
        self._restart()

    @property
    def backend(self) -> str:
        return self.encoder.body.name

    def _restart(self) -> None:
        self._state: EncoderState = self.encoder.start()
        self._settled = 0
        self._recent: list[np.ndarray] = []

    def feed(self, chunk: Chunk) -> list[Decision]:
        """A hole of at most MAX_FILL_SAMPLES is filled with silence to keep time; a longer one restarts the encoder."""
        if chunk.lost > MAX_FILL_SAMPLES:
            self._pending = self._pending[:0]
            self.restarts += 1
            self._restart()
        elif chunk.lost:
            silence = np.zeros((chunk.lost, self._pending.shape[1]), np.float32)
            self._pending = np.concatenate((self._pending, silence))
        samples = chunk.samples
        if not np.isfinite(samples).all():
            samples = np.where(np.isfinite(samples), samples, np.float32(0.0))
        self._pending = np.concatenate((self._pending, samples))
        whole = len(self._pending) // self.encoder.frame_samples * self.encoder.frame_samples
        if not whole:
            return []
        encoded, self._state = self.encoder.step(self._pending[:whole], self._state)
        self._pending = self._pending[whole:]
        probabilities, cosines = self.matcher.match(encoded)
        return [
            self.decide(now, near, float(rms), chunk.arrival_s)
            for now, near, rms in zip(probabilities, cosines, encoded.rms, strict=True)
        ]

    def decide(self, now: np.ndarray, cosines: np.ndarray, rms: float, arrival_s: float) -> Decision:
        """The decision of one hop from its probabilities and cosines (gallery,), smoothed over the hops before it."""
        point = self.model.operating_point
        self._recent = [*self._recent[-(point.smoothing_hops - 1) :], now] if point.smoothing_hops > 1 else [now]
        probabilities = sum(self._recent[1:], self._recent[0]) / len(self._recent)
        self._settled += 1
        self._index += 1
        first, second = np.argsort(probabilities)[::-1][:2]
        ids = self.matcher.gallery.ids
        action = ids[first]
        enrolled = self.enrolment is not None and action in self.enrolment.actions
        margin = float(probabilities[first] - probabilities[second])
        level = self._level(rms, action)
        reason = ""
        if self._settled <= point.settle_hops:
            reason = SETTLING
        elif not enrolled and cosines[first] < point.min_cosine:
            reason = UNKNOWN
        elif margin < point.min_margin:
            reason = AMBIGUOUS
        elif enrolled and action != REST and level < point.min_level:
            reason = WEAK
        nearest = tuple((ids[i], float(cosines[i])) for i in np.argsort(cosines)[::-1][:NEAREST])
        return Decision(
            index=self._index,
            time_s=arrival_s,
            action=action,
            probability=float(probabilities[first]),
            margin=margin,
            similarity=float(cosines[first]),
            source="calibrated" if enrolled else "description",
            accepted=not reason,
            reason=reason,
            level=level,
            nearest=nearest,
        )

    def _level(self, rms: float, action: str) -> float:
        e = self.enrolment
        if e is None or action not in e.actions:
            return 0.5
        active = e.active_rms[e.actions.index(action)]
        return min(max((rms - e.rest_rms) / max(active - e.rest_rms, 1e-6), 0.0), 1.0)


def _numbers(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Raises:
    ValueError: a value is not finite.
    """
    for name, values in tensors.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"{name} holds a value that is not a finite number")
    return tensors


def _require_shapes(
    tensors: dict[str, np.ndarray], prototypes: np.ndarray, templates: dict[str, np.ndarray], channels: int
) -> None:
    """Raises:
    ValueError: descriptions, views or ring do not fit the encoder.
    """
    embedding, views = len(tensors["body.project"]), tensors["view_weights"]
    if prototypes.ndim != 2 or prototypes.shape[1] != embedding or not len(prototypes):
        raise ValueError(f"descriptions {prototypes.shape} for an embedding of {embedding}")
    if views.ndim != 1 or not len(views) or embedding % len(views):
        raise ValueError(f"view_weights {views.shape} for an embedding of {embedding}")
    if any(row.shape != (channels,) for row in templates.values()):
        raise ValueError(f"ring.templates are not rows of {channels}")


def check_golden(bundle: Bundle, backend: str = "onnxruntime") -> tuple[bool, str]:
    """Run the bundle's golden samples on this machine: within the manifest's tolerance, or why not."""
    model = Model.from_bundle(bundle)
    golden = load_tensors(bundle.member("golden.safetensors"))
    fit = Fit(False, 0, golden["scale"])
    encoder = model.encoder(fit, backend)
    encoded = encoder.whole(golden["samples"])
    found = {name: getattr(encoded, name) for name in ("h", "z", "log_features")}
    if any(found[name].shape != golden[name].shape for name in found):
        return False, f"shape of the golden vectors differs: {found['h'].shape}, expected {golden['h'].shape}"
    cosine = float((found["z"] * golden["z"]).sum(axis=1).min())
    prototypes = model.gallery.prototypes
    equal = float(((found["z"] @ prototypes.T).argmax(1) == (golden["z"] @ prototypes.T).argmax(1)).mean())
    features = float(np.abs(found["log_features"] - golden["log_features"]).max())
    exact = bool((found["h"] == golden["h"]).all())
    tolerance = bundle.manifest.tolerance
    ok = cosine >= tolerance.cosine_min and equal >= tolerance.equal_decisions_min and features < 1e-3
    body = f"{len(encoded)} hops, body {'byte-equal' if exact else 'not byte-equal'}"
    return ok, f"{encoder.body.name}: {body}, cosine >= {cosine:.6f}, {100 * equal:.2f} % equal decisions"


def describe_gallery(bundle: Bundle) -> dict[str, str]:
    """Name of every description of the bundle by action id, in the bundle's order."""
    rows = (line.partition("\t") for line in bundle.member("descriptions.txt").decode().splitlines())
    return {action: name for action, _, name in rows}
