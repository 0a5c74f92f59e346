"""Say a shape by constants where it is computed from sizes that the operator sees anyway.

    x[N, S, 384] ─ Reshape(Concat(N, S, 12, 32)) ─ y     becomes      x ─ Reshape(0, 0, 12, 32) ─ y
    x[N, 3, 4]   ─ Reshape(Concat(N, 12)) ─ y            becomes      x ─ Reshape(-1, 12) ─ y
    x[N, 1]      ─ Expand(Concat(N, 4)) ─ y              becomes      x ─ Expand(1, 4) ─ y
    x[N, 8]      ─ Slice(0, N − 1) ─ y                   becomes      x ─ Slice(0, −1) ─ y

The arithmetic that computed the shape is dead afterwards. Holds for every value of the symbols, zero included: a
Reshape has no -1 beside a copied size, which might be zero, unless it had one before. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.content import dims_of, items_of
from graphopt.ir.edit import constant
from graphopt.ir.schema import has_input, integers
from graphopt.ir.symbolic import Dim
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.merge_reshapes import target

_TO_THE_END = 2**63 - 1


def computed(value: ir.Value) -> bool:
    """Whether a value is no constant, but inference can tell its elements."""
    return constant(value) is None and items_of(value) is not None


@rule("constant-reshape", fidelity="exact")
def reshape(p):
    return p.op("Reshape", p.x, p.value("shape", where=computed))


@reshape.replace
def _(op, m):
    after, wanted = dims_of(m.root.outputs[0]), items_of(m.shape)
    fragile = any(item.number == -1 for item in wanted) and any(item.number is None for item in wanted)
    entries = None if after is None else target(dims_of(m.x), after, fragile)
    if entries is None:
        raise op.decline("more than one size is dynamic and not that of the input on the same axis")
    return op.Reshape(m.x, np.array(entries, np.int64))


@reshape.example
def _(g):
    width = g.integer(1, 3)
    x = g.Neg(g.input(["N", width, 4], static=True))
    kept = g.Shape(x)
    first = g.Gather(kept, g.constant([0]))
    second = g.Gather(kept, g.constant([1]))
    parts = g.pick([[first, [4 * width]], [[-1], second, [2]], [first, second, [2, 2]], [first, [1], second, [4]]])
    shape = g.Concat(*(g.constant(o) if isinstance(o, list) else o for o in parts), axis=0)
    g.output(g.Reshape(x, shape), rank=sum(len(o) if isinstance(o, list) else 1 for o in parts))


@rule("constant-expand", fidelity="exact")
def expand(p):
    return p.op("Expand", p.x, p.value("shape", where=computed))


@expand.replace
def _(op, m):
    before, after, wanted = dims_of(m.x), dims_of(m.root.outputs[0]), items_of(m.shape)
    if before is None or after is None:
        raise op.decline("the shapes are not known")
    own = before[max(len(before) - len(wanted), 0) :]
    own = (None,) * (len(wanted) - len(own)) + own
    result = after[len(after) - len(wanted) :]
    # A size that the input has is the result of expanding to 1.
    entries = [1 if x == y else n.number for x, y, n in zip(own, result, wanted, strict=True)]
    if None in entries:
        raise op.decline("it expands to a dynamic size")
    return op.Expand(m.x, np.array(entries, np.int64))


@expand.example
def _(g):
    x = g.Neg(g.input(["N", 1, g.integer(1, 3)]))
    first = g.Gather(g.Shape(x), g.constant([0]))
    g.output(g.Expand(x, g.Concat(first, g.constant([g.integer(1, 4), 1]), axis=0)))


@rule("constant-slice", fidelity="exact")
def slice_(p):
    return p.op("Slice", p.x, p.value("starts"), p.value("ends"), p.rest("more"))


@slice_.require("starts or ends are computed from the sizes of the input")
def _(m):
    return (computed(m.starts) or computed(m.ends)) and items_of(m.starts) is not None and items_of(m.ends) is not None


@slice_.replace
def _(op, m):
    dims, starts, ends = dims_of(m.x), items_of(m.starts), items_of(m.ends)
    axes = integers(m.root, "axes", 3) if has_input(m.root, 3) else list(range(len(starts)))
    steps = integers(m.root, "steps", 4) if has_input(m.root, 4) else [1] * len(starts)
    if dims is None or axes is None or steps is None or any(step < 1 for step in steps):
        raise op.decline("the sizes or the axes of the input are not known, or it goes backwards")
    bounds = []
    for items in (starts, ends):
        numbers = [_bound(item, dims[axis]) for item, axis in zip(items, axes, strict=True)]
        if None in numbers:
            raise op.decline("a bound is dynamic and not a number from the end")
        bounds.append(np.array(numbers, np.int64))
    return op.Slice(m.x, *bounds, *m.more)


def _bound(item: Dim, size: Dim) -> int | None:
    """A bound of a Slice as a number: as it is, or counted from the end of the axis."""
    if item.number is not None:
        return item.number
    from_end = (item - size).number
    if from_end is None or from_end > 0:
        return None
    # A size below k makes n - k negative, which then counts from the end as well: the same place only for k up to 2.
    return _TO_THE_END if from_end == 0 else from_end if from_end >= -2 or item.not_negative else None


@slice_.example
def _(g):
    x = g.Neg(g.input(["N", 4]))
    n = g.Gather(g.Shape(x), g.constant([0]))
    less = g.Sub(n, g.constant([g.integer(0, 2)]))
    g.output(g.Slice(x, *g.pick([(g.constant([0]), less), (less, n)]), g.constant([0])))


class ConstantShapes(RewritePass):
    """Say shapes by constants where they are computed from sizes that the operator sees anyway."""

    name = "constant-shapes"
    rules = (reshape, expand, slice_)
