"""An operator that an older opset lacks, written out as ONNX itself defines it."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
import onnx_ir as ir

from graphopt.ir.edit import is_read, shape_of
from graphopt_passes.legalize.opset.history import schema

_DISPUTED = {"Attention": 3}
"""Outputs where runtimes do not follow the definition: whether masked scores are -inf or the lowest number."""


_AS_A_LOOP = frozenset({"Range"})
"""Operators that ONNX defines by a Loop over values of unknown shape, which runtimes do not take."""


@dataclass(frozen=True)
class Definition:
    """A function that ONNX gives for an operator.

    Attributes:
        function: its body.
        version: the opset version that the body follows.
        outputs: which of the operator's outputs those of the function are; optional ones may be missing.
    """

    function: ir.Function
    version: int
    outputs: tuple[int, ...]


def definition(node: ir.Node, version: int) -> Definition | None:
    """What ONNX writes for an operator in terms of others.

    Args:
        node: follows opset `version`; the types of its inputs matter to some definitions.
        version: of the node.

    Returns:
        None where ONNX defines it in words alone, or asks for a type that is not known.
    """
    held = schema(node.op_type, version)
    if held is None or node.op_type in _AS_A_LOOP:
        return None
    if held.function_opset_versions:
        at = min(held.function_opset_versions)
        content = held.get_function_with_opset_version(at)
    elif held.context_dependent_function_opset_versions:
        at = min(held.context_dependent_function_opset_versions)
        kinds = [_type(value) for value in node.inputs]
        if any(kind is None for kind in kinds):
            return None
        try:
            content = held.get_context_dependent_function_with_opset_version(
                at, ir.serde.serialize_node(node).SerializeToString(), [k for k in kinds if k is not None]
            )
        except RuntimeError:
            return None
    else:
        return None
    if not content:
        return None
    disputed = _DISPUTED.get(node.op_type, len(node.outputs))
    if any(_needed(value) for value in node.outputs[disputed : disputed + 1]):
        return None
    proto = onnx.FunctionProto()
    proto.ParseFromString(content)
    made = {name for inner in proto.node for name in inner.output} | set(proto.input)
    there = [index for index, name in enumerate(proto.output) if name in made]
    if any(node.outputs[i].name and i not in there for i in range(len(node.outputs)) if _needed(node.outputs[i])):
        return None
    kept = [proto.output[index] for index in there]
    del proto.output[:]
    proto.output.extend(kept)
    own = [item.version for item in proto.opset_import if not item.domain]
    return Definition(ir.serde.deserialize_function(proto), max([at, *own]), tuple(there))


def _needed(value: ir.Value) -> bool:
    return is_read(value) or value.is_graph_output()


def attributes_of(node: ir.Node, version: int) -> dict[str, ir.Attr]:
    """The attributes of a node, with the standard's defaults for those that it leaves out."""
    held = schema(node.op_type, version)
    found: dict[str, ir.Attr] = {}
    if held is not None:
        for name, attribute in held.attributes.items():
            if attribute.default_value.type:
                found[name] = ir.serde.deserialize_attribute(attribute.default_value)
    return found | dict(node.attributes)


def _type(value: ir.Value | None) -> bytes | None:
    """A type as ONNX's definitions want it; an empty one for an input that is left out."""
    if value is None:
        return onnx.TypeProto().SerializeToString()
    if value.type is None:
        return None
    if not isinstance(value.type, ir.TensorType):
        proto = onnx.TypeProto()
        ir.serde.serialize_type_into(proto, value.type)
        return proto.SerializeToString()
    shape = shape_of(value)
    dims = None if shape is None else [d if isinstance(d, int) else d.value for d in shape]
    return onnx.helper.make_tensor_type_proto(int(value.type.dtype), dims).SerializeToString()
