"""Pooling, resizing and sampling: batch and channels go through, places in space are pinned."""

from __future__ import annotations

import onnx_ir as ir

from graphopt.channels.cut import Cut
from graphopt.channels.graph import ChannelGraph
from graphopt.channels.operators.common import WINDOW, flag, follow, integers, present, value_of
from graphopt.channels.registry import relate, repair


@relate("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool")
def pool(node: ir.Node, graph: ChannelGraph) -> None:
    """Windows over the axes behind the channels; places counted across channels are pinned."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    follow(graph, x, y, [(0, 0), (1, 1)])
    for value in (x, y):
        for axis in range(2, len(graph.shape(value))):
            graph.pin(graph.axis(value, axis), WINDOW)
    if len(node.outputs) > 1 and node.outputs[1].name:
        graph.pin_all([x, *node.outputs], "places are counted across channels")


@relate("GridSample", "MaxRoiPool", "RoiAlign", "Col2Im", "AffineGrid")
def sample(node: ir.Node, graph: ChannelGraph) -> None:
    """Channels of a picture are read at places that another input names."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    if node.op_type in ("Col2Im", "AffineGrid"):
        graph.pin_all(present([*node.inputs, *node.outputs]), "places are computed from it")
        return
    follow(graph, x, y, [(1, 1)])
    graph.pin_all(present(node.inputs[1:]), "places are computed from it")
    for value in (x, y):
        for axis in range(len(graph.shape(value))):
            if axis != 1:
                graph.pin(graph.axis(value, axis), WINDOW)


@relate("Resize", "Upsample")
def resize(node: ir.Node, graph: ChannelGraph) -> None:
    """Axes that keep their size correspond; the others are interpolated."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    policy = node.attributes.get("keep_aspect_ratio_policy")
    crops = node.attributes.get("coordinate_transformation_mode")
    odd = (policy is not None and policy.as_string() != "stretch") or (
        crops is not None and crops.as_string() == "tf_crop_and_resize"
    )
    if odd:
        graph.pin_all((x, y), WINDOW)
        return
    for axis, (before, after) in enumerate(zip(graph.shape(x), graph.shape(y), strict=True)):
        one, other = graph.axis(x, axis), graph.axis(y, axis)
        if before == after:
            graph.same(one, other)
        else:
            graph.pin(one, WINDOW)
            graph.pin(other, WINDOW)


@repair("Resize")
def sizes(node: ir.Node, cut: Cut) -> None:
    """The sizes that are asked for."""
    if value_of(node, 3) is not None:
        y = node.outputs[0]
        rank = len(cut.graph.shape(y))
        cut.sizes(node, 3, y, [axis % rank for axis in integers(node, "axes") or range(rank)])


@relate("CenterCropPad")
def center_crop_pad(node: ir.Node, graph: ChannelGraph) -> None:
    """Axes that are not cropped correspond."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    rank = len(graph.shape(x))
    named = {axis % rank for axis in integers(node, "axes") or range(rank)}
    follow(graph, x, y, [(axis, axis) for axis in range(rank) if axis not in named])
    for value in (x, y):
        for axis in named:
            graph.pin(graph.axis(value, axis), WINDOW)


@relate("DepthToSpace")
def depth_to_space(node: ir.Node, graph: ChannelGraph) -> None:
    """Channels are block × block × channels (DCR) or channels × block × block (CRD) of the output's."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    mode = node.attributes["mode"].as_string() if "mode" in node.attributes else "DCR"
    _blocks(node, graph, x, y, mode == "CRD")


@relate("SpaceToDepth")
def space_to_depth(node: ir.Node, graph: ChannelGraph) -> None:
    """Channels of the output are block × block × channels."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    _blocks(node, graph, y, x, False)


def _blocks(node: ir.Node, graph: ChannelGraph, deep: ir.Value, wide: ir.Value, first: bool) -> None:
    size = flag(node, "blocksize") ** 2
    block = graph.inner(node, "block", size)
    graph.pin(block, "they are neighbors in space")
    factors = [graph.axis(wide, 1), block] if first else [block, graph.axis(wide, 1)]
    graph.product(graph.axis(deep, 1), factors)
    graph.same(graph.axis(deep, 0), graph.axis(wide, 0))
    for value in (deep, wide):
        for axis in (2, 3):
            graph.pin(graph.axis(value, axis), WINDOW)
