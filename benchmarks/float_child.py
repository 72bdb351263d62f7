"""The same decoder with a body in floats, as a child of the benchmark: `python benchmarks/float_child.py BUNDLE`.

A bundle holds the student's integers only. So this is not the student before its rounding: it is the same network with
its integer weights times their steps as float32, nothing rounded in between, histories in floats, on ONNX Runtime.
What it costs is what the student costs in floats; what it decides is not what is asked here.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from myosem_edge.bench.service import answers_only, serve
from myosem_edge.bench.subjects import Streaming
from myosem_edge.bundle import bundle_from
from myosem_edge.firmware_bridge.hands.ability import AbilityHand
from myosem_edge.quantize.network import IntBody
from myosem_edge.quantize.onnx_body import IR_VERSION, OPSET
from myosem_edge.runtime.decoder import Model
from myosem_edge.runtime.encoder import Fit, OnnxBody, StreamingEncoder
from myosem_edge.runtime.grips import load_grip_map


@dataclass(frozen=True)
class FloatModel(Model):
    """Everything of a bundle but for the body, which is `onnx` in floats."""

    def encoder(self, fit: Fit | None = None, backend: str = "onnxruntime") -> StreamingEncoder:
        encoder = super().encoder(fit, "reference")
        body = IntBody.from_tensors(self.tensors)
        zeros = [np.zeros((block.history, body.width), np.float32) for block in body.blocks]
        encoder.body = OnnxBody(self.onnx, tuple(zeros))
        return encoder


def float_graph(body: IntBody) -> bytes:
    """The graph of `quantize.onnx_body` without its roundings."""
    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def float_(name: str, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    def layer(name: str, q: np.ndarray, step: np.ndarray, bias: np.ndarray, before: np.float32) -> list[str]:
        weight = q.astype(np.float32) * step.reshape(-1, *(1,) * (q.ndim - 1))
        return [constant(f"{name}.w", weight), constant(f"{name}.b", (bias * (before * step)).astype(np.float32))]

    width, x, scale = body.width, "features", body.inlet
    inputs = [float_("features", [1, width, "frames"])]
    outputs = [float_("h", [1, width, "frames"]), float_("z_raw", [1, len(body.project), "frames"])]
    axes, ends = constant("axes", np.array([2])), constant("ends", np.array([np.iinfo(np.int64).max]))
    for i, block in enumerate(body.blocks):
        inputs.append(float_(f"history{i}", [1, width, block.history]))
        outputs.append(float_(f"next_history{i}", [1, width, block.history]))
        line = node("Concat", [f"history{i}", x], f"line{i}", axis=2)
        node("Slice", [line, constant(f"starts{i}", np.array([-block.history])), ends, axes], f"next_history{i}")
        taps = layer(f"taps{i}", block.taps[:, None, :], block.taps_step, block.taps_bias, scale.step)
        y = node("Conv", [line, *taps], f"taps_out{i}", group=width, dilations=[block.dilation], kernel_shape=[3])
        mix = layer(f"mix{i}", block.mix[:, :, None], block.mix_step, block.mix_bias, block.mid.step)
        y = node("Conv", [node("Relu", [y], f"mid{i}"), *mix], f"branch{i}", kernel_shape=[1])
        x, scale = node("Add", [x, y], f"out{i}"), block.out
    node("Identity", [x], "h")
    project = layer("project", body.project[:, :, None], body.project_step, body.project_bias, scale.step)
    node("Conv", [x, *project], "z_raw", kernel_shape=[1])
    graph = helper.make_graph(nodes, "myosem_body_float", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def main(bundle_path: str) -> None:
    answers = answers_only()
    bundle = bundle_from(Path(bundle_path))
    model = Model.from_bundle(bundle)
    graph = float_graph(IntBody.from_tensors(model.tensors))
    twin = FloatModel(**vars(replace(model, onnx=graph)))
    grips = load_grip_map(bundle.member("grips.toml"), model.gallery.ids, AbilityHand.info.grips)
    serve(Streaming(twin, grips, "onnxruntime"), answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
