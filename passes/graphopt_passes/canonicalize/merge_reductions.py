"""Make one reduction out of two in a row, and let a reduction read what a Transpose reads.

    x ─ ReduceMean(3) ─ ReduceMean(2) ─ y                      becomes      x ─ ReduceMean(2, 3) ─ y
    x ─ Transpose(0, 2, 3, 1) ─ ReduceMean(1, 2) ─ y[N, C]     becomes      x ─ ReduceMean(2, 3) ─ y[N, C]

Holds for reductions that may be done in steps, with the same keepdims, and where the axes that are left keep their
order. Fidelity: rounding (sums are added up in another order).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import shape_of
from graphopt.ir.schema import attribute
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.set_keepdims import ARGUMENTS, REDUCTIONS, reduced_axes

IN_STEPS = (
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
)
_SINCE_INPUT = {"ReduceSum": 13}
_SINCE_INPUT_REST = 18
"""Opset from which the axes are an input."""


def reduce(op, kind: str, x, axes: list[int], like: ir.Node, keep: int):
    """A reduction over these axes, in the form of the opset."""
    if kind in ARGUMENTS:
        return op.op(kind, x, like=like, axis=axes[0])
    if op.opset < _SINCE_INPUT.get(kind, _SINCE_INPUT_REST):
        return op.op(kind, x, like=like, axes=axes, keepdims=keep)
    return op.op(kind, x, np.array(axes, np.int64), like=like, keepdims=keep)


@rule("reduce-reduce", fidelity="rounding")
def merge(p):
    return p.op(IN_STEPS, p.op(IN_STEPS, p.x, p.rest("a"), as_="first"), p.rest("b"))


@merge.require("both are the same reduction, and keep axes or do not")
def _(m):
    alike = m.first.op_type == m.root.op_type
    return alike and attribute(m.first, "keepdims") == attribute(m.root, "keepdims")


@merge.replace
def _(op, m):
    first, second, keep = reduced_axes(m.first), reduced_axes(m.root), attribute(m.root, "keepdims")
    if first is None or second is None:
        raise op.decline("the axes are not known")
    if not keep:
        left = [axis for axis in range(len(shape_of(m.x))) if axis not in first]
        second = [left[axis] for axis in second]
    return reduce(op, m.root.op_type, m.x, sorted({*first, *second}), m.root, keep)


def _example(g, kind, x, axis, keep):
    if kind == "ReduceSum" or g.opset >= _SINCE_INPUT_REST:
        return g.op(kind, x, g.constant([axis]), keepdims=keep)
    return g.op(kind, x, axes=[axis], keepdims=keep)


@merge.example
def _(g):
    kind, keep = g.pick(["ReduceMax", "ReduceMean", "ReduceSum", "ReduceL2"]), int(g.flag())
    x = g.Neg(g.input([g.integer(1, 4) for _ in range(3)]))
    g.output(_example(g, kind, _example(g, kind, x, g.integer(0, 2), keep), g.integer(0, 1), keep))


@rule("reduce-transpose", fidelity="rounding")
def transposed(p):
    return p.op((*REDUCTIONS, *ARGUMENTS), p.Transpose(p.x, perm=p.attribute("perm"), shared=True), p.rest("axes"))


@transposed.require("it drops the axes that it reduces, and the others keep their order")
def _(m):
    axes = reduced_axes(m.root)
    if axes is None or m.perm is None or attribute(m.root, "keepdims"):
        return False
    left = [m.perm[position] for position in range(len(m.perm)) if position not in axes]
    return left == sorted(left)


@transposed.replace
def _(op, m):
    axes = sorted(m.perm[position] for position in reduced_axes(m.root))
    return reduce(op, m.root.op_type, m.x, axes, m.root, 0)


@transposed.example
def _(g):
    x = g.Transpose(g.Neg(g.input([2, g.integer(1, 4), g.integer(1, 4), g.integer(1, 4)])), perm=[0, 2, 3, 1])
    if g.flag():
        g.output(g.ReduceSum(x, g.constant(g.pick([[1, 2], [-2, 1]])), keepdims=0))
    else:
        last = g.Transpose(g.Neg(g.input([2, g.integer(1, 4), 3])), perm=[0, 2, 1])
        g.output(g.ArgMax(last, axis=g.pick([1, -2]), keepdims=0))


class MergeReductions(RewritePass):
    """Make one reduction out of two in a row, and let a reduction read what a Transpose reads."""

    name = "merge-reductions"
    rules = (merge, transposed)
