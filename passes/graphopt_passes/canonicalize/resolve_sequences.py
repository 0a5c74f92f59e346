"""Do without sequences where it is known which element is meant.

    a, b, c ─ SequenceConstruct ─ SequenceAt(1) ─ y         becomes      b ─ y
    x ─ SplitToSequence ─ SequenceAt(1) ─ y                 becomes      x ─ Gather(1) or Slice ─ y
    a, b ─ SequenceConstruct ─ ConcatFromSequence ─ y       becomes      a, b ─ Concat ─ y

SequenceInsert and SequenceErase at a known place make another SequenceConstruct, SequenceLength a number. Positions
count from the end where they are negative, and one that is out of range is left to fail. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.split_to_sequence import RULES, position

AXES_ARE_INPUTS = 13
_EMPTY = "SequenceEmpty"


def _made(p):
    """A sequence whose elements are known: SequenceConstruct of all inputs, or SequenceEmpty of none."""
    return p.op(("SequenceConstruct", _EMPTY), p.rest("items"), as_="made", shared=True)


@rule("element", fidelity="exact")
def element(p):
    return p.SequenceAt(_made(p), p.at)


@element.require("the position is a constant within the sequence")
def _(m):
    return position(m, 1, len(m.items)) is not None


@element.replace
def _(op, m):
    return m.items[position(m, 1, len(m.items))]


@rule("length", fidelity="exact")
def length(p):
    return p.SequenceLength(_made(p))


@length.replace
def _(op, m):
    return op.constant(np.array(len(m.items), np.int64))


@rule("insert", fidelity="exact")
def insert(p):
    return p.op("SequenceInsert", _made(p), p.x, p.rest("place"))


@insert.require("the position is known")
def _(m):
    return position(m, 2, len(m.items), default=len(m.items), past=True) is not None


@insert.replace
def _(op, m):
    place = position(m, 2, len(m.items), default=len(m.items), past=True)
    return op.SequenceConstruct(*m.items[:place], m.x, *m.items[place:])


@rule("erase", fidelity="exact")
def erase(p):
    return p.op("SequenceErase", _made(p), p.rest("place"))


@erase.require("the position is known, and the type of what is left")
def _(m):
    count = len(m.items)
    return count > 0 and m.items[0].dtype is not None and position(m, 1, count, default=count - 1) is not None


@erase.replace
def _(op, m):
    place = position(m, 1, len(m.items), default=len(m.items) - 1)
    rest = [*m.items[:place], *m.items[place + 1 :]]
    return op.SequenceConstruct(*rest) if rest else op.SequenceEmpty(dtype=int(m.items[0].dtype))


@rule("concat", fidelity="exact")
def concat(p):
    return p.ConcatFromSequence(_made(p), axis=p.attribute("axis"), new_axis=p.attribute("new_axis"))


@concat.require("there is something to join")
def _(m):
    return len(m.items) > 0


@concat.replace
def _(op, m):
    items = list(m.items)
    if m.new_axis:
        items = [_unsqueeze(op, item, m.axis) for item in items]
    return items[0] if len(items) == 1 else op.Concat(*items, axis=m.axis)


def _unsqueeze(op, x: ir.Value, axis: int):
    if op.opset >= AXES_ARE_INPUTS:
        return op.Unsqueeze(x, np.array([axis], np.int64))
    return op.Unsqueeze(x, axes=[axis])


def _items(g):
    shape = g.shape(least=1)
    return [g.Neg(g.input(shape, static=True)) for _ in range(g.integer(1, 4))]


@element.example
def _(g):
    items = _items(g)
    g.output(g.SequenceAt(g.SequenceConstruct(*items), g.constant(np.int64(g.integer(-len(items), len(items) - 1)))))


@length.example
def _(g):
    g.output(g.SequenceLength(g.SequenceConstruct(*_items(g))))


@insert.example
def _(g):
    items = _items(g)
    place = [g.constant(np.int64(g.integer(-len(items), len(items))))] if g.flag() else []
    grown = g.SequenceInsert(g.SequenceConstruct(*items), items[0], *place)
    g.output(g.ConcatFromSequence(grown, axis=0, new_axis=1))


@erase.example
def _(g):
    items = _items(g)
    items.append(items[0])
    place = [g.constant(np.int64(g.integer(-len(items), len(items) - 1)))] if g.flag() else []
    g.output(g.ConcatFromSequence(g.SequenceErase(g.SequenceConstruct(*items), *place), axis=0))


@concat.example
def _(g):
    g.output(g.ConcatFromSequence(g.SequenceConstruct(*_items(g)), axis=0, new_axis=g.integer(0, 1)))


class ResolveSequences(RewritePass):
    """Do without sequences where it is known which element is meant."""

    name = "resolve-sequences"
    rules = (element, length, insert, erase, concat, *RULES)
