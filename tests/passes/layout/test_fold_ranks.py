"""Nothing of six axes is left between nodes, and the result is the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphopt.ir import load
from graphopt.ir.edit import static_shape
from graphopt.verify import generate, run

Apply = Callable[..., ir.Model]
HEAD = '<ir_version: 9, opset_import: ["": 18]>'
WINDOWS = f"""{HEAD} windows (float[2, 8, 8, 6] x) => (float[8, 16, 6] y)
    <int64[6] deep = {{2, 2, 4, 2, 4, 6}}, int64[3] flat = {{-1, 16, 6}}>
    {{ a = Reshape(x, deep) b = Transpose<perm = [0, 1, 3, 2, 4, 5]>(a) y = Reshape(b, flat) }}"""
HEADS = f"""{HEAD} heads (float[2, 16, 36] x, float[2, 6] w) => (float[12, 8, 2, 6] y)
    <int64[6] deep = {{2, 2, 8, 3, 2, 6}}, int64[4] flat = {{12, 8, 2, 6}}>
    {{ a = Reshape(x, deep) b = Mul(a, w) c = Transpose<perm = [3, 0, 1, 4, 2, 5]>(b)
       d = Softmax<axis = -1>(c) y = Reshape(d, flat) }}"""
CROSSED = f"""{HEAD} crossed (float[2, 3, 2, 3, 2, 3] x) => (float[3, 2, 3, 2, 3, 2] y)
    {{ y = Transpose<perm = [5, 4, 3, 2, 1, 0]>(x) }}"""


def deepest(model: ir.Model) -> int:
    return max(len(static_shape(value) or ()) for node in model.graph for value in node.outputs)


@pytest.mark.parametrize("source", [WINDOWS, HEADS])
def test_a_chain_keeps_few_axes_from_end_to_end(source: str, apply: Apply) -> None:
    before, after = load(onnx.parser.parse_model(source)), apply("fold-ranks", source)
    assert deepest(after) <= 5
    samples = generate(before, samples=1)
    for expected, actual in zip(run(before, samples), run(after, samples), strict=True):
        np.testing.assert_allclose(actual["y"], expected["y"], rtol=1e-5)


def test_six_axes_that_all_change_places_stay(apply: Apply) -> None:
    assert [node.op_type for node in apply("fold-ranks", CROSSED).graph] == ["Transpose"]


def test_five_axes_are_left_alone(apply: Apply) -> None:
    source = f"{HEAD} g (float[2, 2, 2, 2, 2] x) => (float[2, 2, 2, 2, 2] y) {{ y = Relu(x) }}"
    assert [node.op_type for node in apply("fold-ranks", source).graph] == ["Relu"]
