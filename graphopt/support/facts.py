"""What is known of a node, as plain named facts: the words that conditions of a support table are made of.

    input.0.dtype  "float32"          input.0.rank   4          input.1.constant  True      input.2.present  False
    attr.ceil_mode 0                  attr.pads      "symmetric"                            attr.axis        "last"
    shapes         "static"           broadcast      "same"     outputs           1         empty            False
    qdq.activation "uint8"            qdq.weight     "int8"     qdq.per_channel   True

A fact that applies but cannot be read off the model is UNKNOWN; one that does not apply is left out. Attributes that
are unset have the schema's default; those with an open set of values (pads, epsilon) are told by their class.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from graphopt.ir import schema as standard
from graphopt.ir.edit import constant
from graphopt.support.attributes import attribute_facts, dims_of, dtype_name
from graphopt.support.predicate import UNKNOWN, Fact

if TYPE_CHECKING:
    import onnx_ir as ir


_RESHAPING: Final = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Expand", "Gather", "GatherND", "OneHot", "Tile"})
_BROADCASTING: Final = frozenset({
    "Add", "Sub", "Mul", "Div", "Pow", "Mod", "And", "Or", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor",
    "BitShift", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Where", "PRelu", "Max", "Min", "Sum",
    "Mean",
})  # fmt: skip


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
    """

    since: int
    required: int
    inputs: int
    variadic: bool
    outputs: int
    repeats: frozenset[int]
    attributes: dict[str, Any]


@functools.lru_cache(maxsize=4096)
def operator(domain: str, op_type: str, opset: int) -> Operator | None:
    """The schema of an operator at an opset version, None where ONNX does not define it."""
    from onnx import defs

    domain = "" if domain == "ai.onnx" else domain
    schema = standard.schema(op_type, domain, opset)
    if schema is None:
        return None
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
    )


def facts(node: ir.Node, schema: Operator) -> dict[str, Fact]:
    """All facts of a node.

    Args:
        node: a node of a model whose shapes and dtypes have been inferred as far as they can be.
        schema: its operator, from `operator`.

    Returns:
        The value of each fact by its name.
    """
    known: dict[str, Fact] = {}
    shapes = [dims_of(value) for value in node.inputs if value is not None]
    for index, value in enumerate(node.inputs[: schema.inputs]):
        if value is None:
            continue
        if index not in schema.repeats:
            known[f"input.{index}.dtype"] = _dtype(value)
        known[f"input.{index}.rank"] = _rank(value)
        known[f"input.{index}.constant"] = constant(value) is not None
    for index in range(schema.required, schema.inputs):
        known[f"input.{index}.present"] = index < len(node.inputs) and node.inputs[index] is not None
    if schema.variadic:
        rest = [value for value in node.inputs[schema.inputs :] if value is not None]
        known["inputs.count"] = "one" if len(rest) == 1 else "several"
        known["inputs.constant"] = "some" if any(constant(value) is not None for value in rest) else "none"
        if rest:
            known["input.0.dtype"] = _dtype(rest[0])
            known["input.0.rank"] = _rank(rest[0])
    if schema.outputs > 1:
        known["outputs"] = sum(1 for value in node.outputs if value.uses() or value.is_graph_output())
    if node.op_type in _RESHAPING:
        known["output.0.rank"] = _rank(node.outputs[0])
    known["shapes"] = _shapes(node)
    known["empty"] = any(shape is not None and 0 in shape for shape in shapes)
    if len(shapes) > 1 and (schema.variadic or schema.required > 1) and node.op_type in _BROADCASTING:
        known["broadcast"] = broadcasting(shapes)
    known.update(attribute_facts(node, schema.attributes))
    known.update(_quantization(node))
    return known


def broadcasting(shapes: Sequence[tuple[int | str, ...] | None]) -> str:
    """How shapes broadcast: "same", "scalar", "channel" (only axis 1), "trailing", "one-sided", "mutual" or unknown."""
    if any(shape is None for shape in shapes):
        return UNKNOWN
    known = [shape for shape in shapes if shape is not None]
    if len(set(known)) == 1:
        return "same"
    rank = max(map(len, known))
    full = [(1,) * (rank - len(shape)) + shape for shape in known]
    target = max(full, key=lambda shape: sum(dim != 1 for dim in shape))
    worst = 0
    for shape in full:
        differs = [axis for axis in range(rank) if shape[axis] != target[axis]]
        if not differs:
            continue
        kept = [axis for axis in range(rank) if shape[axis] != 1]
        if any(shape[axis] != 1 for axis in differs):
            kind = 5
        elif not kept:
            kind = 1
        elif rank > 2 and kept == [1]:
            kind = 2
        elif kept == list(range(rank - len(kept), rank)):
            kind = 3
        else:
            kind = 4
        worst = max(worst, kind)
    return ("same", "scalar", "channel", "trailing", "one-sided", "mutual")[worst]


def _shapes(node: ir.Node) -> Fact:
    read = [dims_of(value) for value in node.inputs if value is not None]
    known = [shape for shape in read if shape is not None]
    if len(known) < len(read):
        return UNKNOWN
    if all(isinstance(dim, int) for shape in known for dim in shape):
        made = [dims_of(value) for value in node.outputs]
        static = all(shape is not None and all(isinstance(dim, int) for dim in shape) for shape in made)
        return "static" if static else "data-dependent"
    batch = all(isinstance(dim, int) for shape in known for dim in shape[1:])
    return "dynamic batch" if batch else "dynamic"


def _rank(value: ir.Value) -> Fact:
    dims = dims_of(value)
    return UNKNOWN if dims is None else len(dims)


def _dtype(value: ir.Value) -> str:
    return UNKNOWN if value.dtype is None else dtype_name(value.dtype)


def _quantization(node: ir.Node) -> dict[str, Fact]:
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return {"zero_point": _zero_point(node), "pairing": _pairing(node)}
    known: dict[str, Fact] = {"qdq.activation": "none", "qdq.weight": "none", "qdq.bias": "none"}
    users = [use.node for value in node.outputs for use in value.uses()]
    closed = bool(users) and all(user.op_type == "QuantizeLinear" for user in users)
    for value in node.inputs:
        source = value.producer() if value is not None else None
        quantized = source.inputs[0] if source is not None and source.op_type == "DequantizeLinear" else None
        if source is None or quantized is None:
            continue
        if constant(quantized) is None:
            known["qdq.activation"] = _dtype(quantized) if closed else "input only"
            if known.get("qdq.zero_point") != "other":
                known["qdq.zero_point"] = _zero_point(source)
        elif _dtype(quantized) == "int32":
            known["qdq.bias"] = "int32"
        elif known["qdq.weight"] == "none":
            known["qdq.weight"] = _dtype(quantized)
            scale = source.inputs[1]
            known["qdq.per_channel"] = scale is not None and _rank(scale) == 1
    return known


def _zero_point(node: ir.Node) -> str:
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None:
        return "zero"
    tensor = constant(value)
    return "computed" if tensor is None else "other" if tensor.numpy().any() else "zero"


def _pairing(node: ir.Node) -> str:
    if node.op_type == "QuantizeLinear":
        users = [use.node.op_type for value in node.outputs for use in value.uses()]
        return "paired" if users and set(users) == {"DequantizeLinear"} else "alone"
    value = node.inputs[0]
    source = value.producer() if value is not None else None
    paired = constant(value) is not None or (source is not None and source.op_type == "QuantizeLinear")
    return "paired" if paired else "alone"
