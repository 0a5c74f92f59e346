"""Write functions of integers out by arithmetic and comparisons, for backends that have them for floats only.

    Abs(x)      becomes      Max(x, 0 - x)
    Neg(x)      becomes      0 - x
    Relu(x)     becomes      Max(x, 0)
    Sign(x)     becomes      Cast(x > 0) - Cast(x < 0)

and Neg(x) becomes x · (-1), of floating-point numbers, too. Fidelity: exact.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.legalize import Substitution
from graphopt.rewrite import Rule, rule
from graphopt_passes.scalars import is_float, number

WIDE = (ir.DataType.INT32, ir.DataType.INT64)
"""Smaller ones are computed as int32: some compilers take constants of eight bits for quantized ones."""
SIGNED = (ir.DataType.INT8, ir.DataType.INT16, *WIDE)
UNSIGNED = (ir.DataType.UINT8, ir.DataType.UINT16, ir.DataType.UINT32, ir.DataType.UINT64)
_INTEGER_MAX_SINCE = 12


def _rule(name: str, op_type: str) -> Rule:
    one = rule(name, fidelity="exact")(lambda p: p.op(op_type, p.x))

    @one.require("it is int32 or int64")
    def _(m):
        return m.x.dtype in WIDE

    return one


absolute, negative = _rule("larger-of-both-signs", "Abs"), _rule("subtract-from-zero", "Neg")
relu, sign = _rule("larger-than-zero", "Relu"), _rule("difference-of-comparisons", "Sign")


@absolute.replace
def _(op, m):
    if op.opset < _INTEGER_MAX_SINCE:
        raise op.decline("Max of this opset takes no integers")
    return op.Max(m.x, op.Sub(number(m.x, 0), m.x))


@negative.replace
def _(op, m):
    return op.Sub(number(m.x, 0), m.x)


@relu.replace
def _(op, m):
    return op.Max(m.x, number(m.x, 0))


@sign.replace
def _(op, m):
    above, below = op.Greater(m.x, number(m.x, 0)), op.Less(m.x, number(m.x, 0))
    to = int(m.x.dtype)
    return op.Sub(op.Cast(above, to=to), op.Cast(below, to=to))


@rule("times-minus-one", fidelity="exact")
def reversed_sign(p):
    return p.Neg(p.x)


@reversed_sign.require("it is floating point, int32 or int64")
def _(m):
    return m.x.dtype in WIDE or is_float(m.x)


@reversed_sign.replace
def _(op, m):
    return op.Mul(m.x, number(m.x, -1))


def _example(one: Rule, op_type: str, *dtypes: int) -> None:
    @one.example
    def _(g):
        g.since(14)
        g.output(g.op(op_type, g.input(g.shape(), g.pick(dtypes))))


_example(absolute, "Abs", 6, 7)
_example(negative, "Neg", 6, 7)
_example(relu, "Relu", 6)  # onnxruntime has no Relu of int64
_example(sign, "Sign", 6, 7)


@reversed_sign.example
def _(g):
    g.output(g.Neg(g.input(g.shape(), g.pick([g.FLOAT, g.INT32, g.INT64]))))


class DecomposeIntegerFunctions(Substitution):
    """Write Abs, Neg, Relu and Sign of integers out."""

    name = "decompose-integer-functions"
    rules = (absolute, negative, relu, sign, reversed_sign)
