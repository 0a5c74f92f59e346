"""Make one Cast out of two in a row where the first loses nothing.

    x[int32] ─ Cast(int64) ─ Cast(float) ─ y      becomes      x[int32] ─ Cast(float) ─ y

Holds where every value of the first type is one of the second: a bool into anything, an integer into a wider one, a
float into a wider one. The first may have other readers. Fidelity: exact.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule

_T = ir.DataType
_SIGNED = (_T.INT8, _T.INT16, _T.INT32, _T.INT64)
_UNSIGNED = (_T.UINT8, _T.UINT16, _T.UINT32, _T.UINT64)
_EXACT = {_T.FLOAT16: 11, _T.BFLOAT16: 8, _T.FLOAT: 24, _T.DOUBLE: 53}
"""Bits of the significand: integers up to two to that power are exact."""
_FLOATS = {_T.FLOAT16: (_T.FLOAT, _T.DOUBLE), _T.BFLOAT16: (_T.FLOAT, _T.DOUBLE), _T.FLOAT: (_T.DOUBLE,)}


def contains(small: ir.DataType, large: ir.DataType) -> bool:
    """Whether every value of one type is a value of the other, signed zeros and NaN included."""
    if small == large:
        return True
    if small == _T.BOOL:
        return large in _SIGNED or large in _UNSIGNED or large in _EXACT
    if small in _FLOATS:
        return large in _FLOATS[small]
    if small in _SIGNED and large in _SIGNED:
        return large.bitwidth > small.bitwidth
    if small in _UNSIGNED and (large in _UNSIGNED or large in _SIGNED):
        return large.bitwidth > small.bitwidth
    if (small in _SIGNED or small in _UNSIGNED) and large in _EXACT:
        # float16 ends at 65504, but no integer type with at most 11 bits comes near.
        return small.bitwidth - (small in _SIGNED) <= _EXACT[large]
    return False


@rule("cast-cast", fidelity="exact")
def merge(p):
    return p.Cast(p.Cast(p.x, to=p.attribute("first"), shared=True), to=p.attribute("second"))


@merge.require("the first Cast loses nothing")
def _(m):
    if m.x.dtype is None:
        return "the type of the input is not known"
    return contains(m.x.dtype, ir.DataType(m.first))


@merge.replace
def _(op, m):
    return op.Cast(m.x, like=m.root)


@merge.example
def _(g):
    small, large = g.pick([(g.FLOAT, g.DOUBLE), (g.INT32, g.INT64), (g.INT8, g.FLOAT), (g.BOOL, g.INT32)])
    x = g.Cast(g.input(g.shape()), to=small)
    one = g.Cast(x, to=large)
    if g.flag():
        g.output(one)
    g.output(g.Cast(one, to=g.pick([t for t in (g.FLOAT, g.INT64, g.BOOL, g.DOUBLE) if t != small])))


class MergeCasts(RewritePass):
    """Make one Cast out of two in a row where the first loses nothing."""

    name = "merge-casts"
    rules = (merge,)
