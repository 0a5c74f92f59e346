"""Operators of com.microsoft: made where their kernels take the shapes, imported, and left out elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphopt.ir import load
from graphopt.verify import generate, run

Apply = Callable[..., ir.Model]


def types(after: ir.Model) -> list[str]:
    return [node.op_type for node in after.graph if node.op_type != "Constant"]


def check_same(before: str, after: ir.Model) -> None:
    original = load(onnx.parser.parse_model(before))
    samples = generate(original, samples=2)
    for expected, actual in zip(run(original, samples), run(after, samples), strict=True):
        assert list(expected) == list(actual)
        for name, array in expected.items():
            np.testing.assert_allclose(actual[name], array, rtol=1e-4, atol=1e-5)


ATTENTION = """<ir_version: 8, opset_import: ["": {opset}]>
g (float[B, S, 6] q, float[B, S, 6] k, float[B, S, 6] v, float[B, 1, {rows}, S] bias) => (float[B, S, 6] y)
<int64[4] heads = {{0, 0, 2, 3}}, int64[3] whole = {{0, 0, 6}}, float root = {{2}}>
{{
    q4 = Reshape (q, heads)
    qt = Transpose <perm = [0, 2, 1, 3]> (q4)
    k4 = Reshape (k, heads)
    kt = Transpose <perm = [0, 2, 3, 1]> (k4)
    v4 = Reshape (v, heads)
    vt = Transpose <perm = [0, 2, 1, 3]> (v4)
    dots = MatMul (qt, kt)
    scores = Div (dots, root)
    masked = Add (scores, bias)
    weights = Softmax <axis = -1> (masked)
    sums = MatMul (weights, vt)
    joined = Transpose <perm = [0, 2, 1, 3]> (sums)
    y = Reshape (joined, whole)
}}"""


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("rows", ["S", "1"])
def test_attention_of_dynamic_sizes_becomes_multi_head_attention(apply: Apply, opset: int, rows: str) -> None:
    before = ATTENTION.format(opset=opset, rows=rows)
    after = apply("fuse-contrib-ops", before)
    assert "MultiHeadAttention" in types(after)
    assert "Softmax" not in types(after)
    assert after.graph.opset_imports["com.microsoft"] == 1
    check_same(before, after)


def test_a_model_without_any_such_place_imports_nothing(apply: Apply) -> None:
    after = apply(
        "fuse-contrib-ops", '<ir_version: 8, opset_import: ["": 17]> g (float[N] x) => (float[N] y) { y = Relu (x) }'
    )
    assert after.graph.opset_imports == {"": 17}


def test_a_residual_sum_that_is_an_output_keeps_its_name(apply: Apply) -> None:
    before = """<ir_version: 8, opset_import: ["": 17]>
    g (float[N, 2, 4] x, float[N, 2, 4] r) => (float[N, 2, 4] total, float[N, 2, 4] y)
    <float[4] gamma = {1, 2, 3, 4}>
    { total = Add (r, x)  y = LayerNormalization <epsilon = 0.01> (total, gamma) }"""
    after = apply("fuse-skip-layer-norm", before)
    assert types(after) == ["SkipLayerNormalization"]
    assert [value.name for value in after.graph.outputs] == ["total", "y"]
    check_same(before, after)


@pytest.mark.parametrize(
    ("x", "r", "axis"), [("N, 2, 4", "1, 2, 4", -1), ("N, 3, 2, 4", "N, 3, 2, 4", -1), ("N, 2, 4", "N, 2, 4", 1)],
    ids=["broadcast sum", "four axes", "two last axes"],
)  # fmt: skip
def test_sums_that_the_kernel_does_not_take_are_left_alone(apply: Apply, x: str, r: str, axis: int) -> None:
    gamma = "float[2, 4] gamma = {1, 2, 3, 4, 5, 6, 7, 8}" if axis == 1 else "float[4] gamma = {1, 2, 3, 4}"
    before = f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[{x}] x, float[{r}] r) => (float[{x}] y) <{gamma}>
    {{ total = Add (x, r)  y = LayerNormalization <axis = {axis}> (total, gamma) }}"""
    assert "SkipLayerNormalization" not in types(apply("fuse-skip-layer-norm", before))


def test_a_product_by_zero_is_left_alone_since_infinity_times_zero_is_not_zero(apply: Apply) -> None:
    before = """<ir_version: 8, opset_import: ["": 17]>
    g (float[N, 2] x, float[2, 3] w) => (float[N, 3] y) <float zero = {0}>
    { m = MatMul (x, w)  y = Mul (m, zero) }"""
    assert types(apply("fuse-contrib-ops", before)) == ["MatMul", "Mul"]


def test_a_transpose_that_others_read_stays_for_them(apply: Apply) -> None:
    before = """<ir_version: 8, opset_import: ["": 17]>
    g (float[N, 2] x, float[3, 2] w) => (float[N, 3] y, float[2, 3] t)
    { t = Transpose <perm = [1, 0]> (w)  m = MatMul (x, t)  y = Neg (m) }"""
    after = apply("fuse-contrib-ops", before)
    assert types(after) == ["Transpose", "FusedMatMul", "Neg"]
    check_same(before, after)


def test_the_bias_of_a_product_stays_with_it(apply: Apply) -> None:
    before = """<ir_version: 10, opset_import: ["": 20]>
    g (float[N, 2] x, float[N, 2] z, float[2, 2] w) => (float[N, 2] y, float[N, 2] u) <float[2] bias = {1, 2}>
    { m = MatMul (x, w)  b = Add (m, bias)  y = Gelu (b)  c = Add (z, bias)  u = Gelu (c) }"""
    after = apply("fuse-contrib-ops", before)
    assert types(after) == ["MatMul", "Add", "Gelu", "BiasGelu"]
    check_same(before, after)
