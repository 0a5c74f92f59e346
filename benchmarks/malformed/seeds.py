"""Valid models, small and of every kind that a file can hold: what the malformed ones are made from."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NETWORK = """
    <ir_version: 8, opset_import: ["" : 17]>
    network (float[batch,2,8,8] x) => (float[batch,?] y)
    <float[2,2,1,1] w = {1.0, 2.0, 3.0, 4.0}, float[2] s = {1.0, 2.0}, float[2] b = {0.5, -0.5},
     float[2] m = {0.1, 0.2}, float[2] v = {1.0, 4.0}, int64[2] to = {0, -1}> {
        c = Conv <kernel_shape = [1, 1], pads = [0, 0, 0, 0]> (x, w)
        n = BatchNormalization <epsilon = 0.001> (c, s, b, m, v)
        r = Relu(n)
        p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)
        y = Reshape(p, to)
    }"""
SHAPES = """
    <ir_version: 8, opset_import: ["" : 17]>
    shapes (float[n,4] x) => (float[m,4] y)
    <int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] four = {4}, float three = {3.0}> {
        s = Shape(x)
        n = Slice(s, zero, one)
        m = Mul(n, two)
        to = Concat <axis = 0> (m, four)
        t = Tile(x, to_2)
        to_2 = Concat <axis = 0> (two, one)
        z = ConstantOfShape <value = float[1] {1.0}> (to)
        e = Mul(z, three)
        a = Add(t, e)
        y = Pad <mode = "constant"> (a, pads)
        pads = Constant <value = int64[4] {0, 0, 0, 0}> ()
    }"""
BRANCHES = """
    <ir_version: 8, opset_import: ["" : 17]>
    branches (float[4] x, bool c) => (float[4] y, float[k,4] ys)
    <int64 n = {3}, bool yes = {1}> {
        a = If (c) <
            then_branch = yes_ () => (float[4] p) { p = Relu(x) },
            else_branch = no_ () => (float[4] q) { q = Neg(x) }
        >
        y, ys = Loop (n, yes, a) <
            body = step (int64 i, bool on, float[4] h) => (bool go, float[4] h2, float[4] out) {
                go = Identity(on)
                h2 = Add(h, x)
                out = Identity(h2)
            }
        >
    }"""
FUNCTIONS = """
    <ir_version: 9, opset_import: ["" : 18, "own" : 1]>
    functions (float[4] x) => (float[4] y) {
        a = own.twice <by = 2.0> (x)
        y = own.outer (a)
    }
    <opset_import: ["" : 18], domain: "own">
    twice <by> (x) => (y) { f = Constant <value_float: float = @by> ()  y = Mul(x, f) }
    <opset_import: ["" : 18, "own" : 1], domain: "own">
    outer (x) => (y) { a = own.twice <by = 3.0> (x)  y = Sigmoid(a) }"""


def models() -> dict[str, onnx.ModelProto]:
    """The models by name."""
    texts = {"network": NETWORK, "shapes": SHAPES, "branches": BRANCHES, "functions": FUNCTIONS}
    return {
        **{name: onnx.parser.parse_model(text) for name, text in texts.items()},
        "stored": _stored(), "quantized": _quantized(), "strings": _strings(),
    }  # fmt: skip


def _model(nodes: list[onnx.NodeProto], inputs: str, output: str, weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "seed", [helper.make_tensor_value_info(inputs, TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def _stored() -> onnx.ModelProto:
    """A weight of each way to store one: bytes, numbers, packed, and in weights.bin, which `files` writes."""
    model = _model(
        [helper.make_node("Add", ["x", "w"], ["a"], name="first", doc_string="of a user"),
         helper.make_node("Cast", ["h"], ["g"], to=1), helper.make_node("Mul", ["a", "g"], ["b"]),
         helper.make_node("Add", ["b", "far"], ["y"])],
        "x", "y", {"w": np.ones(4, np.float32), "h": np.ones(4, np.float16)},
    )  # fmt: skip
    model.graph.initializer.append(helper.make_tensor("packed", TensorProto.INT4, [3], [1, 2, 3]))
    far = model.graph.initializer.add(name="far", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "weights.bin"), ("offset", "16"), ("length", "16")):
        far.external_data.add(key=key, value=value)
    model.metadata_props.add(key="author", value="nobody")
    return model


def _quantized() -> onnx.ModelProto:
    return _model(
        [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
         helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
         helper.make_node("DequantizeLinear", ["w", "ss", "zz"], ["e"], axis=1),
         helper.make_node("MatMul", ["d", "e"], ["y"])],
        "x", "y",
        {"s": np.float32(0.1), "z": np.uint8(128), "w": np.ones((4, 2), np.int8), "ss": np.ones(2, np.float32),
         "zz": np.zeros(2, np.int8)},
    )  # fmt: skip


def _strings() -> onnx.ModelProto:
    return _model(
        [helper.make_node("LabelEncoder", ["t"], ["n"], domain="ai.onnx.ml", keys_strings=["a", "b"],
                          values_floats=[1.0, 2.0]),
         helper.make_node("Add", ["x", "n"], ["y"])],
        "x", "y", {"t": np.array(["a", "b", "a", "b"], object)},
    )  # fmt: skip
