"""Every way to pick elements as one Gather along the first axis of a tensor seen as rows.

    GatherElements(x, i, axis)           becomes      Reshape(Gather(Reshape(x, [-1]), p), shape of i)
    GatherND(x, i, batch_dims)           becomes      Reshape(Gather(Reshape(x, [rows, -1]), p), shape)
    ReverseSequence(x, lengths)          becomes      the same, with rows of batch and time
    Gather(x, i, axis)                   becomes      Reshape(Gather(Reshape(x, [before, n, after]), flat i, 1), shape)
    Transpose(x)                         becomes      Reshape(Gather(Reshape(x, [-1]), p), shape)
    Compress(x, condition, axis)         becomes      Gather(x, where the constant condition holds, axis)
    Unique(x) of one element             becomes      x, 0, 0, 1

p = Σ iₖ · strideₖ, where indices that count from the end have the dimension added (ONNX, GatherND and GatherElements).
Constant indices become constant positions, others are computed in int32. All of it needs static shapes.
Fidelity: exact.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import set_shape, static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.legalize.positions import (
    element_rows,
    held,
    nd_rows,
    plus,
    reshaped,
    shape_or_decline,
    take,
    times,
    whole,
)

_FLAT_TRANSPOSE = 1 << 22
"""Elements beyond which the positions of a Transpose would be a large constant."""


@rule("elements-by-position", fidelity="exact")
def elements(p):
    return p.GatherElements(p.x, p.index)


@elements.replace
def _(op, m):
    dims, shape = shape_or_decline(op, m.x, "the data"), shape_or_decline(op, m.index, "the indices")
    positions = element_rows(op, m.index, shape, dims, attribute(m.root, "axis") % len(dims))
    return reshaped(op, take(op, reshaped(op, m.x, (math.prod(dims),)), positions), shape)


@rule("slices-by-position", fidelity="exact")
def slices(p):
    return p.GatherND(p.x, p.index)


@slices.replace
def _(op, m):
    dims, shape = shape_or_decline(op, m.x, "the data"), shape_or_decline(op, m.index, "the indices")
    batch = attribute(m.root, "batch_dims") or 0
    rest = dims[batch + shape[-1] :]
    positions, rows = nd_rows(op, m.index, shape, dims, batch)
    wide = math.prod(rest)
    data = reshaped(op, m.x, (rows, wide) if wide > 1 else (rows,))
    return reshaped(op, take(op, data, positions), (*shape[:-1], *rest))


@rule("reversed-by-position", fidelity="exact")
def reverse(p):
    return p.ReverseSequence(p.x, p.lengths, batch_axis=p.attribute("batch"), time_axis=p.attribute("time"))


@reverse.replace
def _(op, m):
    dims = shape_or_decline(op, m.x, "the data")
    rows, rest = dims[:2], dims[2:]
    grid = np.arange(rows[m.time]).reshape((-1, 1) if m.time == 0 else (1, -1))
    strides = (rows[1], 1)
    batches = np.arange(rows[m.batch]).reshape((-1, 1) if m.batch == 0 else (1, -1)) * strides[m.batch]
    lengths = held(m.lengths)
    if lengths is not None:
        length = lengths.reshape(batches.shape)
        moment = np.where(grid < length, length - 1 - grid, grid)
    else:
        length = reshaped(op, whole(op, m.lengths), batches.shape)
        steps = grid.astype(np.int32)
        moment = op.Where(op.Less(steps, length), op.Sub(length, steps + np.int32(1)), steps)
    positions = plus(op, times(op, moment, strides[m.time]), batches)
    count = math.prod(rows)
    flat = positions.reshape(-1) if isinstance(positions, np.ndarray) else reshaped(op, positions, (count,))
    wide = math.prod(rest)
    return reshaped(op, take(op, reshaped(op, m.x, (count, wide) if wide > 1 else (count,)), flat), dims)


@rule("gather-in-three-axes", fidelity="exact")
def gather(p):
    return p.Gather(p.x, p.index)


@gather.replace
def _(op, m):
    dims, shape = shape_or_decline(op, m.x, "the data"), shape_or_decline(op, m.index, "the indices")
    axis = attribute(m.root, "axis") % len(dims)
    before, after = math.prod(dims[:axis]), math.prod(dims[axis + 1 :])
    folded = [before] * (before > 1) + [dims[axis]] + [after] * (after > 1)
    if list(dims) == folded and len(shape) == 1:
        raise op.decline("it has three axes or fewer, and a vector of indices already")
    known = held(m.index)
    index = known.reshape(-1) if known is not None else reshaped(op, m.index, (math.prod(shape),))
    picked = op.Gather(reshaped(op, m.x, folded), index, axis=int(before > 1))
    return reshaped(op, picked, (*dims[:axis], *shape, *dims[axis + 1 :]))


@rule("transpose-by-position", fidelity="exact")
def transpose(p):
    return p.Transpose(p.x)


@transpose.replace
def _(op, m):
    dims = shape_or_decline(op, m.x, "the data")
    if math.prod(dims) > _FLAT_TRANSPOSE:
        raise op.decline(f"it has more than {_FLAT_TRANSPOSE} elements")
    order = attribute(m.root, "perm") or tuple(reversed(range(len(dims))))
    positions = np.arange(math.prod(dims)).reshape(dims).transpose(order)
    return reshaped(op, take(op, reshaped(op, m.x, (math.prod(dims),)), positions.reshape(-1)), positions.shape)


@rule("compress-by-constant", fidelity="exact")
def compress(p):
    return p.Compress(p.x, p.condition)


@compress.require("how many it keeps is known only from its condition, so that must be a constant")
def _(m):
    return held(m.condition) is not None


@compress.replace
def _(op, m):
    kept = np.flatnonzero(held(m.condition))
    axis = attribute(m.root, "axis")
    if axis is None:
        dims = shape_or_decline(op, m.x, "the data")
        made = take(op, reshaped(op, m.x, (math.prod(dims),)), kept)
        set_shape(made, ir.Shape([len(kept)]))
        return made
    shape = static_shape(m.x)
    if shape is not None and any(kept >= shape[axis]):
        raise op.decline("its condition keeps more than there is")
    made = op.Gather(m.x, kept, axis=axis)
    if shape is not None:
        # how many are kept was open in the shape that this one takes the place of
        set_shape(made, ir.Shape([len(kept) if at == axis % len(shape) else size for at, size in enumerate(shape)]))
    return made


@rule("unique-of-one", fidelity="exact")
def unique(p):
    one = p.Unique(p.x)
    return one[0], one[1], one[2], one[3]


@unique.require("how many values differ is known only from the values, unless it has one element")
def _(m):
    shape = static_shape(m.x)
    return shape is not None and math.prod(shape) == 1


@unique.replace
def _(op, m):
    axis = attribute(m.root, "axis")
    y = reshaped(op, m.x, (1,)) if axis is None else m.x
    return (y if y is not m.x else op.Identity(y)), *(op.constant(np.array([n], np.int64)) for n in (0, 0, 1))


@elements.example
def _(g):
    shape = g.shape(least=1)
    axis = g.integer(0, len(shape) - 1)
    size = shape[axis]
    picked = [g.integer(1, n) for n in shape]
    x = g.input(shape, g.pick([g.FLOAT, g.INT32, g.BOOL]), static=True)
    g.output(g.GatherElements(x, g.indices(-size, size - 1, picked), axis=g.pick([axis, axis - len(shape)])))


@slices.example
def _(g):
    shape = g.shape(least=2)
    batch = g.integer(0, min(1, len(shape) - 1))
    width = g.integer(1, len(shape) - batch)
    least = min(shape[batch : batch + width])
    x = g.input(shape, g.pick([g.FLOAT, g.INT64]), static=True)
    lead = g.shape(most=2)
    index = g.indices(-least, least - 1, [*shape[:batch], *lead, width], long=True)
    picked = g.GatherND(x, index, **({"batch_dims": batch} if batch or g.flag() else {}))
    g.output(picked, rank=len(lead) + len(shape) - width)


@reverse.example
def _(g):
    shape = [g.integer(1, 4), g.integer(1, 4), *g.shape(most=2)]
    batch = g.integer(0, 1)
    lengths = [g.integer(1, shape[1 - batch]) for _ in range(shape[batch])]
    x = g.input(shape, static=True)
    if g.flag():
        given = g.constant(np.array(lengths, np.int64))
    else:
        given = g.Cast(
            g.ReduceSum(
                g.Mul(g.input([shape[batch], 1], static=True, finite=True), g.constant(0.0)),
                g.constant(np.array([1])),
                keepdims=0,
            ),
            to=g.INT64,
        )
        given = g.Add(given, g.constant(np.array(lengths, np.int64)))
    g.output(g.ReverseSequence(x, given, batch_axis=batch, time_axis=1 - batch))


@gather.example
def _(g):
    shape = g.shape(least=4, most=6)
    axis = g.integer(0, len(shape) - 1)
    size = shape[axis]
    x = g.input(shape, g.pick([g.FLOAT, g.INT64]), static=True)
    g.output(g.Gather(x, g.indices(-size, size - 1, g.shape(most=3)), axis=g.pick([axis, axis - len(shape)])))


@transpose.example
def _(g):
    shape = g.shape()
    x = g.input(shape, g.pick([g.FLOAT, g.INT64]), static=True)
    g.output(g.Transpose(x, **({"perm": g.permutation(len(shape))} if g.flag() and shape else {})))


@compress.example
def _(g):
    shape = g.shape(least=1)
    axis = g.integer(0, len(shape) - 1) if g.flag() else None
    most = math.prod(shape) if axis is None else shape[axis]
    kept = np.array([True] + [g.flag() for _ in range(g.integer(0, most - 1))])
    x = g.input(shape, g.pick([g.FLOAT, g.INT64]), static=True)
    g.output(g.Compress(x, g.constant(kept), **({} if axis is None else {"axis": axis})))


@unique.example
def _(g):
    shape = [1] * g.integer(1, 3)
    parts = g.Unique(g.input(shape, static=True), outputs=4, **({"axis": 0} if g.flag() else {}))
    for part in parts:
        g.output(part)


class GatherByPosition(Substitution):
    """Pick elements by their position in the flattened tensor."""

    name = "gather-by-position"
    rules = (elements, slices, reverse, gather, transpose, compress, unique)
