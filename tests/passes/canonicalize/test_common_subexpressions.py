"""What is computed twice is computed once, and nothing that only looks alike is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from graphopt.ir import load, to_proto
from graphopt.verify import generate, run

Apply = Callable[..., ir.Model]
CSE = "eliminate-common-subexpressions"
HEADER = '<ir_version: 9, opset_import: ["": 17, "my": 1]>\n'


def ops(model: ir.Model) -> list[str]:
    """Operators of all graphs, without Constant."""
    return [n.op_type for n in ir.traversal.RecursiveGraphIterator(model.graph) if n.op_type != "Constant"]


def check(before: str | onnx.ModelProto, after: ir.Model) -> None:
    """The model is valid and computes the same bits, NaN and signed zeros included."""
    onnx.checker.check_model(to_proto(after), full_check=True)
    model = load(onnx.parser.parse_model(before) if isinstance(before, str) else before)
    samples = generate(model, samples=2)
    for expected, actual in zip(run(model, samples), run(after, samples), strict=True):
        assert list(expected) == list(actual)
        for name, array in expected.items():
            assert np.asarray(array).tobytes() == np.asarray(actual[name]).tobytes()


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("a = Add (x, y) b = Add (y, x)", 1),
        ("a = Sub (x, y) b = Sub (y, x)", 2),
        ("a = Max (x, y) b = Max (y, x)", 2),  # of two zeros the first may win
        ("a = Add (x, one) b = Add (x, uno)", 1),
        ("a = Add (x, zero) b = Add (x, minus)", 2),
        ("a = Add (x, one) b = Add (x, wide)", 2),
        ("a = Softmax (x) b = Softmax <axis = -1> (x)", 1),
        ("a = Softmax (x) b = Softmax <axis = 0> (x)", 2),
        ("a = LeakyRelu <alpha = 0.0> (x) b = LeakyRelu <alpha = -0.0> (x)", 2),
        ("a = LeakyRelu (x) b = LeakyRelu <alpha = 0.01> (x)", 1),
        ("a = Clip (x, zero) b = Clip (x, , zero)", 2),
        ("a = Clip (x, zero) b = Clip (x, zero, )", 1),
        ("a = RandomNormalLike (x) b = RandomNormalLike (x)", 2),
        ("a = RandomUniform <shape = [2, 2], seed = 1.0> () b = RandomUniform <shape = [2, 2], seed = 1.0> ()", 2),
        ("a = my.Sqrt (x) b = my.Sqrt (x)", 2),
    ],
)
def test_two_nodes_are_one_where_everything_about_them_is_the_same(apply: Apply, line: str, left: int) -> None:
    source = HEADER + f"""
        g (float[2, 2] x, float[2, 2] y) => (z)
            <float one = {{1}}, float uno = {{1}}, float[1] wide = {{1}}, float zero = {{0}}, float minus = {{-0}}> {{
            {line} z = Concat <axis = 0> (a, b)
        }}"""  # fmt: skip
    assert len(ops(apply(CSE, source))) == left + 1


def test_two_nans_are_the_same_only_with_the_same_bits(apply: Apply) -> None:
    def model(a: int, b: int) -> onnx.ModelProto:
        bits = [np.array(n, np.uint32).view(np.float32) for n in (a, b)]
        nodes = [helper.make_node("Add", ["x", "n"], ["p"]), helper.make_node("Add", ["x", "m"], ["q"]),
                 helper.make_node("Mul", ["p", "q"], ["y"])]  # fmt: skip
        info = [helper.make_tensor_value_info(name, 1, [2]) for name in "xy"]
        weights = [numpy_helper.from_array(array, name) for array, name in zip(bits, "nm", strict=True)]
        graph = helper.make_graph(nodes, "g", info[:1], info[1:], weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)

    assert ops(apply(CSE, model(0x7FC00000, 0x7FC00000))) == ["Add", "Mul"]
    assert ops(apply(CSE, model(0x7FC00000, 0x7FC00001))) == ["Add", "Add", "Mul"]


def test_outputs_that_are_the_same_keep_their_names(apply: Apply) -> None:
    source = HEADER + "g (float[2] x) => (float[2] a, float[2] b, float[2] c) { a = Exp (x) b = Exp (x) c = Neg (b) }"
    after = apply(CSE, source)
    assert [v.name for v in after.graph.outputs] == ["a", "b", "c"]
    assert ops(after) == ["Exp", "Identity", "Neg"]
    assert after.graph[2].inputs[0].name == "a"
    check(source, after)


def test_the_later_of_two_may_be_the_output(apply: Apply) -> None:
    source = HEADER + "g (float[2] x) => (float[2] c, float[2] b) { a = Exp (x) c = Neg (a) b = Exp (x) }"
    after = apply(CSE, source)
    assert ops(after) == ["Exp", "Neg"]
    assert [v.name for v in after.graph.outputs] == ["c", "b"]
    check(source, after)


def test_outputs_of_a_node_with_several_are_taken_together(apply: Apply) -> None:
    source = HEADER + """
        g (float[2, 4] x) => (float[2, 2] y, float[2, 2] d) <int64[2] s = {2, 2}> {
            a, b = Split <axis = 1> (x, s)  c, d = Split <axis = 1> (x, s)  y = Add (b, c)
        }"""  # fmt: skip
    after = apply(CSE, source)
    assert [v.name for v in after.graph.outputs] == ["y", "d"]
    check(source, after)


def test_a_body_reads_what_was_computed_before_it_and_never_what_its_sibling_computes(apply: Apply) -> None:
    source = HEADER + """
        g (float[2] x, bool p) => (float[2] y, float[2] late) {
            s = Sqrt (x)
            y = If (p) <
                then_branch = t () => (b) { t1 = Sqrt (x) e1 = Exp (x) b = Add (t1, e1) },
                else_branch = e () => (c) { e2 = Exp (x) c = Sub (e2, s) }
            >
            late = Exp (x)
        }"""  # fmt: skip
    after = apply(CSE, source)
    assert ops(after) == ["Sqrt", "If", "Exp", "Add", "Exp", "Sub", "Exp"]
    check(source, after)


def test_a_loop_body_reads_what_does_not_change_from_around_it(apply: Apply) -> None:
    source = HEADER + """
        g (int64 n, bool p, float[2] x) => (float[2] y, float[2] s) {
            s = Sqrt (x)
            y = Loop (n, p, x) <
                body = b (int64 i, bool q, float[2] v) => (bool r, float[2] w) {
                    r = Identity (q) t = Sqrt (x) u = Sqrt (v) k = Add (t, u) w = Mul (k, k)
                }
            >
        }"""  # fmt: skip
    after = apply(CSE, source)
    assert ops(after).count("Sqrt") == 2
    onnx.checker.check_model(to_proto(after), full_check=True)


def test_sizes_that_are_the_same_are_computed_once_whatever_tensor_they_are_taken_of(apply: Apply) -> None:
    source = HEADER + """
        g (float[N, 8] x) => (int64[1] a, int64[1] c, int64[1] d) <int64[1] zero = {0}, int64[1] one = {1}> {
            y = Relu (x)  s = Shape (x)  t = Shape (y)  n = Gather (s, zero)  m = Gather (t, zero)  e = Add (m, one)
            a = Neg (n)  b = Mul (m, one)  c = Neg (b)  d = Neg (e)
        }"""  # fmt: skip
    after = apply(CSE, source)
    assert ops(after).count("Shape") == 1
    assert ops(after).count("Gather") == 1
    check(source, after)


def test_an_initializer_with_a_default_is_not_its_default(apply: Apply) -> None:
    source = HEADER + """
        g (float[2] x, float w) => (float[2] y) <float w = {1}, float one = {1}> {
            a = Add (x, w)  b = Add (x, one)  y = Mul (a, b)
        }"""  # fmt: skip
    assert ops(apply(CSE, source)) == ["Add", "Add", "Mul"]


def test_a_function_merges_what_is_its_own(apply: Apply) -> None:
    source = HEADER + """
        g (float[2] x) => (float[2] y) { y = my.f <a = 0.5> (x) }
        <domain: "my", opset_import: ["": 17]>
        f <a> (v) => (w) { p = LeakyRelu <alpha: float = @a> (v) q = LeakyRelu <alpha: float = @a> (v) w = Add (p, q) }
        """  # fmt: skip
    model = apply(CSE, source)
    (function,) = model.functions.values()
    assert [n.op_type for n in function] == ["LeakyRelu", "Add"]


def test_a_thousand_layers_twice_are_one_thousand(apply: Apply) -> None:
    nodes = []
    for name in "ab":
        nodes += [helper.make_node("Exp", ["x" if i == 0 else f"{name}{i}"], [f"{name}{i + 1}"]) for i in range(1000)]
    nodes.append(helper.make_node("Add", ["a1000", "b1000"], ["y"]))
    info = [helper.make_tensor_value_info(name, 1, [2]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    assert len(ops(apply(CSE, model))) == 1001
