"""Make one Reshape out of several nodes in a row that only change the shape.

    x ─ Squeeze ─ Unsqueeze ─ Flatten ─ Reshape ─ y      becomes      x ─ Reshape(shape of y) ─ y

A Transpose that only moves axes of one element is such a node as well. Holds where constants can say the last shape
for every value of its symbols, or the last node does not look at the shape of its input (a Reshape without 0). The
first may have other readers; it then stays for them. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, shape_of
from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute
from graphopt.ir.symbolic import Dim
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule

SHAPES_ONLY = ("Reshape", "Squeeze", "Unsqueeze", "Flatten")


def only_shapes(node: ir.Node) -> bool:
    """Whether a node keeps all elements in their order."""
    if node.op_type != "Transpose":
        return node.op_type in SHAPES_ONLY
    shape, perm = shape_of(node.inputs[0]), attribute(node, "perm")
    if shape is None:
        return False
    moved = [axis for axis in perm or range(len(shape))[::-1] if shape[axis] != 1]
    return moved == sorted(moved)


def target(before: tuple[Dim, ...] | None, after: tuple[Dim, ...], fragile: bool = False) -> list[int] | None:
    """The shape input of a Reshape from one shape to another, None where constants cannot say it.

    A 0 copies a dimension, -1 stands for what is left over. The two do not go together, since nothing is left over of
    an empty tensor, unless `fragile` says that what is replaced has that weakness as well.
    """
    numbers = [dim.number for dim in after]
    copied = [before is not None and i < len(before) and before[i] == dim for i, dim in enumerate(after)]
    if None not in numbers and 0 not in numbers:
        return [n for n in numbers if n is not None]
    if numbers.count(None) == 1 and 0 not in numbers:
        return [-1 if n is None else n for n in numbers]
    entries = [n if n else 0 if same else -1 for n, same in zip(numbers, copied, strict=True)]
    left_over = [number for number, entry in zip(numbers, entries, strict=True) if entry == -1]
    if not left_over:
        return entries
    return entries if fragile and left_over == [None] and 0 not in numbers else None


def reshape_to(op, x, after, fragile: bool = False):
    """`x` in another shape: as it is where it has that shape already, else through a Reshape."""
    before = dims_of(x)
    if after is None:
        raise op.decline("the last shape is not known")
    if before == after:
        return x
    entries = target(before, after, fragile)
    if entries is None:
        raise op.decline("more than one dimension of the last shape is dynamic")
    return op.Reshape(x, np.array(entries, np.int64))


@rule("reshape-reshape", fidelity="exact")
def merge(p):
    nodes = (*SHAPES_ONLY, "Transpose")
    return p.op(nodes, p.op(nodes, p.x, p.rest("a"), shared=True, where=only_shapes), p.rest("b"), where=only_shapes)


@merge.replace
def _(op, m):
    after = dims_of(m.root.outputs[0])
    given = constant(m.root.inputs[1]) if m.root.op_type == "Reshape" else None
    shape = given.numpy() if given is not None else None
    fragile = shape is not None and (shape == 0).any() and (shape == -1).any()
    known = after is not None and (dims_of(m.x) == after or target(dims_of(m.x), after, bool(fragile)) is not None)
    if known:
        return reshape_to(op, m.x, after, bool(fragile))
    if m.root.op_type != "Reshape":
        raise op.decline("more than one dimension of the last shape is dynamic")
    if attribute(m.root, "allowzero") or shape is None or (shape == 0).any():
        raise op.decline("the last Reshape copies a dimension of its input")
    return op.Reshape(m.x, m.root.inputs[1])


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


@merge.example
def _(g):
    shape = [g.integer(2, 4), 1, g.integer(2, 4), 1]
    x = g.Neg(g.input(shape, static=True))
    if g.flag():
        g.output(g.Flatten(g.Transpose(x, perm=g.pick([[0, 2, 1, 3], [1, 0, 2, 3], [0, 3, 1, 2]])), axis=2))
    else:
        pair = g.Reshape(x, g.constant([shape[0] * shape[2], 1]))
        g.output(g.Transpose(pair, perm=[1, 0]))


class MergeReshapes(RewritePass):
    """Make one Reshape out of Reshapes, Squeezes, Unsqueezes and Flattens in a row."""

    name = "merge-reshapes"
    rules = (merge,)
