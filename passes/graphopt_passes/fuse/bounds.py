"""Between which numbers a tensor lies, as far as its makers prove it: what a fusion may believe of an attention mask.

    mask (int64) ─ Cast(float) ─ Sub(1, ·) ─ Mul(-10000) ─ bias      is finite, since every step from an integer is

Interval arithmetic over the few operators that masks are made with.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant

Interval = tuple[float, float]
_DEEPEST = 32
_LARGEST = 1 << 22
"""Elements of a constant beyond which it is not looked into."""
_MOVES = frozenset({
    "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand", "Tile", "Slice", "Gather",
    "GatherElements", "GatherND", "Split", "Trilu",
})  # fmt: skip
"""Operators whose output holds elements of their first input (and zeros, Trilu) and nothing else."""
_HULL = {"Where": slice(1, None), "Concat": slice(None), "Max": slice(None), "Min": slice(None)}
"""Operators whose output lies between the bounds of these inputs together."""


def bounds(value: ir.Value | None) -> Interval | None:
    """The smallest and the largest number that a tensor can hold.

    Returns:
        None where that is not proven, or where an element may be infinite or NaN.
    """
    return None if value is None else _bounds(value, {}, _DEEPEST)


def _bounds(value: ir.Value, known: dict[ir.Value, Interval | None], depth: int) -> Interval | None:
    if value not in known:
        known[value] = _fits(_made(value, known, depth) or _of_type(value), value) if depth else None
    return known[value]


def _made(value: ir.Value, known: dict[ir.Value, Interval | None], depth: int) -> Interval | None:
    tensor = constant(value)
    if tensor is not None:
        return _of_constant(tensor)
    node = value.producer()
    if node is None or node.domain:
        return None
    if node.op_type in _HULL:
        read: list[ir.Value | None] = list(node.inputs[_HULL[node.op_type]])
    else:
        read = list(node.inputs[: 1 if node.op_type in (*_MOVES, "Cast", "Neg") else 2])
    parts = [None if one is None else _bounds(one, known, depth - 1) for one in read]
    found = [part for part in parts if part is not None]
    if not found or len(found) < len(parts):
        return None
    return _combine(node, found)


def _combine(node: ir.Node, parts: list[Interval]) -> Interval | None:
    """The interval of a node's output from those of its inputs."""
    first, last = parts[0], parts[-1]
    dtype = node.outputs[0].dtype
    if node.op_type == "Trilu":
        return min(first[0], 0.0), max(first[1], 0.0)
    if node.op_type in _MOVES:
        return first
    if node.op_type in _HULL:
        return min(low for low, _ in parts), max(high for _, high in parts)
    if dtype is None or not dtype.is_floating_point():
        return None  # integers wrap around; what their type can hold is true of them in any case
    if node.op_type == "Cast":
        return first
    if node.op_type == "Neg":
        return -first[1], -first[0]
    if node.op_type == "Add":
        return first[0] + last[0], first[1] + last[1]
    if node.op_type == "Sub":
        return first[0] - last[1], first[1] - last[0]
    if node.op_type == "Mul":
        products = [a * b for a in first for b in last]
        return min(products), max(products)
    return None


def _of_constant(tensor: ir.TensorProtocol) -> Interval | None:
    if tensor.size == 0 or tensor.size > _LARGEST or tensor.dtype == ir.DataType.STRING:
        return None
    array = tensor.numpy()
    low, high = float(array.min()), float(array.max())
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _of_type(value: ir.Value) -> Interval | None:
    dtype = value.dtype
    if dtype == ir.DataType.BOOL:
        return 0.0, 1.0
    if dtype in _INTEGERS:
        limits = np.iinfo(dtype.numpy())
        return float(limits.min), float(limits.max)
    return None


def _fits(found: Interval | None, value: ir.Value) -> Interval | None:
    """None where the element type cannot hold the interval, since it overflows there."""
    if found is None or not all(map(math.isfinite, found)):
        return None
    return found if max(map(abs, found)) <= _LIMITS.get(value.dtype or ir.DataType.FLOAT, math.inf) else None


_INTEGERS = (
    ir.DataType.INT8, ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64,
    ir.DataType.UINT8, ir.DataType.UINT16, ir.DataType.UINT32, ir.DataType.UINT64,
)  # fmt: skip
_LIMITS = {ir.DataType.FLOAT16: 65504.0, ir.DataType.FLOAT: float(np.finfo(np.float32).max)}
