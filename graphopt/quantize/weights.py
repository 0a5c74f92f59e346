"""Grids and codes of weights: a scale for each channel, and rounding that looks at what the layer makes of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from graphopt.calibrate import Samples, each_moment, layer_of
from graphopt.quantize.grid import Grid, of_weights
from graphopt.quantize.methods.rounding import round_weights
from graphopt.quantize.plan import Plan
from graphopt.quantize.scheme import Scheme
from graphopt.quantize.units import Unit, numbers
from graphopt.quantize.units import channels as unit_channels

INT32_MAX = 2**31 - 1
_WIDEST = 640
_ROOM = 0.5
"""Share of int32 that a bias may take: the sum of products is added to it."""


def weight_grids(found: Plan, grids: Mapping[ir.Value, Grid], scheme: Scheme) -> tuple[dict[ir.Node, Grid], int]:
    """The grid of each weighted operator's weights, by the operator, and how many channels' scales were raised.

    A scale is raised where the bias, in int32 codes of the scale s_x · s_w, would not fit beside the sum of products
    (onnxruntime issues 11415 and 22020).

    Args:
        found: the plan.
        grids: of activations, by the value that stands for their group; not needed where biases stay in float.
        scheme: the plan's.
    """
    made, raised = {}, 0
    for unit in found.units:
        if unit.role != "weighted":
            continue
        array = numbers(unit.weight)
        assert array is not None
        plain = of_weights(array, scheme.weights, unit.axis)
        bias = numbers(unit.bias) if unit.bias is not None and unit.adder is None else None
        if bias is not None and scheme.bias == "int32":
            fed = float(grids[found.group[next(unit.inputs())]].scale)
            least = np.abs(bias.reshape(-1).astype(np.float64)) / (fed * INT32_MAX * _ROOM)
            # A grouped operator may have more channels than its weights have indices on the axis.
            least = least.max() if unit.axis is None else least.reshape(-1, array.shape[unit.axis]).max(axis=0)
            grid = of_weights(array, scheme.weights, unit.axis, least)
            raised += int((grid.scale > plain.scale).sum())
            plain = grid
        made[unit.node] = plain
    return made, raised


def nearest(found: Plan, grids: Mapping[ir.Node, Grid]) -> dict[ir.Node, np.ndarray]:
    """The nearest code of each weight, int32, by the operator."""
    return {unit.node: grids[unit.node].encode(_array(unit)) for unit in found.units if unit.node in grids}


def least_error(
    model: ir.Model, found: Plan, grids: Mapping[ir.Node, Grid], samples: Samples, *, centered: bool
) -> dict[ir.Node, np.ndarray]:
    """Codes that make the least error of what the layers compute, see `methods.rounding`.

    Args:
        model: the float model.
        found: the plan.
        grids: of the weights.
        samples: the inputs.
        centered: whether a bias correction will take the mean of the errors away.
    """
    made = nearest(found, grids)
    units = {unit.node: unit for unit in found.units if unit.node in grids and _repays(unit, grids[unit.node])}
    layers = {layer.name: layer for node in units if (layer := layer_of(node)) is not None}
    for name, moment in each_moment(model, list(layers), samples):
        layer = layers[name]
        grid = grids[layer.node]
        made[layer.node] = round_weights(
            _array(units[layer.node]), grid.scale, grid.zero, grid.axis, *grid.codes.limits, moment, layer,
            centered=centered,
        )  # fmt: skip
    return made


def _repays(unit: Unit, grid: Grid) -> bool:
    """Whether looking at what a layer computes is worth its time, which grows with the cube of the columns.

    Measured on EfficientNet-lite0, 8 bits: layers wider than this add 0.1 dB, and half of all the time.
    """
    rows = max(unit_channels(unit), 1)
    return grid.codes.bits < 8 or _array(unit).size // rows <= _WIDEST


def _array(unit: Unit) -> np.ndarray:
    array = numbers(unit.weight)
    assert array is not None
    return array
