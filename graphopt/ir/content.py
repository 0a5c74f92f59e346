"""What is known of the content of an integer tensor: a constant, or the dimensions that partial evaluation found."""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.edit import constant, shape_of
from graphopt.ir.symbolic import Dim, Partial, from_shape, numbers, partial_of

LONGEST = 64
"""Elements up to which a tensor may be a shape."""
_READABLE = (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL)


def content(value: ir.Value | None) -> Partial | None:
    """The content of an integer or boolean tensor of rank 0 or 1; truth is 1 and 0. None where it is not known."""
    held = partial_of(value)
    if held is not None or value is None:
        return held
    tensor = constant(value)
    if tensor is None or tensor.dtype not in _READABLE or tensor.size > LONGEST or len(tensor.shape) > 1:
        return None
    array = tensor.numpy()
    return Dim.of(int(array)) if array.ndim == 0 else tuple(Dim.of(int(n)) for n in array)


def items_of(value: ir.Value | None) -> tuple[Dim, ...] | None:
    """The content of a tensor of rank 1."""
    held = content(value)
    return held if isinstance(held, tuple) else None


def input_of(node: ir.Node, index: int) -> ir.Value | None:
    """An input by position, None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def items_at(node: ir.Node, name: str, index: int) -> tuple[Dim, ...] | None:
    """Integers that older opsets have as attribute `name` and newer ones as input `index`, as far as they are known."""
    held = node.attributes.get(name)
    if held is not None:
        return None if held.is_ref() else tuple(Dim.of(n) for n in held.as_ints())
    return items_of(input_of(node, index))


def integers_at(node: ir.Node, name: str, index: int) -> list[int] | None:
    """As `items_at`, where all of them are numbers."""
    return numbers(items_at(node, name, index))


def dims_of(value: ir.Value | None) -> tuple[Dim, ...] | None:
    """The proven shape of a value as polynomials, None where a dimension has no name."""
    shape = shape_of(value)
    return None if shape is None else from_shape(shape)
