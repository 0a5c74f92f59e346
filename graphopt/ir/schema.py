"""What the ONNX standard says of an operator: its schema by opset, and attribute values with their defaults."""

from __future__ import annotations

import functools
from typing import Any

import onnx_ir as ir

from graphopt.ir.edit import constant, opset


@functools.lru_cache(maxsize=4096)
def schema(op_type: str, domain: str, version: int) -> Any | None:
    """The `onnx.defs.OpSchema` that holds at an opset version, None for an operator that the standard lacks."""
    import onnx

    try:
        return onnx.defs.get_schema(op_type, version, domain)
    except onnx.defs.SchemaError:
        return None


@functools.lru_cache(maxsize=4096)
def defaults(op_type: str, domain: str, version: int) -> dict[str, Any]:
    """Default values of an operator's attributes, as Python values."""
    import onnx

    known = schema(op_type, domain, version)
    if known is None:
        return {}
    found = {}
    for name, attribute in known.attributes.items():
        if attribute.default_value.type:
            value = onnx.helper.get_attribute_value(attribute.default_value)
            found[name] = value.decode() if isinstance(value, bytes) else value
    return found


def attribute(node: ir.Node, name: str) -> Any:
    """The value of a node's attribute as a Python value; the standard's default, else None, where it has none."""
    held = node.attributes.get(name)
    if held is None:
        return defaults(node.op_type, node.domain, opset(node)).get(name)
    return None if held.is_ref() else held.value


def integers(node: ir.Node, name: str, index: int) -> list[int] | None:
    """Integers that older operator sets have as attribute `name` and newer ones as constant input `index`.

    Returns:
        None where the node has neither, or the input is not a constant.
    """
    if name in node.attributes:
        held = attribute(node, name)
        return None if held is None else [int(n) for n in (held if isinstance(held, tuple | list) else (held,))]
    tensor = constant(node.inputs[index]) if index < len(node.inputs) else None
    return None if tensor is None else [int(n) for n in tensor.numpy().reshape(-1)]


def has_input(node: ir.Node, index: int) -> bool:
    """Whether an optional input is there."""
    return index < len(node.inputs) and node.inputs[index] is not None
