"""The channel graph of a model: shapes at the sizes it will run at, then every node's relations."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

import graphopt.channels.operators  # noqa: F401 (registers what operators say)
from graphopt.channels.graph import ChannelGraph, UnknownShape
from graphopt.channels.registry import relation_of
from graphopt.channels.shuffle import find_shuffles
from graphopt.ir.edit import constant, nodes_of, static_shape
from graphopt.ir.infer import infer_shapes

_INTERFACE = "it is an {} of the model"


def sizes(model: ir.Model, inputs: Mapping[str, tuple[int, ...]]) -> dict[ir.Value, tuple[int, ...]]:
    """The shape of every value at given shapes of the inputs, as far as inference proves it.

    Args:
        model: left as it is.
        inputs: shapes of inputs by name; an input that is not there keeps its own shape.
    """
    copy = model.clone()
    for value in copy.graph.inputs:
        if value.name in inputs and isinstance(value.type, ir.TensorType):
            value.shape = ir.Shape(inputs[value.name or ""])
            value.meta.data.pop("graphopt.shape", None)
    copy.meta.data.pop("graphopt.inferences", None)
    for node in nodes_of(copy.graph):
        node.meta.data.pop("graphopt.seen", None)
        for value in node.outputs:
            value.meta.data.pop("graphopt.shape", None)
            value.meta.data.pop("graphopt.partial", None)
    infer_shapes(copy)
    found: dict[ir.Value, tuple[int, ...]] = {}
    for mine, other in zip(values_of(model), values_of(copy), strict=True):
        shape = static_shape(other)
        if shape is not None:
            found[mine] = shape
    return found


def channel_graph(model: ir.Model, shapes: Mapping[ir.Value, tuple[int, ...]]) -> ChannelGraph:
    """Relate all axes of a model.

    Args:
        model: only looked at.
        shapes: as `sizes` gives them.
    """
    graph = ChannelGraph(shapes)
    inside = find_shuffles(model, graph)
    for node in nodes_of(model.graph):
        if node in inside:
            continue
        function = relation_of(node)
        values = (*node.inputs, *node.outputs)
        if function is None:
            graph.pin_all(values, f"nothing is known of the operator {node.op_type}")
            continue
        try:
            function(node, graph)
        except UnknownShape as unknown:
            graph.pin_all(values, str(unknown))
        except (ValueError, IndexError):
            graph.pin_all(values, f"the shapes at {node.name or node.op_type!r} do not go together")
    for value in {axis.owner: None for axis in graph.axes}:
        tensor = constant(value) if isinstance(value, ir.Value) else None
        if tensor is not None and isinstance(value, ir.Value) and not is_weight(value):
            graph.pin_all([value], "it is counted or compared with whole numbers")
    graph.pin_all(model.graph.inputs, _INTERFACE.format("input"))
    graph.pin_all(model.graph.outputs, _INTERFACE.format("output"))
    return graph


def values_of(model: ir.Model) -> list[ir.Value]:
    """All values in an order that a copy of the model repeats."""
    found: dict[ir.Value, None] = dict.fromkeys(model.graph.inputs)
    found.update(dict.fromkeys(model.graph.initializers.values()))
    for node in nodes_of(model.graph):
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH and not attribute.is_ref():
                found.update(dict.fromkeys(attribute.value.inputs))
                found.update(dict.fromkeys(attribute.value.initializers.values()))
        found.update(dict.fromkeys(node.outputs))
    return list(found)


def is_weight(value: ir.Value | None) -> bool:
    """Whether a value is a constant of floating point or of few bits, as weights are."""
    tensor = constant(value)
    return tensor is not None and (tensor.dtype.is_floating_point() or tensor.dtype.itemsize == 1)
