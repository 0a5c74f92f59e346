"""When ONNX's operators changed, and whether a node of a newer version is one of the older as it stands."""

from __future__ import annotations

import functools
from typing import Any

import onnx
import onnx_ir as ir

from graphopt.ir.edit import is_read

_NAMES = {
    ir.DataType.FLOAT: "float", ir.DataType.DOUBLE: "double", ir.DataType.FLOAT16: "float16",
    ir.DataType.BFLOAT16: "bfloat16",
}  # fmt: skip


@functools.lru_cache(maxsize=1)
def _schemas() -> dict[str, dict[int, onnx.defs.OpSchema]]:
    found: dict[str, dict[int, onnx.defs.OpSchema]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if not schema.domain:
            found.setdefault(schema.name, {})[schema.since_version] = schema
    return found


@functools.lru_cache(maxsize=1024)
def versions(op_type: str) -> tuple[int, ...]:
    """Opset versions at which an operator changed, the oldest first; none for an operator that ONNX lacks."""
    return tuple(sorted(_schemas().get(op_type, ())))


def schema(op_type: str, version: int) -> onnx.defs.OpSchema | None:
    """The schema that holds at an opset version, None where the operator is not there yet or not any more."""
    held = [v for v in versions(op_type) if v <= version]
    found = _schemas()[op_type][held[-1]] if held else None
    # GroupNormalization of opset 18 is only advised against; the others that are deprecated are gone.
    return None if found is None or (found.deprecated and held[-1] != versions(op_type)[0]) else found


def obstacle(node: ir.Node, version: int) -> str | None:
    """Why a node of opset `version` is not one of opset `version - 1` as it stands; None where it is.

    Attributes at the value that was always meant are taken away.
    """
    new, old = schema(node.op_type, version), schema(node.op_type, version - 1)
    if old is None or new is None:
        return f"opset {version - 1} does not have {node.op_type}"
    for name in [n for n in node.attributes if n not in old.attributes]:
        if not _as_before(node, name, new.attributes.get(name)):
            return f"opset {version - 1} does not have its attribute {name} = {_value(node.attributes[name])}"
        del node.attributes[name]
    for name, held in old.attributes.items():
        if held.required and name not in node.attributes:
            return f"opset {version - 1} wants its attribute {name}"
    most = old.max_input
    if any(value is not None for value in node.inputs[most:]):
        return f"opset {version - 1} knows {most} inputs of it, not {len(node.inputs)}"
    if len(node.inputs) > most:
        node.resize_inputs(most)
    for index, formal in enumerate(old.inputs):
        single = formal.option == onnx.defs.OpSchema.FormalParameterOption.Single
        if single and (index >= len(node.inputs) or node.inputs[index] is None):
            return f"opset {version - 1} wants its input {formal.name}"
    if any(value.name and (is_read(value) or value.is_graph_output()) for value in node.outputs[old.max_output :]):
        return f"opset {version - 1} knows {old.max_output} outputs of it"
    if len(node.outputs) > old.max_output:
        node.resize_outputs(old.max_output)
    return wrong_type(node, old)


def _as_before(node: ir.Node, name: str, held: Any) -> bool:
    value = _value(node.attributes[name])
    if held is not None and held.default_value.type:
        default = onnx.helper.get_attribute_value(held.default_value)
        return bool(value == (default.decode() if isinstance(default, bytes) else default))
    # Ones for every axis is what dilations meant before they could be said.
    return name == "dilations" and all(n == 1 for n in value)


def _value(attribute: ir.Attr) -> Any:
    return f"the caller's {attribute.ref_attr_name}" if attribute.is_ref() else attribute.value


def wrong_type(node: ir.Node, held: onnx.defs.OpSchema) -> str | None:
    """The first input or output whose type a schema does not take; types that are not known are not judged."""
    allowed = {c.type_param_str: set(c.allowed_type_strs) for c in held.type_constraints}
    for values, formals in ((node.inputs, held.inputs), (node.outputs, held.outputs)):
        for index, value in enumerate(values):
            if value is None or value.type is None or not value.name or not formals:
                continue
            formal = formals[min(index, len(formals) - 1)]
            kind = type_string(value.type)
            if kind not in allowed.get(formal.type_str, {formal.type_str}):
                return f"opset {held.since_version} does not take {kind} for {formal.name}"
    return None


def type_string(kind: Any) -> str:
    """A type as schemas write it, as seq(tensor(float))."""
    if isinstance(kind, ir.SequenceType):
        return f"seq({type_string(kind.elem_type)})"
    if isinstance(kind, ir.OptionalType):
        return f"optional({type_string(kind.elem_type)})"
    dtype = kind.dtype
    return f"tensor({_NAMES.get(dtype, dtype.name.lower())})"
