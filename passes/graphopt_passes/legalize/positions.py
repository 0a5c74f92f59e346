"""Indices as positions: which row of a flattened tensor each element of a result comes from.

Whatever Gather*, Scatter*, ReverseSequence and Compress move, they move by position, so with a tensor seen as rows all
of them are one Gather along the first axis. Positions are smaller than the number of rows, so int32 holds them.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, static_shape
from graphopt.rewrite.rule import Builder

Positions = np.ndarray | ir.Value
_MOST = np.iinfo(np.int32).max


def shape_or_decline(op: Builder, value: ir.Value, what: str) -> tuple[int, ...]:
    """The static shape of a value.

    Raises:
        Declined: it is not proven, or has no elements, or more than int32 counts.
    """
    shape = static_shape(value)
    if shape is None:
        raise op.decline(f"the shape of {what} must be static: fix it with --dim")
    if not 0 < math.prod(shape) <= _MOST:
        raise op.decline(f"{what} has no elements, or more than int32 counts")
    return shape


def held(value: ir.Value) -> np.ndarray | None:
    """The content of a constant as int64, else None."""
    tensor = constant(value)
    return None if tensor is None else tensor.numpy().astype(np.int64)


def whole(op: Builder, value: ir.Value) -> ir.Value:
    """Indices computed at run time, as int32: they are smaller than a dimension, or the model is wrong."""
    return value if value.dtype == ir.DataType.INT32 else op.Cast(value, to=int(ir.DataType.INT32))


def counted(op: Builder, index: Positions, size: int) -> Positions:
    """Indices that may count from the end, as ones that count from the start; those of a value are int32."""
    if isinstance(index, np.ndarray):
        return np.where(index < 0, index + size, index)
    return op.Where(op.Less(index, _int32(0)), op.Add(index, _int32(size)), index)


def plus(op: Builder, a: Positions, b: Positions) -> Positions:
    """The sum of positions, computed here where both are constants."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a + b
    if isinstance(b, np.ndarray) and not b.any() and b.size == 1:
        return a
    return op.Add(_operand(a), _operand(b))


def times(op: Builder, a: Positions, factor: int) -> Positions:
    """Positions multiplied by a number."""
    if factor == 1:
        return a
    return a * factor if isinstance(a, np.ndarray) else op.Mul(a, _int32(factor))


def reshaped(op: Builder, value: ir.Value, shape: tuple[int, ...] | list[int]) -> ir.Value:
    """A value in another shape; itself where it has it."""
    if static_shape(value) == tuple(shape):
        return value
    made: ir.Value = op.Reshape(value, np.array(shape, np.int64))
    return made


def take(op: Builder, rows: ir.Value, positions: Positions) -> ir.Value:
    """Rows by a vector of positions."""
    index = positions.astype(np.int64) if isinstance(positions, np.ndarray) else positions
    made: ir.Value = op.Gather(rows, index, axis=0)
    return made


def nd_rows(
    op: Builder, index: ir.Value, shape: tuple[int, ...], dims: tuple[int, ...], batch: int = 0
) -> tuple[Positions, int]:
    """The rows that the last axis of GatherND's or ScatterND's indices points at.

    Args:
        op: makes the nodes.
        index: integers [*batch, *lead, q].
        shape: of `index`.
        dims: of the data.
        batch: leading axes that data and indices share.

    Returns:
        A vector of prod(batch) · prod(lead) positions, and how many rows the data has: the product of its first
        batch + q dimensions.
    """
    width = shape[-1]
    count = math.prod(shape[:-1])
    addressed = dims[batch : batch + width]
    strides = [math.prod(addressed[axis + 1 :]) for axis in range(width)]
    known = held(index)
    running = None if known is not None else whole(op, reshaped(op, index, (count, width)))
    total: Positions = np.zeros(1, np.int64)
    for axis, (size, stride) in enumerate(zip(addressed, strides, strict=True)):
        column: Positions
        if running is None:
            assert known is not None
            column = known.reshape(count, width)[:, axis]
        elif width == 1:
            column = reshaped(op, running, (count,))
        else:
            column = op.Gather(running, np.array(axis, np.int64), axis=1)
        total = plus(op, times(op, counted(op, column, size), stride), total)
    per_batch = math.prod(addressed)
    if batch:
        each = count // math.prod(shape[:batch])
        total = plus(op, total, np.repeat(np.arange(math.prod(shape[:batch])), each) * per_batch)
    if isinstance(total, np.ndarray) and total.size != count:
        total = np.broadcast_to(total, (count,))
    return total, math.prod(dims[: batch + width])


def element_rows(op: Builder, index: ir.Value, shape: tuple[int, ...], dims: tuple[int, ...], axis: int) -> Positions:
    """The elements that GatherElements' or ScatterElements' indices point at, as a vector of positions."""
    strides = [math.prod(dims[at + 1 :]) for at in range(len(dims))]
    base = np.zeros(shape, np.int64)
    for at, stride in enumerate(strides):
        if at != axis:
            base += np.arange(shape[at]).reshape([-1 if one == at else 1 for one in range(len(shape))]) * stride
    base = base.reshape(-1)
    known = held(index)
    along: Positions
    if known is not None:
        along = known.reshape(-1)
    else:
        along = whole(op, reshaped(op, index, (math.prod(shape),)))
    return plus(op, times(op, counted(op, along, dims[axis]), strides[axis]), base)


def _operand(value: Positions) -> Positions:
    return value.astype(np.int32) if isinstance(value, np.ndarray) else value


def _int32(number: int) -> np.ndarray:
    return np.array(number, np.int32)
