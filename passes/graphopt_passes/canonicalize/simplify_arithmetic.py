"""Take away arithmetic that changes nothing, bit by bit.

    x · 1, x / 1, x¹, x − 0, x + (−0) ─ y            becomes      x ─ y
    |−x|, ||x||, ⌊⌈x⌉⌋, −(−x), max(x, x) ─ y         becomes      |x|, |x|, ⌈x⌉, x, x ─ y
    integers: x + 0, ⌊float(n)⌋ ─ y                  becomes      x, float(n) ─ y
    integers: x · 0, x − x, x = x ─ y                becomes      the constant 0, 0, true ─ y

In floating point x + 0 is not x (it makes +0 of −0), x · 0 is not 0 and x − x is not either (both are NaN where x is
infinite). The constant must not make the tensor larger. Fidelity: exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import static_shape
from graphopt.ir.infer import dims_of
from graphopt.pipeline import RewritePass
from graphopt.rewrite import Fidelity, Match, Rule, rule

_ROUNDING = ("Floor", "Ceil", "Round")
_LARGEST = 4096
"""Elements up to which a result that does not depend on its input becomes a constant."""
_ALWAYS = {"Sub": 0, "BitwiseXor": 0, "Equal": True, "LessOrEqual": True, "GreaterOrEqual": True, "Xor": False,
           "Less": False, "Greater": False}  # fmt: skip
"""What comes out where both inputs are the same integer."""


def all_are(number: float) -> Callable[[np.ndarray], bool]:
    """A condition on a constant: every element is this number, the sign of a zero included."""

    def check(array: np.ndarray) -> bool:
        if array.dtype == object or array.dtype.kind == "c" or not array.size:
            return False
        wide = array.astype(np.float64)
        same_sign = np.signbit(wide) == np.signbit(np.float64(number)) if number == 0 else True
        return bool(((wide == number) & same_sign).all())

    return check


def integer_zero(array: np.ndarray) -> bool:
    """A condition on a constant: integers that are all zero."""
    return array.dtype.kind in "iu" and array.size > 0 and not array.any()


def keeps_shape(m: Match) -> bool:
    """Whether the root has the shape of x: the constant that it is combined with does not make it larger."""
    if "c" in m and m.c.ndim == 0:
        return True
    shape = dims_of(m.x)
    return shape is not None and shape == dims_of(m.root.outputs[0])


def passes_on(name: str, pattern: Callable, example: Callable, fidelity: Fidelity = "exact", reason: str = "") -> Rule:
    """A rule that replaces what a pattern matches by its x, where that has the same shape."""
    made = rule(name, fidelity=fidelity)(pattern)
    made.require(reason or "the constant does not make the tensor larger")(keeps_shape)
    made.replace(lambda op, m: m.x)
    made.example(example)
    return made


def _with_constant(op_type: str, number: float, dtype: type = np.float32) -> Callable:
    """An example: an operator of a tensor and a constant that is one number all over."""

    def example(g):
        shape = g.shape(least=1)
        x = g.Neg(g.input(shape, dtype=g.INT64 if dtype is np.int64 else g.FLOAT, static=True))
        size = g.pick([(), shape, shape[1:], [1] * len(shape)])
        g.output(g.op(op_type, x, g.constant(np.full(size, number, dtype))))

    return example


mul_one = passes_on("mul-one", lambda p: p.Mul(p.x, p.constant("c", where=all_are(1))), _with_constant("Mul", 1))
div_one = passes_on(
    "div-one", lambda p: p.op(("Div", "Pow"), p.x, p.constant("c", where=all_are(1))), _with_constant("Div", 1)
)
sub_zero = passes_on("sub-zero", lambda p: p.Sub(p.x, p.constant("c", where=all_are(0.0))), _with_constant("Sub", 0))
add_minus_zero = passes_on(
    "add-minus-zero", lambda p: p.Add(p.x, p.constant("c", where=all_are(-0.0))), _with_constant("Add", -0.0)
)
add_zero = passes_on(
    "add-zero-integer",
    lambda p: p.op(("Add", "BitwiseOr", "BitwiseXor"), p.x, p.constant("c", where=integer_zero)),
    _with_constant("Add", 0, np.int64),
)  # fmt: skip


@rule("same-twice", fidelity="exact")
def same_twice(p):
    return p.op(("Max", "Min", "And", "Or", "BitwiseAnd", "BitwiseOr"), p.x, p.x)


@same_twice.replace
def _(op, m):
    return m.x


@same_twice.example
def _(g):
    x = g.Neg(g.input(g.shape()))
    g.output(g.Max(x, x) if g.flag() else g.Min(x, x))


@rule("done-twice", fidelity="exact")
def done_twice(p):
    return p.op(
        ("Abs", "Relu", "Sign", *_ROUNDING), p.op(("Abs", "Relu", "Sign", *_ROUNDING), p.x, as_="first", shared=True)
    )


@done_twice.require("the second changes nothing that the first has made")
def _(m):
    first, second = m.first.op_type, m.root.op_type
    return first == second or (first in _ROUNDING and second in _ROUNDING)


@done_twice.replace
def _(op, m):
    return m.first.outputs[0]


@done_twice.example
def _(g):
    x = g.Neg(g.input(g.shape()))
    same = g.pick(["Abs", "Relu", "Sign", "Floor"])
    first, second = g.pick([(same, same), ("Ceil", "Floor"), ("Round", "Ceil")])
    g.output(g.op(second, g.op(first, x)))


@rule("undone", fidelity="exact")
def undone(p):
    return p.op(("Neg", "Not", "BitwiseNot"), p.op(("Neg", "Not", "BitwiseNot"), p.x, as_="first", shared=True))


@undone.require("both are the same operator")
def _(m):
    return m.first.op_type == m.root.op_type


@undone.replace
def _(op, m):
    return m.x


@undone.example
def _(g):
    x = g.input(g.shape())
    g.output(g.Neg(g.Neg(g.Relu(x))) if g.flag() else g.Not(g.Not(g.Greater(x, g.constant(0.0)))))


@rule("abs-neg", fidelity="exact")
def abs_neg(p):
    return p.Abs(p.Neg(p.x, shared=True))


@abs_neg.replace
def _(op, m):
    return op.Abs(m.x)


@abs_neg.example
def _(g):
    g.output(g.Abs(g.Neg(g.input(g.shape()))))


@rule("round-integer", fidelity="exact")
def round_integer(p):
    return p.op(_ROUNDING, p.Cast(p.n, as_="cast", shared=True))


@round_integer.require("what is cast is an integer")
def _(m):
    return m.n.dtype is not None and (m.n.dtype.is_integer() or m.n.dtype == ir.DataType.BOOL)


@round_integer.replace
def _(op, m):
    return m.cast.outputs[0]


@round_integer.example
def _(g):
    n = g.input(g.shape(), dtype=g.pick([g.INT64, g.BOOL]))
    g.output(g.op(g.pick(["Floor", "Ceil", "Round"]), g.Cast(n, to=g.FLOAT)))


def _constant_result(m: Match, number: float) -> np.ndarray | None:
    """The result all over, where its shape is known and small."""
    shape, dtype = static_shape(m.root.outputs[0]), m.root.outputs[0].dtype
    if shape is None or dtype is None or math.prod(shape) > _LARGEST:
        return None
    return np.full(shape, number, dtype.numpy())


@rule("integer-with-itself", fidelity="exact")
def with_itself(p):
    return p.op(tuple(_ALWAYS), p.x, p.x)


@with_itself.require("it is an integer or a truth value, and the result is small")
def _(m):
    exact = m.x.dtype is not None and (m.x.dtype.is_integer() or m.x.dtype == ir.DataType.BOOL)
    return exact and _constant_result(m, 0) is not None


@with_itself.replace
def _(op, m):
    return op.constant(_constant_result(m, _ALWAYS[m.root.op_type]))


@with_itself.example
def _(g):
    x = g.Neg(g.input(g.shape(), dtype=g.INT64, static=True))
    g.output(g.op(g.pick(["Sub", "Equal", "Less", "Greater"]), x, x))


@rule("times-zero-integer", fidelity="exact")
def times_zero(p):
    return p.op(("Mul", "BitwiseAnd"), p.x, p.constant("c", where=integer_zero))


@times_zero.require("the result is small")
def _(m):
    return _constant_result(m, 0) is not None


@times_zero.replace
def _(op, m):
    return op.constant(_constant_result(m, 0))


times_zero.example(_with_constant("Mul", 0, np.int64))


class SimplifyArithmetic(RewritePass):
    """Take away arithmetic that changes nothing: x · 1, x − 0, −(−x), ||x||, max(x, x), and integers + 0 and · 0."""

    name = "simplify-arithmetic"
    rules = (
        mul_one, div_one, sub_zero, add_minus_zero, add_zero, same_twice, done_twice, undone, abs_neg, round_integer,
        with_itself, times_zero,
    )  # fmt: skip
