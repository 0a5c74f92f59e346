"""Projections of one value are computed together, with names, bodies and weights that others need left as they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphopt.ir import load
from graphopt.verify import generate, run

Apply = Callable[..., ir.Model]


def types(graph: ir.Graph) -> list[str]:
    return [node.op_type for node in graph if node.op_type != "Constant"]


def check_same(before: str, after: ir.Model) -> None:
    original = load(onnx.parser.parse_model(before))
    samples = generate(original, samples=2)
    for expected, actual in zip(run(original, samples), run(after, samples), strict=True):
        assert list(expected) == list(actual)
        for name, array in expected.items():
            np.testing.assert_allclose(actual[name], array, rtol=1e-5)


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_projections_are_joined_in_every_form_of_split(apply: Apply, opset: int) -> None:
    before = f"""<ir_version: 8, opset_import: ["": {opset}]>
    g (float[B, 2] x) => (float[B, 2] q, float[B, 1] k)
    <float[2, 2] a = {{1, 2, 3, 4}}, float[2, 1] b = {{5, 6}}, float[2] c = {{7, 8}}, float[1] d = {{9}}>
    {{ m = MatMul (x, a)  q = Add (c, m)  n = MatMul (x, b)  k = Add (n, d) }}"""
    after = apply("fuse-qkv", before)
    assert types(after.graph) == ["MatMul", "Add", "Split"]
    assert set(after.graph.initializers) == {"a_joined", "c_joined"} | (
        {"x_projections_sizes"} if opset > 11 else set()
    )
    check_same(before, after)


def test_a_product_that_is_read_elsewhere_is_joined_without_its_sum(apply: Apply) -> None:
    before = """<ir_version: 8, opset_import: ["": 17]>
    g (float[B, 2] x) => (float[B, 2] m, float[B, 2] q, float[B, 2] k)
    <float[2, 2] a = {1, 2, 3, 4}, float[2, 2] b = {5, 6, 7, 8}, float[2] c = {7, 8}>
    { m = MatMul (x, a)  q = Add (m, c)  k = MatMul (x, b) }"""
    after = apply("fuse-qkv", before)
    assert sorted(types(after.graph)) == ["Add", "MatMul", "Split"]
    check_same(before, after)


def test_weights_that_the_caller_may_override_are_left_alone(apply: Apply) -> None:
    before = """<ir_version: 8, opset_import: ["": 17]>
    g (float[B, 2] x, float[2, 2] a, float[2, 2] b) => (float[B, 2] q, float[B, 2] k)
    <float[2, 2] a = {1, 2, 3, 4}, float[2, 2] b = {5, 6, 7, 8}>
    { q = MatMul (x, a)  k = MatMul (x, b) }"""
    assert types(apply("fuse-qkv", before).graph) == ["MatMul", "MatMul"]


def test_a_weight_that_another_node_reads_stays(apply: Apply) -> None:
    before = """<ir_version: 8, opset_import: ["": 17]>
    g (float[B, 2] x, float[B, 2] z) => (float[B, 2] q, float[B, 2] k, float[B, 2] w)
    <float[2, 2] a = {1, 2, 3, 4}, float[2, 2] b = {5, 6, 7, 8}>
    { q = MatMul (x, a)  k = MatMul (x, b)  w = MatMul (z, a) }"""
    after = apply("fuse-qkv", before)
    assert types(after.graph) == ["MatMul", "Split", "MatMul"]
    assert "a" in after.graph.initializers
    check_same(before, after)


def test_projections_in_a_body_and_around_it_are_not_mixed(apply: Apply) -> None:
    before = """<ir_version: 8, opset_import: ["": 17]>
    g (float[2, 2] x, bool c) => (float[2, 2] q, float[2, 2] z)
    <float[2, 2] a = {1, 2, 3, 4}, float[2, 2] b = {5, 6, 7, 8}>
    {
        q = MatMul (x, a)
        z = If (c) <
            then_branch = t () => (float[2, 2] i) { i = MatMul (x, b) },
            else_branch = e () => (float[2, 2] j) { j = Identity (x) }
        >
    }"""
    assert types(apply("fuse-qkv", before).graph) == ["MatMul", "If"]
