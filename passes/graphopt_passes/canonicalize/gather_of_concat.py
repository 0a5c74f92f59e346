"""Look through a Concat for what a Gather takes.

    a[1, 4] ─┐
    b[1, 4] ─┴ Concat(0) ─ Gather(1, 0) ─ y[4]      becomes      b ─ Gather(0, 0) ─ y

where all constant indices lie in one part; as the last state of stacked recurrent layers does. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import shape_of
from graphopt.ir.schema import attribute
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule


@rule("gather-of-concat", fidelity="exact")
def gather_of_concat(p):
    joined = p.op("Concat", p.rest("parts"), as_="joined", shared=True)
    return p.Gather(joined, p.constant("indices"), axis=p.attribute("axis"))


@gather_of_concat.replace
def _(op, m):
    shapes = [shape_of(part) for part in m.parts]
    if any(shape is None for shape in shapes) or m.indices.size == 0:
        raise op.decline("the rank is not known, or it takes nothing")
    rank = len(shapes[0])
    axis = attribute(m.joined, "axis") % rank
    sizes = [shape[axis] for shape in shapes]
    if m.axis % rank != axis or not all(isinstance(size, int) for size in sizes):
        raise op.decline("what it takes of each part is not known")
    indices = np.where(m.indices < 0, m.indices + sum(sizes), m.indices)
    begin = 0
    for part, size in zip(m.parts, sizes, strict=True):
        if ((indices >= begin) & (indices < begin + size)).all():
            return op.Gather(part, (indices - begin).astype(m.indices.dtype), like=m.root)
        begin += size
    raise op.decline("it takes more than one part")


@gather_of_concat.example
def _(g):
    parts = [g.integer(1, 4) for _ in range(g.integer(2, 3))]
    joined = g.Concat(*(g.Neg(g.input([2, size], static=True)) for size in parts), axis=g.pick([1, -1]))
    chosen = g.integer(0, len(parts) - 1)
    indices = np.array(sum(parts[:chosen]) + g.integer(0, parts[chosen] - 1))
    indices = indices - sum(parts) if g.flag() else indices
    g.output(g.Gather(joined, g.constant(indices if g.flag() else indices.reshape(1, 1)), axis=g.pick([1, -1])))


class GatherOfConcat(RewritePass):
    """Look through a Concat for what a Gather takes."""

    name = "gather-of-concat"
    rules = (gather_of_concat,)
