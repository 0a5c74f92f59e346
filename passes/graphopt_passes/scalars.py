"""Numbers in patterns: constants that stand for one number, and the ways that exporters write the same arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, shape_of

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)
_TOLERANCE = {"float16": 1e-3, "bfloat16": 8e-3}
"""Relative distance up to which a constant counts as a number: what the type can tell."""
_DIGITS = 2e-5
"""The same for wider types: exporters write 1.4142 for √2, and 80 dB are kept."""


def single(array: np.ndarray) -> bool:
    """Whether a constant has one element."""
    return array.size == 1


def near(wanted: float) -> Callable[[np.ndarray], bool]:
    """A condition on a constant: one element, which is this number as far as its type and its writer tell."""

    def check(array: np.ndarray) -> bool:
        if array.size != 1:
            return False
        return math.isclose(float(array.reshape(())), wanted, rel_tol=_TOLERANCE.get(array.dtype.name, _DIGITS))

    return check


def number(like: ir.Value, content: float) -> np.ndarray:
    """A scalar constant of the type of a value."""
    assert like.dtype is not None
    return np.array(content, like.dtype.numpy())


def is_float(value: ir.Value) -> bool:
    """Whether a value is of one of the floating-point types that arithmetic is defined for."""
    return value.dtype in FLOATS


def rank_of(value: ir.Value | None) -> int | None:
    """The proven rank of a value."""
    shape = shape_of(value)
    return None if shape is None else len(shape)


def keeps_rank(m, x: ir.Value) -> bool:
    """Whether no constant of one element in a match has more axes than x, which would make the result larger."""
    most = max(
        (len(tensor.shape) for node in m.nodes for value in node.inputs
         if (tensor := constant(value)) is not None and tensor.size == 1),
        default=0,
    )  # fmt: skip
    rank = rank_of(x)
    return most == 0 or (rank is not None and most <= rank)


def square(p, x):
    """x², as Mul(x, x) or Pow(x, 2)."""
    return p.either(p.Mul(x, x), p.Pow(x, 2.0))


def times(p, x, factor: float):
    """x multiplied by a number, as Mul or as Div by its reciprocal."""
    return p.either(p.Mul(x, p.constant(where=near(factor))), p.Div(x, p.constant(where=near(1 / factor))))


def plus(p, x, summand: float):
    """x and a number, as Add or as Sub of its negative."""
    return p.either(p.Add(x, p.constant(where=near(summand))), p.Sub(x, p.constant(where=near(-summand))))


def root(p, x):
    """√x, as Sqrt or Pow(x, ½)."""
    return p.either(p.Sqrt(x), p.Pow(x, 0.5))


def inverse_root(p, x):
    """1 / √x, in the orders that exporters write."""
    return p.either(p.Reciprocal(root(p, x)), p.Div(1.0, root(p, x)), p.Pow(x, -0.5))


def positive(p, x):
    """x > 0; what holds at zero must not matter."""
    return p.either(p.Greater(x, 0.0), p.GreaterOrEqual(x, 0.0), p.Less(0.0, x), p.LessOrEqual(0.0, x))


def negative(p, x):
    """x < 0; what holds at zero must not matter."""
    return p.either(p.Less(x, 0.0), p.LessOrEqual(x, 0.0), p.Greater(0.0, x), p.GreaterOrEqual(0.0, x))


def fits_attribute(array: np.ndarray) -> bool:
    """Whether a constant of one element can become an attribute, which is float32, without losing anything."""
    return array.size == 1 and (array.dtype.itemsize <= 4 or float(np.float32(array.item())) == array.item())
