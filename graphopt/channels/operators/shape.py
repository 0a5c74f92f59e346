"""Views: Reshape, Transpose, Expand and what asks for shapes."""

from __future__ import annotations

import onnx_ir as ir

from graphopt.channels.cut import Cut
from graphopt.channels.graph import ChannelGraph
from graphopt.channels.operators.common import align, flatten, integers, is_computed
from graphopt.channels.registry import relate, repair
from graphopt.ir.edit import readers

_SIZED = {
    "Reshape": (1,), "Expand": (1,), "Tile": (1,), "Slice": (1, 2, 3, 4), "Split": (1,), "Resize": (3,),
    "ConstantOfShape": (0,), "Pad": (1,), "CenterCropPad": (1,), "Unsqueeze": (1,), "Squeeze": (1,),
}  # fmt: skip
"""Inputs that are sizes or places."""
_ARITHMETIC = (
    "Gather", "Concat", "Squeeze", "Unsqueeze", "Identity", "Slice", "Add", "Sub", "Mul", "Div", "Mod", "Max", "Min",
    "Cast", "Reshape", "Split", "Neg", "Where", "Equal", "ReduceProd", "Abs",
)  # fmt: skip


@relate("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def view(node: ir.Node, graph: ChannelGraph) -> None:
    """The same elements in the same order."""
    x = node.inputs[0]
    assert x is not None
    flatten(graph, x, node.outputs[0], node)


@relate("Transpose")
def transpose(node: ir.Node, graph: ChannelGraph) -> None:
    """Axes in another order."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    order = integers(node, "perm") or list(range(len(graph.shape(x))))[::-1]
    for place, axis in enumerate(order):
        graph.same(graph.axis(x, axis), graph.axis(y, place), kind="permuted")


@relate("Expand")
def expand(node: ir.Node, graph: ChannelGraph) -> None:
    """Axes of one entry are repeated."""
    x = node.inputs[0]
    assert x is not None
    align(graph, x, node.outputs[0])


@relate("Tile")
def tile(node: ir.Node, graph: ChannelGraph) -> None:
    """An axis of the output is repeats × the axis."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    if is_computed(node, 1):
        graph.pin_all((x, y), "how often it is repeated is computed")
        return
    for axis, size in enumerate(graph.shape(x)):
        repeats = graph.inner(node, f"repeats {axis}", graph.shape(y)[axis] // size if size else 1)
        if size:
            graph.product(graph.axis(y, axis), [repeats, graph.axis(x, axis)])


@relate("ConstantOfShape", "RandomNormal", "RandomUniform", "Constant")
def made(node: ir.Node, graph: ChannelGraph) -> None:
    """Made from nothing: its axes are what their readers want; a generator's numbers would change with its shape."""
    if node.op_type.startswith("Random"):
        graph.pin_all(node.outputs, "its numbers are drawn in order")
    else:
        graph.shape(node.outputs[0])


@relate("Shape")
def shape_of(node: ir.Node, graph: ChannelGraph) -> None:
    """Sizes may change where they only become sizes again; where a number is computed from them, they stay."""
    if not _only_sizes(node.outputs[0]):
        graph.pin_all(node.inputs, "a number is computed from its size")
    graph.pin_all(node.outputs, "it holds sizes")


@relate("Size")
def size_of(node: ir.Node, graph: ChannelGraph) -> None:
    """The number of elements."""
    graph.pin_all(node.inputs, "its elements are counted")


def _only_sizes(value: ir.Value) -> bool:
    waiting, seen = [value], {value}
    while waiting:
        one = waiting.pop()
        if one.is_graph_output():
            return False
        for node in readers(one):
            places = _SIZED.get(node.op_type, ())
            if not node.domain and any(node.inputs[place] is one for place in places if place < len(node.inputs)):
                continue
            if node.domain or node.op_type not in _ARITHMETIC or not _integer(node):
                return False
            for out in node.outputs:
                if out not in seen:
                    seen.add(out)
                    waiting.append(out)
    return True


def _integer(node: ir.Node) -> bool:
    return all(out.dtype is None or out.dtype.is_integer() or out.dtype == ir.DataType.BOOL for out in node.outputs)


@repair("Reshape", "Expand")
def target(node: ir.Node, cut: Cut) -> None:
    """The shape that is asked for."""
    cut.sizes(node, 1, node.outputs[0])


@repair("ConstantOfShape")
def constant_of_shape(node: ir.Node, cut: Cut) -> None:
    """The shape that is asked for."""
    cut.sizes(node, 0, node.outputs[0])


@repair("Tile")
def repeats(node: ir.Node, cut: Cut) -> None:
    """The repeats that are left."""
    rank = len(cut.graph.shape(node.outputs[0]))
    left = [cut.left(node, f"repeats {axis}") for axis in range(rank)]
    if any(one is not None for one in left):
        old = integers(node, "", 1) or [1] * rank
        cut.constant(node, 1, [before if now is None else now for before, now in zip(old, left, strict=True)])
