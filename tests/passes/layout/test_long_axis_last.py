"""A part of a graph turns as a whole, and only where nobody can tell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphopt.ir import load
from graphopt.verify import generate, run

Apply = Callable[..., ir.Model]
WEIGHT = "float[2, 1, 3, 1] w = {1, 2, 3, 4, 5, 6}"


def text(body: str, constants: str = "", output: str = "float[N, a] y", opset: int = 17) -> str:
    """A signal of 8 numbers that becomes an image one pixel wide, and what is done to it."""
    return f"""<ir_version: 9, opset_import: ["": {opset}]> g (float[N, 8] x) => ({output})
        <int64[4] image = {{-1, 1, 8, 1}}, int64[2] ends = {{1, 3}}, int64[1] three = {{3}}, int64[2] flat = {{0, -1}},
         int64[4] zero = {{0, 2, 0, 0}}, {WEIGHT}{constants}> {{ {body} }}"""


def kernels(model: ir.Model) -> list[tuple[int, ...]]:
    """Shapes of the kernels of a model's Convs."""
    return [tuple(n.inputs[1].const_value.shape)[2:] for n in model.graph if n.op_type == "Conv"]


@pytest.mark.parametrize(
    "body",
    [
        "i = Reshape (x, image) c = Conv (i, w) y = Flatten (c)",
        "i = Unsqueeze (x, ends) c = Conv <dilations = [2, 1]> (i, w) y = Flatten (c)",
        "i = Reshape (x, image) c = Conv <strides = [2, 1], pads = [1, 0, 2, 0]> (i, w) y = Reshape (c, flat)",
        "i = Reshape (x, image) p = Pad (i, pads) c = Conv (p, w) r = Relu (c) s = Squeeze (r, three) y = Flatten (s)",
        "i = Reshape (x, image) c = Conv (i, w) q = Mul (c, by) d = Sigmoid (q) r = Add (d, c) y = Flatten (r)",
        "i = Reshape (x, image) c = Conv (i, w) m = MaxPool <kernel_shape = [2, 1]> (c) "
        "t = Transpose <perm = [0, 2, 1, 3]> (m) y = Flatten (t)",
        "i = Reshape (x, image) c = Conv (i, w) r = ReduceMean <axes = [2, 3], keepdims = 0> (c) y = Relu (r)",
        "i = Reshape (x, image) c = Conv (i, w) a = GlobalAveragePool (c) y = Flatten (a)",
    ],
)
def test_a_narrow_part_is_turned(apply: Apply, body: str) -> None:
    source = text(body, ", int64[8] pads = {0, 0, 2, 0, 0, 0, 1, 0}, float[2, 1, 1] by = {2, 3}")
    after = apply("long-axis-last", source)
    assert kernels(after) == [(1, 3)]
    before = load(onnx.parser.parse_model(source))
    samples = generate(before, samples=2)
    for expected, actual in zip(run(before, samples), run(after, samples), strict=True):
        np.testing.assert_allclose(actual["y"], expected["y"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("body", "output"),
    [
        ("i = Reshape (x, image) y = Conv (i, w)", "float[N, 2, 6, 1] y"),
        ("i = Reshape (x, image) c = Conv (i, w) y = ArgMax <axis = 2> (c)", "int64[N, 2, 1, 1] y"),
        ("i = Reshape (x, image) c = Conv (i, w) r = Mul (c, along) y = Flatten (r)", "float[N, a] y"),
        ("i = Reshape (x, image) c = Conv (i, w) r = Reshape (c, zero) y = Flatten (r)", "float[N, a] y"),
        ("i = Reshape (x, image) c = Conv <pads = [0, 1, 0, 1]> (i, w) y = Flatten (c)", "float[N, a] y"),
        ("i = Reshape (x, image) c = Conv (i, w) r = Softmax <axis = 2> (c) y = Flatten (r)", "float[N, a] y"),
        ("i = Reshape (x, image) c = Conv (i, w) d = Add (c, z) y = Flatten (d)", "float[N, a] y"),
    ],
    ids=["output", "axis", "constant-along", "copied-dimension", "wide", "softmax", "other-input"],
)
def test_a_part_that_somebody_could_tell_from_the_turned_one_stays(apply: Apply, body: str, output: str) -> None:
    source = text(body, ", float[6, 1] along = {1, 2, 3, 4, 5, 6}", output)
    if "z)" in body:
        source = source.replace("(float[N, 8] x)", "(float[N, 8] x, float[1, 2, 6, 1] z)")
    assert kernels(apply("long-axis-last", source)) == [(3, 1)]
