"""Channel shuffles: a Reshape, a Transpose and a Reshape that only put the entries of one axis into another order.

Followed step by step, such a chain lets channels go only in whole rows of its table, and a net of many of them
(ShuffleNet) would not let anything go. Taken as what it is, a permutation, any channel can leave; where some do, a
Gather takes the chain's place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from graphopt.channels.graph import Cells, ChannelGraph, Shuffle
from graphopt.ir.edit import nodes_of, readers

if TYPE_CHECKING:
    from graphopt.channels.cut import Cut


def find_shuffles(model: ir.Model, graph: ChannelGraph) -> set[ir.Node]:
    """Relate what shuffles take with what they make.

    Returns:
        The nodes that this speaks for.
    """
    spoken: set[ir.Node] = set()
    for node in nodes_of(model.graph):
        if node.op_type != "Transpose" or node.domain:
            continue
        first, last = _around(node)
        if first is None or last is None:
            continue
        source, result = first.inputs[0], last.outputs[0]
        assert source is not None
        if any(value not in graph.shapes for value in (source, first.outputs[0], result)):
            continue
        shape = graph.shape(source)
        if shape != graph.shape(result):
            continue
        middle = graph.shape(first.outputs[0])
        order = node.attributes["perm"].as_ints() if "perm" in node.attributes else range(len(middle))[::-1]
        found = _one_axis(shape, middle, list(order))
        if found is None:
            continue
        axis, places = found
        graph.shuffles[last] = Shuffle(source, axis, places)
        spoken.update((first, node, last))
        for one in range(len(shape)):
            a, b = graph.axis(source, one), graph.axis(result, one)
            if one == axis:
                graph.same(a, b, at_a=places, kind="shuffled")
            else:
                graph.same(a, b)
    return spoken


def replace_shuffle(last: ir.Node, shuffle: Shuffle, cut: Cut) -> None:
    """Let a Gather of the entries that are left take the place of a shuffle."""
    places = cut.places(cut.graph.axis(shuffle.source, shuffle.axis), shuffle.order)
    chain = last.inputs[0].producer() if last.inputs[0] is not None else None
    first = chain.inputs[0].producer() if chain is not None and chain.inputs[0] is not None else None
    cut.gather_instead(last, shuffle.source, shuffle.axis, places)
    for node in (chain, first):
        if node is not None and node.graph is not None:
            node.graph.remove(node, safe=True)


def _around(node: ir.Node) -> tuple[ir.Node | None, ir.Node | None]:
    """The Reshapes before and behind a Transpose, where nobody else reads what lies between."""
    value = node.inputs[0]
    first = value.producer() if value is not None else None
    if value is None or first is None or first.op_type != "Reshape" or value.is_graph_output():
        return None, None
    behind = list(readers(node.outputs[0]))
    alone = len(list(readers(value))) == 1 and len(behind) == 1 and not node.outputs[0].is_graph_output()
    return (first, behind[0]) if alone and behind[0].op_type == "Reshape" else (None, None)


def _one_axis(shape: Sequence[int], middle: Sequence[int], order: list[int]) -> tuple[int, Cells] | None:
    """The axis that a Transpose between two Reshapes permutes, and how; None where it is not just one."""
    extra = len(middle) - len(shape)
    moved = [place for place, axis in enumerate(order) if place != axis]
    if extra < 1 or not moved:
        return None
    axis = next((one for one, (a, b) in enumerate(zip(shape, middle, strict=False)) if a != b), len(shape))
    if axis == len(shape) or min(moved) < axis or max(moved) > axis + extra:
        return None
    factors = middle[axis : axis + extra + 1]
    if math.prod(factors) != shape[axis] or list(middle[axis + extra + 1 :]) != list(shape[axis + 1 :]):
        return None
    inner = [one - axis for one in order[axis : axis + extra + 1]]
    return axis, np.arange(shape[axis]).reshape(factors).transpose(inner).reshape(-1)
