"""Write CumSum and CumProd out, for backends that lack them or one of their forms.

    x ─ CumSum ─ y           becomes      x ─ MatMul(triangle of ones) ─ y       along the last axis, of floats
    x ─ CumProd ─ y          becomes      y₀ = x,  yₖ₊₁ = yₖ · Concat(1…, yₖ without its last 2ᵏ),  CumSum likewise
    x ─ CumSum(reverse) ─ y  becomes      x ─ Slice(step -1) ─ CumSum ─ Slice(step -1) ─ y
    x ─ CumSum(exclusive) ─ y  becomes    x ─ Concat(0, x without its last) ─ CumSum ─ y

The second is the parallel prefix of Hillis and Steele (Data parallel algorithms, CACM 29, 1986): as many steps as the
size has bits, of any type. The axis and its size must be known. Fidelity: rounding; exact of integers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphopt.ir.edit import constant, static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.merge_slices import TO_THE_END, size_of, slice_by
from graphopt_passes.scalars import is_float, rank_of

_KINDS = ("CumSum", "CumProd")
_BACKWARD = (-1, -TO_THE_END, -1)
_WIDEST = 1024
"""Positions up to which a sum is a product with a matrix, whose elements are as many as their square."""


def _axis(m) -> int | None:
    tensor, rank = constant(m.axis), rank_of(m.x)
    return None if tensor is None or not rank else int(tensor.numpy().reshape(-1)[0]) % rank


def _size(m) -> int | None:
    axis = _axis(m)
    return None if axis is None else size_of(m.x, axis)


def _one_of(kinds: tuple[str, ...]) -> Callable:
    return lambda p: p.op(kinds, p.x, p.axis)


def _flag(m, name) -> bool:
    return bool(attribute(m.root, name))


reverse = rule("reversed-twice", fidelity="exact")(_one_of(_KINDS))
exclusive = rule("shifted-by-one", fidelity="exact")(_one_of(_KINDS))
matrix = rule("times-triangle", fidelity="rounding")(_one_of(("CumSum",)))
doubled = rule("prefixes-of-twice-the-length", fidelity="rounding")(_one_of(_KINDS))

reverse.require("it goes backward along a known axis")(lambda m: _flag(m, "reverse") and _axis(m) is not None)


@exclusive.require("it leaves its own element out, along an axis of known size")
def _(m):
    return _flag(m, "exclusive") and not _flag(m, "reverse") and bool(_size(m)) and static_shape(m.x) is not None


@matrix.require("it is floating point, along a known axis of known size")
def _(m):
    return is_float(m.x) and 0 < (_size(m) or 0) <= _WIDEST


@doubled.require("it goes forward along an axis of known size, its own element included")
def _(m):
    plain = not _flag(m, "exclusive") and not _flag(m, "reverse")
    return plain and bool(_size(m)) and static_shape(m.x) is not None


@reverse.replace
def _(op, m):
    back = {_axis(m): _BACKWARD}
    made = op.op(m.root.op_type, slice_by(op, m.x, back), m.axis, like=m.root, reverse=0)
    return slice_by(op, made, back)


@exclusive.replace
def _(op, m):
    return op.op(m.root.op_type, _shifted(op, m, m.x, 1), m.axis, like=m.root, exclusive=0)


def _shifted(op, m, x, count):
    """x moved up the axis, with what changes nothing where it came from."""
    axis, shape = _axis(m), list(static_shape(m.x))
    kept, shape[axis] = shape[axis] - count, count
    neutral = np.full(shape, m.root.op_type == "CumProd", m.x.dtype.numpy())
    return op.Concat(neutral, slice_by(op, x, {axis: (0, kept, 1)}), axis=axis) if kept else op.constant(neutral)


@matrix.replace
def _(op, m):
    axis, size, rank = _axis(m), _size(m), rank_of(m.x)
    ones = np.triu(np.ones((size, size), m.x.dtype.numpy()), int(_flag(m, "exclusive")))
    triangle = ones.T if _flag(m, "reverse") else ones
    if axis == rank - 1:
        return op.MatMul(m.x, triangle)
    if axis == rank - 2:
        return op.MatMul(triangle.T, m.x)
    order = [*range(rank)]
    order[axis], order[-1] = order[-1], order[axis]
    return op.Transpose(op.MatMul(op.Transpose(m.x, perm=order), triangle), perm=order)


@doubled.replace
def _(op, m):
    combine = "Mul" if m.root.op_type == "CumProd" else "Add"
    total, step = m.x, 1
    while step < _size(m):
        total, step = op.op(combine, total, _shifted(op, m, total, step)), 2 * step
    return total if step > 1 else op.Identity(total)


def _sketch(g, kinds, dtypes, **options):
    kind = g.pick(kinds)
    g.since({"CumSum": 14, "CumProd": 26}[kind])
    shape = g.shape(least=1)
    axis = g.constant(np.array(g.integer(-len(shape), len(shape) - 1), np.int64))
    x = g.input(shape, g.pick(dtypes), static=True, finite=True)
    g.output(g.op(kind, x, axis, **options))


@reverse.example
def _(g):
    _sketch(g, _KINDS, [g.FLOAT, g.INT32], reverse=1, exclusive=g.integer(0, 1))


@exclusive.example
def _(g):
    _sketch(g, _KINDS, [g.FLOAT, g.INT32], exclusive=1)


@matrix.example
def _(g):
    _sketch(g, ["CumSum"], [g.FLOAT, g.DOUBLE], reverse=g.integer(0, 1), exclusive=g.integer(0, 1))


@doubled.example
def _(g):
    _sketch(g, _KINDS, [g.FLOAT, g.INT32, g.INT64])


class DecomposeRunning(Substitution):
    """Write CumSum and CumProd out by products with a triangle, or by sums of sums."""

    name = "decompose-running"
    rules = (reverse, exclusive, matrix, doubled)
