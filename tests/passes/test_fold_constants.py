"""What depends on constants alone is computed as the standard says, within the budget, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.ir import constant, load, to_bytes, to_proto

Apply = Callable[..., ir.Model]
HEADER = '<ir_version: 9, opset_import: ["": 17]>\n'


def ops(model: ir.Model) -> list[str]:
    """Operators of all graphs, without Constant."""
    owners = (model.graph, *(f.graph for f in model.functions.values()))
    return [n.op_type for o in owners for n in ir.traversal.RecursiveGraphIterator(o) if n.op_type != "Constant"]


def result(model: ir.Model, index: int = 0) -> np.ndarray:
    """The content of an output that has become a constant."""
    tensor = constant(model.graph.outputs[index])
    assert tensor is not None
    return tensor.numpy()


def chain(length: int) -> onnx.ModelProto:
    nodes = [helper.make_node("Add", [f"v{i}", "one"], [f"v{i + 1}"]) for i in range(length)]
    nodes.append(helper.make_node("Add", ["x", f"v{length}"], ["y"]))
    info = [helper.make_tensor_value_info(name, 1, [2]) for name in "xy"]
    weights = [numpy_helper.from_array(np.full(2, n, np.float32), name) for name, n in (("one", 1), ("v0", 0))]
    graph = helper.make_graph(nodes, "chain", info[:1], info[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_a_region_becomes_one_constant(apply: Apply) -> None:
    model = apply("fold-constants", HEADER + """
        g (float[2] x) => (float[2] y) <float[2] a = {1, 2}, float[2] b = {3, 4}> {
            c = Add (a, b)  d = Mul (c, b)  y = Add (x, d)
        }""")  # fmt: skip
    assert ops(model) == ["Add"]
    assert model.graph[0].inputs[1].const_value.numpy().tolist() == [12, 24]
    assert "d" in model.graph.initializers


def test_200_megabytes_out_of_three_numbers_stay_three_numbers(apply: Apply) -> None:
    model = apply("fold-constants", HEADER + """
        g (float[N] x) => (y) <int64[3] shape = {500, 1000, 100}> {
            big = ConstantOfShape (shape)
            y = Add (big, x)
        }""")  # fmt: skip
    assert ops(model) == ["ConstantOfShape", "Add"]
    assert len(to_bytes(model)) < 1000


def test_what_is_large_only_in_between_is_folded(apply: Apply) -> None:
    model = apply("fold-constants", HEADER + """
        g (float[N] x) => (y) <int64[3] shape = {50, 100, 100}> {
            big = ConstantOfShape (shape)
            sum = ReduceSum <keepdims = 0> (big)
            y = Add (sum, x)
        }""")  # fmt: skip
    assert ops(model) == ["Add"]


def test_a_file_without_weights_does_not_grow(apply: Apply) -> None:
    # As the light models of the onnx package: weights that a ConstantOfShape makes.
    layers = range(8)
    text = "".join(f"w{i} = ConstantOfShape (s)\n v{i + 1} = MatMul (v{i}, w{i})\n" for i in layers)
    source = HEADER + f"g (float[4, 1000] v0) => (y) <int64[2] s = {{1000, 1000}}> {{ {text} y = Relu (v8) }}"
    before = len(onnx.parser.parse_model(source).SerializeToString())
    assert len(to_bytes(apply("fold-constants", source))) < before + 1000


RANDOM = [
    "r = RandomNormal <shape = [2]> ()",
    "r = RandomUniform <shape = [2]> ()",
    "r = RandomUniformLike (a)",
    "r = RandomNormalLike (a)",
    "r = Bernoulli (h)",
    "r, m = Dropout (a, h0, t)",
]


@pytest.mark.parametrize("line", RANDOM)
@pytest.mark.parametrize("name", ["fold-constants", "canonicalize"])
def test_random_operators_stay(apply: Apply, line: str, name: str) -> None:
    source = (
        HEADER
        + f"""
        g (float[2] x) => (float[2] y)
            <float[2] a = {{1, 2}}, float[2] h = {{0.5, 0.5}}, float h0 = {{0.5}}, bool t = {{1}}> {{
            {line}  s = Neg (r)  y = Add (x, s)
        }}"""
    )
    assert line.split(" = ")[1].split()[0] in ops(apply(name, source))


def test_two_random_nodes_are_not_made_one(apply: Apply) -> None:
    source = (
        HEADER
        + """
        g (float[2] x) => (y) { a = RandomNormal <shape = [2]> () b = RandomNormal <shape = [2]> () y = Sub (a, b) }"""
    )
    assert ops(apply("canonicalize", source)) == ["RandomNormal", "RandomNormal", "Sub"]


def constant_graph(op: str, arrays: dict[str, np.ndarray], out: int, **attributes: object) -> onnx.ModelProto:
    weights = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(
        [helper.make_node(op, list(arrays), ["y"], name="it", **attributes)], "g", [],
        [helper.make_tensor_value_info("y", out, None)], weights,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_half_precision_overflows_to_infinity(apply: Apply) -> None:
    big, two = np.array([60000, -60000], np.float16), np.array(2, np.float16)
    model = apply("fold-constants", constant_graph("Mul", {"a": big, "b": two}, TensorProto.FLOAT16))
    assert result(model).tolist() == [np.inf, -np.inf]
    assert result(model).dtype == np.float16


def test_half_precision_rounds_between_nodes(apply: Apply) -> None:
    source = (
        HEADER
        + """
        g () => (float16[1] y) <float[1] a = {60000}, float[1] b = {2}> {
            ah = Cast <to = 10> (a)  bh = Cast <to = 10> (b)  c = Mul (ah, bh)  y = Div (c, bh)
        }"""
    )
    assert result(apply("fold-constants", source)).tolist() == [np.inf]


def test_the_sign_of_zero_and_nan_are_kept(apply: Apply) -> None:
    values = np.array([0.0, np.nan, np.inf, 5.0], np.float32)
    found = result(apply("fold-constants", constant_graph("Neg", {"a": values}, TensorProto.FLOAT)))
    assert np.signbit(found[0])
    assert np.isnan(found[1])
    assert found[2:].tolist() == [-np.inf, -5]


def test_integers_beyond_the_doubles_are_exact(apply: Apply) -> None:
    a, b = np.array([2**53 + 1, 2**62 + 1]), np.array([2, 1])
    found = result(apply("fold-constants", constant_graph("Add", {"a": a, "b": b}, TensorProto.INT64)))
    assert found.tolist() == [2**53 + 3, 2**62 + 2]


@pytest.mark.parametrize(("op", "a", "b"), [("Mul", 2**62, 6), ("Add", 2**63 - 1, 1)])
def test_integers_that_overflow_wrap(apply: Apply, op: str, a: int, b: int) -> None:
    arrays = {"a": np.array([a]), "b": np.array([b])}
    with np.errstate(over="ignore"):
        expected = arrays["a"] * arrays["b"] if op == "Mul" else arrays["a"] + arrays["b"]
    assert result(apply("fold-constants", constant_graph(op, arrays, TensorProto.INT64))).tolist() == expected.tolist()


def test_strings_crash_nothing(apply: Apply) -> None:
    words = np.array(["a", "bc"], object)
    model = apply("canonicalize", constant_graph("Identity", {"a": words}, TensorProto.STRING))
    assert load(to_bytes(model)).graph.outputs[0].name == "y"
    text = (
        HEADER
        + """
        g (int64 i) => (string[1] y) {
            w = Constant <value_strings = ["a", "bc"]> ()  z = Identity (w)  y = Gather (z, i)
        }"""
    )
    assert ops(apply("canonicalize", text)) == ["Gather"]


def test_an_output_that_is_folded_keeps_its_name_and_type(apply: Apply) -> None:
    source = HEADER + "g (float[2] x) => (float[2] z, float[2] y) <float[2] a = {1, 2}> { y = Neg (a) z = Add (x, y) }"
    model = apply("fold-constants", source)
    assert [v.name for v in model.graph.outputs] == ["z", "y"]
    assert result(model, 1).tolist() == [-1, -2]
    onnx.checker.check_model(to_proto(model), full_check=True)


def test_a_body_folds_what_it_computes_from_constants(apply: Apply) -> None:
    source = (
        HEADER
        + """
        g (float[2] x, bool p) => (float[2] y) <float[2] a = {1, 2}> {
            y = If (p) <
                then_branch = t () => (float[2] b) { n = Neg (a) m = Neg (n) b = Add (x, m) },
                else_branch = e () => (float[2] c) { c = Exp (a) }
            >
        }"""
    )
    model = apply("fold-constants", source)
    assert ops(model) == ["If", "Add"]
    onnx.checker.check_model(to_proto(model), full_check=True)


def test_a_loop_body_folds_constants_and_nothing_that_it_carries(apply: Apply) -> None:
    source = (
        HEADER
        + """
        g (int64 n, bool p, float[2] x) => (float[2] y) <float[2] a = {1, 2}> {
            y = Loop (n, p, x) <
                body = b (int64 i, bool q, float[2] v) => (bool r, float[2] w) {
                    r = Identity (q)  c = Neg (a)  w = Add (v, c)
                }
            >
        }"""
    )
    assert ops(apply("fold-constants", source)) == ["Loop", "Identity", "Add"]


def test_a_function_folds_into_a_constant_node(apply: Apply) -> None:
    source = (
        '<ir_version: 9, opset_import: ["": 17, "my": 1]>'
        + """
        g (float[2] x) => (float[2] y) { y = my.f (x) }
        <domain: "my", opset_import: ["": 17]>
        f (v) => (w) { a = Constant <value_floats = [1.0, 2.0]> () b = Neg (a) w = Add (v, b) }"""
    )
    model = apply("fold-constants", source)
    assert ops(model) == ["f", "Add"]
    onnx.checker.check_model(to_proto(model))


def test_a_default_that_the_caller_may_override_is_not_a_constant(apply: Apply) -> None:
    source = HEADER + "g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { n = Exp (w) y = Add (x, n) }"
    proto = onnx.parser.parse_model(source)
    assert [i.name for i in proto.graph.input] == ["x", "w"]
    assert ops(apply("canonicalize", proto)) == ["Exp", "Add"]


def test_operators_of_other_domains_are_never_computed(apply: Apply) -> None:
    source = (
        '<ir_version: 9, opset_import: ["": 17, "my": 1]>'
        + """
        g () => (y) <float[2] a = {1, 2}> { b = my.Neg (a) y = Relu (b) }"""
    )
    assert ops(apply("canonicalize", source)) == ["Neg", "Relu"]


def test_a_quantized_weight_stays_quantized(apply: Apply) -> None:
    source = (
        HEADER
        + """
        g (float[2] x) => (float[2] y) <int8[2] q = {1, 2}, float s = {0.5}, int8 z = {0}> {
            w = DequantizeLinear (q, s, z)  y = Mul (x, w)
        }"""
    )
    assert ops(apply("canonicalize", source)) == ["DequantizeLinear", "Mul"]


@pytest.mark.parametrize("name", ["fold-constants", "canonicalize"])
def test_a_chain_of_5000_constant_nodes_folds(apply: Apply, name: str) -> None:
    model = apply(name, chain(5000))
    assert ops(model) == ["Add"]
    assert model.graph[0].inputs[1].const_value.numpy().tolist() == [5000, 5000]


def test_one_missing_kernel_costs_one_node(apply: Apply) -> None:
    source = (
        HEADER
        + """
        g (float[2] x) => (y, z) <uint16[2] a = {1, 2}, float[2] b = {1, 2}> {
            c = BitShift <direction = "LEFT"> (a, a)  d = Neg (b)  y = Add (x, d)  z = Cast <to = 1> (c)
        }"""
    )
    model = apply("fold-constants", source)
    assert "Neg" not in ops(model)
