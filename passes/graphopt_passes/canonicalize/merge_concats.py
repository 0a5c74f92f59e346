"""Make one Concat out of nested ones, and leave out what is empty.

    a ─ Concat ─ Concat ─ y              a ─ Concat ─ y             x[N, 4] ─ Concat ─ y
    b ─┘     c ─┘             becomes    b ─┤               and     c[0, 4] ─┘             becomes      x ─ y
                                         c ─┘

Holds along the same axis; the inner Concat has no other reader. Fidelity: exact.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import readers, shape_of
from graphopt.ir.schema import attribute
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.merge_slices import size_of


def _axis(node: ir.Node) -> int | None:
    """The axis of a Concat counted from the first, None where its rank is not known."""
    axis = attribute(node, "axis")
    ranks = [shape_of(value) for value in (*node.outputs, *node.inputs)]
    known = next((len(shape) for shape in ranks if shape is not None), None)
    if axis is None or (axis < 0 and known is None):
        return None
    return axis + known if axis < 0 and known is not None else axis


def _inner(value: ir.Value | None, axis: int) -> ir.Node | None:
    """The Concat along an axis that makes a value for one reader, in one place."""
    node = value.producer() if value is not None else None
    if value is None or node is None or node.op_type != "Concat" or node.domain or value.is_graph_output():
        return None
    return node if _axis(node) == axis and len(list(islice(readers(value), 2))) == 1 else None


@rule("concat-concat", fidelity="exact")
def merge(p):
    return p.op("Concat", p.rest("parts"))


@merge.replace
def _(op, m):
    axis = _axis(m.root)
    if axis is None:
        raise op.decline("the axis is not known")
    parts, changed = [], False
    for part in m.parts:
        inner = _inner(part, axis)
        if inner is not None and inner.graph is m.root.graph:
            parts += inner.inputs
            changed = True
        else:
            parts.append(part)
    if not changed:
        raise op.decline("no part is a Concat along the same axis for this reader alone")
    return op.Concat(*parts, like=m.root)


@merge.example
def _(g):
    shape = g.shape(least=1)
    axis = g.integer(0, len(shape) - 1)
    inner = g.Concat(*(g.Neg(g.input(shape)) for _ in range(2)), axis=axis)
    parts = [inner, g.Neg(g.input(shape))]
    g.output(g.Concat(*(parts if g.flag() else parts[::-1]), axis=g.pick([axis, axis - len(shape)])))


@rule("concat-with-nothing", fidelity="exact")
def empty(p):
    return p.op("Concat", p.rest("parts"))


@empty.replace
def _(op, m):
    axis = _axis(m.root)
    if axis is None:
        raise op.decline("the axis is not known")
    kept = [part for part in m.parts if size_of(part, axis) != 0]
    if len(kept) == len(m.parts) or not kept:
        raise op.decline("no part is known to be empty, or all are")
    return kept[0] if len(kept) == 1 else op.Concat(*kept, like=m.root)


@empty.example
def _(g):
    shape = g.shape(least=1, most=3)
    axis = g.integer(0, len(shape) - 1)
    nothing = g.constant(np.zeros([0 if a == axis else n for a, n in enumerate(shape)], np.float32))
    parts = [nothing, *(g.Neg(g.input(shape)) for _ in range(g.integer(1, 2)))]
    g.output(g.Concat(*(parts if g.flag() else parts[::-1]), axis=axis))


class MergeConcats(RewritePass):
    """Make one Concat out of nested ones, and leave out what is empty."""

    name = "merge-concats"
    rules = (merge, empty)
