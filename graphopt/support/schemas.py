"""What the schema of an operator says, of ONNX's own operators and of those that onnxruntime adds."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from graphopt.ir import schema as standard


@dataclass(frozen=True)
class Operator:
    """What the ONNX schema says of an operator at an opset.

    Attributes:
        since: since_version.
        required: how many leading inputs are not optional and not variadic.
        inputs: how many inputs it takes, not counting a variadic tail.
        variadic: whether the last input repeats.
        outputs: how many outputs it may have, 0 where that is open.
        repeats: inputs whose dtype is by the schema that of an earlier input.
        attributes: default value by attribute name, None where there is none.
        deprecated: whether ONNX has withdrawn it.
    """

    since: int
    required: int
    inputs: int
    variadic: bool
    outputs: int
    repeats: frozenset[int]
    attributes: dict[str, Any]
    deprecated: bool = False


@functools.lru_cache(maxsize=4096)
def operator(domain: str, op_type: str, opset: int) -> Operator | None:
    """The schema of an operator at an opset version, None where neither ONNX nor onnxruntime defines it."""
    from onnx import defs

    domain = "" if domain == "ai.onnx" else domain
    schema = standard.schema(op_type, domain, opset)
    if schema is None:
        # a name that ONNX has, only not at this opset, is not onnxruntime's to define
        return contributed(domain, op_type) if domain or not defs.has(op_type) else None
    types = [parameter.type_str for parameter in schema.inputs]
    option = defs.OpSchema.FormalParameterOption
    variadic = bool(schema.inputs) and schema.inputs[-1].option == option.Variadic
    known = standard.defaults(op_type, domain, opset)
    return Operator(
        schema.since_version,
        sum(parameter.option == option.Single for parameter in schema.inputs),
        len(schema.inputs) - variadic,
        variadic,
        0 if any(parameter.option == option.Variadic for parameter in schema.outputs) else len(schema.outputs),
        frozenset(index for index, name in enumerate(types) if name in types[:index]),
        {name: known.get(name) for name in schema.attributes},
        schema.deprecated,
    )


@functools.cache
def contributed(domain: str, op_type: str) -> Operator | None:
    """The schema of an operator that onnxruntime adds to ONNX, None where it adds no such one.

    They have no history: onnxruntime keeps one schema of each, whatever opset a model imports of the domain.
    """
    import onnx
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema, schemadef

    known = (schema for schema in get_all_operator_schema() if (schema.domain, schema.name) == (domain, op_type))
    schema = next(known, None)
    if schema is None:
        return None
    option = schemadef.OpSchema.FormalParameterOption
    types = [parameter.typeStr for parameter in schema.inputs]
    variadic = bool(schema.inputs) and schema.inputs[-1].option == option.Variadic
    defaults: dict[str, Any] = {}
    for name, attribute in schema.attributes.items():
        default = onnx.AttributeProto.FromString(attribute._default_value)
        value = onnx.helper.get_attribute_value(default) if default.type else None
        defaults[name] = value.decode() if isinstance(value, bytes) else value
    return Operator(
        schema.since_version,
        sum(parameter.option == option.Single for parameter in schema.inputs),
        len(schema.inputs) - variadic,
        variadic,
        0 if any(parameter.option == option.Variadic for parameter in schema.outputs) else len(schema.outputs),
        frozenset(index for index, name in enumerate(types) if name in types[:index]),
        defaults,
    )
