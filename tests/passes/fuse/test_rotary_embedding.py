"""RotaryEmbedding is made of the rotation that exporters write out, in the layouts and forms that they have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphopt.ir import load
from graphopt.verify import run

Apply = Callable[..., ir.Model]

HALVES = """
    low = Slice (x, zero, two, three)
    high = Slice (x, two, end, three, one)
    minus = Neg (high)
    turned = Concat <axis = -1> (minus, low)
    a = Mul (x, cos)
    b = Mul (turned, sin)
    y = Add (a, b)
"""
NUMBERS = "int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] three = {3}, int64[1] end = {9999}"


def model(inputs: str, before: str = "", *, body: str = HALVES, held: str = "", opset: int = 23) -> onnx.ModelProto:
    text = f"""<ir_version: 10, opset_import: ["": {opset}]>
    g ({inputs}) => (float[unused_b, unused_h, unused_s, 4] y) <{NUMBERS}{held}> {{ {before} {body} }}"""
    return onnx.parser.parse_model(text)


def types(after: ir.Model) -> list[str]:
    return [node.op_type for node in after.graph]


def check_same(before: onnx.ModelProto, after: ir.Model, **shapes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    sample = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    expected, actual = run(load(before), [sample])[0]["y"], run(after, [sample])[0]["y"]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


FREQUENCIES = """
    both = Concat <axis = -1> (f, f)
    c = Cos (both)
    s = Sin (both)
    cos = Unsqueeze (c, {axis})
    sin = Unsqueeze (s, {axis})
"""


@pytest.mark.parametrize("sizes", [(1, 1), (2, 3)])
def test_angles_of_dynamic_positions_are_proven_equal_in_both_halves(apply: Apply, sizes: tuple[int, int]) -> None:
    before = model("float[B, 3, S, 4] x, float[B, S, 2] f", FREQUENCIES.format(axis="one"))
    after = apply("fuse-rotary-embedding", before)
    assert "RotaryEmbedding" in types(after)
    assert "Neg" not in types(after)
    batch, length = sizes
    check_same(before, after, x=(batch, 3, length, 4), f=(batch, length, 2))


def test_heads_may_come_after_positions(apply: Apply) -> None:
    before = model("float[B, S, 3, 4] x, float[B, S, 2] f", FREQUENCIES.format(axis="two"))
    after = apply("fuse-rotary-embedding", before)
    (made,) = (node for node in after.graph if node.op_type == "RotaryEmbedding")
    assert made.attributes["num_heads"].as_int() == 3
    check_same(before, after, x=(2, 5, 3, 4), f=(2, 5, 2))


@pytest.mark.parametrize(
    ("inputs", "held", "opset"),
    [
        ("float[1, 2, 1, 4] x", ", float[1, 1, 1, 4] cos = {1, 2, 1, 3}, float[1, 1, 1, 4] sin = {1, 2, 1, 2}", 23),
        ("float[1, 2, 1, 4] x", ", float[1, 1, 1, 4] cos = {1, 2, 1, 2}, float[1, 1, 1, 4] sin = {1, 2, 1, 2}", 22),
        ("float[B, 2, 1, 4] x", ", float[1, 1, 1, 4] cos = {1, 2, 1, 2}, float[1, 1, 1, 4] sin = {1, 2, 1, 2}", 23),
        ("float[1, 2, 1, 4] x, float[1, 1, 1, 4] cos, float[1, 1, 1, 4] sin", "", 23),
        ("double[1, 2, 1, 4] x", ", double[1, 1, 1, 4] cos = {1, 2, 1, 2}, double[1, 1, 1, 4] sin = {1, 2, 1, 2}", 23),
    ],
    ids=["halves differ", "old opset", "dynamic batch with one row", "unknown halves", "double"],
)
def test_other_rotations_are_left_alone(apply: Apply, inputs: str, held: str, opset: int) -> None:
    text = model(inputs, held=held, opset=opset)
    if "double" in inputs:
        text.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    assert "RotaryEmbedding" not in types(apply("fuse-rotary-embedding", text))


def test_a_rotation_of_other_than_halves_is_left_alone(apply: Apply) -> None:
    held = ", float[1, 1, 1, 4] cos = {1, 2, 1, 2}, float[1, 1, 1, 4] sin = {1, 2, 1, 2}"
    body = HALVES.replace("(x, zero, two, three)", "(x, zero, one, three)").replace("(x, two, end", "(x, one, end")
    assert "RotaryEmbedding" not in types(
        apply("fuse-rotary-embedding", model("float[1, 2, 1, 4] x", held=held, body=body))
    )


def test_a_part_that_is_turned_becomes_an_attribute(apply: Apply) -> None:
    before = model(
        "float[2, 3, 5, 4] x, float[2, 5, 1] c, float[2, 5, 1] s",
        body="""
        low, high = Split <axis = -1, num_outputs = 2> (x)
        turned = RotaryEmbedding (low, c, s)
        y = Concat <axis = 3> (turned, high)
        """,
    )
    after = apply("fuse-rotary-embedding", before)
    (made,) = after.graph
    assert made.attributes["rotary_embedding_dim"].as_int() == 2
    check_same(before, after, x=(2, 3, 5, 4), c=(2, 5, 1), s=(2, 5, 1))
