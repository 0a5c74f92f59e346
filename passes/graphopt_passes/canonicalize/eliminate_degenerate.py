"""Take away operators that have nothing to do, since there is one element only, or all of them.

    x[N, 1] ─ ReduceMax(1) ─ y       x ─ ReduceMax(nothing) ─ y      x[N, 1] ─ CumSum(1) ─ y
    x ─ DepthToSpace(1) ─ y          x ─ CastLike(same type) ─ y     ScatterND(x, everywhere, u) ─ y

each becomes x ─ y, the last u ─ y; a reduction that drops its axes of one element becomes a Squeeze. Sums and means of
one element, and windows of one, may change the sign of a zero: see simplify-zeros. Fidelity: exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import static_shape
from graphopt.ir.infer import dims_of
from graphopt.ir.schema import attribute, has_input, integers
from graphopt.pipeline import RewritePass
from graphopt.rewrite import Fidelity, Rule, rule

_EXACT = ("ReduceMax", "ReduceMin", "ReduceProd")
"""Reductions of which the result over one element is that element, bit by bit."""
_SQUEEZE_INPUT = 13
"""Opset from which the axes of Squeeze and ReduceSum are an input."""
_REDUCE_INPUT = 18
"""Opset from which the axes of the other reductions are an input."""


def axes_of(node: ir.Node) -> list[int] | None:
    """The axes that a reduction reduces, counted from the first; None where they are not known."""
    dims = dims_of(node.inputs[0])
    axes = integers(node, "axes", 1) if "axes" in node.attributes or has_input(node, 1) else []
    if dims is None or axes is None:
        return None
    if not axes:
        return [] if attribute(node, "noop_with_empty_axes") else list(range(len(dims)))
    return sorted({axis % len(dims) for axis in axes})


def reduction_of_one(name: str, types: Sequence[str], fidelity: Fidelity) -> Rule:
    """A rule that takes away reductions over axes of one element, or makes a Squeeze of them."""

    @rule(name, fidelity=fidelity)
    def reduce(p):
        return p.op(types, p.x, p.rest("more"))

    @reduce.require("every axis that it reduces has one element")
    def _(m):
        axes, dims = axes_of(m.root), dims_of(m.x)
        return axes is not None and dims is not None and all(dims[axis].number == 1 for axis in axes)

    @reduce.replace
    def _(op, m):
        axes = axes_of(m.root)
        if attribute(m.root, "keepdims") or not axes:
            return m.x
        if op.opset >= _SQUEEZE_INPUT:
            return op.Squeeze(m.x, np.array(axes, np.int64))
        return op.Squeeze(m.x, axes=axes)

    @reduce.example
    def _(g):
        op_type, keep = g.pick(types), int(g.flag())
        x = g.Neg(g.input([g.integer(1, 3), 1, g.integer(1, 3)], static=True))
        if g.opset >= (_SQUEEZE_INPUT if op_type == "ReduceSum" else _REDUCE_INPUT):
            g.output(g.op(op_type, x, g.constant([1]), keepdims=keep))
        else:
            g.output(g.op(op_type, x, axes=[1], keepdims=keep))

    return reduce


reduce_one = reduction_of_one("reduce-one", _EXACT, "exact")


@rule("cumsum-of-one", fidelity="exact")
def cumsum(p):
    return p.CumSum(p.x, p.constant("axis"), exclusive=0)


@cumsum.require("the axis has one element")
def _(m):
    dims = dims_of(m.x)
    return dims is not None and dims[int(m.axis.reshape(()))].number == 1


@cumsum.replace
def _(op, m):
    return m.x


@cumsum.example
def _(g):
    x = g.Neg(g.input([g.integer(1, 3), 1], static=True))
    g.output(g.CumSum(x, g.constant(np.array(g.pick([1, -1]))), reverse=int(g.flag())))


@rule("blocks-of-one", fidelity="exact")
def blocks(p):
    return p.op(("DepthToSpace", "SpaceToDepth"), p.x, blocksize=1)


@blocks.replace
def _(op, m):
    return m.x


@blocks.example
def _(g):
    x = g.Neg(g.input([1, g.integer(1, 3), 2, 2]))
    g.output(g.op(g.pick(["DepthToSpace", "SpaceToDepth"]), x, blocksize=1))


@rule("cast-like-same", fidelity="exact")
def cast_like(p):
    return p.CastLike(p.x, p.like)


@cast_like.replace
def _(op, m):
    if m.like.dtype is None:
        raise op.decline("the type is not known")
    if m.x.dtype == m.like.dtype:
        return m.x
    return op.Cast(m.x, to=int(m.like.dtype), saturate=attribute(m.root, "saturate") if op.opset >= 19 else None)


@cast_like.example
def _(g):
    g.since(15)
    x = g.Neg(g.input(g.shape()))
    g.output(g.CastLike(x, g.pick([x, g.constant(1.0), g.constant(1)])))


@rule("scatter-everywhere", fidelity="exact")
def scatter(p):
    return p.ScatterND(p.x, p.constant("indices"), p.updates, reduction=p.attribute())


@scatter.require("the updates replace every row, in order")
def _(m):
    shape, indices = static_shape(m.x), m.indices
    rows = shape is not None and len(shape) > 0 and indices.shape == (shape[0], 1)
    return (
        rows
        and (attribute(m.root, "reduction") or "none") == "none"
        and bool((indices[:, 0] == np.arange(len(indices))).all())
        and dims_of(m.updates) == dims_of(m.x)
    )


@scatter.replace
def _(op, m):
    return m.updates


@scatter.example
def _(g):
    shape = g.shape(least=1)
    x, updates = (g.Neg(g.input(shape, static=True)) for _ in range(2))
    g.output(g.ScatterND(x, g.constant(np.arange(shape[0]).reshape(-1, 1)), updates))


class EliminateDegenerate(RewritePass):
    """Take away operators with nothing to do: reductions of one element, blocks of one, scatters to everywhere."""

    name = "eliminate-degenerate"
    rules = (reduce_one, cumsum, blocks, cast_like, scatter)
