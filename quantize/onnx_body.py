"""The integer body as a QDQ graph: standard ONNX operators only, which ONNX Runtime fuses into integer kernels.

Inputs: `features` (1, width, frames) float32 and one u8 history per block (1, width, 2 * dilation). Outputs: `h` and
`z_raw` (1, ., frames) float32 and the next histories. The number of frames is free: 1 on a board, many offline.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from myosem_edge.quantize.network import IntBody, Scale

OPSET = 17
IR_VERSION = 8  # what long-term-support runtimes still read


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def scale(self, name: str, scale: Scale) -> list[str]:
        return [
            self.constant(f"{name}.step", np.asarray(scale.step, np.float32)),
            self.constant(f"{name}.zero", np.asarray(scale.zero, np.uint8)),
        ]

    def weight(self, name: str, q: np.ndarray, step: np.ndarray) -> str:
        q_name = self.constant(f"{name}.q", q)
        zero = self.constant(f"{name}.zero", np.zeros(len(step), np.int8))
        return self.node(
            "DequantizeLinear", [q_name, self.constant(f"{name}.step", step), zero], f"{name}.real", axis=0
        )

    def bias(self, name: str, q: np.ndarray, step: np.ndarray) -> str:
        q_name = self.constant(f"{name}.q", q.astype(np.int32))
        zero = self.constant(f"{name}.zero", np.zeros(len(step), np.int32))
        step_name = self.constant(f"{name}.step", step.astype(np.float32))
        return self.node("DequantizeLinear", [q_name, step_name, zero], f"{name}.real", axis=0)


def body_to_onnx(body: IntBody) -> bytes:
    """Serialised ONNX model of the body."""
    g = _Graph()
    width, embedding = body.width, len(body.project)
    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, width, "frames"])]
    outputs = [
        helper.make_tensor_value_info("h", TensorProto.FLOAT, [1, width, "frames"]),
        helper.make_tensor_value_info("z_raw", TensorProto.FLOAT, [1, embedding, "frames"]),
    ]
    scale = body.inlet
    names = g.scale("inlet", scale)
    x = g.node("QuantizeLinear", ["features", *names], "x0")
    for i, block in enumerate(body.blocks):
        p = f"block{i}"
        inputs.append(helper.make_tensor_value_info(f"history{i}", TensorProto.UINT8, [1, width, block.history]))
        outputs.append(helper.make_tensor_value_info(f"next_history{i}", TensorProto.UINT8, [1, width, block.history]))
        line = g.node("Concat", [f"history{i}", x], f"{p}.line", axis=2)
        starts = g.constant(f"{p}.starts", np.array([-block.history], np.int64))
        ends = g.constant(f"{p}.ends", np.array([np.iinfo(np.int64).max], np.int64))
        axes = g.constant(f"{p}.axes", np.array([2], np.int64))
        g.node("Slice", [line, starts, ends, axes], f"next_history{i}")
        real = g.node("DequantizeLinear", [line, *names], f"{p}.line.real")
        taps = g.weight(f"{p}.taps", block.taps[:, None, :], block.taps_step)
        bias = g.bias(f"{p}.taps_bias", block.taps_bias, scale.step * block.taps_step)
        y = g.node(
            "Conv", [real, taps, bias], f"{p}.depthwise", group=width, dilations=[block.dilation], kernel_shape=[3]
        )
        y = g.node("Relu", [y], f"{p}.relu")
        mid = g.scale(f"{p}.mid", block.mid)
        y = g.node("DequantizeLinear", [g.node("QuantizeLinear", [y, *mid], f"{p}.mid"), *mid], f"{p}.mid.real")
        mix = g.weight(f"{p}.mix", block.mix[:, :, None], block.mix_step)
        bias = g.bias(f"{p}.mix_bias", block.mix_bias, block.mid.step * block.mix_step)
        y = g.node("Conv", [y, mix, bias], f"{p}.pointwise", kernel_shape=[1])
        branch = g.scale(f"{p}.branch", block.branch)
        y = g.node(
            "DequantizeLinear", [g.node("QuantizeLinear", [y, *branch], f"{p}.branch"), *branch], f"{p}.branch.real"
        )
        straight = g.node("DequantizeLinear", [x, *names], f"{p}.x.real")
        total = g.node("Add", [straight, y], f"{p}.sum")
        scale = block.out
        names = g.scale(f"{p}.out", scale)
        x = g.node("QuantizeLinear", [total, *names], f"x{i + 1}")
    h = g.node("DequantizeLinear", [x, *names], "h")
    weight = g.weight("project", body.project[:, :, None], body.project_step)
    bias = g.bias("project_bias", body.project_bias, scale.step * body.project_step)
    g.node("Conv", [h, weight, bias], "z_raw", kernel_shape=[1])
    graph = helper.make_graph(g.nodes, "myosem_body", inputs, outputs, g.constants)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="myosem-edge"
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)
