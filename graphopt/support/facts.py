"""What is known of a node, as plain named facts: the words that conditions of a support table are made of.

    input.0.dtype  "float32"          input.0.rank   4          input.1.constant  True      input.2.present  False
    attr.ceil_mode 0                  attr.pads      "symmetric"                            attr.axis        "last"
    shapes         "static"           broadcast      "same"     outputs           1         empty            False
    qdq.activation "uint8"            qdq.weight     "int8"     qdq.per_channel   True

A fact that applies but cannot be read off the model is UNKNOWN; one that does not apply is left out. Attributes that
are unset have the schema's default; those with an open set of values (pads, epsilon) are told by their class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from graphopt.ir.edit import constant
from graphopt.support.attributes import attribute_facts, dims_of, dtype_name
from graphopt.support.patterns import PATTERNS, pattern
from graphopt.support.predicate import UNKNOWN, Fact, Facts
from graphopt.support.schemas import Operator

if TYPE_CHECKING:
    import onnx_ir as ir


FOLDABLE: Final = "inputs.foldable"
"""The fact that says whether all inputs of a node are constants."""
FEW_STEPS: Final = 4
"""Up to so many time steps of a recurrent operator are few."""
_RESHAPING: Final = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Expand", "Gather", "GatherND", "OneHot", "Tile"})
_BROADCASTING: Final = frozenset({
    "Add", "Sub", "Mul", "Div", "Pow", "Mod", "And", "Or", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor",
    "BitShift", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Where", "PRelu", "Max", "Min", "Sum",
    "Mean",
})  # fmt: skip


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
        known["output.0.rank"] = _output_rank(node)
    if node.op_type in PATTERNS and not node.domain:
        known["pattern"] = pattern(node)
    if node.op_type in ("LSTM", "GRU", "RNN"):
        known["steps"] = _steps(node)
    known["shapes"] = _shapes(node)
    if (batch := _batch(node)) is not None:
        known["batch"] = batch
    if shapes:
        known[FOLDABLE] = all(constant(value) is not None for value in node.inputs if value is not None)
    made = [dims_of(value) for value in node.outputs]
    known["empty"] = any(shape is not None and 0 in shape for shape in (*_data(node, schema, shapes), *made))
    if len(shapes) > 1 and (schema.variadic or schema.required > 1) and node.op_type in _BROADCASTING:
        known["broadcast"] = broadcasting(shapes)
    known.update(attribute_facts(node, schema.attributes))
    known.update(_quantization(node))
    return known


def folds(op_type: str, known: Facts) -> bool:
    """Whether a node is computed ahead of time: all its inputs are constants.

    A quantizer is not: the DequantizeLinear of constant weights stays, since it says how they are stored.
    """
    return known.get(FOLDABLE) is True and op_type not in ("QuantizeLinear", "DequantizeLinear")


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


def _batch(node: ir.Node) -> Fact:
    """How many there are along the first axis of the first input; None for vectors and scalars, which have no batch."""
    dims = dims_of(node.inputs[0]) if node.inputs and node.inputs[0] is not None else None
    if dims is None or len(dims) < 3:
        return None
    return "open" if not isinstance(dims[0], int) else "one" if dims[0] == 1 else "several"


def _data(
    node: ir.Node, schema: Operator, shapes: Sequence[tuple[int | str, ...] | None]
) -> Sequence[tuple[int | str, ...] | None]:
    """The shapes that are those of data: an empty list of sizes or axes, or an empty roi, is as good as any other."""
    if node.op_type in ("ConstantOfShape", "RandomNormal", "RandomUniform"):
        return ()
    return shapes if schema.variadic else shapes[:1]


def _steps(node: ir.Node) -> Fact:
    # a compiler that unrolls them may take long over many
    dims = dims_of(node.inputs[0]) if node.inputs and node.inputs[0] is not None else None
    axis = 1 if "layout" in node.attributes and node.attributes["layout"].value == 1 else 0
    if dims is None or len(dims) <= axis:
        return UNKNOWN
    steps = dims[axis]
    return "open" if not isinstance(steps, int) else "few" if steps <= FEW_STEPS else "many"


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


def _output_rank(node: ir.Node) -> Fact:
    """Its rank, also where only the number of axes or sizes is known and not the axes or sizes themselves."""
    known = _rank(node.outputs[0])
    given = node.inputs[1] if len(node.inputs) > 1 else None
    count = dims_of(given) if given is not None else None
    rank = _rank(node.inputs[0]) if node.inputs and node.inputs[0] is not None else UNKNOWN
    if known != UNKNOWN or count is None or len(count) != 1 or not isinstance(count[0], int):
        return known
    if node.op_type == "Reshape":
        return count[0]
    if not isinstance(rank, int) or node.op_type not in ("Squeeze", "Unsqueeze", "Expand"):
        return known
    return {"Squeeze": rank - count[0], "Unsqueeze": rank + count[0]}.get(node.op_type, max(rank, count[0]))


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
            # What is not quantized behind it computes with numbers: the conversion in front is a node of its own.
            if closed:
                known["qdq.activation"] = _dtype(quantized)
                if known.get("qdq.zero_point") != "other":
                    known["qdq.zero_point"] = _zero_point(source)
        elif _dtype(quantized) == "int32":
            known["qdq.bias"] = "int32"
        elif known["qdq.weight"] == "none" and node.op_type != "Gather":  # which moves rows and computes with none
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
