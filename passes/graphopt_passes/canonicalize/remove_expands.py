"""Take away an Expand or Tile where the operator that reads it broadcasts anyway.

    x[1, 8] ─ Expand(4, 8) ─ Add(z[4, 8]) ─ y[4, 8]      becomes      x[1, 8] ─ Add(z[4, 8]) ─ y[4, 8]

Holds where the result is proven to have the same shape without it. Fidelity: exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from graphopt.ir.edit import constant
from graphopt.ir.infer import dims_of
from graphopt.ir.symbolic import Dim
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule

BROADCAST = (
    "Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual", "Less",
    "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor", "MatMul",
)  # fmt: skip
_SINCE_BROADCASTING = 8
Dims = tuple[Dim, ...]


def _source(value: ir.Value | None) -> ir.Value | None:
    """What an Expand, or a Tile along axes of one element, repeats; None for another value."""
    node = value.producer() if value is not None else None
    if node is None or node.domain or node.op_type not in ("Expand", "Tile"):
        return None
    if node.op_type == "Expand":
        return node.inputs[0]
    dims, repeats = dims_of(node.inputs[0]), constant(node.inputs[1])
    if dims is None or repeats is None:
        return None
    counts = repeats.numpy().reshape(-1)
    return node.inputs[0] if all(n == 1 or d.number == 1 for d, n in zip(dims, counts, strict=False)) else None


def _gives(shapes: Sequence[Dims], wanted: Dims) -> bool:
    """Whether shapes broadcast to what is wanted, whatever the values of their symbols."""
    if max(map(len, shapes)) != len(wanted):
        return False
    one = Dim.of(1)
    for place in range(1, len(wanted) + 1):
        dims = [shape[-place] for shape in shapes if place <= len(shape)]
        goal = wanted[-place]
        if any(dim not in (one, goal) for dim in dims) or (goal != one and goal not in dims):
            return False
    return True


@rule("expand-before-broadcast", fidelity="exact")
def remove(p):
    return p.op(BROADCAST, p.rest("inputs"), where=lambda node: any(map(_source, node.inputs)))


@remove.replace
def _(op, m):
    if op.opset < _SINCE_BROADCASTING:
        raise op.decline("before opset 8 operators do not broadcast by themselves")
    # The last two axes of a product of matrices do not broadcast.
    kept = 2 if m.root.op_type == "MatMul" else 0
    wanted = dims_of(m.root.outputs[0])
    inputs, changed = list(m.inputs), False
    for position, value in enumerate(m.inputs):
        source = _source(value)
        if source is None or wanted is None:
            continue
        trial = [*inputs[:position], source, *inputs[position + 1 :]]
        shapes = [dims_of(one) for one in trial]
        before = dims_of(value)
        if None in shapes or before is None or min(map(len, shapes)) < kept:
            continue
        ends = len(before) - kept
        if kept and shapes[position][len(shapes[position]) - kept :] != before[ends:]:
            continue
        if _gives([shape[: len(shape) - kept] for shape in shapes], wanted[: len(wanted) - kept]):
            inputs, changed = trial, True
    if not changed:
        raise op.decline("the result would not be proven to have its shape")
    return op.op(m.root.op_type, *inputs, like=m.root)


@remove.example
def _(g):
    shape = [g.integer(2, 4), g.integer(1, 4)]
    lead = g.pick([[1, shape[1]], [shape[1]], [shape[0], 1], [1, 1]])
    x, z = g.Neg(g.input(lead, static=True)), g.Neg(g.input(shape, static=True))
    large = g.Expand(x, g.constant(shape))
    if g.flag():
        g.output(g.Relu(large))
    kind = g.pick(["Sub", "Mul", "Where", "Greater"])
    g.output(g.Where(g.Greater(z, z), large, z) if kind == "Where" else g.op(kind, z, large))


@remove.example
def _(g):
    a = g.Neg(g.input([1, 2, 3], static=True))
    b = g.Neg(g.input([4, 3, 2], static=True))
    g.output(g.MatMul(g.Tile(a, g.constant([4, 1, 1])), b))


class RemoveExpands(RewritePass):
    """Take away an Expand or Tile where the operator that reads it broadcasts anyway."""

    name = "remove-expands"
    rules = (remove,)
