"""Axes: Softmax of one axis or of all from one on, negative axes, Pad of some axes, Split into a number of parts."""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.content import dims_of, items_of
from graphopt_passes.legalize.opset.change import Change, integers
from graphopt_passes.legalize.opset.moves import Adapter, slice_down

_COUNTED_FROM_THE_END = 11
"""First opset that lets axes be negative."""


def softmax_up(change: Change) -> None:
    """Softmax over an axis and all behind it, as one; from opset 13 on over one axis.

    x ─ Softmax(axis=1) ─ y  becomes  x ─ Flatten(axis=1) ─ Softmax(axis=-1) ─ Reshape(shape of x) ─ y
    """
    axis, shape = int(change.attribute("axis")), change.shape()
    x = change.input(0)
    if axis == -1 or (shape is not None and axis % len(shape) == len(shape) - 1):
        change.set(axis=-1)
        return
    size = change.make("Shape", x)
    flat = change.make("Flatten", x, axis=axis)
    soft = change.make(change.node.op_type, flat, axis=-1)
    soft.type = flat.type = change.node.outputs[0].type
    change.replace(change.make("Reshape", soft, size))


def softmax_down(change: Change) -> None:
    """Softmax over one axis: over the last one both mean the same, so that is where it goes."""
    axis, x = int(change.attribute("axis")), change.input(0)
    if axis == -1:
        change.set(axis=-1)
        return
    rank = change.rank()
    axis %= rank
    if axis == rank - 1:
        change.set(axis=axis)
        return
    order = [a for a in range(rank) if a != axis] + [axis]
    moved = change.make("Transpose", x, perm=order)
    soft = change.make(change.node.op_type, moved, axis=rank - 1)
    moved.type = soft.type = change.node.outputs[0].type
    change.replace(change.make("Transpose", soft, perm=[order.index(a) for a in range(rank)]))


def nonnegative(change: Change) -> None:
    """Count axes from the start."""
    for name in ("axis", "axes"):
        if name not in change.node.attributes:
            continue
        value = change.attribute(name)
        axes = list(value) if isinstance(value, list | tuple) else [value]
        if all(a >= 0 for a in axes):
            continue
        rank = change.rank() + (len(axes) if change.node.op_type == "Unsqueeze" else 0)
        counted = [a % rank for a in axes]
        change.set(**{name: counted if isinstance(value, list | tuple) else counted[0]})


def slice_10_down(change: Change) -> None:
    """Slice's bounds back into attributes, where axes are counted from the start."""
    slice_down(change)
    nonnegative(change)


def pad_some_axes(change: Change) -> None:
    """Pad of some axes, written out for all."""
    axes = change.content(3)
    if axes is None:
        return
    rank, given = change.rank(), change.content(1)
    assert given is not None
    pads = np.zeros(2 * rank, np.int64)
    for place, axis in enumerate(axes.reshape(-1) % rank):
        pads[axis], pads[axis + rank] = given[place], given[place + axes.size]
    change.set_input(3, None)
    change.set_input(1, pads)


def pad_without_wrap(change: Change) -> None:
    """Pad in the modes that were there before opset 19."""
    if change.attribute("mode") == "wrap":
        change.refuse("its mode is wrap")


def split_up(change: Change) -> None:
    """Split into equal parts says how many."""
    if change.input(1) is None:
        change.set(num_outputs=len(change.node.outputs))


def split_down(change: Change) -> None:
    """Split into parts that may differ in size: the sizes are written out unless they are equal."""
    parts = len(change.node.outputs)
    if change.input(1) is not None:
        return
    shape, axis = change.shape(), int(change.attribute("axis"))
    size = None if shape is None else shape[axis]
    if not isinstance(size, int):
        change.refuse("how long the axis that it splits is, is not known, so the parts may differ in size")
    change.set(num_outputs=None)
    if size % parts:
        part = math.ceil(size / parts)
        change.set_input(1, integers([part] * (parts - 1) + [size - part * (parts - 1)]))


def shape_down(change: Change) -> None:
    """A part of a shape is cut out of the whole."""
    start, end = change.attribute("start") or 0, change.attribute("end")
    if start == 0 and end is None:
        change.set(start=None, end=None)
        return
    whole = change.make("Shape", change.input(0))
    whole.type = change.node.outputs[0].type
    last = integers(np.iinfo(np.int64).max if end is None else end)
    change.replace(change.make("Slice", whole, integers(start), last))


def reshape_down(change: Change) -> None:
    """A zero that means zero (allowzero) cannot be said before opset 14: there it copies the size of that axis.

    So it may stay where the size that may be zero is that of the same axis of the input. One other may be left to be
    worked out, where nothing else may be zero.
    """
    if not change.attribute("allowzero"):
        change.set(allowzero=None)
        return
    wanted, given = items_of(change.input(1)), dims_of(change.input(0))
    if wanted is None:
        change.refuse("its zeros mean zero (allowzero), and its shape is computed")
    doubtful = [axis for axis, size in enumerate(wanted) if size.number in (None, 0)]
    other = [axis for axis in doubtful if given is None or axis >= len(given) or wanted[axis] != given[axis]]
    if other and len(doubtful) > 1:
        change.refuse("its zeros mean zero (allowzero), and more than one size may be zero")
    if other:
        if wanted[other[0]].number == 0 or any(size.number == -1 for size in wanted):
            change.refuse("its zeros mean zero (allowzero)")
        change.set_input(1, integers([-1 if size.number is None else size.number for size in wanted]))
    change.set(allowzero=None)


_FROM_THE_END = (
    "ArgMax", "ArgMin", "Compress", "Concat", "Flatten", "Gather", "Hardmax", "LogSoftmax", "Softmax", "Split",
    "Squeeze", "Unsqueeze", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
UP: dict[tuple[str, int], Adapter] = {
    ("Softmax", 13): softmax_up, ("LogSoftmax", 13): softmax_up, ("Hardmax", 13): softmax_up, ("Split", 18): split_up,
}  # fmt: skip
DOWN: dict[tuple[str, int], Adapter] = {
    **{(op, _COUNTED_FROM_THE_END): nonnegative for op in _FROM_THE_END},
    ("Softmax", 13): softmax_down, ("LogSoftmax", 13): softmax_down, ("Hardmax", 13): softmax_down,
    ("Slice", 10): slice_10_down, ("Pad", 18): pad_some_axes, ("Pad", 19): pad_without_wrap, ("Split", 18): split_down,
    ("Shape", 15): shape_down, ("Reshape", 14): reshape_down,
}  # fmt: skip
