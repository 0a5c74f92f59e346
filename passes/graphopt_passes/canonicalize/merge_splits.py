"""Make a Slice out of a Split of which one output is read, and nothing out of parts that are joined again.

    x[8] ─ Split(3, 5) ┬ y             x[8] ─ Slice(0:3) ─ y
                       └      becomes

    x ─ Split ┬ Concat ─ y      becomes      x ─ y
              ┘

Holds where the sizes are known. Parts are outputs of one Split or Slices of one value. Fidelity: exact.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.edit import is_read, shape_of
from graphopt.ir.schema import attribute, integers
from graphopt.pipeline import RewritePass
from graphopt.rewrite import Rule
from graphopt.rewrite import rule as make
from graphopt_passes.canonicalize.merge_slices import cuts, size_of, slice_by, taken

_FIRST = 4
"""Outputs of a Split that are looked at."""


def parts_of(node: ir.Node) -> tuple[int, list[int]] | None:
    """Axis and sizes of a Split, None where they are not known."""
    shape = shape_of(node.inputs[0])
    axis = attribute(node, "axis")
    if shape is None or axis is None or node.op_type != "Split" or node.domain:
        return None
    axis = axis % len(shape)
    sizes = integers(node, "split", 1)
    if sizes is None and (len(node.inputs) < 2 or node.inputs[1] is None):
        size, count = size_of(node.inputs[0], axis), len(node.outputs)
        if size is None:
            return None
        # The last part is smaller where the size does not divide, from opset 18 on; before, it must divide.
        part = -(-size // count)
        sizes = [min(part, max(0, size - part * i)) for i in range(count)]
    return None if sizes is None else (axis, sizes)


def piece(value: ir.Value | None) -> tuple[ir.Value, int, range] | None:
    """What a value is a run of: the whole, the axis and the positions; None where that is not known."""
    node = value.producer() if value is not None else None
    if node is None or value is None or node.op_type not in ("Split", "Slice") or node.domain:
        return None
    source = node.inputs[0]
    if source is None:
        return None
    if node.op_type == "Split":
        known = parts_of(node)
        if known is None:
            return None
        axis, sizes = known
        begin = sum(sizes[: value.index()])
        return source, axis, range(begin, begin + sizes[value.index() or 0])
    by_axis = cuts(node)
    if by_axis is None or len(by_axis) != 1:
        return None
    [(axis, cut)] = by_axis.items()
    size = size_of(source, axis)
    positions = None if size is None else taken(cut, size)
    return None if not positions or positions.step != 1 else (source, axis, positions)


def _single(index: int) -> Rule:
    @make(f"split-of-one-reader-{index}", fidelity="exact")
    def single(p):
        return p.op("Split", p.x, p.rest("sizes"), where=lambda node: len(node.outputs) > max(1, index))[index]

    @single.require("no other output is read")
    def _(m):
        used = [is_read(v) or v.is_graph_output() for v in m.root.outputs]
        return used[index] and sum(used) == 1

    @single.replace
    def _(op, m):
        known = parts_of(m.root)
        if known is None:
            raise op.decline("the sizes are not known")
        axis, sizes = known
        begin = sum(sizes[:index])
        return slice_by(op, m.x, {axis: (begin, begin + sizes[index], 1)})

    @single.example
    def _(g):
        sizes = [g.integer(1, 3) for _ in range(g.integer(index + 1, index + 3) + (not index))]
        x = g.Neg(g.input([2, sum(sizes)], static=True))
        g.output(g.op("Split", x, g.constant(sizes), outputs=len(sizes), axis=g.pick([1, -1]))[index])

    return single


@make("concat-of-parts", fidelity="exact")
def join(p):
    return p.op("Concat", p.rest("parts"))


@join.require("the parts follow each other in one value")
def _(m):
    return len(m.parts) > 1 and piece(m.parts[0]) is not None


@join.replace
def _(op, m):
    pieces = [piece(part) for part in m.parts]
    whole = pieces[0][0]
    rank = len(shape_of(whole))
    axis = attribute(m.root, "axis") % rank
    begin = end = pieces[0][2].start
    for one in pieces:
        if one is None or one[0] is not whole or one[1] != axis or one[2].start != end:
            raise op.decline("the parts do not follow each other")
        end = one[2].stop
    if begin == 0 and end == size_of(whole, axis):
        return whole
    return slice_by(op, whole, {axis: (begin, end, 1)})


@join.example
def _(g):
    sizes = [g.integer(1, 3) for _ in range(g.integer(2, 4))]
    x = g.Neg(g.input([2, sum(sizes)], static=True))
    parts = g.op("Split", x, g.constant(sizes), outputs=len(sizes), axis=1)
    first = g.integer(0, len(sizes) - 2)
    g.output(g.Concat(*parts[first : g.integer(first + 2, len(sizes))], axis=g.pick([1, -1])))


class MergeSplits(RewritePass):
    """Make a Slice out of a Split of which one output is read, and nothing out of parts that are joined again."""

    name = "merge-splits"
    rules = (*(_single(index) for index in range(_FIRST)), join)
