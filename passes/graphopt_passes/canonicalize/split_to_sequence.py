"""Rules for what is made of a SplitToSequence; the pass is resolve-sequences.

    x ─ SplitToSequence ─ SequenceAt(1) ─ y                 becomes      x ─ Gather(1) or Slice ─ y
    x ─ SplitToSequence ─ ConcatFromSequence ─ y            becomes      x ─ y

where both are along the same axis. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import constant, shape_of
from graphopt.ir.schema import attribute
from graphopt.rewrite import Match, rule


def position(m: Match, index: int, count: int, *, default: int | None = None, past: bool = False) -> int | None:
    """The element that an input of the root names, counted from the start; None where it is unknown or not there.

    Args:
        index: of the input.
        count: elements of the sequence.
        default: what the input means where it is left out.
        past: the place behind the last element is one as well.
    """
    value = m.root.inputs[index] if index < len(m.root.inputs) else None
    if value is None:
        return default
    tensor = constant(value)
    if tensor is None:
        return None
    place = int(tensor.numpy().reshape(-1)[0])
    place += count if place < 0 else 0
    return place if 0 <= place < count + past else None


def _split(p):
    return p.op("SplitToSequence", p.x, p.rest("split"), as_="split_node", shared=True)


def _chunks(m: Match) -> list[tuple[int, int]] | None:
    """Where the elements of a SplitToSequence start and end, None where that is not known."""
    if not m.split or m.split[0] is None:
        return None
    tensor, shape = constant(m.split[0]), shape_of(m.x)
    if tensor is None:
        return None
    size = shape[int(attribute(m.split_node, "axis"))] if shape is not None and len(shape) else None
    if len(tensor.shape) == 0:
        step = int(tensor.numpy())
        if not isinstance(size, int) or step < 1:
            return None
        return [(at, min(at + step, size)) for at in range(0, size, step)]
    ends = np.cumsum(tensor.numpy().reshape(-1)).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


@rule("element-of-split", fidelity="exact")
def element_of_split(p):
    return p.SequenceAt(_split(p), p.at)


@element_of_split.require("it is split one by one, or in chunks that are known, at a position that is")
def _(m):
    if not m.split or m.split[0] is None:
        scalar = shape_of(m.at) is not None and len(shape_of(m.at)) == 0
        return constant(m.at) is not None or (scalar and not attribute(m.split_node, "keepdims"))
    chunks = _chunks(m)
    return chunks is not None and position(m, 1, len(chunks)) is not None


@element_of_split.replace
def _(op, m):
    axis = int(attribute(m.split_node, "axis"))
    if not m.split or m.split[0] is None:
        at = constant(m.at)
        if at is None:
            return op.Gather(m.x, m.at, axis=axis)
        return op.Gather(m.x, at.numpy().reshape((1,) if attribute(m.split_node, "keepdims") else ()), axis=axis)
    chunks = _chunks(m)
    start, end = chunks[position(m, 1, len(chunks))]
    return op.Slice(m.x, *(np.array([n], np.int64) for n in (start, end, axis)))


@rule("concat-of-split", fidelity="exact")
def concat_of_split(p):
    return p.ConcatFromSequence(_split(p), axis=p.attribute("axis"), new_axis=p.attribute("new_axis"))


@concat_of_split.require("it is joined along the axis that it was split along")
def _(m):
    whole = bool(m.split and m.split[0] is not None) or bool(attribute(m.split_node, "keepdims"))
    shape, axis = shape_of(m.x), int(attribute(m.split_node, "axis"))
    if whole == bool(m.new_axis):
        return False
    if shape is not None and m.axis % len(shape) == axis % len(shape):
        size = shape[axis]
        return (isinstance(size, int) and size > 0) or "there may be nothing to join"
    return False


@concat_of_split.replace
def _(op, m):
    return m.x


@rule("length-of-split", fidelity="exact")
def length_of_split(p):
    return p.SequenceLength(_split(p))


@length_of_split.require("the number of elements is known")
def _(m):
    return _count(m) is not None


@length_of_split.replace
def _(op, m):
    return op.constant(np.array(_count(m), np.int64))


def _count(m: Match) -> int | None:
    chunks = _chunks(m)
    if chunks is not None or (m.split and m.split[0] is not None):
        return None if chunks is None else len(chunks)
    shape = shape_of(m.x)
    size = shape[int(attribute(m.split_node, "axis"))] if shape is not None and len(shape) else None
    return size if isinstance(size, int) else None


def _splitted(g):
    size = g.integer(2, 6)
    x = g.input([size, 3], static=True)
    kind = g.integer(0, 2)
    if kind == 0:
        return g.SplitToSequence(x, axis=0, keepdims=g.integer(0, 1)), size
    if kind == 1:
        return g.SplitToSequence(x, g.constant(np.int64(2)), axis=0), (size + 1) // 2
    return g.SplitToSequence(x, g.constant(np.array([1, size - 1], np.int64)), axis=0), 2


@element_of_split.example
def _(g):
    split, count = _splitted(g)
    g.output(g.SequenceAt(split, g.constant(np.int64(g.integer(-count, count - 1)))))


@length_of_split.example
def _(g):
    g.output(g.SequenceLength(_splitted(g)[0]))


@concat_of_split.example
def _(g):
    x, flag = g.Neg(g.input([g.integer(1, 4), 3], static=True)), g.integer(0, 1)
    g.output(g.Neg(g.ConcatFromSequence(g.SplitToSequence(x, axis=0, keepdims=1 - flag), axis=0, new_axis=flag)))


RULES = (element_of_split, concat_of_split, length_of_split)
