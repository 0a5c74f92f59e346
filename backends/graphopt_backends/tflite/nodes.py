"""Lower the nodes of one graph, each through the registry, and collect every complaint."""

from __future__ import annotations

import onnx_ir as ir

from graphopt.support.backend import NodeIssue
from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.integer import lower_integer
from graphopt_backends.tflite.layout import Layout
from graphopt_backends.tflite.registry import Decline, lowerings, name_of, operator_of


class Unwritten(Decline):
    """The node only fails because of others, which are named elsewhere or in `issues`.

    Attributes:
        issues: complaints about nodes inside of this one.
    """

    def __init__(self, message: str, issues: list[NodeIssue] | None = None) -> None:
        super().__init__(message)
        self.issues = issues or []


def lower_nodes(graph: ir.Graph, e: Emitter) -> list[NodeIssue]:
    """Write all nodes of `graph` with `e`; what is not taken, in the order of the graph."""
    issues: list[NodeIssue] = []
    for node in graph:
        if node not in e.done:
            issues += _lower_node(node, e)
    return issues


def _lower_node(node: ir.Node, e: Emitter) -> list[NodeIssue]:
    e.origin, e.taken = name_of(node), []
    try:
        if any(value is not None and value in e.broken for value in node.inputs):
            raise Unwritten("an input was not written")
        function = lowerings().get(operator_of(node))
        if function is None:
            raise Decline(f"{operator_of(node)} has no lowering to LiteRT's builtin operators")
        if not lower_integer(node, function, e):
            function(node, e)
    except Unwritten as unwritten:
        _stand_in(node, e)
        return unwritten.issues
    except Decline as decline:
        _stand_in(node, e)
        return [NodeIssue(name_of(node), node.op_type, str(decline))]
    e.done.update(e.taken)
    return []


def _stand_in(node: ir.Node, e: Emitter) -> None:
    """Give the outputs of a declined node empty tensors, so that the nodes after it are judged too."""
    for output in node.outputs:
        try:
            e.write(output, e.flat.tensor(e.shape(output), e.dtype(output)))
        except Decline:
            e.broken.add(output)


def own_tensor(e: Emitter, value: ir.Value, taken: set[int], where: Layout | None = None) -> int:
    """The tensor of an output of a graph: its own, never an input, a constant or another output.

    Args:
        e: the emitter of the graph.
        value: the output.
        taken: inputs and outputs so far; the tensor is added.
        where: the layout, by default ONNX's own.
    """
    tensor = e.read(value, where)
    if tensor in taken or e.flat.tensors[tensor].data is not None:
        tensor = e.copy(tensor)
    taken.add(tensor)
    return tensor
