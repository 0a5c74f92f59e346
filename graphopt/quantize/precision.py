"""Which layers stay in float so that a budget is kept: sensitivities, sizes and costs, and the knapsack of `mixed`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt.calibrate import Layer, Samples, collect, layers_of
from graphopt.ir import constant
from graphopt.quantize import grid as grids
from graphopt.quantize.mixed import Budget, Choice, choose, sqnr_db
from graphopt.quantize.scheme import Scheme
from graphopt.quantize.sensitivity import Change, as_if_quantized, one_at_a_time
from graphopt.support.backend import Costs
from graphopt.support.work import macs, moved_bytes

_EIGHT = 8


@dataclass(frozen=True)
class Precision:
    """What was chosen.

    Attributes:
        chosen: for each layer, by name, one of the schemes or "float".
        kept: the nodes that stay in float, to be left out of quantization.
        sqnr_db: what the noises of the layers predict for the outputs of the model.
    """

    chosen: Mapping[str, Choice]
    kept: list[ir.Node]
    sqnr_db: float


def choose_precision(
    model: ir.Model,
    scheme: Scheme,
    samples: Samples,
    budget: Budget,
    *,
    costs: Costs | None = None,
    fixed: Collection[ir.Node] = (),
    tell: Callable[[int, int], None] | None = None,
) -> Precision:
    """Choose between float and a scheme for each weighted layer.

    Args:
        model: the float model, with inferred shapes; it stays as it is.
        scheme: what a layer becomes that is not left in float.
        samples: the inputs, by name; the first four are run once a layer.
        budget: bytes of the layers' weights; their cost as a share of the float model's; the SQNR of the outputs.
        costs: how the backend weighs arithmetic against memory.
        fixed: nodes that stay in float in any case.
        tell: progress, layers done and layers in all.

    Raises:
        UserError: nothing keeps the budget, or there is no sample.
        ExecutionFailed: the model does not run on a sample.
    """
    layers = {layer.name: layer for layer in layers_of(model) if layer.node.op_type in scheme.weighted}
    noises = one_at_a_time(model, _changes(model, layers, scheme, samples), samples, tell=tell)
    weighed = costs or Costs()
    whole = sum(_cost(layer, weighed, 32, 32) for layer in layers.values()) or 1.0
    read_bits = scheme.activations.bits if scheme.activations is not None else 32
    options = {
        name: [
            Choice(scheme.name, noises[name], size * scheme.weights.bits / 8,
                   _cost(layer, weighed, scheme.weights.bits, read_bits) / whole),
            Choice("float", 0.0, size * 4, _cost(layer, weighed, 32, 32) / whole),
        ][layer.node in fixed :]
        for name, layer in layers.items()
        for size in [float(np.prod(layer.shape))]
    }  # fmt: skip
    chosen = choose(options, budget)
    kept = [layers[name].node for name, choice in chosen.items() if choice.name == "float"]
    return Precision(chosen, kept, sqnr_db(chosen))


def _changes(model: ir.Model, layers: Mapping[str, Layer], scheme: Scheme, samples: Samples) -> dict[str, Change]:
    """Each layer by itself as the scheme would have it, with the nearest codes and the whole range."""
    kind, stats = scheme.activations, {}
    # Sixteen bits of an activation cost nothing that could be measured beside eight of a weight.
    if kind is not None and kind.bits <= _EIGHT:
        stats = collect(model, [layer.input.name or "" for layer in layers.values()], samples, histograms=False)
    changes = {}
    for name, layer in layers.items():
        tensor = constant(layer.weight)
        assert tensor is not None
        array = tensor.numpy()
        axis = layer.axis if scheme.weighted[layer.node.op_type] == "channel" else None
        weights = grids.of_weights(array.astype(np.float32), scheme.weights, axis)
        seen = stats.get(layer.input.name or "")
        read = None if seen is None or kind is None else grids.from_range(seen.minimum, seen.maximum, kind)
        changes[name] = as_if_quantized(name, weights.decode(weights.encode(array)), read)
    return changes


def _cost(layer: Layer, costs: Costs, weight_bits: int, read_bits: int) -> float:
    """In the backend's units: arithmetic of fewer bits is as much cheaper as its wider operand is narrower."""
    share = max(weight_bits, read_bits) / 32
    return share * (costs.mac * (macs(layer.node) or 0) + costs.byte * moved_bytes(layer.node)) + costs.node
