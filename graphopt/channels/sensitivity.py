"""How much the answers suffer from what a family's readers suffer: measured, one family at a time.

A criterion foretells the error that a removal leaves in the layers that read a family. Some layers forgive such an
error and some do not. So a few units of each family are taken away for a moment (their weights are zero, and their
readers make up for them by the regression of the removed channels on the others), the model runs on a few samples, and
the family's costs are scaled to the error of the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from graphopt.channels.criteria import Criteria, Ranking
from graphopt.channels.cut import store
from graphopt.channels.graph import Cells
from graphopt.channels.layers import Layer
from graphopt.ir.edit import constant
from graphopt.verify import Runner
from graphopt.verify.types import Array

_SAMPLES = 4
_AIM = 0.03
"""Foretold error, as a share of the readers' energy, up to which units are taken away to measure."""
_MOST = 0.4
"""Share of a family that is taken away at most."""
_RANGE = (1e-3, 1e3)
"""What a scale is kept within, of the median of all."""


def scaled(
    model: ir.Model, rankings: Sequence[Ranking], criteria: Criteria, samples: Sequence[Mapping[str, Array]]
) -> list[Ranking]:
    """The rankings with costs in the outputs' error.

    Args:
        model: weights are changed and set back.
        rankings: of the criterion that is measured.
        criteria: that made them.
        samples: inputs by name; a few are used.
    """
    chosen = samples[:: max(1, len(samples) // _SAMPLES)][:_SAMPLES]
    runner = Runner(model)
    expected = [runner.run(sample) for sample in chosen]
    factors = np.array([_factor(model, one, criteria, chosen, expected) for one in rankings])
    known = factors[np.isfinite(factors) & (factors > 0)]
    if not len(known):
        return list(rankings)
    middle = float(np.median(known))
    factors = np.clip(np.where(np.isfinite(factors), factors, middle), middle * _RANGE[0], middle * _RANGE[1])
    return [replace(one, costs=one.costs * factor) for one, factor in zip(rankings, factors, strict=True)]


def _factor(
    model: ir.Model,
    ranking: Ranking,
    criteria: Criteria,
    samples: Sequence[Mapping[str, Array]],
    expected: Sequence[Mapping[str, Array]],
) -> float:
    """Error of the outputs for each unit of foretold cost, NaN where it cannot be measured."""
    units = len(ranking.order)
    count = int(np.searchsorted(ranking.costs, _AIM, side="right")) - 1
    count = int(np.clip(count, 1, max(1, int(_MOST * units))))
    foretold = float(ranking.costs[count])
    if foretold <= 0:
        return float("nan")
    cells = np.concatenate([ranking.family.units[one].cells for one in ranking.order[:count]])
    before = _take_away(ranking, criteria, cells)
    try:
        runner = Runner(model)
        actual = [runner.run(sample) for sample in samples]
    finally:
        for value, array in before.items():
            store(value, array)
    signal = noise = 0.0
    for want, got in zip(expected, actual, strict=True):
        for name, array in want.items():
            if array.dtype.kind == "f" and got[name].shape == array.shape:
                signal += float(np.square(array, dtype=np.float64).sum())
                noise += float(np.square(array.astype(np.float64) - got[name]).sum())
    return noise / max(signal, 1e-30) / foretold


def _take_away(ranking: Ranking, criteria: Criteria, cells: Cells) -> dict[ir.Value, Array]:
    """Let some cells' contributions vanish and readers make up for them; the constants as they were."""
    before: dict[ir.Value, Array] = {}
    for axis in ranking.family.axes:
        gone = cells[(cells >= axis.start) & (cells < axis.start + axis.size)] - axis.start
        for layer in criteria.readers(axis):
            tensor = constant(layer.weight)
            assert tensor is not None
            before.setdefault(layer.weight, tensor.numpy())
            shares = criteria.regression(axis, gone) if layer.groups == 1 else None
            store(layer.weight, _made_up(layer, tensor.numpy(), gone, shares))
    if before:
        return before
    for value, axis in criteria.producers(ranking.family.axes):
        tensor = constant(value)
        assert tensor is not None
        assert isinstance(axis.index, int)
        gone = cells[(cells >= axis.start) & (cells < axis.start + axis.size)] - axis.start
        before.setdefault(value, tensor.numpy())
        array = before[value].copy()
        array[(slice(None),) * axis.index + (gone,)] = 0
        store(value, array)
    return before


def _made_up(layer: Layer, array: Array, gone: Cells, shares: Array | None) -> Array:
    """Weights without some inputs, whose contributions the others take over."""
    moved = np.moveaxis(array.astype(np.float64), layer.ins, -1)
    if layer.groups == 1:
        if shares is not None:
            moved = moved + moved[..., gone] @ shares
        moved[..., gone] = 0
    else:
        # A grouped layer reads input g × size + i by W[..., i] of its own group's outputs.
        per, outs = moved.shape[-1], moved.shape[0] // layer.groups
        moved = moved.copy()
        for one in gone:
            moved[one // per * outs : (one // per + 1) * outs, ..., one % per] = 0
    return np.moveaxis(moved, -1, layer.ins).astype(array.dtype)
