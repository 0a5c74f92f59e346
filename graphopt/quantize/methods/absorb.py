"""Bias absorption: what a channel always exceeds moves from the bias before a Relu to the bias behind it.

Relu(y) = Relu(y - c) + c as far as y ≥ c, which c = max(0, μ - 3σ) makes nearly all of y; the layer that reads it gets
W·c (Nagel et al. 2019, arXiv:1906.04721, section 4.1.3). That narrows the range of the activation.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from graphopt.calibrate import Layer, layer_of
from graphopt.ir import constant
from graphopt.ir.edit import Names, add_constant, readers
from graphopt.ir.schema import attribute
from graphopt.quantize.methods.constants import by_channel, replace_constant

Doubles = np.ndarray


def absorb_biases(model: ir.Model, means: Mapping[str, Doubles], deviations: Mapping[str, Doubles]) -> int:
    """Move what a channel always exceeds from the bias before a Relu to the bias behind it, in place.

    Where the input of a Relu is y with mean μ and deviation σ, Relu(y) = Relu(y - c) + c for c = max(0, μ - 3σ), up to
    the share of y below c; the layer that reads it gets W·c. That narrows the range of the activation.

    Args:
        model: a float model.
        means: of what layers write, per channel, by name.
        deviations: likewise, standard deviations.

    Returns:
        How many layers gave something away.
    """
    names, done = Names(model), 0
    for node in list(model.graph):
        layer = layer_of(node)
        pair = None if layer is None else _relu_pair(layer)
        if layer is None or pair is None or layer.name not in means or layer.name not in deviations:
            continue
        excess = np.maximum(0.0, means[layer.name] - 3 * deviations[layer.name])
        if not excess.any():
            continue
        reader = pair
        weight = by_channel(reader).sum(2)  # (outputs of a group, channels)
        moved = (weight * excess).reshape(len(weight), reader.groups, -1).sum(2).T.reshape(-1)
        _add_to_bias(model, node, -excess, names)
        _add_to_bias(model, reader.node, moved, names)
        done += 1
    return done


def _relu_pair(layer: Layer) -> Layer | None:
    """The layer that alone reads the Relu that alone reads this one, where moving a constant over is exact."""
    middle = _only_reader(layer.node.outputs[0])
    if middle is None or middle.op_type != "Relu" or layer.node.op_type not in ("Conv", "Gemm"):
        return None
    relu = middle.outputs[0]
    last = _only_reader(relu)
    reader = None if last is None else layer_of(last)
    if reader is None or reader.node.op_type not in ("Conv", "Gemm") or reader.input is not relu:
        return None
    # At a border filled with zeros the constant would be missing.
    padded = reader.node.op_type == "Conv" and (
        any(attribute(reader.node, "pads") or ()) or str(attribute(reader.node, "auto_pad") or "").find("SAME") >= 0
    )
    return None if padded or constant(reader.weight) is None or constant(layer.weight) is None else reader


def _only_reader(value: ir.Value) -> ir.Node | None:
    found = list(itertools.islice(readers(value), 2))
    return found[0] if len(found) == 1 and not value.is_graph_output() else None


def _add_to_bias(model: ir.Model, node: ir.Node, delta: Doubles, names: Names) -> None:
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is None:
        weight = constant(node.inputs[1])
        assert weight is not None
        made = add_constant(
            model.graph, delta.astype(weight.dtype.numpy()), names.fresh(f"{node.outputs[0].name}_bias")
        )
        if len(node.inputs) < 3:
            node.resize_inputs(3)
        node.replace_input_with(2, made)
        return
    tensor = constant(bias)
    assert tensor is not None
    array = tensor.numpy()
    replace_constant(model, node, 2, (array.astype(np.float64).reshape(-1) + delta).reshape(array.shape), names)
