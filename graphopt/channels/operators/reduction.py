"""Reductions and orders along an axis."""

from __future__ import annotations

import onnx_ir as ir

from graphopt.channels.graph import ChannelGraph
from graphopt.channels.operators.common import ORDER, flag, follow, integers, is_computed
from graphopt.channels.registry import relate

_SUMS = ("ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare")
"""An entry that leaves takes away just what it contributed."""
_OTHERS = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceLogSum", "ReduceLogSumExp")


@relate(*_SUMS, *_OTHERS)
def reduce(node: ir.Node, graph: ChannelGraph) -> None:
    """Axes that are not reduced correspond; a mean or a maximum over those that are is mixed."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    rank = len(graph.shape(x))
    if is_computed(node, 1):
        graph.pin_all((x, y), "which axes are reduced is computed")
        return
    axes = integers(node, "axes", 1)
    if not axes and flag(node, "noop_with_empty_axes"):
        follow(graph, x, y, [(axis, axis) for axis in range(rank)])
        return
    reduced = {axis % rank for axis in axes} if axes else set(range(rank))
    _beside(node, graph, x, y, reduced)
    if node.op_type not in _SUMS:
        for axis in reduced:
            graph.mix(graph.axis(x, axis))


@relate("ArgMax", "ArgMin")
def arg(node: ir.Node, graph: ChannelGraph) -> None:
    """The places along the axis are the answer."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    axis = flag(node, "axis") % len(graph.shape(x))
    graph.pin(graph.axis(x, axis), ORDER)
    _beside(node, graph, x, y, {axis})


def _beside(node: ir.Node, graph: ChannelGraph, x: ir.Value, y: ir.Value, reduced: set[int]) -> None:
    kept = [axis for axis in range(len(graph.shape(x))) if axis not in reduced]
    follow(graph, x, y, [(axis, axis if flag(node, "keepdims", 1) else place) for place, axis in enumerate(kept)])


@relate("TopK")
def top_k(node: ir.Node, graph: ChannelGraph) -> None:
    """Sorted along one axis."""
    x = node.inputs[0]
    assert x is not None
    rank = len(graph.shape(x))
    axis = flag(node, "axis", -1) % rank
    for out in node.outputs:
        if out in graph.shapes:
            follow(graph, x, out, [(one, one) for one in range(rank) if one != axis])
            graph.pin(graph.axis(out, axis), ORDER)
    graph.pin(graph.axis(x, axis), ORDER)


@relate("CumSum", "CumProd")
def running(node: ir.Node, graph: ChannelGraph) -> None:
    """Running along an axis; which one may be computed."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    rank = len(graph.shape(x))
    follow(graph, x, y, [(one, one) for one in range(rank)])
    axes = integers(node, "", 1)
    for axis in range(rank) if axes is None else axes:
        graph.pin(graph.axis(x, axis), ORDER)


@relate("Trilu")
def trilu(node: ir.Node, graph: ChannelGraph) -> None:
    """A triangle of the last two axes."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    follow(graph, x, y, [(one, one) for one in range(len(graph.shape(x)))])
    for axis in (-2, -1):
        graph.pin(graph.axis(x, axis), ORDER)
