from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

SHAPES = [
    ((3, 4), (4, 5)),
    ((2, 3, 4), (4, 5)),
    ((2, 3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (5, 4, 2)),
    ((4,), (4, 5)),
    ((2, 3, 4), (4,)),
]


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_matmul_agrees(one, floats, a, b, constant):
    if constant:
        one("MatMul", {"a": floats(*a)}, {"b": floats(*b)})
    else:
        one("MatMul", {"a": floats(*a), "b": floats(*b)})


@pytest.mark.parametrize("flip", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("c", [(5,), (1, 5), (3, 5), (3, 1), ()])
@pytest.mark.parametrize("constant", [False, True])
def test_gemm_agrees(one, floats, flip, c, constant):
    a, b = floats(*((4, 3) if flip[0] else (3, 4))), floats(*((5, 4) if flip[1] else (4, 5)))
    rest = {"b": b, "c": np.asarray(floats(*c), np.float32)}
    inputs, constants = ({"a": a}, rest) if constant else ({"a": a, **rest}, {})
    one("Gemm", inputs, constants, transA=flip[0], transB=flip[1], alpha=0.5, beta=2.0)


def test_a_bias_and_an_activation_join_the_product(agrees, model, floats):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["a"]),
        helper.make_node("Relu", ["a"], ["y"]),
    ]
    x = floats(2, 3, 4)
    assert agrees(model(nodes, {"x": x}, {"w": floats(4, 5), "b": floats(5)}), {"x": x}) == ["FULLY_CONNECTED"]


def test_a_transposed_operand_costs_nothing(agrees, model, floats):
    nodes = [
        helper.make_node("Transpose", ["k"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q", "t"], ["y"]),
    ]
    inputs = {"q": floats(1, 2, 5, 4), "k": floats(1, 2, 6, 4)}
    assert agrees(model(nodes, inputs), inputs) == ["BATCH_MATMUL"]
