"""Functions of the model are put where they are called, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir

from graphopt.ir import load, to_proto
from graphopt.ir.edit import count_nodes
from graphopt.pipeline import PASSES, Context
from graphopt.verify import run

Same = Callable[..., list[str]]
HEADER = '<ir_version: 9, opset_import: ["": 17, "local": 1]>\n'
X = [{"x": np.array([-1.5, 0.0, 2.0, np.nan], np.float32)}]


def test_nested_functions_with_references_to_attributes(same: Same) -> None:
    source = (
        HEADER
        + """
        g (float[4] x) => (float[4] y) { y = local.outer <slope = 0.5> (x) }
        <domain: "local", opset_import: ["": 17, "local": 1]>
        outer <slope> (a) => (b) { t = local.inner <alpha: float = @slope> (a)  b = local.inner <alpha = 2.0> (t) }
        <domain: "local", opset_import: ["": 17]>
        inner <alpha> (a) => (b) { b = LeakyRelu <alpha: float = @alpha> (a) }"""
    )
    assert same("inline-functions", source, X) == ["LeakyRelu", "LeakyRelu"]


def test_an_attribute_left_out_has_the_default_of_the_function_or_else_of_the_operator(same: Same) -> None:
    source = (
        HEADER
        + """
        g (float[4] x) => (float[4] y, float[4] z) { y = local.own (x)  z = local.none (x) }
        <domain: "local", opset_import: ["": 17]>
        own <alpha: float = 3.0> (a) => (b) { b = LeakyRelu <alpha: float = @alpha> (a) }
        <domain: "local", opset_import: ["": 17]>
        none <alpha> (a) => (b) { b = LeakyRelu <alpha: float = @alpha> (a) }"""
    )
    assert same("inline-functions", source, X) == ["LeakyRelu", "LeakyRelu"]


def test_names_of_the_function_and_of_the_graph_may_clash(same: Same) -> None:
    source = (
        HEADER
        + """
        g (float[4] x) => (float[4] y) { t = Neg (x)  b = local.twice (t)  c = local.twice (b)  y = Add (c, t) }
        <domain: "local", opset_import: ["": 17]>
        twice (x) => (y) { t = Add (x, x)  y = Identity (t) }"""
    )
    assert same("inline-functions", source, X) == ["Neg", "Add", "Identity", "Add", "Identity", "Add"]


def test_a_call_inside_a_branch_and_a_branch_inside_a_function(same: Same) -> None:
    source = (
        HEADER
        + """
        g (float[4] x, bool p) => (float[4] y) {
            y = If (p) <then_branch = t () => (u) { u = local.pick (x, p) }, else_branch = e () => (v) { v = Neg (x) }>
        }
        <domain: "local", opset_import: ["": 17]>
        pick (a, q) => (b) {
            two = Constant <value_float = 2.0> ()
            b = If (q) <then_branch = t () => (u) { u = Mul (a, two) }, else_branch = e () => (v) { v = Abs (a) }>
        }"""
    )
    samples = [{**X[0], "p": np.array(flag)} for flag in (True, False)]
    assert sorted(same("inline-functions", source, samples)) == ["Abs", "If", "If", "Mul", "Neg"]


def test_an_input_left_out_stays_left_out(same: Same) -> None:
    source = (
        HEADER
        + """
        g (float[4] x) => (float[4] y) <float low = {-1}, float high = {1}> { y = local.limit (x, "", high) }
        <domain: "local", opset_import: ["": 17]>
        limit (a, least, most) => (b) { b = Clip (a, least, most) }"""
    )
    assert same("inline-functions", source, X) == ["Clip"]


def test_overloads_are_told_apart(same: Same) -> None:
    proto = onnx.parser.parse_model(
        HEADER.replace("9", "10")
        + """
        g (float[4] x) => (float[4] y) { t = local.f (x)  y = local.f (t) }
        <domain: "local", opset_import: ["": 17]> f (a) => (b) { b = Neg (a) }
        <domain: "local", opset_import: ["": 17]> h (a) => (b) { b = Abs (a) }"""
    )
    proto.functions[1].name = "f"
    proto.functions[0].overload, proto.functions[1].overload = "one", "two"
    proto.graph.node[0].overload, proto.graph.node[1].overload = "one", "two"
    assert ops_of(proto) == ["Neg", "Abs"]


def ops_of(proto: onnx.ModelProto) -> list[str]:
    model = load(proto)
    PASSES.find("inline-functions").load()().run(model, Context())
    assert not model.functions
    return [node.op_type for node in model.graph]


def test_a_function_of_an_older_opset_is_converted(apply: Callable[..., ir.Model]) -> None:
    # onnxruntime reads functions by the model's opset, so only the result can be run.
    source = (
        HEADER
        + """
        g (float[1, 4] x) => (float[4] y) { y = local.flat (x) }
        <domain: "local", opset_import: ["": 11]>
        flat (a) => (b) { s = Squeeze <axes = [0]> (a)  b = Clip (s) }"""
    )
    after = apply("inline-functions", source)
    assert [node.op_type for node in after.graph if node.op_type != "Constant"] == ["Squeeze", "Clip"]
    sample = {"x": np.array([[1, -2, 3, 4]], np.float32)}
    assert run(after, [sample])[0]["y"].tolist() == [1, -2, 3, 4]


def test_a_function_that_cannot_be_converted_is_left(apply: Callable[..., ir.Model]) -> None:
    source = (
        HEADER
        + """
        g (float[2, 4] x) => (y) { y = local.odd (x) }
        <domain: "local", opset_import: ["": 8]>
        odd (a) => (b) {
            b, m, v, s, w = BatchNormalization <spatial = 0> (a, a, a, a, a)
        }"""
    )
    assert [node.op_type for node in apply("inline-functions", source).graph] == ["odd"]


def test_calls_that_double_at_every_level_stop_at_the_limit() -> None:
    levels = 18
    functions = "".join(
        f'<domain: "local", opset_import: ["": 17, "local": 1]> '
        f"f{i} (a) => (b) {{ t = local.f{i + 1} (a)  b = local.f{i + 1} (t) }}\n"
        for i in range(levels)
    )
    source = HEADER + "g (float[4] x) => (float[4] y) { y = local.f0 (x) }\n" + functions
    source += f'<domain: "local", opset_import: ["": 17]> f{levels} (a) => (b) {{ b = Neg (a) }}'
    model = load(onnx.parser.parse_model(source))
    result = PASSES.find("inline-functions").load()(nodes=1000).run(model, Context())
    assert "beyond 1000 nodes" in result.detail
    assert count_nodes(model) < 3000


def test_a_function_that_nothing_calls_any_more_goes_and_others_stay() -> None:
    source = (
        HEADER
        + """
        g (float[4] x) => (float[4] y) { y = local.f (x) }
        <domain: "local", opset_import: ["": 17]> f (a) => (b) { b = Neg (a) }"""
    )
    model = load(onnx.parser.parse_model(source))
    PASSES.find("inline-functions").load()().run(model, Context())
    assert not to_proto(model).functions
    assert model.opset_imports["local"] == 1
