"""A model as toolchains see it: what is computed ahead, what only its sizes are learnt from, what stays."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from graphopt.ir.infer import infer_shapes
from graphopt.support.check import check, every
from graphopt.support.foresight import Views
from graphopt.support.table import Reads, Row, Table

# the shape that x is given is (1, 4, 6) → (1, 24), computed as exporters do
COMPUTED = """s = Shape(x) n = Gather(s, first) b = Unsqueeze(n, zero) t = Concat <axis = 0> (b, rest)
              r = Reshape(x, t) y = Relu(r)"""
STORED = "int64 first = {0}, int64[1] zero = {0}, int64[1] rest = {-1}"


def parse(body: str, signature: str, stored: str = "") -> ir.Model:
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g {signature} {f"<{stored}>" if stored else ""} {{ {body} }}'
    )
    made: ir.Model = ir.from_proto(model)
    infer_shapes(made)
    return made


def ahead(model: ir.Model) -> list[str]:
    view = Views(model).view("constants")
    return [node.outputs[0].name or "" for node in every(view.model.graph) if node in view.ahead]


def test_what_static_shapes_and_constants_determine_is_computed_ahead() -> None:
    assert ahead(parse(COMPUTED, "(float[1,4,6] x) => (float[1,24] y)", STORED)) == ["s", "n", "b", "t"]


def test_a_symbolic_size_is_not_computed_ahead() -> None:
    assert ahead(parse(COMPUTED, "(float[N,4,6] x) => (float[N,24] y)", STORED)) == []


def test_the_model_itself_is_not_changed() -> None:
    model = parse(COMPUTED, "(float[1,4,6] x) => (float[1,24] y)", STORED)
    before = [(node.op_type, [value.name for value in node.inputs if value]) for node in model.graph]
    initializers = list(model.graph.initializers)
    Views(model).view("constants"), Views(model).view("sizes")
    assert [(node.op_type, [value.name for value in node.inputs if value]) for node in model.graph] == before
    assert list(model.graph.initializers) == initializers


def test_sizes_are_learnt_from_what_constants_make_without_making_them_constants() -> None:
    model = parse("k = Abs(a) r = Tile(x, k) y = Relu(r)", "(float[2,3] x) => (float[m,n] y)",
                  "int64[2] a = {-3, 2}")  # fmt: skip
    view = Views(model).view("sizes")
    tile = next(node for node in view.model.graph if node.op_type == "Tile")
    assert list(tile.outputs[0].shape or ()) == [6, 6]
    assert tile.inputs[1] is not None
    assert tile.inputs[1].producer() is not None
    assert not view.ahead


def test_a_branch_that_a_known_condition_never_takes_is_gone() -> None:
    body = """b = If (c) <then_branch = t () => (float[2,3] p) { p = Abs(x) },
                        else_branch = e () => (float[2,3] q) { h = Neg(x) q = Erf(h) }> y = Relu(b)"""
    assert sorted(ahead(parse(body, "(float[2,3] x) => (float[2,3] y)", "bool c = {1}"))) == ["b", "h", "q"]
    assert ahead(parse(body, "(float[2,3] x, bool c) => (float[2,3] y)")) == []


def test_random_and_quantizing_nodes_are_never_computed_ahead() -> None:
    body = """r = RandomNormal <shape = [2, 3]> () w = DequantizeLinear(q, s) a = Add(r, w) y = Add(x, a)"""
    stored = "int8[2,3] q = {1, 2, 3, 4, 5, 6}, float s = {0.5}"
    assert ahead(parse(body, "(float[2,3] x) => (float[2,3] y)", stored)) == []


ROWS = tuple(
    Row(op_type=op, since=(1, 22), status="native") for op in ("Relu", "Reshape", "Gather", "Unsqueeze", "Concat")
)


def table(foresight: str, *rows: Row) -> Table:
    reads = Reads.model_validate({"foresight": foresight})
    return Table(backend="toy", toolchain="toy 1.0", date="2026-01-02", reads=reads, rows=(*ROWS, *rows))


def test_a_toolchain_that_computes_ahead_takes_operators_that_its_target_lacks() -> None:
    model = parse(COMPUTED, "(float[1,4,6] x) => (float[1,24] y)", STORED)
    assert check(model, table("constants")).ok
    assert [finding.op_type for finding in check(model, table("sizes")).findings] == ["Shape"]


def test_a_node_on_constants_that_the_vendor_was_seen_to_refuse_is_reported_all_the_same() -> None:
    model = parse("h = Hardmax(k) y = Add(x, h)", "(float[2,3] x) => (float[2,3] y)", "float[2,3] k = {1,2,3,4,5,6}")
    add = Row(op_type="Add", since=(1, 14), status="native")
    refused = Row(op_type="Hardmax", since=(1, 13), status="unsupported", effect="rejected", probes=("Hardmax/folded",))
    assert check(model, table("constants", add)).ok
    assert [finding.op_type for finding in check(model, table("constants", add, refused)).findings] == ["Hardmax"]


STATIC = {"must": {"fact": "shapes", "in": ["static"]}, "effect": "rejected", "probes": ["Relu-14/dynamic"]}


@pytest.mark.parametrize(("foresight", "reason"), [("none", "folded"), ("sizes", None), ("constants", None)])
def test_a_node_behind_a_computed_size_is_told_from_one_that_is_dynamic(foresight: str, reason: str | None) -> None:
    model = parse("k = Abs(a) r = Tile(x, k) y = Relu(r)", "(float[2,3] x) => (float[m,n] y)",
                  "int64[2] a = {-3, 2}")  # fmt: skip
    relu = Row.model_validate({"op_type": "Relu", "since": (1, 14), "status": "native", "require": [STATIC]})
    others = [Row(op_type=op, since=(1, 14), status="native") for op in ("Abs", "Tile")]
    known = table(foresight).model_copy(update={"rows": (relu, *others)})
    found = [finding for finding in check(model, known).findings if finding.op_type == "Relu"]
    assert bool(found) == bool(reason)
    assert all("once the sizes computed before it are folded" in finding.reason for finding in found)
    assert all("fold-constants" in finding.remedy for finding in found)
