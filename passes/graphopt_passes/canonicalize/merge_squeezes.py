"""Make one Squeeze or one Unsqueeze out of two in a row, or none where they cancel.

    x ─ Unsqueeze(0) ─ Unsqueeze(2) ─ y      becomes      x ─ Unsqueeze(0, 2) ─ y
    x ─ Unsqueeze(1) ─ Squeeze(1) ─ y        becomes      x ─ y

Holds for any sizes as long as the rank is known. The first may have other readers. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import shape_of
from graphopt.ir.schema import integers
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule

SINCE_INPUTS = 13
"""Opset from which the axes are an input."""
_EITHER = ("Squeeze", "Unsqueeze")


def _apply(node: ir.Node, axes: list[int | None]) -> list[int | None] | None:
    """The axes after a node, by their number before it all; None for one that was put in."""
    given = integers(node, "axes", 1)
    if given is None:
        return None
    if node.op_type == "Squeeze":
        gone = {axis % len(axes) for axis in given} if axes else set()
        return [one for position, one in enumerate(axes) if position not in gone]
    rank, rest = len(axes) + len(given), iter(axes)
    put = {axis % rank for axis in given}
    return [None if position in put else next(rest) for position in range(rank)]


def squeeze(op, x: ir.Value, axes: list[int], kind: str = "Squeeze") -> ir.Value:
    """A Squeeze or Unsqueeze of these axes, in the form of the opset."""
    if op.opset < SINCE_INPUTS:
        return op.op(kind, x, axes=axes)
    return op.op(kind, x, np.array(axes, np.int64))


@rule("squeeze-squeeze", fidelity="exact")
def merge(p):
    return p.op(_EITHER, p.op(_EITHER, p.x, p.rest("a"), as_="first", shared=True), p.rest("b"))


@merge.replace
def _(op, m):
    shape = shape_of(m.x)
    if shape is None:
        raise op.decline("the rank is not known")
    between = _apply(m.first, list(range(len(shape))))
    after = None if between is None else _apply(m.root, between)
    if after is None:
        raise op.decline("the axes are computed or left to the sizes")
    put = [position for position, axis in enumerate(after) if axis is None]
    gone = sorted(set(range(len(shape))) - set(after))
    if put and gone:
        raise op.decline("one takes away an axis and the other puts one in")
    if not put and not gone:
        return m.x
    return squeeze(op, m.x, put, "Unsqueeze") if put else squeeze(op, m.x, gone)


@merge.example
def _(g):
    shape = g.shape(most=2)
    x = g.Neg(g.input(shape))
    one = g.Unsqueeze(x, g.constant([g.integer(0, len(shape)), -1][: g.integer(1, 2)][:1]))
    if g.flag():
        g.output(g.Relu(one))
    g.output(g.Unsqueeze(one, g.constant([g.integer(0, len(shape) + 1)])))


@merge.example
def _(g):
    shape = g.shape(most=2)
    x = g.Neg(g.input([1, *shape, 1]))
    axis = g.integer(0, len(shape) + 2)
    if g.flag():
        g.output(g.Squeeze(g.Unsqueeze(x, g.constant([axis])), g.constant([axis])))
    else:
        g.output(g.Squeeze(g.Squeeze(x, g.constant([-1])), g.constant([0])))


class MergeSqueezes(RewritePass):
    """Make one Squeeze or one Unsqueeze out of two in a row, or none where they cancel."""

    name = "merge-squeezes"
    rules = (merge,)
