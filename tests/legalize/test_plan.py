"""The search for the cheapest chain of rules that ends in what a backend takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from onnx import parser

from graphopt.ir import infer_shapes, load, sources_of, to_proto, validate
from graphopt.legalize import Legalized, legalize
from graphopt.rewrite import Rule, rule
from graphopt.support.backend import Costs
from graphopt.support.predicate import Is
from graphopt.support.table import Condition, Row, Table
from graphopt.verify import run

HEADER = '<ir_version: 9, opset_import: ["": 17]>\n'


def takes(*ops: str, **only: list[Any]) -> Table:
    """A table that takes some operators; `only` limits input 0's dtype of an operator."""
    dtype = {name: Is.model_validate({"fact": "input.0.dtype", "in": kinds}) for name, kinds in only.items()}
    return Table(
        backend="toy", toolchain="toy 1", date="2026-01-01",
        rows=tuple(
            Row(op_type=op, since=(1, 30), status="native",
                require=(Condition(must=dtype[op]),) if op in dtype else ())
            for op in (*ops, *only)
        ),
    )  # fmt: skip


def made(text: str, table: Table, *rules: Rule, costs: Costs | None = None) -> tuple[ir.Model, Legalized]:
    model = load(parser.parse_model(HEADER + text))
    infer_shapes(model)
    before = load(to_proto(model))
    done = legalize(model, table, rules, costs or Costs(), made_by="legalize")
    validate(model)
    x = {v.name: np.linspace(0.5, 2, 6, dtype=np.float32).reshape(2, 3) for v in model.graph.inputs}
    np.testing.assert_allclose(run(model, [x])[0]["y"], run(before, [x])[0]["y"], rtol=1e-6)
    return model, done


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


@rule("sum-of-squares", fidelity="rounding")
def via_sum(p: Any) -> Any:
    return p.op("ReduceSumSquare", p.x, as_="node")


@via_sum.replace
def _(op: Any, m: Any) -> Any:
    return op.op("ReduceSum", op.Mul(m.x, m.x), keepdims=0)


@rule("square-of-norm", fidelity="rounding")
def via_norm(p: Any) -> Any:
    return p.op("ReduceSumSquare", p.x, as_="node")


@via_norm.replace
def _(op: Any, m: Any) -> Any:
    norm = op.ReduceL2(m.x, keepdims=0)
    return op.Mul(norm, norm)


@rule("norm", fidelity="rounding")
def norm(p: Any) -> Any:
    return p.ReduceL2(p.x)


@norm.replace
def _(op: Any, m: Any) -> Any:
    return op.Sqrt(op.ReduceSumSquare(m.x, keepdims=0))


SQUARES = "g (float[2,3] x) => (float y) { y = ReduceSumSquare<keepdims = 0>(x) }"


def test_a_legal_node_is_left_alone() -> None:
    model, done = made(SQUARES, takes("ReduceSumSquare"), via_sum)
    assert ops(model) == ["ReduceSumSquare"]
    assert not done.rewrites


def test_an_illegal_node_becomes_legal_ones_with_provenance() -> None:
    model, done = made(
        "g (float[2,3] x) => (float y) { [squares] y = ReduceSumSquare<keepdims = 0>(x) }",
        takes("ReduceSum", "Mul"), via_sum,
    )  # fmt: skip
    assert ops(model) == ["Mul", "ReduceSum"]
    assert [sources_of(node) for node in model.graph] == [["squares"], ["squares"]]
    assert done.counts == {"sum-of-squares": 1}


def test_the_cheaper_of_two_ways_is_taken_whichever_rule_comes_first() -> None:
    table = takes("ReduceSum", "Mul", "ReduceL2")
    for rules in ([via_sum, via_norm], [via_norm, via_sum]):
        model, _ = made(SQUARES, table, *rules)
        assert ops(model) == ["ReduceL2", "Mul"]  # the product of a scalar moves fewer bytes


