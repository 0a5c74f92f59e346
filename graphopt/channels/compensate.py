"""Recurrent layers make up for hidden units and inputs that leave: by regression on those that stay.

What a gate computes inside a recurrent layer is not seen from outside, so it cannot be fitted as other layers are. But
of x_u ≈ A x_r + c, the regression of the channels that leave on the others, follows W_u x_u ≈ W_u A x_r + W_u c: the
weights of the others and the bias take the leaving ones over.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.channels.criteria import Criteria
from graphopt.channels.graph import ChannelGraph
from graphopt.channels.layers import RECURRENT, Layer, readers_of
from graphopt.channels.operators.common import value_of
from graphopt.ir.edit import constant, readers
from graphopt.verify.types import Array


def made_up(model: ir.Model, graph: ChannelGraph, criteria: Criteria, gone: np.ndarray) -> dict[ir.Value, Array]:
    """New contents of the weights and biases of recurrent layers, before anything is taken out of them.

    Args:
        model: only looked at.
        graph: its channel graph.
        criteria: with the moments of what recurrent layers read.
        gone: which cells leave, shape (cells,).
    """
    found: dict[ir.Value, Array] = {}
    for layer in readers_of(model, graph):
        if layer.node.op_type not in RECURRENT or sum(1 for _ in readers(layer.weight)) > 1:
            continue
        axis = graph.axis(layer.x, layer.along)
        leaving = np.flatnonzero(gone[axis.start : axis.start + axis.size])
        shares = criteria.regression(axis, leaving)
        mean = criteria.mean(axis)
        tensor = constant(layer.weight)
        if shares is None or mean is None or tensor is None:
            continue
        weight = tensor.numpy()
        taken = weight[..., leaving].astype(np.float64)
        found[layer.weight] = (weight + taken @ shares).astype(weight.dtype)
        _add_to_bias(layer, taken @ (mean[leaving] - shares @ mean), found)
    return found


def _add_to_bias(layer: Layer, shift: Array, found: dict[ir.Value, Array]) -> None:
    """Add to the half of the bias that belongs to the weights, shape (directions, gates × hidden)."""
    bias = value_of(layer.node, 3)
    tensor = constant(bias)
    if bias is None or tensor is None or sum(1 for _ in readers(bias)) > 1:
        return
    array = found.get(bias, tensor.numpy()).astype(np.float64)
    half = array.shape[1] // 2
    start = 0 if layer.weight is layer.node.inputs[1] else half
    array[:, start : start + half] += shift
    found[bias] = array.astype(tensor.numpy().dtype)
