"""Make one Slice out of two in a row, and look through a Concat for what a Slice takes.

    x ─ Slice(axis 1) ─ Slice(axis 2) ─ y      becomes      x ─ Slice(axes 1, 2) ─ y

    a[2, 8] ─ Concat(axis 0) ─ Slice(2:5) ─ y      becomes      b ─ y
    b[3, 8] ─┘

The first Slice may have other readers where all of them are Slices as well: it then goes with the last of them.
Fidelity: exact.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import readers, shape_of
from graphopt.ir.schema import attribute, has_input, integers
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule

SINCE_INPUTS = 10
"""Opset from which the bounds of Slice are inputs, with steps."""
TO_THE_END = 2**63 - 1
_OPEN = 2**31 - 1
_FEW = 16

Cut = tuple[int, int, int]
"""Start, end and step along an axis, as a Slice has them."""


def cuts(node: ir.Node) -> dict[int, Cut] | None:
    """What a Slice takes, by axis counted from the first; None where that is computed."""
    starts, ends = integers(node, "starts", 1), integers(node, "ends", 2)
    if node.op_type != "Slice" or node.domain or starts is None or ends is None:
        return None
    given = has_input(node, 3) or "axes" in node.attributes
    axes = integers(node, "axes", 3) if given else list(range(len(starts)))
    steps = integers(node, "steps", 4) if has_input(node, 4) else [1] * len(starts)
    shape = shape_of(node.inputs[0])
    if axes is None or steps is None or (shape is None and min(axes, default=0) < 0):
        return None
    axes = [axis + len(shape) if axis < 0 and shape is not None else axis for axis in axes]
    return dict(zip(axes, zip(starts, ends, steps, strict=True), strict=True))


def taken(cut: Cut, size: int) -> range | None:
    """The positions that a cut takes of an axis; None where runtimes do not agree on them."""
    start, end, step = cut
    if step < 0 and (start < -size or end >= _OPEN):
        return None
    # ONNX clamps a start to the first element, and for negative steps an end to one before it: Python spells that None.
    return range(size)[max(start, -size) : None if step < 0 and end < -size else end : step]


def whole(cut: Cut, size: int | None) -> bool:
    """Whether a cut takes every element of an axis in order."""
    start, end, step = cut
    return start == 0 and step == 1 and end >= (_OPEN if size is None else size)


def cut_of(positions: range) -> Cut:
    """The cut that takes these positions."""
    if not positions:
        return 0, 0, 1
    return positions.start, positions.stop if positions.stop >= 0 else -TO_THE_END, positions.step


def size_of(value: ir.Value | None, axis: int) -> int | None:
    """The proven size of a value along an axis."""
    shape = shape_of(value)
    dim = shape[axis] if shape is not None and axis < len(shape) else None
    return dim if isinstance(dim, int) else None


def _joined(first: Cut, second: Cut, size: int | None) -> Cut | None:
    if size is not None:
        positions = taken(first, size)
        inside = None if positions is None else taken(second, len(positions))
        if positions is None or inside is None:
            return None
        step = positions.step * inside.step
        begin = positions[inside.start] if inside else 0
        return cut_of(range(begin, begin + step * len(inside), step))
    if first[2] != 1 or second[2] != 1 or min(*first, *second) < 0:
        return None
    # Without the size, only what counts from the front can be added up; beyond the end both are empty.
    return first[0] + second[0], min(first[1], first[0] + second[1]), 1


def slice_by(op, x, by_axis: dict[int, Cut]):
    """A Slice with these cuts, in the form of the opset."""
    axes = sorted(by_axis)
    starts, ends, steps = ([by_axis[axis][i] for axis in axes] for i in range(3))
    if op.opset < SINCE_INPUTS:
        if any(step != 1 for step in steps):
            raise op.decline("before opset 10 a Slice has no steps")
        return op.Slice(x, starts=starts, ends=ends, axes=axes)
    more = [np.array(steps, np.int64)] if any(step != 1 for step in steps) else []
    return op.Slice(x, *(np.array(n, np.int64) for n in (starts, ends, axes)), *more)


@rule("slice-slice", fidelity="exact")
def merge(p):
    return p.Slice(p.Slice(p.x, p.rest("a"), as_="first", shared=True), p.rest("b"))


@merge.require("the first has no reader that is not a Slice")
def _(m):
    value = m.first.outputs[0]
    users = list(islice(readers(value), _FEW + 1))
    if value.is_graph_output() or len(users) > _FEW:
        return False
    return all(user.op_type == "Slice" and not user.domain and user.inputs[0] is value for user in users)


@merge.replace
def _(op, m):
    first, second = cuts(m.first), cuts(m.root)
    if first is None or second is None:
        raise op.decline("bounds are computed")
    joined = dict(first)
    for axis, cut in second.items():
        both = _joined(first[axis], cut, size_of(m.x, axis)) if axis in first else cut
        if both is None:
            raise op.decline("the size of an axis that both cut is not known")
        joined[axis] = both
    # an axis that is taken whole would hide from other rules that one axis alone is cut
    left = {axis: cut for axis, cut in joined.items() if not whole(cut, size_of(m.x, axis))}
    return slice_by(op, m.x, left) if left else m.x


@merge.example
def _(g):
    shape = [g.integer(1, 6), g.integer(1, 6)]
    x = g.Neg(g.input(shape, static=True))

    def cut(value):
        step = g.pick([1, 2, -1, -2])
        bounds = (
            [g.integer(0, 7), g.integer(-7, 7)]
            if g.flag()
            else [g.integer(0, 2), TO_THE_END if step > 0 else -TO_THE_END]
        )
        return g.Slice(value, g.constant(bounds[:1]), g.constant(bounds[1:]), g.constant([g.integer(-2, 1)]),
                       g.constant([step]))  # fmt: skip

    one = cut(x)
    g.output(cut(one))
    if g.flag():
        g.output(cut(one))


@merge.example
def _(g):
    one = g.Slice(g.Neg(g.input(g.shape(least=1))), g.constant([g.integer(0, 2)]), g.constant([g.integer(0, 5)]))
    g.output(g.Slice(one, g.constant([g.integer(0, 2)]), g.constant([g.pick([3, TO_THE_END])]), g.constant([0])))


@rule("slice-of-concat", fidelity="exact")
def look_through(p):
    return p.Slice(p.op("Concat", p.rest("parts"), as_="joined", shared=True), p.rest("bounds"))


@look_through.replace
def _(op, m):
    by_axis, rank = cuts(m.root), len(shape_of(m.parts[0]) or ())
    if by_axis is None or not rank:
        raise op.decline("bounds are computed, or the rank is not known")
    axis = attribute(m.joined, "axis") % rank
    sizes = [size_of(part, axis) for part in m.parts]
    if axis not in by_axis or any(size is None for size in sizes):
        raise op.decline("what it takes of each part is not known")
    positions = taken(by_axis[axis], sum(sizes))
    if not positions:
        raise op.decline("it takes nothing, or runtimes do not agree on what")
    low, high, begin = min(positions), max(positions), 0
    for part, size in zip(m.parts, sizes, strict=True):
        if begin <= low and high < begin + size:
            inside = range(positions.start - begin, positions.stop - begin, positions.step)
            others = {a: c for a, c in by_axis.items() if a != axis}
            if inside == range(size) and not others:
                return part
            return slice_by(op, part, others if inside == range(size) else {**others, axis: cut_of(inside)})
        begin += size
    raise op.decline("it takes more than one part")


@look_through.example
def _(g):
    parts = [g.integer(1, 4) for _ in range(g.integer(2, 3))]
    joined = g.Concat(*(g.Neg(g.input([2, size], static=True)) for size in parts), axis=g.pick([1, -1]))
    chosen = g.integer(0, len(parts) - 1)
    begin = sum(parts[:chosen])
    start, end = sorted((g.integer(0, parts[chosen] - 1), g.integer(1, parts[chosen])))
    end = max(end, start + 1)
    if g.flag():
        g.output(g.Slice(joined, g.constant([begin + start]), g.constant([begin + end]), g.constant([1])))
    else:
        last = begin - 1 if begin else -TO_THE_END
        g.output(g.Slice(joined, g.constant([begin + end - 1]), g.constant([last]), g.constant([1]), g.constant([-1])))


class MergeSlices(RewritePass):
    """Make one Slice out of two in a row, and look through a Concat for what a Slice takes."""

    name = "merge-slices"
    rules = (merge, look_through)
