"""Type and shape inference of one node, by the onnx package."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import onnx_ir as ir

from graphopt.ir.edit import bodies, constant, opset_of, shape_of
from graphopt.ir.learn import learn_shape

if TYPE_CHECKING:
    import onnx

_SMALL = 1024
"""Bytes up to which a constant goes along with its content: it may be a shape."""

_LIKE_ITS_INPUT = ("GroupNormalization", "MeanVarianceNormalization")
"""Operators that the onnx package infers nothing of; their result has the type and the shape of their input."""


def has_schema(node: ir.Node) -> bool:
    """Whether the standard, or the onnx package, knows the operator."""
    import onnx

    return bool(onnx.defs.has(node.op_type, node.domain))


def learn_proto(
    value: ir.Value, type_proto: onnx.TypeProto, renamed: Callable[[str], str] = str, *, derived: bool = False
) -> bool:
    """Take over what a TypeProto says beyond what is known.

    Args:
        value: of which the type is known better afterwards.
        type_proto: what is said of it.
        renamed: gives each named dimension the name that it is to have here.
        derived: see `learn_shape`.

    Returns:
        Whether that was anything.
    """
    if not type_proto.HasField("tensor_type"):
        if value.type is None and type_proto.WhichOneof("value"):
            value.type = ir.serde.deserialize_type_proto_for_type(type_proto)
            return True
        return False
    tensor = type_proto.tensor_type
    new = False
    if value.type is None and tensor.elem_type:
        value.type = ir.TensorType(ir.DataType(tensor.elem_type))
        new = True
    if not tensor.HasField("shape"):
        return new
    dims: list[int | str | None] = []
    for dim in tensor.shape.dim:
        field = dim.WhichOneof("value")
        dims.append(dim.dim_value if field == "dim_value" else renamed(dim.dim_param) or None)
    return learn_shape(value, dims, derived=derived) or new


def infer_node(node: ir.Node, *, derived: bool = False) -> int:
    """Infer the outputs of one node from its inputs; returns how many values are known better than before.

    Used for the few nodes that a rewrite makes, and where more became known of an input; a whole model goes through
    `infer_shapes`. For `derived` see `learn_shape`.
    """
    import onnx

    if node.op_type in _LIKE_ITS_INPUT and not node.domain:
        return _as_input(node)
    if not has_schema(node) or any(v is None or v.type is None for v in node.inputs if v is not None):
        return 0
    if any(True for _ in bodies(node)) or any(a.is_ref() for a in node.attributes.values()):
        return 0
    version = opset_of(node.graph, node.domain)
    try:
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    except onnx.defs.SchemaError:
        return 0
    types: dict[str, onnx.TypeProto] = {}
    data: dict[str, onnx.TensorProto] = {}
    for value in node.inputs:
        if value is None or value.name is None:
            continue
        if value.type is None:
            return 0
        types[value.name] = _type_proto(value)
        tensor = constant(value)
        if tensor is not None and tensor.nbytes <= _SMALL:
            data[value.name] = ir.serde.serialize_tensor(tensor)
    try:
        outputs = onnx.shape_inference.infer_node_outputs(
            schema, ir.serde.serialize_node(node), types, data,
            opset_imports=[onnx.helper.make_opsetid(node.domain, version)],
        )  # fmt: skip
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError):
        return 0
    return sum(
        learn_proto(value, outputs[value.name], derived=derived) for value in node.outputs if value.name in outputs
    )


def _as_input(node: ir.Node) -> int:
    source, made = node.inputs[0], node.outputs[0]
    if source is None:
        return 0
    made.type = made.type or source.type
    shape = shape_of(source)
    return int(shape is not None and learn_shape(made, [d if isinstance(d, int) else d.value for d in shape]))


def _type_proto(value: ir.Value) -> onnx.TypeProto:
    import onnx

    shape = shape_of(value)
    if not isinstance(value.type, ir.TensorType):
        proto = onnx.TypeProto()
        assert value.type is not None
        ir.serde.serialize_type_into(proto, value.type)
        return proto
    dims = None if shape is None else [d if isinstance(d, int) else d.value for d in shape]
    return onnx.helper.make_tensor_type_proto(int(value.type.dtype), dims)
