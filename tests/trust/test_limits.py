"""What has no end, or no place in memory, is refused or left out in words, and what is only large is not."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from graphopt.errors import ModelError, UserError
from graphopt.ir import infer_shapes, load
from graphopt.verify import generate, judge
from graphopt.verify.endless import endless_loops
from graphopt.verify.execute import Runner, TooMuch

HEAD = '<ir_version: 9, opset_import: ["" : 18, "own" : 1]>'


def model(body: str, signature: str = "(float[1] x) => (float[1] y)") -> ir.Model:
    return load(onnx.parser.parse_model(f"{HEAD} g {signature} {body}"))


def _calling(count: int, calls: int, last: str) -> str:
    """Functions of which each calls the next so many times; the last is what `last` says."""
    bodies = [" ".join(f"v{i + 1} = own.f{n + 1} (v{i})" for i in range(calls)) for n in range(count - 1)]
    functions = "".join(
        f'<opset_import: ["" : 18, "own" : 1], domain: "own"> f{n} (v0) => (v{calls}) {{ {body} }}'
        for n, body in enumerate([*bodies, last])
    )
    return "{ y = own.f0 (x) } " + functions


def test_functions_that_call_each_other_in_a_ring_are_refused() -> None:
    with pytest.raises(ModelError, match=r"call each other in a ring \(f\d → f\d → f\d\)"):
        model(_calling(2, 1, "v1 = own.f0 (v0)"))


def test_functions_that_make_a_billion_nodes_are_refused_and_a_thousand_are_not() -> None:
    relus = "v1 = Relu (v0) v2 = Relu (v1)"
    with pytest.raises(ModelError, match="more than 10,000,000 nodes"):
        model(_calling(30, 2, relus))
    assert len(model(_calling(10, 2, relus)).functions) == 10


def _nested(depth: int) -> ir.Model:
    inner = helper.make_node("Identity", ["x"], ["y"])
    for level in range(depth):
        bodies = [
            helper.make_graph([node], "b", [], [helper.make_tensor_value_info(node.output[0], 1, None)])
            for node in (inner, helper.make_node("Identity", ["x"], [f"e{level}"]))
        ]
        inner = helper.make_node("If", ["c"], [f"o{level}"], then_branch=bodies[0], else_branch=bodies[1])
    infos = [helper.make_tensor_value_info("x", 1, [1]), helper.make_tensor_value_info("c", 9, [])]
    out = helper.make_tensor_value_info(inner.output[0], 1, None)
    graph = helper.make_graph([inner], "g", infos, [out])
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def test_bodies_nested_too_deep_are_refused() -> None:
    assert _nested(30).graph.num_nodes() == 1
    with pytest.raises(ModelError, match="more than 30 deep"):
        _nested(31)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (helper.make_node("Conv", ["x"], ["y"]), "has 1 inputs, of at least 2"),
        (helper.make_node("Relu", ["x", "x"], ["y"]), "has 2 inputs, of at most 1"),
        (helper.make_node("Relu", ["x"], ["y", "z"]), "has 2 outputs, of at most 1"),
        (helper.make_node("Softmax", ["x"], ["y"], axis=1.5), "attribute 'axis' of another type"),
        (helper.make_node("Cast", ["x"], ["y"]), "lacks the attribute 'to'"),
    ],
)
def test_a_node_that_is_not_what_the_standard_says_is_refused(node: onnx.NodeProto, words: str) -> None:
    proto = onnx.parser.parse_model(f"{HEAD} g (float[1] x) => (float[1] y) {{ y = Relu(x) }}")
    proto.graph.node[0].CopyFrom(node)
    with pytest.raises(ModelError, match=words):
        load(proto)


def test_an_attribute_that_the_standard_lacks_and_an_operator_of_others_are_nobodys_business() -> None:
    held = model("{ a = Relu <mine = 3> (x)  y = own.Thing <axis = 1.5> (a) }")
    assert held.graph.num_nodes() == 2


LOOP = """<int64 n = {TURNS}, bool yes = {1}> { y = Loop (n, yes, x) <body = b (int64 i, bool on, float[1] h) =>
    (bool go, float[1] k) { GO  k = Add(h, x) }> }"""


@pytest.mark.parametrize(
    ("turns", "go", "endless"),
    [
        (2**63 - 1, "go = Identity(on)", True), (2**63 - 1, "a = Identity(on) go = Identity(a)", True),
        (5, "go = Identity(on)", False), (2**63 - 1, "s = ReduceSum<keepdims=0>(h) t = Neg(s) go = Less(s, t)", False),
    ],
)  # fmt: skip
def test_a_loop_is_endless_where_the_graph_itself_says_so(turns: int, go: str, endless: bool) -> None:
    held = model(LOOP.replace("TURNS", str(turns)).replace("GO", go))
    assert bool(list(endless_loops(held))) == endless
    if endless:
        verdict = judge(held, held, [{"x": np.ones(1, np.float32)}], "exact")
        assert (verdict.status, "the loop never ends" in verdict.reason) == ("skipped", True)


def test_a_sample_that_takes_too_long_is_given_up() -> None:
    body = "s = ReduceSum<keepdims=0>(h) z = Sub(s, s) go = Equal(z, z)"  # always true, but not to be seen
    runner = Runner(model(LOOP.replace("TURNS", str(2**63 - 1)).replace("GO", body)), seconds=0.5)
    with pytest.raises(TooMuch, match="no answer in"):
        runner.run({"x": np.zeros(1, np.float32)})


def test_an_input_of_a_terabyte_is_not_generated() -> None:
    held = model("{ y = Relu(x) }", "(float[1000000,262144] x) => (float[a,b] y)")
    with pytest.raises(UserError, match=r"'x' of shape \[1000000, 262144\] is too large"):
        generate(held)


def test_the_content_of_a_list_of_a_billion_numbers_is_not_asked_for() -> None:
    limits = "<int64 a = {0}, int64 b = {1000000000}, int64 c = {1}>"
    held = model(f"{limits} {{ r = Range(a, b, c)  y = Cast <to = 1> (r) }}", "(float[1] x) => (float[k] y)")
    infer_shapes(held)  # would take a hundred gigabytes
    assert list(held.graph.node(0).outputs[0].shape or ()) == [10**9]


def test_texts_are_compared_like_any_other_constants() -> None:
    from graphopt.diff.digest import digests

    def one(text: str) -> list[bytes]:
        node = helper.make_node("Constant", [], ["t"], value=helper.make_tensor("t", 8, [1], [text]))
        proto = onnx.parser.parse_model(f"{HEAD} g (string[1] x) => (bool[1] y) {{ t = Identity(x) y = Equal(x, t) }}")
        proto.graph.node[0].CopyFrom(node)
        return list(digests(load(proto)).values())

    assert one("a") == one("a")
    assert one("a") != one("b")
