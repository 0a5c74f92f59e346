"""Bodies: what a branch of an If computes is what comes out; what a loop carries is pinned."""

from __future__ import annotations

import onnx_ir as ir

from graphopt.channels.graph import ChannelGraph
from graphopt.channels.operators.common import present
from graphopt.channels.registry import relate
from graphopt.ir.edit import bodies


@relate("If")
def branch(node: ir.Node, graph: ChannelGraph) -> None:
    """Outputs of both branches are the outputs of the node."""
    for body in bodies(node):
        for inside, out in zip(body.outputs, node.outputs, strict=True):
            if inside not in graph.shapes or graph.shapes.get(out) != graph.shape(inside):
                graph.pin_all((inside, out), "the branches of an If differ in shape")
                continue
            for axis in range(len(graph.shape(out))):
                graph.same(graph.axis(inside, axis), graph.axis(out, axis))


@relate("Loop", "Scan", "SequenceMap")
def loop(node: ir.Node, graph: ChannelGraph) -> None:
    """What goes from turn to turn, in and out is pinned; what the body reads from outside is not."""
    graph.pin_all(present([*node.inputs, *node.outputs]), "a loop carries it")
    for body in bodies(node):
        graph.pin_all([*body.inputs, *body.outputs], "a loop carries it")