def test_a_chain_of_rules_is_found_and_a_circle_is_none() -> None:
    table = takes("ReduceSum", "Mul", "Sqrt")
    text = "g (float[2,3] x) => (float y) { y = ReduceL2<keepdims = 0>(x) }"
    for rules in ([norm, via_norm, via_sum], [via_sum, via_norm, norm]):
        model, _ = made(text, table, *rules)
        assert ops(model) == ["Mul", "ReduceSum", "Sqrt"]
    model, done = made(text, table, norm, via_norm)
    assert ops(model) == ["ReduceL2"]
    (plan,) = done.illegal.values()
    assert "comes back" in plan.tried[0].reason or "not taken either" in plan.tried[0].reason


def test_a_failure_found_inside_a_circle_is_not_remembered_for_nodes_outside_it() -> None:
    table = takes("ReduceSum", "Mul", "Sqrt")
    text = """g (float[2,3] x) => (float y) {
        a = ReduceL2<keepdims = 0>(x)
        b = ReduceSumSquare<keepdims = 0>(x)
        y = Mul(a, b)
    }"""
    model, done = made(text, table, via_norm, norm, via_sum)
    assert not done.illegal
    assert set(ops(model)) == {"Mul", "ReduceSum", "Sqrt"}


def test_a_node_that_nothing_helps_stays_and_says_what_was_tried() -> None:
    model, done = made(
        "g (float[2,3] x) => (float y) { [squares] y = ReduceSumSquare<keepdims = 0>(x) }", takes("Mul"), via_sum
    )
    assert ops(model) == ["ReduceSumSquare"]
    assert set(done.advice) == {"squares"}
    assert "sum-of-squares: it makes ReduceSum, which is not taken either" in done.advice["squares"]


MANY = (*(f"Operator{number}" for number in range(20)), "ReduceSumSquare")


def failing(name: str, *kinds: str, when: str = "", declines: bool = True) -> Rule:
    """A rule that makes nothing of its operators: it declines, or it does not even match."""
    one = rule(name, fidelity="rounding")(lambda p: p.op(kinds or ("ReduceSumSquare",), p.x))

    @one.require(when)
    def _(m: Any) -> bool | str:
        return declines or when

    @one.replace
    def _(op: Any, m: Any) -> Any:
        raise op.decline(when)

    return one


def advice(*rules: Rule) -> str:
    _, done = made(SQUARES.replace("y = R", "[squares] y = R"), takes("Mul"), *rules)
    return done.advice["squares"]


def test_the_advice_names_three_rules_at_most_and_those_that_got_furthest_first() -> None:
    rules = [failing(f"rule-{letter}", when=f"it is {letter}") for letter in "abcd"]
    assert advice(*rules, via_sum).split("; ") == [
        "legalize found no way: sum-of-squares: it makes ReduceSum, which is not taken either: "
        "no probe of ReduceSum has been measured",
        "rule-a: it is a",
        "rule-b: it is b",
    ]


def test_rules_for_everything_are_named_only_where_they_match() -> None:
    silent, loud = failing("silent", *MANY, declines=False), failing("loud", *MANY, when="it is late")
    assert advice(silent) == "no rule is known that replaces it: change the model there, or register a substitution"
    assert advice(silent, loud) == "legalize found no way: loud: it is late"


def test_sizes_of_one_rule_are_told_once() -> None:
    assert advice(*(failing(f"one-{n}", when=f"number {n}") for n in (1, 2, 3))) == (
        "legalize found no way: one-1: number 1"
    )


def test_of_a_node_whose_sizes_are_open_the_table_tells_what_to_do() -> None:
    _, done = made("g (float[N,3] x) => (float y) { y = ReduceSumSquare<keepdims = 0>(x) }", takes("Mul"))
    assert len(done.illegal) == 1
    assert not done.advice


def test_the_same_operator_may_be_legal_here_and_not_there() -> None:
    text = """g (float[2,3] x) => (float y) {
        wide = Cast<to = 11>(x)
        a = ReduceSumSquare<keepdims = 0>(wide)
        b = Cast<to = 1>(a)
        c = ReduceSumSquare<keepdims = 0>(x)
        y = Add(b, c)
    }"""
    model, _ = made(text, takes("Cast", "Add", "ReduceSum", "Mul", ReduceSumSquare=["float32"]), via_sum)
    assert sorted(ops(model)) == ["Add", "Cast", "Cast", "Mul", "ReduceSum", "ReduceSumSquare"]
