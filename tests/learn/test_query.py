"""Search by EMG and by description: stretches apart, files checked, texts placed where the descriptions lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the [train] extra is not installed")

from myosem_edge.errors import InputError
from myosem_edge.learn import query
from myosem_edge.learn.query import (
    Stream,
    embeddings,
    find_descriptions,
    find_stretches,
    free_text_prototype,
    read_streams,
)
from myosem_edge.learn.sample import PACK, sample_folder
from myosem_edge.runtime.decoder import Model

PERSON = sample_folder() / PACK / "p78945.npz"


@pytest.fixture(scope="module")
def model(exported: Any) -> Model:
    return Model.from_bundle(exported.bundle)


def emg(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 10, (samples, 8)).astype(np.float32)


def test_a_persons_file_is_one_stream_a_recording() -> None:
    streams = list(read_streams(PERSON, 8, 200.0))
    assert [s.name for s in streams] == [f"p78945[{i}]" for i in range(8)]
    assert all(s.labels is not None and len(s.labels) == len(s.samples) for s in streams)


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".named.csv"])
def test_a_bare_array_is_one_stream(tmp_path: Path, suffix: str) -> None:
    samples, path = emg(400), tmp_path / f"take{suffix}"
    if suffix == ".npy":
        np.save(path, samples)
    else:
        np.savetxt(path, samples, delimiter=",", header="a,b,c,d,e,f,g,h" if "named" in suffix else "", comments="")
    (stream,) = read_streams(path, 8, 200.0)
    assert stream.name == f"{path.stem}[0]" and stream.labels is None
    assert np.allclose(stream.samples, samples, atol=1e-4)


def test_recordings_shorter_than_a_second_are_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", emg=emg(700), rec_ptr=np.array([0, 100, 500, 700]))
    assert [len(s.samples) for s in read_streams(tmp_path / "a.npz", 8, 200.0)] == [400, 200]


BAD_FILES: dict[str, tuple[Any, str]] = {
    "a.npz": (b"", "not a readable .npz"),
    "b.npz": (PERSON.read_bytes()[:5000], "not a readable .npz"),
    "c.npz": ({"other": emg(300)}, "no array named emg .found other"),
    "d.npz": ({"emg": emg(300), "rec_ptr": np.array([0, 200])}, "rec_ptr does not cover"),
    "e.npz": ({"emg": emg(300), "label": np.zeros(299, int)}, "label is not one whole number"),
    "f.npz": ({"emg": np.array([object()], dtype=object)}, "not a readable .npz"),
    "g.npy": (b"\x93NUMPY", "not a readable .npy"),
    "h.npy": (np.full((300, 8), np.nan), "not a finite number"),
    "i.npy": (emg(300)[:, :4], "wrong number of channels .found 4, expected 8"),
    "j.npy": (emg(150), "shorter than a second"),
    "k.npy": (np.array([["a"] * 8] * 300), "is not EMG"),
    "l.csv": (b"", "has no samples"),
    "m.csv": (b"a,b,c\n1,2,3\n", "wrong number of channels .found 3"),
    "n.csv": (b"1,2,3\n4,5\n", "not a readable .csv"),
    "o.wav": (b"RIFF\x00\xff", "not a recording .found .wav"),
    "p.npy": (np.full((300, 8), 1e300), "not a finite number .found 1e.300"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, name: str) -> None:
    content, message = BAD_FILES[name]
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez(path, **content)
    else:
        np.save(path, content)
    with pytest.raises(InputError, match=message) as caught:
        list(read_streams(path, 8, 200.0))
    assert str(path) in str(caught.value)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    for name in ("a.npz", "a.npy", "a.csv"):
        with pytest.raises(InputError, match="cannot be read: No such file"):
            list(read_streams(tmp_path / name, 8, 200.0))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seconds=st.lists(st.integers(1, 6), min_size=1, max_size=3), top=st.integers(1, 6), seed=st.integers(0, 9))
def test_stretches_never_overlap_and_come_best_first(model: Model, seconds: list[int], top: int, seed: int) -> None:
    streams = [Stream(f"s{i}", emg(200 * s, seed + i), None) for i, s in enumerate(seconds)]
    found = find_stretches(model, streams, model.gallery.prototypes[seed], "reference", top)
    assert 0 < len(found) <= top
    assert [s.cosine for s in found] == sorted((s.cosine for s in found), reverse=True)
    for i, a in enumerate(found):
        length = len(streams[int(a.recording[1:])].samples) / 200
        assert a.start_s >= 0 and a.stop_s <= length + 1e-9 and a.stop_s - a.start_s == pytest.approx(1.0)
        for b in found[:i]:
            assert a.recording != b.recording or a.stop_s <= b.start_s + 1e-9 or b.stop_s <= a.start_s + 1e-9


def test_a_stretch_carries_the_label_of_most_of_it(model: Model) -> None:
    stream = Stream("s", emg(600), np.full(600, 5))
    found = find_stretches(model, [stream], model.gallery.prototypes[0], "reference", 2)
    assert [s.label for s in found] == ["5", "5"]
    assert found[0].to_dict()["recording"] == "s"


def test_the_place_that_fits_is_found(model: Model) -> None:
    """Two patterns take turns every two seconds; the prototype is the mean embedding of one of them."""
    pattern = np.where(np.arange(8) < 4, [[5.0], [1.0]], [[1.0], [5.0]])
    labels = np.repeat([0, 1, 0, 1, 0], 400)
    stream = Stream("s", (emg(2000) * pattern[labels]).astype(np.float32), labels)
    z = embeddings(model, stream, "reference")
    mean = z[labels[4::5] == 1].mean(axis=0)
    found = find_stretches(model, [stream], mean / np.linalg.norm(mean), "reference", 2)
    assert [s.label for s in found] == ["1", "1"]
    assert sorted(int(s.start_s // 4) for s in found) == [0, 1]  # 2 to 4 s, and 6 to 8 s


def test_descriptions_are_ranked_by_cosine(model: Model) -> None:
    (stream,) = [s for s in read_streams(PERSON, 8, 200.0) if s.name == "p78945[7]"]
    found = find_descriptions(model, stream, "onnxruntime", 4)
    assert len(found) == 4 and [c for _, c in found] == sorted((c for _, c in found), reverse=True)
    assert {name for name, _ in found} <= set(model.gallery.ids)


def test_a_louder_recording_is_the_same_recording(model: Model) -> None:
    stream = Stream("s", emg(600), None)
    louder = Stream("s", 7 * stream.samples, None)
    assert np.allclose(embeddings(model, stream, "reference"), embeddings(model, louder, "reference"), atol=0.02)


def test_an_action_of_the_bundle_is_its_own_prototype(exported: Any, model: Model) -> None:
    row = model.gallery.ids.index("fist")
    assert np.array_equal(free_text_prototype(exported.bundle, None, "fist"), model.gallery.prototypes[row])


def test_a_sentence_goes_the_way_the_descriptions_went(exported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an action's first view as the sentence, centred alike, the first part of its prototype comes out."""
    from myosem_edge.learn import text

    raw = exported.bundle.member("descriptions.safetensors")
    tensors = query.load_tensors(raw)

    class OneVector:
        def __init__(self, folder: object) -> None: ...

        def encode(self, sentences: list[str]) -> np.ndarray:
            first = tensors["raw"][3, :1].astype(np.float32)
            return np.asarray(first - tensors["mean"][0] + tensors["mean"].mean(axis=0))

    monkeypatch.setattr(text, "TextEncoder", OneVector)
    monkeypatch.setattr(text, "find_text_encoder", lambda: None)
    monkeypatch.setattr(text, "ENCODER_ID", exported.bundle.manifest.encoder_id)
    found = free_text_prototype(exported.bundle, "anything")
    size = len(found) // len(tensors["view_weights"])
    assert np.linalg.norm(found) == pytest.approx(1.0, abs=1e-5)
    assert np.allclose(found[:size], tensors["prototypes"][3, :size], atol=2e-3)  # raw texts travel as half floats


def test_another_text_encoder_is_refused(exported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from myosem_edge.learn import text

    monkeypatch.setattr(text, "ENCODER_ID", "another")
    with pytest.raises(InputError, match="made with another text encoder"):
        free_text_prototype(exported.bundle, "open the hand")
