"""Recurrent layers: a hidden unit leaves with its rows in every gate and its column in the recurrence."""

from __future__ import annotations

import onnx_ir as ir

from graphopt.channels.cut import Cut
from graphopt.channels.graph import ChannelGraph
from graphopt.channels.operators.common import flag, present, value_of
from graphopt.channels.registry import relate, repair

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_STEPS = "it is the order of the steps"


@relate("LSTM", "GRU", "RNN")
def recurrent(node: ir.Node, graph: ChannelGraph) -> None:
    """W [directions, gates × hidden, input], R [directions, gates × hidden, hidden]; hidden is common to all."""
    x, w, r = node.inputs[0], node.inputs[1], node.inputs[2]
    assert x is not None
    assert w is not None
    assert r is not None
    gates = _GATES[node.op_type]
    hidden = graph.inner(node, "hidden", graph.shape(r)[2])
    for value in (w, r):
        _rows(graph, node, value, gates)
    graph.same(graph.axis(r, 2), hidden)
    graph.same(graph.axis(x, 2), graph.axis(w, 2), kind="summed")
    bias, peephole = value_of(node, 3), value_of(node, 7)
    if bias is not None:
        _rows(graph, node, bias, 2 * gates)
    if peephole is not None:
        _rows(graph, node, peephole, 3)
    states = [value_of(node, 5), value_of(node, 6), *(out for out in node.outputs if out in graph.shapes)]
    for value in present(states):
        graph.same(graph.axis(value, -1), hidden)
    batch_first = flag(node, "layout")
    batch = graph.axis(x, 0 if batch_first else 1)
    for value in present([x, w, r, bias, peephole, value_of(node, 4), *states]):
        for axis in range(len(graph.shape(value))):
            one = graph.axis(value, axis)
            if one.size != 1 and not (axis == len(graph.shape(value)) - 1 or (value in (w, r) and axis == 1)):
                graph.pin(one, _STEPS)
    graph.pin(batch, _STEPS)


@repair("LSTM", "GRU", "RNN")
def hidden_size(node: ir.Node, cut: Cut) -> None:
    """The hidden units that are left."""
    left = cut.left(node, "hidden")
    if left is not None:
        cut.set(node, "hidden_size", left)


def _rows(graph: ChannelGraph, node: ir.Node, value: ir.Value, blocks: int) -> None:
    axis, hidden = graph.axis(value, 1), graph.find(node, "hidden")
    assert hidden is not None
    gate = graph.inner(node, f"{blocks} gates", blocks)
    graph.pin(gate, "they are the gates of a recurrent layer")
    graph.product(axis, [gate, hidden])
