"""A TFLite graph of a tiny body, and what an attacker would make of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from myosem_edge.quantize.network import IntBlock, IntBody, Scale
from myosem_edge.quantize.tflite_body import AlignedBuilder, body_to_tflite

WIDTH, EMBEDDING = 4, 8


def tiny_body() -> IntBody:
    rng = np.random.default_rng(0)
    step = np.full(WIDTH, 0.01, np.float32)
    scale = Scale(np.float32(0.05), 100)
    block = IntBlock(
        dilation=2,
        taps=rng.integers(-127, 128, (WIDTH, 3)).astype(np.int8),
        taps_step=step,
        taps_bias=np.arange(WIDTH, dtype=np.int32),
        mid=Scale(np.float32(0.05), 0),
        mix=rng.integers(-127, 128, (WIDTH, WIDTH)).astype(np.int8),
        mix_step=step,
        mix_bias=np.arange(WIDTH, dtype=np.int32),
        branch=scale,
        out=scale,
    )
    project = rng.integers(-127, 128, (EMBEDDING, WIDTH)).astype(np.int8)
    return IntBody(scale, (block,), project, np.full(EMBEDDING, 0.01, np.float32), np.zeros(EMBEDDING, np.int32))


@cache
def tiny_tflite() -> bytes:
    return body_to_tflite(tiny_body())


def edited(edit: Callable[[Any], object]) -> bytes:
    """The tiny graph with its tables as objects changed and packed again, weights aligned as before."""
    model = schema.ModelT.InitFromPackedBuf(tiny_tflite(), 0)
    edit(model)
    builder: flatbuffers.Builder = AlignedBuilder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operator(model: Any, name: str) -> Any:
    """The first operator of that name."""
    number = getattr(schema.BuiltinOperator, name)
    codes = [code.builtinCode for code in model.operatorCodes]
    return next(each for each in model.subgraphs[0].operators if codes[each.opcodeIndex] == number)


def code(model: Any, name: str, **fields: object) -> None:
    """Change the operator code of that name, and so every operator that uses it."""
    number = getattr(schema.BuiltinOperator, name)
    found = next(each for each in model.operatorCodes if each.builtinCode == number)
    change(found, **fields)


def change(table: Any, **fields: object) -> None:
    for name, value in fields.items():
        assert hasattr(table, name), name
        setattr(table, name, value)


def weight(model: Any) -> Any:
    """A tensor with bytes in the file."""
    return next(tensor for tensor in model.subgraphs[0].tensors if tensor.buffer)


def extra(kind: str, **fields: object) -> Any:
    made = getattr(schema, kind)()
    change(made, **fields)
    return made


def longer_first(model: Any) -> None:
    """The last operator comes first: it reads what nobody has computed yet."""
    operators = model.subgraphs[0].operators
    operators.insert(0, operators.pop())


CUSTOM, WHILE, CALL_ONCE = 32, 119, 129
# Name -> what is changed, and words of the refusal.
ATTACKS: dict[str, tuple[Callable[[Any], object], str]] = {
    "custom_operator": (
        lambda m: code(m, "ROUND", builtinCode=CUSTOM, deprecatedBuiltinCode=CUSTOM, customCode="evil"),
        "code field 1",
    ),
    "nameless_custom_operator": (
        lambda m: code(m, "ROUND", builtinCode=CUSTOM, deprecatedBuiltinCode=CUSTOM),
        "builtin operator 32",
    ),
    "loop": (lambda m: code(m, "ROUND", builtinCode=WHILE, deprecatedBuiltinCode=WHILE), "builtin operator 119"),
    "operator_above_the_old_field": (
        lambda m: code(m, "ROUND", builtinCode=CALL_ONCE, deprecatedBuiltinCode=127),
        "builtin operator 129",
    ),
    "two_names_for_one_operator": (lambda m: code(m, "ROUND", deprecatedBuiltinCode=0), "not allowed"),
    "metadata": (lambda m: change(m, metadata=[extra("MetadataT", name="x", buffer=1)]), "model field 6"),
    "metadata_buffer": (lambda m: change(m, metadataBuffer=[1]), "model field 5"),
    "signature": (lambda m: change(m, signatureDefs=[extra("SignatureDefT")]), "model field 7"),
    "external_file": (lambda m: change(m, externalBuffers=[extra("ExternalBufferT")]), "model field 9"),
    "external_weights": (lambda m: change(weight(m), externalBuffer=1), "tensor field 10"),
    "weights_behind_the_graph": (lambda m: change(m.buffers[1], offset=64, size=64), "buffer field 1"),
    "state_inside": (lambda m: change(m.subgraphs[0].tensors[0], isVariable=True), "tensor field 5"),
    "open_shape": (lambda m: change(m.subgraphs[0].tensors[0], shapeSignature=[1, 1, -1, 4]), "tensor field 7"),
    "two_graphs": (lambda m: m.subgraphs.append(m.subgraphs[0]), "is not the only one"),
    "no_graph": (lambda m: change(m, subgraphs=[]), "is not the only one"),
    "another_version": (lambda m: change(m, version=4), "another format"),
    "huge_tensor": (lambda m: change(m.subgraphs[0].tensors[0], shape=[1, 1, 1, 2**30]), "too much memory"),
    "many_large_tensors": (
        lambda m: [change(each, shape=[1, 1, 1, 2**21]) for each in m.subgraphs[0].tensors if not each.buffer],
        "too much memory",
    ),
    "negative_shape": (lambda m: change(m.subgraphs[0].tensors[0], shape=[1, 1, -1, 4]), "without a fixed shape"),
    "no_shape": (lambda m: change(m.subgraphs[0].tensors[0], shape=None), "without a fixed shape"),
    "eight_dimensions": (lambda m: change(m.subgraphs[0].tensors[0], shape=[1] * 8), "without a fixed shape"),
    "texts_as_numbers": (lambda m: change(m.subgraphs[0].tensors[0], type=5), "kind of number"),
    "short_weights": (lambda m: change(weight(m), shape=[1, 1, 1, 64]), "another size than their shape"),
    "weights_of_nobody": (lambda m: change(weight(m), buffer=10**6), "not there"),
    "steps_by_channel": (
        lambda m: change(weight(m), quantization=extra("QuantizationParametersT", scale=[1.0, 1.0], zeroPoint=[0, 0])),
        "scale that is not allowed",
    ),
    "unlisted_operator": (lambda m: change(operator(m, "ROUND"), opcodeIndex=99), "not listed"),
    "absent_input": (lambda m: change(operator(m, "ADD"), inputs=[-1, 0]), "before it is known"),
    "input_of_nobody": (lambda m: change(operator(m, "ROUND"), inputs=[10**6]), "before it is known"),
    "too_many_inputs": (lambda m: change(operator(m, "ADD"), inputs=[0, 0, 0]), "other inputs or outputs"),
    "reads_ahead": (longer_first, "before it is known"),
    "writes_twice": (
        lambda m: change(operator(m, "SLICE"), outputs=operator(m, "CONCATENATION").outputs),
        "may not write",
    ),
    "writes_weights": (
        lambda m: change(operator(m, "ROUND"), outputs=[m.subgraphs[0].tensors.index(weight(m))]),
        "may not write",
    ),
    "result_of_nobody": (lambda m: change(m.subgraphs[0], outputs=[10**6]), "before it is known"),
    "stride_of_nothing": (
        lambda m: change(operator(m, "DEPTHWISE_CONV_2D").builtinOptions, strideW=0),
        "cannot be computed",
    ),
    "settings_of_another": (
        lambda m: change(operator(m, "CONV_2D"), builtinOptionsType=11, builtinOptions=extra("AddOptionsT")),
        "settings of another operator",
    ),
    "settings_left_out": (
        lambda m: change(operator(m, "CONV_2D"), builtinOptionsType=0, builtinOptions=None),
        "settings of another operator",
    ),
    "custom_settings": (lambda m: change(operator(m, "ROUND"), customOptions=[1, 2]), "operator field 5"),
    "settings_behind_the_graph": (
        lambda m: change(operator(m, "ROUND"), largeCustomOptionsOffset=8, largeCustomOptionsSize=8),
        "operator field 9",
    ),
}
