"""One tiny good ONNX graph and several that reach outside themselves."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

# z = x + w, opset 17: written out, so that the golden bytes do not depend on the library that once made it.
TINY_ONNX = bytes.fromhex(
    "080812001a003a480a0e0a01780a017712017a22034164641201672a110802100122080000803f000080bf4201775a0f0a0178120a0a0808"
    "0112040a020802620f0a017a120a0a08080112040a02080242040a001011"
)


def tiny_graph() -> onnx.ModelProto:
    return onnx.load_from_string(TINY_ONNX)


def external_data() -> bytes:
    model = tiny_graph()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return bytes(model.SerializeToString())


def location_alone() -> bytes:
    model = tiny_graph()
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    return bytes(model.SerializeToString())


def external_in_attribute() -> bytes:
    """External data in a tensor attribute of a node inside a branch."""
    tensor = helper.make_tensor("c", TensorProto.FLOAT, [1], [0.0])
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "elsewhere.bin"
    branch = helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "branch", [], [])
    model = tiny_graph()
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch))
    return bytes(model.SerializeToString())


def foreign_opset() -> bytes:
    model = tiny_graph()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return bytes(model.SerializeToString())


def foreign_node() -> bytes:
    model = tiny_graph()
    model.graph.node[0].domain = "evil.ops"
    return bytes(model.SerializeToString())


def local_function() -> bytes:
    model = tiny_graph()
    function = helper.make_function("mine", "f", ["a"], ["b"], [], [helper.make_opsetid("", 17)])
    model.functions.append(function)
    return bytes(model.SerializeToString())


def nested_graph(levels: int = 12) -> bytes:
    graph = helper.make_graph([], "innermost", [], [])
    for _ in range(levels):
        graph = helper.make_graph([helper.make_node("If", ["x"], ["y"], then_branch=graph)], "g", [], [])
    model = tiny_graph()
    model.graph.CopyFrom(graph)
    return bytes(model.SerializeToString())
