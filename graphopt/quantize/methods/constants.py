"""Weights of layers seen channel by channel, and putting others in their place."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.calibrate import Layer
from graphopt.ir import constant
from graphopt.ir.edit import Names, add_constant, is_read


def by_channel(layer: Layer) -> np.ndarray:
    """A reader's weight as (outputs of a group, channels of all groups, taps)."""
    tensor = constant(layer.weight)
    assert tensor is not None
    matrix = np.asarray(layer.matrix(tensor.numpy()), np.float64)
    groups, outputs, width = matrix.shape
    taps = int(np.prod(layer.shape[2:])) if layer.channel_axis == 1 else 1
    return matrix.reshape(groups, outputs, width // taps, taps).swapaxes(0, 1).reshape(outputs, -1, taps)


def rows_of(layer: Layer) -> np.ndarray:
    """A writer's weight as (output channels, columns)."""
    tensor = constant(layer.weight)
    assert tensor is not None
    return np.asarray(layer.matrix(tensor.numpy()), np.float64).reshape(layer.outputs, -1)


def scale_columns(layer: Layer, weight: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """A reader's weight with what belongs to channel c of its input multiplied by factors[c]."""
    matrix = np.asarray(layer.matrix(weight), np.float64)
    groups, outputs, _ = matrix.shape
    spread = factors.reshape(groups, 1, -1, 1)
    return layer.stored((matrix.reshape(groups, outputs, spread.shape[2], -1) * spread).reshape(matrix.shape))


def replace_constant(model: ir.Model, node: ir.Node, index: int, array: np.ndarray, names: Names) -> None:
    """Give a node another constant; the old one goes where nothing else reads it."""
    old = node.inputs[index]
    assert old is not None
    tensor = constant(old)
    assert tensor is not None
    fresh = add_constant(model.graph, array.astype(tensor.dtype.numpy()), names.fresh(f"{old.name}_scaled"))
    node.replace_input_with(index, fresh)
    if old.is_initializer() and not is_read(old) and old.name and not old.is_graph_output():
        model.graph.initializers.pop(old.name)
