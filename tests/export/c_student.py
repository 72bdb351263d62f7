"""Made-up students of every size and EMG for them: right in every shape, learnt nothing."""

from __future__ import annotations

import numpy as np

from myosem_edge.export.c_folder import CFolder, c_folder
from myosem_edge.learn.corpus.sessions import design_filter
from myosem_edge.runtime.decoder import Model, OperatingPoint
from myosem_edge.runtime.encoder import Fit
from myosem_edge.runtime.match import Gallery, MatchConstants
from myosem_edge.signal.blockfilter import BlockFilter

RATE_HZ, LEVEL = 200.0, 12.5  # a frame is 5 samples; counts of an armband of 8 bits


def emg(frames: int, seed: int, level: float = LEVEL) -> np.ndarray:
    """Noise in whole counts whose loudness changes every half second: (frames * 5, 8) int16."""
    rng = np.random.default_rng(seed)
    loud = np.repeat(np.exp(rng.normal(0, 0.9, (frames // 20 + 1, 8))), 100, axis=0)[: frames * 5]
    return np.clip(np.rint(level * rng.normal(0, 1, (frames * 5, 8)) * loud), -(2**15), 2**15 - 1).astype(np.int16)


def make_model(width: int = 48, seed: int = 3, **changes: object) -> Model:
    """A student with folded normalisations, as after training."""
    import torch

    from myosem_edge.learn.teacher.model import Encoder, ModelConfig
    from myosem_edge.quantize.statistics import fold_front, quantise_body

    torch.manual_seed(seed)
    encoder = Encoder(ModelConfig(width=width, **changes))
    filter_ = BlockFilter(design_filter(RATE_HZ), 5)

    def heard(seed: int) -> np.ndarray:
        filtered = filter_.whole(emg(80, seed).astype(np.float64)) / LEVEL
        return np.ascontiguousarray(filtered.T.astype(np.float32))[None]

    encoder.train()
    with torch.no_grad():
        for i in range(20):
            encoder(torch.from_numpy(heard(i)))
        for module in encoder.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
    encoder.eval()
    body = quantise_body(encoder, [heard(i) for i in range(30, 40)])
    z = np.random.default_rng(seed).normal(0, 1, (40, len(body.project)))
    prototypes = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)
    names = tuple(f"action_{i}" for i in range(len(prototypes)))
    return Model(
        filter_,
        fold_front(encoder),
        b"",
        body.to_tensors(),
        np.array([0.3, -0.2, 0.1, 0.0], np.float32),
        Gallery(names, prototypes, frozenset()),
        {},
        OperatingPoint(1, 0, 0, 0, 0, LEVEL, MatchConstants(1, 1, 0, 0, 0)),
        RATE_HZ,
    )


def made(model: Model, golden_frames: int = 60) -> CFolder:
    """The model's folder of C without the words that only a bundle knows."""
    samples, scale = emg(golden_frames, 90), np.full(8, LEVEL)
    encoded = model.encoder(Fit(False, 0, scale), "reference").whole(samples)
    return c_folder(model, {"samples": samples, "scale": scale, "h": encoded.h, "z": encoded.z}, {})
