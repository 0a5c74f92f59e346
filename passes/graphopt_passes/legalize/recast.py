"""The same operator on another element type: Casts in front of it and behind it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, opset
from graphopt.ir.schema import schema
from graphopt.rewrite.rule import Builder

_LARGEST = 1 << 16
"""Elements up to which a constant is converted at once; a larger one gets a Cast, which is folded within a budget."""


def changed(
    op: Builder, node: ir.Node, narrow: ir.DataType, wide: ir.DataType, *, wraps: bool = False
) -> list[ir.Value]:
    """A node with every operand of type `narrow` in a type variable computed as `wide`, and its results cast back.

    Args:
        op: makes the nodes.
        node: the node to compute in another type.
        narrow: the type it has.
        wide: the type to compute in.
        wraps: whether constants that do not fit may lose their high bits.

    Returns:
        A value for each of its outputs.

    Raises:
        Declined: the operator does not take `wide` at this opset, or a constant does not fit it.
    """
    known = schema(node.op_type, node.domain, opset(node))
    if known is None:
        raise op.decline(f"{node.op_type} is not an operator of this opset")
    allowed = {one.type_param_str: one.allowed_type_strs for one in known.type_constraints}
    names = _names(known.inputs, len(node.inputs))
    wanted = f"tensor({_word(wide)})"
    variables = {
        name for value, name in zip(node.inputs, names, strict=True)
        if value is not None and value.dtype == narrow and wanted in allowed.get(name, ())
    }  # fmt: skip
    if not variables:
        raise op.decline(f"{node.op_type} does not take {_word(wide)} at opset {opset(node)}")
    operands = [
        cast(op, value, wide, wraps=wraps) if value is not None and name in variables else value
        for value, name in zip(node.inputs, names, strict=True)
    ]
    made = op.op(node.op_type, *operands, outputs=len(node.outputs), like=node)
    results = list(made) if len(node.outputs) > 1 else [made]
    return [
        op.Cast(value, to=int(narrow)) if name in variables else value
        for value, name in zip(results, _names(known.outputs, len(results)), strict=True)
    ]


def cast(op: Builder, value: ir.Value, to: ir.DataType, *, wraps: bool = False) -> ir.Value:
    """A value as another type; a small constant is converted here.

    Raises:
        Declined: a constant has whole numbers that the type does not hold.
    """
    tensor = constant(value)
    if tensor is None or tensor.size > _LARGEST:
        found: ir.Value = op.Cast(value, to=int(to))
        return found
    array = tensor.numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(to.numpy())
    if (
        not wraps
        and array.dtype.kind in "iub"
        and converted.dtype.kind in "iu"
        and not np.array_equal(converted, array)
    ):
        raise op.decline(f"the constant {value.name!r} has numbers that {_word(to)} does not hold")
    return op.constant(converted)


def computed_as(node: ir.Node, types: tuple[ir.DataType, ...]) -> ir.DataType | None:
    """The type among `types` of the first input that has one, None where no input does."""
    return next((value.dtype for value in node.inputs if value is not None and value.dtype in types), None)


@functools.cache
def _word(dtype: ir.DataType) -> str:
    return {ir.DataType.FLOAT: "float", ir.DataType.DOUBLE: "double"}.get(dtype, dtype.name.lower())


def _names(formal: Sequence[Any], count: int) -> list[str]:
    """Type variables of actual parameters: the last formal one stands for all further ones."""
    return [formal[min(index, len(formal) - 1)].type_str for index in range(count)]
