"""Convolutions: grouped, depthwise, transposed, integer, deformable."""

from __future__ import annotations

import onnx_ir as ir

from graphopt.channels.cut import Cut
from graphopt.channels.graph import ChannelGraph
from graphopt.channels.operators.common import WINDOW, along, flag, value_of
from graphopt.channels.registry import relate, repair

_OPERANDS = {"QLinearConv": (0, 3), "DeformConv": (0, 1)}
_PER_OUTPUT = {"Conv": (2,), "ConvInteger": (3,), "QLinearConv": (4, 5, 8), "DeformConv": (3,)}
"""Inputs with one entry an output channel."""


@relate("Conv", "ConvInteger", "QLinearConv", "DeformConv")
@relate("FusedConv", domain="com.microsoft")
def conv(node: ir.Node, graph: ChannelGraph) -> None:
    """Input channels are groups × W[1], output channels groups × filters of a group."""
    at, of_weight = _OPERANDS.get(node.op_type, (0, 1))
    x, w, y = node.inputs[at], node.inputs[of_weight], node.outputs[0]
    assert x is not None
    assert w is not None
    groups = flag(node, "group", 1)
    group = graph.inner(node, "group", groups)
    graph.same(graph.axis(x, 0), graph.axis(y, 0))
    graph.product(graph.axis(x, 1), [group, graph.axis(w, 1)])
    graph.product(graph.axis(w, 0), [group, graph.inner(node, "filters", graph.shape(w)[0] // groups)])
    graph.same(graph.axis(w, 0), graph.axis(y, 1))
    for index in _PER_OUTPUT.get(node.op_type, (2,)):
        along(graph, value_of(node, index), y, 1)
    _pin_windows(graph, x, w, y)
    if node.op_type == "DeformConv":
        graph.pin_all((value_of(node, 2), value_of(node, 4)), "it places the windows")
    if node.op_type == "FusedConv":
        graph.pin_all((value_of(node, 3),), "it is added inside a fused operator")


@relate("ConvTranspose")
def conv_transpose(node: ir.Node, graph: ChannelGraph) -> None:
    """Input channels are groups × inputs of a group, output channels groups × W[1]."""
    x, w, y = node.inputs[0], node.inputs[1], node.outputs[0]
    assert x is not None
    assert w is not None
    groups = flag(node, "group", 1)
    group = graph.inner(node, "group", groups)
    graph.same(graph.axis(x, 0), graph.axis(y, 0))
    graph.same(graph.axis(x, 1), graph.axis(w, 0))
    graph.product(graph.axis(w, 0), [group, graph.inner(node, "inputs", graph.shape(w)[0] // groups)])
    graph.product(graph.axis(y, 1), [group, graph.axis(w, 1)])
    along(graph, value_of(node, 2), y, 1)
    _pin_windows(graph, x, w, y)


@repair("Conv", "ConvInteger", "QLinearConv", "DeformConv", "ConvTranspose")
@repair("FusedConv", domain="com.microsoft")
def groups(node: ir.Node, cut: Cut) -> None:
    """The groups that are left."""
    left = cut.left(node, "group")
    if left is not None:
        cut.set(node, "group", left)


def _pin_windows(graph: ChannelGraph, *values: ir.Value) -> None:
    for value in values:
        for axis in range(2, len(graph.shape(value))):
            graph.pin(graph.axis(value, axis), WINDOW)
