"""Bodies of control flow as graphs of the file. They see nothing of the graph around them: what a body reads from
there goes in as one more input, and constants are written once more (their bytes are shared).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir

from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.flatbuffer import Graph
from graphopt_backends.tflite.nodes import Unwritten, lower_nodes, own_tensor


def body_of(node: ir.Node, name: str) -> ir.Graph:
    """The graph in an attribute."""
    return node.attributes[name].as_graph()


def captured(e: Emitter, graphs: Iterable[ir.Graph]) -> list[ir.Value]:
    """Values that `graphs` read from around them and that are computed at run time, each once."""
    found: dict[ir.Value, None] = {}
    for graph in graphs:
        for value in _free(graph):
            if not e.is_constant(value):
                found[value] = None
    return list(found)


def _free(graph: ir.Graph) -> list[ir.Value]:
    own = {*graph.inputs, *graph.initializers.values()}
    read: list[ir.Value] = []
    for node in graph:
        read += [value for value in node.inputs if value is not None]
        own.update(node.outputs)
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                read += _free(attribute.as_graph())
    return [value for value in [*read, *graph.outputs] if value not in own]


def enter(e: Emitter, name: str, values: Sequence[ir.Value], shapes: Sequence[Sequence[int]]) -> Emitter:
    """An emitter for a graph inside of that of `e`, whose inputs hold `values` of `shapes`."""
    inner = e.nested(Graph(name))
    for value, shape in zip(values, shapes, strict=True):
        tensor = inner.flat.tensor(shape, inner.dtype(value), name=value.name or "")
        inner.flat.inputs.append(tensor)
        inner.write(value, tensor)
    return inner


def fill(inner: Emitter, graph: ir.Graph) -> None:
    """Write the nodes of a body.

    Raises:
        Unwritten: some are not taken; it says which.
    """
    issues = lower_nodes(graph, inner)
    if issues:
        raise Unwritten("nodes of the body are not taken", issues)


def leave(inner: Emitter, values: Sequence[ir.Value]) -> list[int]:
    """The tensors of the body's outputs `values`, each its own."""
    taken = set(inner.flat.inputs)
    return [own_tensor(inner, value, taken) for value in values]
