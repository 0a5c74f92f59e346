"""Write TopK in the forms that backends have.

    x ─ TopK(largest=0) ─ values, indices      becomes      x ─ Neg ─ TopK(largest=1) ─ values ─ Neg, indices
    x ─ TopK(sorted=0)                         becomes      x ─ TopK(sorted=1)
    x ─ TopK(axis -1)                          becomes      x ─ TopK(axis: rank - 1)
    x[int8] ─ TopK                             becomes      x ─ Cast(int32) ─ TopK ─ values ─ Cast(int8), indices
    x ─ TopK(k) ─ values, indices              becomes      k times ReduceMax and ArgMax, what was found made least

of integers -1 - x stands for -x, since it stays within the type. float16 and double are computed in float, small
integers in int32. Where not sorted, the standard leaves the order open. For numbers: where NaN ranks is left to the
runtime. Fidelity: exact; rounding where signs of zero or wider types matter.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule, rule
from graphopt_passes.axes import reduce
from graphopt_passes.canonicalize.merge_slices import size_of
from graphopt_passes.scalars import is_float, number, rank_of

_T = ir.DataType
_FEW = 8
"""Elements up to which they are taken one after another, by several nodes each."""
_SINCE = 11
"""Opset from which TopK may take the smallest."""
_SIGNED = (_T.INT8, _T.INT16, _T.INT32, _T.INT64)
_WIDER = dict.fromkeys((_T.INT8, _T.UINT8, _T.INT16, _T.UINT16), _T.INT32) | dict.fromkeys(
    (_T.FLOAT16, _T.BFLOAT16, _T.DOUBLE), _T.FLOAT
)


def _rule(name: str, fidelity="exact") -> Rule:
    @rule(name, fidelity=fidelity)
    def one(p):
        node = p.TopK(p.x, p.k)
        return node[0], node[1]

    return one


smallest, ordered, counted = _rule("largest-of-turned"), _rule("sorted-anyway"), _rule("axis-from-the-start")
wider = _rule("ranked-in-wider-type", "rounding")


@smallest.require("it takes the smallest, of a type with negatives")
def _(m):
    return attribute(m.root, "largest") == 0 and (is_float(m.x) or m.x.dtype in _SIGNED)


ordered.require("it leaves the order open")(lambda m: attribute(m.root, "sorted") == 0)


@counted.require("its axis is counted from the end, and the rank is known")
def _(m):
    return attribute(m.root, "axis") < 0 and bool(rank_of(m.x))


@wider.require("it has a wider type")
def _(m):
    return m.x.dtype in _WIDER


@rule("one-after-another", fidelity="rounding")
def picked(p):
    node = p.TopK(p.x, p.constant("k"))
    return node[0], node[1]


@picked.require("it takes a few of the largest, of a type with negatives, along an axis of known size")
def _(m):
    rank = rank_of(m.x)
    largest = attribute(m.root, "largest") in (None, 1) and (is_float(m.x) or m.x.dtype in _SIGNED)
    return largest and bool(rank) and m.k.size == 1 and 0 < int(m.k.item()) <= _FEW and bool(size_of(m.x, _axis(m)))


def _axis(m) -> int:
    return int(attribute(m.root, "axis")) % rank_of(m.x)


@picked.replace
def _(op, m):
    axis, rank = _axis(m), rank_of(m.x)
    places = np.arange(size_of(m.x, axis), dtype=np.int64).reshape(-1, *[1] * (rank - 1 - axis))
    if is_float(m.x):
        least = number(m.x, -np.inf)
    else:  # the least of the type may not be one of the backend, which may have int64 in 32 bits
        least = op.Sub(reduce(op, "ReduceMin", m.x, [axis]), number(m.x, 1))
    left, values, indices = m.x, [], []
    for turn in range(int(m.k.item())):
        if turn:
            left = op.Where(op.Equal(indices[-1], places), least, left)
        values.append(reduce(op, "ReduceMax", left, [axis]))
        indices.append(op.ArgMax(left, axis=axis, keepdims=1))
    return tuple(op.Concat(*each, axis=axis) if len(each) > 1 else each[0] for each in (values, indices))


def _turned(op, m, value):
    return op.Neg(value) if is_float(m.x) else op.Sub(number(m.x, -1), value)


@smallest.replace
def _(op, m):
    values, indices = op.TopK(_turned(op, m, m.x), m.k, outputs=2, like=m.root, largest=1)
    return _turned(op, m, values), indices


@ordered.replace
def _(op, m):
    return op.TopK(m.x, m.k, outputs=2, like=m.root, sorted=1)


@counted.replace
def _(op, m):
    return op.TopK(m.x, m.k, outputs=2, like=m.root, axis=attribute(m.root, "axis") + rank_of(m.x))


@wider.replace
def _(op, m):
    if op.opset < _SINCE and _WIDER[m.x.dtype] != _T.FLOAT:
        raise op.decline("TopK of this opset takes no integers")
    values, indices = op.TopK(op.Cast(m.x, to=int(_WIDER[m.x.dtype])), m.k, outputs=2, like=m.root)
    return op.Cast(values, to=int(m.x.dtype)), indices


def _sketch(g, dtypes, axis=None, **options):
    shape = g.shape(least=1)
    where = g.integer(-len(shape), len(shape) - 1) if axis is None else axis
    k = g.constant(np.array([g.integer(1, shape[where])], np.int64))
    x = g.input(shape, g.pick(dtypes), static=True, finite=True)
    values, indices = g.TopK(x, k, axis=where, outputs=2, **options)
    g.output(values)
    g.output(indices)


@smallest.example
def _(g):
    _sketch(g, [g.FLOAT, g.INT32, g.INT64], largest=0)


@ordered.example
def _(g):
    # one element has one order
    x = g.input(g.shape(least=1), static=True, finite=True)
    values, indices = g.TopK(x, g.constant(np.array([1], np.int64)), sorted=0, largest=g.integer(0, 1), outputs=2)
    g.output(values)
    g.output(indices)


@picked.example
def _(g):
    _sketch(g, [g.FLOAT, g.INT32])


@counted.example
def _(g):
    _sketch(g, [g.FLOAT, g.INT64], axis=-1)


@wider.example
def _(g):
    g.since(24)
    _sketch(g, [g.DOUBLE, g.INT8], largest=g.integer(0, 1))


class DecomposeTopK(Substitution):
    """Write TopK of the smallest, unsorted, along an axis from the end, or of a rarer type as the plain TopK."""

    name = "decompose-top-k"
    rules = (smallest, ordered, counted, wider, picked)
