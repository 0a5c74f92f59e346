"""Write ArgMax and ArgMin in the forms that backends have.

    x ─ ArgMax(select_last_index=1) ─ y      becomes      y = n - 1 - ArgMax(x backward), likewise ArgMin
    x ─ ArgMin ─ y                           becomes      y = ArgMax(-x), of integers ArgMax(-1 - x)
    x[n] ─ ArgMax(axis 0) ─ y                becomes      x ─ Unsqueeze(0) ─ ArgMax(axis 1) ─ Squeeze(0) ─ y
    x ─ ArgMax ─ y                           becomes      y = ReduceMin(Where(x = ReduceMax(x), 0 1 … n - 1, n))

with n the size along the axis, which must be known for the first and the last. -1 - x, unlike -x, stays within the
type. All but the third are for numbers: which index NaN has is left to the runtime. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.canonicalize.merge_slices import TO_THE_END, size_of, slice_by
from graphopt_passes.canonicalize.merge_squeezes import squeeze
from graphopt_passes.scalars import is_float, number, rank_of

_EITHER = ("ArgMax", "ArgMin")
_SIGNED = (ir.DataType.INT8, ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64)
_BACKWARD = (-1, -TO_THE_END, -1)


def _axis(m) -> int | None:
    rank = rank_of(m.x)
    return int(attribute(m.root, "axis")) % rank if rank else None


@rule("first-index-backward", fidelity="exact")
def last(p):
    return p.op(_EITHER, p.x, select_last_index=p.attribute("last", where=bool))


@last.require("the size along its axis is known")
def _(m):
    axis = _axis(m)
    return axis is not None and size_of(m.x, axis) is not None


@last.replace
def _(op, m):
    axis = _axis(m)
    found = op.op(m.root.op_type, slice_by(op, m.x, {axis: _BACKWARD}), like=m.root, select_last_index=None)
    return op.Sub(np.array(size_of(m.x, axis) - 1, np.int64), found)


@rule("largest-of-negatives", fidelity="exact")
def smallest(p):
    return p.ArgMin(p.x)


@smallest.require("it has negatives in its type")
def _(m):
    return is_float(m.x) or m.x.dtype in _SIGNED


@smallest.replace
def _(op, m):
    return op.ArgMax(op.Neg(m.x) if is_float(m.x) else op.Sub(number(m.x, -1), m.x), like=m.root)


@rule("extreme-of-a-row", fidelity="exact")
def flat(p):
    return p.op(_EITHER, p.x)


@flat.require("it has one axis")
def _(m):
    return rank_of(m.x) == 1


@flat.replace
def _(op, m):
    found = op.op(m.root.op_type, squeeze(op, m.x, [0], "Unsqueeze"), like=m.root, axis=1)
    return squeeze(op, found, [0])


@rule("first-that-is-equal", fidelity="exact")
def equal(p):
    return p.op(_EITHER, p.x)


@equal.require("it takes the first index, along an axis of known size")
def _(m):
    axis = _axis(m)
    first = not attribute(m.root, "select_last_index")
    return first and axis is not None and bool(size_of(m.x, axis)) and (is_float(m.x) or m.x.dtype in _SIGNED)


@equal.replace
def _(op, m):
    axis, rank = _axis(m), rank_of(m.x)
    size = size_of(m.x, axis)
    places = np.arange(size, dtype=np.int32).reshape(-1, *[1] * (rank - 1 - axis))
    most = reduce(op, m.root.op_type.replace("Arg", "Reduce"), m.x, [axis])
    candidates = op.Where(op.Equal(m.x, most), places, np.array(size, np.int32))
    found = reduce(op, "ReduceMin", candidates, [axis], keepdims=bool(attribute(m.root, "keepdims")))
    return op.Cast(found, to=int(ir.DataType.INT64))


def _sketch(g, kinds, *, least=1, most=4, **options):
    shape = g.shape(least=least, most=most)
    x = g.input(shape, g.pick([g.FLOAT, g.INT32]), static=True, finite=True)
    axis = g.integer(-len(shape), len(shape) - 1)
    made = g.op(g.pick(kinds), x, axis=axis, keepdims=g.integer(0, 1), **options)
    g.output(made)


@last.example
def _(g):
    _sketch(g, _EITHER, select_last_index=1)


@smallest.example
def _(g):
    _sketch(g, ["ArgMin"], select_last_index=g.integer(0, 1))


@equal.example
def _(g):
    _sketch(g, _EITHER)


@flat.example
def _(g):
    _sketch(g, _EITHER, most=1)


class DecomposeArgExtremes(Substitution):
    """Write ArgMax and ArgMin of the last index, of the smallest and of one axis by the plain ArgMax."""

    name = "decompose-arg-extremes"
    rules = (last, smallest, flat, equal)
