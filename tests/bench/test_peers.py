"""The children of `make bench` that are not of the package: LibEMG in its environment, and the network in floats."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from myosem_edge.bench.measure import FRAME, WINDOW
from myosem_edge.bench.person import load_stream
from myosem_edge.bench.service import Child

ROOT = Path(__file__).parents[2]
LIBEMG = ROOT / "build" / "peers-libemg" / "bin" / "python"


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.peer
def test_libemg_decides_on_our_stream() -> None:
    if not LIBEMG.exists():
        pytest.skip("LibEMG is not installed; make bench makes its environment in build/peers-libemg")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with Child([str(LIBEMG), str(ROOT / "benchmarks" / "libemg_child.py")], environment) as child:
        facts = child.ask("load", **load_stream().request(FRAME, WINDOW))
        assert facts["frames"] == 6064 and facts["version"].startswith("2.")
        assert child.ask("cost", decisions=20, warm_up=2)["decisions"] == 20


def test_the_network_in_floats_is_the_same_network(exported: Any) -> None:
    pytest.importorskip("onnx", reason="the [train] extra is not installed")
    from myosem_edge.quantize.network import IntBody
    from myosem_edge.runtime.decoder import Model

    child = benchmark("float_child")
    model = Model.from_bundle(exported.bundle)
    twin = child.FloatModel(**{**vars(model), "onnx": child.float_graph(IntBody.from_tensors(model.tensors))})
    samples = load_stream().emg[:2000].astype(np.float32)
    exact, rounded = twin.encoder().whole(samples), model.encoder(backend="reference").whole(samples)
    assert exact.h.shape == rounded.h.shape and not np.array_equal(exact.h, rounded.h)
    assert (exact.z * rounded.z).sum(axis=1)[30:].min() > 0.98
