"""Shape and type inference that keeps symbolic dimensions and computes through shape arithmetic.

The onnx package infers operator by operator, with its own data propagation; what it leaves open because a shape is
computed is filled in here from partial values (see `symbolic`), and the two take turns until nothing new is learnt.
Only inputs, initializers and, for operators without a schema, declared value types are believed: a shape that a file
declares of an interior value or of an output may be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import onnx_ir as ir

from graphopt.ir.edit import adopt_opsets, bodies, constant, nodes_of, opset_of, shape_of
from graphopt.ir.io import tensors, to_proto
from graphopt.ir.learn import learn_shape
from graphopt.ir.partial import propagate
from graphopt.ir.symbolic import MADE_UP, Dim, from_shape

if TYPE_CHECKING:
    import onnx

_SMALL = 1024
"""Bytes up to which an initializer goes along with its content: it may be a shape."""
_ROUNDS = 4


def infer_shapes(model: ir.Model) -> int:
    """Infer types, shapes and partial values everywhere; the signature and all weights stay as they are.

    Returns:
        How many values are known better than before.
    """
    adopt_opsets(model)
    # The onnx package says nothing of the inside of functions; there, what constants make can be told.
    functions = (function.graph for function in model.functions.values())
    learnt = sum(infer_node(node) for graph in functions for node in nodes_of(graph))
    for _ in range(_ROUNDS):
        learnt += _onnx_round(model)
        more = propagate(model)
        learnt += more
        if not more:
            break
    return learnt


def _onnx_round(model: ir.Model) -> int:
    import onnx

    proto = _skeleton(model)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, check_type=False, strict_mode=False, data_prop=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError):
        # One operator that the onnx package cannot digest must not cost the rest: node by node instead.
        inferred = None
    if inferred is None:
        return sum(infer_node(node) for node in nodes_of(model.graph))
    # The onnx package counts its symbols from zero in every call; a number of our own keeps calls apart.
    run = model.meta["graphopt.inferences"] = model.meta.get("graphopt.inferences", 0) + 1
    return _merge(model.graph, inferred.graph, f"{MADE_UP}{run}_")


def _skeleton(model: ir.Model) -> onnx.ModelProto:
    """The model without large weights and without what it only declares of interior values."""
    held: list[tuple[ir.Value, ir.TensorProtocol]] = []
    for holder, tensor in tensors(model):
        if isinstance(holder, ir.Value) and tensor.nbytes > _SMALL and tensor.dtype != ir.DataType.STRING:
            held.append((holder, tensor))
    try:
        for value, tensor in held:
            shape = ir.Shape(tensor.shape.numpy())
            value.const_value = ir.ExternalTensor("-", 0, 0, tensor.dtype, shape=shape, name=value.name or "")
        proto = to_proto(model)
    finally:
        for value, tensor in held:
            value.const_value = tensor
    _forget(proto.graph, model.graph)
    inputs = {v.name: v for v in proto.graph.input}
    for value in model.graph.inputs:
        if value.shape is None or value.is_initializer() or not isinstance(value.type, ir.TensorType):
            continue
        dims = [d if isinstance(d, int) else d.value for d in value.shape]
        if any(anonymous(d) for d in dims):
            dims = [f"{value.name}.{axis}" if anonymous(d) else d for axis, d in enumerate(dims)]
            value.meta["graphopt.shape"] = ir.Shape(dims)
            _write_dims(inputs[value.name].type, dims)
    return proto


def _write_dims(type_proto: onnx.TypeProto, dims: Iterable[int | str | None]) -> None:
    shape = type_proto.tensor_type.shape
    del shape.dim[:]
    for dim in dims:
        entry = shape.dim.add()
        if isinstance(dim, int):
            entry.dim_value = dim
        elif dim is not None:
            entry.dim_param = dim


def anonymous(dim: str | int | None) -> bool:
    """Whether a dimension says nothing: exporters write "?", "", -1 or nothing, and two of them need not agree."""
    return dim is None or (isinstance(dim, int) and dim < 0) or (isinstance(dim, str) and not dim.strip("?-1 "))


def _forget(proto: onnx.GraphProto, graph: ir.Graph) -> None:
    # What was inferred before stays (it is proven); what the file declared does not, unless no schema can tell.
    made = [v for node in graph for v in node.outputs]
    believed = {v.name for v in made if "graphopt.shape" in v.meta}
    believed.update(v.name for node in graph if not _has_schema(node) for v in node.outputs)
    kept = [v for v in proto.value_info if v.name in believed]
    del proto.value_info[:]
    proto.value_info.extend(kept)
    outputs = {v.name: v for v in proto.output}
    for value in graph.outputs:
        output = outputs[value.name]
        proven = value.meta.get("graphopt.shape")
        if not output.type.HasField("tensor_type"):
            continue
        if proven is not None:
            _write_dims(output.type, [d if isinstance(d, int) else d.value for d in proven])
        elif value.name not in believed:
            output.type.tensor_type.ClearField("shape")
    for node, node_proto in zip(graph, proto.node, strict=True):
        inner = {a.name: a for a in node_proto.attribute}
        for name, attribute in node.attributes.items():
            if attribute.type == ir.AttributeType.GRAPH and not attribute.is_ref():
                body = inner[name].g
                for value, given in zip(attribute.value.inputs, body.input, strict=True):
                    if shape_of(value) is None and given.type.HasField("tensor_type"):
                        given.type.tensor_type.ClearField("shape")
                _forget(body, attribute.value)


def _has_schema(node: ir.Node) -> bool:
    import onnx

    return bool(onnx.defs.has(node.op_type, node.domain))


def _merge(graph: ir.Graph, proto: onnx.GraphProto, prefix: str) -> int:
    infos = {v.name: v for v in (*proto.value_info, *proto.output)}
    learnt = 0
    for node, node_proto in zip(graph, proto.node, strict=True):
        for value in node.outputs:
            info = infos.get(value.name or "")
            if info is not None:
                learnt += learn_proto(value, info.type, prefix)
        if any(True for _ in bodies(node)):
            inner = {a.name: a for a in node_proto.attribute}
            for name, attribute in node.attributes.items():
                if attribute.type == ir.AttributeType.GRAPH and not attribute.is_ref():
                    body = inner[name].g
                    for value, given in zip(attribute.value.inputs, body.input, strict=True):
                        learnt += learn_proto(value, given.type, prefix)
                    learnt += _merge(attribute.value, body, prefix)
    return learnt


def learn_proto(value: ir.Value, type_proto: onnx.TypeProto, prefix: str = MADE_UP) -> bool:
    """Take over what a TypeProto says beyond what is known; returns whether that was anything."""
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
        name = dim.dim_param.replace("unk__", prefix, 1) if dim.dim_param.startswith("unk__") else dim.dim_param
        dims.append(dim.dim_value if field == "dim_value" else name or None)
    return learn_shape(value, dims) or new


def infer_node(node: ir.Node) -> int:
    """Infer the outputs of one node from its inputs; returns how many values are known better than before.

    Used for the few nodes that a rewrite makes; a whole model goes through `infer_shapes`.
    """
    import onnx

    if not _has_schema(node) or any(v is None or v.type is None for v in node.inputs if v is not None):
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
    return sum(learn_proto(value, outputs[value.name]) for value in node.outputs if value.name in outputs)


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


def dims_of(value: ir.Value | None) -> tuple[Dim, ...] | None:
    """The proven shape of a value as polynomials, None where a dimension has no name."""
    shape = shape_of(value)
    return None if shape is None else from_shape(shape)
