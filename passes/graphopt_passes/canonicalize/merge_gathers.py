"""Make one Gather out of two in a row with constant indices, and other nodes out of Gathers that do less.

    x ─ Gather([4, 2, 7]) ─ Gather([2, 0]) ─ y            becomes      x ─ Gather([7, 4]) ─ y
    x[4] ─ Gather([[0, 1], [2, 3]]) ─ y[2, 2]             becomes      x ─ Reshape(2, 2) ─ y
    x[1, 8] ─ Gather(0) ─ y[8]                            becomes      x ─ Squeeze(0) ─ y

Holds along the same axis, with a vector of indices first, and for indices that are inside. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import shape_of
from graphopt.ir.infer import dims_of
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.merge_reshapes import reshape_to
from graphopt_passes.canonicalize.merge_slices import size_of
from graphopt_passes.canonicalize.merge_squeezes import squeeze


@rule("gather-gather", fidelity="exact")
def merge(p):
    first = p.Gather(p.x, p.constant("a", where=lambda c: c.ndim == 1), axis=p.attribute("first"))
    return p.Gather(first, p.constant("b", where=lambda c: True), axis=p.attribute("second"))


@merge.require("both work along the same axis, with indices inside of it")
def _(m):
    shape = shape_of(m.x)
    if m.first != m.second and (shape is None or m.first % len(shape) != m.second % len(shape)):
        return "the axes differ"
    return bool(((m.b >= -len(m.a)) & (m.b < len(m.a))).all())


@merge.replace
def _(op, m):
    return op.Gather(m.x, m.a[m.b.astype(np.int64)], axis=m.first)


@merge.example
def _(g):
    size = g.integer(1, 5)
    axis = g.pick([0, 1, -1])
    x = g.Neg(g.input([size, size], static=True))
    first = np.array([g.integer(-size, size - 1) for _ in range(g.integer(1, 4))], g.pick([np.int32, np.int64]))
    second = np.array([g.integer(-len(first), len(first) - 1) for _ in range(4)], np.int64)
    chosen = second[0] if g.flag() else second.reshape(g.pick([(4,), (2, 2)]))
    g.output(g.Gather(g.Gather(x, g.constant(first), axis=axis), g.constant(chosen), axis=axis))


def _ascending(indices: np.ndarray) -> bool:
    return indices.ndim != 1 and indices.size > 0 and bool((indices.reshape(-1) == np.arange(indices.size)).all())


@rule("gather-in-order", fidelity="exact")
def in_order(p):
    return p.Gather(p.x, p.constant("indices", where=_ascending), axis=p.attribute("axis"))


@in_order.require("every element of the axis is taken")
def _(m):
    shape = shape_of(m.x)
    return shape is not None and size_of(m.x, m.axis % len(shape)) == m.indices.size


@in_order.replace
def _(op, m):
    return reshape_to(op, m.x, dims_of(m.root.outputs[0]))


@in_order.example
def _(g):
    shape = g.pick([(1, 4), (2, 2), (1, 1, 4), (4, 1)])
    data = g.pick([[4, 3], [3, 4]])
    g.output(g.Gather(g.Neg(g.input(data, static=True)), g.constant(np.arange(4).reshape(shape)), axis=data.index(4)))


@rule("gather-of-one", fidelity="exact")
def only(p):
    return p.Gather(p.x, p.constant("index", where=lambda c: c.ndim == 0 and c in (0, -1)), axis=p.attribute("axis"))


@only.require("the axis has one element")
def _(m):
    shape = shape_of(m.x)
    return shape is not None and size_of(m.x, m.axis % len(shape)) == 1


@only.replace
def _(op, m):
    return squeeze(op, m.x, [m.axis % len(shape_of(m.x))])


@only.example
def _(g):
    shape = g.shape(most=3)
    axis = g.integer(0, len(shape))
    x = g.Neg(g.input([*shape[:axis], 1, *shape[axis:]], static=True))
    g.output(g.Gather(x, g.constant(g.pick([0, -1])), axis=g.pick([axis, axis - len(shape) - 1])))


class MergeGathers(RewritePass):
    """Make one Gather out of two in a row with constant indices, and other nodes out of Gathers that do less."""

    name = "merge-gathers"
    rules = (merge, in_order, only)
