"""Write Mod out, for backends that lack one of its kinds or types.

    integers    Mod(x, y, fmod=1)      becomes      r = x - (x / y)·y, as an integer division cuts towards zero
                Mod(x, y, fmod=1)      becomes      r = Mod(|x|, |y|) with the sign of x
    floats      Mod(x, y, fmod=1)      becomes      r = a - ⌊a / b⌋·b with the sign of x, where a = |x| and b = |y|
    all         Mod(x, y)              becomes      r = Mod(x, y, fmod=1), and r + y where r and y differ in sign

Where a / b is rounded up to a whole number, r comes out negative and gets one b. ⌊a / b⌋·b is 0 where the quotient is,
also for an infinite b. Fidelity: exact for integers, rounding for floats.
"""

from __future__ import annotations

import numpy as np

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.legalize.decompose_integer_functions import UNSIGNED, WIDE
from graphopt_passes.scalars import is_float, number

_FLOAT_EQUAL_SINCE = 11


@rule("rest-of-division", fidelity="exact")
def division(p):
    return p.Mod(p.x, p.y, fmod=p.attribute("fmod"))


@division.require("it cuts towards zero (int32 or int64), or has no signs")
def _(m):
    return m.x.dtype in UNSIGNED or (m.x.dtype in WIDE and m.fmod == 1)


@division.replace
def _(op, m):
    return op.Sub(m.x, op.Mul(op.Div(m.x, m.y), m.y))


@rule("rest-of-sizes", fidelity="exact")
def sizes(p):
    return p.Mod(p.x, p.y, fmod=1)


@sizes.require("it has int32 or int64")
def _(m):
    return m.x.dtype in WIDE


@sizes.replace
def _(op, m):
    return _signed(op, m.x, op.Mod(op.Abs(m.x), op.Abs(m.y)))


@rule("rest-of-floats", fidelity="rounding")
def floats(p):
    return p.Mod(p.x, p.y, fmod=1)


@floats.require("it is floating point")
def _(m):
    return is_float(m.x)


@floats.replace
def _(op, m):
    if op.opset < _FLOAT_EQUAL_SINCE:
        raise op.decline("Equal of this opset takes no floating-point numbers")
    a, b, zero = op.Abs(m.x), op.Abs(m.y), number(m.x, 0)
    quotient = op.Floor(op.Div(a, b))
    rest = op.Sub(a, op.Where(op.Equal(quotient, zero), zero, op.Mul(quotient, b)))
    rest = op.Where(op.Less(rest, zero), op.Add(rest, b), rest)
    return _signed(op, m.x, rest)


def _signed(op, x, size):
    return op.Where(op.Less(x, number(x, 0)), op.Neg(size), size)


@rule("rest-with-sign-of-divisor", fidelity="rounding")
def floored(p):
    return p.Mod(p.x, p.y, fmod=0)


@floored.require("it is floating point, int32 or int64")
def _(m):
    return m.x.dtype in WIDE or is_float(m.x)


@floored.replace
def _(op, m):
    if is_float(m.x) and op.opset < _FLOAT_EQUAL_SINCE:
        raise op.decline("Equal of this opset takes no floating-point numbers")
    zero = number(m.x, 0)
    rest = op.Mod(m.x, m.y, fmod=1)
    differs = op.Xor(op.Less(rest, zero), op.Less(m.y, zero))
    there = op.Not(op.Equal(rest, zero))
    return op.Where(op.And(differs, there), op.Add(rest, m.y), rest)


def _integers(g):
    dtype, kind = g.pick([(g.INT32, np.int32), (g.INT64, np.int64)])
    return g.input(g.shape(), dtype), g.constant(np.array(g.pick([-7, -3, 2, 5]), kind))


@division.example
def _(g):
    g.output(g.Mod(*_integers(g), fmod=1))


@sizes.example
def _(g):
    g.output(g.Mod(*_integers(g), fmod=1))


@floats.example
def _(g):
    g.output(g.Mod(g.input(g.shape()), g.constant(g.pick([-2.5, 0.75, 4.0])), fmod=1))


@floored.example
def _(g):
    g.output(g.Mod(*_integers(g)))


class DecomposeModulo(Substitution):
    """Write Mod out by divisions."""

    name = "decompose-modulo"
    rules = (division, sizes, floats, floored)
