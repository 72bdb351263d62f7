"""The streaming encoder: any cut the same, the same numbers as in training, and no backend swapped in silence."""

from __future__ import annotations

import sys
import types
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the [train] extra is not installed")

from myosem_edge.errors import BundleError, InputError
from myosem_edge.learn.datasets import myo_readings8
from myosem_edge.learn.sample import PACK, sample_folder
from myosem_edge.learn.scoring.embed import torch_encode
from myosem_edge.runtime.backends import BACKENDS
from myosem_edge.runtime.decoder import Model
from myosem_edge.runtime.encoder import Encoded, Fit, StreamingEncoder, make_body
from myosem_edge.signal.front import FrontState, step_front
from myosem_edge.signal.montage import ring_order
from myosem_edge.signal.onset import ENVELOPE_S, envelope, find_onset

FIT = Fit(False, 0, np.full(8, 10.0))
SLOW = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def model(exported: Any) -> Model:
    return Model.from_bundle(exported.bundle)


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    """Three seconds around an onset, as the armband sent them."""
    recordings = list(myo_readings8.read(sample_folder() / PACK, "p78945"))
    return recordings[7].emg[800:1400]


def joined(parts: list[Encoded], name: str) -> np.ndarray:
    return np.concatenate([getattr(part, name) for part in parts])


@SLOW
@given(cuts=st.lists(st.integers(1, 40), min_size=1, max_size=6), backend=st.sampled_from(BACKENDS))
def test_any_cut_gives_the_same_hops(model: Model, samples: np.ndarray, cuts: list[int], backend: str) -> None:
    encoder = model.encoder(FIT, backend)
    whole = encoder.whole(samples)
    frames = len(samples) // 5
    at, state, parts = 0, encoder.start(), []
    for cut in [*cuts, frames]:
        end = min(at + cut, frames)
        if end > at:
            encoded, state = encoder.step(samples[5 * at : 5 * end], state)
            parts.append(encoded)
        at = end
    z = joined(parts, "z")
    assert len(z) == frames == len(whole)
    assert (z * whole.z).sum(axis=1).min() > 0.999
    assert np.allclose(joined(parts, "log_features"), whole.log_features, atol=1e-9)
    assert np.allclose(joined(parts, "rms"), whole.rms, atol=1e-9)
    assert (joined(parts, "h") == whole.h).mean() > 0.995  # a float front: a value on an edge may fall to either side


def test_z_is_unit_and_rms_is_that_of_the_scaled_signal(model: Model, samples: np.ndarray) -> None:
    encoded = model.encoder(FIT, "reference").whole(samples)
    assert np.allclose(np.linalg.norm(encoded.z, axis=1), 1.0, atol=1e-5)
    filtered = model.filter.whole(samples.astype(np.float64)) / 10.0
    last = np.sqrt(np.square(filtered[-50:]).mean(axis=0)).mean()
    assert encoded.rms[-1] == pytest.approx(last, rel=1e-4)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("shift", [0, 1, 5])
def test_side_rotation_and_scale_are_undone(model: Model, samples: np.ndarray, mirrored: bool, shift: int) -> None:
    """A canonical signal, worn otherwise: rotated, on the other arm, with unequal electrodes."""
    gains = np.linspace(0.5, 2.0, 8)
    worn = np.empty(samples.shape)
    worn[:, ring_order(8, 0, mirrored)[ring_order(8, shift, False)]] = samples
    scale = np.empty(8)
    scale[ring_order(8, shift, False)] = 10.0 * gains
    by_wearing = np.empty(8)
    by_wearing[ring_order(8, 0, mirrored)[ring_order(8, shift, False)]] = gains
    plain = model.encoder(FIT, "reference").whole(samples)
    fitted = model.encoder(Fit(mirrored, shift, scale), "reference").whole(worn * by_wearing)
    assert np.allclose(fitted.log_features, plain.log_features, atol=1e-5)
    assert (fitted.z * plain.z).sum(axis=1).min() > 0.999


def test_a_frame_that_is_not_whole_is_dropped(model: Model, samples: np.ndarray) -> None:
    encoder = model.encoder(FIT, "reference")
    assert len(encoder.whole(samples[:104])) == 20
    assert np.array_equal(encoder.whole(samples[:104]).z, encoder.whole(samples[:100]).z)


