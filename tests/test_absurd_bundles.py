"""A bundle that is signed and absurd: one sentence, whatever number is wrong in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from myosem_edge.bundle import Bundle, bundle_from
from myosem_edge.errors import BundleError, MyosemError
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.keys import new_key
from myosem_edge.runtime.decoder import Decoder, Model
from tests.calibration import tiny_model

ABSURD = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e38, 255.5)


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ed25519PrivateKey:
    """A key that is trusted here."""
    monkeypatch.setenv("MYOSEM_HOME", str(tmp_path / "home"))
    return new_key("maker")


def bundle(folder: Path, maker: Ed25519PrivateKey, tensors: dict[str, np.ndarray]) -> Bundle:
    file = folder / "absurd.myosem"
    tiny_model.bundle_file(file, maker, replace(tiny_model.build(), tensors=tensors))
    return bundle_from(file)


def use(opened: Bundle) -> None:
    decoder = Decoder(Model.from_bundle(opened), backend="reference")
    decoder.feed(Chunk(np.ones((200, tiny_model.CHANNELS), np.float32), 0, 0.0))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("body.dilations", np.array([1, -2, 1], np.int32)),
        ("body.dilations", np.array([1, 2**30, 1], np.int32)),
        ("body.inlet", np.array([np.nan, 0], np.float32)),
        ("body.inlet", np.array([1.0], np.float32)),
        ("body.0.mid", np.array([1.0, 1e9], np.float32)),
        ("body.0.taps", np.zeros((16, 5), np.int8)),
        ("body.0.taps", np.zeros((16, 3), np.float32)),
        ("body.1.mix_step", np.full(16, -1.0, np.float32)),
        ("body.project_bias", np.zeros(3, np.int32)),
        ("front.kernel", np.full((72, 16), np.nan, np.float32)),
        ("front.kernel", np.zeros((7, 16), np.float32)),
        ("front.expand", np.zeros((2, 2), np.float32)),
        ("front.slow_frames", np.array([0], np.int32)),
    ],
)
def test_each_wrong_number_is_one_sentence(
    name: str, value: np.ndarray, tmp_path: Path, maker: Ed25519PrivateKey
) -> None:
    opened = bundle(tmp_path, maker, tiny_model.build().tensors | {name: value})
    with pytest.raises(BundleError) as caught:
        use(opened)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(tiny_model.build().tensors))
def test_each_missing_tensor_is_one_sentence(name: str, tmp_path: Path, maker: Ed25519PrivateKey) -> None:
    tensors = {key: value for key, value in tiny_model.build().tensors.items() if key != name}
    opened = bundle(tmp_path, maker, tensors)
    with pytest.raises(BundleError):
        use(opened)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_absurd_tensors_raise_nothing_else(data: st.DataObject, tmp_path: Path, maker: Ed25519PrivateKey) -> None:
    tensors = {name: value.copy() for name, value in tiny_model.build().tensors.items()}
    for name in data.draw(st.lists(st.sampled_from(sorted(tensors)), min_size=1, max_size=3, unique=True)):
        values = tensors[name]
        how = data.draw(st.sampled_from(("value", "kind", "cut", "flat", "empty")))
        if how == "value":
            absurd = data.draw(st.sampled_from(ABSURD))
            with np.errstate(invalid="ignore", over="ignore"):
                values.reshape(-1)[data.draw(st.integers(0, values.size - 1))] = np.asarray(absurd).astype(values.dtype)
        elif how == "kind":
            values = values.astype(data.draw(st.sampled_from((np.int8, np.int32, np.float32, np.float64))))
        else:
            values = {"cut": values[:-1], "flat": values.reshape(-1), "empty": values[:0]}[how]
        tensors[name] = values
    with np.errstate(all="ignore"):
        try:
            use(bundle(tmp_path, maker, tensors))
        except MyosemError as error:
            assert "\n" not in str(error)
