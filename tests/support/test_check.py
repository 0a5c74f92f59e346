"""What check says of small models, in full sentences."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from graphopt.ir.infer import infer_shapes
from graphopt.support.check import CheckResult, check
from graphopt.support.table import Condition, Row, Table, Verdict
from graphopt.support.work import macs


def condition(data: object, **more: object) -> Condition:
    return Condition.model_validate({"must": data, **more})


def fact(name: str, *values: object, **more: object) -> Condition:
    return condition({"fact": name, "in": list(values)}, **more)


OK = Verdict(claimed=True, compiled=True, ran=True, numerics="pass")
FLOAT = fact("input.0.dtype", "float32", effect="rejected", says="no such kernel", probes=["Relu-14/float64"])
STATIC = fact("shapes", "static", effect="rejected", probes=["Relu-14/dynamic"])
TABLE = Table(
    backend="toy",
    toolchain="toy 1.0",
    date="2026-01-02",
    rows=(
        Row(op_type="Relu", since=(6, 14), status="native", verdict=OK, require=(FLOAT, STATIC)),
        Row(op_type="Add", since=(13, 14), status="native", verdict=OK),
        Row(op_type="MatMul", since=(1, 13), status="native", verdict=OK),
        Row(
            op_type="Conv",
            since=(1, 22),
            status="native",
            verdict=OK,
            require=(fact("input.1.constant", True, effect="rejected"),),
        ),
        Row(op_type="If", since=(1, 25), status="native", verdict=OK),
        Row(
            op_type="AveragePool",
            since=(11, 11),
            status="native",
            verdict=OK,
            require=(
                fact("attr.ceil_mode", 0, effect="wrong result", probes=["AveragePool-11/ceil_mode=1"]),
                fact("attr.pads", "zero", "symmetric", effect="unmeasured"),
            ),
        ),
        Row(
            op_type="Erf", since=(9, 13), status="unsupported", effect="crash", says="SIGSEGV", probes=("Erf-13/base",)
        ),
    ),
)


def parse(
    body: str, opset: int = 17, signature: str = "(float[1,4,8,8] x) => (float[1,4,8,8] y)", rest: str = ""
) -> ir.Model:
    domains = f'"" : {opset}' + (', "own" : 1' if rest else "")
    proto = onnx.parser.parse_model(f"<ir_version: 8, opset_import: [{domains}]> g {signature} {{ {body} }} {rest}")
    model = ir.from_proto(proto)
    infer_shapes(model)
    return model


def run(body: str, **more: object) -> CheckResult:
    return check(parse(body, **more), TABLE)  # type: ignore[arg-type]


def test_a_supported_model_is_one_segment_without_findings() -> None:
    answer = run("a = Relu(x) y = Add(a, x)")
    assert (answer.ok, answer.nodes, answer.supported, answer.segments, answer.crossing_bytes) == (True, 2, 2, 1, 0)
    assert answer.as_json()["unsupported"] == []


def test_a_finding_names_node_condition_evidence_and_remedy() -> None:
    answer = run("y = AveragePool <kernel_shape = [3, 3], ceil_mode = 1, pads = [1, 1, 1, 1]> (x)")
    (finding,) = answer.findings
    assert (finding.node, finding.op_type, finding.effect) == ("y", "AveragePool", "wrong result")
    assert finding.reason == "attribute ceil_mode must be 0, found 1"
    assert finding.evidence == "wrong result by toy 1.0 in AveragePool-11/ceil_mode=1"
    assert "ceil_mode = 0" in finding.remedy


def test_each_broken_condition_is_a_finding_but_the_node_counts_once() -> None:
    answer = run("y = AveragePool <kernel_shape = [3, 3], ceil_mode = 1, pads = [0, 0, 1, 1]> (x)")
    assert [finding.effect for finding in answer.findings] == ["wrong result", "unmeasured"]
    assert (answer.nodes, answer.supported) == (1, 0)
    assert "no probe has gone there" in answer.findings[1].reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y = Erf(x)", "Erf is not supported in any form measured"),
        ("y = Tanh(x)", "no probe of Tanh has been measured"),
        (
            "y = AveragePool <kernel_shape = [1, 1]> (x)",
            "version 19 of AveragePool has not been measured, only versions 11 to 11",
        ),
    ],
)
def test_what_was_never_taken_or_measured_is_not_supported(body: str, reason: str) -> None:
    answer = run(body, opset=19)
    assert [finding.reason for finding in answer.findings] == [reason]
    assert "graphopt probe -b toy" in answer.findings[0].remedy or "legalize" in answer.findings[0].remedy


def test_an_operator_that_onnx_lacks_is_not_supported() -> None:
    model = parse("y = Relu(x)")
    model.graph.node(0).domain = "com.example"
    (finding,) = check(model, TABLE).findings
    assert finding.reason == "com.example::Relu is not an operator that ONNX defines at this opset"


def test_a_symbolic_dimension_is_told_from_a_static_one() -> None:
    (finding,) = run("y = Relu(x)", signature="(float[N,4] x) => (float[N,4] y)").findings
    assert finding.reason == "its shapes must be static, found dynamic batch"
    assert "--dim" in finding.remedy


def test_an_unknown_dtype_is_a_reason_of_its_own() -> None:
    model = parse("a = Relu(x) y = Relu(a)")
    value = model.graph.node(0).outputs[0]
    value.dtype, value.shape = None, None
    (finding,) = [finding for finding in check(model, TABLE).findings if finding.node == "y"]
    assert finding.reason == "nothing tells the shapes that Relu 'a' makes, on which it depends"
    assert "the dtype of input 0 must be float32" in finding.evidence


def test_what_a_custom_operator_makes_unknown_is_told_by_its_name_all_the_way_down() -> None:
    model = parse("a = Relu(x) b = Relu(a) y = Relu(b)")
    model.graph.node(0).domain = "vendor.ai"
    for node in model.graph:
        for value in node.outputs:
            value.dtype, value.shape = None, None
    first, second, third = check(model, TABLE).findings
    assert first.reason == "vendor.ai::Relu is not an operator that ONNX defines at this opset"
    assert (
        second.reason == third.reason == "nothing tells the shapes that vendor.ai::Relu 'a' makes, on which it depends"
    )
    assert "declare what vendor.ai::Relu makes" in third.remedy


def test_constant_nodes_are_not_counted_and_make_constants() -> None:
    body = "w = Constant <value = float[1,4,1,1] {1, 2, 3, 4}> () y = Conv(x, w)"
    answer = run(body, signature="(float[1,4,8,8] x) => (float[1,1,8,8] y)")
    assert (answer.nodes, answer.supported, answer.findings) == (1, 1, ())


def test_bodies_are_looked_into_and_make_their_node_leave_the_target() -> None:
    body = """a = Relu(x)
        b = If (c) <then_branch = t () => (float[1,4,8,8] p) { p = Relu(a) },
                    else_branch = e () => (float[1,4,8,8] q) { q = Erf(a) }>
        y = Relu(b)"""
    answer = run(body, signature="(float[1,4,8,8] x, bool c) => (float[1,4,8,8] y)")
    assert (answer.nodes, answer.supported, answer.segments) == (5, 4, 3)
    assert [finding.node for finding in answer.findings] == ["q"]
    assert answer.crossing_bytes == 2 * 4 * 8 * 8 * 4


def test_functions_are_looked_into_where_they_are_called() -> None:
    rest = '<domain: "own", opset_import: ["" : 17]> twice (a) => (c) { b = Relu(a) c = Erf(b) }'
    model = parse("y = own.twice(x)", rest=rest)
    answer = check(model, TABLE)
    assert (answer.nodes, answer.supported) == (2, 1)
    assert [finding.op_type for finding in answer.findings] == ["Erf"]
    assert model.graph.node(0).op_type == "twice"


def test_the_share_by_macs_tells_what_the_count_of_nodes_hides() -> None:
    answer = run(
        "w = Relu(k) a = Conv(x, w) y = Relu(a)", signature="(float[1,4,8,8] x, float[2,4,3,3] k) => (float[1,2,6,6] y)"
    )
    assert (answer.nodes, answer.supported) == (3, 2)
    assert (answer.macs, answer.supported_macs) == (2 * 6 * 6 * 4 * 3 * 3, 0)


@pytest.mark.parametrize(
    ("body", "signature", "count"),
    [
        ("y = Conv <group = 4> (x, w)", "(float[1,4,8,8] x, float[4,1,3,3] w) => (float[1,4,6,6] y)", 4 * 36 * 9),
        ("y = ConvTranspose(x, w)", "(float[1,4,8,8] x, float[4,2,3,3] w) => (float[1,2,10,10] y)", 4 * 64 * 2 * 9),
        ("y = MatMul(x, w)", "(float[5,2,3] x, float[3,7] w) => (float[5,2,7] y)", 5 * 2 * 3 * 7),
        ("y = Gemm <transA = 1> (x, w)", "(float[3,2] x, float[3,7] w) => (float[2,7] y)", 2 * 3 * 7),
        ("y = Gemm <transB = 1> (x, w)", "(float[2,3] x, float[7,3] w) => (float[2,7] y)", 2 * 3 * 7),
        ('y = Einsum <equation = "bij,jk->bik"> (x, w)', "(float[5,2,3] x, float[3,7] w) => (float[5,2,7] y)", 210),
        ('y = Einsum <equation = "...j,jk->...k"> (x, w)', "(float[5,2,3] x, float[3,7] w) => (float[5,2,7] y)", 210),
        (
            "y = Attention (q, k, v)",
            "(float[1,2,4,8] q, float[1,2,6,8] k, float[1,2,6,5] v) => (float[1,2,4,5] y)",
            2 * 4 * 6 * (8 + 5),
        ),
        ("y = Relu(x)", "(float[2,3] x) => (float[2,3] y)", 0),
        ("y = MatMul(x, w)", "(float[N,3] x, float[3,7] w) => (float[N,7] y)", None),
    ],
)
def test_macs_of_an_operator(body: str, signature: str, count: int | None) -> None:
    assert macs(parse(body, 24, signature).graph.node(0)) == count


def test_the_json_has_the_keys_that_scripts_rely_on() -> None:
    data = run("y = Erf(x)").as_json()
    assert {"toolchain", "nodes", "supported", "segments", "unsupported"} <= data.keys()
    assert data["unsupported"][0].keys() == {"node", "op_type", "reason", "evidence", "remedy"}
