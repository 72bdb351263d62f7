"""Refuse TFLite graphs that are more than known operators on weights inside the file, before any runtime opens them.

Runtimes follow the offsets of a flatbuffer (https://flatbuffers.dev/internals/) without looking where they lead. This
walks every table along the format's schema (schema.fbs of LiteRT, version 3), within the file, and refuses what the
lists below do not name: operators of other libraries, bytes that lie behind or outside the graph, metadata, states
inside the graph, control flow. What remains is one graph whose tensors are given, or computed once before they are
read, and whose weights have exactly the size that their shapes say.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from myosem_edge.errors import BundleError

IDENTIFIER, VERSION = b"TFL3", 3
MAX_TABLES = 10_000  # our students have a few hundred
MAX_DIMENSIONS = 4
LEAST_STEP, MOST_STEP = 1e-9, 1e9  # of 8-bit tensors
MAX_TENSOR_BYTES = 16 * 1024 * 1024  # ours have at most some hundred kB
MAX_TOTAL_BYTES = 64 * 1024 * 1024  # of all tensors: what a runtime allocates, and more
WEIGHT_ALIGNMENT = 16  # the schema's force_align

# What a field of a table holds: a number or a vector of numbers, of so many bytes each; a text; one table or many.
Kind = Literal["number", "numbers", "text", "table", "tables"]
Field = tuple[Kind, int | str]
BYTE: Field = ("number", 1)
INT: Field = ("number", 4)
BYTES: Field = ("numbers", 1)
INTS: Field = ("numbers", 4)  # of integers or of float32
LONGS: Field = ("numbers", 8)
TEXT: Field = ("text", 1)

# Kind of a builtin operator's options -> the bytes of its fields: strides, dilations, axis, fused activation, ...
OPTIONS: dict[int, tuple[int, ...]] = {
    1: (1, 4, 4, 1, 4, 4, 1),  # Conv2D
    2: (1, 4, 4, 4, 1, 4, 4),  # DepthwiseConv2D
    10: (4, 1),  # Concatenation
    11: (1, 1),  # Add
    21: (1,),  # Mul
    29: (1,),  # Div
}
# Of those, the fields that a runtime divides by: strides, and how many outputs a channel has.
POSITIVE = {1: (1, 2), 2: (1, 2, 3)}
# Table -> slot, the place of the field in schema.fbs -> what is there. Left out on purpose, so refused: of a model its
# metadata, signatures and external buffers; of a buffer an offset behind the graph; of an operator code the name of a
# custom one; of a tensor that it is a variable, sparse, or in another file.
FIELDS: dict[str, dict[int, Field]] = {
    "model": {0: INT, 1: ("tables", "code"), 2: ("tables", "graph"), 3: TEXT, 4: ("tables", "buffer")},
    "code": {0: BYTE, 2: INT, 3: INT},
    "graph": {0: ("tables", "tensor"), 1: INTS, 2: INTS, 3: ("tables", "operator"), 4: TEXT},
    "tensor": {0: INTS, 1: BYTE, 2: INT, 3: TEXT, 4: ("table", "quantisation")},
    "quantisation": {2: INTS, 3: LONGS, 6: INT},
    "operator": {0: INT, 1: INTS, 2: INTS, 3: BYTE, 4: ("table", "options")},
    "buffer": {0: BYTES},
    **{
        f"options {kind}": {slot: ("number", size) for slot, size in enumerate(sizes)}
        for kind, sizes in OPTIONS.items()
    },
}
# Number of a builtin operator -> its name, how many inputs it has, the kind of its options (0: none).
OPERATORS = {
    0: ("ADD", 2, 11),
    2: ("CONCATENATION", 2, 10),
    3: ("CONV_2D", 3, 1),
    4: ("DEPTHWISE_CONV_2D", 3, 2),
    6: ("DEQUANTIZE", 1, 0),
    18: ("MUL", 2, 21),
    42: ("DIV", 2, 29),
    65: ("SLICE", 3, 0),
    114: ("QUANTIZE", 1, 0),
    116: ("ROUND", 1, 0),
}
ITEM_BYTES = {0: 4, 2: 4, 3: 1, 9: 1}  # float32, int32, uint8, int8
FORMATS = {1: "b", 4: "i", 8: "q"}  # an unsigned number too large for the signed one is refused as a negative one


@dataclass
class _File:
    data: bytes
    where: object
    tables: int = 0

    def number(self, at: int, size: int) -> int:
        if at < 0 or at % size or at + size > len(self.data):
            raise self.broken("a number outside the file, or not at its place")
        return int(struct.unpack_from(f"<{FORMATS[size]}", self.data, at)[0])

    def follow(self, at: int) -> int:
        """Where the offset at `at` leads; they lead forwards only, so nothing can contain itself."""
        step = self.number(at, 4)
        if step <= 0:
            raise self.broken("an offset that leads nowhere")
        return at + step

    def vector(self, at: int, size: int) -> range:
        """Positions of the items of the vector whose offset lies at `at`."""
        begin = self.follow(at)
        count = self.number(begin, 4)
        first = begin + 4
        if count < 0 or first + count * size > len(self.data) or (count and first % size):
            raise self.broken("a vector that ends outside the file")
        return range(first, first + count * size, size)

    def table(self, at: int, name: str) -> _Table:
        self.tables += 1
        if self.tables > MAX_TABLES:
            raise self.refused("has too many parts", expected=f"at most {MAX_TABLES}")
        layout = at - self.number(at, 4)
        span, own = self._short(layout), self._short(layout + 2)
        if span < 4 or span % 2 or layout + span > len(self.data) or at + own > len(self.data):
            raise self.broken(f"a {name} that ends outside the file")
        found: dict[int, int] = {}
        for slot in range((span - 4) // 2):
            offset = self._short(layout + 4 + 2 * slot)
            if not offset:
                continue
            if slot not in FIELDS[name]:
                raise self.refused(
                    f"has a part that is not allowed: {name} field {slot}",
                    expected="known operators alone, weights inside the graph",
                )
            kind, size = FIELDS[name][slot]
            if offset < 4 or offset + (size if isinstance(size, int) and kind == "number" else 4) > own:
                raise self.broken(f"a {name} whose field {slot} lies outside it")
            found[slot] = at + offset
        return _Table(self, name, found)

    def _short(self, at: int) -> int:
        if at < 0 or at % 2 or at + 2 > len(self.data):
            raise self.broken("a table whose layout lies outside the file")
        return int(struct.unpack_from("<H", self.data, at)[0])

    def refused(self, what: str, found: object = None, expected: object = None) -> BundleError:
        return BundleError(f"the graph {what}", where=self.where, found=found, expected=expected)

    def broken(self, found: str) -> BundleError:
        return BundleError("is not a TFLite model", where=self.where, found=found, todo="Export the encoder again")


@dataclass(frozen=True)
class _Table:
    file: _File
    name: str
    places: dict[int, int]  # slot -> position

    def _size(self, slot: int) -> int:
        size = FIELDS[self.name][slot][1]
        assert isinstance(size, int)
        return size

    def number(self, slot: int) -> int:
        """0 where the field is absent, as flatbuffers have it."""
        return self.file.number(self.places[slot], self._size(slot)) if slot in self.places else 0

    def span(self, slot: int) -> range:
        """Positions of the items of a vector; of none where the field is absent."""
        return self.file.vector(self.places[slot], self._size(slot)) if slot in self.places else range(0)

    def numbers(self, slot: int) -> list[int]:
        return [self.file.number(at, self._size(slot)) for at in self.span(slot)]

    def text(self, slot: int) -> None:
        """A runtime reads a text up to its zero byte."""
        if slot in self.places:
            end = self.file.vector(self.places[slot], 1).stop
            if self.file.data[end : end + 1] != b"\0":
                raise self.file.broken("a text without an end")

    def one(self, slot: int, name: str) -> _Table | None:
        return self.file.table(self.file.follow(self.places[slot]), name) if slot in self.places else None

    def many(self, slot: int) -> list[_Table]:
        name = FIELDS[self.name][slot][1]
        assert isinstance(name, str)
        if slot not in self.places:
            return []
        return [self.file.table(self.file.follow(at), name) for at in self.file.vector(self.places[slot], 4)]


def scan_tflite(data: bytes, where: object) -> None:
    """Read `data` as one model.

    Raises:
        BundleError: not a model, or anything in it that this project does not write.
    """
    if data[4:8] != IDENTIFIER:
        raise BundleError("is not a TFLite model", where=where, expected=f"the mark {IDENTIFIER.decode()}")
    file = _File(data, where)
    model = file.table(file.follow(0), "model")
    if model.number(0) != VERSION:
        raise file.refused("has another format", found=model.number(0), expected=VERSION)
    model.text(3)
    graphs = model.many(2)
    if len(graphs) != 1:
        raise file.refused("is not the only one", found=len(graphs), expected=1)
    graphs[0].text(4)
    sizes = _weights(model.many(4))
    computed = _tensors(graphs[0].many(0), sizes)
    _operators(graphs[0], [_operator(code) for code in model.many(1)], computed)


def _weights(buffers: Sequence[_Table]) -> list[int]:
    """Bytes of each buffer."""
    spans = [buffer.span(0) for buffer in buffers]
    for buffer, span in zip(buffers, spans, strict=True):
        if len(span) and span.start % WEIGHT_ALIGNMENT:
            raise buffer.file.broken("weights that do not lie where a runtime expects them")
    return [len(span) for span in spans]


def _tensors(tensors: Sequence[_Table], sizes: Sequence[int]) -> list[bool]:
    """Whether each tensor is computed, not a weight."""
    total, computed = 0, []
    for tensor in tensors:
        file, buffer, dimensions = tensor.file, tensor.number(2), len(tensor.span(0))
        tensor.text(3)
        shape = tensor.numbers(0) if dimensions <= MAX_DIMENSIONS else []
        item = ITEM_BYTES.get(tensor.number(1))
        if item is None:
            raise file.refused("has a kind of number that is not allowed", found=f"type {tensor.number(1)}")
        if not shape or min(shape) < 1:
            raise file.refused(
                "has a tensor without a fixed shape",
                found=shape or f"{dimensions} dimensions",
                expected=f"1 to {MAX_DIMENSIONS}",
            )
        size = item * math.prod(shape)
        total += size
        if size > MAX_TENSOR_BYTES or total > MAX_TOTAL_BYTES:
            raise file.refused("needs too much memory", found=shape, expected=f"at most {MAX_TENSOR_BYTES} bytes each")
        if not 0 <= buffer < len(sizes):
            raise file.broken("a tensor whose weights are not there")
        if sizes[buffer] not in (0, size):
            raise file.refused("has weights of another size than their shape", found=sizes[buffer], expected=size)
        computed.append(not sizes[buffer])
        scale = tensor.one(4, "quantisation")
        if scale is not None and (len(scale.span(2)) != 1 or len(scale.span(3)) != 1 or scale.number(6)):
            raise file.refused("has a scale that is not allowed", expected="one step and one zero a tensor")
        if scale is not None:
            (step,) = struct.unpack_from("<f", file.data, scale.span(2)[0])
            if not LEAST_STEP <= step <= MOST_STEP:  # NaN is neither; a runtime ends the process over such a step
                raise file.refused("has a scale that is not allowed", found=step, expected="a plain positive step")
    return computed


def _operator(code: _Table) -> int:
    """The number of a builtin operator. It stands in two fields, of which the larger counts."""
    number = max(code.number(0), code.number(3))
    if number not in OPERATORS or code.number(0) != code.number(3):
        raise code.file.refused(
            "uses an operator that is not allowed",
            found=f"builtin operator {number}",
            expected="one of " + ", ".join(name for name, _, _ in OPERATORS.values()),
        )
    return number


def _operators(graph: _Table, codes: Sequence[int], computed: Sequence[bool]) -> None:
    """Every tensor known before it is read, none written twice, no weight written."""
    file = graph.file
    known = {tensor for tensor, is_computed in enumerate(computed) if not is_computed}

    def write(tensors: Sequence[int]) -> None:
        for tensor in tensors:
            if not 0 <= tensor < len(computed) or tensor in known:
                raise file.refused("writes a tensor that it may not write", found=f"tensor {tensor}")
            known.add(tensor)

    def read(tensors: Sequence[int]) -> None:
        if not known.issuperset(tensors):
            raise file.refused("reads a tensor before it is known")

    write(graph.numbers(1))
    for operator in graph.many(3):
        if not 0 <= operator.number(0) < len(codes):
            raise file.broken("an operator that is not listed")
        name, inputs, kind = OPERATORS[codes[operator.number(0)]]
        if len(operator.span(1)) != inputs or len(operator.span(2)) != 1:
            raise file.refused(f"has a {name} with other inputs or outputs than it can have")
        read(operator.numbers(1))
        write(operator.numbers(2))
        if operator.number(3) != kind or (4 in operator.places) != bool(kind):
            raise file.refused(f"has a {name} with settings of another operator")
        options = operator.one(4, f"options {kind}")
        if options is not None and any(options.number(slot) < 1 for slot in POSITIVE.get(kind, ())):
            raise file.refused(f"has a {name} that cannot be computed", expected="strides of at least 1")
    read(graph.numbers(2))
