"""Choosing and joining entries: Concat, Split, Slice, Gather, Pad and their like, by exact indices."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.channels.cut import Cut
from graphopt.channels.graph import Cells, ChannelGraph
from graphopt.channels.operators.common import ORDER, flag, follow, integers, is_computed, present, value_of
from graphopt.channels.registry import relate, repair
from graphopt.ir.edit import constant


@relate("Concat")
def concat(node: ir.Node, graph: ChannelGraph) -> None:
    """Inputs follow each other on one axis."""
    y = node.outputs[0]
    rank = len(graph.shape(y))
    axis = flag(node, "axis") % rank
    start = 0
    for x in present(node.inputs):
        follow(graph, x, y, [(one, one) for one in range(rank) if one != axis])
        size = graph.shape(x)[axis]
        graph.same(graph.axis(x, axis), graph.axis(y, axis), at_b=np.arange(start, start + size), kind="concat")
        start += size


@relate("Split")
def split(node: ir.Node, graph: ChannelGraph) -> None:
    """Outputs follow each other on one axis."""
    x = node.inputs[0]
    assert x is not None
    rank = len(graph.shape(x))
    axis = flag(node, "axis") % rank
    start = 0
    for y in node.outputs:
        follow(graph, x, y, [(one, one) for one in range(rank) if one != axis])
        size = graph.shape(y)[axis]
        graph.same(graph.axis(x, axis), graph.axis(y, axis), at_a=np.arange(start, start + size), kind="split")
        start += size


@repair("Split")
def split_sizes(node: ir.Node, cut: Cut) -> None:
    """The sizes of the parts that are left."""
    axis = flag(node, "axis")
    parts = [cut.graph.axis(y, axis) for y in node.outputs]
    if not any(cut.changed(part) for part in parts):
        return
    sizes = [len(cut.kept(part)) for part in parts]
    if cut.opset(node) < 13:
        cut.set(node, "split", sizes)
    else:
        node.attributes.pop("num_outputs", None)
        cut.constant(node, 1, sizes)


@relate("Slice")
def slice_(node: ir.Node, graph: ChannelGraph) -> None:
    """A regular choice of entries on some axes."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    rank = len(graph.shape(x))
    taken = _taken(node, graph.shape(x))
    axes = integers(node, "axes", 3)
    for axis in range(rank):
        one, other = graph.axis(x, axis), graph.axis(y, axis)
        if taken is not None and axis in taken:
            graph.same(one, other, at_a=taken[axis], kind="slice")
        elif taken is not None or (axes is not None and axis not in {a % rank for a in axes}):
            graph.same(one, other)
        else:
            graph.pin(one, "where it is sliced is computed")
            graph.pin(other, "where it is sliced is computed")


@repair("Slice")
def slice_bounds(node: ir.Node, cut: Cut) -> None:
    """Bounds among the entries that are left; entries that are no longer regular are gathered first."""
    x = node.inputs[0]
    assert x is not None
    taken = _taken(node, cut.graph.shape(x))
    if taken is None or not any(cut.changed(cut.graph.axis(x, axis)) for axis in taken):
        return
    starts, ends, steps = [], [], []
    for axis, chosen in taken.items():
        one = cut.graph.axis(x, axis)
        places = cut.places(one, chosen)
        strides = np.unique(np.diff(places))
        if len(strides) > 1:
            cut.gather_before(node, 0, axis, places)
            places, strides = np.arange(len(places)), np.array([1])
        stride = int(strides[0]) if len(strides) else 1
        end = int(places[-1]) + stride
        starts.append(int(places[0]))
        ends.append(end if end >= 0 else -(2**31))
        steps.append(stride)
    if cut.opset(node) < 10:
        # Versions before 10 know no steps; what they slice is contiguous and stays so.
        for name, found in (("starts", starts), ("ends", ends), ("axes", list(taken))):
            cut.set(node, name, found)
        return
    for place, found in enumerate((starts, ends, list(taken), steps), 1):
        cut.constant(node, place, found)


def _taken(node: ir.Node, shape: tuple[int, ...]) -> dict[int, Cells] | None:
    """The indices that a Slice takes of each axis it names; None where they are computed."""
    starts, ends = integers(node, "starts", 1), integers(node, "ends", 2)
    if starts is None or ends is None or is_computed(node, 3) or is_computed(node, 4):
        return None
    axes = integers(node, "axes", 3) or list(range(len(starts)))
    steps = integers(node, "steps", 4) or [1] * len(starts)
    found = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = shape[axis]
        # ONNX clamps to the range itself, Python counts what is below zero from the end.
        low = max(start + size, 0) if start < 0 else start
        high = (end + size if end + size >= 0 else None) if end < 0 else end
        if step > 0 and high is None:
            high = 0
        found[axis % len(shape)] = np.arange(size)[slice(low, high, step)]
    return found