def test_the_board_hears_what_training_heard(exported: Any, model: Model, teacher: Any, sample: dict[str, Any]) -> None:
    """Float student in torch on a session against the integer student on the raw stream of the same recording."""
    from myosem_edge.actions.table import load_table
    from myosem_edge.export.distil import DistilConfig, distil
    from myosem_edge.quantize.statistics import fold_front

    student = distil(teacher, sample["distil"][:2], load_table(), DistilConfig(size="15k", steps=3, episodes=2))
    session = sample["judge"][0]
    recordings = list(myo_readings8.read(sample_folder() / PACK, session.subject))
    clip, raw = session.clips[3], recordings[3].emg
    encoder: StreamingEncoder = model.encoder(Fit(recordings[3].mirrored, 0, session.scale), "onnxruntime")
    board = encoder.whole(raw)
    x = session.canonical(clip)
    _, z = torch_encode(student)(x)
    cosine = (board.z * z).sum(axis=1)
    assert cosine.mean() > 0.98 and np.percentile(cosine, 1) > 0.9

    front = fold_front(student.encoder)
    training, _ = step_front(front, x.reshape(-1, 5, 8), FrontState.start(front))
    filtered = model.filter.whole(raw[:, ring_order(8, 0, recordings[3].mirrored)].astype(np.float64))
    scaled = (filtered.astype(np.float32) / session.scale).astype(np.float32)
    on_board, _ = step_front(model.front, scaled.reshape(-1, 5, 8), FrontState.start(model.front))
    similar = (training * on_board).sum(1) / np.linalg.norm(training, axis=1) / np.linalg.norm(on_board, axis=1)
    assert similar.min() > 0.99999


def test_an_unknown_backend_is_named(model: Model) -> None:
    with pytest.raises(InputError, match=r"'tensorrt' is not a known .* .expected onnxruntime, litert, reference"):
        make_body("tensorrt", model.onnx, model.tflite, model.tensors)


def test_a_backend_that_is_not_installed_is_not_replaced(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("onnxruntime", "ai_edge_litert", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"'onnxruntime' is not installed here. Install onnxruntime, or"):
        make_body("onnxruntime", model.onnx, model.tflite, model.tensors)
    with pytest.raises(InputError, match=r"'litert' is not installed here. Install ai-edge-litert .*tflite-runtime"):
        make_body("litert", model.onnx, model.tflite, model.tensors)
    assert make_body("reference", b"", None, model.tensors).name == "reference"


def test_the_package_behind_litert_is_told(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from ai_edge_litert import interpreter

    assert model.encoder(FIT, "litert").body.name == "litert (ai-edge-litert)"
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    older = types.ModuleType("tflite_runtime")
    older.interpreter = interpreter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tflite_runtime", older)
    monkeypatch.setattr(np, "__version__", "1.24.2")
    assert model.encoder(FIT, "litert").body.name == "litert (tflite-runtime)"
    monkeypatch.setattr(np, "__version__", "2.4.6")
    with pytest.raises(InputError, match=r"does not work with this numpy .found 2.4.6, expected numpy<2"):
        model.encoder(FIT, "litert")


def test_a_bundle_from_before_has_no_litert(exported: Any) -> None:
    members = {name: data for name, data in exported.bundle.members.items() if name != "encoder.tflite"}
    older = Model.from_bundle(replace(exported.bundle, members=members))
    assert older.encoder(FIT).body.name == "onnxruntime"
    with pytest.raises(BundleError, match=r"no encoder.tflite, which the backend 'litert' runs. Export it again"):
        older.encoder(FIT, "litert")


def test_a_graph_that_cannot_be_loaded_is_a_bundle_error(model: Model) -> None:
    with pytest.raises(BundleError, match=r"encoder\.onnx: ONNX Runtime cannot load the encoder"):
        make_body("onnxruntime", b"not a graph", model.tflite, model.tensors)
    with pytest.raises(BundleError, match=r"encoder\.tflite: ai-edge-litert cannot load the encoder"):
        make_body("litert", model.onnx, b"not a graph", model.tensors)


@pytest.mark.parametrize("at", [300, 431, 700])
@pytest.mark.parametrize("strength", [4.0, 20.0])
def test_an_onset_is_found_within_the_envelope_of_where_it_is(at: int, strength: float) -> None:
    x = np.random.default_rng(at).normal(0, 1, (1000, 8))
    x[at:] *= strength
    found = find_onset(x, 200.0, slice(0, 200))
    assert found is not None and at - 1 <= found <= at + round(ENVELOPE_S * 200)


def test_rest_a_twitch_and_what_comes_before_the_search_are_no_onset() -> None:
    x = np.random.default_rng(0).normal(0, 1, (1000, 8))
    assert find_onset(x, 200.0, slice(0, 400)) is None
    x[400:415] *= 50  # inside the rest that is compared with, and above its threshold
    assert find_onset(x, 200.0, slice(0, 900)) is None


def test_the_envelope_is_causal() -> None:
    x = np.zeros((100, 2))
    x[50] = 1.0
    line = envelope(x, 200.0)
    assert len(line) == 100 and line[:50].max() == 0.0
    assert np.allclose(line[50:60], np.sqrt(0.1)) and np.allclose(line[60:], 0.0, atol=1e-6)
