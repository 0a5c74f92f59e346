"""Facts of nodes, against ONNX's own shapes and schemas."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.ir.infer import infer_shapes
from graphopt.support.facts import broadcasting, facts
from graphopt.support.predicate import Fact
from graphopt.support.schemas import operator


def of(body: str, signature: str = "(float[1,4,8,8] x) => (float y)", opset: int = 17) -> dict[str, Fact]:
    """Facts of the node that makes y."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> g {signature} {{ {body} }}')
    del proto.graph.output[0].type.tensor_type.shape.dim[:]
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    model = ir.from_proto(proto)
    infer_shapes(model)
    graph = model.graph
    node = next(node for node in graph if any(value.name in ("y", "f") for value in node.outputs))
    schema = operator("", node.op_type, opset)
    assert schema is not None
    return facts(node, schema)


def test_unset_attributes_have_the_schemas_default() -> None:
    known = of("y = AveragePool <kernel_shape = [2, 2]> (x)")
    assert known["attr.ceil_mode"] == 0
    assert known["attr.auto_pad"] == "NOTSET"
    assert known["attr.pads"] == "zero"
    assert known["attr.strides"] == "1"


def test_what_a_version_lacks_is_no_fact() -> None:
    assert "attr.dilations" in of("y = AveragePool <kernel_shape = [2, 2]> (x)", opset=19)
    assert "attr.dilations" not in of("y = AveragePool <kernel_shape = [2, 2]> (x)", opset=17)


@pytest.mark.parametrize(
    ("attributes", "name", "value"),
    [
        ("kernel_shape = [3, 3], pads = [1, 1, 1, 1]", "attr.pads", "symmetric"),
        ("kernel_shape = [3, 3], pads = [0, 0, 1, 1]", "attr.pads", "asymmetric"),
        ("kernel_shape = [3, 3], strides = [2, 2]", "attr.strides", "equal"),
        ("kernel_shape = [3, 3], strides = [2, 1]", "attr.strides", "unequal"),
    ],
)
def test_open_attributes_are_told_by_class(attributes: str, name: str, value: str) -> None:
    assert of(f"y = MaxPool <{attributes}> (x)")[name] == value


@pytest.mark.parametrize(
    ("axis", "place"), [(0, "first"), (1, "channel"), (2, "inner"), (3, "last"), (-1, "last"), (-4, "first")]
)
def test_an_axis_is_told_by_its_place(axis: int, place: str) -> None:
    assert of(f"y = Softmax <axis = {axis}> (x)")["attr.axis"] == place


@pytest.mark.parametrize(("group", "words"), [(1, "1"), (2, "grouped"), (4, "depthwise")])
def test_a_group_is_told_by_its_kind(group: int, words: str) -> None:
    signature = f"(float[1,4,8,8] x, float[4,{4 // group},3,3] w) => (float y)"
    assert of(f"y = Conv <group = {group}> (x, w)", signature)["attr.group"] == words


def test_constness_and_presence_of_inputs() -> None:
    known = of("a = Constant <value = float {0.5}> () y = Clip(x, , a)")
    assert (known["input.0.constant"], known["input.2.constant"]) == (False, True)
    assert (known["input.1.present"], known["input.2.present"]) == (False, True)
    assert "input.1.constant" not in known


def test_axes_are_the_same_fact_as_an_attribute_and_as_an_input() -> None:
    old = of("y = ReduceMean <axes = [2, 3]> (x)")
    new = of("a = Constant <value_ints = [-1, -2]> () y = ReduceSum(x, a)")
    assert old["axes"] == "spatial"
    assert new["axes"] in ("spatial", "unknown")


def test_unknown_is_said_and_symbolic_is_dynamic() -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,4] x) => (float[N,4] y) { a = Relu(x) y = Relu(a) }'
    )
    nodes = list(ir.from_proto(proto).graph)
    schema = operator("", "Relu", 17)
    assert schema is not None
    assert facts(nodes[1], schema)["input.0.rank"] == "unknown"
    assert facts(nodes[1], schema)["shapes"] == "unknown"
    assert facts(nodes[0], schema)["input.0.rank"] == 2
    assert of("y = Relu(x)", "(float[N,4] x) => (float y)")["shapes"] == "dynamic batch"


def test_the_quantized_surroundings_of_a_node() -> None:
    body = """q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
        v = DequantizeLinear <axis = 0> (w, t, p) f = Conv(d, v) g = QuantizeLinear(f, s, z)
        y = DequantizeLinear(g, s, z)"""
    signature = """(float[1,4,8,8] x) => (float y) <float s = {0.1}, uint8 z = {3},
        int8[2,4,1,1] w = {1, 2, 3, 4, 5, 6, 7, 8}, float[2] t = {0.1, 0.2}, int8[2] p = {0, 0}>"""
    known = of(body, signature)
    assert (known["qdq.activation"], known["qdq.weight"], known["qdq.per_channel"]) == ("uint8", "int8", True)


def test_the_rows_of_a_table_are_moved_and_are_no_weights() -> None:
    body = "v = DequantizeLinear(w, t, p) y = Gather(v, i)"
    signature = "(int64[1] i) => (float y) <int8[2,2] w = {1, 2, 3, 4}, float t = {0.1}, int8 p = {0}>"
    assert of(body, signature)["qdq.weight"] == "none"


shapes = st.lists(st.sampled_from([1, 2, 5]), max_size=4).map(tuple)


@given(shapes, shapes)
def test_broadcasting_agrees_with_numpy(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    try:
        target = np.broadcast_shapes(a, b)
    except ValueError:
        return
    kind = broadcasting([a, b])
    assert kind == broadcasting([b, a])
    assert (kind == "same") == (a == b) or np.prod(a) == np.prod(b) == 1 or kind == "same"
    one_sided = max(np.prod(a), np.prod(b)) == np.prod(target)
    assert (kind == "mutual") == (not one_sided)


@pytest.mark.parametrize(
    ("a", "b", "kind"),
    [
        ((1, 4, 6, 6), (), "scalar"),
        ((1, 4, 6, 6), (1,), "scalar"),
        ((1, 4, 6, 6), (1, 4, 1, 1), "channel"),
        ((1, 4, 6, 6), (4, 1, 1), "channel"),
        ((1, 4, 6, 6), (6, 6), "trailing"),
        ((1, 4, 6, 6), (1, 4, 6, 1), "one-sided"),
        ((4, 1), (1, 6), "mutual"),
        (("N", 4), ("N", 4), "same"),
    ],
)
def test_forms_of_broadcasting(a: tuple[int | str, ...], b: tuple[int | str, ...], kind: str) -> None:
    assert broadcasting([a, b]) == kind
