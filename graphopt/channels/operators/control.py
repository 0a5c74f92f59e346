"""Bodies: what a branch of an If computes comes out; what a loop carries has the same channels in every turn."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from graphopt.channels.graph import ChannelGraph
from graphopt.channels.operators.common import flag, follow, integers, present
from graphopt.channels.registry import relate
from graphopt.ir.edit import bodies, opset

_CARRIED = "a loop carries it, and its shape changes or is not known"
_TURNS = "a loop goes over it"


@relate("If")
def branch(node: ir.Node, graph: ChannelGraph) -> None:
    """Outputs of both branches are the outputs of the node."""
    for body in bodies(node):
        for inside, out in zip(body.outputs, node.outputs, strict=True):
            _alike(graph, (inside, out), "the branches of an If differ in shape")


@relate("Loop")
def loop(node: ir.Node, graph: ChannelGraph) -> None:
    """The body makes of (turn, condition, carried …) what it hands on: (condition, carried …, stacked rows …)."""
    (body,) = bodies(node)
    carried = len(node.inputs) - 2
    graph.pin_all([*body.inputs[:2], *body.outputs[:1]], _TURNS)
    _carry(graph, (node.inputs[2:], body.inputs[2:], body.outputs[1 : 1 + carried], node.outputs[:carried]))
    for inside, out in zip(body.outputs[1 + carried :], node.outputs[carried:], strict=True):
        _stack(graph, inside, out, 0)


@relate("Scan")
def scan(node: ir.Node, graph: ChannelGraph) -> None:
    """States first, then what is taken apart along an axis; the same of the outputs."""
    (body,) = bodies(node)
    if opset(node) < 9:
        graph.pin_all(present([*node.inputs, *node.outputs, *body.inputs, *body.outputs]), _TURNS)
        return
    states = len(node.inputs) - flag(node, "num_scan_inputs")
    _carry(graph, (node.inputs[:states], body.inputs[:states], body.outputs[:states], node.outputs[:states]))
    parts = (
        (node.inputs[states:], body.inputs[states:], "scan_input_axes"),
        (node.outputs[states:], body.outputs[states:], "scan_output_axes"),
    )
    for wholes, insides, name in parts:
        axes = integers(node, name) or [0] * len(wholes)
        for whole, inside, axis in zip(wholes, insides, axes, strict=True):
            if whole is not None:
                _stack(graph, inside, whole, axis)


@relate("SequenceMap")
def sequence_map(node: ir.Node, graph: ChannelGraph) -> None:
    """Members of a sequence may differ in shape; what the body reads from outside is not touched."""
    graph.pin_all(present([*node.inputs, *node.outputs]), _CARRIED)
    for body in bodies(node):
        graph.pin_all([*body.inputs, *body.outputs], _CARRIED)


def _carry(graph: ChannelGraph, places: Sequence[Sequence[ir.Value | None]]) -> None:
    """What is carried: as it enters, as a turn sees it, as a turn leaves it, as it comes out."""
    for values in zip(*places, strict=True):
        _alike(graph, present(values), _CARRIED)


def _alike(graph: ChannelGraph, values: Sequence[ir.Value], reason: str) -> None:
    """All axes of some values are the same ones; pinned where their shapes differ or are not known."""
    shapes = {graph.shapes.get(value) for value in values}
    if len(shapes) > 1 or None in shapes:
        graph.pin_all(values, reason)
        return
    for value in values[1:]:
        follow(graph, values[0], value, [(axis, axis) for axis in range(len(graph.shape(value)))])


def _stack(graph: ChannelGraph, inside: ir.Value, whole: ir.Value, axis: int) -> None:
    """The rows of a value along an axis go through the body one by one."""
    rank = len(graph.shape(whole))
    axis %= rank
    graph.pin(graph.axis(whole, axis), _TURNS)
    beside = [one for one in range(rank) if one != axis]
    follow(graph, inside, whole, list(enumerate(beside)))
