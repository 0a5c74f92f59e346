"""Let a reduction itself drop or keep the axes that it reduces.

    x ─ ReduceMean(2, 3, keepdims=1) ─ Squeeze(2, 3) ─ y      becomes      x ─ ReduceMean(2, 3, keepdims=0) ─ y
    x ─ ReduceMax(1, keepdims=0) ─ Unsqueeze(1) ─ y           becomes      x ─ ReduceMax(1, keepdims=1) ─ y

A Reshape or Flatten that does the same counts as well. The reduction has no other reader. Fidelity: exact.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.edit import shape_of
from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute, has_input, integers
from graphopt.ir.symbolic import Dim
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule

REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
ARGUMENTS = ("ArgMax", "ArgMin")
_SHAPES = ("Squeeze", "Unsqueeze", "Reshape", "Flatten")


def reduced_axes(node: ir.Node) -> list[int] | None:
    """The axes that a reduction takes together, counted from the first and in order; None where they are unknown."""
    shape = shape_of(node.inputs[0])
    if shape is None:
        return None
    if node.op_type in ARGUMENTS:
        return [attribute(node, "axis") % len(shape)] if len(shape) else None
    if "axes" not in node.attributes and not has_input(node, 1):
        return None if attribute(node, "noop_with_empty_axes") else list(range(len(shape)))
    axes = integers(node, "axes", 1)
    return sorted({axis % len(shape) for axis in axes}) if axes else None


def _result(node: ir.Node, axes: list[int], keep: bool) -> tuple[Dim, ...] | None:
    """The shape of what a reduction makes with or without its axes."""
    dims = dims_of(node.inputs[0])
    if dims is None:
        return None
    return tuple(Dim.of(1) if i in axes else d for i, d in enumerate(dims) if keep or i not in axes)


@rule("squeeze-into-reduction", fidelity="exact")
def into(p):
    return p.op(_SHAPES, p.op((*REDUCTIONS, *ARGUMENTS), p.x, p.rest("axes"), as_="reduction"), p.rest("more"))


@into.replace
def _(op, m):
    axes = reduced_axes(m.reduction)
    keep = not attribute(m.reduction, "keepdims")
    if axes is None:
        raise op.decline("the reduced axes are not known")
    given = integers(m.root, "axes", 1)
    same_axes = False
    if m.root.op_type == ("Unsqueeze" if keep else "Squeeze") and given is not None:
        rank = len(shape_of(m.x))
        same_axes = sorted(axis % rank for axis in given) == axes
    if not same_axes:
        after = dims_of(m.root.outputs[0])
        if after is None or after != _result(m.reduction, axes, keep):
            raise op.decline("the shape after it is another")
    return op.op(m.reduction.op_type, *m.reduction.inputs, like=m.reduction, keepdims=int(keep))


@into.example
def _(g):
    shape = [g.integer(1, 4) for _ in range(g.integer(2, 4))]
    axis, keep = g.integer(0, len(shape) - 1), g.flag()
    x = g.Neg(g.input(shape))
    kind = g.pick(["ReduceMax", "ReduceMin", "ReduceSum", "ArgMax"])
    if kind == "ArgMax":
        one = g.ArgMax(x, axis=axis, keepdims=int(keep))
    elif kind == "ReduceSum" or g.opset >= 18:
        one = g.op(kind, x, g.constant([axis]), keepdims=int(keep))
    else:
        one = g.op(kind, x, axes=[axis], keepdims=int(keep))
    g.output(g.op("Squeeze" if keep else "Unsqueeze", one, g.constant([g.pick([axis, axis - len(shape)])])))


class SetKeepdims(RewritePass):
    """Let a reduction itself drop or keep the axes that it reduces."""

    name = "set-keepdims"
    rules = (into,)
