"""Write OneHot and Hardmax out by comparisons with counting numbers, for backends that lack them.

    i ─ OneHot(depth, [off, on]) ─ y      becomes      y = Where(i' = 0 1 … depth - 1, on, off), i' = i or i + depth
    x ─ Hardmax ─ y                       becomes      y = Cast(ArgMax(x) = 0 1 … n - 1)

An index below zero counts from the end (ONNX, OneHot); one outside of the depth is nowhere. The depth, or the size
along the axis, must be known. Before opset 13 Hardmax goes over all axes from its own on. Fidelity: exact
for Hardmax; rounding for OneHot, of which onnxruntime computes some as off + (on - off).
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.merge_slices import size_of, slice_by
from graphopt_passes.canonicalize.merge_squeezes import squeeze
from graphopt_passes.scalars import is_float, rank_of

_COMPARED = (ir.DataType.INT32, ir.DataType.INT64)
_ONE_AXIS_SINCE = 13


@rule("equal-to-counted", fidelity="rounding")
def one_hot(p):
    return p.OneHot(p.indices, p.constant("depth"), p.values)


@one_hot.require("the rank of its indices is known")
def _(m):
    return rank_of(m.indices) is not None


@one_hot.replace
def _(op, m):
    rank, depth = rank_of(m.indices), int(m.depth.reshape(-1)[0])
    axis = attribute(m.root, "axis") % (rank + 1)
    indices = m.indices
    if indices.dtype not in _COMPARED:
        indices = op.Cast(indices, to=int(ir.DataType.INT64))
    dtype = indices.dtype.numpy() if indices is m.indices else np.dtype(np.int64)
    raised = squeeze(op, indices, [axis], "Unsqueeze")
    spread = (-1, *[1] * (rank - axis))
    counted = np.arange(depth, dtype=dtype).reshape(spread)
    hit = op.Or(op.Equal(raised, counted), op.Equal(raised, counted - dtype.type(depth)))
    off, on = _numbers(op, m)
    return op.Where(hit, on, off)


def _numbers(op, m):
    held = constant(m.values)
    if held is not None:
        content = held.numpy()
        return content[0], content[1]
    return (squeeze(op, slice_by(op, m.values, {0: (place, place + 1, 1)}), [0]) for place in (0, 1))


@rule("mark-the-largest", fidelity="exact")
def hardmax(p):
    return p.Hardmax(p.x)


@hardmax.require("it is floating point, of known rank, and the size along its axis is known")
def _(m):
    rank = rank_of(m.x)
    return is_float(m.x) and bool(rank) and size_of(m.x, _axis(m)) is not None


def _axis(m) -> int:
    return int(attribute(m.root, "axis")) % rank_of(m.x)


@hardmax.replace
def _(op, m):
    axis, rank, x, shape = _axis(m), rank_of(m.x), m.x, None
    if op.opset < _ONE_AXIS_SINCE and axis < rank - 1:
        shape = static_shape(m.x)
        if shape is None or 0 in shape:
            raise op.decline("its shape is not static")
        x = op.Reshape(x, np.array([math.prod(shape[:axis]), math.prod(shape[axis:])], np.int64))
        axis, rank = 1, 2
    size = size_of(m.x, axis) if shape is None else math.prod(shape[_axis(m) :])
    counted = np.arange(size, dtype=np.int32).reshape(-1, *[1] * (rank - 1 - axis))
    # a place along an axis fits int32
    place = op.Cast(op.ArgMax(x, axis=axis, keepdims=1), to=int(ir.DataType.INT32))
    marked = op.Cast(op.Equal(place, counted), to=int(m.x.dtype))
    return marked if shape is None else op.Reshape(marked, np.array(shape, np.int64))


@one_hot.example
def _(g):
    shape, depth = g.shape(least=1, most=3), g.integer(1, 5)
    wanted = [g.integer(-depth - 1, depth) for _ in range(math.prod(shape))]
    kind = g.pick([np.int64, np.int32])
    zero = g.input([1], {np.int64: 7, np.int32: 6}[kind], static=True)
    moved = g.constant(np.array(wanted, kind).reshape(shape))
    indices = g.Add(moved, g.Reshape(g.Mul(zero, g.constant(np.array(0, kind))), g.constant(np.array([], np.int64))))
    values = g.constant(g.normal(2)) if g.flag() else g.input([2], static=True)
    axis = g.integer(-len(shape) - 1, len(shape))
    g.output(g.OneHot(indices, g.constant(np.array(depth, kind)), values, axis=axis), len(shape) + 1)


@hardmax.example
def _(g):
    shape = g.shape(least=1)
    g.output(g.Hardmax(g.input(shape, static=True, finite=True), axis=g.integer(-len(shape), len(shape) - 1)))


class DecomposeOneHot(Substitution):
    """Write OneHot and Hardmax out by comparisons with counting numbers."""

    name = "decompose-one-hot"
    rules = (one_hot, hardmax)
