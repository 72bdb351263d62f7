"""The streaming encoder: samples in, embedding out, at the cost of the new samples only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from myosem_edge.errors import BundleError, InputError
from myosem_edge.runtime.backends import BACKENDS
from myosem_edge.signal.blockfilter import BlockFilter
from myosem_edge.signal.covariance import start_products, step_log_covariance
from myosem_edge.signal.features import WINDOW_FRAMES, FeatureState, log_features, step_window_sums
from myosem_edge.signal.front import FrontState, FrontWeights, step_front
from myosem_edge.signal.montage import ring_order

# What has to be installed for a backend; the reference needs nothing.
PACKAGES = {
    "onnxruntime": "onnxruntime",
    "litert": "ai-edge-litert (where it does not exist, as on 32-bit boards: tflite-runtime with numpy<2)",
}

Histories = tuple[np.ndarray, ...]


class Body(Protocol):
    """The integer half: features (k, width) float32 and u8 histories -> h, z before normalisation, next histories."""

    name: str

    def start(self) -> Histories: ...

    def step(self, features: np.ndarray, state: Histories) -> tuple[np.ndarray, np.ndarray, Histories]: ...


class OnnxBody:
    """ONNX Runtime, one thread: a decision is too small to share between cores."""

    name = "onnxruntime"

    def __init__(self, model: bytes, start: Histories) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime raises its own private types
            raise BundleError(f"ONNX Runtime cannot load the encoder ({error})", where="encoder.onnx") from error
        self._start = tuple(np.ascontiguousarray(history.T)[None] for history in start)
        self._names = [f"history{i}" for i in range(len(start))]

    def start(self) -> Histories:
        return self._start

    def step(self, features: np.ndarray, state: Histories) -> tuple[np.ndarray, np.ndarray, Histories]:
        feed = {"features": np.ascontiguousarray(features.T)[None], **dict(zip(self._names, state, strict=True))}
        h, z, *after = self._session.run(None, feed)
        return h[0].T, z[0].T, tuple(after)


class LiteRtBody:
    """LiteRT, or tflite-runtime, which has the same interface: one thread, frame after frame.

    Without delegates: their kernels give the same bytes, save some microseconds of a decision, and write to standard
    error on the way.
    """

    def __init__(self, model: bytes, start: Histories) -> None:
        runtime, package = _litert()
        self.name = f"litert ({package})"
        plain = runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            made = runtime.Interpreter(model_content=model, num_threads=1, experimental_op_resolver_type=plain)
            made.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BundleError(f"{package} cannot load the encoder ({error})", where="encoder.tflite") from error
        self._interpreter = made
        inputs, outputs = made.get_input_details(), made.get_output_details()
        self._start = tuple(history[None, None] for history in start)
        found = [tuple(each["shape"]) for each in (*inputs[1:], *outputs[2:])]
        expected = [history.shape for history in self._start] * 2
        if found != expected:
            raise BundleError(
                "the graph keeps other histories than the body", where="encoder.tflite", found=found, expected=expected
            )
        self._features, *self._before = (each["index"] for each in inputs)
        self._h, self._z, *self._after = (each["index"] for each in outputs)

    def start(self) -> Histories:
        return self._start

    def step(self, features: np.ndarray, state: Histories) -> tuple[np.ndarray, np.ndarray, Histories]:
        run, h, z = self._interpreter, [], []
        for frame in features:
            run.set_tensor(self._features, frame[None, None, None])
            for index, history in zip(self._before, state, strict=True):
                run.set_tensor(index, history)
            run.invoke()
            h.append(run.get_tensor(self._h)[0, 0, 0])
            z.append(run.get_tensor(self._z)[0, 0, 0])
            state = tuple(run.get_tensor(index) for index in self._after)
        return np.stack(h), np.stack(z), state


def _litert() -> tuple[Any, str]:
    """The module with the interpreter, and the package that it comes from.

    Raises:
        ImportError: neither is installed.
        InputError: tflite-runtime is, beside a numpy that it was not built for.
    """
    try:
        from ai_edge_litert import interpreter

        return interpreter, "ai-edge-litert"
    except ImportError:
        from tflite_runtime import interpreter as older
    if int(np.__version__.split(".")[0]) >= 2:  # or it fails at the first use, with no word of numpy
        raise InputError("tflite-runtime does not work with this numpy", found=np.__version__, expected="numpy<2")
    return older, "tflite-runtime"


class ReferenceBody:
    """The readable integer reference: slower, no dependency, the oracle of the others."""

    name = "reference"

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        from myosem_edge.quantize.network import IntBody

        try:
            self._body = IntBody.from_tensors(tensors)
        except (KeyError, IndexError, ValueError) as error:
            raise BundleError(
                f"the body's numbers do not fit together ({error!r})", where="encoder.safetensors"
            ) from error

    def start(self) -> Histories:
        return self._body.start()

    def step(self, features: np.ndarray, state: Histories) -> tuple[np.ndarray, np.ndarray, Histories]:
        return self._body.step(features, state)


def make_body(backend: str, onnx: bytes, tflite: bytes | None, tensors: Mapping[str, np.ndarray]) -> Body:
    """Nothing is swapped silently.

    Raises:
        InputError: unknown backend, or its package is not installed.
        BundleError: the bundle has no graph for it, or one that does not load.
    """
    reference = ReferenceBody(tensors)
    if backend == "reference":
        return reference
    if backend not in BACKENDS:
        raise InputError(f"'{backend}' is not a known encoder backend", expected=", ".join(BACKENDS))
    try:
        if backend == "onnxruntime":
            return OnnxBody(onnx, reference.start())
        if tflite is None:
            raise BundleError(
                "the bundle has no encoder.tflite, which the backend 'litert' runs",
                todo="Export it again with this version, or choose another --backend",
            )
        return LiteRtBody(tflite, reference.start())
    except ImportError as error:
        raise InputError(
            f"the encoder backend '{backend}' is not installed here",
            todo=f"Install {PACKAGES[backend]}, or use another --backend",
        ) from error


@dataclass(frozen=True)
class Fit:
    """How this wearer's electrodes relate to the model's: side, rotation of the ring, input scale (channels,)."""

    mirrored: bool
    shift: int
    scale: np.ndarray

    @classmethod
    def unknown(cls, channels: int, level: float) -> Fit:
        """Nobody has calibrated: a right arm, worn as shown, at a typical level of activity."""
        return cls(False, 0, np.full(channels, level))


@dataclass(frozen=True)
class EncoderState:
    filter: np.ndarray
    features: FeatureState
    products: np.ndarray  # of the last frames, for the covariance
    front: FrontState
    body: Histories


@dataclass(frozen=True)
class Encoded:
    """k hops: h (k, width), unit z (k, embedding), log features (k, 3 * channels), log covariance (k, c (c + 1) / 2),
    mean scaled RMS of 250 ms (k,).
    """

    h: np.ndarray
    z: np.ndarray
    log_features: np.ndarray
    log_covariance: np.ndarray
    rms: np.ndarray

    def __len__(self) -> int:
        return len(self.h)

    def last(self) -> Encoded:
        """The newest hop alone."""
        return Encoded(self.h[-1:], self.z[-1:], self.log_features[-1:], self.log_covariance[-1:], self.rms[-1:])


class StreamingEncoder:
    """`step(samples, state) -> (encoded, state)`: any whole number of frames a step, the same decisions in any cuts."""

    def __init__(
        self, filter_: BlockFilter, front: FrontWeights, body: Body, view_weights: np.ndarray, fit: Fit
    ) -> None:
        self._filter, self._front, self.body, self.fit = filter_, front, body, fit
        self._view_scale = view_scale(view_weights)
        self._mirror = ring_order(front.channels, 0, fit.mirrored)
        self._order = ring_order(front.channels, fit.shift, False)

    @property
    def frame_samples(self) -> int:
        return self._filter.frame_samples

    @property
    def channels(self) -> int:
        return self._front.channels

    def start(self) -> EncoderState:
        return EncoderState(
            self._filter.start(self.channels),
            FeatureState.start(self.channels),
            start_products(self.channels),
            FrontState.start(self._front),
            self.body.start(),
        )

    def step(self, samples: np.ndarray, state: EncoderState) -> tuple[Encoded, EncoderState]:
        """samples (k * frame_samples, channels) in the front end's unit, as worn; k >= 1."""
        frames, filter_state = self.filtered(samples, state.filter)
        h, z, front_state, histories = self.embedded(frames, state.front, state.body)
        measured, feature_state, products = self.measured(frames, state.features, state.products)
        return Encoded(h, z, *measured), EncoderState(filter_state, feature_state, products, front_state, histories)

    def filtered(self, samples: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Samples as worn -> canonical, scaled frames (k, frame_samples, channels) float32, the filter's next state."""
        worn = samples[:, self._mirror].astype(np.float64)
        filtered, state = self._filter.frames(worn, state)
        # float32 before the scale, as in training: both sides then see the same numbers
        scaled = (filtered.astype(np.float32) / self.fit.scale)[:, self._order].astype(np.float32)
        return scaled.reshape(-1, self.frame_samples, self.channels), state

    def embedded(
        self, frames: np.ndarray, state: FrontState, histories: Histories
    ) -> tuple[np.ndarray, np.ndarray, FrontState, Histories]:
        """Frames -> h and unit z of each, and what front and body remember."""
        features, state = step_front(self._front, frames, state)
        h, z, histories = self.body.step(features, histories)
        return h, weigh_views(z, self._view_scale), state, histories

    def measured(
        self, frames: np.ndarray, state: FeatureState, products: np.ndarray
    ) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], FeatureState, np.ndarray]:
        """Frames -> log features, log covariance and mean RMS of 250 ms at each, and what both remember."""
        exact = frames.astype(np.float64)
        sums, state = step_window_sums(exact, state)
        covariance, products = step_log_covariance(exact, products)
        level = np.sqrt(sums[:, 2] / (WINDOW_FRAMES * self.frame_samples))
        rms = np.add.reduce(level, axis=1) / self.channels
        return (log_features(sums, self.frame_samples), covariance, rms), state, products

    def whole(self, samples: np.ndarray) -> Encoded:
        """Every hop of a recording (n, channels) from a cold start; a last partial frame is dropped."""
        frames = len(samples) // self.frame_samples
        return self.step(samples[: frames * self.frame_samples], self.start())[0]


def view_scale(view_weights: np.ndarray) -> np.ndarray:
    """Learned view weights (views,) -> what `weigh_views` multiplies each view's unit part with (views, 1)."""
    weights = np.exp(view_weights - view_weights.max())
    return np.asarray(np.sqrt(weights / weights.sum()).astype(np.float32)[:, None])


def weigh_views(z: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(k, embedding) before normalisation -> unit rows, whose dot products are weighted means of the views' cosines."""
    parts = z.reshape(len(z), len(scale), -1)
    norm = np.sqrt(np.add.reduce(parts * parts, axis=-1, keepdims=True))
    return (parts / np.maximum(norm, 1e-12) * scale).reshape(len(z), -1).astype(np.float32)
