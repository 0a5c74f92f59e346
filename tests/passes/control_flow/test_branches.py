"""The branch of an If that is known to run takes its place, and no other does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphopt.ir import load
from graphopt.verify import run
from graphopt.verify.execute import ExecutionFailed

Same = Callable[..., list[str]]
HEADER = '<ir_version: 9, opset_import: ["": 17]>\n'
X = [{"x": np.array([-1.5, 0.0, 2.0, np.nan], np.float32)}]
PASS = "take-constant-branch"
BRANCHES = "then_branch = t () => (u) { u = Neg (x) }, else_branch = e () => (v) { v = Abs (x) }"


@pytest.mark.parametrize(("flag", "left"), [(1, "Neg"), (0, "Abs")])
def test_the_branch_of_a_constant_condition_is_taken(same: Same, flag: int, left: str) -> None:
    source = HEADER + f"g (float[4] x) => (float[4] y) <bool p = {{{flag}}}> {{ y = If (p) <{BRANCHES}> }}"
    assert same(PASS, source, X) == [left]


def test_a_condition_that_the_caller_may_override_is_not_constant(same: Same) -> None:
    proto = onnx.parser.parse_model(HEADER + f"g (float[4] x, bool p) => (float[4] y) {{ y = If (p) <{BRANCHES}> }}")
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "p"))
    assert "If" in same(PASS, proto, [*X, {**X[0], "p": np.array(False)}])


def test_a_condition_that_follows_from_shapes(same: Same) -> None:
    source = (
        HEADER
        + f"""
        g (float[N, 4] w, float[4] x) => (float[4] y) <int64 four = {{4}}, int64 one = {{1}}> {{
            s = Shape (w)  n = Gather (s, one)  p = Equal (n, four)  q = Not (p)  y = If (q) <{BRANCHES}>
        }}"""
    )
    assert "Abs" in same(PASS, source, [{**X[0], "w": np.zeros((n, 4), np.float32)} for n in (0, 1, 3)])


def test_a_condition_asked_again_inside_is_known(same: Same) -> None:
    def inner(n: str) -> str:
        return (
            f"then_branch = ti{n} () => (ui{n}) {{ ui{n} = Exp (x) }}, "
            f"else_branch = ei{n} () => (vi{n}) {{ vi{n} = Sqrt (x) }}"
        )

    source = (
        HEADER
        + f"""
        g (float[4] x, bool p) => (float[4] y) {{
            y = If (p) <then_branch = t () => (u) {{ a = If (p) <{inner("1")}>  u = Neg (a) }},
                        else_branch = e () => (v) {{ q = Not (p)  v = If (q) <{inner("2")}> }}>
        }}"""
    )
    left = same(PASS, source, [{**X[0], "p": np.array(flag)} for flag in (True, False)])
    assert left.count("If") == 1
    assert left.count("Exp") == 2


def test_nested_branches_with_captured_values_initializers_and_outputs_in_the_middle(same: Same) -> None:
    proto = onnx.parser.parse_model(HEADER + """
        g (float[4] x) => (float[4] y, float[4] z) <bool p = {1}> {
            c = Neg (x)
            y = If (p) <
                then_branch = t () => (u) <float[4] w = {1, 2, 3, 4}> {
                    u = If (p) <
                        then_branch = ti () => (ui) <float[4] v = {5, 6, 7, 8}> { a = Mul (c, v)  ui = Add (a, w) },
                        else_branch = ei () => (vi) { vi = Exp (c) }>
                },
                else_branch = e () => (v) { v = Abs (x) }>
            z = Exp (y)
        }""")  # fmt: skip
    assert same(PASS, proto, X) == ["Neg", "Mul", "Add", "Exp"]


def test_a_branch_that_hands_on_what_is_outside_gives_an_output_an_identity(same: Same) -> None:
    source = (
        HEADER
        + """
        g (float[4] x) => (float[4] y, float[4] z) <bool p = {1}> {
            c = Neg (x)
            y, z = If (p) <then_branch = t () => (a, b) { a = Identity (c)  b = Identity (c) },
                           else_branch = e () => (d, f) { d = Abs (x)  f = Abs (x) }>
        }"""
    )
    assert same(PASS, source, X)[0] == "Neg"


def test_names_that_other_branches_use_as_well(same: Same) -> None:
    body = "then_branch = t () => (u) { h = Neg (x)  u = Exp (h) }, else_branch = e () => (v) { v = Abs (x) }"
    source = (
        HEADER
        + f"""
        g (float[4] x, bool q) => (float[4] y, float[4] z) <bool p = {{1}}> {{
            y = If (p) <{body}>  z = If (q) <{body}>
        }}"""
    )
    left = same(PASS, source, [{**X[0], "q": np.array(flag)} for flag in (True, False)])
    assert left.count("If") == 1


def test_branches_that_do_the_same(same: Same) -> None:
    body = "= {n} () => ({n}u) {{ c{n} = Constant <value = float {{2}}> ()  a{n} = Mul (x, c{n})  {n}u = Neg (a{n}) }}"
    source = (
        HEADER
        + f"""
        g (float[4] x, bool p) => (float[4] y) {{
            y = If (p) <then_branch {body.format(n="t")}, else_branch {body.format(n="e")}>
        }}"""
    )
    assert same(PASS, source, [{**X[0], "p": np.array(True)}]) == ["Mul", "Neg"]
    negative = source.replace("float {2}> ()  ae", "float {0}> ()  ae").replace(
        "float {2}> ()  at", "float {-0}> ()  at"
    )
    assert "If" in same(PASS, negative, [{**X[0], "p": np.array(flag)} for flag in (True, False)])


def test_inside_a_function(same: Same) -> None:
    source = (
        '<ir_version: 9, opset_import: ["": 17, "local": 1]>'
        + """
        g (float[4] x) => (float[4] y) { y = local.f (x) }
        <domain: "local", opset_import: ["": 17]>
        f (a) => (b) {
            p = Constant <value = bool {1}> ()
            b = If (p) <then_branch = t () => (float[4] u) <float[4] w = {1, 2, 3, 4}> { u = Add (a, w) },
                        else_branch = e () => (float[4] v) { v = Abs (a) }>
        }"""
    )
    assert same(PASS, source, X) == ["f", "Add"]


SQUEEZED = HEADER + """
    g (float[N, 3, T] x) => (y) <int64 last = {-1}, int64 one = {1}, int64[1] first = {0}, int64[1] end = {-1}> {
        s = Shape (x)  t = Gather (s, last)  p = Equal (t, one)
        q = If (p) <then_branch = a () => (u) { u = Squeeze (x, end) }, else_branch = b () => (v) { v = Identity (x) }>
        k = Unsqueeze (q, first)
        o, y = LSTM <hidden_size = 1> (k, w, r)
    }"""  # fmt: skip


def lstm(count: int) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(SQUEEZED)
    rng = np.random.default_rng(0)
    for name, shape in (("w", (1, 4, 3)), ("r", (1, 4, 1))):
        tensor = onnx.numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        proto.graph.initializer.append(tensor)
    proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, [1, "N", count]))
    return proto


def test_a_squeeze_that_may_not_fit_is_one_where_the_reader_takes_nothing_else(same: Same) -> None:
    rng = np.random.default_rng(1)
    samples = [{"x": rng.standard_normal((n, 3, 1)).astype(np.float32)} for n in (1, 2, 5)]
    assert "If" not in same(PASS, lstm(1), samples)


def test_a_run_that_failed_for_its_rank_still_fails(apply: Callable[..., ir.Model]) -> None:
    sample = {"x": np.zeros((2, 3, 4), np.float32)}
    for model in (load(lstm(1)), apply(PASS, lstm(1))):
        with pytest.raises(ExecutionFailed):
            run(model, [sample])


def test_a_squeeze_is_not_taken_where_the_reader_wants_what_it_squeezes(same: Same) -> None:
    proto = lstm(1)
    unsqueeze = next(node for node in proto.graph.node if node.op_type == "Unsqueeze")
    unsqueeze.CopyFrom(onnx.helper.make_node("Identity", ["q"], ["k"]))
    for name, shape in (("w", (1, 4, 5)), ("r", (1, 4, 1))):
        held = next(t for t in proto.graph.initializer if t.name == name)
        held.CopyFrom(onnx.numpy_helper.from_array(np.ones(shape, np.float32), name))
    proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, [1, 3, 1]))
    same(PASS, proto, [{"x": np.ones((2, 3, 5), np.float32)}])


def test_a_reader_in_a_body_says_nothing_of_a_value_outside(same: Same) -> None:
    # The Gemm runs only where p holds, so y may have three dimensions where it does not.
    source = (
        HEADER
        + """
        g (float[2, 3, T] x, bool p) => (float[A] y) <int64 last = {-1}, int64 one = {1}, int64[1] end = {-1},
            float[3, 2] w = {1, 2, 3, 4, 5, 6}, int64[1] flat = {-1}> {
            s = Shape (x)  t = Gather (s, last)  c = Equal (t, one)
            q = If (c) <then_branch = a () => (u) { u = Squeeze (x, end) },
                        else_branch = b () => (v) { v = Identity (x) }>
            r = If (p) <
                then_branch = d () => (m) {
                    k = If (c) <then_branch = h () => (i) { i = Neg (q) }, else_branch = j () => (l) { l = Exp (x) }>
                    o = Gemm (q, w)  z = ReduceSum <keepdims = 0> (k)  m = Add (o, z) },
                else_branch = f () => (n) { n = Neg (q) }>
            y = Reshape (r, flat)
        }"""
    )
    samples = [
        {"x": np.ones((2, 3, 4), np.float32), "p": np.array(False)},
        {"x": np.ones((2, 3, 1), np.float32), "p": np.array(True)},
    ]
    assert same(PASS, source, samples).count("If") >= 2
