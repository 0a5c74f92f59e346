"""Normalizations and reductions: recognized in every form that exporters write, and only there."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import pytest

Fuse = Callable[..., list[str]]
Apply = Callable[..., ir.Model]


def header(opset: int) -> str:
    return f'<ir_version: 10, opset_import: ["": {opset}]>\n'


def norm(
    opset: int, *, shape: str = "2, 3, 4", axes: str = "-1", kind: str = "float", end: str = "y = Div (d, r)",
    constants: str = "", square: str = "Mul (d, d)", epsilon: str = "float eps = {0.00001}",
) -> str:  # fmt: skip
    """The text of a normalization written out."""
    if opset >= 18:
        mean = "ReduceMean ({}, axes)"
        count = axes.count(",") + 1
        constants = f", int64[{count}] axes = {{{axes}}}{constants}"
    else:
        mean = f"ReduceMean <axes = [{axes}]> ({{}})"
    return (
        header(opset)
        + f"""g ({kind}[{shape}] x) => ({kind}[{shape}] y)
        <{epsilon}, float two = {{2}}, float one = {{1}}{constants}> {{
        m = {mean.format("x")} d = Sub (x, m) q = {square} v = {mean.format("q")} e = Add (v, eps)
        r = Sqrt (e) {end} }}"""
    )


AFFINE = ", float[4] s = {1, 2, 3, 4}, float[4] b = {4, 3, 2, 1}"


@pytest.mark.parametrize("opset", [17, 18, 21])
@pytest.mark.parametrize(
    "end",
    [
        "n = Div (d, r) k = Mul (n, s) y = Add (k, b)",
        "i = Reciprocal (r) n = Mul (d, i) k = Mul (s, n) y = Add (b, k)",
        "i = Div (one, r) n = Mul (i, d) k = Mul (n, s) y = Add (k, b)", "n = Div (d, r) y = Mul (n, s)",
    ],
)  # fmt: skip
def test_layer_normalization_is_one_node(fused: Fuse, opset: int, end: str) -> None:
    for square in ("Mul (d, d)", "Pow (d, two)"):
        assert fused(norm(opset, end=end, constants=AFFINE, square=square), "fuse") == ["LayerNormalization"]


@pytest.mark.parametrize(
    "text",
    [
        norm(16), norm(17, axes="1"), norm(17, kind="double", epsilon="double eps = {0.00001}"),
        norm(17, epsilon="float eps = {0}"), norm(17, epsilon="float[1, 1, 1, 1] eps = {0.1}", shape="2, 3, 4")
        .replace("(float[2, 3, 4] y)", "(float[1, 2, 3, 4] y)"), norm(17, shape="2, 3, C"),
    ],
    ids=["opset", "inner-axis", "double", "epsilon-zero", "epsilon-grows", "dynamic"],
)  # fmt: skip
def test_what_is_not_quite_a_layer_normalization_stays(fused: Fuse, text: str) -> None:
    assert "Sqrt" in fused(text, "fuse-layer-norm")


def test_the_square_of_another_value_is_no_variance(fused: Fuse) -> None:
    assert "Sqrt" in fused(norm(17, square="Mul (x, x)"), "fuse-layer-norm")


@pytest.mark.parametrize("opset", [13, 17, 18])
def test_statistics_of_each_channel_make_an_instance_normalization(fused: Fuse, opset: int) -> None:
    affine = ", float[3, 1, 1] s = {1, 2, 3}, float[1, 3, 1, 1] b = {3, 2, 1}"
    text = norm(
        opset, shape="2, 3, 4, 4", axes="2, 3", constants=affine, end="n = Div (d, r) k = Mul (n, s) y = Add (k, b)"
    )
    assert fused(text, "fuse") == ["InstanceNormalization"]


def test_a_scale_of_each_channel_tells_instance_from_layer_normalization(fused: Fuse) -> None:
    affine = ", float[3, 1] s = {1, 2, 3}, float[3, 1] b = {3, 2, 1}"
    text = norm(17, axes="2", constants=affine, end="n = Div (d, r) k = Mul (n, s) y = Add (k, b)")
    assert fused(text, "fuse") == ["InstanceNormalization"]


def test_an_affine_part_along_another_axis_stays(fused: Fuse) -> None:
    affine = ", float[2, 1, 1] s = {1, 2}"
    assert fused(norm(17, constants=affine, end="n = Div (d, r) y = Mul (n, s)"), "fuse") == [
        "LayerNormalization", "Mul",
    ]  # fmt: skip


def test_a_group_normalization_with_a_scale_for_each_group_takes_nothing_in(apply: Apply) -> None:
    text = (
        header(18)
        + """g (float[2, 4, 3] x) => (float[2, 4, 3] y)
        <float[2] one = {1, 1}, float[2] zero = {0, 0}, float[4, 1] c = {1, 2, 3, 4}>
        { n = GroupNormalization <num_groups = 2> (x, one, zero) y = Mul (n, c) }"""
    )
    assert [n.op_type for n in apply("fuse-norm-affine", text).graph] == ["GroupNormalization", "Mul"]


@pytest.mark.parametrize(
    "body",
    [
        "e = Exp (x) s = ReduceSum (e, last) y = Div (e, s)", "e = Exp (x) s = ReduceSum (e, last) y = Log (s)",
        "l = ReduceL2 (x, last) y = Div (x, l)", "e = Exp (x) f = Add (e, one) y = Log (f)",
        "h = Mul (x, quick) s = Sigmoid (h) y = Mul (x, s)",
    ],
    ids=["softmax-overflows", "log-sum-exp-overflows", "zero-vector-is-nan", "softplus-overflows", "quick-gelu"],
)  # fmt: skip
def test_what_differs_from_the_operator_for_some_input_stays(apply: Apply, body: str) -> None:
    text = (
        header(20)
        + f"""g (float[2, 3] x) => (float[a, b] y)
        <int64[1] last = {{-1}}, float one = {{1}}, float quick = {{1.702}}> {{ {body} }}"""
    )
    before = [part.split(" (")[0].split("= ")[1] for part in body.split(") ")]
    after = [n.op_type for n in apply("fuse", text).graph]
    assert after in (before, ["Exp", "ReduceLogSum"])


ROUND_TRIPS = {
    "LayerNormalization": (17, "LayerNormalization (x, s, b)", "layer-norm"),
    "RMSNormalization": (23, "RMSNormalization (x, s)", "layer-norm"),
    "InstanceNormalization": (17, "InstanceNormalization (x, c, c)", "instance-norm"),
    "BatchNormalization": (17, "BatchNormalization (x, c, c, c, c)", "batch-norm"),
    "Gelu": (20, "Gelu (x)", "gelu"),
    "Softmax": (13, "Softmax <axis = 1> (x)", "softmax"),
    "LogSoftmax": (17, "LogSoftmax (x)", "softmax"),
    "Swish": (24, "Swish <alpha = 2.0> (x)", "swish"),
    "Softsign": (17, "Softsign (x)", "swish"),
    "PRelu": (17, "PRelu (x, s)", "leaky-relu"),
    "ReduceL1": (17, "ReduceL1 (x)", "reductions"),
    "ReduceL2": (18, "ReduceL2 (x)", "reductions"),
    "HardSwish": (17, "HardSwish (x)", "hard-swish"),
}


@pytest.mark.parametrize("made", sorted(ROUND_TRIPS))
def test_what_is_written_out_is_recognized_again(apply: Apply, made: str) -> None:
    opset, call, name = ROUND_TRIPS[made]
    text = (
        header(opset)
        + f"""g (float[2, 3, 4] x) => (float[a, b, c] y)
        <float[4] s = {{1, 2, 3, 4}}, float[4] b = {{0, 1, 2, 3}}, float[3] c = {{1, 2, 3}}> {{ y = {call} }}"""
    )
    out = apply(f"decompose-{name}", text)
    assert made not in [n.op_type for n in out.graph]
    again = apply("fuse", ir.to_proto(out))
    assert [n.op_type for n in again.graph if n.op_type != "Constant"] == [made]
