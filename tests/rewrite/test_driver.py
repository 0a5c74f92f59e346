"""The driver: everywhere, to the end, no more than it must, and the signature stays the user's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, parser

from graphopt.errors import PassError
from graphopt.ir import infer_shapes, load, sources_of, to_proto, validate
from graphopt.rewrite import Outcome, Rule, apply_rules, rule
from graphopt.verify import run

HEADER = '<ir_version: 9, opset_import: ["": 17, "my": 1]>\n'


@rule("neg-neg", fidelity="exact")
def neg_neg(p: Any) -> Any:
    return p.Neg(p.Neg(p.x))


@neg_neg.replace
def _(op: Any, m: Any) -> Any:
    return m.x


@rule("neg-neg-shared", fidelity="exact")
def neg_neg_shared(p: Any) -> Any:
    return p.Neg(p.Neg(p.x, shared=True))


@neg_neg_shared.replace
def _(op: Any, m: Any) -> Any:
    return m.x


@rule("abs-to-max", fidelity="exact")
def abs_to_max(p: Any) -> Any:
    return p.Abs(p.x)


@abs_to_max.replace
def _(op: Any, m: Any) -> Any:
    return op.Max(m.x, op.Neg(m.x))


@rule("swap-split", fidelity="exact")
def swap_split(p: Any) -> Any:
    split = p.Split(p.x, p.rest("more"), axis=0)
    return split[0], split[1]


@swap_split.replace
def _(op: Any, m: Any) -> Any:
    one = op.Slice(m.x, np.array([0]), np.array([2]), np.array([0]))
    two = op.Slice(m.x, np.array([2]), np.array([4]), np.array([0]))
    return one, two


@rule("exp-and-neg", fidelity="exact")
def exp_and_neg(p: Any) -> Any:
    return p.Exp(p.x), p.Neg(p.x)


@exp_and_neg.replace
def _(op: Any, m: Any) -> Any:
    both = op.op("Both", m.x, domain="my", outputs=2)
    return both[0], both[1]


def parse(text: str) -> ir.Model:
    model = load(parser.parse_model(HEADER + text))
    infer_shapes(model)
    return model


def rewritten(text: str, *rules: Rule, **options: Any) -> tuple[ir.Model, Outcome]:
    """A model after rules, checked: sound, with the signature that it had."""
    model = parse(text)
    before = to_proto(model).graph
    outcome = apply_rules(model, rules, **options)
    validate(model)
    after = to_proto(model).graph
    assert list(after.input) == list(before.input)
    assert list(after.output) == list(before.output)
    return model, outcome


def ops(model: ir.Model) -> list[str]:
    owners = (model.graph, *(f.graph for f in model.functions.values()))
    return [n.op_type for o in owners for n in ir.traversal.RecursiveGraphIterator(o)]


def same(text: str, model: ir.Model, *names: str) -> None:
    """The model computes what the text computes."""
    feeds = {name: np.array([1.5, -2.0], np.float32) for name in names or ("x",)}
    for key, value in run(parse(text), [feeds])[0].items():
        assert np.array_equal(value, run(model, [feeds])[0][key])


def test_rules_run_until_none_fires() -> None:
    model, outcome = rewritten(
        "g (float[2] x) => (float[2] y) { a = Neg (x) b = Neg (a) c = Neg (b) d = Neg (c) y = Relu (d) }", neg_neg
    )
    assert ops(model) == ["Relu"]
    assert outcome.counts == {"neg-neg": 2}


def test_what_one_rule_makes_another_takes() -> None:
    model, outcome = rewritten("g (float[2] x) => (float[2] y) { a = Neg (x) y = Abs (a) }", abs_to_max, neg_neg_shared)
    assert outcome.counts == {"abs-to-max": 1, "neg-neg-shared": 1}
    assert sorted(ops(model)) == ["Max", "Neg"]


def test_a_reader_that_goes_sets_a_value_free_for_others() -> None:
    # The inner Neg has two readers when neg-neg looks first; the other rule takes one of them away.
    nothing = Rule("nothing", "exact", lambda p: (lambda e: p.Sub(e, e))(p.Exp(p.u)))
    nothing.replace(lambda op, m: op.Identity(np.zeros(2, np.float32)))
    text = """g (float[2] x) => (float[2] y, float[2] z) {
        a = Neg (x)  b = Neg (a)  y = Relu (b)  e = Exp (a)  z = Sub (e, e) }"""
    model, _ = rewritten(text, neg_neg, nothing)
    assert sorted(ops(model)) == ["Identity", "Relu"]
    same(text, model)


def test_rules_reach_into_bodies_and_functions() -> None:
    model, outcome = rewritten(
        """g (float[2] x, bool p) => (float[2] y) {
            f = my.f (x)
            y = If (p) <
                then_branch = t () => (float[2] b) { a = Neg (f) b0 = Neg (a) b = Relu (b0) },
                else_branch = e () => (float[2] c) { c = Exp (f) }
            >
        }
        <domain: "my", opset_import: ["": 17]>
        f (v) => (w) { a = Neg (v) b = Neg (a) w = Relu (b) }""",
        neg_neg,
    )
    assert outcome.counts == {"neg-neg": 2}
    assert ops(model) == ["f", "If", "Relu", "Exp", "Relu"]


def test_a_constant_made_in_a_function_is_a_node() -> None:
    text = """g (float[4] x) => (float[2] y) { y = my.f (x) }
        <domain: "my", opset_import: ["": 17]>
        f (v) => (w) { a, b = Split <axis = 0> (v) w = Sub (a, b) }"""
    model, _ = rewritten(text, swap_split)
    (function,) = model.functions.values()
    assert not function.graph.initializers
    assert [n.op_type for n in function.graph].count("Constant") == 6


def test_several_outputs_are_replaced_together() -> None:
    text = "g (float[4] x) => (float[2] a, float[2] y) { a, b = Split <axis = 0> (x) y = Neg (b) }"
    model, _ = rewritten(text, swap_split)
    assert ops(model) == ["Slice", "Slice", "Neg"]
    feeds = [{"x": np.arange(4, dtype=np.float32)}]
    assert run(model, feeds)[0]["a"].tolist() == [0, 1]
    assert run(model, feeds)[0]["y"].tolist() == [-2, -3]


def test_several_roots_are_replaced_together_and_stay_in_order() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] z) { h = Relu (x) a = Exp (h) y = Abs (a) b = Neg (h) z = Sin (b) }"
    model, outcome = rewritten(text, exp_and_neg)
    assert sorted(ops(model)) == ["Abs", "Both", "Relu", "Sin"]
    assert len(outcome.rewrites[0].removed) == 2


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("g (float[2] x) => (float[2] y) { a = Relu (x) b = Neg (a) y = Neg (b) }", ["Relu"]),
        ("g (float[2] x) => (float[2] y) { b = Neg (x) y = Neg (b) }", ["Identity"]),
        ("g (float[2] x) => (float[2] y, float[2] a) { a = Relu (x) b = Neg (a) y = Neg (b) }", ["Relu", "Identity"]),
        (
            "g (float[2] x) => (float[2] y, float[2] z) { a = Relu (x) b = Neg (a) y = Neg (b) z = Exp (a) }",
            ["Relu", "Exp"],
        ),
        (
            "g (float[2] x) => (float[2] y, float[2] z)"
            "{ a = Relu (x) b = Neg (a) y = Neg (b) c = Neg (a) z = Neg (c) }",
            ["Relu", "Identity"],
        ),
    ],
)
def test_an_identity_comes_only_where_a_name_needs_it(text: str, left: list[str]) -> None:
    model, _ = rewritten(text, neg_neg)
    assert ops(model) == left
    same(text, model)


def test_an_output_that_is_listed_twice_stays_listed_twice() -> None:
    text = "g (float[2] x) => (float[2] y) { a = Relu (x) y = Abs (a) }"
    proto = parser.parse_model(HEADER + text)
    proto.graph.output.append(proto.graph.output[0])
    for rules, expected in (([abs_to_max], ["Relu", "Neg", "Max"]), ([neg_neg], ["Relu", "Abs"])):
        model = load(proto)
        infer_shapes(model)
        apply_rules(model, rules)
        validate(model)
        assert [v.name for v in model.graph.outputs] == ["y", "y"]
        assert ops(model) == expected
    proto = parser.parse_model(HEADER + "g (float[2] x) => (float[2] y) { a = Relu (x) b = Neg (a) y = Neg (b) }")
    proto.graph.output.append(proto.graph.output[0])
    model = load(proto)
    apply_rules(model, [neg_neg])
    validate(model)
    assert [v.name for v in model.graph.outputs] == ["y", "y"]
    assert "Neg" not in ops(model)


def test_a_value_that_stays_for_another_reader_is_not_removed() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] z) { a = Neg (x) b = Neg (a) y = Relu (b) z = Exp (a) }"
    model, _ = rewritten(text, neg_neg_shared)
    assert sorted(ops(model)) == ["Exp", "Neg", "Relu"]
    same(text, model)


def test_new_nodes_name_the_users_nodes_through_several_rules() -> None:
    proto = parser.parse_model(HEADER + "g (float[2] x) => (float[2] y) { a = Abs (x) y = Relu (a) }")
    proto.graph.node[0].name, proto.graph.node[1].name = "my_abs", "my_relu"

    max_relu = Rule("max-relu", "exact", lambda p: p.Relu(p.op("Max", p.a, p.b)))
    max_relu.replace(lambda op, m: op.Relu(op.Max(m.b, m.a)))
    max_relu.require("once")(lambda m: m.root.metadata_props.get("graphopt.pass") is None)
    model = load(proto)
    apply_rules(model, [abs_to_max, max_relu], made_by="a-pass")
    by_op = {n.op_type: n for n in model.graph}
    assert sources_of(by_op["Neg"]) == ["my_abs"]
    assert sorted(sources_of(by_op["Relu"])) == ["my_abs", "my_relu"]
    assert by_op["Relu"].metadata_props["graphopt.pass"] == "a-pass/max-relu"
    assert by_op["Neg"].metadata_props["graphopt.pass"] == "a-pass/abs-to-max"


def test_names_of_all_nodes_and_values_are_unique_after_many_rewrites() -> None:
    lines = "".join(f"v{i + 1} = Abs (v{i})\n" for i in range(30))
    model, _ = rewritten(f"g (float[2] v0) => (float[2] v30) {{ {lines} }}", abs_to_max)
    names = [n.name for n in model.graph]
    assert len(set(names)) == len(names) == 60


def test_a_scalar_of_a_replacement_keeps_its_type() -> None:
    twice = Rule("neg-to-product", "exact", lambda p: p.Neg(p.x))
    twice.replace(lambda op, m: op.Mul(m.x, np.float64(-1)))  # which is a float of Python's as well
    model = load(parser.parse_model(HEADER + "g (double[2] x) => (double[2] y) { y = Neg (x) }"))
    apply_rules(model, [twice])
    assert model.graph[0].inputs[1].dtype == ir.DataType.DOUBLE


def test_what_stands_in_for_an_output_that_nobody_reads_keeps_its_own_shape() -> None:
    halves = Rule(
        "split-to-slice", "exact", lambda p: (lambda split: (split[0], split[1]))(p.Split(p.x, num_outputs=2))
    )

    @halves.replace
    def _(op: Any, m: Any) -> Any:
        whole = op.Neg(op.Neg(m.x))
        return op.Slice(whole, np.array([0]), np.array([1])), whole

    text = HEADER.replace("17", "18") + "g (float[2, 3] x) => (float[1, 3] y) { y, z = Split <num_outputs = 2> (x) }"
    model = load(parser.parse_model(text))
    infer_shapes(model)
    apply_rules(model, [halves])
    assert [str(node.outputs[0].shape) for node in model.graph] == ["[2,3]", "[2,3]", "[1,3]"]


def test_rules_that_do_not_end_are_named() -> None:
    there, back = Rule("there", "exact", lambda p: p.Exp(p.x)), Rule("back", "exact", lambda p: p.Sin(p.x))
    there.replace(lambda op, m: op.Sin(m.x))
    back.replace(lambda op, m: op.Exp(m.x))
    with pytest.raises(PassError, match=r"do not come to an end.*there.*back|back.*there"):
        apply_rules(parse("g (float[2] x) => (float[2] y) { y = Exp (x) }"), [there, back])


def test_a_replacement_of_the_wrong_kind_is_named() -> None:
    wrong = Rule("wrong", "exact", lambda p: p.Exp(p.x))
    wrong.replace(lambda op, m: (m.x, m.x))
    with pytest.raises(PassError, match=r"rule wrong must return 1 value"):
        apply_rules(parse("g (float[2] x) => (float[2] y) { y = Exp (x) }"), [wrong])


def test_a_replacement_that_raises_leaves_the_graph_as_it_was() -> None:
    broken = Rule("broken", "exact", lambda p: p.Exp(p.x))

    @broken.replace
    def _(op: Any, m: Any) -> Any:
        op.Neg(m.x)
        raise ZeroDivisionError

    model = parse("g (float[2] x) => (float[2] y) { y = Exp (x) }")
    before = to_proto(model).SerializeToString()
    with pytest.raises(ZeroDivisionError):
        apply_rules(model, [broken])
    assert to_proto(model).SerializeToString() == before


def test_near_misses_are_recorded_for_the_rules_to_explain() -> None:
    text = "g (float[2] x) => (float[2] y) { a = Abs (x) y = Neg (a) }"
    _, outcome = rewritten(text, neg_neg, explain=["neg-neg"])
    (miss,) = outcome.misses
    assert (miss.rule, miss.at, miss.node, miss.reason) == ("neg-neg", "-> y", "-> a", "is Abs, not Neg")
    _, silent = rewritten(text, neg_neg)
    assert not silent.misses


def test_a_rule_that_declines_says_why() -> None:
    shy = Rule("shy", "exact", lambda p: p.Exp(p.x))

    @shy.replace
    def _(op: Any, m: Any) -> Any:
        raise op.decline("not today")

    _, outcome = rewritten("g (float[2] x) => (float[2] y) { y = Exp (x) }", shy, explain=["shy"])
    assert [m.reason for m in outcome.misses] == ["not today"]


def chain(length: int) -> ir.Model:
    nodes = [helper.make_node("Neg" if i % 4 < 2 else "Abs", [f"v{i}"], [f"v{i + 1}"]) for i in range(length)]
    info = [helper.make_tensor_value_info(name, 1, [2]) for name in ("v0", f"v{length}")]
    graph = helper.make_graph(nodes, "chain", info[:1], info[1:])
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ir.Node]]:
    """Every node at which a rule was tried."""
    tried: list[ir.Node] = []
    original = Rule.match

    def match(self: Rule, node: ir.Node, *seen: Any) -> Any:
        tried.append(node)
        return original(self, node, *seen)

    monkeypatch.setattr(Rule, "match", match)
    return tried


def test_attempts_grow_with_the_nodes_and_not_faster(counted: list[ir.Node]) -> None:
    attempts = []
    for length in (400, 800):
        counted.clear()
        apply_rules(chain(length), [neg_neg, abs_to_max])
        attempts.append(len(counted))
    assert attempts[1] <= 2.2 * attempts[0]


def test_nodes_that_no_rule_is_rooted_at_are_not_tried(counted: list[ir.Node]) -> None:
    apply_rules(chain(100), [swap_split])
    assert not counted


def test_a_chain_of_20000_nodes_is_rewritten() -> None:
    model = chain(20_000)
    outcome = apply_rules(model, [neg_neg])
    validate(model)
    assert outcome.counts["neg-neg"] == 5_000


DETERMINISTIC = """
import sys, onnx
sys.path.insert(0, sys.argv[1])
from graphopt.ir import load, to_bytes
from graphopt.pipeline import PASSES, Context
model = load(sys.stdin.buffer.read())
for name in ("canonicalize", "fuse-conv-bn", "fuse-hard-swish", "canonicalize"):
    PASSES.find(name).load()().run(model, Context())
sys.stdout.buffer.write(to_bytes(model))
"""


def test_the_result_is_the_same_in_every_process() -> None:
    text = """g (float[1, 3, 8, 8] x) => (y, z)
        <float[2, 3, 1, 1] w = {1, 2, 3, 4, 5, 6}, float[2] s = {1, 2},
         float three = {3}, float six = {6}, float zero = {0}> {
            c = Conv (x, w)  b = BatchNormalization (c, s, s, s, s)
            i = Identity (b)  t1 = Transpose <perm = [0, 2, 3, 1]> (i)  t2 = Transpose <perm = [0, 3, 1, 2]> (t1)
            a = Add (t2, three)  k = Clip (a, zero, six)  m = Mul (t2, k)  y = Div (m, six)
            sh = Shape (y)  z = Reshape (t2, sh)
    }"""
    source = parser.parse_model(HEADER + text).SerializeToString()
    found = []
    for seed in ("1", "2"):
        child = subprocess.run(
            [sys.executable, "-c", DETERMINISTIC, os.getcwd()], input=source, capture_output=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        found.append(child.stdout)
    assert found[0] == found[1]
    assert len(onnx.load_model_from_string(found[0]).graph.node) < 7
