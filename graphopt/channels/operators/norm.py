"""Normalizations: parameters follow their axis; what is averaged over several channels is mixed."""

from __future__ import annotations

import onnx_ir as ir

from graphopt.channels.cut import Cut
from graphopt.channels.graph import ChannelGraph
from graphopt.channels.operators.common import ORDER, align, flag, follow, integers, present
from graphopt.channels.registry import relate, repair
from graphopt.ir.edit import opset


@relate("BatchNormalization", "InstanceNormalization")
def per_channel(node: ir.Node, graph: ChannelGraph) -> None:
    """One parameter a channel; the statistics of a channel are its own, over all that it holds."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    align(graph, x, y)
    if node.op_type == "InstanceNormalization":
        for axis in range(2, len(graph.shape(x))):
            graph.mix(graph.axis(x, axis))
    for value in present([*node.inputs[1:], *node.outputs[1:]]):
        if value in graph.shapes and len(graph.shape(value)) == 1:
            graph.same(graph.axis(value, 0), graph.axis(x, 1))


@relate("LayerNormalization", "RMSNormalization")
@relate("SimplifiedLayerNormalization", domain="com.microsoft")
@relate("SimplifiedLayerNormalization")
def layer_norm(node: ir.Node, graph: ChannelGraph) -> None:
    """Mean and variance are taken over the axes from `axis` on."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    align(graph, x, y)
    for value in present(node.inputs[1:]):
        align(graph, value, y)
    rank = len(graph.shape(x))
    for axis in range(flag(node, "axis", -1) % rank, rank):
        graph.mix(graph.axis(x, axis))
    for out in node.outputs[1:]:
        if out.name and out in graph.shapes:
            align(graph, out, y)


@relate("GroupNormalization")
def group_norm(node: ir.Node, graph: ChannelGraph) -> None:
    """Channels are groups × channels of a group; a whole group can leave without touching the others."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    align(graph, x, y)
    channels, groups = graph.shape(x)[1], flag(node, "num_groups", 1)
    group = graph.inner(node, "group", groups)
    member = graph.inner(node, "member", channels // groups)
    graph.product(graph.axis(x, 1), [group, member])
    graph.mix(member)
    for value in present(node.inputs[1:]):
        per_group = opset(node) < 21 and groups > 1
        graph.same(graph.axis(value, 0), group if per_group else graph.axis(x, 1))


@repair("GroupNormalization")
def groups(node: ir.Node, cut: Cut) -> None:
    """The groups that are left."""
    left = cut.left(node, "group")
    if left is not None:
        cut.set(node, "num_groups", left)


@relate("LpNormalization")
def lp_norm(node: ir.Node, graph: ChannelGraph) -> None:
    """Divided by a norm over one axis."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    align(graph, x, y)
    graph.mix(graph.axis(x, flag(node, "axis", -1)))


@relate("MeanVarianceNormalization")
def mean_variance(node: ir.Node, graph: ChannelGraph) -> None:
    """Normalized over some axes together."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    align(graph, x, y)
    for axis in integers(node, "axes") or [0, 2, 3]:
        graph.mix(graph.axis(x, axis))


@relate("LRN")
def local_response(node: ir.Node, graph: ChannelGraph) -> None:
    """Each channel is divided by its neighbors."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    align(graph, x, y)
    graph.pin(graph.axis(x, 1), "it is normalized with its neighbors")


@relate("Softmax", "LogSoftmax", "Hardmax")
def softmax(node: ir.Node, graph: ChannelGraph) -> None:
    """Entries along the axis share one sum."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    rank = len(graph.shape(x))
    follow(graph, x, y, [(axis, axis) for axis in range(rank)])
    flattens = opset(node) < 13
    first = flag(node, "axis", 1 if flattens else -1) % rank
    for axis in range(first, rank if flattens else first + 1):
        graph.pin(graph.axis(x, axis), ORDER)