@relate("Gather")
def gather(node: ir.Node, graph: ChannelGraph) -> None:
    """Entries by number; numbers that are computed pin the axis, as the words of an embedding."""
    x, index, y = node.inputs[0], node.inputs[1], node.outputs[0]
    assert x is not None
    assert index is not None
    rank, places = len(graph.shape(x)), len(graph.shape(index))
    axis = flag(node, "axis") % rank
    follow(graph, x, y, [(one, one if one < axis else one + places - 1) for one in range(rank) if one != axis])
    tensor = constant(index)
    if tensor is None:
        graph.pin(graph.axis(x, axis), "its entries are looked up by number")
        follow(graph, index, y, [(one, axis + one) for one in range(places)])
        return
    chosen = tensor.numpy().reshape(-1).astype(np.int64) % max(graph.shape(x)[axis], 1)
    if places == 0:
        graph.pin(graph.axis(x, axis), "it is taken by itself", chosen)
        return
    whole = graph.inner(node, "chosen", len(chosen))
    graph.same(graph.axis(x, axis), whole, at_a=chosen, kind="gather")
    graph.product(whole, [graph.axis(y, axis + one) for one in range(places)])


@repair("Gather")
def gather_indices(node: ir.Node, cut: Cut) -> None:
    """The numbers of the entries that are left."""
    x, index, y = node.inputs[0], node.inputs[1], node.outputs[0]
    tensor = constant(index)
    assert x is not None
    axis = flag(node, "axis") % len(cut.graph.shape(x))
    if tensor is None:
        return
    table = tensor.numpy()
    of_index = [cut.graph.axis(y, axis + one) for one in range(table.ndim)]
    if not any(cut.changed(one) for one in (cut.graph.axis(x, axis), *of_index)):
        return
    for place, one in enumerate(of_index):
        table = table.take(cut.kept(one), axis=place)
    size = max(cut.graph.shape(x)[axis], 1)
    cut.constant(node, 1, cut.numbers(cut.graph.axis(x, axis))[table.astype(np.int64) % size].astype(table.dtype))


@relate("Pad")
def pad(node: ir.Node, graph: ChannelGraph) -> None:
    """Entries are set before and behind, or taken away; what mirrors its neighbors is pinned."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    mode = node.attributes["mode"].as_string() if "mode" in node.attributes else "constant"
    pads = _pads(node, graph.shape(x))
    if pads is None:
        axes = integers(node, "", 3)
        rank = len(graph.shape(x))
        beside = [a for a in range(rank) if axes is not None and a not in {b % rank for b in axes}]
        follow(graph, x, y, [(a, a) for a in beside])
        for axis in range(rank):
            if axis not in beside:
                graph.pin(graph.axis(x, axis), "how far it is padded is computed")
                graph.pin(graph.axis(y, axis), "how far it is padded is computed")
        return
    for axis, (before, behind) in enumerate(pads):
        one, other = graph.axis(x, axis), graph.axis(y, axis)
        inside = np.arange(max(-before, 0), one.size - max(-behind, 0))
        graph.same(one, other, inside, inside + before, kind="pad")
        if mode != "constant" and (before or behind):
            graph.pin(one, ORDER)
            graph.pin(other, ORDER)


@repair("Pad")
def pad_sizes(node: ir.Node, cut: Cut) -> None:
    """What is left of the padding on each axis."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    pads = _pads(node, cut.graph.shape(x))
    if pads is None or not any(cut.changed(cut.graph.axis(y, axis)) for axis in range(len(pads))):
        return
    new = []
    for axis, (before, behind) in enumerate(pads):
        one, other = cut.graph.axis(x, axis), cut.graph.axis(y, axis)
        kept, left = cut.kept(one), cut.kept(other)
        front = int(np.sum(left < before)) if before > 0 else -int(np.sum(kept < -before))
        back = int(np.sum(left >= other.size - behind)) if behind > 0 else -int(np.sum(kept >= one.size + behind))
        new.append((front, back))
    flat = [front for front, _ in new] + [back for _, back in new]
    if "pads" in node.attributes:
        cut.set(node, "pads", flat)
        return
    cut.constant(node, 1, flat)
    if value_of(node, 3) is not None:
        cut.constant(node, 3, list(range(len(pads))))


def _pads(node: ir.Node, shape: tuple[int, ...]) -> list[tuple[int, int]] | None:
    found = integers(node, "pads", 1)
    if found is None or is_computed(node, 3):
        return None
    axes = integers(node, "", 3) or list(range(len(shape)))
    pads = [(0, 0)] * len(shape)
    for place, axis in enumerate(axes):
        pads[axis] = (found[place], found[place + len(axes)])
    return pads


@relate("GatherElements", "ScatterElements", "Scatter", "GatherND", "ScatterND", "ReverseSequence", "OneHot")
def by_place(node: ir.Node, graph: ChannelGraph) -> None:
    """Whole slices moved by computed places let their inner axes through; all else is pinned."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    values = present([*node.inputs, *node.outputs])
    index = value_of(node, 1)
    if node.op_type not in ("GatherND", "ScatterND") or index is None:
        graph.pin_all(values, "its entries are looked up by number")
        return
    first = graph.shape(index)[-1] + flag(node, "batch_dims")
    inner = len(graph.shape(x)) - first
    moved = [y] if node.op_type == "GatherND" else present([y, value_of(node, 2)])
    for value in moved:
        follow(graph, x, value, [(-back, -back) for back in range(1, inner + 1)])
    for value in (x, index, *moved):
        rank = len(graph.shape(value))
        for axis in range(rank if value is index else rank - inner):
            graph.pin(graph.axis(value, axis), "its entries are looked up by number")
