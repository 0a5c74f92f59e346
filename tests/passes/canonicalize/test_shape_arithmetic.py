"""Sizes are computed the short way or not at all, and come out the same for every value of the symbols."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphopt.ir import load
from graphopt.verify import run

Apply = Callable[..., ir.Model]
HEADER = '<ir_version: 9, opset_import: ["": {opset}]>\n'


def ops(model: ir.Model) -> list[str]:
    """Operators of all graphs, without Constant."""
    return [n.op_type for n in ir.traversal.RecursiveGraphIterator(model.graph) if n.op_type != "Constant"]


def same(before: str, after: ir.Model, name: str, *shapes: tuple[int, ...]) -> None:
    """Both compute the same on inputs of these shapes."""
    for shape in shapes:
        feeds = [{name: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}]
        (expected,), (actual,) = run(load(onnx.parser.parse_model(before)), feeds), run(after, feeds)
        for key, array in expected.items():
            np.testing.assert_array_equal(actual[key], array)


HEADS = """
    g (float[N, S, 8] x) => (y)
        <int64 zero = {0}, int64 one = {1}, int64[1] axis = {0}, int64[1] two = {2}, int64[1] four = {4},
         int64[1] rest = {-1}> {
        i = Shape (x)  n = Gather (i, zero)  j = Shape (x)  s = Gather (j, one)
        nu = Unsqueeze (n, axis)  su = Unsqueeze (s, axis)
        shape = Concat <axis = 0> (nu, su, %s)
        r = Reshape (x, shape)
        y = Transpose <perm = [0, 2, 1, 3]> (r)
    }"""


def test_a_split_into_heads_needs_no_arithmetic(apply: Apply) -> None:
    source = HEADER.format(opset=17) + HEADS % "two, four"
    after = apply("canonicalize", source)
    assert ops(after) == ["Reshape", "Transpose"]
    assert after.graph[0].inputs[1].const_value.numpy().tolist() == [0, 0, 2, 4]
    same(source, after, "x", (3, 5, 8), (1, 1, 8), (0, 3, 8), (2, 0, 8))


def test_what_a_minus_one_stands_for_is_said_where_it_is_known(apply: Apply) -> None:
    after = apply("canonicalize", HEADER.format(opset=17) + HEADS % "two, rest")
    assert after.graph[0].inputs[1].const_value.numpy().tolist() == [0, 0, 2, 4]


def test_a_reshape_of_an_empty_batch_still_works(apply: Apply) -> None:
    # [0, -1] would not: nothing is left over of an empty tensor.
    source = HEADER.format(opset=17) + """
        g (float[N, A, B] x) => (y) <int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}> {
            s = Shape (x)  n = Gather (s, zero)  a = Gather (s, one)  b = Gather (s, two)  ab = Mul (a, b)
            shape = Concat <axis = 0> (n, ab)  y = Reshape (x, shape)
        }"""  # fmt: skip
    same(source, apply("canonicalize", source), "x", (3, 2, 4), (0, 2, 4), (2, 0, 4), (1, 1, 1))


@pytest.mark.parametrize("back", [0, 1, 2, 3, 4])
def test_a_slice_up_to_so_many_before_the_end_is_right_for_short_inputs(apply: Apply, back: int) -> None:
    source = HEADER.format(opset=17) + f"""
        g (float[N, 2] x) => (y) <int64[1] zero = {{0}}, int64[1] back = {{{back}}}> {{
            s = Shape (x)  n = Gather (s, zero)  end = Sub (n, back)  y = Slice (x, zero, end, zero)
        }}"""  # fmt: skip
    after = apply("constant-shapes", source)
    assert (ops(after) == ["Slice"]) == (back < 3)
    same(source, apply("canonicalize", source), "x", *((n, 2) for n in range(7)))


def test_an_expand_keeps_the_sizes_that_the_input_has(apply: Apply) -> None:
    source = HEADER.format(opset=17) + """
        g (float[N, 1, 4] x) => (y) <int64[1] zero = {0}, int64[2] more = {3, 4}> {
            s = Shape (x)  n = Gather (s, zero)  shape = Concat <axis = 0> (n, more)  y = Expand (x, shape)
        }"""  # fmt: skip
    after = apply("canonicalize", source)
    assert ops(after) == ["Expand"]
    same(source, after, "x", (2, 1, 4), (1, 1, 4), (0, 1, 4))


@pytest.mark.parametrize(("opset", "left"), [(13, ["Shape", "Gather", "Neg"]), (17, ["Shape", "Neg"])])
def test_a_run_of_sizes_is_taken_at_once(apply: Apply, opset: int, left: list[str]) -> None:
    source = HEADER.format(opset=opset) + """
        g (float[N, C, H, W] x) => (y) <int64 two = {2}, int64 three = {3}, int64[1] axis = {0}> {
            r = Relu (x)  s = Shape (r)  h = Gather (s, two)  t = Shape (x)  w = Gather (t, three)
            hu = Unsqueeze (h, axis)  wu = Unsqueeze (w, axis)  size = Concat <axis = 0> (hu, wu)  y = Neg (size)
        }"""  # fmt: skip
    after = apply("canonicalize", source)
    assert ops(after) == left
    same(source, after, "x", (1, 2, 3, 4), (0, 1, 1, 1))


def test_a_where_that_chooses_between_sizes_becomes_a_concat(apply: Apply) -> None:
    source = HEADER.format(opset=17) + """
        g (float[N, C] x) => (y)
            <int64[1] zero = {0}, int64[1] five = {5}, bool[2] pick = {0, 1}, int64[2] other = {7, 1}> {
            s = Shape (x)  n = Gather (s, zero)  c = Concat <axis = 0> (n, five)
            w = Where (pick, other, c)  y = Neg (w)
        }"""  # fmt: skip
    after = apply("canonicalize", source)
    assert ops(after) == ["Shape", "Concat", "Neg"]
    same(source, after, "x", (3, 2), (0, 1))


def test_a_shape_is_taken_where_the_old_one_was_so_that_the_tensor_can_go(apply: Apply) -> None:
    text = HEADER.format(opset=17) + """
        g (float[A] x, float[B] z) => (y, q) <int64[1] one = {1}, int64[1] two = {2}> {
            k = NonZero (x)  s = Shape (k)  e = Exp (z)  n = Gather (s, one)  c = Concat <axis = 0> (n, two)
            y = Neg (c)  q = Exp (e)
        }"""  # fmt: skip
    after = apply("simplify-shape-arithmetic", text)
    assert ops(after)[:3] == ["NonZero", "Shape", "Exp"]


def test_a_default_shape_that_the_caller_may_override_is_not_believed(apply: Apply) -> None:
    source = (
        HEADER.format(opset=17)
        + """
        g (float[N, 8] x, int64[2] shape) => (y) <int64[2] shape = {-1, 4}> { y = Reshape (x, shape) }"""
    )
    after = apply("canonicalize", source)
    assert after.graph[0].inputs[1].name == "shape"


def test_a_loop_takes_sizes_of_what_it_carries_anew_in_every_turn(apply: Apply) -> None:
    source = HEADER.format(opset=17) + """
        g (float[N] x) => (float[M] y) <int64 turns = {3}> {
            y = Loop (turns, , x) <
                body = b (int64 i, bool q, float[K] v) => (bool r, float[L] w) {
                    r = Identity (q) s = Shape (v) o = ConstantOfShape (s) w = Concat <axis = 0> (v, o)
                }
            >
        }"""  # fmt: skip
    same(source, apply("canonicalize", source), "x", (1,), (2,), (0,))
