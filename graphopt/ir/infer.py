"""Shape and type inference that keeps symbolic dimensions and computes through shape arithmetic.

The onnx package infers operator by operator, with its own data propagation; what it leaves open because a shape is
computed is filled in here from partial values (see `symbolic`), and the two take turns until nothing new is learnt.
Only inputs, initializers and, for operators without a schema, declared value types are believed: a shape that a file
declares of an interior value or of an output may be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import onnx_ir as ir

from graphopt.ir.content import dims_of
from graphopt.ir.edit import adopt_opsets, bodies, nodes_of, shape_of
from graphopt.ir.infer_node import has_schema, infer_node, learn_proto
from graphopt.ir.io import to_light_proto
from graphopt.ir.propagate import propagate
from graphopt.ir.symbolic import MADE_UP

if TYPE_CHECKING:
    import onnx

__all__ = ["anonymous", "dims_of", "infer_node", "infer_shapes"]

_SMALL = 1024
"""Bytes up to which an initializer goes along with its content: it may be a shape."""
_ROUNDS = 4
_THEIRS = "unk__"
"""Prefix of the dimension names that the onnx package makes up; a user's may begin like that as well."""
_FEW = 100
"""Nodes of which anything new is known up to which they are looked at one by one."""
_SEEN, _RUNS = "graphopt.seen", "graphopt.inferences"
_LONG = 1 << 20
"""Length of a list from which on the onnx package is not asked for its content: it takes a hundred bytes for each."""
_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32)
_READ_FLOATS = ("Range", "Resize", "Upsample")
"""Operators whose output's shape depends on the content of a tensor that need not be of integers."""


def infer_shapes(model: ir.Model) -> int:
    """Infer types, shapes and partial values everywhere; the signature and all weights stay as they are.

    Returns:
        How many values are known better than before.
    """
    adopt_opsets(model)
    # The onnx package says nothing of the inside of functions; there, what constants make can be told.
    functions = (function.graph for function in model.functions.values())
    learnt = sum(infer_node(node) for graph in functions for node in nodes_of(graph))
    # The walk goes over everything once, but what goes into the body of a loop only the onnx package hands on.
    turns = any(node.op_type in ("Loop", "Scan", "SequenceMap") for node in nodes_of(model.graph))
    first = _RUNS not in model.meta
    news = [] if first else [node for node in nodes_of(model.graph) if _is_news(node)]
    if not news and not first:
        return learnt
    inside = any(node.graph is not model.graph or any(True for _ in bodies(node)) for node in news)
    if first or turns or inside or len(news) > _FEW:
        for _ in range(_ROUNDS):
            learnt += _onnx_round(model)
            more = propagate(model)
            learnt += more
            if not more or not turns:
                break
    else:
        better = {value for node in news if infer_node(node) for value in node.outputs}
        learnt += len(better) + propagate(model, better)
    for node in nodes_of(model.graph):
        node.meta[_SEEN] = _known_of_inputs(node)
    return learnt


def ensure_shapes(model: ir.Model) -> None:
    """Infer once where nothing has been inferred yet; what changed since is for `infer_shapes`."""
    if _RUNS not in model.meta:
        infer_shapes(model)


def _is_news(node: ir.Node) -> bool:
    """Whether anything about the inputs of a node is not as it was at the last inference."""
    before, now = node.meta.data.get(_SEEN), _known_of_inputs(node)
    return (
        before is None or len(before) != len(now) or not all(a is b or a == b for a, b in zip(before, now, strict=True))
    )


def _known_of_inputs(node: ir.Node) -> list[object]:
    """What the shapes of a node's outputs depend on."""
    known: list[object] = []
    for value in node.inputs:
        if value is None:
            known.append(None)
            continue
        # The content of weights says nothing of shapes.
        tells = value.dtype in _INTEGERS or node.op_type in _READ_FLOATS
        known += (value.type, shape_of(value), value.const_value if tells else None)
    return known


def _onnx_round(model: ir.Model) -> int:
    import onnx

    proto = _skeleton(model)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, check_type=False, strict_mode=False, data_prop=False)
        if not _holds_long_list(inferred.graph):
            inferred = onnx.shape_inference.infer_shapes(proto, check_type=False, strict_mode=False, data_prop=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError):
        # One operator that the onnx package cannot digest must not cost the rest: node by node instead.
        inferred = None
    if inferred is None:
        return sum(infer_node(node) for node in nodes_of(model.graph))
    # The onnx package counts its symbols from zero in every call; a number of our own keeps calls apart.
    run = model.meta[_RUNS] = model.meta.get(_RUNS, 0) + 1
    theirs = {str(d.value) for v in model.graph.inputs for d in v.shape or () if not isinstance(d, int)}

    def renamed(name: str) -> str:
        made_up = name.startswith(_THEIRS) and name not in theirs
        return name.replace(_THEIRS, f"{MADE_UP}{run}_", 1) if made_up else name

    return _merge(model.graph, inferred.graph, renamed)


def _holds_long_list(graph: onnx.GraphProto) -> bool:
    """Whether a tensor of one axis is so long that nobody means it as a shape."""
    shapes = (v.type.tensor_type.shape.dim for v in (*graph.value_info, *graph.input, *graph.output))
    if any(len(dims) == 1 and dims[0].dim_value > _LONG for dims in shapes):
        return True
    inner = (a.g for node in graph.node for a in node.attribute if a.HasField("g"))
    return any(_holds_long_list(body) for body in inner)


def _skeleton(model: ir.Model) -> onnx.ModelProto:
    """The model without large weights and without what it only declares of interior values."""
    proto = to_light_proto(model, _SMALL)
    _forget(proto.graph, model.graph)
    inputs = {v.name: v for v in proto.graph.input}
    for value in model.graph.inputs:
        if value.shape is None or value.is_initializer() or not isinstance(value.type, ir.TensorType):
            continue
        dims = [d if isinstance(d, int) else d.value for d in value.shape]
        if any(anonymous(d) for d in dims):
            dims = [f"{value.name}.{axis}" if anonymous(d) else d for axis, d in enumerate(dims)]
            if shape_of(value) != dims:
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
    believed.update(v.name for node in graph if not has_schema(node) for v in node.outputs)
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
                    proven = shape_of(value)
                    if not given.type.HasField("tensor_type"):
                        continue
                    if proven is None:
                        given.type.tensor_type.ClearField("shape")
                    else:
                        _write_dims(given.type, [d if isinstance(d, int) else d.value for d in proven])
                _forget(body, attribute.value)


def _merge(graph: ir.Graph, proto: onnx.GraphProto, renamed: Callable[[str], str]) -> int:
    infos = {v.name: v for v in (*proto.value_info, *proto.output)}
    learnt = 0
    for node, node_proto in zip(graph, proto.node, strict=True):
        for value in node.outputs:
            info = infos.get(value.name or "")
            if info is not None:
                learnt += learn_proto(value, info.type, renamed)
        if any(True for _ in bodies(node)):
            inner = {a.name: a for a in node_proto.attribute}
            for name, attribute in node.attributes.items():
                if attribute.type == ir.AttributeType.GRAPH and not attribute.is_ref():
                    body = inner[name].g
                    for value, given in zip(attribute.value.inputs, body.input, strict=True):
                        learnt += learn_proto(value, given.type, renamed)
                    learnt += _merge(attribute.value, body, renamed)
    return learnt
