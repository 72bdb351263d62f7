"""A random model without training, a signed bundle around it, and synthetic EMG: what calibration is tested with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.numpy import save as save_tensors

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.bundle import write_bundle
from myosem_edge.manifest import Filter, Manifest, Montage, Quantisation, Sizes, Tolerance
from myosem_edge.quantize.network import TAPS, IntBlock, IntBody, Scale
from myosem_edge.runtime.decoder import Model, OperatingPoint
from myosem_edge.runtime.grips import default_grips_path
from myosem_edge.runtime.match import Gallery, MatchConstants
from myosem_edge.signal.blockfilter import BlockFilter
from myosem_edge.signal.front import FrontWeights

CHANNELS, RATE_HZ, FRAME, FIR_TAPS = 8, 200.0, 5, 9
EMBEDDING, VIEWS = 16, 4
IDS = (
    "rest", "wrist_flexion", "wrist_extension", "wrist_radial_deviation", "wrist_ulnar_deviation",
    "forearm_pronation", "forearm_supination", "fist", "hand_open", "index_flexion", "index_extension",
    "middle_flexion",
)  # fmt: skip
# scipy.signal.butter(2, 15, "highpass", fs=200, output="sos")
SOS = ((0.7156990690, -1.4313981379, 0.7156990690, 1.0, -1.3489677453, 0.5138285305),)


def constants() -> OperatingPoint:
    return OperatingPoint(4, 0.2, 0.3, 0.0, 15, 10.0, MatchConstants(0.05, 2.0, 1.0, -1.0, 1.0))


def random_body(rng: np.random.Generator, width: int) -> IntBody:
    def bytes_(*shape: int) -> np.ndarray:
        return rng.integers(-127, 128, shape).astype(np.int8)

    def block(dilation: int) -> IntBlock:
        step = np.full(width, 0.01, np.float32)
        mix = np.full(width, 0.02 / np.sqrt(width), np.float32)
        zeros = np.zeros(width, np.int32)
        return IntBlock(
            dilation, bytes_(width, TAPS), step, zeros, Scale.covering(0.0, 6.0), bytes_(width, width), mix, zeros,
            Scale.covering(-6.0, 6.0), Scale.covering(-8.0, 8.0),
        )  # fmt: skip

    project_step = np.full(EMBEDDING, 0.01, np.float32)
    blocks = tuple(block(dilation) for dilation in (1, 2, 1))
    return IntBody(
        Scale.covering(-6.0, 6.0), blocks, bytes_(EMBEDDING, width), project_step, np.zeros(EMBEDDING, np.int32)
    )


def build(seed: int = 0, width: int = 16) -> Model:
    rng = np.random.default_rng(seed)
    mixtures = 2 * CHANNELS
    # Half of the mixtures are single electrodes, so that a pattern around the arm survives the random rest.
    kernel = rng.normal(0.0, 0.1, (FIR_TAPS, CHANNELS, mixtures))
    kernel[-1, :, :CHANNELS] += np.eye(CHANNELS)
    front = FrontWeights(
        kernel.reshape(-1, mixtures).astype(np.float32),
        rng.normal(0.0, 0.5, (2 * mixtures, width)).astype(np.float32), rng.normal(0.0, 0.5, width).astype(np.float32),
        None, None, FRAME, FIR_TAPS, 10,
    )  # fmt: skip
    prototypes = rng.normal(size=(len(IDS), EMBEDDING))
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    templates = {name: np.log(pattern(name)) for name in IDS[:9]}
    return Model(
        BlockFilter(np.array(SOS), FRAME), front, b"", front.to_tensors() | random_body(rng, width).to_tensors(),
        np.zeros(VIEWS, np.float32), Gallery(IDS, prototypes.astype(np.float32)), templates, constants(), RATE_HZ,
    )  # fmt: skip


def pattern(action: str) -> np.ndarray:
    """RMS (8,) in counts that the synthetic wearer shows for an action: a bump around the arm, rest is quiet."""
    if action == "rest":
        return np.full(CHANNELS, 1.5)
    angle = 2 * np.pi * (np.arange(CHANNELS) - IDS.index(action) * 1.13) / CHANNELS
    return 3.0 + (14.0 + IDS.index(action)) * np.exp(2.0 * (np.cos(angle) - 1.0))


@dataclass
class Muscle:
    """White noise with an action's pattern, as an 8-bit armband would send it; the same seed gives the same signal."""

    seed: int = 0

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def play(self, action: str, seconds: float, gain: float = 1.0) -> np.ndarray:
        samples = self._rng.normal(size=(round(seconds * RATE_HZ), CHANNELS)) * pattern(action) * gain
        return np.clip(np.rint(samples), -128, 127).astype(np.float32)


# z = x + w: enough of a graph for a bundle to be read; the tests run the reference body.
TINY_ONNX = bytes.fromhex(
    "080812001a003a480a0e0a01780a017712017a22034164641201672a110802100122080000803f000080bf4201775a0f0a0178120a0a0808"
    "0112040a020802620f0a017a120a0a08080112040a02080242040a001011"
)


def bundle_file(
    path: Path,
    key: Ed25519PrivateKey,
    model: Model | None = None,
    channels: int = CHANNELS,
    front_ends: tuple[str, ...] = ("myo",),
) -> str:
    """Write the tiny model as a signed bundle and return its sha256."""
    model = model or build()
    catalogue = load_catalogue()
    templates = np.stack([model.ring_templates[name] for name in IDS[:9]])
    tensors = model.tensors | {
        "view_weights": model.view_weights,
        "ring.actions": np.arange(9, dtype=np.int32),
        "ring.templates": templates,
    }
    manifest = Manifest(
        name="tiny", version="0.1.0", model="shipped",
        montage=Montage("myo", channels, "ring", RATE_HZ, "counts", "nothing that is documented"),
        filter=Filter(SOS, FRAME), window_ms=400.0, hop_ms=25.0,
        sizes=Sizes(h=16, z=EMBEDDING, log_features=3 * CHANNELS),
        quantisation=Quantisation("int8", "int8", "int8"), descriptions=len(IDS), encoder_id="none",
        texts_sha256="ab" * 32, operating_point=constants().to_dict(), tolerance=Tolerance(0.999, 0.999),
        front_ends=front_ends,
    )  # fmt: skip
    members = {
        "encoder.onnx": TINY_ONNX,
        "encoder.safetensors": save_tensors({name: np.ascontiguousarray(x) for name, x in tensors.items()}),
        "descriptions.safetensors": save_tensors(
            {"gallery": np.arange(len(IDS)), "prototypes": model.gallery.prototypes}
        ),
        "descriptions.txt": "".join(f"{name}\t{catalogue[name].name}\n" for name in IDS).encode(),
        "grips.toml": default_grips_path().read_bytes(),
        "golden.safetensors": save_tensors({"samples": np.zeros((1, CHANNELS), np.float32)}),
        "MODEL_CARD.md": b"# tiny\n\nDecodes nothing.\n",
    }
    return write_bundle(path, manifest, members, key)
