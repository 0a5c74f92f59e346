"""Layers that multiply by constant weights, seen alike: what they read, and which axes of the weights are what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt.channels.build import is_weight
from graphopt.channels.graph import Axis, ChannelGraph
from graphopt.channels.operators.common import flag, value_of
from graphopt.ir.edit import constant, nodes_of

RECURRENT = ("LSTM", "GRU", "RNN")
_INTEGER = {"ConvInteger": (1, 0), "QLinearConv": (3, 0), "MatMulInteger": (1, -1), "QLinearMatMul": (3, -1)}
"""Which input of an operator on integers holds its weights, and their axis of outputs."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A Conv, ConvTranspose, Gemm or MatMul with constant weights.

    Attributes:
        node: the node.
        x: what it reads.
        weight: its weights.
        along: the axis of `x` that is summed over.
        ins, outs: the axes of the weights for inputs and outputs.
        across: the axis of the output that holds the outputs.
        groups: of a grouped convolution, else 1.
    """

    node: ir.Node
    x: ir.Value
    weight: ir.Value
    along: int
    ins: int
    outs: int
    across: int
    groups: int = 1

    @property
    def y(self) -> ir.Value:
        """What it computes."""
        return self.node.outputs[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weights."""
        tensor = constant(self.weight)
        assert tensor is not None
        return tuple(tensor.shape.numpy())

    def matrix(self) -> np.ndarray:
        """The weights as float64 of shape (groups, outputs of a group, inputs of a group, taps)."""
        tensor = constant(self.weight)
        assert tensor is not None
        array = np.moveaxis(tensor.numpy().astype(np.float64), (self.outs, self.ins), (0, 1))
        outs, ins = array.shape[:2]
        if self.node.op_type == "ConvTranspose":
            return array.reshape(outs, self.groups, ins // self.groups, -1).transpose(1, 0, 2, 3)
        return array.reshape(self.groups, outs // self.groups, ins, -1)


def _rank(value: ir.Value | None) -> int:
    """The rank of weights, -1 of anything else."""
    tensor = constant(value) if is_weight(value) else None
    return -1 if tensor is None else len(tensor.shape)


def layer_of(node: ir.Node) -> Layer | None:
    """The layer that a node is, None where it is none."""
    if node.domain or node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return None
    a, b = node.inputs[0], node.inputs[1]
    if a is None or b is None:
        return None
    if node.op_type == "MatMul":
        if _rank(b) == 2:
            return Layer(node, a, b, -1, 0, 1, -1)
        if _rank(a) == 2:
            return Layer(node, b, a, -2, 1, 0, -2)
        return None
    if not is_weight(b) or is_weight(a):
        return None
    if node.op_type == "Gemm":
        turned = flag(node, "transB")
        return Layer(node, a, b, 1 - flag(node, "transA"), turned, 1 - turned, 1)
    turned = int(node.op_type == "ConvTranspose")
    return Layer(node, a, b, 1, 1 - turned, turned, 1, flag(node, "group", 1))


def layers(model: ir.Model, graph: ChannelGraph) -> list[Layer]:
    """The layers of a model whose shapes are known, in its order."""
    found = [layer for node in nodes_of(model.graph) if (layer := layer_of(node)) is not None]
    return [one for one in found if all(value in graph.shapes for value in (one.x, one.y, one.weight))]


def readers_of(model: ir.Model, graph: ChannelGraph) -> list[Layer]:
    """The layers, and recurrent layers as two each: one that reads the input, one that reads the hidden state."""
    found = layers(model, graph)
    for node in nodes_of(model.graph):
        if node.op_type not in RECURRENT:
            continue
        for value, weight in ((node.inputs[0], node.inputs[1]), (node.outputs[0], node.inputs[2])):
            if value is not None and value in graph.shapes and weight is not None and is_weight(weight):
                found.append(Layer(node, value, weight, -1, 2, 1, -1))
    return found


def producers(model: ir.Model, graph: ChannelGraph) -> list[tuple[ir.Value, Axis]]:
    """Weights with the axis of their outputs: what magnitudes are taken of."""
    found = []
    for node in nodes_of(model.graph):
        layer = layer_of(node)
        if layer is not None:
            pairs = [(layer.weight, layer.outs)]
        elif node.op_type in _INTEGER:
            place, outs = _INTEGER[node.op_type]
            value = node.inputs[place]
            pairs = [(value, outs % _rank(value))] if value is not None and is_weight(value) else []
        elif node.op_type in RECURRENT:
            pairs = [(value, 1) for place in (1, 2) if (value := value_of(node, place)) is not None]
        elif node.op_type == "Gather" and is_weight(node.inputs[0]):
            pairs = [(value, 1) for value in node.inputs[:1] if value is not None and _rank(value) == 2]
        else:
            continue
        for value, axis in pairs:
            one = graph.find(value, axis)
            if one is not None and constant(value) is not None:
                found.append((value, one))
    return found


def width_of(node: ir.Node, graph: ChannelGraph) -> Axis | None:
    """The axis of what a node with weights makes: channels, hidden units, entries of an embedding."""
    layer = layer_of(node)
    y = node.outputs[0]
    if node.op_type in RECURRENT:
        return graph.find(node, "hidden")
    if y not in graph.shapes:
        return None
    if layer is not None:
        return graph.find(y, layer.across % len(graph.shape(y)))
    if node.op_type in _INTEGER:
        return graph.find(y, 1 if "Conv" in node.op_type else len(graph.shape(y)) - 1)
    is_embedding = node.op_type == "Gather" and _rank(node.inputs[0]) == 2
    return graph.find(y, len(graph.shape(y)) - 1) if is_embedding else None
