"""What a node says, whatever the opset: attributes with defaults, and settings that moved from attribute to input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from graphopt_backends.tflite.registry import Decline

if TYPE_CHECKING:
    import numpy as np

    from graphopt_backends.tflite.emitter import Emitter


def integer(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def real(node: ir.Node, name: str, default: float) -> float:
    """A float attribute."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_float()


def text(node: ir.Node, name: str, default: str) -> str:
    """A string attribute."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_string()


def integers(node: ir.Node, name: str) -> list[int] | None:
    """A list-of-integers attribute, None where it is absent."""
    attribute = node.attributes.get(name)
    return None if attribute is None else [int(item) for item in attribute.as_ints()]


def operand(node: ir.Node, index: int) -> ir.Value | None:
    """Input `index`, None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def required(node: ir.Node, index: int) -> ir.Value:
    """Input `index`, which the operator cannot do without.

    Raises:
        Decline: it is left out.
    """
    value = operand(node, index)
    if value is None:
        raise Decline(f"input {index} is missing")
    return value


def fixed(node: ir.Node, e: Emitter, index: int, what: str) -> np.ndarray | None:
    """The constant at input `index`, None where the input is left out.

    Raises:
        Decline: the input is computed at run time.
    """
    value = operand(node, index)
    if value is None:
        return None
    array = e.constant(value)
    if array is None:
        raise Decline(f"{what} (input {index}) must be a constant; it is computed at run time")
    return array


def setting(node: ir.Node, e: Emitter, name: str, index: int) -> list[int] | None:
    """Integers that older opsets keep in attribute `name` and newer ones in input `index`; None where absent.

    Raises:
        Decline: the input is computed at run time.
    """
    found = integers(node, name)
    if found is not None:
        return found
    array = fixed(node, e, index, name)
    return None if array is None else [int(item) for item in array.reshape(-1)]


def bound(node: ir.Node, e: Emitter, name: str, index: int) -> float | None:
    """A number that older opsets keep in attribute `name` and newer ones in input `index`; None where absent."""
    if name in node.attributes:
        return real(node, name, 0.0)
    array = fixed(node, e, index, name)
    return None if array is None else array.item()


def is_used(node: ir.Node, index: int) -> bool:
    """Whether somebody reads output `index`."""
    if index >= len(node.outputs):
        return False
    return bool(node.outputs[index].uses()) or node.outputs[index].is_graph_output()


def axis_of(axis: int, rank: int) -> int:
    """`axis` counted from the front.

    Raises:
        Decline: there is no such axis.
    """
    if not -rank <= axis < max(rank, 1):
        raise Decline(f"axis {axis} is outside of rank {rank}")
    return axis % rank if rank else 0


def axes_of(axes: Sequence[int], rank: int) -> list[int]:
    """`axes` counted from the front, ascending."""
    return sorted(axis_of(axis, rank) for axis in axes)
