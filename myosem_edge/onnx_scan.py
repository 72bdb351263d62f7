"""Refuse ONNX graphs that reach outside themselves, before any runtime opens them.

A graph can name files to read its weights from (external data) and operators of other people's libraries (foreign
domains). This walks the protobuf wire format (https://protobuf.dev/programming-guides/encoding/) along the messages of
onnx.proto3 and refuses both. What the tables below do not name is refused too: a field this file does not know could be
one a runtime acts on.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from myosem_edge.errors import BundleError

MAX_DEPTH = 16  # graphs inside If and Loop nest; ours never do
MAX_FIELDS = 200_000  # our students have a few thousand
MAX_FIELD_NUMBER = 1000
DOMAINS = (b"", b"ai.onnx")  # two spellings of the standard operators

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


class Rule(Enum):
    """What to do with a field that is not a message to walk into."""

    SKIP = "skip"
    DOMAIN = "domain"
    ZERO = "zero"  # only the default is allowed
    EXTERNAL = "external"


SKIP, DOMAIN, ZERO, EXTERNAL = Rule.SKIP, Rule.DOMAIN, Rule.ZERO, Rule.EXTERNAL

# Message -> field number -> rule, or the message inside. Numbers are those of onnx.proto3 (IR version 13).
# Left out on purpose, so refused: local functions, training information, tensor segments, multi-device configurations.
MESSAGES: dict[str, dict[int, Rule | str]] = {
    "model": {1: SKIP, 2: SKIP, 3: SKIP, 4: SKIP, 5: SKIP, 6: SKIP, 7: "graph", 8: "opset", 14: SKIP},
    "opset": {1: DOMAIN, 2: SKIP},
    "graph": {
        1: "node", 2: SKIP, 5: "tensor", 10: SKIP, 11: SKIP, 12: SKIP, 13: SKIP, 14: SKIP, 15: "sparse", 16: SKIP,
    },
    "node": {1: SKIP, 2: SKIP, 3: SKIP, 4: SKIP, 5: "attribute", 6: SKIP, 7: DOMAIN, 8: SKIP, 9: SKIP},
    "attribute": {
        1: SKIP, 2: SKIP, 3: SKIP, 4: SKIP, 5: "tensor", 6: "graph", 7: SKIP, 8: SKIP, 9: SKIP, 10: "tensor",
        11: "graph", 13: SKIP, 14: SKIP, 15: SKIP, 20: SKIP, 21: SKIP, 22: "sparse", 23: "sparse",
    },
    "tensor": {
        1: SKIP, 2: SKIP, 4: SKIP, 5: SKIP, 6: SKIP, 7: SKIP, 8: SKIP, 9: SKIP, 10: SKIP, 11: SKIP, 12: SKIP,
        13: EXTERNAL, 14: ZERO, 16: SKIP,
    },
    "sparse": {1: "tensor", 2: "tensor", 3: SKIP},
}  # fmt: skip


def scan_onnx(data: bytes, where: object) -> None:
    """Read `data` as one ModelProto.

    Raises:
        BundleError: not a model, external data, a foreign domain, or a field that this project does not know.
    """
    seen = {"opset": 0, "graph": 0}
    view = memoryview(data)
    todo: list[tuple[str, int, int, int]] = [("model", 0, len(view), 0)]
    fields = 0
    while todo:
        message, start, end, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise BundleError("the graph nests too deep", where=where, expected=f"at most {MAX_DEPTH} levels")
        for number, wire, low, high in _fields(view, start, end, where):
            fields += 1
            if fields > MAX_FIELDS:
                raise BundleError("the graph has too many parts", where=where, expected=f"at most {MAX_FIELDS}")
            rule = MESSAGES[message].get(number)
            if rule is None:
                raise BundleError(
                    f"the graph has a part that is not allowed: field {number} of a {message}",
                    where=where,
                    expected="plain nodes, weights inside the file, no local functions",
                )
            if isinstance(rule, str):
                if wire != LENGTH:
                    raise _broken(where, f"a {rule} that is a number")
                if rule in seen:
                    seen[rule] += 1
                todo.append((rule, low, high, depth + 1))
            else:
                _apply(rule, wire, view[low:high], where)
    for part, count in seen.items():
        if not count:
            raise BundleError(f"is not an ONNX model: it has no {part}", where=where)


def _apply(rule: Rule, wire: int, value: memoryview, where: object) -> None:
    if rule is EXTERNAL or (rule is ZERO and (wire != VARINT or any(byte & 0x7F for byte in value))):
        raise BundleError("the graph reads its weights from another file", where=where, expected="every weight inside")
    if rule is DOMAIN and (wire != LENGTH or bytes(value) not in DOMAINS):
        raise BundleError(
            "the graph uses operators of another library",
            where=where,
            found=f"domain {bytes(value[:80]).decode('ascii', 'backslashreplace')!a}",
            expected="standard ONNX operators alone",
        )


def _fields(view: memoryview, start: int, end: int, where: object) -> Iterator[tuple[int, int, int, int]]:
    """Field number, wire type and the span of the value, for every field of the message in `view[start:end]`."""
    cursor = start
    while cursor < end:
        tag, cursor = _varint(view, cursor, end, where)
        number, wire = tag >> 3, tag & 7
        if not 0 < number <= MAX_FIELD_NUMBER:
            raise _broken(where, f"field number {number}")
        low = cursor
        if wire == VARINT:
            _, cursor = _varint(view, cursor, end, where)
        elif wire == LENGTH:
            size, low = _varint(view, cursor, end, where)
            cursor = low + size
        elif wire in (FIXED64, FIXED32):
            cursor += 8 if wire == FIXED64 else 4
        else:
            raise _broken(where, f"wire type {wire}")
        if cursor > end:
            raise _broken(where, "a value that ends outside its message")
        yield number, wire, low, cursor


def _varint(view: memoryview, cursor: int, end: int, where: object) -> tuple[int, int]:
    value = 0
    for place in range(10):  # 64 bits in groups of seven
        if cursor >= end:
            break
        byte = view[cursor]
        cursor += 1
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, cursor
    raise _broken(where, "a number that does not end")


def _broken(where: object, found: str) -> BundleError:
    return BundleError("is not an ONNX model", where=where, found=found, todo="Export the encoder again")
