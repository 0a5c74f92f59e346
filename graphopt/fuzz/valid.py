"""Is a model valid to the letter? The onnx checker, and the types that the schemas allow, which it does not look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SPARSE = "seq", "optional", "sparse"
_SCALARS = {"Clip": (1, 2), "Range": (0, 1, 2)}
"""Inputs that are scalars by the standard's words, which only onnxruntime takes in other shapes."""


def complaint(proto: Any) -> str | None:
    """What is wrong with a ModelProto, None where nothing is found."""
    import onnx.inliner

    try:
        onnx.checker.check_model(proto, full_check=True)
        if proto.functions:
            proto = onnx.inliner.inline_local_functions(
                proto
            )  # what a function holds has types only where it is called
        inferred = onnx.shape_inference.infer_shapes(proto)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        # The onnx package does not know what onnxruntime's own operators make.
        return None if "instead is null" in str(error) else str(error).strip().splitlines()[0]
    opsets = {opset.domain: opset.version for opset in proto.opset_import}
    return _types(inferred.graph, {}, {}, opsets)


def _types(
    graph: Any, outer: Mapping[str, int], outer_ranks: Mapping[str, int], opsets: Mapping[str, int]
) -> str | None:
    """The first node whose inputs or outputs have types that its schema does not allow."""
    known, ranks = dict(outer), dict(outer_ranks)
    for value in (*graph.input, *graph.value_info, *graph.output):
        known[value.name] = value.type.tensor_type.elem_type
        ranks[value.name] = len(value.type.tensor_type.shape.dim)
    known.update((tensor.name, tensor.data_type) for tensor in graph.initializer)
    ranks.update((tensor.name, len(tensor.dims)) for tensor in graph.initializer)
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            known[node.output[0]] = node.attribute[0].t.data_type
            ranks[node.output[0]] = len(node.attribute[0].t.dims)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found = _types(attribute.g, known, ranks, opsets)
                if found is not None:
                    return found
        found = _node(node, known, ranks, opsets.get(node.domain, 1))
        if found is not None:
            return found
    return None


def _node(node: Any, known: Mapping[str, int], ranks: Mapping[str, int], version: int) -> str | None:
    import onnx

    if not onnx.defs.has(node.op_type, version, node.domain):
        return None
    schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    bound: dict[str, str] = {}
    for index in _SCALARS.get(node.op_type, ()):
        if index < len(node.input) and ranks.get(node.input[index], 0):
            return f"{node.op_type} {node.name} takes {node.input[index]}, which is no scalar"
    for names, parameters in ((node.input, schema.inputs), (node.output, schema.outputs)):
        for index, name in enumerate(names):
            kind = known.get(name, 0)
            if not kind or not parameters:
                continue
            parameter = parameters[min(index, len(parameters) - 1)]
            word = f"tensor({onnx.TensorProto.DataType.Name(kind).lower()})"
            allowed = set(parameter.types)
            if word not in allowed and not any(one.startswith(_SPARSE) for one in allowed):
                return f"{node.op_type} {node.name} has {name} of type {word}, which opset {version} does not allow"
            if parameter.is_homogeneous and bound.setdefault(parameter.type_str, word) != word:
                return f"{node.op_type} {node.name} has {name} of type {word} beside {bound[parameter.type_str]}"
    return None
