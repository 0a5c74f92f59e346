"""What a pattern matches, and what it says where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import pytest
from onnx import parser

from graphopt.ir import infer_shapes, load
from graphopt.rewrite import Match, PatternBuilder, Rule

HEADER = '<ir_version: 9, opset_import: ["": 17, "my": 1]>\n'
Pattern = Callable[[PatternBuilder], Any]


def parse(text: str) -> ir.Model:
    model = load(parser.parse_model(HEADER + text))
    infer_shapes(model)
    return model


def rule_of(pattern: Pattern) -> Rule:
    return Rule("under-test", "exact", pattern)


def matches(pattern: Pattern, text: str) -> list[Match]:
    """Matches at all nodes of a model, bodies included."""
    nodes = list(ir.traversal.RecursiveGraphIterator(parse(text).graph))
    found = [rule_of(pattern).match(node) for node in nodes]
    return [match for match in found if match is not None]


def why(pattern: Pattern, text: str, op_type: str) -> tuple[str, str]:
    """The node and the reason of the near miss at the only node of a type."""
    (node,) = [n for n in parse(text).graph if n.op_type == op_type]
    found = rule_of(pattern).why_not(node)
    assert found is not None
    return found[0].op_type, found[1]


@pytest.mark.parametrize("op", ["Add", "Mul", "Max", "Min", "Sum"])
@pytest.mark.parametrize("order", ["a, b", "b, a"])
def test_inputs_of_commutative_operators_match_in_both_orders(op: str, order: str) -> None:
    text = f"g (float[2] x) => (float[2] y) {{ a = Relu (x) b = Neg (x) y = {op} ({order}) }}"
    (match,) = matches(lambda p: p.op(op, p.Relu(p.u), p.Neg(p.v)), text)
    assert match.u.name == "x"


@pytest.mark.parametrize("op", ["Sub", "Div", "MatMul"])
def test_inputs_of_other_operators_match_in_one_order(op: str) -> None:
    text = f"g (float[2, 2] x) => (float[2, 2] y) {{ a = Relu (x) b = Neg (x) y = {op} (b, a) }}"
    assert not matches(lambda p: p.op(op, p.Relu(p.u), p.Neg(p.v)), text)


def test_swaps_are_tried_at_every_depth() -> None:
    text = """g (float[2] x, float[2] z) => (float[2] y) {
        a = Neg (x)  b = Mul (z, a)  c = Relu (x)  d = Mul (c, z)  y = Add (b, d) }"""
    (match,) = matches(lambda p: p.Add(p.Mul(p.Relu(p.x), p.z), p.Mul(p.Neg(p.x), p.z)), text)
    assert (match.x.name, match.z.name) == ("x", "z")


def test_the_same_name_twice_is_the_same_value_twice() -> None:
    def square(p: PatternBuilder) -> Any:
        return p.Mul(p.x, p.x)

    assert matches(square, "g (float[2] x) => (float[2] y) { y = Mul (x, x) }")
    text = "g (float[2] x, float[2] z) => (float[2] y) { y = Mul (x, z) }"
    assert not matches(square, text)
    assert "is not the value that x stands for" in why(square, text, "Mul")[1]


def clip(p: PatternBuilder) -> Any:
    return p.Clip(p.x, p.optional(p.constant("low")), p.optional(p.constant("high")))


@pytest.mark.parametrize(
    ("inputs", "low", "high"), [("x", None, None), ("x, l", 0, None), ("x, , h", None, 6), ("x, l, h", 0, 6)]
)
def test_optional_inputs_may_be_missing(inputs: str, low: float | None, high: float | None) -> None:
    text = f"g (float[2] x) => (float[2] y) <float l = {{0}}, float h = {{6}}> {{ y = Clip ({inputs}) }}"
    (match,) = matches(clip, text)
    assert (match.low, match.high) == (low, high)
    assert ("low" in match, "high" in match) == (low is not None, high is not None)


def test_an_optional_input_that_is_there_must_match() -> None:
    text = "g (float[2] x, float l) => (float[2] y) { y = Clip (x, l) }"
    assert why(clip, text, "Clip") == ("Clip", "'l' is not a constant")


def test_an_input_more_than_the_pattern_has_is_no_match() -> None:
    text = "g (float[2] x) => (float[2] y) <float l = {0}> { y = Clip (x, l) }"
    assert why(lambda p: p.Clip(p.x), text, "Clip") == ("Clip", "has 2 inputs, the pattern 1")


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_rest_takes_all_further_inputs(count: int) -> None:
    inputs = ", ".join(["x"] * count)
    text = f"g (float[2] x) => (y) {{ y = Concat <axis = 0> ({inputs}) }}"
    (match,) = matches(lambda p: p.Concat(p.first, p.rest("more")), text)
    assert len(match.more) == count - 1


def test_the_rest_must_be_last() -> None:
    with pytest.raises(TypeError, match="must be the last"):
        rule_of(lambda p: p.Concat(p.rest("more"), p.x))


def test_the_first_alternative_that_matches_is_taken() -> None:
    def pattern(p: PatternBuilder) -> Any:
        return p.Exp(p.either(p.Relu(p.x), p.Neg(p.x), p.x))

    for inner, name in (("Relu", "x"), ("Neg", "x"), ("Abs", "a")):
        text = f"g (float[2] x) => (float[2] y) {{ a = {inner} (x) y = Exp (a) }}"
        (match,) = matches(pattern, text)
        assert match.x.name == name


def test_alternatives_are_taken_back_when_what_follows_fails() -> None:
    text = "g (float[2] x, float[2] z) => (float[2] y) { a = Relu (x) y = Sub (a, a) }"

    def pattern(p: PatternBuilder) -> Any:
        return p.Sub(p.either(p.Relu(p.v), p.v), p.v)

    (match,) = matches(pattern, text)
    assert match.v.name == "a"


def test_attributes_are_captured_with_the_standards_default() -> None:
    def pattern(p: PatternBuilder) -> Any:
        return p.LeakyRelu(p.x, alpha=p.attribute("alpha"))

    (plain,) = matches(pattern, "g (float[2] x) => (float[2] y) { y = LeakyRelu (x) }")
    (given,) = matches(pattern, "g (float[2] x) => (float[2] y) { y = LeakyRelu <alpha = 0.5> (x) }")
    assert plain.alpha == pytest.approx(0.01)
    assert given.alpha == 0.5


def test_attributes_must_be_equal_where_the_pattern_has_a_value() -> None:
    text = "g (float[2, 3] x) => (y) { y = Transpose <perm = [1, 0]> (x) }"
    assert matches(lambda p: p.Transpose(p.x, perm=(1, 0)), text)
    assert why(lambda p: p.Transpose(p.x, perm=[0, 1]), text, "Transpose") == ("Transpose", "attribute perm is (1, 0)")


@pytest.mark.parametrize(
    ("written", "wanted", "fits"),
    [("0", 0.0, True), ("-0.0", 0.0, False), ("1", 1, True), ("1, 1", 1, True), ("1, 2", 1, False)],
)
def test_constants_are_compared_by_value_and_sign_of_zero(written: str, wanted: float, fits: bool) -> None:
    count = written.count(",") + 1
    text = f"g (float[{count}] x) => (float[{count}] y) <float[{count}] c = {{{written}}}> {{ y = Sub (x, c) }}"
    assert bool(matches(lambda p: p.Sub(p.x, wanted), text)) is fits


def test_a_default_that_the_caller_may_override_is_no_constant() -> None:
    text = "g (float[2] x, float[2] c) => (float[2] y) <float[2] c = {1, 1}> { y = Sub (x, c) }"
    assert not matches(lambda p: p.Sub(p.x, p.constant("c")), text)


def test_a_constant_node_is_a_constant() -> None:
    text = "g (float[2] x) => (float[2] y) { c = Constant <value_float = 2.0> () y = Sub (x, c) }"
    (match,) = matches(lambda p: p.Sub(p.x, p.constant("c", equals=2)), text)
    assert match.c == 2
    assert match.value("c").name == "c"


def test_one_output_of_several_is_matched_by_its_number() -> None:
    text = "g (float[4] x) => (float[2] y) { a, b = Split <axis = 0> (x) y = Relu (b) }"
    assert matches(lambda p: p.Relu(p.Split(p.x)[1]), text)
    node, reason = why(lambda p: p.Relu(p.Split(p.x)[0]), text, "Relu")
    assert (node, reason) == ("Split", "output 1 is read where the pattern reads output 0")


def test_the_same_operator_twice_is_the_same_node_twice() -> None:
    def pattern(p: PatternBuilder) -> Any:
        split = p.Split(p.x)
        return p.Sub(split[0], split[1])

    assert matches(pattern, "g (float[4] x) => (float[2] y) { a, b = Split <axis = 0> (x) y = Sub (a, b) }")
    two = "g (float[4] x) => (float[2] y) { a, b = Split <axis = 0> (x) c, d = Split <axis = 0> (x) y = Sub (a, d) }"
    assert why(pattern, two, "Sub")[1] == "another node matched here before"


def relu_exp(p: PatternBuilder) -> Any:
    return p.Exp(p.Relu(p.x))


def relu_exp_shared(p: PatternBuilder) -> Any:
    return p.Exp(p.Relu(p.x, shared=True))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("g (float[2] x) => (float[2] y, float[2] z) { a = Relu (x) y = Exp (a) z = Neg (a) }", "is also read by"),
        ("g (float[2] x) => (float[2] y, float[2] a) { a = Relu (x) y = Exp (a) }", "is an output of the graph"),
    ],
)
def test_an_inner_value_that_others_need_is_no_match_unless_it_may_stay(text: str, reason: str) -> None:
    assert not matches(relu_exp, text)
    assert reason in why(relu_exp, text, "Exp")[1]
    assert matches(relu_exp_shared, text)


def test_a_reader_inside_a_body_counts() -> None:
    text = """g (float[2] x, bool p) => (float[2] y, float[2] z) {
        a = Relu (x)  y = Exp (a)
        z = If (p) <
            then_branch = t () => (float[2] b) { b = Neg (a) }, else_branch = e () => (float[2] c) { c = Abs (x) }
        >
    }"""
    assert not matches(relu_exp, text)


def test_a_pattern_does_not_cross_the_border_of_a_graph() -> None:
    text = """g (float[2] x, bool p) => (float[2] z) {
        a = Relu (x)
        z = If (p) <
            then_branch = t () => (float[2] b) { b = Exp (a) }, else_branch = e () => (float[2] c) { c = Abs (x) }
        >
    }"""
    assert not matches(relu_exp, text)
    assert not matches(relu_exp_shared, text)


def test_domains_are_told_apart() -> None:
    text = "g (float[2] x) => (y) { y = my.Relu (x) }"
    assert not matches(lambda p: p.Relu(p.x), text)
    assert matches(lambda p: p.op("Relu", p.x, domain="my"), text)


def test_a_further_root_is_found_from_a_value_of_the_first() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] z, float[2] w) { y = Exp (x) z = Neg (x) w = Neg (x) }"
    (match,) = matches(lambda p: (p.Exp(p.x), p.Neg(p.x)), text)
    assert [root.op_type for root in match.roots] == ["Exp", "Neg"]


def test_the_first_condition_that_fails_on_the_best_attempt_is_told() -> None:
    def pattern(p: PatternBuilder) -> Any:
        return p.Exp(p.Relu(p.Neg(p.Abs(p.x))))

    text = "g (float[2] x) => (float[2] y) { a = Sin (x) b = Neg (a) c = Relu (b) y = Exp (c) }"
    assert why(pattern, text, "Exp") == ("Sin", "is Sin, not Abs")


def test_a_guard_tells_its_reason() -> None:
    rule = rule_of(relu_exp)
    rule.require("the moon is full")(lambda m: False)
    model = parse("g (float[2] x) => (float[2] y) { a = Relu (x) y = Exp (a) }")
    assert rule.match(model.graph[1]) is None
    assert rule.why_not(model.graph[1]) == (model.graph[1], "does not hold: the moon is full")


def test_a_chain_of_patterns_as_deep_as_a_long_block_matches() -> None:
    def pattern(p: PatternBuilder) -> Any:
        value: Any = p.x
        for _ in range(60):
            value = p.Relu(value)
        return value

    lines = "".join(f"v{i + 1} = Relu (v{i})\n" for i in range(60))
    assert len(matches(pattern, f"g (float[2] v0) => (float[2] v60) {{ {lines} }}")) == 1
