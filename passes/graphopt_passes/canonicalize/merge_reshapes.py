"""Make one Reshape out of several nodes in a row that only change the shape.

    x ─ Squeeze ─ Unsqueeze ─ Flatten ─ Reshape ─ y      becomes      x ─ Reshape(shape of y) ─ y

Holds where the last shape is known with at most one dynamic dimension, or the last node does not look at the shape
of its input (a Reshape without 0). The first may have other readers; it then stays for them. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import constant
from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule

SHAPES_ONLY = ("Reshape", "Squeeze", "Unsqueeze", "Flatten")


@rule("reshape-reshape", fidelity="exact")
def merge(p):
    first = p.op(SHAPES_ONLY, p.x, p.rest("a"), shared=True)
    return p.op(SHAPES_ONLY, first, p.rest("b"))


@merge.replace
def _(op, m):
    before, after = dims_of(m.x), dims_of(m.root.outputs[0])
    if before is not None and before == after:
        return m.x
    target = _target(before, after)
    if target is not None:
        return op.Reshape(m.x, np.array(target, np.int64))
    if m.root.op_type != "Reshape":
        raise op.decline("more than one dimension of the last shape is dynamic")
    shape = constant(m.root.inputs[1])
    if attribute(m.root, "allowzero") or shape is None or (shape.numpy() == 0).any():
        raise op.decline("the last Reshape copies a dimension of its input")
    return op.Reshape(m.x, m.root.inputs[1])


def _target(before, after):
    """The shape input of a Reshape that makes `after`: numbers, with -1 for the one dimension that is not a number."""
    if after is None:
        return None
    numbers = [dim.number for dim in after]
    if numbers.count(None) > 1 or (None in numbers and 0 in numbers) or 0 in numbers:
        return None
    return [-1 if n is None else n for n in numbers]


@merge.example
def _(g):
    shape = g.shape(least=1)
    flat = g.flag()
    x = g.Neg(g.input(shape, static=not flat))
    one = (
        g.Unsqueeze(x, g.constant([g.integer(0, len(shape))]))
        if g.flag()
        else g.Flatten(x, axis=g.integer(0, len(shape)))
    )
    if g.flag():
        g.output(g.Relu(one))
    g.output(g.Reshape(one, g.constant([-1])) if flat else g.Unsqueeze(one, g.constant([0])))


class MergeReshapes(RewritePass):
    """Make one Reshape out of Reshapes, Squeezes, Unsqueezes and Flattens in a row."""

    name = "merge-reshapes"
    rules = (merge,)
