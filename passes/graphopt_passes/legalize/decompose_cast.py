"""Take a Cast in two steps, or write one from and to booleans out, for backends that lack the pair of types.

    Cast(x[float16] → int64)      becomes      Cast(Cast(x → float) → int64), from and to every floating-point type
    Cast(x[uint8] → float)        becomes      Cast(Cast(x → int32) → float), from bool and integers of up to 16 bits
    Cast(x[float] → int64)        becomes      Cast(Cast(x → int32) → int64)
    Cast(x → bool)                becomes      not (x = 0)
    Cast(x[bool] → float)         becomes      Where(x, 1, 0)

The third holds for numbers below 2³¹ in absolute value. Fidelity: exact but for the first, where a result of fewer bits
is rounded twice, and the third.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import opset
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.scalars import FLOATS, number

_T = ir.DataType
_SMALL = (_T.BOOL, _T.INT8, _T.UINT8, _T.INT16, _T.UINT16)
_INTEGERS = (*_SMALL[1:], _T.INT32, _T.UINT32, _T.INT64, _T.UINT64)
_WHERE_SINCE, _FLOAT_EQUAL_SINCE = 9, 11


@rule("cast-through-float", fidelity="rounding")
def through_float(p):
    return p.Cast(p.x, to=p.attribute("to"))


@through_float.require("it is from or to a floating-point type other than float, and neither side is float")
def _(m):
    types = (m.x.dtype, _T(m.to))
    return _T.FLOAT not in types and any(one in FLOATS for one in types) and None not in types


@through_float.replace
def _(op, m):
    return op.Cast(op.Cast(m.x, to=int(_T.FLOAT)), to=m.to, like=m.root)


@rule("cast-through-int32", fidelity="exact")
def through_int(p):
    return p.Cast(p.x, to=p.attribute("to"))


@through_int.require("it is from bool or a small integer, and not to int32")
def _(m):
    return m.x.dtype in _SMALL and m.to != int(_T.INT32)


@rule("cast-float-through-int32", fidelity="rounding")
def float_through_int(p):
    return p.Cast(p.x, to=p.attribute("to"))


@float_through_int.require("it is from float to an integer other than int32")
def _(m):
    return m.x.dtype == _T.FLOAT and _T(m.to) in _INTEGERS and m.to != int(_T.INT32)


for one in (through_int, float_through_int):

    @one.replace
    def _(op, m):
        return op.Cast(op.Cast(m.x, to=int(_T.INT32)), to=m.to, like=m.root)


@rule("differs-from-zero", fidelity="exact")
def to_bool(p):
    return p.Cast(p.x, to=int(_T.BOOL))


@to_bool.require("it is from a number that Equal takes")
def _(m):
    since = _FLOAT_EQUAL_SINCE if m.x.dtype in FLOATS else 7
    return (m.x.dtype in FLOATS or m.x.dtype in _INTEGERS) and opset(m.root) >= since


@to_bool.replace
def _(op, m):
    return op.Not(op.Equal(m.x, number(m.x, 0)))


@rule("one-where-true", fidelity="exact")
def from_bool(p):
    return p.Cast(p.x, to=p.attribute("to"))


@from_bool.require("it is from bool to a number")
def _(m):
    wanted = _T(m.to)
    return m.x.dtype == _T.BOOL and (wanted in FLOATS or wanted in _INTEGERS) and opset(m.root) >= _WHERE_SINCE


@from_bool.replace
def _(op, m):
    kind = _T(m.to).numpy()
    return op.Where(m.x, np.array(1, kind), np.array(0, kind))


@through_float.example
def _(g):
    x = g.Cast(g.input(g.shape(), g.INT8), to=g.pick([10, g.DOUBLE]))
    g.output(g.Cast(x, to=g.pick([g.INT32, g.INT64, g.BOOL])))


@through_int.example
def _(g):
    g.output(g.Cast(g.input(g.shape(), g.pick([2, 3, g.BOOL])), to=g.pick([g.FLOAT, g.INT64])))


@float_through_int.example
def _(g):
    x = g.Mul(g.Cast(g.input(g.shape(), g.INT8), to=g.FLOAT), g.constant(0.37))
    g.output(g.Cast(x, to=g.pick([g.INT64, g.INT8])))


@to_bool.example
def _(g):
    g.output(g.Cast(g.input(g.shape(), g.pick([g.FLOAT, g.INT32])), to=g.BOOL))


@from_bool.example
def _(g):
    g.output(g.Cast(g.input(g.shape(), g.BOOL), to=g.pick([g.FLOAT, g.INT32, g.INT64])))


class DecomposeCast(Substitution):
    """Take a Cast in two steps, or by comparison and choice."""

    name = "decompose-cast"
    rules = (through_float, through_int, float_through_int, to_bool, from_bool)
