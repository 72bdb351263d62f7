"""The integer body: close to the float student, the same bytes on every backend, the same bits in any cuts."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")
pytest.importorskip("onnx", reason="the [train] extra is not installed")
pytest.importorskip("ai_edge_litert", reason="the [train] extra is not installed")

from myosem_edge.errors import BundleError  # noqa: E402
from myosem_edge.learn.teacher.model import Encoder, ModelConfig  # noqa: E402
from myosem_edge.quantize.fake_body import round_rows  # noqa: E402
from myosem_edge.quantize.network import IntBody, Scale, add, requantise  # noqa: E402
from myosem_edge.quantize.onnx_body import body_to_onnx  # noqa: E402
from myosem_edge.quantize.statistics import fold_front, quantise_body  # noqa: E402
from myosem_edge.quantize.tflite_body import body_to_tflite  # noqa: E402
from myosem_edge.runtime.encoder import LiteRtBody, OnnxBody  # noqa: E402
from myosem_edge.signal.front import FrontState, FrontWeights, step_front  # noqa: E402
from myosem_edge.tflite_scan import scan_tflite  # noqa: E402
from tests.attacks.tflite_forge import tiny_body  # noqa: E402

CONFIG = ModelConfig(width=48, mixtures=16, filters=4, semantic_queries=False)


def emg(samples, seed=0):
    rng = np.random.default_rng(seed)
    level = np.repeat(np.exp(rng.normal(0, 0.7, (samples // 100 + 1, 8))), 100, axis=0)[:samples]
    return (rng.normal(0, 1, (samples, 8)) * level).astype(np.float32)


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(3)
    encoder = Encoder(CONFIG)
    encoder.train()
    with torch.no_grad():
        for seed in range(20):  # normalisations that have seen data, as after training
            encoder(torch.from_numpy(emg(400, seed).T.copy())[None])
        for module in encoder.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
    return encoder.eval()


@pytest.fixture(scope="module")
def front(student):
    return fold_front(student)


@pytest.fixture(scope="module")
def body(student):
    return quantise_body(student, [emg(1000, seed).T.copy()[None] for seed in range(30, 40)])


@pytest.fixture(scope="module")
def onnx_body(body):
    return OnnxBody(body_to_onnx(body), body.start())


@pytest.fixture(scope="module")
def litert_body(body):
    return LiteRtBody(body_to_tflite(body), body.start())


@pytest.fixture(scope="module")
def backends(body, onnx_body, litert_body):
    return {"reference": body, "onnxruntime": onnx_body, "litert": litert_body}


def features(front, samples=1000, seed=50):
    x = emg(samples, seed)
    return step_front(front, x.reshape(-1, 5, 8), FrontState.start(front))[0]


def flat(result):
    """(h, z, histories) of any backend as plain arrays (frames, channels)."""
    h, z, state = result
    return [h, z, *(history.reshape(-1, history.shape[-1]) for history in state)]


def test_board_front_equals_training_front(student, front):
    x = emg(1000, 60)
    with torch.no_grad():
        expected, _ = student.front(torch.from_numpy(x.T.copy())[None])
    assert np.abs(features(front, seed=60) - expected[0].numpy().T).max() < 2e-5


def test_front_in_any_cut_is_the_same_to_rounding(front):
    x = emg(500, 61).reshape(-1, 5, 8)
    whole, _ = step_front(front, x, FrontState.start(front))
    state, parts = FrontState.start(front), []
    for frame in x:
        y, state = step_front(front, frame[None], state)
        parts.append(y)
    assert np.abs(np.concatenate(parts) - whole).max() < 1e-5


def test_integers_stay_close_to_floats(student, front, body):
    x = emg(1000, 62)
    with torch.no_grad():
        h, _ = student(torch.from_numpy(x.T.copy())[None])
    found, _, _ = body.step(features(front, seed=62), body.start())
    found, h = found[CONFIG.receptive_frames :], h[:, CONFIG.receptive_frames :]
    cosine = (found * h[0].numpy()).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(h[0].numpy(), axis=1)
    assert cosine.mean() > 0.995 and cosine.min() > 0.97


@pytest.mark.parametrize("seed", range(3))
def test_onnx_runtime_gives_the_bytes_of_the_reference(front, body, onnx_body, seed):
    u = features(front, seed=70 + seed)
    h, z, state = body.step(u, body.start())
    h2, z2, state2 = onnx_body.step(u, onnx_body.start())
    assert np.array_equal(h, h2)
    assert np.abs(z - z2).max() < 1e-4  # the last projection leaves integers: float sums in another order
    for ours, theirs in zip(state, state2, strict=True):
        assert np.array_equal(ours, theirs[0].T)


@pytest.mark.parametrize("seed", range(3))
def test_litert_gives_the_bits_of_the_reference(front, body, litert_body, seed):
    u = features(front, seed=70 + seed)
    expected, found = flat(body.step(u, body.start())), flat(litert_body.step(u, litert_body.start()))
    assert [each.tobytes() for each in found] == [each.tobytes() for each in expected]


@pytest.mark.parametrize("scale", [0.0, 30.0, -30.0, 1e4])
def test_litert_clips_as_the_reference_does(front, body, litert_body, scale):
    """Features beyond the range that was measured: every layer at its limits."""
    u = features(front, samples=200) * np.float32(scale)
    expected, found = flat(body.step(u, body.start())), flat(litert_body.step(u, litert_body.start()))
    assert [each.tobytes() for each in found] == [each.tobytes() for each in expected]


@pytest.mark.parametrize("wide", [True, False])
def test_litert_rounds_half_to_even(body, wide):
    """Features in the middle between two steps of the inlet. The runtime has other code for the last few channels."""
    given = body if wide else tiny_body()
    halves = replace(given, inlet=replace(given.inlet, step=np.float32(0.25)))
    litert = LiteRtBody(body_to_tflite(halves), halves.start())
    edges = np.arange(-given.inlet.zero, -given.inlet.zero + 4 * given.width) + np.float32(0.5)
    for u in (edges * np.float32(0.25)).astype(np.float32).reshape(-1, 1, given.width):
        expected, found = halves.step(u, halves.start())[2][0], litert.step(u, litert.start())[2][0]
        assert np.array_equal(found[0, 0], expected)
        assert set(np.diff(expected[-1].astype(int)).tolist()) == {0, 2}


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    name=st.sampled_from(["reference", "onnxruntime", "litert"]),
)
def test_any_cut_gives_the_same_bits(front, backends, cuts, name):
    u = features(front, samples=5 * sum(cuts))
    backend = backends[name]
    whole, whole_z, last = backend.step(u, backend.start())
    state, parts, parts_z, at = backend.start(), [], [], 0
    for cut in cuts:
        h, z, state = backend.step(u[at : at + cut], state)
        parts.append(h)
        parts_z.append(z)
        at += cut
    assert np.array_equal(np.concatenate(parts), whole)
    # ONNX Runtime adds the last projection's floats in another order for each number of frames
    assert name == "onnxruntime" or np.array_equal(np.concatenate(parts_z), whole_z)
    assert all(np.array_equal(a, b) for a, b in zip(state, last, strict=True))


def test_tensors_and_back(front, body):
    again = IntBody.from_tensors(body.to_tensors())
    u = features(front)
    assert np.array_equal(again.step(u, again.start())[0], body.step(u, body.start())[0])
    weights = FrontWeights.from_tensors(front.to_tensors(), 5, 8)
    assert np.array_equal(features(weights), u)


def test_graph_is_deterministic_and_plain(body):
    import onnx

    data = body_to_onnx(body)
    assert data == body_to_onnx(body)
    model = onnx.load_from_string(data)
    assert {(o.domain, o.version) for o in model.opset_import} == {("", 17)}
    assert all(node.domain == "" for node in model.graph.node)


def test_the_tflite_graph_is_deterministic_and_passes_the_scan(body):
    data = body_to_tflite(body)
    assert data == body_to_tflite(body)
    scan_tflite(data, "encoder.tflite")


def test_a_graph_of_another_body_is_refused(body):
    with pytest.raises(BundleError, match=r"encoder\.tflite: the graph keeps other histories"):
        LiteRtBody(body_to_tflite(body), body.start()[:-1])


@given(st.floats(-50, 50), st.floats(0.01, 100))
def test_a_scale_represents_zero_exactly_and_covers_its_range(low, width):
    scale = Scale.covering(low, low + width)
    assert scale.real(scale.quantise(np.zeros(1)))[0] == 0.0
    inside = np.linspace(min(low, 0.0), max(low + width, 0.0), 50)
    assert np.abs(scale.real(scale.quantise(inside)) - inside).max() <= 1.01 * scale.step


def test_rounding_by_hand():
    out = Scale(np.float32(0.5), 10)
    # 3 * 0.25 = 0.75 -> 1.5 steps -> 2 (half to even), and 1 * 0.25 -> 0.5 steps -> 0
    assert requantise(np.array([3, 1, -100, 10000]), np.float32(0.25), out).tolist() == [12, 10, 0, 255]
    a = Scale(np.float32(1.0), 0)
    assert add(np.array([3], np.uint8), a, np.array([4], np.uint8), a, out).tolist() == [24]


def test_weights_are_symmetric_per_row():
    q, step = round_rows(np.array([[1.0, -2.0], [0.0, 0.0], [0.1, 0.05]], np.float32))
    assert q.tolist()[0] == [64, -127] and q.tolist()[1] == [0, 0]
    assert step[0] == np.float32(2.0 / 127.0)
