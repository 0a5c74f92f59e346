"""Arithmetic goes where it changes nothing, and stays where it does: signs of zeros, NaN, infinities, larger shapes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphopt.ir import load
from graphopt.verify import run

Apply = Callable[..., ir.Model]
TRICKY = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.5, -2.5, 1e-45], np.float32)


def ops(model: ir.Model) -> list[str]:
    """Operators of all graphs, without Constant."""
    return [n.op_type for n in ir.traversal.RecursiveGraphIterator(model.graph) if n.op_type != "Constant"]


def graph(line: str, kind: str = "float", opset: int = 17) -> str:
    """A model with inputs x and z of 8 elements, and constants."""
    return f"""<ir_version: 9, opset_import: ["": {opset}]>
        g ({kind}[8] x, {kind}[8] z) => (y) <{kind} one = {{1}}, {kind} zero = {{0}}, {kind} minus = {{-0}},
            {kind} two = {{2}}, {kind}[1, 1] wide = {{1}}, bool yes = {{1}}, bool no = {{0}}> {{ {line} }}"""


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("a = Mul (x, one) y = Exp (a)", ["Exp"]),
        ("a = Mul (x, wide) y = Exp (a)", ["Mul", "Exp"]),  # has one axis more
        ("a = Add (x, zero) y = Exp (a)", ["Add", "Exp"]),  # +0 of -0
        ("a = Add (x, minus) y = Exp (a)", ["Exp"]),
        ("a = Sub (x, zero) y = Exp (a)", ["Exp"]),
        ("a = Sub (x, minus) y = Exp (a)", ["Sub", "Exp"]),
        ("a = Mul (x, zero) y = Exp (a)", ["Mul", "Exp"]),  # NaN of infinity
        ("a = Sub (x, x) y = Exp (a)", ["Sub", "Exp"]),
        ("a = Div (x, x) y = Exp (a)", ["Div", "Exp"]),
        ("a = Less (x, z) b = Not (a) y = Cast <to = 1> (b)", ["Less", "Not", "Cast"]),  # NaN
        ("a = Equal (x, x) y = Cast <to = 1> (a)", ["Equal", "Cast"]),
        ("a = Sub (x, z) y = Neg (a)", ["Sub", "Neg"]),  # -0 where z - x is +0
        ("a = Neg (z) y = Add (x, a)", ["Sub"]),
        ("a = Neg (z) y = Add (a, a)", ["Neg", "Add"]),
        ("a = Pow (x, two) y = Pow (a, one)", ["Pow"]),
        ("a = Sqrt (x) y = Pow (a, two)", ["Sqrt", "Pow"]),
        ("a = Relu (x) y = Abs (a)", ["Relu", "Abs"]),
        ("a = Floor (x) b = Round (a) y = Ceil (b)", ["Floor"]),
        ("a = Floor (x) y = Sign (a)", ["Floor", "Sign"]),
        ("a = Reciprocal (x) y = Reciprocal (a)", ["Reciprocal", "Reciprocal"]),  # 1 / 1e-45 overflows
    ],
)
def test_floating_point(apply: Apply, line: str, left: list[str]) -> None:
    source = graph(line)
    after = apply("canonicalize", source)
    assert ops(after) == left
    feeds = [{"x": TRICKY, "z": TRICKY[::-1].copy()}, {"x": TRICKY, "z": TRICKY}]
    for expected, actual in zip(run(load(onnx.parser.parse_model(source)), feeds), run(after, feeds), strict=True):
        a, b = np.asarray(expected["y"]), np.asarray(actual["y"])
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.signbit(a) & ~np.isnan(a), np.signbit(b) & ~np.isnan(b))


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("a = Add (x, zero) y = Neg (a)", ["Neg"]),
        ("a = Sub (x, x) y = Add (a, z)", ["Identity"]),
        ("a = Mul (x, zero) y = Add (a, z)", ["Identity"]),
        ("a = Less (x, z) b = Not (a) y = Cast <to = 7> (b)", ["GreaterOrEqual", "Cast"]),
        ("a = Cast <to = 1> (x) b = Floor (a) y = Cast <to = 7> (b)", ["Cast", "Cast"]),
        ("a = Div (x, two) y = Mul (a, two)", ["Div", "Mul"]),  # truncates
    ],
)
def test_integers(apply: Apply, line: str, left: list[str]) -> None:
    source = graph(line, "int64")
    after = apply("canonicalize", source)
    assert ops(after) == left
    numbers = np.array([0, 1, -1, 2**62, -(2**63), 2**63 - 1, 7, -7])
    feeds = [{"x": numbers, "z": numbers[::-1].copy()}]
    (expected,), (actual,) = run(load(onnx.parser.parse_model(source)), feeds), run(after, feeds)
    np.testing.assert_array_equal(actual["y"], expected["y"])


def test_before_opset_12_there_is_no_opposite_of_less(apply: Apply) -> None:
    line = "a = Less (x, z) b = Not (a) y = Cast <to = 7> (b)"
    assert ops(apply("canonicalize", graph(line, "int64", opset=11))) == ["Less", "Not", "Cast"]


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("a = Add (x, two) y = Add (two, a)", ["Add"]),
        ("a = Add (x, two) y = Sub (a, two)", ["Add", "Sub"]),  # may round x on purpose
        ("a = Sub (two, x) y = Add (a, two)", ["Sub"]),
        ("a = Mul (x, two) y = Div (a, two)", ["Mul"]),
        ("a = Mul (x, two) y = Div (two, a)", ["Div"]),
        ("a = Div (x, two) y = Div (a, two)", ["Div"]),
        ("a = Mul (x, zero) y = Div (two, a)", ["Mul", "Div"]),
    ],
)
def test_constants_in_a_row(apply: Apply, line: str, left: list[str]) -> None:
    source = graph(line)
    after = apply("merge-constants", source)
    assert ops(after) == left
    feeds = [{"x": np.linspace(-3, 3, 8, dtype=np.float32), "z": np.zeros(8, np.float32)}]
    (expected,), (actual,) = run(load(onnx.parser.parse_model(source)), feeds), run(after, feeds)
    np.testing.assert_allclose(actual["y"], expected["y"], rtol=1e-6)


@pytest.mark.parametrize(("small", "large"), [(1e-30, 1e-30), (1e30, 1e30)])
def test_factors_whose_product_leaves_the_type_stay_two(apply: Apply, small: float, large: float) -> None:
    source = f"""<ir_version: 9, opset_import: ["": 17]>
        g (float[2] x) => (y) <float a = {{{small}}}, float b = {{{large}}}> {{ p = Mul (x, a) y = Mul (p, b) }}"""
    assert ops(apply("merge-constants", source)) == ["Mul", "Mul"]


def test_constants_that_broadcast_to_something_larger_stay_two(apply: Apply) -> None:
    source = """<ir_version: 9, opset_import: ["": 17]>
        g (float[3, 2] x) => (y) <float[3, 1] a = {1, 2, 3}, float[2] b = {1, 2}> { p = Mul (x, a) y = Mul (p, b) }"""
    assert ops(apply("merge-constants", source)) == ["Mul", "Mul"]


def test_an_output_in_the_middle_stays(apply: Apply) -> None:
    source = """<ir_version: 9, opset_import: ["": 17]>
        g (float[2] x) => (float[2] p, float[2] y) <float a = {2}> { p = Mul (x, a) y = Mul (p, a) }"""
    assert ops(apply("merge-constants", source)) == ["Mul", "Mul"]


def test_a_maximum_of_one_element_is_that_element_whatever_the_opset(apply: Apply) -> None:
    old = """<ir_version: 6, opset_import: ["": 11]>
        g (float[N, 1] x) => (float[N] y) { y = ReduceMax <axes = [-1], keepdims = 0> (x) }"""
    new = """<ir_version: 9, opset_import: ["": 18]>
        g (float[N, 1] x) => (float[N] y) <int64[1] axes = {-1}> { y = ReduceMax <keepdims = 0> (x, axes) }"""
    for source in (old, new):
        assert ops(apply("eliminate-degenerate", source)) == ["Squeeze"]


def test_a_reduction_over_all_axes_is_not_one_over_none(apply: Apply) -> None:
    for attribute, left in (("noop_with_empty_axes = 1", ["Neg"]), ("noop_with_empty_axes = 0", ["ReduceMax", "Neg"])):
        source = f"""<ir_version: 9, opset_import: ["": 18]>
            g (float[2, 3] x) => (y) {{ a = ReduceMax <{attribute}> (x) y = Neg (a) }}"""
        assert ops(apply("eliminate-degenerate", source)) == left
