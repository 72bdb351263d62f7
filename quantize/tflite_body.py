"""The integer body as a TFLite graph that gives the reference's bytes on every runtime and processor.

TFLite's own int8 convolutions come back to 8 bits in another arithmetic on each runtime (tflite-runtime 2.14 rounds
twice in fixed point), so bytes would differ. Here the integers travel as whole numbers in float32: below 2 ** 24 their
products and sums are exact in any order, with or without fused multiplication, and every rounding is an operator of its
own, to nearest and half to even, as in `network.requantise`. Weights and histories lie in the file as 8 bits.

Inputs: `features` (1, 1, 1, width) float32 and one u8 history per block (1, 1, 2 * dilation, width). Outputs: `h` and
`z_raw` (1, 1, 1, .) float32 and the next histories. One frame a call: a board never has more, and a graph of another
length would have to be laid out anew at every change of the length.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from myosem_edge.quantize.network import IntBody, Scale

SCHEMA = 3  # the only version of the format that runtimes read
ALIGNMENT = 16  # bytes; the schema's force_align for weights
KINDS = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int8): schema.TensorType.INT8,
}


class AlignedBuilder(flatbuffers.Builder):
    """The generated code aligns weights as bytes; runtimes may read them as vectors."""

    def StartVector(self, elem_size: int, count: int, alignment: int) -> Any:
        return super().StartVector(elem_size, count, ALIGNMENT if elem_size == 1 else alignment)


class _Graph:
    """Operators in the order in which they run. Tensors are known by their number."""

    def __init__(self) -> None:
        self.tensors: list[schema.TensorT] = []
        self.buffers = [schema.BufferT()]  # the first one is empty: what is computed has no bytes in the file
        self.codes: list[schema.OperatorCodeT] = []
        self.operators: list[schema.OperatorT] = []

    def tensor(self, name: str, shape: tuple[int, ...], kind: type, zero: int | None = None) -> int:
        """`zero`: of 8-bit numbers, in steps of 1."""
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, list(shape), KINDS[np.dtype(kind)], 0
        if zero is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.ones(1, np.float32)
            made.quantization.zeroPoint = np.array([zero], np.int64)
        self.tensors.append(made)
        return len(self.tensors) - 1

    def constant(self, name: str, value: np.ndarray, zero: int | None = None) -> int:
        number = self.tensor(name, value.shape, value.dtype.type, zero)
        buffer = schema.BufferT()
        little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        buffer.data = np.frombuffer(little.tobytes(), np.uint8)
        self.buffers.append(buffer)
        self.tensors[number].buffer = len(self.buffers) - 1
        return number

    def operator(self, name: str, inputs: list[int], output: int, options: Any = None, version: int = 1) -> int:
        """`name` as in schema.BuiltinOperator; returns the output."""
        made = schema.OperatorT()
        made.opcodeIndex = self._code(getattr(schema.BuiltinOperator, name), version)
        made.inputs, made.outputs = inputs, [output]
        if options is not None:
            made.builtinOptions = options
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.operators.append(made)
        return output

    def _code(self, builtin: int, version: int) -> int:
        for number, code in enumerate(self.codes):
            if code.builtinCode == builtin:
                return number
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin  # 2.14 and others read either
        code.version = version
        self.codes.append(code)
        return len(self.codes) - 1

    def serialised(self, inputs: list[int], outputs: list[int]) -> bytes:
        graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.operators = "myosem_body", self.tensors, self.operators
        graph.inputs, graph.outputs = inputs, outputs
        model = schema.ModelT()
        model.version, model.description = SCHEMA, "myosem-edge"
        model.operatorCodes, model.subgraphs, model.buffers = self.codes, [graph], self.buffers
        builder = AlignedBuilder(0)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


class _Frame(_Graph):
    """What one frame goes through, as numbers of tensors (1, 1, frames, channels)."""

    def real(self, name: str, shape: tuple[int, ...]) -> int:
        return self.tensor(name, shape, np.float32)

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self.tensors[tensor].shape)

    def by(self, operator: str, x: int, factor: np.ndarray | np.float32, name: str) -> int:
        """MUL or DIV by float32 constants, one or one per channel."""
        options = schema.MulOptionsT() if operator == "MUL" else schema.DivOptionsT()
        constant = self.constant(f"{name}.factor", np.atleast_1d(factor).astype(np.float32))
        return self.operator(operator, [x, constant], self.real(name, self.shape(x)), options)

    def to_bytes(self, steps: int, zero: int, name: str) -> int:
        """Half to even, then clipped to what 8 bits hold."""
        whole = self.operator("ROUND", [steps], self.real(f"{name}.whole", self.shape(steps)))
        return self.operator("QUANTIZE", [whole], self.tensor(name, self.shape(steps), np.uint8, zero))

    def whole(self, q: int, name: str) -> int:
        """8-bit numbers -> whole numbers in float32, zero taken off."""
        return self.operator("DEQUANTIZE", [q], self.real(name, self.shape(q)), version=2)

    def sums(self, x: int, weight: np.ndarray, bias: np.ndarray, name: str, dilation: int = 0) -> int:
        """Whole numbers through a pointwise convolution (out, in), or one of depth (taps, channels) with a dilation."""
        shaped = weight[None, None] if dilation else weight[:, None, None, :]
        weights = self.whole(self.constant(f"{name}.q", shaped, zero=0), f"{name}.weight")
        options = schema.DepthwiseConv2DOptionsT() if dilation else schema.Conv2DOptionsT()
        options.padding = schema.Padding.VALID
        options.strideW = options.strideH = options.dilationHFactor = 1
        options.dilationWFactor = max(dilation, 1)
        if dilation:
            options.depthMultiplier = 1
        return self.operator(
            "DEPTHWISE_CONV_2D" if dilation else "CONV_2D",
            [x, weights, self.constant(f"{name}.bias", bias.astype(np.float32))],
            self.real(name, (1, 1, 1, len(bias))),
            options,
        )


def body_to_tflite(body: IntBody) -> bytes:
    """Serialised TFLite model of the body."""
    g = _Frame()
    frame = (1, 1, 1, body.width)
    inputs, after = [g.real("features", frame)], []
    scale = body.inlet
    x = g.to_bytes(g.by("DIV", inputs[0], scale.step, "x0.steps"), scale.zero, "x0")
    for i, block in enumerate(body.blocks):
        p = f"block{i}"
        line, following = _remember(g, x, block.history, scale, i)
        inputs.append(line[0])
        after.append(following)
        y = g.sums(g.whole(line[1], f"{p}.line.whole"), block.taps.T, block.taps_bias, f"{p}.taps", block.dilation)
        y = g.by("MUL", y, scale.step * block.taps_step / block.mid.step, f"{p}.mid.steps")
        y = g.whole(g.to_bytes(y, block.mid.zero, f"{p}.mid"), f"{p}.mid.whole")
        y = g.sums(y, block.mix, block.mix_bias, f"{p}.mix")
        y = g.by("MUL", y, block.mid.step * block.mix_step / block.branch.step, f"{p}.branch.steps")
        y = g.whole(g.to_bytes(y, block.branch.zero, f"{p}.branch"), f"{p}.branch.whole")
        y = g.by("MUL", y, block.branch.step, f"{p}.branch.real")
        straight = g.by("MUL", g.whole(x, f"{p}.x.whole"), scale.step, f"{p}.x.real")
        total = g.operator("ADD", [straight, y], g.real(f"{p}.total", frame), schema.AddOptionsT())
        scale = block.out
        x = g.to_bytes(g.by("DIV", total, scale.step, f"x{i + 1}.steps"), scale.zero, f"x{i + 1}")
    last = g.whole(x, "h.whole")
    h = g.by("MUL", last, scale.step, "h")
    z = g.by("MUL", g.sums(last, body.project, body.project_bias, "project"), scale.step * body.project_step, "z_raw")
    return g.serialised(inputs, [h, z, *after])


def _remember(g: _Frame, x: int, history: int, scale: Scale, i: int) -> tuple[tuple[int, int], int]:
    """((history, history and x), the history after x) of block i."""
    width = g.shape(x)[-1]
    before = g.tensor(f"history{i}", (1, 1, history, width), np.uint8, scale.zero)
    options = schema.ConcatenationOptionsT()
    options.axis = 2
    line = g.tensor(f"block{i}.line", (1, 1, history + 1, width), np.uint8, scale.zero)
    g.operator("CONCATENATION", [before, x], line, options)
    begin = g.constant(f"block{i}.begin", np.array([0, 0, 1, 0], np.int32))
    size = g.constant(f"block{i}.size", np.array([1, 1, history, width], np.int32))
    after = g.tensor(f"next_history{i}", (1, 1, history, width), np.uint8, scale.zero)
    g.operator("SLICE", [line, begin, size], after)
    return (before, line), after
