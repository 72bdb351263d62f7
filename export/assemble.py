"""Put a measured student into one signed bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors.numpy import save

from myosem_edge.actions.catalogue import Catalogue
from myosem_edge.actions.table import DescriptionTable
from myosem_edge.learn.corpus.sessions import design_filter
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.manifest import Filter, Manifest, Quantisation, Sizes, Tolerance
from myosem_edge.quantize.network import IntBody
from myosem_edge.quantize.onnx_body import body_to_onnx
from myosem_edge.quantize.tflite_body import body_to_tflite
from myosem_edge.runtime.decoder import Model, OperatingPoint
from myosem_edge.runtime.encoder import Fit
from myosem_edge.runtime.match import Gallery
from myosem_edge.signal.blockfilter import BlockFilter
from myosem_edge.signal.front import FrontWeights
from myosem_edge.signal.montage import Montage


@dataclass(frozen=True)
class Student:
    """Everything of the quantised student that a bundle holds. `gallery`: rows of the table that may be retrieved."""

    front: FrontWeights
    body: IntBody
    view_weights: np.ndarray
    trained: Trained
    table: DescriptionTable
    prototypes: np.ndarray  # (actions, embedding)
    gallery: Sequence[int]
    operating_point: OperatingPoint
    montage: Montage

    def model(self) -> Model:
        """As a board would parse it from the bundle."""
        sections = design_filter(self.montage.rate_hz)
        ids = self.table.ids
        return Model(
            BlockFilter(sections, self.front.frame_samples),
            self.front,
            body_to_onnx(self.body),
            self.body.to_tensors(),
            self.view_weights,
            Gallery(
                tuple(ids[i] for i in self.gallery),
                self.prototypes[list(self.gallery)],
                frozenset(self.trained.ring_templates),
            ),
            dict(self.trained.ring_templates),
            self.operating_point,
            self.montage.rate_hz,
            body_to_tflite(self.body),
        )


def members(
    student: Student, catalogue: Catalogue, grips: bytes, card: str, golden_samples: np.ndarray, scale: np.ndarray
) -> dict[str, bytes]:
    """Members of the bundle. golden_samples (n, channels): real EMG; scale (channels,): what they are run with."""
    ids, trained, model = student.table.ids, student.trained, student.model()
    ring = sorted(trained.ring_templates)
    tensors: dict[str, np.ndarray] = {
        **student.front.to_tensors(),
        **student.body.to_tensors(),
        "view_weights": student.view_weights.astype(np.float32),
        "ring.actions": np.array([ids.index(name) for name in ring], np.int32),
        "ring.templates": np.stack([trained.ring_templates[name] for name in ring]).astype(np.float32),
    }
    descriptions: dict[str, np.ndarray] = {
        "raw": student.table.vectors.astype(np.float16),
        "mean": trained.text_mean.numpy().astype(np.float32),
        "projection": trained.projection.matrix.detach().numpy().astype(np.float32),
        "view_weights": student.view_weights.astype(np.float32),
        "prototypes": student.prototypes.astype(np.float32),
        "gallery": np.asarray(student.gallery, np.int32),
    }
    encoded = model.encoder(Fit(False, 0, scale)).whole(golden_samples)
    golden: dict[str, np.ndarray] = {
        "samples": golden_samples.astype(np.float32),
        "scale": scale.astype(np.float64),
        "h": encoded.h,
        "z": encoded.z,
        "log_features": encoded.log_features,
    }
    return {
        "encoder.onnx": model.onnx,
        "encoder.tflite": body_to_tflite(student.body),
        "encoder.safetensors": save(_contiguous(tensors)),
        "descriptions.safetensors": save(_contiguous(descriptions)),
        "descriptions.txt": "".join(f"{name}\t{catalogue[name].name}\n" for name in ids).encode(),
        "grips.toml": grips,
        "golden.safetensors": save(_contiguous(golden)),
        "MODEL_CARD.md": card.encode(),
    }


def manifest(student: Student, name: str, version: str, metrics: Mapping[str, Any]) -> Manifest:
    config = student.trained.encoder.config
    montage = student.montage
    hop_ms = 1000 * student.front.frame_samples / montage.rate_hz
    return Manifest(
        name=name,
        version=version,
        model=student.trained.family,
        montage=montage,
        filter=Filter(
            tuple(tuple(float(v) for v in row) for row in design_filter(montage.rate_hz)), student.front.frame_samples
        ),
        window_ms=config.receptive_frames * hop_ms,
        hop_ms=hop_ms,
        sizes=Sizes(config.width, config.embedding, 3 * montage.channels),
        quantisation=Quantisation("int8 body, float32 front", "uint8 per tensor", "int8 per output channel"),
        descriptions=len(student.table.ids),
        encoder_id=student.table.encoder_id,
        texts_sha256=student.table.texts_sha256,
        operating_point=student.operating_point.to_dict(),
        tolerance=Tolerance(0.999, 0.999),
        front_ends=(montage.device,),
        metrics=metrics,
    )


def _contiguous(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}
